"""The search of `reduce` in units of work: stretches of a run, searched by several processes.

Two phases: the first pass finds the gate; then every unit searches its stretches. Their results are
folded in the order of the shots, so that they do not depend on who computed them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.fields import (
    EVENT_DETECTOR,
    EVENT_MOMENTUM,
    EVENT_SOURCE,
    EVENT_TAG,
    EVENT_WEIGHT,
    TAG_SHOT,
)
from molexa_core.base.matter.ions import Ion
from molexa_core.base.options.gate_options import Solutions
from molexa_core.base.progress import Progress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.storage.named_arrays import as_part, parts_of
from molexa_core.base.tables import Coincidences, DetectorValues
from molexa_core.detector.health import HitHealth
from molexa_core.pipeline.devices import card_or_processor
from molexa_core.pipeline.runs.open_run import OpenRun, open_run
from molexa_core.pipeline.work.early_start import LARGE_RUN
from molexa_core.pipeline.work.executors import Executor
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.pipeline.work.results import Failed, results
from molexa_core.pipeline.work.unit import Compute, Content, Phase, Unit, identities
from molexa_core.reduction.coincidences import SumGate
from molexa_core.reduction.counted_rows import CountedRows
from molexa_core.reduction.gate import gate_around
from molexa_core.reduction.mixing.mixer import MixingTally
from molexa_core.reduction.peak import Peak
from molexa_core.reduction.reducer import FoundGates, Reducer
from molexa_core.reduction.stretch_search import StretchFound, StretchSearch, require_no_mixing
from molexa_core.reduction.stretches import number_of_stretches, shots_of, stretches

UNIT_BYTES: Final = 4 * 2**20
"""Bytes of the run's files that a unit reads, about: so few that all processes have some, and end
nearly at the same time."""
MOST_UNITS: Final = 10_000
"""A larger run has larger units."""
SMALL_UNITS: Final = LARGE_RUN // UNIT_BYTES
"""Runs of fewer units are reduced in one process without files of units: starting others takes
longer than they would save."""
_GATE: Final = "molexa_core.pipeline.chain.reduce_units"
_SEARCH: Final = "molexa_core.pipeline.chain.reduce_units:search"
_TABLE, _FALSE, _SHOTS, _MIXING = "table", "false", "shots", "mixing"
_ROWS: Final = "rows"
_COUNTS, _HEALTH, _MET = "counts", "health", "reading"
_CLOSE, _PER_STRETCH, _COUNTED = "close", "per_stretch", "counted"
_WARM_SHOTS: Final = 2048
_WARM_WIDTH: Final = (10.0, 10.0, 10.0)
MOST_FAILED: Final = 5
"""If so many units fail and none was good, no further one is tried."""


@dataclass(frozen=True)
class Request:
    """What is searched for in a run, as far as it decides the result.

    Attributes:
        setup: spectrometer, detector, calibration, jet.
        channel: ions, windows, gates.
        rivals: channels that compete.
        solutions: which combinations are kept.
        mixing: whether false coincidences are built; None: see `Reducer`.
        device: what searches; only logarithms may differ in their last digit.
    """

    setup: Setup
    channel: Channel
    rivals: Sequence[Channel]
    solutions: Solutions
    mixing: bool | None
    device: str = "cpu"

    def as_values(self) -> dict[str, Any]:
        """Plain values; what is not given stays so, since some checks ask for it."""
        where = {} if self.device == "cpu" else {"device": self.device}
        return where | {
            "setup": _given(self.setup),
            "channel": _given(self.channel),
            "rivals": [_given(rival) for rival in self.rivals],
            "solutions": self.solutions,
            "mixing": self.mixing,
        }

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Request:
        """What `as_values` gave."""
        return cls(
            setup=Setup.model_validate(values["setup"]),
            channel=Channel.model_validate(values["channel"]),
            rivals=[Channel.model_validate(rival) for rival in values["rivals"]],
            solutions=values["solutions"],
            mixing=values["mixing"],
            device=values.get("device", "cpu"),
        )


def _given(settings: Setup | Channel) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_unset=True)


def stretches_per_unit(run: OpenRun) -> int:
    """Stretches of a unit, by the size of the files."""
    total = sum(path.stat().st_size for path in run.paths)
    number = number_of_stretches(run.n_shots or 0)
    each = max(UNIT_BYTES, total / MOST_UNITS)
    return max(1, math.ceil(number * each / max(total, 1)))


def index_if_large(run: OpenRun, progress: Progress) -> None:
    """Look through a large run that can only be read from its beginning for other places."""
    total = sum(path.stat().st_size for path in run.paths)
    if run.anywhere or not run.indexable or total < SMALL_UNITS * UNIT_BYTES:
        return
    with progress.task("looking for the events", total, "bytes") as task:
        run.make_index(task.advance)


def number_of_units(run: OpenRun) -> int:
    """How many units a run has; 0 where it can only be read from its beginning."""
    if not run.anywhere or run.n_shots is None or run.opened_with is None:
        return 0
    return math.ceil(number_of_stretches(run.n_shots) / stretches_per_unit(run))


class ReduceUnits:
    """The passes of `reduce` over a run, in units of work.

    Args:
        run: the run; its remarks and counts are complete after `tables`.
        request: what is searched for.
        folder: where the units are.
        executor: who computes them.
        progress: display of the progress.

    Attributes:
        failed: units that were left out because they failed.
    """

    def __init__(
        self,
        run: OpenRun,
        request: Request,
        folder: UnitFolder,
        executor: Executor,
        progress: Progress,
    ) -> None:
        self._run, self._request = run, request
        self._folder, self._executor, self._progress = folder, executor, progress
        self._places = {"paths": [str(path.absolute()) for path in run.paths], "index": run.index()}
        opened = (None,) if run.opened_with is None else run.opened_with
        self._settings = request.as_values() | {
            "shots": run.n_shots,
            "opening": [None if setup is None else _given(setup) for setup in opened],
        }
        executor.prepare(_SEARCH, self._settings, self._places)
        self._inputs = identities(run.paths)
        self._good = False
        self.failed: list[Failed] = []

    def find_gate(self, reducer: Reducer) -> None:
        """The gate, as an interrupted call found it, or found now; the reducer receives it.

        Raises:
            ComputationError: see `Reducer.find_gate`.
        """
        phase = self._phase(_GATE, {}, [Unit("first pass", {})])
        (key,) = phase.keys()
        content = self._folder.read(key)
        if content is not None:
            reducer.take_gates(_gates_of(content), content.values["remarks"])
            return
        before = len(reducer.remarks)
        reducer.find_gate(self._run, self._run.n_shots)
        self._folder.write(key, _content_of_gates(reducer, before))

    def tables(
        self, reducer: Reducer, health: HitHealth, *, skip_failed: bool = False
    ) -> Iterator[Coincidences]:
        """The coincidences of all stretches in order, as `Reducer.blocks` gives them.

        Args:
            reducer: with its gates; receives all counts.
            health: likewise.
            skip_failed: go on where units failed; they are in `failed` afterwards.

        Raises:
            MolexaError: that of the first unit that failed.
        """
        reducer.begin()
        self._run.forget_reading()
        gates = {"gates": _plain_gates(reducer.gates())}
        n_shots = self._run.n_shots or 0
        step, end = stretches_per_unit(self._run), number_of_stretches(n_shots)
        bounds = [(first, min(first + step, end)) for first in range(0, end, step)]
        number, off = 0, False
        with self._progress.task("coincidences", n_shots, "shots") as task:
            while number < len(bounds):
                phase = self._phase(_SEARCH, gates, _units(bounds[number:], n_shots, reducer, off))
                with closing(results(phase, self._folder, self._executor)) as contents:
                    for content in contents:
                        if isinstance(content, Failed):
                            self._note(content, skip=skip_failed)
                        elif not _agrees(content, reducer):
                            off = not off  # this unit and those behind it are searched again
                            break
                        else:
                            yield from self._folded(content, reducer, health, skip=skip_failed)
                        first, last = shots_of(*bounds[number], n_shots)
                        task.advance(last - first)
                        number += 1
        if self.failed and not skip_failed:
            raise self.failed[0].failure.error(self.failed[0].unit.label)
        for failed in self.failed:
            reducer.warn(f"missing: {failed.sentence()}")
        self._folder.complete = not self.failed
        reducer.end()

    def _note(self, failed: Failed, *, skip: bool) -> None:
        self.failed.append(failed)
        if not skip:
            self._progress.warn(f"failed: {failed.sentence()}")
        if len(self.failed) == MOST_FAILED and not self._good:
            raise failed.failure.error(failed.unit.label)

    def _folded(
        self, content: Content, reducer: Reducer, health: HitHealth, *, skip: bool
    ) -> Iterator[Coincidences]:
        self._good = True
        if self.failed and not skip:
            return
        parts = parts_of(content.arrays)
        reducer.absorb(parts[_COUNTS])
        health.absorb(parts[_HEALTH])
        self._run.add_reading(content.values[_MET])
        together = reducer.takes_all
        found = _found_of(content, parts, reducer.ions, reducer.wanted, rows=not together)
        counted: list[CountedRows] = []
        for one in found:
            if one.shots:
                health.tick(int(one.shots[TAG_SHOT][0]), one.shots)
            if reducer.mixer is not None and one.mixing is not None:
                reducer.mixer.absorb(one.mixing, one.close)
            if not together:
                yield from reducer.accept(one)
            elif one.counted is not None:
                counted.append(one.counted)
        if together:
            table = _whole(reducer.ions, parts)
            yield from reducer.accept_counted(table, parts.get(_SHOTS, {}), counted)

    def _phase(self, compute: str, more: Mapping[str, Any], units: Sequence[Unit]) -> Phase:
        return Phase(compute, {**self._settings, **more}, self._inputs, self._places, units)


def _units(
    bounds: Sequence[tuple[int, int]], n_shots: int, reducer: Reducer, dead_time_off: bool
) -> list[Unit]:
    """Units of these stretches; the first knows of what was mixed before."""
    units = []
    for place, (first, last) in enumerate(bounds):
        low, high = shots_of(first, last, n_shots)
        values: dict[str, Any] = {"first": first, "last": last}
        if reducer.mixer is not None:
            values["close"] = reducer.mixer.close.tolist() if place == 0 else None
            values["dead_time_off"] = place > 0 and dead_time_off
        units.append(Unit(f"shots {low} to {high - 1}", values))
    return units


def _agrees(content: Content, reducer: Reducer) -> bool:
    """Whether a unit was mixed with the dead time that the run before it shows."""
    if reducer.mixer is None:
        return True
    off = content.arrays[f"{_MIXING}.dead_time_off"].astype(np.bool_)
    return reducer.mixer.agrees(off, content.arrays[_CLOSE])


class _Searching:
    """Searches units of a run."""

    def __init__(self, settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
        self._request = Request.of_values(settings)
        self._n_shots: int = settings["shots"]
        self._gates = _gates_of_plain(settings["gates"])
        (opening,) = settings["opening"]
        setup = None if opening is None else Setup.model_validate(opening)
        self._run = open_run(places["paths"], setup)
        self._run.take_index(places["index"])
        self._card = card_or_processor(self._request.device)

    def __call__(self, values: Mapping[str, Any]) -> Content:
        request, run = self._request, self._run
        search = StretchSearch(
            request.channel,
            request.setup,
            rivals=request.rivals,
            solutions=request.solutions,
            card=self._card,
        )
        search.gate, search.rival_gates = self._gates.gate, list(self._gates.rivals)
        mixing = require_no_mixing(
            request.mixing, rivals=bool(request.rivals), solutions=request.solutions
        )
        search.new_mixer(request.setup, mixing, complete=request.channel.is_complete)
        search.stretch = values["first"]
        if search.mixer is not None:
            close = values["close"]
            search.mixer.begin_at(
                values["first"],
                None if close is None else np.array(close, np.int64),
                dead_time_off=values["dead_time_off"],
            )
        health = HitHealth(request.setup.detector)
        found: list[StretchFound] = []
        first, last = shots_of(values["first"], values["last"], self._n_shots)
        for hits in stretches(run.between(first, last)):
            interruption.check()
            health.add(hits)
            found.append(search.counted(search.find(hits)))
        if health.shots != last - first:
            raise InputFileError(
                f"shots {first} to {last - 1} are {health.shots} shots",
                where=listing(run.paths, limit=3),
                do="The run has changed while it was read; run the command again.",
            )
        return Content(
            {
                **_arrays_of(found),
                **as_part(_COUNTS, search.counts()),
                **as_part(_HEALTH, health.as_arrays()),
            },
            {_MET: run.reading()},
        )


def search(settings: Mapping[str, Any], places: Mapping[str, Any]) -> Compute:
    """What searches units of a run; see `work.unit.Phase.compute`."""
    return _Searching(settings, places)


def warm_up(settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """Load what units need: libraries, and compiled functions by a search of a few shots.

    Args:
        settings: of the phase, without the gates.
        places: of the phase.
    """
    request = Request.of_values(settings)
    if request.device != "cpu":
        return  # what uses a graphics card must not be split
    (opening,) = settings["opening"]
    run = open_run(places["paths"], None if opening is None else Setup.model_validate(opening))
    run.take_index(places["index"])
    search = StretchSearch(
        request.channel, request.setup, rivals=request.rivals, solutions=request.solutions
    )
    if request.channel.is_complete:
        search.gate = gate_around(None, sigmas=3.0, centre=None, half_width=_WARM_WIDTH)
        search.rival_gates = [search.gate for _ in request.rivals]
    mixing = require_no_mixing(
        request.mixing, rivals=bool(request.rivals), solutions=request.solutions
    )
    search.new_mixer(request.setup, mixing, complete=request.channel.is_complete)
    health = HitHealth(request.setup.detector)
    for hits in run.between(0, min(_WARM_SHOTS, settings["shots"])):
        health.add(hits)
        search.find(hits)


def _content_of_gates(reducer: Reducer, before: int) -> Content:
    """The gates that a reducer found, and what it said of them.

    Args:
        reducer: after its first pass.
        before: how many remarks there were before it.
    """
    found = reducer.gates()
    peaks = found.peaks or ()
    names = [one.name for one in fields(Peak)]
    return Content(
        {"peaks": np.array([[getattr(peak, name) for name in names] for peak in peaks])},
        {"gates": _plain_gates(found), "remarks": list(reducer.remarks[before:])},
    )


def _gates_of(content: Content) -> FoundGates:
    x_y_z = [Peak(*row) for row in content.arrays["peaks"].tolist()]
    peaks = (x_y_z[0], x_y_z[1], x_y_z[2]) if x_y_z else None
    return replace(_gates_of_plain(content.values["gates"]), peaks=peaks)


def _plain_gates(gates: FoundGates) -> list[dict[str, Any] | None]:
    """Plain values of the gates; the numbers are the same to the last bit."""
    return [
        None
        if gate is None
        else {
            one.name: value.tolist() if isinstance(value, np.ndarray) else value
            for one in fields(gate)
            for value in [getattr(gate, one.name)]
        }
        for gate in (gates.gate, *gates.rivals)
    ]


def _gates_of_plain(values: Sequence[Mapping[str, Any] | None]) -> FoundGates:
    gate, *rivals = [None if plain is None else _gate_of_plain(plain) for plain in values]
    return FoundGates(gate, None, tuple(rivals))


def _gate_of_plain(plain: Mapping[str, Any]) -> SumGate:
    known: dict[str, Any] = {
        name: np.array(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    return SumGate(**known)


def _arrays_of(found: Sequence[StretchFound]) -> dict[str, NDArray[Any]]:
    """The tables of stretches as arrays, one after the other."""
    tables = [one.table for one in found]
    arrays = {
        **as_part(_TABLE, _columns(Coincidences.concatenate(tables))),
        f"{_TABLE}.{_ROWS}": np.array([len(table) for table in tables]),
        _CLOSE: np.array([one.close for one in found]),
    }
    false = [table.false for table in tables if table.false is not None]
    if false:
        arrays |= as_part(_FALSE, _columns(Coincidences.concatenate(false)))
        arrays[f"{_FALSE}.{_ROWS}"] = np.array([len(table) for table in false])
    if found[0].shots:
        names = list(found[0].shots)
        arrays |= {
            f"{_SHOTS}.{name}": np.concatenate([one.shots[name] for one in found]) for name in names
        }
        arrays[_PER_STRETCH] = np.array([len(one.shots[names[0]]) for one in found])
    for number, one in enumerate(found):
        if one.counted is not None:
            arrays |= as_part(f"{_COUNTED}{number}", one.counted.as_arrays())
    mixing = [one.mixing.as_arrays() for one in found if one.mixing is not None]
    if mixing:
        arrays |= {
            f"{_MIXING}.{name}": np.stack([one[name] for one in mixing]) for name in mixing[0]
        }
    return arrays


def _columns(table: Coincidences) -> dict[str, NDArray[Any]]:
    columns = {EVENT_MOMENTUM: table.momentum, EVENT_WEIGHT: table.weight}
    columns |= {f"{EVENT_TAG}/{name}": column for name, column in table.tags.items()}
    columns |= {} if table.detector is None else table.detector.columns
    return columns if table.source is None else {**columns, EVENT_SOURCE: table.source}


def _found_of(
    content: Content,
    parts: Mapping[str, Mapping[str, NDArray[Any]]],
    ions: tuple[Ion, ...],
    wanted: tuple[int, ...],
    *,
    rows: bool,
) -> Iterator[StretchFound]:
    """What `_arrays_of` was given.

    Args:
        content: of a unit.
        parts: its arrays.
        ions: of the columns.
        wanted: how many ions of each kind a coincidence has.
        rows: whether the tables have their rows, or none.
    """
    number = len(parts[_TABLE][_ROWS])
    none = _table(ions, parts[_TABLE], slice(0, 0))
    tables = _tables(ions, parts[_TABLE]) if rows else [none] * number
    false = _tables(ions, parts[_FALSE]) if rows and _FALSE in parts else None
    mixing = parts.get(_MIXING, {})
    shots, start = parts.get(_SHOTS, {}), 0
    for place, table in enumerate(tables):
        tags: dict[str, NDArray[Any]] = {}
        if shots:
            end = start + int(content.arrays[_PER_STRETCH][place])
            tags = {name: column[start:end] for name, column in shots.items()}
            start = end
        tally = None
        if mixing:
            own = {name: values[place] for name, values in mixing.items()}
            tally = MixingTally.of_arrays(wanted, {k: np.asarray(v) for k, v in own.items()})
        if false is not None:
            table = replace(table, false=false[place])  # noqa: PLW2901
        counted = CountedRows.of_arrays(parts[f"{_COUNTED}{place}"])
        yield StretchFound(table, tags, tally, content.arrays[_CLOSE][place], counted)


def _whole(ions: tuple[Ion, ...], parts: Mapping[str, Mapping[str, NDArray[Any]]]) -> Coincidences:
    """The rows of all stretches of a unit; numbers of events count from 0."""
    table = _table(ions, parts[_TABLE], slice(None))
    if _FALSE not in parts:
        return table
    return replace(table, false=_table(ions, parts[_FALSE], slice(None)))


def _tables(ions: tuple[Ion, ...], columns: Mapping[str, NDArray[Any]]) -> list[Coincidences]:
    """The rows of each stretch; numbers of events count from 0 in each."""
    ends = np.cumsum(columns[_ROWS]).tolist()
    starts = [0, *ends[:-1]]
    return [
        _table(ions, columns, slice(start, end)) for start, end in zip(starts, ends, strict=True)
    ]


def _table(ions: tuple[Ion, ...], columns: Mapping[str, NDArray[Any]], rows: slice) -> Coincidences:
    """Some rows of a unit; numbers of events count from 0."""
    tag = f"{EVENT_TAG}/"
    momentum = columns[EVENT_MOMENTUM][rows]
    return Coincidences(
        ions=ions,
        event_id=np.arange(len(momentum), dtype=np.int64),
        momentum=momentum,
        weight=columns[EVENT_WEIGHT][rows],
        tags={
            name.removeprefix(tag): column[rows]
            for name, column in columns.items()
            if name.startswith(tag)
        },
        detector=DetectorValues(**{name: columns[name][rows] for name in EVENT_DETECTOR}),
        source=columns[EVENT_SOURCE][rows] if EVENT_SOURCE in columns else None,
    )
