"""Photoionization cross sections of the subshells, dipole length form.

sigma_i = (4/3) pi^2 alpha w N_i sum over l' = l +- 1 of l_> / (2l + 1) |<e l' | r | i>|^2, in
bohr^2, with e = w + e_i (Cooper, Phys. Rev. 128, 681 (1962)). The orbitals do not relax: binding
energies are orbital energies. Nonrelativistic dipole approximation.
"""

from __future__ import annotations

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import FINE_STRUCTURE
from molexa_core.physics.atomic.continuum import AtomOnMesh
from molexa_core.physics.atomic.scf import Orbitals
from molexa_core.physics.atomic.shells import SUBSHELLS


def cross_sections(orbitals: Orbitals, atom: AtomOnMesh, photon: float) -> FloatArray:
    """Cross section of every subshell.

    Args:
        orbitals: the configuration.
        atom: the same on a mesh for electrons of at least this energy.
        photon: photon energy, hartree.

    Returns:
        (s) bohr^2, by subshell; 0 for empty subshells and for those the photon cannot ionize.
    """
    shells = range(len(orbitals.occupation))
    return np.array([subshell_cross_section(orbitals, atom, index, photon) for index in shells])


def subshell_cross_section(
    orbitals: Orbitals, atom: AtomOnMesh, index: int, photon: float
) -> float:
    """Cross section of one subshell, bohr^2; 0 if it is empty or the photon cannot ionize it.

    Args:
        orbitals: the configuration.
        atom: the same on a mesh for electrons of at least this energy.
        index: number of the subshell in `SUBSHELLS`.
        photon: photon energy, hartree.
    """
    shell, electrons = SUBSHELLS[index], orbitals.occupation[index]
    energy = photon + float(orbitals.energy[index])
    if electrons == 0 or energy <= 0.0:
        return 0.0
    bound = atom.step * atom.r * atom.u[index]
    strength = 0.0
    for wave in (shell.l - 1, shell.l + 1):
        if wave >= 0:
            dipole = float(bound @ atom.wave(energy, wave))
            strength += max(wave, shell.l) / (2 * shell.l + 1) * dipole**2
    return float(4.0 / 3.0 * np.pi**2 * FINE_STRUCTURE * photon * electrons * strength)
