"""Chemical plausibility of a structure, judged by its interatomic distances.

Momenta often fit several geometries exactly. Chemical rules exclude most of them, but only for
molecules that were intact when they exploded: the structure of a dissociating or rearranging
molecule breaks the rules although it is correct. The rules therefore rank solutions and never
remove one.

Rules, with distances in sums of covalent radii (Pyykko and Atsumi 2009), from the equilibrium
geometries shipped with molexa: bonds lie between 0.77 and 1.13 there (bonds of hydrogen between
0.95 and 1.04) and all other distances above 1.43. Accordingly, no two atoms may be closer than 0.75
(hydrogen 0.9), no distance may lie between 1.15 (hydrogen 1.1) and 1.4, bonds must join all atoms
to one molecule, and no atom may have more neighbours than is usual for its element. The margins
allow for errors of a tenth of a bohr.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM

SHORTEST_BOND: Final = 0.75
LONGEST_BOND: Final = 1.15
HYDROGEN_BOND: Final = (0.9, 1.1)
"""Limits of bonds of hydrogen to other elements; the bond of H2 is 1.21."""
APART: Final = 1.4
"""Least distance of two atoms without a bond."""
MOST_NEIGHBOURS: Final = {
    "H": 1, "F": 1, "Cl": 1, "Br": 1, "I": 1, "O": 2, "S": 6, "N": 4, "P": 6, "C": 4, "Si": 6,
}  # fmt: skip
"""Most neighbours of an element in a usual molecule; 8 for others."""


@dataclass(frozen=True)
class Plausibility:
    """Result of the check of one structure.

    Attributes:
        objections: rules that the structure breaks, as sentences; empty if plausible.
    """

    objections: tuple[str, ...]

    @property
    def plausible(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.objections


def plausibility(geometry: Geometry) -> Plausibility:
    """Check a structure by the distances of its atoms.

    Raises:
        UnknownIonError: an element that is not in the table.

    Example:
        >>> from molexa_core.base.units import BOHR_ANGSTROM
        >>> pair = Geometry(("N", "N"), np.array([[0, 0, 0], [1.098 / BOHR_ANGSTROM, 0, 0]]))
        >>> plausibility(pair).plausible
        True
    """
    objections = []
    labels = [f"{name}{index + 1}" for index, name in enumerate(geometry.names)]
    radii = np.array([element(symbol).covalent_radius_angstrom for symbol in geometry.symbols])
    joined = []
    for i in range(len(geometry)):
        for j in range(i):
            distance = np.linalg.norm(geometry.positions[i] - geometry.positions[j])
            ratio = float(distance) * BOHR_ANGSTROM / (radii[i] + radii[j])
            shortest, longest = _limits(geometry.symbols[i], geometry.symbols[j])
            pair = f"{labels[j]} and {labels[i]}"
            if ratio < shortest:
                objections.append(f"{pair} are too near")
            elif longest < ratio < APART:
                objections.append(f"{pair} are too far for a bond and too near for none")
            if ratio <= longest:
                joined.append((j, i))
    pieces = _pieces(len(geometry), joined)
    if pieces > 1:
        objections.append(f"it falls into {pieces} pieces")
    for index, symbol in enumerate(geometry.symbols):
        neighbours = sum(index in pair for pair in joined)
        if neighbours > MOST_NEIGHBOURS.get(symbol, 8):
            objections.append(f"{labels[index]} has {neighbours} neighbours")
    return Plausibility(tuple(objections))


def _limits(one: str, two: str) -> tuple[float, float]:
    """Shortest and longest bond of two elements, sums of covalent radii."""
    hydrogens = (one, two).count("H")
    if hydrogens == 2:
        return HYDROGEN_BOND[0], 1.25
    return HYDROGEN_BOND if hydrogens else (SHORTEST_BOND, LONGEST_BOND)


def _pieces(atoms: int, joined: list[tuple[int, int]]) -> int:
    """Number of connected parts."""
    part = list(range(atoms))
    for i, j in joined:
        old, new = part[i], part[j]
        part = [new if one == old else one for one in part]
    return len(set(part))
