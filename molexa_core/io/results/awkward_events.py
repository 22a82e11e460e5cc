"""Coincidences for other programs: awkward arrays of records, and tables in Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import EVENT_ID, EVENT_WEIGHT, MOMENTUM, PROVENANCE
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences

_META = b"molexa"


def to_awkward(events: Coincidences) -> Any:
    """One record per coincidence, for awkward, vector, coffea and others.

    Returns:
        An awkward array with the fields `event_id`, `weight`, one for each tag, and `ions`: a list
        of records `ion`, `px`, `py`, `pz` (a.u.), and where the detector values are known `tof_ns`,
        `x_mm`, `y_mm`. False coincidences are rows of their own in `to_awkward(events.false)`.
    """
    n, ions = len(events), len(events.ions)
    names = np.tile(np.array([str(ion) for ion in events.ions]), (n, 1))
    of_ion = {"ion": names} | {
        axis: events.momentum[:, :, place] for place, axis in enumerate(MOMENTUM)
    }
    if events.detector is not None:
        of_ion |= events.detector.columns
    flat = ak.zip({name: ak.Array(column.reshape(-1)) for name, column in of_ion.items()})
    record = {
        EVENT_ID: events.event_id,
        EVENT_WEIGHT: events.weight,
        "ions": ak.unflatten(flat, np.full(n, ions)),
        **{name: np.asarray(column) for name, column in events.tags.items()},
    }
    return ak.zip(record, depth_limit=1)


def write_events_parquet(
    path: Path | str, events: Coincidences, made: Provenance | None = None
) -> None:
    """Write coincidences as a table in Parquet: a row each, columns `O+.px` ..., weight, tags.

    False coincidences that are to be subtracted are rows with a negative `weight` and `false` true,
    so that any weighted mean or histogram of the table is one of true coincidences. The metadata of
    the file hold channel, setup and summary as JSON under `molexa`.

    Args:
        path: the file to write.
        events: momenta in a.u.
        made: how the table was made.

    Raises:
        InputFileError: the package pyarrow is missing.
        OutputError: the file cannot be written there.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415  # an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise InputFileError(
            "Parquet needs the package pyarrow", do="Install molexa with the extra parquet."
        ) from error
    columns = {name: series.to_numpy() for name, series in events.to_pandas().items()}
    columns["false"] = np.zeros(len(events), np.bool_)
    if events.false is not None:
        others = events.false.to_pandas()
        joined = {}
        for name, column in columns.items():
            if name == "false":
                more = np.ones(len(others), np.bool_)
            elif name == EVENT_WEIGHT:
                more = -others[name].to_numpy()
            elif name in others:
                more = others[name].to_numpy()
            else:
                more = np.full(len(others), np.nan)
            joined[name] = np.concatenate([column, more])
        columns = joined
    table = pa.table({str(name): column for name, column in columns.items()})
    told = {} if made is None else {PROVENANCE: json.loads(made.to_json())}
    meta = json.dumps({**events.meta, **told}, default=str).encode()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _META: meta})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
