"""The reconstructed structure for the report: lengths, alternatives in their order, known one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.side_by_side import Kind, measure, quantities
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.pipeline.chain.score import score
from molexa_core.report.content import LengthRow, Structure
from molexa_core.report.text_tables import region_text

ERRORS_NOTE: Final = (
    "Known structure superposed with least RMSD, like atoms assigned, mirror images told apart; "
    "MAE in the frame of the momenta."
)
MAE_NAME: Final = "MAE after superposition"
_ERROR_NAMES: Final = {
    "mae": (MAE_NAME, BOHR_ANGSTROM, "Å"),
    "rmsd": ("RMSD", BOHR_ANGSTROM, "Å"),
    "mean_distance_error": ("mean distance error", BOHR_ANGSTROM, "Å"),
    "max_distance_error": ("max distance error", BOHR_ANGSTROM, "Å"),
    "mean_angle_error": ("mean angle error", 1.0, "degrees"),
    "max_angle_error": ("max angle error", 1.0, "degrees"),
}
BY_EVIDENCE: Final = "their share of the evidence"
BY_SAMPLES: Final = "how often they were drawn, then the closure"
BY_CHEMISTRY: Final = f"whether chemistry objects, then {BY_SAMPLES}"


def structure_of(
    record: ReconstructionRecord, known: Geometry | None = None, known_name: str = ""
) -> Structure:
    """The structure as the page shows it.

    Args:
        record: the reconstruction.
        known: a structure to compare with; of other atoms it is named and left out.
        known_name: where it comes from.

    Raises:
        UnknownIonError: an element that is not in the table.
    """
    geometry = record.geometry()
    alternatives, order = _ordered(record, geometry)
    structure = Structure(
        geometry=geometry,
        bonds=bonds(geometry),
        spread=record.spread_bohr,
        uncertainty_reason=record.uncertainty_reason,
        closure=record.closure,
        model=record.model,
        input=record.input,
        alternatives=alternatives,
        order=order,
        warnings=record.warnings,
        explosion=record.explosion,
        distances=record.distances,
        angles=record.angles,
        lengths=length_rows(record),
        momenta=_momenta(record),
        of_events=record.events is not None,
        exact=_told_exactly(record),
    )
    if known is not None and sorted(known.symbols) == sorted(geometry.symbols):
        found = score(geometry, known)
        placed = Geometry(geometry.symbols, found.superposition.moved)
        return replace(
            structure,
            bonds=bonds(placed),
            known=placed.positions,
            known_name=known_name,
            errors=error_rows(found.errors.to_dict()),
            errors_note=ERRORS_NOTE,
            lengths=tuple(
                replace(row, known=in_chemists_units(row.kind, _at(placed, row)))
                for row in structure.lengths
            ),
        )
    if known is not None:
        warning = "The known structure has other atoms than the reconstruction; it is not shown."
        structure = replace(structure, warnings=(*structure.warnings, warning))
    if record.errors is not None:
        note = "As recorded by the reconstruction."
        return replace(structure, errors=error_rows(record.errors), errors_note=note)
    return structure


def _told_exactly(record: ReconstructionRecord) -> bool:
    """Whether nothing of the explosion is uncertain, by what was recorded of it."""
    if not record.explosion.get("statement"):
        return False
    if record.events is not None:
        return record.events.get("systematic_bohr") is None
    hypotheses = record.explosion.get("hypotheses")
    if not isinstance(hypotheses, Sequence):
        return record.explosion.get("origin") == "told"
    widths = [
        parameter.get("before") for one in hypotheses for parameter in one.get("parameters", ())
    ]
    return len(hypotheses) == 1 and all(
        isinstance(before, Sequence) and before[0] == before[-1] for before in widths
    )


def length_rows(record: ReconstructionRecord) -> tuple[LengthRow, ...]:
    """All distances, angles and dihedrals about bonds, with their recorded intervals.

    Where a file holds no dihedrals, their intervals follow from those of coordinates as if these
    were independent.
    """
    geometry = record.geometry()
    recorded = record.rows_by_atoms()
    rows = []
    for one in quantities(geometry):
        found = recorded.get(one.atoms, {})
        middle, half = found.get("median", found.get("mean")), found.get("half_width")
        value = float(middle) if isinstance(middle, int | float) else one.value
        error = float(half) if isinstance(half, int | float) else None
        if not found and record.uncertainty_bohr is not None:
            error = one.error
        factor = BOHR_ANGSTROM if one.kind == "distance" else 1.0
        rows.append(
            LengthRow(
                kind=one.kind,
                atoms=one.atoms,
                of=one.of,
                bonded=one.bonded,
                value=factor * value,
                error=None if error is None else factor * error,
                region=region_text(found.get("region"), factor),
            )
        )
    return tuple(rows)


def in_chemists_units(kind: str, value: float | None) -> float | None:
    """A distance in bohr as Å; angles as they are."""
    return None if value is None else value * (BOHR_ANGSTROM if kind == "distance" else 1.0)


def error_rows(values: Mapping[str, Any]) -> tuple[tuple[str, float, str], ...]:
    """Name, value and unit of the errors against a known structure, as recorded in bohr."""
    return tuple(
        (label, factor * float(values[name]), unit)
        for name, (label, factor, unit) in _ERROR_NAMES.items()
        if isinstance(values.get(name), int | float)
    )


def _at(geometry: Geometry, row: LengthRow) -> float | None:
    kind: Kind = row.kind  # type: ignore[assignment]
    return measure(geometry.positions, row.atoms, kind)


def _ordered(
    record: ReconstructionRecord, geometry: Geometry
) -> tuple[tuple[Mapping[str, Any], ...], str]:
    """The alternatives in the order that the words state, with their bonds."""
    found = [_with_bonds(one, geometry) for one in record.alternatives]
    if not found:
        return (), ""
    if any("evidence_share" in one for one in found):
        return tuple(sorted(found, key=lambda one: -_number(one, "evidence_share"))), BY_EVIDENCE
    chemistry = record.input.get("chemistry") is True

    def place(one: Mapping[str, Any]) -> tuple[bool, float, float]:
        objected = chemistry and bool(one.get("objections"))
        return objected, -_number(one, "share_of_samples"), _number(one, "residual")

    return tuple(sorted(found, key=place)), BY_CHEMISTRY if chemistry else BY_SAMPLES


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) else 0.0


def _with_bonds(one: Mapping[str, Any], geometry: Geometry) -> Mapping[str, Any]:
    positions = _array(one.get("positions_bohr"), len(geometry))
    if positions is None:
        return one
    return {**one, "bonds": [list(pair) for pair in bonds(Geometry(geometry.symbols, positions))]}


def _momenta(record: ReconstructionRecord) -> FloatArray | None:
    return _array(record.input.get("momenta"), len(record.symbols))


def _array(values: Any, atoms: int) -> FloatArray | None:
    """(atoms, 3) numbers from a file; None for anything else."""
    if not isinstance(values, Sequence):
        return None
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (atoms, 3) and np.isfinite(found).all() else None
