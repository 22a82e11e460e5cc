"""The executor that a call asks for."""

from __future__ import annotations

import os

from molexa_core.base.options.work_options import WorkOptions
from molexa_core.pipeline.work.executors import Executor, InThisProcess
from molexa_core.pipeline.work.processes import Processes


def cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def executor_of(options: WorkOptions, units: int) -> Executor:
    """Who computes so many units."""
    number = min(cores() if options.workers is None else options.workers, units)
    return InThisProcess() if number == 1 else Processes(number)
