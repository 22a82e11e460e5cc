"""Photoionization cross sections of neutral atoms at any photon energy, from curves.

The curve of a subshell is computed once per process at some forty energies between its edge and
the highest photon energy (`photoionization`), and interpolated between them in logarithms.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from scipy.interpolate import CubicSpline

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.configuration import mesh_for
from molexa_core.physics.atomic.continuum import on_mesh
from molexa_core.physics.atomic.element_tables import HIGHEST_PHOTON_EV
from molexa_core.physics.atomic.photoionization import subshell_cross_section
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import covered_element, ground_occupation

_NODES: Final = 44
_FIRST: Final = 1e-3
"""First energy of a curve above its edge, as a share of the edge."""


def neutral_cross_sections(symbol: str, photon_ev: FloatArray | float) -> FloatArray:
    """Photoionization cross sections of the subshells of a neutral atom.

    Their sums are those of the atomic tables to 0.1 %: orbitals of the neutral atom that do not
    relax, nonrelativistic dipole approximation, binding energies as the energies of the orbitals.

    Args:
        symbol: element, H to Ar, Br, Kr, I or Xe.
        photon_ev: photon energies in eV, of any shape; up to 20 keV, clipped above.

    Returns:
        (..., s) bohr^2, by subshell in the order of `shells.SUBSHELLS`; 0 for empty subshells and
        below the edge.

    Raises:
        UnknownIonError: the element is not covered.

    Example:
        >>> inner, *outer = neutral_cross_sections("C", 2000.0)
        >>> round(inner / (inner + sum(outer)), 2)  # the share of the K shell
        0.95
    """
    energy = np.minimum(np.asarray(photon_ev, dtype=np.float64), HIGHEST_PHOTON_EV)
    curves = _curves(symbol)
    result = np.zeros((*energy.shape, len(curves)))
    for index, curve in enumerate(curves):
        if curve is not None:
            edge, values = curve
            open_ = energy > edge
            # Within a thousandth above the edge the cross section is that of the first energy.
            above = np.maximum(energy[open_] / edge - 1.0, _FIRST)
            result[open_, index] = np.exp(values(np.log(above)))
    return result


@lru_cache(maxsize=32)
def _curves(symbol: str) -> tuple[tuple[float, CubicSpline] | None, ...]:
    """By subshell: edge in eV, ln cross section over ln(energy / edge - 1); None if empty."""
    number = covered_element(symbol).number
    orbitals = solve_orbitals(number, ground_occupation(number))
    atom = on_mesh(orbitals, mesh_for(number, HIGHEST_PHOTON_EV / HARTREE_EV))
    found: list[tuple[float, CubicSpline] | None] = []
    for index, electrons in enumerate(orbitals.occupation):
        edge = -float(orbitals.energy[index]) * HARTREE_EV
        if not electrons or not 0.0 < edge < HIGHEST_PHOTON_EV:
            found.append(None)
            continue
        above = np.geomspace(_FIRST, HIGHEST_PHOTON_EV / edge - 1.0, _NODES)
        values = [
            subshell_cross_section(orbitals, atom, index, edge * (1.0 + share) / HARTREE_EV)
            for share in above
        ]
        found.append((edge, CubicSpline(np.log(above), np.log(values))))
    return tuple(found)
