"""Event mixing: the false coincidences of a channel, from hits of different but alike shots.

The shots of a stretch (`stretches`) are mixed with each other, within classes of alike shots. For
every partition of the ions (`partitions`) combinations are drawn whose blocks come from different
shots of a class. Their mean number is a U-statistic of the shots: unbiased for any number of shots
that is not smaller than that of the blocks. Combinations inside the momentum-sum gate become rows,
each of which stands for `weight` expected false coincidences; those in a ring around the gate are
compared with the combinations found there, which tests the normalisation.

All combinations in the gate are true or false coincidences here, including those that share a hit:
a choice among them would depend on the other hits of the shot, which mixed shots do not have. Only
the same hits in other roles count once (`roles`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError
from molexa_core.base.settings import Setup
from molexa_core.base.subtraction import Subtracted
from molexa_core.base.tables import BoolArray, FloatArray, Hits, IntArray
from molexa_core.reduction.coincidences import Search, SumGate
from molexa_core.reduction.mixing.alike import alike_shots
from molexa_core.reduction.mixing.closing_blocks import Closing, Closings, running
from molexa_core.reduction.mixing.loops import GATE, RING, close_pairs, mix
from molexa_core.reduction.mixing.partitions import (
    Block,
    Partition,
    number_of_partitions,
    partitions,
)
from molexa_core.reduction.mixing.roles import OtherRoles
from molexa_core.reduction.mixing.shot_candidates import Candidates, Combinations

_NOISE: Final = 0.04
"""Variance by the sampling of false rows over that of the number of coincidences, aimed at."""
_LEAST_RATE: Final = 30.0
"""Rows per expected false coincidence, at least, where they are not too many."""
_MOST_ROWS: Final = 60.0
"""Rows of false coincidences per coincidence found, at most."""
_FEW_ROWS: Final = 2000
_RING: Final = (2.0, 5.0)
"""Inner half width of the ring: in half widths of the gate, and in standard deviations of the peak
where that is more. A gate that is narrower than the peak leaves true coincidences beside it."""
_RING_OUTER: Final = 1.5
"""Outer half width of the ring in inner ones."""
_RING_ROWS: Final = 2.0
"""Rows in the ring per row in the gate, if both were as densely filled."""
_RING_DRAWS: Final = 2
"""Draws for the gate per draw for the ring, at most."""
_FEW_FITTING: Final = 50.0
"""Combinations below which it need not be known how many of them fit the gate."""
_PICKS: Final = 0.5
"""Mean number of closing blocks that fit a draw, at most: only one of them becomes a row."""
_MOST_DRAWS: Final = 500_000
_PILOT: Final = 2000
_PILOT_PICKS: Final = 4.0
"""Mean number of closing combinations that fit a draw of the pilot, at most."""
_LARGEST_FACTOR: Final = 16.0
_FEWEST_CLOSE: Final = 20.0
_CLOSE_SHARE: Final = 0.5
"""Share of the pairs expected within dead time and radius above which there is no dead time."""
_RATIO_STRETCHES: Final = 8
"""Stretches from which efficiencies are found."""
_RATIO_ROWS: Final = 8000
MOST_PARTITIONS: Final = 60
_NO_BOX: Final = np.empty((0, 3))


@dataclass(frozen=True)
class Mixed:
    """Coincidences of a stretch of shots, and the false ones expected among them.

    Attributes:
        hits: the calibrated hits of the stretch.
        rows: (n, ions) hits of every combination inside the gate.
        shots: (n) shot of each, counted in `hits`.
        false_rows: (m, ions) hits of the false coincidences, of different shots.
        false_shots: (m, ions) shot of each of these hits.
        weight: (m) expected number of false coincidences that the row stands for; negative where
            it corrects others.
        tally: sums of this stretch.
        close: (2) pairs of hits of single shots, and of neighbouring ones, within the dead time and
            radius that the setup states.
    """

    hits: Hits
    rows: IntArray
    shots: IntArray
    false_rows: IntArray
    false_shots: IntArray
    weight: FloatArray
    tally: MixingTally
    close: IntArray


@dataclass
class MixingTally:
    """Sums of event mixing over the stretches of a run.

    Attributes:
        shots: shots that were mixed.
        last_shots: those of the last stretch.
        alone: shots of classes with too few alike shots.
        crowded: shots left out because of too many combinations.
        found: combinations inside all gates; this and the next three, and `rows`, are counted by
            who takes the stretches.
        false: expected number of false ones among them.
        variance: of the difference of both.
        false_variance: of the expected number of false ones.
        beside: combinations found in the ring around the gate.
        beside_false: those expected there.
        beside_variance: of the difference of both.
        beside_square: sum of the squared weights of the mixed rows in the ring.
        draws: combinations of blocks that were drawn.
        rows: false coincidences made.
        dead_time_off: whether the dead time of the setup is not taken into account, because the run
            has the pairs of hits that it forbids.
        wanted: number of ions of each kind.
        ratio_sums: (kinds, 2) true coincidences of all ions in the gate, and of all but one ion of
            the kind without a gate, in the stretches that were used for efficiencies.
        ratio_covariance: (kinds, 2, 2) of these.
    """

    wanted: Block
    shots: int = 0
    last_shots: int = 0
    alone: int = 0
    crowded: int = 0
    found: int = 0
    false: float = 0.0
    variance: float = 0.0
    false_variance: float = 0.0
    beside: int = 0
    beside_false: float = 0.0
    beside_variance: float = 0.0
    beside_square: float = 0.0
    draws: int = 0
    rows: int = 0
    dead_time_off: bool = False
    ratio_sums: FloatArray = field(init=False)
    ratio_covariance: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        self.ratio_sums = np.zeros((len(self.wanted), 2))
        self.ratio_covariance = np.zeros((len(self.wanted), 2, 2))

    def add(self, other: MixingTally) -> None:
        """Add the sums of the stretch that follows."""
        for one in fields(self):
            if one.name not in _OF_THE_LAST:
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        self.last_shots = other.last_shots
        self.dead_time_off = other.dead_time_off

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The sums as arrays by name."""
        return {
            one.name: np.asarray(getattr(self, one.name))
            for one in fields(self)
            if one.name != "wanted"
        }

    @classmethod
    def of_arrays(cls, wanted: Block, arrays: Mapping[str, NDArray[Any]]) -> MixingTally:
        """The sums that `as_arrays` gave."""
        tally = cls(wanted)
        for name, value in arrays.items():
            setattr(tally, name, value.copy() if value.ndim else value[()].item())
        return tally


