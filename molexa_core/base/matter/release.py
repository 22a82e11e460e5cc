"""The range of kinetic energy release that a Coulomb explosion can have, to detect wrong units.

Charges at the distances of chemical bonds have a known Coulomb energy. The kinetic energy release
is smaller where bonds are long, charges build up slowly or only some of the ions are detected, and
it is hardly ever larger. A release outside the range does not come from an exploding molecule, or
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
"""Least distance of two ions at the start, in sums of their covalent radii."""
FARTHEST: Final = 5.0
"""Largest distance of two ions at the start, in lengths of all atoms in a row."""
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
    radii = [[element.covalent_radius_angstrom for element, _ in ion.elements] for ion in ions]
    length = sum(
        2.0 * element.covalent_radius_angstrom * count
        for ion in ions
        for element, count in ion.elements
    )
    low = high = 0.0
    for i, ion in enumerate(ions):
        for j in range(i):
            product = ion.charge * ions[j].charge * HARTREE_EV * BOHR_ANGSTROM
            high += product / (NEAREST * (min(radii[i]) + min(radii[j])))
            low += product / (FARTHEST * length)
    return low, high


def release_of(ions: Sequence[Ion], momenta: FloatArray) -> float:
    """Kinetic energy release in eV of ions with these momenta (ions, 3) in a.u."""
    masses = np.array([ion.mass for ion in ions])
    with np.errstate(over="ignore"):
        return float(((momenta**2).sum(axis=1) / (2.0 * masses)).sum() * HARTREE_EV)


def doubtful_release(ions: Sequence[Ion], release_ev: float) -> str | None:
    """The reason why a kinetic energy release is implausible (end of a sentence), or None."""
    low, high = release_range(ions)
    if not release_ev > low:
        bound = f"too little for these charges (at least {low:.2g} eV"
    elif release_ev > high:
        bound = f"too much for these charges (at most {high:.3g} eV"
    else:
        return None
    return f"a kinetic energy release of {release_ev:.3g} eV is {bound} in a molecule)"
