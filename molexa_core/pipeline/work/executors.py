"""Who computes units: this process, others of this machine, Dask, Slurm."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base import interruption
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.unit import Compute
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


class Executor(ABC):
    """Computes units of a phase, in any order."""

    def prepare(  # noqa: B027
        self, compute: str, settings: Mapping[str, Any], places: Mapping[str, Any]
    ) -> None:
        """Begin to load what computes units that will be asked for soon; others do nothing.

        Args:
            compute: of the phase, see `work.unit.Phase`.
            settings: of the phase, as far as they are known.
            places: of the phase.
        """

    def close(self) -> None:  # noqa: B027
        """End what was prepared; units may be computed afterwards."""

    @abstractmethod
    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """The units as they are finished; whoever closes the iterator ends the computation.

        It ends early where the time is over; units that are missing then were not begun.

        Args:
            phase: the file of the phase.
            numbers: the units to be computed.
        """


def never() -> bool:
    """The time of a job is not limited."""
    return False


class InThisProcess(Executor):
    """Computes one unit after the other, here.

    Args:
        call: computes a unit, in place of the function that the phase names.
        late: whether no further unit is to be begun.
    """

    def __init__(self, call: Compute | None = None, late: Callable[[], bool] = never) -> None:
        self._call, self._late = call, late

    def compute(self, phase: Path, numbers: Sequence[int]) -> Generator[Done, None, None]:
        """See `Executor.compute`."""
        worker = Worker(phase, self._call)
        for number in numbers:
            interruption.check()
            if self._late():
                return
            yield Done(number, worker.compute(number))
