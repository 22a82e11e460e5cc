"""Processes that are begun while the command itself still loads its libraries.

To load what searches a run takes seconds, as long as the command takes to load, open the run and
find the gate. Where the files are large, so that others will compute, both begin at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from molexa_core.base.options.work_options import WorkOptions
from molexa_core.pipeline.work.processes import begin

LARGE_RUN: Final = 64 * 2**20
"""Bytes of the files of a run from which it is worked off in units."""


def begin_for(runs: Iterable[Path | str], work: WorkOptions, compute: str) -> None:
    """Begin to load what computes the units of a run, if it is large and processes will compute.

    Args:
        runs: its files, or its folder; whatever is none counts nothing.
        work: who computes.
        compute: of the phase, see `work.unit.Phase`.
    """
    alone = work.workers == 1 or (work.workers is None and (os.cpu_count() or 1) == 1)
    if alone or work.dask is not None or work.slurm:
        return
    if sum(map(_size, runs)) >= LARGE_RUN:
        begin(compute)


def _size(path: Path | str) -> int:
    """Bytes of a file, or of the files of a folder; 0 where there is neither."""
    with suppress(OSError):
        path = Path(path)
        files = path.iterdir() if path.is_dir() else [path]
        return sum(one.stat().st_size for one in files if one.is_file())
    return 0
