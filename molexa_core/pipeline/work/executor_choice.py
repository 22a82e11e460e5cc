"""The executor that a call asks for."""

from __future__ import annotations

import os
from collections.abc import Callable

from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.pipeline.work.dask_cluster import Dask
from molexa_core.pipeline.work.executors import Executor, InThisProcess, never
from molexa_core.pipeline.work.processes import Processes
from molexa_core.pipeline.work.slurm import Slurm


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def executor_of(
    options: WorkOptions,
    units: int,
    progress: Progress = SILENT,
    *,
    late: Callable[[], bool] = never,
) -> Executor:
    """Who computes so many units.

    Args:
        options: what the call asks for.
        units: how many there are.
        progress: told about clusters.
        late: whether no further unit is to be begun; an array job of Slurm does not ask.
    """
    if options.dask is not None:
        return Dask(options.dask, progress, late)
    if options.slurm:
        return Slurm(options.slurm_array, tuple(options.slurm_option or ()), progress)
    number = min(cores() if options.workers is None else options.workers, units)
    return InThisProcess(late=late) if number == 1 else Processes(number, late)
