"""Computation of blocks on Dask workers: local processes, or those of a scheduler.

Needs the extra `cluster`. The workers compute; the main process writes the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from molexa_core.base.errors import UsageError
from molexa_core.base.progress import Progress
from molexa_core.pipeline.datasets.blocks import BlockPlan
from molexa_core.pipeline.datasets.entries import EntryBlock
from molexa_core.pipeline.work.dask_cluster import connected, submitted


@contextmanager
def computed_by_dask(
    where: str,
    task: Callable[[BlockPlan], EntryBlock],
    blocks: Sequence[BlockPlan],
    deadline: float | None,
    progress: Progress,
) -> Iterator[Iterator[tuple[BlockPlan, EntryBlock | Exception]]]:
    """The blocks, or the errors of failed ones, in order of completion.

    Args:
        where: `local`, `local:4` for four workers, or the address of a scheduler.
        task: computes one block; it is sent to the workers.
        blocks: the blocks to compute.
        deadline: in terms of `time.monotonic`; no block is submitted after it.
        progress: receives the number of workers.

    Raises:
        UsageError: Dask is not installed, or the scheduler does not answer.
    """
    with connected(where, progress) as (client, workers):
        yield _finished(client, task, blocks, deadline, workers)


def _finished(
    client: Any,
    task: Callable[[BlockPlan], EntryBlock],
    blocks: Sequence[BlockPlan],
    deadline: float | None,
    workers: int,
) -> Iterator[tuple[BlockPlan, EntryBlock | Exception]]:
    def late() -> bool:
        return deadline is not None and time.monotonic() > deadline

    done = submitted(client, workers, task, ((block,) for block in blocks), late=late)
    for (block,), future in done:
        yield block, future.result() if future.status == "finished" else _error_of(future)


def _error_of(future: Any) -> Exception:
    """The error with which a block failed on a worker."""
    error = future.exception() if future.status == "error" else None
    return error if isinstance(error, Exception) else UsageError(f"the worker is {future.status}")
