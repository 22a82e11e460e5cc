"""Structures of single events for the report: bonds and angles, with those of mean momenta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.results.structures import StructuresFile
from molexa_core.report.content import EventRow, SingleEvents

MOST: Final = 12
"""Rows of each kind on the page."""
_LEFT_OUT: Final = {
    "unusable": "left out: unusable momenta",
    "unexplained": "left out: explained by no structure",
    "unlike": "left out: unlike the others",
}


def single_events(file: StructuresFile) -> SingleEvents | None:
    """Bonds and the angles between them; of molecules without bonds all distances and angles.

    Returns:
        None for a file of an older version, without a summary.
    """
    summary = file.summary
    lengths = [row for row in summary.get("distances_bohr", ()) if _complete(row)]
    angles = [row for row in summary.get("angles_degree", ()) if _complete(row)]
    if not lengths:
        return None
    bonds = [row for row in lengths if row.get("bond")] or lengths
    joined = {frozenset(row["atoms"]) for row in bonds}
    between = [
        row
        for row in angles
        if {frozenset(row["atoms"][:2]), frozenset(row["atoms"][1:])} <= joined
    ]
    beside = summary.get("from_centroids")
    beside = beside if isinstance(beside, Mapping) else {}
    others = {row["of"]: row for row in beside.get("distances_bohr", ())}
    positions = beside.get("positions_bohr")
    rows = [_length(row, file, others.get(row["of"])) for row in bonds[:MOST]]
    rows += [_angle(row, file, summary, positions) for row in (between or angles)[:MOST]]
    left_out = summary.get("left_out", {})
    facts = [("events", str(len(file.structures)))]
    facts += [
        (label, str(left_out[name])) for name, label in _LEFT_OUT.items() if left_out.get(name)
    ]
    facts += [
        (name, str(summary[name])) for name in ("explosion", "resolution") if summary.get(name)
    ]
    if isinstance(kept := beside.get("energy_kept"), float):
        facts.append(("energy of the mean momenta over the mean energy", f"{kept:.3f}"))
    if "reason" in beside:
        facts.append(("from mean momenta", f"none ({beside['reason']})"))
    return SingleEvents(tuple(rows), tuple(facts), file.warnings)


def _complete(row: Any) -> bool:
    names = ("of", "atoms", "mean", "error_of_mean", "standard_deviation", "quantile_16")
    return isinstance(row, Mapping) and all(row.get(name) is not None for name in names)


def _length(
    row: Mapping[str, Any], file: StructuresFile, other: Mapping[str, Any] | None
) -> EventRow:
    i, j = row["atoms"]
    positions = file.structures.positions
    values = np.linalg.norm(positions[:, i] - positions[:, j], axis=1)
    beside = None if other is None else other["from_centroids"]
    error = None if other is None else other.get("uncertainty")
    return _row(row, file, values, BOHR_ANGSTROM, "Å", beside, error)


def _angle(
    row: Mapping[str, Any], file: StructuresFile, summary: Mapping[str, Any], other: Any
) -> EventRow:
    values = _angles(file.structures.positions, *row["atoms"])
    beside = None
    order = summary.get("from_centroids", {}).get("assignment")
    if other is not None and order is not None:
        beside = float(_angles(np.array(other)[order][None], *row["atoms"])[0])
    return _row(row, file, values, 1.0, "°", beside, None)


def _angles(positions: FloatArray, i: int, vertex: int, j: int) -> FloatArray:
    """(n) angles in degrees."""
    one, two = positions[:, i] - positions[:, vertex], positions[:, j] - positions[:, vertex]
    across = np.linalg.norm(np.cross(one, two), axis=1)
    return np.asarray(np.degrees(np.arctan2(across, (one * two).sum(axis=1))))


def _row(
    row: Mapping[str, Any],
    file: StructuresFile,
    values: FloatArray,
    factor: float,
    unit: str,
    beside: float | None,
    error: float | None,
) -> EventRow:
    common = row.get("systematic")
    # Single events are stored as one explosion gives them; the mean is over all that may be true.
    centre = row["mean"] + (row.get("resolution_shift") or 0.0)
    values = values + centre - float(np.average(values, weights=file.structures.weight))
    ions = file.structures.ions
    names = [f"{ions[place].element.symbol}{place + 1}" for place in row["atoms"]]
    return EventRow(
        of="-".join(names),
        unit=unit,
        mean=factor * row["mean"],
        statistical=factor * row["error_of_mean"],
        systematic=None if common is None else factor * common,
        deviation=factor * row["standard_deviation"],
        quantiles=(
            factor * row["quantile_16"],
            factor * row["median"],
            factor * row["quantile_84"],
        ),
        from_means=None if beside is None else factor * beside,
        from_means_error=None if error is None else factor * error,
        values=factor * values,
        weight=file.structures.weight,
    )
