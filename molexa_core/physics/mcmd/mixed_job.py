"""Trajectories of many geometries, each with its own elements, pulse and switches of the model.

All geometries have the same number of atoms, and are followed in one launch of the kernel. Results
are those of one `Job` per geometry, bit for bit on the same path: the trajectory of a geometry
depends on its own setting and on the number of the trajectory alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import CLOSEST_BOHR, require_apart
from molexa_core.physics.mcmd import trajectory_loop as compiled
from molexa_core.physics.mcmd.job import HIGHEST_DONOR, LARGEST_MOMENTUM
from molexa_core.physics.mcmd.philox import key_of
from molexa_core.physics.mcmd.photon_tables import PhotonTables
from molexa_core.physics.mcmd.state import CLOSE, COUNTS, ENERGIES, Model
from molexa_core.physics.mcmd.time_grid import StepGrid, step_grid

SETTING_FIELDS: Final = (
    *((name, "i4") for name in ("first_step", "steps", "recapture", "highest_donor", "pair")),
    *((name, "f4") for name in ("fluence", "lowest", "photon", "shake_off")),
    *((name, "f4") for name in ("double_auger", "transfer_time")),
)
"""`struct Setting` of the kernel: place and number of the steps of a geometry, switches, photons
per bohr^2 on the axis, lowest fluence relative to it, photon energy (hartree), probabilities, mean
time of a transfer (atomic units, 0 at once)."""
SETTING: Final = np.dtype(list(SETTING_FIELDS))


@dataclass(frozen=True)
class StepGrids:
    """Time steps of several durations, one grid after the other.

    Attributes:
        length: (all steps) lengths, atomic units.
        fraction: (all steps) share of the photons.
        first: (d) place of the first step of each grid.
        steps: (d) number of its steps.
    """

    length: FloatArray
    fraction: FloatArray
    first: NDArray[np.int32]
    steps: NDArray[np.int32]

    @classmethod
    def of(cls, grids: Sequence[StepGrid]) -> StepGrids:
        """The grids, one after the other."""
        steps: NDArray[np.int32] = np.array([len(grid) for grid in grids], dtype=np.int32)
        first = np.concatenate([[0], np.cumsum(steps)[:-1]]).astype(np.int32)
        length = np.concatenate([grid.length for grid in grids])
        fraction = np.concatenate([grid.fraction for grid in grids])
        return cls(length, fraction, first, steps)

    @classmethod
    def of_durations(cls, durations_fs: Sequence[float], options: ModelOptions) -> StepGrids:
        """Grids for pulses of these durations (FWHM), with the steps of the options."""
        steps = options.step_fs, options.growth, options.until_fs
        return cls.of([_grid(float(duration), *steps) for duration in durations_fs])


@lru_cache(maxsize=1024)
def _grid(duration_fs: float, step_fs: float, growth: float, until_fs: float) -> StepGrid:
    pulse = Pulse(duration_fs=duration_fs)
    return step_grid(pulse, step_fs=step_fs, growth=growth, until_fs=until_fs)


@dataclass(frozen=True)
class MixedJob:
    """The complete input of trajectories, checked and in the form of the kernels.

    g geometries of n atoms.

    Attributes:
        tables: atomic tables for several elements and photon energies.
        start: (g, n) int32, row of each neutral atom.
        mass: (g, n) masses of the neutral atoms, electron masses.
        positions: (g, n, 3) bohr.
        velocities: (g, n, 3) a.u.
        grids: time steps.
        settings: (g) of `SETTING`.
        trajectories: number per geometry; with a multiple of 128, the threads of a block of the GPU
            have the same number of steps.
        seed: 64-bit key.
        first: number of the first trajectory; those of a geometry follow each other.
        accuracy: longest step in units of the shortest time scale of the motion.
    """

    tables: PhotonTables
    start: NDArray[np.int32]
    mass: FloatArray
    positions: FloatArray
    velocities: FloatArray
    grids: StepGrids
    settings: NDArray[np.void]
    trajectories: int
    seed: int
    first: int
    accuracy: float


def prepare_mixed(
    numbers: NDArray[np.signedinteger],
    positions: FloatArray,
    pulses: Sequence[Pulse],
    options: Sequence[ModelOptions],
    tables: PhotonTables,
    *,
    trajectories: int,
    seed: int,
    first_trajectory: int = 0,
    velocities: FloatArray | None = None,
    masses: FloatArray | None = None,
) -> MixedJob:
    """Check the input and convert it to the form of the kernels.

    Args:
        numbers: (g, n) atomic numbers.
        positions: (g, n, 3) bohr.
        pulses: (g) pulses; their photon energies are among those of the tables.
        options: (g) switches; the steps (`step_fs`, `growth`, `until_fs`, `accuracy`) are common.
        tables: atomic tables.
        trajectories: number per geometry.
        seed: 0 to 2^64 - 1.
        first_trajectory: number of the first trajectory.
        velocities: (g, n, 3) a.u.; at rest if not given.
        masses: (g, n) of the neutral atoms, electron masses; those of the options if not given.

    Raises:
        UsageError: shapes that do not fit, an element or photon energy without tables, atoms in one
            place, or steps that differ between geometries.
    """
    x = np.ascontiguousarray(positions, dtype=np.float64)
    v = np.zeros_like(x) if velocities is None else np.ascontiguousarray(velocities, np.float64)
    g, n = numbers.shape
    if x.shape != (g, n, 3) or v.shape != x.shape or not g == len(pulses) == len(options):
        raise UsageError(
            f"{g} x {n} atomic numbers, positions {x.shape}, velocities {v.shape}, {len(pulses)} "
            f"pulses and {len(options)} sets of switches"
        )
    if not np.isfinite(v).all():
        raise UsageError("a velocity is not a number", do="Correct the geometries.")
    steps = {(o.step_fs, o.growth, o.until_fs, o.accuracy) for o in options}
    if len(steps) != 1:
        raise UsageError("the time steps of geometries differ", do="Use the same for all.")
    _require_apart(numbers, x)
    durations = sorted({pulse.duration_fs for pulse in pulses})
    grids = StepGrids.of_durations(durations, options[0])
    grid = np.searchsorted(durations, [pulse.duration_fs for pulse in pulses])
    settings = np.zeros(g, SETTING)
    settings["first_step"], settings["steps"] = grids.first[grid], grids.steps[grid]
    settings["recapture"] = [o.recapture for o in options]
    settings["highest_donor"] = [HIGHEST_DONOR[o.transfer] for o in options]
    settings["pair"] = [o.transfer == "pair" for o in options]
    settings["fluence"] = [pulse.fluence for pulse in pulses]
    settings["lowest"] = [o.lowest_fluence if o.focus == "volume" else 1.0 for o in options]
    settings["photon"] = [pulse.photon for pulse in pulses]
    settings["shake_off"] = [o.shake_off for o in options]
    settings["double_auger"] = [o.double_auger for o in options]
    settings["transfer_time"] = [o.transfer_time for o in options]
    if masses is None:
        average = np.array([o.masses == "average" for o in options])
        masses = np.where(average[:, None], _masses("average")[numbers], _masses("")[numbers])
    return MixedJob(
        tables=tables,
        start=tables.starts(numbers, np.array([pulse.photon_ev for pulse in pulses])),
        mass=np.ascontiguousarray(masses, dtype=np.float64),
        positions=x,
        velocities=v,
        grids=grids,
        settings=settings,
        trajectories=trajectories,
        seed=seed,
        first=first_trajectory,
        accuracy=options[0].accuracy,
    )


def _require_apart(numbers: NDArray[np.signedinteger], x: FloatArray) -> None:
    """`require_apart` for molecules that differ."""
    one, other = np.triu_indices(x.shape[1], 1)
    distance = np.linalg.norm(x[:, one] - x[:, other], axis=-1)
    for row in np.flatnonzero(~(distance >= CLOSEST_BOHR).all(axis=1)):  # also what is no number
        symbols = [BY_NUMBER[int(z)].symbol for z in numbers[row]]
        require_apart(symbols, x[row], where=f"geometry {row + 1}")


@dataclass(frozen=True)
class MixedTrajectories:
    """Results. g geometries, t trajectories of each, n atoms; as in `job.Trajectories`.

    Attributes:
        charges: (g, t, n) int8, final charges.
        momenta: (g, t, n, 3) float32, asymptotic momenta, a.u.
        fluence_factor: (g, t) float32, fluence relative to that on the axis.
        counts: (g, t, COUNTS) int16.
        energies: (g, t, ENERGIES) float32, hartree.
    """

    charges: NDArray[np.int8]
    momenta: NDArray[np.float32]
    fluence_factor: NDArray[np.float32]
    counts: NDArray[np.int16]
    energies: NDArray[np.float32]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """(g, t) see `job.Trajectories.lost`."""
        usable = (np.abs(self.momenta) <= LARGEST_MOMENTUM).all((-2, -1))  # false for nan
        found: NDArray[np.bool_] = (self.counts[..., CLOSE] > 0) | ~usable
        return found


def run_mixed_on_cpu(job: MixedJob, *, workers: int = 1) -> MixedTrajectories:
    """Compute the trajectories of a job with the compiled loop, in threads."""
    g, n = job.start.shape
    t = job.trajectories
    found = MixedTrajectories(
        charges=np.empty((g, t, n), np.int8),
        momenta=np.empty((g, t, n, 3), np.float32),
        fluence_factor=np.empty((g, t), np.float32),
        counts=np.empty((g, t, COUNTS), np.int16),
        energies=np.empty((g, t, ENERGIES), np.float32),
    )
    key, tables = key_of(job.seed), job.tables
    rows = np.empty((g, t, n), np.int32)

    def work(row: int, end: int = t) -> None:
        s = job.settings[row]
        steps = slice(int(s["first_step"]), int(s["first_step"] + s["steps"]))
        rules = [
            *(s[name] for name in ("photon", "shake_off", "double_auger", "recapture")),
            *(s[name] for name in ("highest_donor", "pair", "transfer_time")),
            job.accuracy,
        ]
        compiled.follow(
            job.first + row * t,
            job.positions[row],
            job.velocities[row],
            Model(
                tables.config_int,
                tables.config_real,
                tables.move_int,
                tables.move_real,
                job.start[row],
                job.mass[row],
                np.array(rules, dtype=np.float64),
            ),
            job.grids.length[steps],
            job.grids.fraction[steps],
            float(s["fluence"]),
            float(s["lowest"]),
            key,
            found.charges[row, :end],
            found.momenta[row, :end],
            found.fluence_factor[row, :end],
            found.counts[row, :end],
            found.energies[row, :end],
            rows[row, :end],
        )

    work(0, 0)  # compiled or loaded here: several threads at once disturb the compiler
    with ThreadPoolExecutor(workers) as threads:
        for _ in threads.map(work, range(g)):
            pass
    return found


@lru_cache(maxsize=2)
def _masses(kind: str) -> FloatArray:
    """Masses of the neutral atoms by atomic number, electron masses."""
    values = np.zeros(max(BY_NUMBER) + 1)
    for number, element in BY_NUMBER.items():
        values[number] = element.average_mass if kind == "average" else element.isotope_mass
    return values
