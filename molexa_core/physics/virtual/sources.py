"""Sources of ions in a virtual experiment: exploding molecules and residual gas.

Positions in mm relative to the interaction point, momenta in a.u., laboratory axes: z along the
extraction field, x along the light, y along the jet.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings.setup import Jet, Setup
from molexa_core.base.settings.virtual import VirtualExperiment
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, BOLTZMANN_HARTREE_K
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import build_up
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables, pack_molecule
from molexa_core.physics.mcmd.trajectories import run_trajectories
from molexa_core.physics.molecules.vibrations import (
    NormalModes,
    sample_gaussian,
    sample_ground_state,
)

ACCURACY = "draft"
"""Errors of a few parts in a million, far below what any detector resolves."""
_TABLES: Final[dict[tuple[tuple[str, ...], float], MoleculeTables]] = {}
"""Those of the last molecule."""


@dataclass(frozen=True)
class Target:
    """The molecule of a virtual experiment, one atom per ion and in the order of the ions.

    Attributes:
        ions: the final ion of each atom.
        positions: (ions, 3) equilibrium in bohr.
        modes: its normal modes, None if not known.
    """

    ions: tuple[Ion, ...]
    positions: FloatArray
    modes: NormalModes | None

    @property
    def charges(self) -> FloatArray:
        """(ions) elementary charges."""
        return np.array([float(ion.charge) for ion in self.ions])

    @property
    def masses(self) -> FloatArray:
        """(ions) masses of the ions in electron masses."""
        return np.array([ion.mass for ion in self.ions])

    @property
    def atom_masses(self) -> FloatArray:
        """(ions) masses of the neutral atoms in electron masses."""
        return np.array([ion.neutral_mass for ion in self.ions])


@dataclass(frozen=True)
class Emission:
    """Ions at their start, flat over all shots.

    Attributes:
        shot: (n) number of the shot within its block.
        molecule: (n) row of the molecule of origin, -1 for residual gas.
        ion: (n) column of the ion in the channel, -1 for residual gas.
        charge: (n) elementary charges.
        mass: (n) electron masses.
        efficiency: (n) detection efficiency.
        start_mm: (n, 3) start position.
        momentum: (n, 3) initial momentum, a.u.
    """

    shot: IntArray
    molecule: IntArray
    ion: IntArray
    charge: FloatArray
    mass: FloatArray
    efficiency: FloatArray
    start_mm: FloatArray
    momentum: FloatArray

    def __len__(self) -> int:
        return len(self.shot)

    def followed_by(self, other: Emission) -> Emission:
        """These ions followed by the others."""
        return Emission(
            *(
                np.concatenate([getattr(self, entry.name), getattr(other, entry.name)])
                for entry in fields(Emission)
            )
        )


@dataclass(frozen=True)
class Molecules:
    """Molecules about to explode.

    Attributes:
        shot: (n) number of the shot within its block, ascending.
        position: (n, ions, 3) bohr, in the orientation of each molecule in the laboratory.
        velocity: (n, 3) motion with the jet, atomic units.
        start_mm: (n, 3) place of the explosion.
    """

    shot: IntArray
    position: FloatArray
    velocity: FloatArray
    start_mm: FloatArray


def draw_molecules(
    target: Target, setup: Setup, shots: int, random: np.random.Generator
) -> Molecules:
    """Draw the molecules that explode in a block of shots.

    The number per shot follows a Poisson distribution; structure, orientation, velocity and place
    of every molecule are drawn independently.
    """
    virtual = setup.virtual
    if virtual.statistics == "one":
        counts = np.ones(shots, dtype=np.int64)
    else:
        counts = random.poisson(virtual.molecules_per_shot, size=shots)
    shot = np.repeat(np.arange(shots, dtype=np.int64), counts)
    n = len(shot)
    position = _structures(target, virtual, n, random)
    turn = random_rotations(n, random)
    if virtual.orientation == "random":
        position = np.einsum("nab,nib->nia", turn, position)
    velocity = _jet(setup.jet, n, random)
    start = random.normal(size=(n, 3)) * np.array(virtual.interaction_size_mm)
    return Molecules(shot, position, velocity, start)


@dataclass(frozen=True)
class Fragments:
    """The fragments of exploded molecules.

    Attributes:
        momentum: (n, ions, 3) a.u.
        charge: (n, ions) int8, 0 for an atom that stayed neutral; None if every molecule breaks
            into the ions of the channel.
    """

    momentum: FloatArray
    charge: NDArray[np.int8] | None = None


def explode_molecules(
    target: Target, molecules: Molecules, setup: Setup, *, seed: int, first: int
) -> Fragments:
    """Explode molecules; momenta are those in the laboratory.

    Args:
        target: the molecule and its ions.
        molecules: positions and velocities of the molecules.
        setup: contains the model of the explosion.
        seed: of the random numbers of explosions in a pulse.
        first: number of the first molecule for these random numbers.

    Raises:
        UsageError: a pulse or switch of the model that cannot be computed.
        UnknownIonError: an element that the Monte-Carlo model does not cover.
    """
    virtual = setup.virtual
    if virtual.explosion == "mcmd":
        return _in_pulse(target, molecules, virtual, seed, first)
    rise = build_up(virtual.explosion, virtual.tau_fs)
    momentum = explode_many(
        molecules.position, target.charges, target.masses, build_up=rise, accuracy=ACCURACY
    )
    return Fragments(momentum + target.masses[:, None] * molecules.velocity[:, None, :])


def molecular_ions(
    target: Target, molecules: Molecules, fragments: Fragments, setup: Setup
) -> Emission:
    """The ions of exploded molecules, molecule by molecule in the order of the channel.

    Atoms that stayed neutral do not reach the detector and are left out.
    """
    n, ions = fragments.momentum.shape[:2]
    row = np.repeat(np.arange(n, dtype=np.int64), ions)
    column = np.tile(np.arange(ions, dtype=np.int64), n)
    momentum = fragments.momentum.reshape(-1, 3)
    if fragments.charge is None:
        charge, mass = target.charges[column], target.masses[column]
        seen = np.array([ion_efficiency(ion, setup) for ion in target.ions])[column]
    else:
        charge = fragments.charge.reshape(-1).astype(np.float64)
        mass = target.atom_masses[column] - charge
        seen = _efficiencies(target, fragments.charge, setup).reshape(-1)
        some = charge > 0
        row, column, momentum = row[some], column[some], momentum[some]
        charge, mass, seen = charge[some], mass[some], seen[some]
    return Emission(
        shot=molecules.shot[row],
        molecule=row,
        ion=column,
        charge=charge,
        mass=mass,
        efficiency=seen,
        start_mm=molecules.start_mm[row],
        momentum=momentum,
    )


def _in_pulse(
    target: Target, molecules: Molecules, virtual: VirtualExperiment, seed: int, first: int
) -> Fragments:
    """Simulate a separate trajectory for each molecule."""
    symbols = tuple(ion.element.symbol for ion in target.ions)
    masses = virtual.model.masses
    n = len(molecules.shot)
    if n == 0:
        shape = (0, len(symbols))
        return Fragments(np.empty((*shape, 3)), np.empty(shape, np.int8))
    found = run_trajectories(
        molecules.position,
        symbols,
        virtual.pulse,
        virtual.model,
        trajectories=1,
        seed=seed,
        masses=np.array([ion.mass_as(masses) + ion.charge for ion in target.ions]),
        first_trajectory=first,
        tables=molecule_tables(symbols, virtual.pulse.photon_ev),
    )
    charge = found.charges[:, 0]
    mass = target.atom_masses - charge
    momentum = found.momenta[:, 0].astype(np.float64)
    return Fragments(momentum + mass[..., None] * molecules.velocity[:, None, :], charge)


def molecule_tables(
    symbols: tuple[str, ...], photon_ev: float, progress: Progress = SILENT
) -> MoleculeTables:
    """The atomic tables of a molecule, kept in memory for the next block of shots."""
    key = (symbols, photon_ev)
    if key not in _TABLES:
        _TABLES.clear()
        _TABLES[key] = pack_molecule(symbols, photon_ev, progress=progress)
    return _TABLES[key]


def _efficiencies(target: Target, charge: NDArray[np.int8], setup: Setup) -> FloatArray:
    """(n, ions) detection efficiency of each ion; 0 for neutral atoms."""
    seen = np.zeros(charge.shape)
    for column, ion in enumerate(target.ions):
        for value in np.unique(charge[:, column]):
            if value > 0:
                this = replace(ion, charge=int(value))
                seen[charge[:, column] == value, column] = ion_efficiency(this, setup)
    return seen


def residual_ions(setup: Setup, shots: int, random: np.random.Generator) -> Emission:
    """Ions of the residual gas at room temperature, uniformly distributed along the light beam.

    Along x they start anywhere in front of the detector, along y and z within the beam. Momenta
    follow the Maxwell distribution: a Gaussian of variance m k T along each axis.
    """
    virtual = setup.virtual
    kinds = [(parse_ion(entry.ion), entry.per_shot) for entry in virtual.residual_gas]
    counts = [random.poisson(mean, size=shots) for _, mean in kinds]
    shot = [np.repeat(np.arange(shots, dtype=np.int64), count) for count in counts]
    kind = np.repeat(np.arange(len(kinds)), np.array([len(part) for part in shot], np.int64))
    n = len(kind)
    mass = np.array([ion.mass for ion, _ in kinds])[kind]
    charge = np.array([float(ion.charge) for ion, _ in kinds])[kind]
    seen = np.array([ion_efficiency(ion, setup) for ion, _ in kinds])[kind]
    thermal = np.sqrt(mass * BOLTZMANN_HARTREE_K * virtual.residual_gas_temperature_k)
    radius = setup.detector.radius_mm
    start = random.normal(size=(n, 3)) * np.array(virtual.interaction_size_mm)
    start[:, 0] = random.uniform(-radius, radius, size=n)
    return Emission(
        shot=np.concatenate(shot) if shot else np.empty(0, np.int64),
        molecule=np.full(n, -1, np.int64),
        ion=np.full(n, -1, np.int64),
        charge=charge,
        mass=mass,
        efficiency=seen,
        start_mm=start,
        momentum=random.normal(size=(n, 3)) * thermal[:, None],
    )


def ion_efficiency(ion: Ion, setup: Setup) -> float:
    """Detection efficiency of this ion."""
    return setup.virtual.efficiency.get(str(ion), setup.detection_efficiency)


def random_rotations(n: int, random: np.random.Generator) -> FloatArray:
    """(n, 3, 3) rotations, uniform over all orientations."""
    return rotations_of(random.normal(size=(4, n)))


def _structures(
    target: Target, virtual: VirtualExperiment, n: int, random: np.random.Generator
) -> FloatArray:
    if virtual.zero_point == "off":
        return np.repeat(target.positions[None], n, axis=0)
    if virtual.zero_point == "modes" and target.modes is not None:
        return sample_ground_state(target.positions, target.modes.stiffened(), n, random)
    sigma = virtual.zero_point_sigma_bohr
    return sample_gaussian(target.positions, target.atom_masses, sigma, n, random)


def _jet(jet: Jet, n: int, random: np.random.Generator) -> FloatArray:
    across, along = jet.transverse_spread_m_per_s, jet.spread_m_per_s
    velocity: FloatArray = random.normal(size=(n, 3)) * np.array([across, along, across])
    velocity[:, 1] += jet.velocity_m_per_s
    velocity /= ATOMIC_VELOCITY_M_S
    return velocity
