"""Many trajectories of one molecule in many geometries, on CPU cores or a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.walks import Exposure
from molexa_core.physics.mcmd import trajectory_loop as compiled
from molexa_core.physics.mcmd.job import Job, Trajectories, prepare
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables, grow_tables
from molexa_core.physics.mcmd.philox import key_of
from molexa_core.physics.mcmd.state import COUNTS, ENERGIES

__all__ = ["Job", "Trajectories", "available_cores", "prepare", "run_on_cpu", "run_trajectories"]
CHUNK: Final = 500
"""Number of trajectories that a core computes before it reports."""


def run_trajectories(
    positions: FloatArray,
    symbols: Sequence[str],
    pulse: Pulse,
    options: ModelOptions | None = None,
    *,
    trajectories: int,
    seed: int,
    velocities: FloatArray | None = None,
    masses: FloatArray | None = None,
    first_trajectory: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    tables: MoleculeTables | None = None,
    progress: Progress = SILENT,
) -> Trajectories:
    """Simulate molecules in an X-ray pulse until their ions are far apart.

    Trajectory t of geometry g has the number `first_trajectory + g * trajectories + t`; its random
    numbers depend on that number and the seed alone.

    Args:
        positions: (g, n, 3) bohr, or (n, 3) for one geometry.
        symbols: (n) elements.
        pulse: the pulse.
        options: switches of the model.
        trajectories: number per geometry.
        seed: 0 to 2^64 - 1.
        velocities: (g, n, 3) initial velocities, a.u.; at rest if not given.
        masses: (n) of the neutral atoms, electron masses; those of `options` if not given.
        first_trajectory: number of the first one.
        device: `cpu`, `cuda`, `cuda:1`, or `auto`.
        workers: number of threads on the CPU; that of the available cores if not given.
        tables: atomic tables of the molecule at this photon energy; from the cache if not given.
        progress: display of the progress.

    Raises:
        UnknownIonError: an element that is not covered.
        UsageError: overlapping atoms, inconsistent shapes, numbers out of range.
    """
    job = prepare(
        positions,
        symbols,
        pulse,
        options or ModelOptions(),
        trajectories=trajectories,
        seed=seed,
        velocities=velocities,
        masses=masses,
        first_trajectory=first_trajectory,
        tables=tables,
        progress=progress,
    )
    if device != "cpu":
        from molexa_core.physics.mcmd.gpu import launch as gpu  # noqa: PLC0415  (it loads torch)

        index = gpu.device_index(device)
        if index is not None and not job.tables.growing:
            return gpu.run_on_gpu(job, index, progress=progress)
        if index is not None:
            progress.say("tables of these elements grow as they are used: computed on the CPU")
    return run_on_cpu(job, workers=workers, progress=progress)


def run_on_cpu(
    job: Job, *, workers: int | None = None, progress: Progress = SILENT
) -> Trajectories:
    """Compute the trajectories of a job with the compiled kernel, in threads.

    If trajectories reach configurations that are not in the tables yet, these are computed and the
    trajectories repeated, until none is left.
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
    return result


def _follow_some(
    job: Job,
    todo: NDArray[np.bool_],
    result: Trajectories,
    rows: NDArray[np.int32],
    workers: int,
    progress: Progress,
) -> None:
    """Compute the trajectories (g, t) that are still to do, and store them in the result."""
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

    # Compiled or loaded here, for no trajectory: several threads that call it for the first time at
    # once disturb each other in the tables of the compiler.
    work((0, 0, 0))
    label = f"trajectories of {n} atoms"
    with progress.task(label, int(todo.sum()), "trajectories") as task:
        for done in _in_threads(work, _parts(todo, _chunk(n)), workers):
            task.advance(done)


def _parts(todo: NDArray[np.bool_], size: int) -> list[tuple[int, int, int]]:
    """Geometry, begin and end of pieces of at most `size` trajectories that are still to do."""
    parts = []
    for g, some in enumerate(todo):
        edge = np.diff(some.astype(np.int8), prepend=0, append=0)
        begins, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            parts += [(g, at, min(at + size, end)) for at in range(begin, end, size)]
    return parts


def _grown(job: Job, rows: NDArray[np.int32], progress: Progress) -> Job:
    """The same job with tables extended by the configurations at which trajectories ended."""
    lost = rows[job.tables.is_unknown(rows)]
    exposure = Exposure(job.fluence, job.sigma)
    tables = grow_tables(job.tables, lost, exposure, seed=job.seed, progress=progress)
    return replace(job, tables=tables, model=job.model._replace(**tables.arrays()))


def available_cores() -> int:
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _chunk(atoms: int) -> int:
    """Number of trajectories in one piece of work, which takes some tenths of a second."""
    return max(1, CHUNK * 25 // (25 + atoms**2))


def _in_threads(
    work: Callable[[tuple[int, int, int]], int], parts: Sequence[tuple[int, int, int]], workers: int
) -> Iterator[int]:
    """Results of `work` in order of completion; if the caller stops, the rest is cancelled."""
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
