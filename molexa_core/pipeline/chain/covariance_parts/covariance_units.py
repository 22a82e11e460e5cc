"""The sums of `covariance` in units of work: blocks of a run, by several processes.

Three phases: numbers of ions of all shots; the sums of the maps, which need their means; and the
coincidences that are shown beside them, which are a reduction with units of its own.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.progress import Progress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.pipeline.chain.covariance_parts.covariance_sums import (
    BlockCounts,
    Counting,
    MapPlan,
    MapSums,
    stretches_of_block,
)
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.open_run import OpenRun, open_run
from molexa_core.pipeline.work.executors import Executor
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.pipeline.work.results import Failed, results
from molexa_core.pipeline.work.unit import Compute, Content, Phase, Unit, identities
from molexa_core.reduction.coincidences import Search
from molexa_core.reduction.cumulants.windows import HiddenPairs
from molexa_core.reduction.mixing.false_summary import FalseCoincidences
from molexa_core.reduction.stretches import number_of_stretches, shots_of, stretches

_COUNTS: Final = "molexa_core.pipeline.chain.covariance_parts.covariance_units:counts"
_MAPS: Final = "molexa_core.pipeline.chain.covariance_parts.covariance_units:maps"
_WARM_SHOTS: Final = 2048
_EVENTS: Final = "coincidences.events.h5"


@dataclass(frozen=True)
class ReadCounts:
    """What `BlockCounts.as_arrays` holds.

    Attributes:
        counts: (kinds, shots) hits in the windows.
        values: (shots) the control variable; None without.
        hidden: pairs lost in the dead time.
    """

    counts: IntArray
    values: FloatArray | None
    hidden: HiddenPairs


class CovarianceUnits:
    """The passes of `covariance` over a run, in units of work.

    Args:
        run: can be read from anywhere.
        setup: the apparatus.
        channel: ions and windows.
        folder: where the units are.
        executor: who computes them.
        work: who computes the coincidences.
        progress: display of the progress.
    """

    def __init__(
        self,
        run: OpenRun,
        setup: Setup,
        channel: Channel,
        folder: UnitFolder,
        executor: Executor,
        work: WorkOptions,
        progress: Progress,
    ) -> None:
        self._run, self._setup, self._channel = run, setup, channel
        self._folder, self._executor = folder, executor
        self._work, self._progress = work, progress
        self._places = {"paths": [str(path.absolute()) for path in run.paths], "index": run.index()}
        opened = (None,) if run.opened_with is None else run.opened_with
        self._settings: dict[str, Any] = {
            "setup": _given(setup),
            "channel": _given(channel),
            "shots": run.n_shots,
            "opening": [None if one is None else _given(one) for one in opened],
        }
        executor.prepare(_COUNTS, self._settings, self._places)
        self._inputs = identities(run.paths)

    def counted(self, wanted: Counting) -> Iterator[ReadCounts]:
        """The numbers of ions, block by block.

        Raises:
            MolexaError: that of the first unit that failed.
        """
        detector = self._setup.detector
        kinds = list(Search(self._channel, self._setup).windows)
        settings = {"control": wanted.control}
        for content in self._computed(_COUNTS, settings, "counting ions", wanted.bins):
            arrays = content.arrays
            hidden = HiddenPairs(kinds, detector.dead_time_ns, detector.dead_radius_mm)
            hidden.shots, hidden.close = int(arrays["looked"]), arrays["close"]
            yield ReadCounts(arrays["counts"].astype(np.int64), arrays.get("values"), hidden)

    def mapped(self, plan: MapPlan) -> Iterator[Mapping[str, NDArray[Any]]]:
        """The sums of the maps, block by block.

        Raises:
            MolexaError: that of the first unit that failed.
        """
        for content in self._computed(_MAPS, {"plan": plan.as_values()}, "maps", plan.bins):
            yield content.arrays

    def coincidences(self) -> FalseCoincidences | None:
        """True coincidences by event mixing; the events themselves are not kept."""
        self._executor.close()
        return reduce(
            self._run,
            self._channel,
            self._setup,
            work=replace(self._work, keep_units=True),
            out=self._folder.path / _EVENTS,
            progress=self._progress,
        ).summary.false

    def _computed(
        self, compute: str, settings: Mapping[str, Any], what: str, bins: int
    ) -> Generator[Content, None, None]:
        n_shots, step = self._run.n_shots or 0, stretches_of_block(bins)
        end = number_of_stretches(n_shots)
        bounds = [(first, min(first + step, end)) for first in range(0, end, step)]
        units = []
        for first, last in bounds:
            low, high = shots_of(first, last, n_shots)
            units.append(Unit(f"{what}, shots {low} to {high - 1}", {"first": first, "last": last}))
        phase = Phase(compute, {**self._settings, **settings}, self._inputs, self._places, units)
        failed: Failed | None = None
        with (
            self._progress.task(what, n_shots, "shots") as task,
            closing(results(phase, self._folder, self._executor)) as contents,
        ):
            for (first, last), content in zip(bounds, contents, strict=False):
                low, high = shots_of(first, last, n_shots)
                task.advance(high - low)
                if isinstance(content, Failed):
                    self._progress.warn(f"failed: {content.sentence()}")
                    failed = failed or content
                elif failed is None:
                    yield content
        if failed is not None:
            raise failed.failure.error(failed.unit.label)


def _given(settings: Setup | Channel) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_unset=True)


class _Blocks:
    """A run of which blocks are read, with its channel."""

    def __init__(self, settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
        self.setup = Setup.model_validate(settings["setup"])
        self.search = Search(Channel.model_validate(settings["channel"]), self.setup)
        (opening,) = settings["opening"]
        given = None if opening is None else Setup.model_validate(opening)
        self.run = open_run(places["paths"], given)
        self.run.take_index(places["index"])
        self.n_shots: int = settings["shots"]

    def stretches(self, values: Mapping[str, Any]) -> Iterator[tuple[int, Hits]]:
        """The stretches of a unit, each with its first shot."""
        first, last = shots_of(values["first"], values["last"], self.n_shots)
        for hits in stretches(self.run.between(first, last)):
            interruption.check()
            yield first, hits
            first += hits.n_shots


def counts(settings: Mapping[str, Any], places: Mapping[str, Any]) -> Compute:
    """What counts ions in units of a run; see `work.unit.Phase.compute`."""
    of = _Blocks(settings, places)

    def compute(values: Mapping[str, Any]) -> Content:
        block = BlockCounts(of.search, of.setup, settings["control"], values["first"])
        for _, hits in of.stretches(values):
            block.add(hits)
        return Content(block.as_arrays())

    return compute


def maps(settings: Mapping[str, Any], places: Mapping[str, Any]) -> Compute:
    """What forms the sums of maps in units of a run; see `work.unit.Phase.compute`."""
    of = _Blocks(settings, places)
    plan = MapPlan.of_values(settings["plan"])

    def compute(values: Mapping[str, Any]) -> Content:
        block = MapSums(plan, of.search, of.setup)
        for first, hits in of.stretches(values):
            block.add(hits, first)
        return Content(block.as_arrays())

    return compute


def warm_up(settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """Load what units need by the sums of a few shots.

    Args:
        settings: of the first phase, as far as they are known.
        places: of the phases.
    """
    of = _Blocks(settings, places)
    plan = MapPlan(("tof", "tof"), 2, (), None, _WARM_SHOTS, 0, None)
    found = BlockCounts(of.search, of.setup, None, 0)
    block = MapSums(plan, of.search, of.setup)
    for hits in of.run.between(0, min(_WARM_SHOTS, of.n_shots)):
        found.add(hits)
        block.add(hits, 0)
