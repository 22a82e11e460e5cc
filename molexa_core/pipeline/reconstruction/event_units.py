"""Inversion of many events in units of work: blocks of a descent, by several processes.

All that is searched for many events is a descent from starts to momenta (`branch.Solver.descend`),
block by block. The blocks of a long one are units here. They are the same blocks as in one process,
so that the structures are the same to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import Progress
from molexa_core.base.settings import Explosion, parse_settings
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.reconstruction.branch import BLOCK, Descent, Member, Solver
from molexa_core.pipeline.work.executor_choice import executor_of
from molexa_core.pipeline.work.executors import Executor
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.pipeline.work.results import Failed, results
from molexa_core.pipeline.work.unit import Compute, Content, Phase, Unit
from molexa_core.pipeline.work.unit_file import read_unit, write_unit

UNIT_EVENTS: Final = 4 * BLOCK
"""Events of a unit: whole blocks."""
SMALL_UNITS: Final = 6
"""Descents of fewer units are computed by the threads of this process: starting others takes longer
than they would save."""
_DESCENT: Final = "molexa_core.pipeline.reconstruction.event_units:descent"
_STARTS, _TARGET, _SLOPE = "starts", "target", "slope"
_MOMENTA: Final = "momenta"


class EventUnits:
    """Computes long descents in units of work.

    Args:
        explosion: what is known, in the form in which it is told to processes.
        ions: of the events.
        folder: where the units are.
        executor: makes who computes so many units.
        skip_failed: events of units that failed are solved from others, if that is possible.
        progress: display of the progress.

    Attributes:
        failed: sentences on units that were left out because they failed.
    """

    def __init__(
        self,
        explosion: Explosion,
        ions: tuple[Ion, ...],
        folder: UnitFolder,
        executor: Callable[[int], Executor],
        progress: Progress,
        *,
        skip_failed: bool,
    ) -> None:
        self._explosion, self._ions = explosion, ions
        self._folder, self._executor, self._progress = folder, executor, progress
        self._skip_failed = skip_failed
        self.failed: list[str] = []

    def distribute(self, solver: Solver, like: list[int], knowledge: ExplosionKnowledge) -> None:
        """Let long descents of a solver be computed in units.

        Args:
            solver: of the events.
            like: for each ion, a number that like ions share, as the solver was told.
            knowledge: whose families its explosions are of: `knowledge_of` of the explosion.
        """

        def spread(asked: Solver, starts: FloatArray, target: FloatArray) -> Descent | None:
            if len(starts) < SMALL_UNITS * UNIT_EVENTS:
                return None
            settings = {
                "explosion": self._explosion.plain(),
                "hypothesis": _place(knowledge, asked.explosion),
                "parameters": asked.explosion.parameters.tolist(),
                "ions": [str(ion) for ion in self._ions],
                "sigma": asked.sigma.tolist(),
                "like": like,
                "iterations": asked.iterations,
            }
            return self._computed(settings, starts, target)

        solver.spread = spread

    def _computed(
        self, settings: Mapping[str, Any], starts: FloatArray, target: FloatArray
    ) -> Descent:
        given = {_STARTS: starts, _TARGET: target}
        key = _digest(given)
        path = self._folder.path.absolute() / f"input-{key[:16]}.bin"
        if not path.exists():
            write_unit(path, key, Content(given))
        bounds = [
            (at, min(at + UNIT_EVENTS, len(starts))) for at in range(0, len(starts), UNIT_EVENTS)
        ]
        units = [
            Unit(f"events {first} to {last - 1}", {"first": first, "last": last})
            for first, last in bounds
        ]
        phase = Phase(_DESCENT, settings, [key], {"input": str(path)}, units)
        x, value = starts - starts.mean(axis=1, keepdims=True), np.full_like(target, np.nan)
        slope = np.zeros((len(target), target[0].size, target[0].size))
        failed: list[Failed] = []
        executor = self._executor(len(units))
        self._folder.complete = False
        with self._progress.task("descent", len(starts), "events") as task:
            contents = results(phase, self._folder, executor)
            for (first, last), content in zip(bounds, contents, strict=True):
                task.advance(last - first)
                if isinstance(content, Failed):
                    failed.append(content)
                    self._progress.warn(f"failed: {content.sentence()}")
                    continue
                rows = slice(first, last)
                x[rows], value[rows] = content.arrays[_STARTS], content.arrays[_MOMENTA]
                slope[rows] = content.arrays[_SLOPE]
        if failed and (not self._skip_failed or len(failed) == len(units)):
            raise failed[0].failure.error(failed[0].unit.label)
        self.failed += [
            f"a part of the search failed, and its events were solved from those like them where "
            f"that was possible: {one.sentence()}"
            for one in failed
        ]
        self._folder.complete = not self.failed
        return x, value, slope


@contextmanager
def event_units(
    result: Path,
    events: int,
    explosion: Explosion,
    ions: tuple[Ion, ...],
    work: WorkOptions,
    progress: Progress,
) -> Iterator[EventUnits | None]:
    """What computes the events of a file in units; None for few events, which need none.

    Args:
        result: the file that is made of them.
        events: how many.
        explosion: what is known.
        ions: of the events.
        work: who computes.
        progress: display of the progress.

    Raises:
        UsageError: another process works on this result.
        OutputError: the folder of the units cannot be made.
    """
    if events < SMALL_UNITS * UNIT_EVENTS:
        yield None
        return
    with UnitFolder.of_result(result, progress, keep=work.keep_units) as folder:
        yield EventUnits(
            explosion,
            ions,
            folder,
            lambda units: executor_of(work, units, progress),
            progress,
            skip_failed=work.skip_failed,
        )


class _Descending:
    """Computes units of a descent."""

    def __init__(self, settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
        explosion = parse_settings(Explosion, settings["explosion"], where="a unit of work")
        family = knowledge_of(explosion, single=True).hypotheses[settings["hypothesis"]].family
        fragments = Fragments.of([parse_ion(name) for name in settings["ions"]])
        member = Member(family, fragments, np.array(settings["parameters"], np.float64))
        self._solver = Solver(member, np.array(settings["sigma"], np.float64), settings["like"])
        self._solver.iterations = settings["iterations"]
        self._input = Path(places["input"])
        self._given: Mapping[str, FloatArray] = {}

    def __call__(self, values: Mapping[str, Any]) -> Content:
        if not self._given:
            self._given = _read(self._input)
        parts = [
            self._solver.in_blocks(self._given[_STARTS][rows], self._given[_TARGET][rows])
            for at in range(values["first"], values["last"], BLOCK)
            for rows in [slice(at, min(at + BLOCK, values["last"]))]
        ]
        x, value, slope = (np.concatenate(one) for one in zip(*parts, strict=True))
        return Content({_STARTS: x, _MOMENTA: value, _SLOPE: slope})


def descent(settings: Mapping[str, Any], places: Mapping[str, Any]) -> Compute:
    """What computes units of a descent; see `work.unit.Phase.compute`."""
    return _Descending(settings, places)


def _place(knowledge: ExplosionKnowledge, member: Member) -> int:
    """Which hypothesis the family of a member belongs to."""
    return next(
        number for number, one in enumerate(knowledge.hypotheses) if one.family is member.family
    )


def _digest(arrays: Mapping[str, FloatArray]) -> str:
    state = hashlib.sha256()
    for name, values in arrays.items():
        state.update(f"{name}\0{values.shape}\0".encode())
        state.update(np.ascontiguousarray(values).data)
    return state.hexdigest()


def _read(path: Path) -> Mapping[str, FloatArray]:
    """What a unit begins with.

    Raises:
        InputFileError: the file is damaged.
    """
    content = read_unit(path, key=None)
    if path.stem != f"input-{_digest(content.arrays)[:16]}":
        raise InputFileError("the file is not the one that was written", where=path)
    return content.arrays
