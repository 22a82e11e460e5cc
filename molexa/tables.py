"""Coincidences as a table of pandas, and back, without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from molexa_core.base.errors import ColumnError, UsageError, listing
from molexa_core.base.fields import EVENT_ID, EVENT_WEIGHT, MOMENTUM
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import Coincidences, DetectorValues, ion_labels

if TYPE_CHECKING:
    import pandas as pd

_IONS: Final = "ions"
_META: Final = "meta"
_FALSE: Final = "false"
_SOURCE: Final = "source"
_DETECTOR: Final = ("tof_ns", "x_mm", "y_mm")


def to_pandas(events: Coincidences) -> pd.DataFrame:
    """A row for each coincidence: `event_id`, momenta `O+.px` ..., weight, tags, hits `O+.tof_ns`.

    What has no place in a column is in `attrs`, so that `from_pandas` gives back the same.
    """
    if not isinstance(events, Coincidences):
        raise UsageError(
            f"no coincidences: {type(events).__name__}",
            do="Give those of reduce or align; a series has its own `.to_pandas()`.",
        )
    frame = events.to_pandas()
    if events.detector is not None:
        for at, label in enumerate(ion_labels(events.ions)):
            for name, column in events.detector.columns.items():
                frame[f"{label}.{name}"] = column[:, at]
    if events.source is not None:
        for at, label in enumerate(ion_labels(events.ions)):
            frame[f"{label}.{_SOURCE}"] = events.source[:, at]
    frame.attrs[_IONS] = [str(ion) for ion in events.ions]
    frame.attrs[_META] = json.dumps(dict(events.meta), default=str)
    if events.false is not None:
        frame.attrs[_FALSE] = to_pandas(events.false)
    return frame


def from_pandas(frame: pd.DataFrame) -> Coincidences:
    """Coincidences from a table with columns `O+.px`, `O+.py`, `O+.pz` ... in a.u.

    Args:
        frame: from `to_pandas`, or made by hand; like ions are `H+`, `H+#2`. Columns without a dot
            are values per coincidence, except `event_id` and `weight`, which may be missing.

    Raises:
        ColumnError: a component of a momentum is missing, or there is none.
    """
    labels = list(
        dict.fromkeys(str(name).rpartition(".")[0] for name in frame if str(name).endswith(".px"))
    )
    wanted = [f"{label}.{axis}" for label in labels for axis in MOMENTUM]
    missing = [name for name in wanted if name not in frame]
    if missing or not labels:
        what = listing(missing) if missing else "columns such as O+.px, O+.py, O+.pz"
        raise ColumnError(f"the table lacks {what}", do="Name momenta in a.u. so.")
    n = len(frame)
    momentum = frame[wanted].to_numpy(np.float64)
    detector = {
        name: np.stack([frame[f"{label}.{name}"].to_numpy(float) for label in labels], axis=1)
        for name in _DETECTOR
        if all(f"{label}.{name}" in frame for label in labels)
    }
    tags = {
        str(name): frame[name].to_numpy()
        for name in frame
        if "." not in str(name) and name not in {EVENT_ID, EVENT_WEIGHT}
    }
    sources = [f"{label}.{_SOURCE}" for label in labels]
    meta = json.loads(frame.attrs.get(_META, "{}"))
    false = frame.attrs.get(_FALSE)
    given: Mapping[str, Any] = {} if false is None else {"false": from_pandas(false)}
    return Coincidences(
        ions=tuple(parse_ion(label.partition("#")[0]) for label in labels),
        event_id=frame[EVENT_ID].to_numpy(np.int64) if EVENT_ID in frame else np.arange(n),
        momentum=momentum.reshape(n, len(labels), 3),
        weight=frame[EVENT_WEIGHT].to_numpy(float) if EVENT_WEIGHT in frame else np.ones(n),
        tags=tags,
        meta=meta,
        detector=DetectorValues(**detector) if len(detector) == len(_DETECTOR) else None,
        source=frame[sources].to_numpy(np.int64) if set(sources) <= set(frame) else None,
        **given,
    )
