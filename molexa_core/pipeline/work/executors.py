"""Who computes units: this process, others of this machine, Dask, Slurm."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from molexa_core.base import interruption
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.worker import Worker


@dataclass(frozen=True)
class Done:
    """A unit that was computed.

    Attributes:
        number: in the order of the phase.
        failure: why it failed; None if its file is there.
    """

    number: int
    failure: Failure | None = None


class Executor(Protocol):
    """Computes units of a phase, in any order."""

    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """The units as they are finished; whoever closes the iterator ends the computation.

        Args:
            phase: the file of the phase.
            numbers: the units to be computed.
        """


class InThisProcess:
    """Computes one unit after the other, here."""

    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """See `Executor.compute`."""
        worker = Worker(phase)
        for number in numbers:
            interruption.check()
            yield Done(number, worker.compute(number))