_OF_THE_LAST: Final = ("wanted", "last_shots", "dead_time_off")
"""What is not summed over stretches."""


class Mixer:
    """Builds the false coincidences of a run, stretch by stretch, in bounded memory.

    Whether there is a dead time is seen from the stretches so far. One that works on a later part
    of the run alone (`begin_at`) is told what it is, which is checked when the results are put
    together (`agrees`).

    Args:
        search: the ions of the channel.
        setup: the dead time and radius of the detector.
        gate: the momentum-sum gate; None for partial channels.
        seed: of the random numbers.

    Raises:
        ComputationError: more ions than can be mixed.
    """

    def __init__(self, search: Search, setup: Setup, gate: SumGate | None, seed: int = 0) -> None:
        self._search = search
        self._seed = seed
        self._dead = np.array([setup.detector.dead_time_ns, setup.detector.dead_radius_mm])
        self._stated_dead = self._dead.copy()
        self._close = np.zeros(2, np.int64)
        self._told_off: bool | None = None
        self._box = _NO_BOX
        if gate is not None:
            inner = _RING[0] * gate.half_width
            if gate.sigma is not None:
                inner = np.maximum(inner, _RING[1] * gate.sigma)
            self._box = np.array([gate.centre, gate.half_width, inner, _RING_OUTER * inner])
        wanted = search.wanted
        if number_of_partitions(wanted, MOST_PARTITIONS + 1) > MOST_PARTITIONS:
            raise ComputationError(
                f"false coincidences of {sum(wanted)} ions are too many to be mixed: their ions "
                f"can come from different explosions in more than {MOST_PARTITIONS} ways",
                do="Switch mixing off with `mixing=`, or ask for fewer ions (`detected`).",
            )
        self._partitions = partitions(wanted)
        self._kind_of = np.repeat(np.arange(len(wanted)), wanted)
        self.tally = MixingTally(wanted)
        self._stretch = 0

    def begin_at(self, stretch: int, close: IntArray | None, *, dead_time_off: bool) -> None:
        """Go on with a later stretch.

        Args:
            stretch: its number.
            close: (2) pairs within dead time and radius in the stretches before (`Mixed.close`);
                None if they are not known.
            dead_time_off: where they are not known, whether there is no dead time.
        """
        self._stretch = stretch
        self._close = np.zeros(2, np.int64) if close is None else np.array(close, np.int64)
        self._told_off = dead_time_off if close is None else None

    @property
    def close(self) -> IntArray:
        """(2) pairs within dead time and radius in the stretches so far."""
        return self._close.copy()

    def agrees(self, dead_time_off: BoolArray, close: IntArray) -> bool:
        """Whether the next stretches were mixed with the right dead time.

        Args:
            dead_time_off: (n) of each, whether there was none.
            close: (n, 2) see `Mixed.close`.
        """
        right = [self._none_hidden(pairs) for pairs in self._close + np.cumsum(close, axis=0)]
        return bool(right == dead_time_off.tolist())

    def absorb(self, tally: MixingTally, close: IntArray) -> None:
        """Count the next stretch, which was mixed elsewhere.

        Args:
            tally: its sums.
            close: its pairs within dead time and radius.
        """
        self._close = self._close + close
        self.tally.add(tally)
        self._stretch += 1

    def check(self) -> None:
        """Check, after the last stretch, that shots could be mixed.

        Raises:
            ComputationError: no shot has enough alike ones to be mixed with.
        """
        if self.tally.alone and not self.tally.shots:
            raise ComputationError(
                f"false coincidences cannot be built by mixing: of {self.tally.alone} shots none "
                f"has {len(self._kind_of) - 1} others that are alike (flags, delay, pulse energy)",
                do="Take more shots, or switch it off with `mixing=`.",
            )

    def stretch(self, hits: Hits) -> Mixed:
        """The coincidences of the next stretch of calibrated hits, with the false ones."""
        whole, self.tally = self.tally, MixingTally(self._search.wanted)
        try:
            mixed = self._mixed(hits)
        finally:
            part, self.tally = self.tally, whole
        self.tally.add(part)
        return mixed

    def _mixed(self, hits: Hits) -> Mixed:
        everything = Candidates.of(hits, self._search)
        self.tally.crowded += int((~everything.usable).sum())
        self.tally.last_shots = everything.n_shots
        close = self._look_at_dead_time(everything)
        classes = alike_shots(hits.tags, hits.n_shots)
        state: NDArray[np.uint64] = np.array(
            np.random.SeedSequence([self._seed, self._stretch, 14]).generate_state(1, np.uint64),
            np.uint64,
        )
        self._stretch += 1
        real, false = [], []
        roles = OtherRoles.of(everything, self._search.wanted, self._box)
        for number in range(int(classes.max(initial=0)) + 1):
            inside = everything.only(classes == number)
            found = _counted(inside.combinations(self._search.wanted, self._box), roles)
            if inside.n_shots < len(self._kind_of):
                self.tally.alone += inside.n_shots
                real.append(_in(found, GATE))
                continue
            made = [
                _of(part, roles.counted(part.rows, part.regions))
                for part in self._of_class(inside, found, state)
            ]
            self._count(inside, found, made, state)
            real.append(_in(found, GATE))
            false += [_of(part, part.regions == GATE) for part in made]
        rows, shots = _joined(real, len(self._kind_of))
        columns = len(self._kind_of)
        hit = everything.hit
        empty = np.empty((0, columns), np.int64)
        return Mixed(
            hits,
            hit[rows],
            shots,
            hit[np.concatenate([empty, *(part.rows for part in false)])],
            np.concatenate([empty, *(part.sources for part in false)]),
            np.concatenate([np.empty(0), *(part.weight for part in false)]),
            self.tally,
            close,
        )

    def _look_at_dead_time(self, shots: Candidates) -> IntArray:
        """Switch the setup's dead time off if the run has the pairs of hits that it forbids.

        Returns:
            (2) such pairs in this stretch.
        """
        usable = np.flatnonzero(shots.usable).astype(np.int64)
        close = np.zeros(2, np.int64)
        if self._stated_dead.min() > 0.0 and len(usable) > 1:
            close = close_pairs(shots.offsets, shots.every, usable, self._stated_dead)
        self._close = self._close + close
        off = self._none_hidden(self._close) if self._told_off is None else self._told_off
        self._dead = np.zeros(2) if off else self._stated_dead
        self.tally.dead_time_off = off
        return close

    @staticmethod
    def _none_hidden(close: IntArray) -> bool:
        """Whether there is no dead time, by the pairs that it would hide and those expected."""
        within, expected = int(close[0]), 0.5 * float(close[1])
        return not (expected < _FEWEST_CLOSE or within < _CLOSE_SHARE * expected)

    def _of_class(
        self, shots: Candidates, found: Combinations, state: NDArray[np.uint64]
    ) -> Iterator[_Made]:
        """The false coincidences of alike shots, partition by partition."""
        number = float((found.regions == GATE).sum())
        most = _MOST_ROWS * number + _FEW_ROWS
        closings = Closings(shots, self._box, self._dead, most, state)
        plans = [
            plan
            for part in self._partitions
            if (plan := self._plan(shots, part, closings, self._box)) is not None
        ]
        fitting = [self._fitting(shots, plan, state) for plan in plans]
        expected = sum(
            plan.expected * fits.number for plan, fits in zip(plans, fitting, strict=True)
        )
        rows = sum(
            plan.expected * fits.number * fits.factor
            for plan, fits in zip(plans, fitting, strict=True)
        )
        rate = max(_LEAST_RATE, expected / (_NOISE * max(number, 1.0)))
        rate = min(rate, most / max(rows, 1e-300))
        for plan, fits in zip(plans, fitting, strict=True):
            yield self._made(shots, plan, rate * fits.factor, state, self._box, fits.together)

    @staticmethod
    def _plan(
        shots: Candidates, part: Partition, closings: Closings, box: FloatArray
    ) -> _Plan | None:
        """What is drawn for one partition; None where there are no such combinations."""
        if min(float(shots.per_shot(block).sum()) for block in part.blocks) <= 0.0:
            return None
        last, closing = closings.of(part)
        if not len(closing):
            return None
        others = [block for place, block in enumerate(part.blocks) if place not in last]
        blocks = np.array(others, np.int64)
        cumulative = running(shots, blocks)
        n, m = shots.n_shots, len(part.blocks)
        expected = n * math.prod(cumulative[:, -1].tolist()) * closing.stands_for
        expected /= math.prod(n - place for place in range(m))
        return _Plan(
            blocks=blocks,
            cumulative=cumulative,
            closing=closing,
            wanted=tuple(np.sum(part.blocks, axis=0).tolist()),
            coefficient=part.coefficient,
            expected=abs(part.coefficient) * expected,
            at_most=closing.at_most(box),
        )

    def _fitting(self, shots: Candidates, plan: _Plan, state: NDArray[np.uint64]) -> _Fitting:
        """What of a partition fits the gate: from some draws, if that is much."""
        if not len(self._box) or plan.expected * plan.at_most < _FEW_FITTING:
            return _Fitting(plan.at_most, 1.0, plan.at_most)
        pick = min(1.0, _PILOT_PICKS / plan.at_most)
        made = self._drawn(shots, plan, _PILOT, pick, state, _without_ring(self._box))
        number = (float(made.numbers.sum()) + 1.0) / (_PILOT * pick)
        size = float(np.sqrt((np.square(made.factors).sum() + 1.0) / (len(made.factors) + 1.0)))
        # The number that fits a draw that any fits: of those picked, the variance over the mean.
        squares = float((made.numbers * (made.numbers - 1)).sum())
        together = (squares + 1.0) / (float(made.numbers.sum()) + 1.0) / pick
        return _Fitting(number, min(max(size, 1.0), _LARGEST_FACTOR), min(together, plan.at_most))

    def _drawn(
        self,
        shots: Candidates,
        plan: _Plan,
        draws: int,
        pick: float,
        state: NDArray[np.uint64],
        box: FloatArray,
    ) -> _Drawn:
        """Mixed combinations; see `loops.mix`."""
        columns, closing = plan.ions, plan.closing
        of_kind = np.array(plan.wanted, np.int64)
        first = np.cumsum(of_kind) - of_kind
        room = min(draws, int(2.0 * draws * pick * plan.at_most) + 4096)
        start, alike = state.copy(), np.flatnonzero(shots.usable).astype(np.int64)
        while True:
            state[:] = start
            rows, sources = np.empty((room, columns), np.int64), np.empty((room, columns), np.int64)
            regions, numbers = np.empty(room, np.int64), np.empty(room, np.int64)
            factors = np.empty(room)
            n = mix(
                shots.first, shots.hit, shots.place, shots.momentum,
                plan.blocks, plan.cumulative,
                closing.rows, closing.shots, closing.sums, closing.cells,
                closing.origin, closing.step, closing.shape,
                shots.kind, first, box, self._dead,
                shots.offsets, shots.every, alike,
                draws, pick, state, rows, sources, regions, factors, numbers,
            )  # fmt: skip
            if n <= room:
                return _Drawn(rows[:n], sources[:n], regions[:n], factors[:n], numbers[:n])
            room = n

    def _made(
        self,
        shots: Candidates,
        plan: _Plan,
        rate: float,
        state: NDArray[np.uint64],
        box: FloatArray,
        together: float | None = None,
    ) -> _Made:
        fits = plan.at_most if together is None else together
        pick = min(1.0, _PICKS / max(fits, 1e-300))
        draws = min(max(1, math.ceil(rate * plan.expected / pick)), _MOST_DRAWS)
        self.tally.draws += draws
        parts = [(draws * pick, self._drawn(shots, plan, draws, pick, state, _without_ring(box)))]
        if len(box):  # the ring apart, since it is much larger
            share = min(1.0, _RING_ROWS / _ring_over_gate(box))
            fewer = max(1, int(draws * max(share * pick, 1.0 / _RING_DRAWS)))
            ring_pick = min(1.0, pick * share * draws / fewer)
            ring = self._drawn(shots, plan, fewer, ring_pick, state, box)
            parts.append((fewer * ring_pick, ring.taken(ring.regions == RING)))
        weight = [
            math.copysign(plan.expected / taken, plan.coefficient) * made.factors * made.numbers
            for taken, made in parts
        ]
        return _Made(
            np.concatenate([made.rows for _, made in parts]),
            np.concatenate([made.sources for _, made in parts]),
            np.concatenate([made.regions for _, made in parts]),
            np.concatenate(weight),
        )

    def _count(
        self,
        shots: Candidates,
        found: Combinations,
        made: list[_Made],
        state: NDArray[np.uint64],
    ) -> None:
        tally = self.tally
        tally.shots += shots.n_shots
        real = _in(found, RING)
        parts = [_of(part, part.regions == RING) for part in made]
        weight = np.concatenate([np.empty(0), *(part.weight for part in parts)])
        sources = np.concatenate(
            [np.empty((0, len(self._kind_of)), np.int64), *(part.sources for part in parts)]
        )
        ones = np.ones(len(real.shots))
        total = Subtracted.of(real.shots, ones, sources, weight, shots.n_shots)
        tally.beside += len(ones)
        tally.beside_false += float(weight.sum())
        tally.beside_variance += float(total.variance[0])
        tally.beside_square += float(np.square(weight).sum())
        if self._stretch <= _RATIO_STRETCHES:
            self._count_without(shots, found, made, state)

    def _count_without(
        self,
        shots: Candidates,
        found: Combinations,
        made: list[_Made],
        state: NDArray[np.uint64],
    ) -> None:
        """Count true coincidences without one ion, next to those of all ions."""
        wanted = self._search.wanted
        real = _in(found, GATE)
        gated = [_of(part, part.regions == GATE) for part in made]
        for kind in range(len(wanted)):
            fewer = tuple(count - (kind == other) for other, count in enumerate(wanted))
            if sum(fewer) < 2:
                continue
            every = shots.combinations(fewer, _NO_BOX)
            parts = partitions(fewer)
            closings = Closings(shots, _NO_BOX, self._dead, 0, state)
            plans = [p for part in parts if (p := self._plan(shots, part, closings, _NO_BOX))]
            rate = _RATIO_ROWS / max(sum(plan.expected * plan.at_most for plan in plans), 1.0)
            others = [self._made(shots, plan, min(rate, 1.0), state, _NO_BOX) for plan in plans]
            values = np.zeros((len(real.shots) + len(every.shots), 2))
            values[: len(real.shots), 0] = 1.0
            values[len(real.shots) :, 1] = 1.0
            weight = [np.column_stack([part.weight, 0.0 * part.weight]) for part in gated]
            weight += [np.column_stack([0.0 * part.weight, part.weight]) for part in others]
            sources = [part.sources for part in gated]
            # A row of fewer ions is filled up with the shot of its last one.
            sources += [part.sources[:, [*range(sum(fewer)), -1]] for part in others]
            total = Subtracted.of(
                np.concatenate([real.shots, every.shots]),
                values,
                np.concatenate([np.empty((0, sum(wanted)), np.int64), *sources]),
                np.concatenate([np.empty((0, 2)), *weight]),
                shots.n_shots,
            )
            self.tally.ratio_sums[kind] += total.total
            self.tally.ratio_covariance[kind] += total.covariance


