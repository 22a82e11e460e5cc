"""Bonds of a structure by interatomic distance, and the chains of atoms that they make."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import numpy as np

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.measures import triplet_angles

LONGEST: Final = 1.35
"""Longest bond, in sums of the two covalent radii."""

STRAIGHT: Final = 170.0
"""Degrees of a bond angle from which on three atoms are in a line and have no dihedral."""


def bonds(geometry: Geometry) -> tuple[tuple[int, int], ...]:
    """Pairs of atoms closer than 1.35 sums of covalent radii, in ascending order.

    Raises:
        UnknownIonError: an element that is not in the table.
    """
    radii = np.array([element(symbol).covalent_radius_angstrom for symbol in geometry.symbols])
    positions = geometry.positions * BOHR_ANGSTROM
    first, second = np.triu_indices(len(geometry), k=1)
    distance = np.linalg.norm(positions[first] - positions[second], axis=1)
    joined = distance < LONGEST * (radii[first] + radii[second])
    return tuple((int(i), int(j)) for i, j in zip(first[joined], second[joined], strict=True))


def dihedral_chains(geometry: Geometry) -> tuple[tuple[int, int, int, int], ...]:
    """Chains of four atoms, bonded one to the next, of which dihedrals are told.

    One for every pair of neighbours of every bond; none through three atoms in a line. The middle
    bond names its lower atom first.

    Raises:
        UnknownIonError: an element that is not in the table.
    """
    joined = bonds(geometry)
    near: list[list[int]] = [[] for _ in range(len(geometry))]
    for i, j in joined:
        near[i].append(j)
        near[j].append(i)
    return tuple(
        chain
        for j, k in joined
        for i, m in product(sorted(near[j]), sorted(near[k]))
        if len({i, m, j, k}) == 4
        for chain in [(i, j, k, m)]
        if not any(_straight(geometry, part) for part in (chain[:3], chain[1:]))
    )


def _straight(geometry: Geometry, three: Sequence[int]) -> bool:
    """Whether three atoms, the vertex in the middle, are in a line."""
    i, vertex, j = three
    return bool(triplet_angles(geometry.positions[[vertex, i, j]])[0] > STRAIGHT)
