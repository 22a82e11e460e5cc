"""Processes of this machine that compute units."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import molexa_core
from molexa_core.base import interruption
from molexa_core.pipeline.work import fork_server
from molexa_core.pipeline.work.executors import Done, Executor, never
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.fork_server import ForkedWorker, ForkServer
from molexa_core.pipeline.work.worker import ONE_THREAD

_AHEAD: Final = 2
"""Units that a process has at a time: one in progress, one waiting."""
_TRIES: Final = 3
"""How often a unit is computed whose process was ended from outside."""
_LOOK_S: Final = 0.2
_begun: Final[dict[str, ForkServer]] = {}
"""Servers that were begun before it was known for which units, by what they compute."""
_END_S: Final = 5.0


@dataclass
class _Process:
    """A process that runs, its units in the order in which it was given them."""

    popen: subprocess.Popen[bytes] | ForkedWorker
    log: IO[bytes]
    given: deque[int] = field(default_factory=deque)
    answer: bytes = b""

    def give(self, number: int) -> bool:
        """Give it a unit; false if it is gone."""
        try:
            _input(self).write(f"{number}\n".encode())
            _input(self).flush()
        except OSError:
            return False
        self.given.append(number)
        return True


class Processes(Executor):
    """Computes units in processes of this machine.

    One that is killed from outside is replaced, and its unit computed again, a few times.

    Args:
        number: how many.
        late: whether no further unit is to be begun.
    """

    def __init__(self, number: int, late: Callable[[], bool] = never) -> None:
        self._number, self._late = number, late
        self._server: ForkServer | None = None

    def prepare(self, compute: str, settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
        """See `Executor.prepare`."""
        if self._server is None:
            self._server = _begun.pop(compute, None) or _new_server(compute)
            if self._server is not None:
                self._server.warm_up(settings, places)

    def close(self) -> None:
        """See `Executor.close`."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """See `Executor.compute`."""
        waiting = deque(numbers)
        left = len(waiting)
        tries: dict[int, int] = {}
        alive: list[_Process] = []
        selector = selectors.DefaultSelector()
        started = 0
        try:
            while left:
                if waiting and self._late():
                    left -= len(waiting)
                    waiting.clear()
                while len(alive) < min(self._number, left) and waiting:
                    alive.append(_start(phase, started, self._server))
                    started += 1
                    selector.register(_output(alive[-1]), selectors.EVENT_READ, alive[-1])
                    if waiting and alive[-1].give(waiting[0]):  # it begins while others start
                        waiting.popleft()
                _hand_out(alive, waiting)
                for key, _ in selector.select(_LOOK_S):
                    process: _Process = key.data
                    data = os.read(_output(process).fileno(), 2**16)
                    if data:
                        for done in _answers(process, data):
                            left -= 1
                            _hand_out(alive, waiting)
                            yield done
                        continue
                    selector.unregister(_output(process))
                    alive.remove(process)
                    for done in _gone(process, tries, waiting):
                        left -= 1
                        yield done
                interruption.check()
        finally:
            selector.close()
            _end(alive)


def begin(compute: str) -> None:
    """Begin to load what computes units, before anything else is known of them.

    Whoever asks for these units within this process uses it (`Processes.prepare`); otherwise it
    ends with this process, or with `forget`.

    Args:
        compute: of the phase, see `work.unit.Phase`.
    """
    if compute not in _begun and (server := _new_server(compute)) is not None:
        _begun[compute] = server


@atexit.register
def forget() -> None:
    """End what was begun and not used."""
    while _begun:
        _begun.popitem()[1].end()


def _new_server(compute: str) -> ForkServer | None:
    if fork_server.possible():
        with suppress(OSError):
            return ForkServer(compute, _environment())
    return None


def _environment() -> dict[str, str]:
    """Of the processes: they find this molexa, and compute on one core each."""
    root = str(Path(molexa_core.__file__).parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(paths)}


def _start(phase: Path, number: int, server: ForkServer | None) -> _Process:
    log = (phase.parent / f"log-{number}.txt").open("ab")
    if server is not None and (made := server.make(phase, log)) is not None:
        return _Process(made, log)
    popen = subprocess.Popen(  # noqa: S603  (this Python)
        [sys.executable, "-m", "molexa_core.pipeline.work.worker", str(phase)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=_environment(),
        start_new_session=True,  # Ctrl-C is for the command, which ends its processes
    )
    return _Process(popen, log)


def _output(process: _Process) -> IO[bytes]:
    return _there(process.popen.stdout)


def _input(process: _Process) -> IO[bytes]:
    return _there(process.popen.stdin)


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        msg = "a process was started without a pipe"
        raise TypeError(msg)
    return pipe


def _hand_out(alive: Sequence[_Process], waiting: deque[int]) -> None:
    """Give units to those that have fewest."""
    for room in range(_AHEAD):
        for process in alive:
            if waiting and len(process.given) <= room and process.give(waiting[0]):
                waiting.popleft()


def _answers(process: _Process, data: bytes) -> Iterator[Done]:
    *lines, process.answer = (process.answer + data).split(b"\n")
    for line in lines:
        told: dict[str, Any] = json.loads(line)
        process.given.remove(told["unit"])
        failure = told["failure"]
        yield Done(told["unit"], None if failure is None else Failure(**failure))


def _gone(process: _Process, tries: dict[int, int], waiting: deque[int]) -> Iterator[Done]:
    """What becomes of the units of a process that ended before they were finished."""
    code = process.popen.wait()
    process.log.close()
    begun, *rest = process.given or (None,)
    process.given.clear()
    waiting.extendleft(reversed(rest))
    if begun is None:
        return
    tries[begun] = tries.get(begun, 0) + 1
    if tries[begun] < _TRIES:
        waiting.appendleft(begun)
        return
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    yield Done(
        begun,
        Failure(
            "WorkError",
            f"the process that computed it ended {_TRIES} times ({how})",
            do=f"See {process.log.name}; where memory ran out, use fewer `workers=`.",
        ),
    )


def _end(alive: Sequence[_Process]) -> None:
    """End processes that are not needed any more."""
    for process in alive:
        with suppress(OSError):
            _input(process).close()
    deadline = time.monotonic() + _END_S
    for process in alive:
        try:
            process.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()
        _output(process).close()
        process.log.close()