@dataclass(frozen=True)
class _Made:
    """Mixed combinations: candidates, their shots, region of the momentum sum, weight."""

    rows: IntArray
    sources: IntArray
    regions: IntArray
    weight: FloatArray


@dataclass(frozen=True)
class _Drawn:
    """What `loops.mix` draws: candidates, their shots, regions, factors, numbers that fit."""

    rows: IntArray
    sources: IntArray
    regions: IntArray
    factors: FloatArray
    numbers: IntArray

    def taken(self, which: BoolArray) -> _Drawn:
        """Those selected by a mask."""
        return _Drawn(
            self.rows[which], self.sources[which], self.regions[which], self.factors[which],
            self.numbers[which],
        )  # fmt: skip


@dataclass(frozen=True)
class _Fitting:
    """Combinations of a partition that fit the gate.

    Attributes:
        number: of closing combinations that fit one draw, on average.
        factor: root mean square of their factors (`loops.survival`); as many more are drawn, so
            that the rows of all partitions weigh alike.
        together: how many fit a draw, on average over those that fit.
    """

    number: float
    factor: float
    together: float


@dataclass(frozen=True)
class _Plan:
    """What is drawn for one partition.

    Attributes:
        blocks: (others, kinds) the blocks that are drawn.
        cumulative: (others, shots + 1) running sums of their combinations.
        closing: combinations of the other ones.
        wanted: number of ions of each kind.
        coefficient: of the partition.
        expected: false combinations per closing one that fits a draw, times the number of draws.
        at_most: about how many closing ones fit the gate of a draw that any of them fits.
    """

    blocks: IntArray
    cumulative: FloatArray
    closing: Closing
    wanted: Block
    coefficient: float
    expected: float
    at_most: float

    @property
    def ions(self) -> int:
        """Number of ions of a combination."""
        return sum(self.wanted)


