"""Many trajectories of one molecule in many geometries, on processor cores or a graphics card."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.walks import Exposure
from molexa_core.physics.batches import CLOSEST_BOHR
from molexa_core.physics.mcmd import compiled
from molexa_core.physics.mcmd.options import HIGHEST_DONOR, Options
from molexa_core.physics.mcmd.philox import key_of
from molexa_core.physics.mcmd.pulse import Pulse, StepGrid, step_grid
from molexa_core.physics.mcmd.state import COUNTS, ENERGIES, PHOTONS, RULES, Model
from molexa_core.physics.mcmd.tables import (
    MoleculeTables,
    grow_tables,
    pack_molecule,
    prepare_tables,
)

CHUNK: Final = 500
"""Trajectories that a core follows before it reports."""
MOST_WALKS: Final = 500
"""Walks of single atoms that fill tables that grow before the first trajectory."""


@dataclass(frozen=True)
class Trajectories:
    """The outcome of trajectories. g geometries, t trajectories of each, n atoms.

    Attributes:
        symbols: element of each atom.
        mass: (n) masses of the neutral atoms, electron masses; an ion has its charge less.
        charges: (g, t, n) int8, final charges.
        momenta: (g, t, n, 3) float32, asymptotic momenta, a.u.
        fluence_factor: (g, t) float32, fluence relative to that on the axis.
        counts: (g, t, COUNTS) int16, see `state.PHOTONS` and its neighbours.
        energies: (g, t, ENERGIES) float32, hartree, see `state.ABSORBED` and its neighbours.
        rows: (g, t, n) int32, configurations at the end, rows of the tables of the molecule; None
            if not asked for.
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
        """(g, t) photons that the molecule absorbed."""
        return self.counts[..., PHOTONS]

    @property
    def kinetic(self) -> FloatArray:
        """(g, t, n) asymptotic kinetic energies of the ions, hartree."""
        p = self.momenta.astype(np.float64)
        energy: FloatArray = (p**2).sum(-1) / (2.0 * (self.mass - self.charges))
        return energy


