"""The summary of a watch: plain values for the page, the terminal and `--json`, bounded in size."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.fields import (
    SPECTRUM_IMAGE,
    SPECTRUM_KER,
    SPECTRUM_PIPICO,
    SPECTRUM_SUM,
    SPECTRUM_TOF,
)
from molexa_core.base.spectrum import Spectrum
from molexa_core.pipeline.watching.alarms import alarms
from molexa_core.pipeline.watching.new_ranges import Folder
from molexa_core.reduction.growing import GrowingReduction
from molexa_core.reduction.history import AT, FOUND, HITS, SHOTS
from molexa_core.reduction.purity import purity_text

_BINS: Final = {SPECTRUM_TOF: 800, SPECTRUM_IMAGE: 80, SPECTRUM_PIPICO: 100}
_SUM_BINS: Final = 100
_POINTS: Final = 180
_MOST_RUNS: Final = 12


@dataclass(frozen=True)
class Speed:
    """Rates by the clock.

    Attributes:
        shots, hits, coincidences: per second.
    """

    shots: float
    hits: float
    coincidences: float


def summary_of(
    reduction: GrowingReduction | None,
    *,
    folder: Folder,
    silent_s: float | None,
    quiet_s: float,
    speed: Speed | None,
    structure: Mapping[str, Any],
) -> dict[str, Any]:
    """What a watch shows.

    Args:
        reduction: all that was read; None before the first run.
        folder: that is watched.
        silent_s: seconds without new data; None before the first.
        quiet_s: so many of them are an alarm.
        speed: rates of the last half minute; None where nothing came.
        structure: the newest, why there is none, and the curve of distances.
    """
    files = [
        {"about": "file", "text": f"{name}: {reading.trouble}", "serious": True}
        for name, reading in folder.readings.items()
        if reading.trouble
    ]
    general: dict[str, Any] = {
        "time": time.time(),
        "folder": str(folder.path),
        "behind_bytes": folder.behind(),
        "runs": _runs(folder),
        "speed": None if speed is None else asdict(speed),
        "structure": dict(structure),
        "silent_s": silent_s,
    }
    if reduction is None:
        waiting = {"about": "data", "text": f"no run in {folder.path} yet", "serious": False}
        return {**general, "begun": False, "alarms": [waiting, *files]}
    found = alarms(reduction, silent_s=silent_s, quiet_s=quiet_s)
    shown: dict[str, Any] = _plain(
        {
            **general,
            "begun": True,
            "alarms": [*(asdict(one) for one in found), *files],
            "channel": reduction.channel.name,
            "ions": [str(ion) for ion in reduction.ions],
            "shots": reduction.shots,
            "hits": reduction.hits,
            "left_out": reduction.dropped.total,
            "coincidences": reduction.coincidences,
            **_of_coincidences(reduction),
            "history": _history(reduction),
            "spectra": {name: _drawn(name, one) for name, one in reduction.spectra().items()},
        }
    )
    return shown


def _of_coincidences(reduction: GrowingReduction) -> dict[str, Any]:
    gate, release, purity = reduction.gate, reduction.release, reduction.purity
    sums = []
    for axis in range(3) if gate is not None else ():
        peak = None if reduction.peaks is None else reduction.peaks[axis]
        sums.append(
            {
                "axis": "xyz"[axis],
                "centre": None if peak is None else peak.centre,
                "centre_error": None if peak is None else peak.centre_error,
                "sigma": None if peak is None else peak.sigma,
                "gate_centre": float(gate.centre[axis]) if gate is not None else None,
                "gate_half_width": float(gate.half_width[axis]) if gate is not None else None,
            }
        )
    return {
        "gate": {
            "sums": sums,
            "final": reduction.final,
            "said": gate_sentence(reduction),
        },
        "ker": None if release is None else asdict(release),
        "purity": None
        if purity is None
        else {**asdict(purity), "text": purity_text(asdict(purity))},
    }


def gate_sentence(reduction: GrowingReduction) -> str:
    """How the gate was found."""
    if not reduction.channel.is_complete:
        return "partial channel: no gate on the momentum sum"
    if reduction.gate is None:
        return reduction.trouble
    if reduction.final:
        return "the gate is final: more data do not change it"
    more = f"; {reduction.trouble}" if reduction.trouble else ""
    return (
        f"the gate is found from {reduction.gate_from} shots and will be found again as data "
        f"come{more}"
    )


def _runs(folder: Folder) -> list[dict[str, Any]]:
    last = list(folder.readings.items())[-_MOST_RUNS:]
    return [
        {"run": name, "shots": one.shots, "trouble": one.trouble, "open": one.size == 0}
        for name, one in last
    ]


def _history(reduction: GrowingReduction) -> dict[str, Any]:
    """Rates and means against the shots; neighbouring intervals joined to a few points."""
    history = reduction.history
    if not len(history):
        return {}
    rows = history.joined(_POINTS)
    means = history.means_of(rows)
    shots = np.maximum(rows[:, SHOTS], 1.0)
    return {
        "at": rows[:, AT],
        "shots": np.cumsum(rows[:, SHOTS]),
        "hits_per_shot": rows[:, HITS] / shots,
        "found_per_shot": rows[:, FOUND] / shots,
        "columns": {
            name: {"mean": means.mean[:, column], "error": means.error[:, column]}
            for column, name in enumerate(history.columns)
        },
    }


def _drawn(name: str, spectrum: Spectrum) -> dict[str, Any]:
    """A histogram with as many bins as a screen shows."""
    wanted = _BINS.get(name, _SUM_BINS if name in SPECTRUM_SUM else 0)
    counts = spectrum.counts
    if wanted:
        for axis in range(counts.ndim):
            join = max(1, counts.shape[axis] // wanted)
            edges = np.arange(0, counts.shape[axis], join)
            counts = np.add.reduceat(counts, edges, axis=axis)
    ends = [[float(edges[0]), float(edges[-1])] for edges in spectrum.edges]
    return {
        "counts": counts,
        "ends": ends,
        "labels": list(spectrum.labels),
        "units": list(spectrum.units),
        "marks": dict(spectrum.marks),
        "kind": "map" if counts.ndim == 2 else "line",
        "ker": name == SPECTRUM_KER,
    }


def _plain(value: Any) -> Any:
    """Values that JSON has: numbers that are not finite become null, floats get six digits."""
    if isinstance(value, np.ndarray):
        return _numbers(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.10g}") if math.isfinite(value) else None
    return value


def _numbers(values: NDArray[Any]) -> Any:
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    if values.dtype.kind in "iu":
        return values.tolist()
    return [float(f"{one:.6g}") if math.isfinite(one) else None for one in values.tolist()]
