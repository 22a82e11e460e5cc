"""`structures.h5`: one reconstructed structure per event, and what was found from all of them.

Layout: `structures/event_id (n)`, `structures/position (n, ions, 3)` and `structures/uncertainty
(n, ions, 3)` in bohr, in the frame of the momenta, `structures/weight (n)`, `structures/closure
(n)`, `structures/column (n, ions)` (which ion of the event each atom is), `structures/ion (ions)`;
`meta` with provenance, warnings and summary (means, distributions; JSON). Each dataset has a
`units` attribute.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.fields import (
    EVENT_ID,
    EVENT_ION,
    EVENT_WEIGHT,
    META,
    POSITION,
    STRUCTURES,
    UNITS,
    WARNINGS,
)
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.shown import Shown
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.hdf5.file import (
    new_hdf5,
    open_hdf5,
    read_array,
    read_provenance,
    read_strings,
    write_provenance,
    write_strings,
)

UNCERTAINTY: Final = "uncertainty"
CLOSURE: Final = "closure"
COLUMN: Final = "column"
SUMMARY: Final = "summary"
MAX_IONS: Final = 512


@dataclass(frozen=True)
class EventStructures:
    """One structure per event, in the frame of the momenta.

    Attributes:
        ions: the ion of each column.
        event_id: (n).
        positions: (n, ions, 3) bohr, centred.
        uncertainty: (n, ions, 3) half-width of the 68 % interval of each coordinate, bohr.
        closure: (n) rms misfit of the momenta of the exploded structure over their rms.
        weight: (n) weight of the event in averages.
        column: (n, ions) the ion of the event, as a column of the events file, that each atom is:
            like ions are in the order of the mean structure. None in files of older versions, whose
            atoms are in the order of the events.
    """

    ions: tuple[Ion, ...]
    event_id: IntArray
    positions: FloatArray
    uncertainty: FloatArray
    closure: FloatArray
    weight: FloatArray
    column: IntArray | None = None

    def __len__(self) -> int:
        return len(self.event_id)


def write_structures(
    path: Path | str,
    structures: EventStructures,
    provenance: Provenance,
    *,
    warnings: Sequence[str] = (),
    summary: Mapping[str, Any] | None = None,
) -> None:
    """Write the structures of events.

    Args:
        path: the file to write.
        structures: the structures of all events.
        provenance: how they were made.
        warnings: what may make them wrong, as sentences.
        summary: means and distributions, plain values.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = {
        EVENT_ID: (structures.event_id, ""),
        POSITION: (structures.positions, "bohr"),
        UNCERTAINTY: (structures.uncertainty, "bohr"),
        CLOSURE: (structures.closure, ""),
        EVENT_WEIGHT: (structures.weight, ""),
    }
    if structures.column is not None:
        columns[COLUMN] = (structures.column.astype(np.int16), "")
    with new_hdf5(path) as file:
        group = file.create_group(STRUCTURES)
        for name, (values, unit) in columns.items():
            stored = values.astype(np.float32) if values.ndim == 3 else values
            dataset = group.create_dataset(
                name, data=stored, chunks=True if len(stored) else None,
                compression="gzip" if len(stored) else None,
            )  # fmt: skip
            dataset.attrs[UNITS] = unit
        write_strings(group, EVENT_ION, structures.ions, unit="")
        meta = write_provenance(file, provenance)
        meta.attrs[WARNINGS] = json.dumps(list(warnings))
        if summary is not None:
            meta.attrs[SUMMARY] = json.dumps(_finite(summary), allow_nan=False)


def read_structures(path: Path | str) -> EventStructures:
    """Read the structures of events.

    Raises:
        InputFileError: no such file, or not of this form.
    """
    with open_hdf5(path) as file:
        read_provenance(file)

        def column(
            name: str, kinds: str, ndim: int, unit: str | None = None, **limits: Any
        ) -> NDArray[Any]:
            path = f"{STRUCTURES}/{name}"
            return read_array(file, path, kinds=kinds, ndim=ndim, unit=unit, **limits)

        names = read_strings(file, f"{STRUCTURES}/{EVENT_ION}", limit=MAX_IONS)
        structures = EventStructures(
            ions=tuple(parse_ion(name) for name in names),
            event_id=column(EVENT_ID, "iu", 1).astype(np.int64),
            positions=column(POSITION, "f", 3, "bohr", finite=True).astype(np.float64),
            uncertainty=column(UNCERTAINTY, "f", 3, "bohr", least=0).astype(np.float64),
            closure=column(CLOSURE, "f", 1, least=0).astype(np.float64),
            weight=column(EVENT_WEIGHT, "f", 1, finite=True, least=0).astype(np.float64),
            column=column(COLUMN, "iu", 2, least=0).astype(np.int64)
            if f"{STRUCTURES}/{COLUMN}" in file
            else None,
        )
    rows, shape = len(structures), (len(structures), len(structures.ions), 3)
    fits = structures.positions.shape == structures.uncertainty.shape == shape
    fits &= structures.column is None or structures.column.shape == shape[:2]
    if not fits or len(structures.closure) != rows or len(structures.weight) != rows:
        raise InputFileError(
            "the columns do not fit together", where=path, do="Make the file again."
        )
    return structures


@dataclass(frozen=True, repr=False)
class StructuresFile(Shown):
    """All that a `structures.h5` holds.

    Attributes:
        structures: one per event.
        summary: means and distributions as `EventDistribution.to_dict` gives them; empty in files
            of older versions.
        warnings: what may make them wrong, as sentences.
        provenance: how they were made.
    """

    structures: EventStructures
    summary: Mapping[str, Any]
    warnings: tuple[str, ...]
    provenance: Provenance | None


def read_structures_file(path: Path | str) -> StructuresFile:
    """Read the structures of events with their summary, warnings and provenance.

    Raises:
        InputFileError: no such file, or not of this form.
    """
    structures = read_structures(path)
    with open_hdf5(path) as file:
        provenance = read_provenance(file)
        attributes = file[META].attrs if META in file else {}
        texts = {name: attributes.get(name) for name in (SUMMARY, WARNINGS)}
    try:
        summary = json.loads(texts[SUMMARY] or "{}")
        warnings = json.loads(texts[WARNINGS] or "[]")
        if not isinstance(summary, dict) or not isinstance(warnings, list):
            raise ValueError("not a summary")
    except (TypeError, ValueError) as error:
        raise InputFileError(
            "the summary is damaged", where=path, do="Reconstruct the events again."
        ) from error
    return StructuresFile(structures, summary, tuple(map(str, warnings)), provenance)


def _finite(value: Any) -> Any:
    """Plain values; what is not a finite number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
