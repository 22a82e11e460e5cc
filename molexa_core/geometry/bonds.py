"""Bonds of a structure by interatomic distance, for drawing."""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import Geometry
from molexa_core.base.units import BOHR_ANGSTROM

LONGEST: Final = 1.35
"""Longest bond, in sums of the two covalent radii."""


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
