"""How much kinetic energy an explosion can release: a wide range, to tell wrong units by.

Charges that start at the distances of chemical bonds repel each other with a known energy. What a
molecule releases lies below it where bonds are long, charges come late or only some of the ions are
looked at, and hardly above it. A release outside of the range is no explosion of a molecule, or
its momenta are in another unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM, HARTREE_EV

NEAREST: Final = 0.6
"""Ions start at least so many sums of their covalent radii from each other."""
FARTHEST: Final = 5.0
"""They start at most so many times the length of all their atoms in a row from each other."""
LEAST_EV: Final = 1e-3
MOST_EV: Final = 1e5
"""No explosion of a molecule releases less or more, whatever its charges."""


def release_range(ions: Sequence[Ion]) -> tuple[float, float]:
    """Least and largest kinetic energy release in eV that ions of one molecule can have.

    Args:
        ions: at least two; atomic or molecular.

    Example:
        >>> from molexa_core.base.matter.ions import parse_ions
        >>> low, high = release_range(parse_ions("N+,N+"))
        >>> low < 11.96 < high
        True
    """
    radii = [[one.covalent_radius_angstrom for one, _ in ion.elements] for ion in ions]
    length = sum(
        2.0 * one.covalent_radius_angstrom * count for ion in ions for one, count in ion.elements
    )
    low = high = 0.0
    for i, one in enumerate(ions):
        for j in range(i):
            product = one.charge * ions[j].charge * HARTREE_EV * BOHR_ANGSTROM
            high += product / (NEAREST * (min(radii[i]) + min(radii[j])))
            low += product / (FARTHEST * length)
    return low, high


def release_of(ions: Sequence[Ion], momenta: FloatArray) -> float:
    """Kinetic energy release in eV of ions with these momenta (ions, 3) in a.u."""
    masses = np.array([ion.mass for ion in ions])
    with np.errstate(over="ignore"):
        return float(((momenta**2).sum(axis=1) / (2.0 * masses)).sum() * HARTREE_EV)


def doubtful_release(ions: Sequence[Ion], release_ev: float) -> str | None:
    """What speaks against a kinetic energy release, as the end of a sentence; None if nothing."""
    low, high = release_range(ions)
    if not release_ev > low:
        bound = f"too little for these charges (at least {low:.2g} eV"
    elif release_ev > high:
        bound = f"too much for these charges (at most {high:.3g} eV"
    else:
        return None
    return f"a kinetic energy release of {release_ev:.3g} eV is {bound} in a molecule)"
