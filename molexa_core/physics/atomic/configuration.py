"""Energies, cross sections and decay rates of one configuration, one row of the tables."""

from __future__ import annotations

from dataclasses import dataclass

from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.continuum import WaveMesh, on_mesh, wave_mesh
from molexa_core.physics.atomic.decay import Decay, decays
from molexa_core.physics.atomic.energies import average_energy
from molexa_core.physics.atomic.photoionization import cross_sections
from molexa_core.physics.atomic.scf import Orbitals, solve_orbitals
from molexa_core.physics.atomic.shells import Occupation


@dataclass(frozen=True)
class Configuration:
    """Energies and rates of one configuration. s subshells, atomic units.

    Attributes:
        number: atomic number.
        occupation: electrons in the subshells.
        energy: (s) orbital energies, hartree; minus the binding energies.
        cross_section: (s) photoionization cross sections, bohr^2.
        decays: all decay channels.
        average_energy: total energy of the average over its terms, hartree.
    """

    number: int
    occupation: Occupation
    energy: FloatArray
    cross_section: FloatArray
    decays: tuple[Decay, ...]
    average_energy: float

    @property
    def charge(self) -> int:
        """Charge of the ion."""
        return self.number - sum(self.occupation)


def mesh_for(number: int, photon: float, *, innermost: int = 1) -> WaveMesh:
    """The mesh for every electron emitted by atoms of this atomic number.

    Auger electrons can be faster than photoelectrons: the highest ion binds the electrons of its
    shell n with Z^2 / (2 n^2).

    Args:
        number: atomic number.
        photon: photon energy, hartree.
        innermost: principal quantum number of the innermost shell that can have holes.
    """
    return wave_mesh(number, max(photon, number**2 / (2.0 * innermost**2)))


def compute_configuration(
    number: int, occupation: Occupation, photon: float, mesh: WaveMesh | None = None
) -> Configuration:
    """Solve one configuration and compute its cross sections and decay rates.

    Args:
        number: atomic number.
        occupation: electrons in the subshells.
        photon: photon energy, hartree.
        mesh: mesh for the emitted electrons; a sufficient one if not given.

    Raises:
        ComputationError: the field did not become self-consistent.
    """
    orbitals = solve_orbitals(number, occupation)
    return describe(orbitals, photon, mesh or mesh_for(number, photon))


def describe(orbitals: Orbitals, photon: float, mesh: WaveMesh) -> Configuration:
    """Cross sections and decay rates of a configuration whose orbitals are known.

    Args:
        orbitals: the configuration.
        photon: photon energy, hartree.
        mesh: mesh for the emitted electrons.
    """
    atom = on_mesh(orbitals, mesh)
    return Configuration(
        number=orbitals.number,
        occupation=orbitals.occupation,
        energy=orbitals.energy,
        cross_section=cross_sections(orbitals, atom, photon),
        decays=tuple(decays(orbitals, atom)),
        average_energy=average_energy(orbitals),
    )
