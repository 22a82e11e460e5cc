"""Check of a structure's length unit by its interatomic distances."""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray, Geometry
from molexa_core.base.units import BOHR_ANGSTROM

_WITHOUT_BONDS: Final = frozenset(("He", "Ne", "Ar", "Kr", "Xe"))
_SUSPECTS: Final = (
    (5.0, 20.0, "coordinates in Å read as nm look like this"),
    (1.4, 2.5, "coordinates in bohr read as Å look like this"),
    (0.38, 0.71, "coordinates in Å read as bohr look like this"),
    (0.05, 0.2, "coordinates in nm read as Å look like this"),
)
"""Ranges of (distance to the nearest atom) / (bond length) that a wrong unit produces.

Real bonds lie between 0.75 and 1.3 sums of covalent radii.
"""
_EXTREME: Final = 20.0


def distances_over_bonds(geometry: Geometry) -> FloatArray:
    """(atoms) distance to the nearest other atom, in sums of the two covalent radii.

    Atoms of noble gases, which have no bonds, are left out.

    Raises:
        UnknownIonError: an element that is not in the table.
    """
    kept = [place for place, symbol in enumerate(geometry.symbols) if symbol not in _WITHOUT_BONDS]
    if len(kept) < 2:
        return np.empty(0)
    radii = np.array([element(geometry.symbols[i]).covalent_radius_angstrom for i in kept])
    x = geometry.positions[kept] * BOHR_ANGSTROM
    nearest = np.full(len(kept), np.inf)
    for row in range(len(kept)):
        ratio = np.linalg.norm(x - x[row], axis=1) / (radii + radii[row])
        ratio[row] = np.inf
        nearest[row] = ratio.min()
    return nearest


def length_warning(geometry: Geometry) -> str | None:
    """A warning if all distances of a structure are off by the factor of another unit, else None.

    Args:
        geometry: positions in bohr.

    Example:
        >>> pair = Geometry(("N", "N"), np.array([[0, 0, 0], [0, 0, 1.1 / BOHR_ANGSTROM]]))
        >>> length_warning(pair) is None
        True
    """
    ratio = distances_over_bonds(geometry)
    if not len(ratio) or not (ratio > 0).all():
        return None
    factor = float(np.median(ratio))
    said = f"the distances between neighbouring atoms are about {factor:.2g} times those of bonds"
    for low, high, meaning in _SUSPECTS:
        if low <= ratio.min() and ratio.max() <= high:
            return f"{said}: {meaning}"
    if ratio.min() > _EXTREME or ratio.max() < _SUSPECTS[-1][0]:
        return f"{said}: check the unit of length"
    return None