@dataclass(frozen=True)
class Job:
    """Everything that trajectories need, checked and in the form of the kernels.

    Attributes:
        tables: atomic tables of the molecule.
        positions: (g, n, 3) bohr.
        velocities: (g, n, 3) a.u.
        model: tables and switches for the kernels.
        grid: steps.
        fluence: photons per bohr^2 on the axis.
        lowest: lowest fluence factor; 1 on the axis.
        trajectories: how many per geometry.
        seed: 64-bit key.
        first: number of the first trajectory.
        sigma: standard deviation of the pulse in time, atomic units; for tables that grow.
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


def run_trajectories(
    positions: FloatArray,
    symbols: Sequence[str],
    pulse: Pulse,
    options: Options | None = None,
    *,
    trajectories: int,
    seed: int,
    velocities: FloatArray | None = None,
    first_trajectory: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    tables: MoleculeTables | None = None,
    progress: Progress = SILENT,
) -> Trajectories:
    """Follow molecules through an X-ray pulse until their ions are far apart.

    Trajectory t of geometry g has the number `first_trajectory + g * trajectories + t`; its random
    numbers depend on that number and the seed alone.

    Args:
        positions: (g, n, 3) bohr, or (n, 3) for one geometry.
        symbols: (n) elements.
        pulse: the pulse.
        options: switches of the model.
        trajectories: how many per geometry.
        seed: 0 to 2^64 - 1.
        velocities: (g, n, 3) a.u. at the beginning; at rest if not given.
        first_trajectory: number of the first one.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`.
        workers: threads on the CPU; the cores that this process may use if not given.
        tables: the tables of these atoms at this photon energy; looked up if not given.
        progress: where to report.

    Raises:
        UnknownIonError: an element that is not covered.
        UsageError: overlapping atoms, shapes that do not fit, numbers out of range.
        ComputationError: a momentum is not a number.
    """
    job = prepare(
        *(positions, symbols, pulse, options or Options()),
        trajectories=trajectories,
        seed=seed,
        velocities=velocities,
        first_trajectory=first_trajectory,
        tables=tables,
        progress=progress,
    )
    if device != "cpu":
        from molexa_core.physics.mcmd import gpu  # noqa: PLC0415  (it imports this module, and torch)

        index = gpu.device_index(device)
        if index is not None and not job.tables.growing:
            return gpu.run_on_gpu(job, index, progress=progress)
        if index is not None:
            progress.say("tables of these elements grow as they are used: computed on the CPU")
    return run_on_cpu(job, workers=workers, progress=progress)


def prepare(
    positions: FloatArray,
    symbols: Sequence[str],
    pulse: Pulse,
    options: Options,
    *,
    trajectories: int,
    seed: int,
    velocities: FloatArray | None = None,
    first_trajectory: int = 0,
    tables: MoleculeTables | None = None,
    progress: Progress = SILENT,
) -> Job:
    """Check everything and put it in the form of the kernels; see `run_trajectories`."""
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
        model=model_of(tables, pulse, options),
        grid=grid,
        fluence=pulse.fluence,
        lowest=options.lowest_fluence if options.focus == "volume" else 1.0,
        trajectories=trajectories,
        seed=seed,
        first=first_trajectory,
        sigma=pulse.sigma,
    )


def model_of(tables: MoleculeTables, pulse: Pulse, options: Options) -> Model:
    """Tables and switches as the kernels read them."""
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
        tables.masses(options.masses),
        rules,
    )


def run_on_cpu(
    job: Job, *, workers: int | None = None, progress: Progress = SILENT
) -> Trajectories:
    """Follow the trajectories of a job with the compiled kernel, in threads.

    Where trajectories reach configurations that the tables do not hold yet, these are computed and
    those trajectories repeated, until none is left.
    """
    geometries, n = job.positions.shape[:2]
    count = job.trajectories
    shape = (geometries, count)
    rows = np.empty((*shape, n), np.int32)
    result = Trajectories(
        symbols=job.tables.symbols,
        mass=job.model.mass,
        charges=np.empty((*shape, n), np.int8),
        momenta=np.empty((*shape, n, 3), np.float32),
        fluence_factor=np.empty(shape, np.float32),
        counts=np.empty((*shape, COUNTS), np.int16),
        energies=np.empty((*shape, ENERGIES), np.float32),
        rows=rows,
    )
    todo = np.ones(shape, dtype=bool)
    while todo.any():
        _follow_some(job, todo, result, rows, workers or available_cores(), progress)
        todo &= job.tables.is_unknown(rows).any(axis=-1)
        if todo.any():
            job = _grown(job, rows[todo], progress)
    if not np.isfinite(result.momenta).all():
        raise ComputationError(
            "a trajectory gave momenta that are not numbers", do="Check the geometry."
        )
    return result


def _follow_some(
    job: Job,
    todo: NDArray[np.bool_],
    result: Trajectories,
    rows: NDArray[np.int32],
    workers: int,
    progress: Progress,
) -> None:
    """Follow the trajectories (g, t) that are to do, and put them into the result."""
    key, n = key_of(job.seed), job.positions.shape[1]

    def work(part: tuple[int, int, int]) -> int:
        g, begin, end = part
        compiled.follow(
            job.first + g * job.trajectories + begin,
            job.positions[g],
            job.velocities[g],
            job.model,
            job.grid.length,
            job.grid.fraction,
            job.fluence,
            job.lowest,
            key,
            result.charges[g, begin:end],
            result.momenta[g, begin:end],
            result.fluence_factor[g, begin:end],
            result.counts[g, begin:end],
            result.energies[g, begin:end],
            rows[g, begin:end],
        )
        return end - begin

    label = f"trajectories of {n} atoms"
    with progress.task(label, int(todo.sum()), "trajectories") as task:
        for done in _in_threads(work, _parts(todo, _chunk(n)), workers):
            task.advance(done)


def _parts(todo: NDArray[np.bool_], size: int) -> list[tuple[int, int, int]]:
    """Geometry, begin and end of runs of at most `size` trajectories that are to do."""
    parts = []
    for g, some in enumerate(todo):
        edge = np.diff(some.astype(np.int8), prepend=0, append=0)
        begins, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            parts += [(g, at, min(at + size, end)) for at in range(begin, end, size)]
    return parts


def _grown(job: Job, rows: NDArray[np.int32], progress: Progress) -> Job:
    """The same job with tables that hold the configurations at which trajectories (t, n) ended."""
    lost = rows[job.tables.is_unknown(rows)]
    exposure = Exposure(job.fluence, job.sigma)
    tables = grow_tables(job.tables, lost, exposure, seed=job.seed, progress=progress)
    return replace(job, tables=tables, model=job.model._replace(**tables.arrays()))


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _chunk(atoms: int) -> int:
    """Trajectories in one piece of work, some tenths of a second."""
    return max(1, CHUNK * 25 // (25 + atoms**2))


def _in_threads(
    work: Callable[[tuple[int, int, int]], int], parts: Sequence[tuple[int, int, int]], workers: int
) -> Iterator[int]:
    """Results of `work` as they come; pieces not begun are dropped when the caller stops."""
    if workers <= 1:
        yield from map(work, parts)
        return
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, part) for part in parts]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _require_geometries(x: FloatArray, v: FloatArray, symbols: Sequence[str]) -> None:
    n = len(symbols)
    if x.ndim != 3 or x.shape[1:] != (n, 3) or v.shape != x.shape or not len(x):
        raise UsageError(
            f"positions {x.shape} and velocities {v.shape} for {n} atoms",
            do="Both are (geometries, atoms, 3).",
        )
    if not (np.isfinite(x).all() and np.isfinite(v).all()):
        raise UsageError("a coordinate is not a number", do="Correct the geometry.")
    if n < 2:
        return
    first, second = np.triu_indices(n, 1)
    distance = np.linalg.norm(x[:, first] - x[:, second], axis=-1)
    g, pair = np.unravel_index(int(distance.argmin()), distance.shape)
    if distance[g, pair] < CLOSEST_BOHR:
        i, j = int(first[pair]), int(second[pair])
        raise UsageError(
            f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) overlap: their distance is "
            f"{distance[g, pair]:.3g} bohr",
            where=f"geometry {g + 1}",
            do=f"Atoms must be at least {CLOSEST_BOHR} bohr apart; are the units angstrom?",
        )


def _require_whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int | np.integer) or not low <= value <= high:
        raise UsageError(
            f"{value!r} is not usable", where=name, do=f"Give a whole number from {low} to {high}."
        )
