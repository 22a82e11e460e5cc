"""Input of the trajectories, checked and in the form of the kernels, and their results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.forward_model import ModelOptions, Pulse, Transfer
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.walks import Exposure
from molexa_core.physics.coulomb.batches import require_apart
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables, pack_molecule, prepare_tables
from molexa_core.physics.mcmd.state import CLOSE, PHOTONS, RULES, Model
from molexa_core.physics.mcmd.time_grid import StepGrid, step_grid

MOST_WALKS: Final = 500
"""Number of walks of single atoms that fill growing tables before the first trajectory."""
HIGHEST_DONOR: Final[dict[Transfer, int]] = {
    "none": -1,
    "neutral": 0,
    "low": 1,
    "full": 99,
    "pair": 99,
}
"""Highest charge of an atom that can give an electron, by rule of transfer."""
LARGEST_MOMENTUM: Final = 16384.0
"""Momenta above this, in a.u., are invalid (a proton would have 2 MeV)."""


@dataclass(frozen=True)
class Trajectories:
    """The results of trajectories. g geometries, t trajectories of each, n atoms.

    Attributes:
        symbols: element of each atom.
        mass: (n) masses of the neutral atoms, electron masses; subtract the charge for ions.
        charges: (g, t, n) int8, final charges.
        momenta: (g, t, n, 3) float32, asymptotic momenta, a.u.
        fluence_factor: (g, t) float32, fluence relative to that on the axis.
        counts: (g, t, COUNTS) int16, see `state.PHOTONS` and its neighbours.
        energies: (g, t, ENERGIES) float32, hartree, see `state.ABSORBED` and its neighbours.
        rows: (g, t, n) int32, final configurations, rows of the tables of the molecule; None if
            not requested.
    """

    symbols: tuple[str, ...]
    mass: FloatArray
    charges: NDArray[np.int8]
    momenta: NDArray[np.float32]
    fluence_factor: NDArray[np.float32]
    counts: NDArray[np.int16]
    energies: NDArray[np.float32]
    rows: NDArray[np.int32] | None = None

    @property
    def photons(self) -> NDArray[np.int16]:
        """(g, t) number of photons absorbed by the molecule."""
        return self.counts[..., PHOTONS]

    @property
    def lost(self) -> NDArray[np.bool_]:
        """(g, t) whether a trajectory is invalid and must be excluded from all sums.

        An ion changed its charge within the core of another (`state.CORE_BOHR`), or a momentum is
        not a number or above `LARGEST_MOMENTUM`.
        """
        usable = (np.abs(self.momenta) <= LARGEST_MOMENTUM).all((-2, -1))  # false for nan
        found: NDArray[np.bool_] = (self.counts[..., CLOSE] > 0) | ~usable
        return found

    @property
    def kinetic(self) -> FloatArray:
        """(g, t, n) asymptotic kinetic energies of the ions, hartree."""
        p = self.momenta.astype(np.float64)
        energy: FloatArray = (p**2).sum(-1) / (2.0 * (self.mass - self.charges))
        return energy


@dataclass(frozen=True)
class Job:
    """The complete input of trajectories, checked and in the form of the kernels.

    Attributes:
        tables: atomic tables of the molecule.
        positions: (g, n, 3) bohr.
        velocities: (g, n, 3) a.u.
        model: tables and switches for the kernels.
        grid: steps.
        fluence: photons per bohr^2 on the axis.
        lowest: lowest fluence factor; 1 on the axis.
        trajectories: number per geometry.
        seed: 64-bit key.
        first: number of the first trajectory.
        sigma: standard deviation of the pulse in time, atomic units; for growing tables.
    """

    tables: MoleculeTables
    positions: FloatArray
    velocities: FloatArray
    model: Model
    grid: StepGrid
    fluence: float
    lowest: float
    trajectories: int
    seed: int
    first: int
    sigma: float = 1.0


def prepare(
    positions: FloatArray,
    symbols: Sequence[str],
    pulse: Pulse,
    options: ModelOptions,
    *,
    trajectories: int,
    seed: int,
    velocities: FloatArray | None = None,
    masses: FloatArray | None = None,
    first_trajectory: int = 0,
    tables: MoleculeTables | None = None,
    progress: Progress = SILENT,
) -> Job:
    """Check the input and convert it to the form of the kernels; see `run_trajectories`."""
    x = np.ascontiguousarray(positions, dtype=np.float64)
    x = x[None] if x.ndim == 2 else x
    v = np.zeros_like(x) if velocities is None else np.asarray(velocities, dtype=np.float64)
    v = np.ascontiguousarray(v[None] if v.ndim == 2 else v)
    _require_geometries(x, v, symbols)
    _require_whole("trajectories", trajectories, 1, 2**31)
    _require_whole("seed", seed, 0, 2**64 - 1)
    _require_whole("first_trajectory", first_trajectory, 0, 2**62)
    if tables is None:
        tables = pack_molecule(symbols, pulse.photon_ev, progress=progress)
    elif tables.symbols != tuple(symbols) or tables.photon_ev != round(pulse.photon_ev, 3):
        raise UsageError("the tables are those of another molecule or photon energy")
    walks = min(MOST_WALKS, trajectories * len(x))
    exposure = Exposure(pulse.fluence, pulse.sigma)
    tables = prepare_tables(tables, exposure, walks=walks, seed=seed, progress=progress)
    grid = step_grid(
        pulse, step_fs=options.step_fs, growth=options.growth, until_fs=options.until_fs
    )
    return Job(
        tables=tables,
        positions=x,
        velocities=v,
        model=model_of(tables, pulse, options, masses),
        grid=grid,
        fluence=pulse.fluence,
        lowest=options.lowest_fluence if options.focus == "volume" else 1.0,
        trajectories=trajectories,
        seed=seed,
        first=first_trajectory,
        sigma=pulse.sigma,
    )


def model_of(
    tables: MoleculeTables, pulse: Pulse, options: ModelOptions, masses: FloatArray | None = None
) -> Model:
    """Tables and switches in the form of the kernels, optionally with other masses."""
    rules = np.array(
        [
            pulse.photon,
            options.shake_off,
            options.double_auger,
            float(options.recapture),
            HIGHEST_DONOR[options.transfer],
            float(options.transfer == "pair"),
            options.transfer_time,
            options.accuracy,
        ]
    )
    if len(rules) != RULES:
        raise ComputationError("the switches do not fit the kernels")
    return Model(
        tables.config_int,
        tables.config_real,
        tables.move_int,
        tables.move_real,
        tables.start,
        tables.masses(options.masses) if masses is None else _masses(masses, tables),
        rules,
    )


def _masses(masses: FloatArray, tables: MoleculeTables) -> FloatArray:
    values = np.ascontiguousarray(masses, dtype=np.float64)
    if values.shape != (len(tables.symbols),) or not (values > 0).all():
        raise UsageError(
            f"masses {values.shape} for {len(tables.symbols)} atoms", do="Give one for each."
        )
    return values


def _require_geometries(x: FloatArray, v: FloatArray, symbols: Sequence[str]) -> None:
    n = len(symbols)
    if x.ndim != 3 or x.shape[1:] != (n, 3) or v.shape != x.shape or not len(x):
        raise UsageError(
            f"positions {x.shape} and velocities {v.shape} for {n} atoms",
            do="Both are (geometries, atoms, 3).",
        )
    if not np.isfinite(v).all():
        raise UsageError("a velocity is not a number", do="Correct the geometry.")
    require_apart(symbols, x)


def _require_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or not low <= value <= high:
        raise UsageError(
            f"{value!r} is not usable",
            setting=name,
            do=f"Give a whole number from {low} to {high}.",
        )
