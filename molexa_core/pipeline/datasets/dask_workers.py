"""Computation of blocks on Dask workers: local processes, or those of a scheduler.

Needs the extra `cluster`. The workers compute; the main process writes the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from molexa_core.base import interruption
from molexa_core.base.errors import UsageError
from molexa_core.base.progress import Progress
from molexa_core.pipeline.datasets.blocks import BlockPlan
from molexa_core.pipeline.datasets.entries import EntryBlock
from molexa_core.pipeline.work.dask_cluster import connect, dask, ended

_AHEAD: Final = 2
"""Submitted blocks per worker: one in progress, one waiting, so that a deadline can be kept."""
_LOOK_S: Final = 0.05
"""Interval between checks for finished blocks and for signals to stop."""


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
    client, cluster = connect(where)
    try:
        workers = max(1, len(client.scheduler_info()["workers"]))
        progress.say(f"Dask: {workers} workers, dashboard {client.dashboard_link}")
        yield _finished(client, task, blocks, deadline, workers)
        if cluster is not None:
            cluster.sync(ended, cluster)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def _finished(
    client: Any,
    task: Callable[[BlockPlan], EntryBlock],
    blocks: Sequence[BlockPlan],
    deadline: float | None,
    workers: int,
) -> Iterator[tuple[BlockPlan, EntryBlock | Exception]]:
    waiting = iter(blocks)
    handed_out = {
        client.submit(task, block, pure=False): block for block in islice(waiting, _AHEAD * workers)
    }
    done = dask().as_completed(list(handed_out))
    while handed_out:
        while not done.has_ready():
            interruption.check()
            time.sleep(_LOOK_S)
        future = next(done)
        block = handed_out.pop(future)
        good = future.status == "finished"
        result = future.result() if good else _error_of(future)
        future.release()
        late = deadline is not None and time.monotonic() > deadline
        following = None if late else next(waiting, None)
        if following is not None:
            added = client.submit(task, following, pure=False)
            handed_out[added] = following
            done.add(added)
        yield block, result


def _error_of(future: Any) -> Exception:
    """The error with which a block failed on a worker."""
    error = future.exception() if future.status == "error" else None
    return error if isinstance(error, Exception) else UsageError(f"the worker is {future.status}")
