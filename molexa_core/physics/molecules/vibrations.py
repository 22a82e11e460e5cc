"""Harmonic normal modes and the spread of a molecule in its vibrational states.

In mass-weighted coordinates y = sqrt(m) (x - x0) the Hessian becomes sqrt(m)^-1 H sqrt(m)^-1 with
eigenvalues omega^2; its eigenvectors are the normal modes Q. In the ground state the Wigner
function of each mode is a Gaussian in Q and its momentum P, not correlated, with <Q^2> =
1 / (2 omega) and <P^2> = omega / 2 in atomic units (E. Wigner, Phys. Rev. 40, 749 (1932)). In
thermal equilibrium at the temperature T both are larger by coth(omega / 2 k T) (M. Hillery et al.,
Phys. Rep. 106, 121 (1984), section 2.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOLTZMANN_HARTREE_K, DALTON_ME, WAVENUMBER_HARTREE

_LINEAR: Final = 1e-3
"""Smallest singular value of the rotations, relative to the largest, below which a molecule is
treated as linear (5 instead of 6 rigid motions)."""
_IMAGINARY_CM: Final = 10.0
"""Wavenumber in 1/cm down to which a negative curvature is considered numerical noise."""

SOFT_CM: Final = 100.0
"""Lowest wavenumber in 1/cm for draws of structures, see `NormalModes.stiffened`."""


@dataclass(frozen=True)
class NormalModes:
    """Harmonic normal modes, softest first.

    Attributes:
        frequency: (modes) angular frequency in hartree.
        displacement: (modes, atoms, 3) mass-weighted unit eigenvectors divided by sqrt(mass):
            positions change by Q times this, Q in bohr sqrt(electron mass).
    """

    frequency: FloatArray
    displacement: FloatArray

    @property
    def wavenumber_cm(self) -> FloatArray:
        """(modes) wavenumbers in 1/cm."""
        return self.frequency / WAVENUMBER_HARTREE

    @property
    def variance(self) -> FloatArray:
        """(modes) variance of Q in the ground state, 1 / (2 omega)."""
        return 0.5 / self.frequency

    @property
    def zero_point_energy(self) -> float:
        """Energy of the vibrational ground state above the minimum, hartree: sum of omega / 2."""
        return float(0.5 * self.frequency.sum())

    def stiffened(self, lowest_cm: float = SOFT_CM) -> NormalModes:
        """The same modes, none softer than `lowest_cm` (1/cm), for drawing structures.

        A soft mode is a hindered rotation. A displacement along a straight line by its harmonic
        width would break bonds; with the higher frequency the width is that of a rotor between
        barriers (the same is done for entropies: R. F. Ribeiro et al., J. Phys. Chem. B
        115, 14556 (2011), with 100 /cm).
        """
        frequency = np.maximum(self.frequency, lowest_cm * WAVENUMBER_HARTREE)
        return NormalModes(frequency, self.displacement)

    def thermal_factor(self, temperature_k: float) -> FloatArray:
        """(modes) coth(omega / 2 k T): thermal over ground-state variance, 1 at 0 K."""
        if temperature_k <= 0.0:
            return np.ones_like(self.frequency)
        factor: FloatArray = 1.0 / np.tanh(
            self.frequency / (2.0 * BOLTZMANN_HARTREE_K * temperature_k)
        )
        return factor


def normal_modes(positions: FloatArray, mass: FloatArray, hessian: FloatArray) -> NormalModes:
    """The vibrations of a molecule; translations and rotations are projected out.

    Args:
        positions: (atoms, 3) bohr, a stationary point.
        mass: (atoms) electron masses.
        hessian: (3 atoms, 3 atoms) hartree / bohr^2.

    Raises:
        ComputationError: a mode has an imaginary frequency: the geometry is not a minimum.
    """
    atoms = len(mass)
    root = np.repeat(np.sqrt(mass), 3)
    weighted = hessian / root[:, None] / root[None, :]
    rigid = rigid_motions(positions, mass)
    # An orthonormal basis of the space without translations and rotations.
    basis = np.linalg.svd(rigid, full_matrices=True)[0][:, rigid.shape[1] :]
    values, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
    worst = values.min() if len(values) else 1.0
    if worst <= 0:
        wavenumber = np.sqrt(-worst) / WAVENUMBER_HARTREE
        raise ComputationError(
            f"a vibration has the imaginary wavenumber {wavenumber:.0f}i /cm",
            do="Use the geometry and Hessian of a minimum.",
        )
    frequency = np.sqrt(values)
    if len(frequency) and frequency[0] < _IMAGINARY_CM * WAVENUMBER_HARTREE:
        raise ComputationError(
            f"a vibration has a wavenumber of {frequency[0] / WAVENUMBER_HARTREE:.1f} /cm",
            do="Use the geometry and Hessian of a minimum.",
        )
    modes = (basis @ vectors / root[:, None]).T.reshape(-1, atoms, 3)
    return NormalModes(frequency, modes)


def rigid_motions(positions: FloatArray, mass: FloatArray) -> FloatArray:
    """(3 atoms, 6 or 5) orthonormal mass-weighted translations and rotations.

    Args:
        positions: (atoms, 3) bohr.
        mass: (atoms); ones give the motions in plain coordinates.
    """
    root = np.sqrt(mass)[:, None]
    about = positions - (mass @ positions) / mass.sum()
    translations = [(root * axis).reshape(-1) for axis in np.eye(3)]
    rotations = [(root * np.cross(axis, about)).reshape(-1) for axis in np.eye(3)]
    moves = np.array([translation / np.linalg.norm(translation) for translation in translations]).T
    turns, size, _ = np.linalg.svd(np.array(rotations).T, full_matrices=False)
    kept: FloatArray = np.hstack([moves, turns[:, size > _LINEAR * size[0]]])
    return kept


def without_rigid_motions(hessian: FloatArray, positions: FloatArray) -> FloatArray:
    """The Hessian (3 atoms, 3 atoms) with translations and rotations projected out.

    This removes residues in a Hessian that was computed or stored with finite precision.

    Args:
        hessian: (3 atoms, 3 atoms) hartree / bohr^2.
        positions: (atoms, 3) bohr.
    """
    rigid = rigid_motions(positions, np.ones(len(positions)))
    project = np.eye(positions.size) - rigid @ rigid.T
    projected: FloatArray = project @ hessian @ project
    return projected


def sample_ground_state(
    positions: FloatArray, modes: NormalModes, n: int, random: np.random.Generator
) -> FloatArray:
    """Positions drawn from the harmonic vibrational ground state.

    Args:
        positions: (atoms, 3) bohr, the equilibrium.
        modes: its normal modes.
        n: number of draws.
        random: source of randomness.

    Returns:
        (n, atoms, 3) bohr.
    """
    amplitude = random.normal(size=(n, len(modes.frequency))) * np.sqrt(modes.variance)
    drawn: FloatArray = positions + np.einsum("nm,mac->nac", amplitude, modes.displacement)
    return drawn


def sample_wigner(
    positions: FloatArray,
    modes: NormalModes,
    n: int,
    random: np.random.Generator,
    temperature_k: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """Positions and velocities drawn from the Wigner function of the harmonic modes.

    The modes contain neither translation nor rotation: the centre of mass stays where it is in
    `positions`, and sum(m r0 x v) about the equilibrium r0 vanishes (Eckart conditions). The
    vibrational angular momentum sum(m (r - r0) x v) is part of the distribution and is kept.

    Args:
        positions: (atoms, 3) bohr, the equilibrium.
        modes: its normal modes.
        n: number of draws.
        random: source of randomness.
        temperature_k: temperature; 0 is the ground state.

    Returns:
        Positions (n, atoms, 3) in bohr and velocities (n, atoms, 3) in atomic units.
    """
    count = len(modes.frequency)
    factor = modes.thermal_factor(temperature_k)
    normal = random.normal(size=(n, 2, count))
    coordinate = normal[:, 0] * np.sqrt(modes.variance * factor)
    momentum = normal[:, 1] * np.sqrt(0.5 * modes.frequency * factor)
    moved: FloatArray = positions + np.einsum("nm,mac->nac", coordinate, modes.displacement)
    velocities: FloatArray = np.einsum("nm,mac->nac", momentum, modes.displacement)
    return moved, velocities


def sample_gaussian(
    positions: FloatArray,
    mass: FloatArray,
    sigma: float,
    n: int,
    random: np.random.Generator,
) -> FloatArray:
    """Positions with an independent Gaussian displacement of every atom.

    Substitute if no Hessian is known: standard deviation sigma sqrt(1 u / mass) per axis, as for
    atoms bound by springs of the same frequency.

    Args:
        positions: (atoms, 3) bohr.
        mass: (atoms) electron masses.
        sigma: standard deviation of an atom of 1 u, bohr.
        n: number of draws.
        random: source of randomness.

    Returns:
        (n, atoms, 3) bohr.
    """
    width = sigma * np.sqrt(DALTON_ME / mass)
    return positions + random.normal(size=(n, *positions.shape)) * width[:, None]
