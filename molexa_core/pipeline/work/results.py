"""Results of a phase in the order of its units: those that are there, and those computed now."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from molexa_core.base import interruption
from molexa_core.pipeline.work.executors import Executor, InThisProcess
from molexa_core.pipeline.work.failures import Failure
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.pipeline.work.unit import Content, Phase, Unit

_READ_AHEAD: Final = 3
"""Finished units that are read and checked while the one before them is folded."""


@dataclass(frozen=True)
class Failed:
    """A unit without a result.

    Attributes:
        unit: which.
        failure: why.
    """

    unit: Unit
    failure: Failure

    def sentence(self) -> str:
        """For a list of failed units."""
        return f"{self.unit.label}: {self.failure.sentence()}"


def results(
    phase: Phase, folder: UnitFolder, executor: Executor
) -> Generator[Content | Failed, None, None]:
    """The results of the units of a phase, in their order.

    Units whose files are in the folder are not computed again. The order in which units finish, and
    who computes them, does not matter. Where the time of the executor is over, there are no further
    ones.

    Args:
        phase: what is computed.
        folder: where the units are.
        executor: who computes those that are missing.

    Raises:
        OutputError: a unit cannot be written, such as on a full disk; those that are finished stay.
        Interruption: a signal asked to stop.
    """
    keys = phase.keys()
    missing = [number for number, key in enumerate(keys) if not folder.has(key)]
    path = folder.write_phase(phase)
    pending = set(missing)
    failed: dict[int, Failure] = {}
    reads: dict[int, Future[Content | None]] = {}
    with (
        closing(executor.compute(path, missing)) as computing,
        ThreadPoolExecutor(_READ_AHEAD, "molexa-units") as pool,
    ):
        for number, (key, unit) in enumerate(zip(keys, phase.units, strict=True)):
            while number in pending:
                done = next(computing, None)
                if done is None:
                    return
                pending.discard(done.number)
                if done.failure is not None:
                    if done.failure.is_of_disk:
                        raise done.failure.error(phase.units[done.number].label)
                    failed[done.number] = done.failure
            if number in failed:
                yield Failed(unit, failed[number])
                continue
            interruption.check()
            for near in range(number, min(number + 1 + _READ_AHEAD, len(keys))):
                if near not in reads and near not in pending and near not in failed:
                    reads[near] = pool.submit(folder.read, keys[near])
            content = reads.pop(number).result()
            if content is None:  # damaged since it was written
                (again,) = InThisProcess().compute(path, [number])
                content = folder.read(key)
                if content is None:
                    reason = again.failure or Failure("WorkError", "its file is damaged")
                    yield Failed(unit, reason)
                    continue
            yield content
        next(computing, None)  # an orderly end of those who compute
