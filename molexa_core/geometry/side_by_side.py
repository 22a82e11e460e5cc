"""Two structures side by side: distances, angles and dihedrals with difference and pull.

Atoms of the second structure are matched to like atoms of the first by the best superposition. The
error of a difference is that of independent results, sqrt(e1^2 + e2^2), and the pull is the
difference over it. Two reconstructions under one assumed explosion share its error: their
differences are more certain than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from typing import Final, Literal

import numpy as np

from molexa_core.base.mathematics.circular import wrapped
from molexa_core.base.shown import Shown
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.geometry.bonds import STRAIGHT, bonds, dihedral_chains
from molexa_core.geometry.measures import dihedral_angles
from molexa_core.geometry.superposition import Superposition, superpose

Kind = Literal["distance", "angle", "dihedral"]
Atoms = tuple[int, ...]
Errors = Mapping[Atoms, float | None]
UNITS: Final[Mapping[Kind, str]] = {"distance": "bohr", "angle": "degree", "dihedral": "degree"}
_STEP: Final = 1e-4
"""Of the differences in the propagation of errors, bohr."""


@dataclass(frozen=True)
class Quantity:
    """A distance, an angle or a dihedral of a structure.

    Attributes:
        kind: which of them.
        atoms: 2, 3 (vertex in the middle) or 4 atoms, numbers in the structure.
        of: names of the atoms with their numbers from 1, such as `O1-H2`.
        bonded: whether neighbours in `atoms` are bonded.
        value: bohr or degrees; dihedrals from -180 to 180.
        error: half-width of 68 %, from those of coordinates as if these were independent; None
            where there are none.
    """

    kind: Kind
    atoms: Atoms
    of: str
    bonded: bool
    value: float
    error: float | None = None


@dataclass(frozen=True)
class BesideRow:
    """The same quantity of two structures.

    Attributes:
        kind, of, bonded: as of `Quantity`, named after the first structure.
        first, second: values in bohr or degrees.
        first_error, second_error: half-widths of 68 %; None where not known.
        difference: second less first; of dihedrals the shorter way round.
        difference_error: of independent results; None unless both errors are known.
        pull: difference over its error; None where there is none.
    """

    kind: Kind
    of: str
    bonded: bool
    first: float
    second: float
    first_error: float | None
    second_error: float | None
    difference: float
    difference_error: float | None
    pull: float | None

    @property
    def unit(self) -> str:
        """`bohr` or `degree`."""
        return UNITS[self.kind]


@dataclass(frozen=True, repr=False)
class SideBySide(Shown):
    """Two structures of the same atoms.

    Attributes:
        rows: bonded quantities first: distances, angles, dihedrals.
        superposition: the second moved onto the first; `assignment` says which atom of the second
            belongs to each of the first.
    """

    rows: tuple[BesideRow, ...]
    superposition: Superposition = field(repr=False)


def side_by_side(
    first: Geometry,
    second: Geometry,
    *,
    first_errors: Errors | None = None,
    second_errors: Errors | None = None,
    first_values: Errors | None = None,
    second_values: Errors | None = None,
    allow_mirror: bool = False,
) -> SideBySide:
    """Compare the distances, angles and dihedrals of two structures.

    Args:
        first: the structure whose names and bonds are used.
        second: a structure of the same atoms in any order.
        first_errors: half-widths by the numbers of atoms in `first`, in bohr or degrees, where
            they are known better than from the coordinates; both directions of the numbers mean
            the same.
        second_errors: those of `second`, by the numbers of its atoms.
        first_values: the quantities of `first` themselves, by the numbers of its atoms, where they
            are not those between its places, as the means over single events.
        second_values: those of `second`.
        allow_mirror: whether the second may be matched as its mirror image; dihedrals of both
            then have opposite signs.

    Raises:
        UsageError: the structures have different atoms.
        UnknownIonError: an element that is not in the table.
    """
    found = superpose(
        first.positions,
        second.positions,
        first.symbols,
        symbols_b=second.symbols,
        allow_mirror=allow_mirror,
    )
    order = [int(number) for number in found.assignment]
    uncertainty = None if second.uncertainty is None else second.uncertainty[order]
    rows = []
    for one in quantities(first, errors=first_errors, values=first_values):
        own = tuple(order[atom] for atom in one.atoms)
        value = measure(second.positions, own, one.kind)
        if value is None:
            continue
        told = _given(second_values, own)
        value = value if told is None else told
        error = _given(second_errors, own)
        if error is None:
            error = _propagated(second.positions[order], uncertainty, one.atoms, one.kind)
        rows.append(_row(one, value, error))
    return SideBySide(tuple(rows), found)


def quantities(
    geometry: Geometry, *, errors: Errors | None = None, values: Errors | None = None
) -> tuple[Quantity, ...]:
    """All distances and angles of a structure and the dihedrals about its bonds.

    Args:
        geometry: with uncertainties of the coordinates where they are known.
        errors: half-widths as in `side_by_side`; else those of the coordinates are propagated.
        values: the quantities themselves as in `side_by_side`; else those between the places.

    Returns:
        Distances, angles, dihedrals; of each kind those along bonds first.

    Raises:
        UnknownIonError: an element that is not in the table.
    """
    joined = {frozenset(pair) for pair in bonds(geometry)}
    names = [f"{name}{number}" for number, name in enumerate(geometry.names, start=1)]
    found = []
    for kind, atoms in _all(geometry):
        value = measure(geometry.positions, atoms, kind)
        if value is None:
            continue
        error = _given(errors, atoms)
        if error is None:
            error = _propagated(geometry.positions, geometry.uncertainty, atoms, kind)
        along = pairwise(atoms)
        bonded = all(frozenset(pair) in joined for pair in along)
        of = "-".join(names[atom] for atom in atoms)
        told = _given(values, atoms)
        found.append(Quantity(kind, atoms, of, bonded, value if told is None else told, error))
    kinds = list(UNITS)
    return tuple(sorted(found, key=lambda one: (kinds.index(one.kind), not one.bonded)))


def measure(positions: FloatArray, atoms: Sequence[int], kind: Kind) -> float | None:
    """One distance (bohr), angle or dihedral (degrees); None for a dihedral about a line."""
    if kind == "dihedral" and any(
        _angle(positions[list(three)]) > STRAIGHT for three in (atoms[:3], atoms[1:])
    ):
        return None
    return _MEASURES[kind](positions[list(atoms)])


def _distance(positions: FloatArray) -> float:
    return float(np.linalg.norm(positions[1] - positions[0]))


def _angle(positions: FloatArray) -> float:
    one, two = positions[0] - positions[1], positions[2] - positions[1]
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, two)), float(one @ two))))


def _dihedral(positions: FloatArray) -> float:
    return float(dihedral_angles(positions, [range(4)])[0])


_MEASURES: Final[Mapping[Kind, Callable[[FloatArray], float]]] = {
    "distance": _distance,
    "angle": _angle,
    "dihedral": _dihedral,
}


def _all(geometry: Geometry) -> Iterator[tuple[Kind, Atoms]]:
    atoms = range(len(geometry))
    for pair in combinations(atoms, 2):
        yield "distance", pair
    for vertex in atoms:
        for i, j in combinations([atom for atom in atoms if atom != vertex], 2):
            yield "angle", (i, vertex, j)
    for chain in dihedral_chains(geometry):
        yield "dihedral", chain


def _given(told: Errors | None, atoms: Atoms) -> float | None:
    if told is None:
        return None
    return told.get(atoms, told.get(atoms[::-1]))


def _propagated(
    positions: FloatArray, uncertainty: FloatArray | None, atoms: Atoms, kind: Kind
) -> float | None:
    """Linear propagation of independent coordinates, the steeper side of each."""
    if uncertainty is None:
        return None
    own, width = positions[list(atoms)], uncertainty[list(atoms)]
    function = _MEASURES[kind]
    here, total = function(own), 0.0
    for place in np.ndindex(own.shape):
        step = np.zeros(own.shape)
        step[place] = _STEP
        sides = [function(own + step) - here, function(own - step) - here]
        if kind == "dihedral":
            sides = [float(wrapped(side)) for side in sides]
        slope = max(abs(side) for side in sides) / _STEP
        total += (slope * float(width[place])) ** 2
    return float(np.sqrt(total))


def _row(one: Quantity, value: float, error: float | None) -> BesideRow:
    difference = value - one.value
    if one.kind == "dihedral":
        difference = float(wrapped(difference))
    both = None if one.error is None or error is None else float(np.hypot(one.error, error))
    return BesideRow(
        kind=one.kind,
        of=one.of,
        bonded=one.bonded,
        first=one.value,
        second=value,
        first_error=one.error,
        second_error=error,
        difference=difference,
        difference_error=both,
        pull=difference / both if both else None,
    )
