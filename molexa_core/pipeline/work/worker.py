"""A process that computes units: `python -m molexa_core.pipeline.work.worker PHASE.json`.

It reads numbers of units from its input, one a line, and answers each with a line of JSON. The end
of its input ends it, even within a unit, so that none outlives the command that started it. With
numbers behind the file it computes these units and ends (array jobs).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Final

from molexa_core.base import interruption
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.folder import UnitFolder, read_phase
from molexa_core.pipeline.work.unit import Compute, opened

_LIBRARIES: Final = ("OMP", "OPENBLAS", "MKL", "NUMBA")
ONE_THREAD: Final = {f"{name}_NUM_THREADS": "1" for name in _LIBRARIES}
"""A process that is one of many computes on one core."""


class Worker:
    """Computes units of one phase and writes their files.

    Args:
        phase: the file of the phase, in the folder of its units.
        compute: what computes the units; the function that the phase names if not given.
    """

    def __init__(self, phase: Path, compute: Compute | None = None) -> None:
        self._values = read_phase(phase)
        self._folder = UnitFolder(phase.parent)
        self._compute = compute

    def compute(self, number: int) -> Failure | None:
        """Compute a unit.

        Args:
            number: in the order of the phase.

        Returns:
            why it failed; None if its file is written.
        """
        key = self._values["keys"][number]
        label, values = self._values["units"][number]
        try:
            if self._compute is None:
                self._compute = opened(
                    self._values["compute"], self._values["settings"], self._values["places"]
                )
            self._folder.write(key, self._compute(values))
        except Exception as error:  # noqa: BLE001  (told to who asked; other units go on)
            failure = Failure.of(error)
            self._folder.write_failure(key, label, failure)
            return failure
        return None


def main(arguments: list[str]) -> int:
    """Compute the units that are asked for."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("phase", type=Path)
    parser.add_argument("units", nargs="*", type=int)
    asked = parser.parse_args(arguments)
    interruption.listen()
    worker = Worker(asked.phase)
    if asked.units:
        code = 0
        for number in asked.units:
            if (failure := worker.compute(number)) is not None:
                sys.stderr.write(f"{failure.sentence()}\n{failure.trace}")
                code = 1
        return code
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    for number in _asked():
        failure = worker.compute(number)
        told = None if failure is None else failure.as_values()
        answers.write(f"{json.dumps({'unit': number, 'failure': told})}\n")
    return 0


def _asked() -> Iterator[int]:
    """The numbers that come in; the end of the input also ends a unit in progress."""
    waiting: Queue[int | None] = Queue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(int(line))
        waiting.put(None)
        if not idle.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    idle = threading.Event()
    idle.set()
    threading.Thread(target=read, name="molexa-units", daemon=True).start()
    while True:
        number = waiting.get()
        if number is None:
            return
        idle.clear()
        yield number
        idle.set()


def run(arguments: list[str]) -> int:
    """Compute until there is nothing more to do, or a signal asks to stop."""
    with contextlib.suppress(interruption.Interruption, BrokenPipeError):
        return main(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