def _without_ring(box: FloatArray) -> FloatArray:
    """The gate alone, as `loops.region` takes it."""
    return box[[0, 1, 1, 1]] if len(box) else box


def _ring_over_gate(box: FloatArray) -> float:
    """Volume of the ring over that of the gate."""
    return float((np.prod(box[3]) - np.prod(box[2])) / np.prod(box[1]))


def _in(found: Combinations, region: int) -> Combinations:
    return _taken(found, found.regions == region)


def _counted(found: Combinations, roles: OtherRoles) -> Combinations:
    return _taken(found, roles.counted(found.rows, found.regions))


def _taken(found: Combinations, which: BoolArray) -> Combinations:
    return Combinations(found.rows[which], found.shots[which], found.regions[which])


def _of(made: _Made, inside: NDArray[Any]) -> _Made:
    return _Made(made.rows[inside], made.sources[inside], made.regions[inside], made.weight[inside])


def _joined(parts: list[Combinations], columns: int) -> tuple[IntArray, IntArray]:
    rows = np.concatenate([np.empty((0, columns), np.int64), *(part.rows for part in parts)])
    shots = np.concatenate([np.empty(0, np.int64), *(part.shots for part in parts)])
    order = np.argsort(shots, kind="stable")
    return rows[order], shots[order]
