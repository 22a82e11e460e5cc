"""Workers of a Dask cluster that compute units: those of a scheduler, or processes started here.

Needs the extra `cluster`. The workers read the run and write the files of units themselves, so they
must see the same folders. A cluster of dask-jobqueue is used by the address of its scheduler.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from molexa_core.base import interruption
from molexa_core.base.errors import UsageError, WorkError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.pipeline.work.executors import Done, Executor, never
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.worker import ONE_THREAD, Worker

LOCAL: Final = "local"
_AHEAD: Final = 2
"""Submitted calls per worker: one in progress, one waiting, so that a deadline can be kept."""
CONNECT_S: Final = 30
"""Time to wait for a scheduler."""
_LOOK_S: Final = 0.05
"""Interval between checks for finished calls and for signals to stop."""
END_S: Final = 60
"""Time to wait for the end of an idle process."""
_own: Final = threading.local()


class Dask(Executor):
    """Computes units on the workers of a Dask cluster.

    Args:
        where: `local`, `local:4` for four workers, or the address of a scheduler.
        progress: receives the number of workers.
        late: whether no further unit is to be begun.
    """

    def __init__(
        self, where: str, progress: Progress = SILENT, late: Callable[[], bool] = never
    ) -> None:
        self._where, self._progress, self._late = where, progress, late

    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """See `Executor.compute`.

        Raises:
            UsageError: Dask is not installed, or the scheduler does not answer.
            WorkError: the scheduler is gone.
        """
        if not numbers:
            return
        with (
            _lost_connections(self._where),
            connected(self._where, self._progress) as (client, workers),
        ):
            given = ((str(phase.absolute()), number) for number in numbers)
            look = partial(self._require_scheduler, client)
            done = submitted(client, workers, compute_unit, given, look=look, late=self._late)
            for (_, number), future in done:
                if future.status != "finished":
                    self._require_scheduler(client)
                yield _outcome(future, number)

    def _require_scheduler(self, client: Any) -> None:
        if client.status != "running":
            raise _gone(self._where)


def _gone(where: str) -> WorkError:
    return WorkError(
        "the Dask scheduler is gone",
        where=where,
        do="Start it and run the same command again; finished units are kept.",
    )


@contextmanager
def _lost_connections(where: str) -> Iterator[None]:
    """Say what it means that a question to the scheduler is not answered any more.

    The errors of its connections are those of the operating system, which elsewhere in a command
    mean that a file cannot be written.
    """
    try:
        yield
    except (OSError, CancelledError) as error:
        raise _gone(where) from error


def compute_unit(phase: str, number: int) -> dict[str, Any] | None:
    """Compute a unit on a worker, which writes its file; why it failed, if it did."""
    known: dict[str, Worker] = _own.__dict__
    if phase not in known:
        known.clear()
        known[phase] = Worker(Path(phase))
    failure = known[phase].compute(number)
    return None if failure is None else failure.as_values()


def _outcome(future: Any, number: int) -> Done:
    if future.status == "finished":
        told = future.result()
        return Done(number, None if told is None else Failure(**told))
    error = future.exception() if future.status == "error" else None
    reason = " ".join(str(error).split()) if error is not None else f"it is {future.status}"
    return Done(number, Failure("WorkError", f"the Dask worker did not finish it: {reason}"))


@contextmanager
def connected(where: str, progress: Progress) -> Iterator[tuple[Any, int]]:
    """A client and its number of workers; processes that were started here end with the block.

    Args:
        where: `local`, `local:4` for four workers, or the address of a scheduler.
        progress: receives the number of workers.

    Raises:
        UsageError: Dask is not installed, or the scheduler does not answer.
    """
    client, cluster = connect(where)
    try:
        workers = max(1, len(client.scheduler_info()["workers"]))
        progress.say(f"Dask: {workers} workers, dashboard {client.dashboard_link}")
        yield client, workers
        if cluster is not None:
            cluster.sync(_ended, cluster)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def submitted(
    client: Any,
    workers: int,
    task: Callable[..., Any],
    arguments: Iterable[tuple[Any, ...]],
    *,
    look: Callable[[], None] = lambda: None,
    late: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Calls of a task with their futures, in the order in which they end.

    Few calls per worker are submitted at a time. A future is released when the next is asked for.

    Args:
        client: of the cluster.
        workers: number of them.
        task: sent to the workers.
        arguments: of each call.
        look: called while waiting, to raise an error where nothing is to be waited for.
        late: whether nothing is to be submitted any more.
    """
    waiting = iter(arguments)
    handed_out = {
        client.submit(task, *one, pure=False): one for one in islice(waiting, _AHEAD * workers)
    }
    done = dask().as_completed(list(handed_out))
    while handed_out:
        while not done.has_ready():
            interruption.check()
            look()
            time.sleep(_LOOK_S)
        future = next(done)
        yield handed_out.pop(future), future
        future.release()
        following = None if late() else next(waiting, None)
        if following is not None:
            added = client.submit(task, *following, pure=False)
            handed_out[added] = following
            done.add(added)


async def _ended(cluster: Any) -> None:
    """End the idle processes of a local cluster.

    On a busy machine such a process may take longer to end than the four seconds after which
    `cluster.close` kills it with a warning. Only processes that still compute should be killed.
    """
    workers = list(cluster.workers.values())
    await asyncio.gather(*(worker.close(timeout=END_S) for worker in workers))


def connect(where: str) -> tuple[Any, Any]:
    """A client, and its cluster if that was started here.

    Raises:
        UsageError: Dask is not installed, or the scheduler does not answer.
    """
    name, _, count = where.partition(":")
    if name == LOCAL:
        if count and not (count.isdigit() and int(count) > 0):
            raise UsageError(
                f"no number of workers in {where!r}",
                setting="dask",
                do="Write local, or local:4 for four workers.",
            )
        cluster = dask().LocalCluster(
            n_workers=int(count) if count else os.cpu_count() or 1,
            threads_per_worker=1,
            dashboard_address=None,
            env=ONE_THREAD,
        )
        return dask().Client(cluster), cluster
    try:
        return dask().Client(where, timeout=CONNECT_S), None
    except (OSError, ValueError) as error:
        detail = " ".join(str(error).split())
        raise UsageError(
            f"no Dask scheduler answers ({detail})", where=where, do="Check its address."
        ) from error


def dask() -> Any:
    """The package `distributed`, which has no types for its main calls.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module("distributed")
    except ImportError as error:
        raise UsageError(
            "Dask is not installed", do="Install it with: pip install 'molexa[cluster]'"
        ) from error
