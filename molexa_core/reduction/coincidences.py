"""Coincidence search: combinations of hits of one shot that fit the ions of a channel.

A hit is a candidate for an ion if its time of flight lies in the ion's window and if its momentum,
computed with the ion's mass and charge, stays below the limit. Each hit is used once per
combination; like ions count as combinations and not as permutations. With a momentum-sum gate the
search finds every combination inside the gate (`halves`). Combinations that share hits compete:
the set that explains the shot best is accepted (`selection`). Without a gate (partial channels) the
combinations cannot be ranked, and all are kept.

Like ions in a row are ordered by time of flight; the order does not tell which atom each ion was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

from molexa_core.base.cuda.graphics_card import Processor
from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import BoolArray, FloatArray, Hits, IntArray
from molexa_core.reduction.combinations.direct import search_few
from molexa_core.reduction.combinations.masked import search_masked
from molexa_core.reduction.combinations.search import search_shots
from molexa_core.reduction.combinations.shot import (
    ALL,
    BEST,
    COLLECT,
    COLLECTED,
    COMBINATIONS,
    COUNTERS,
    CROWDED,
    EVERY,
    FOUND,
    LEFT,
    LIMITS,
    LOG_ODDS,
    MAX_MOMENTUM,
    MOST,
    MOST_PICKS,
    OVERLAP,
    ROOM,
    SHOTS,
    TRUNCATED,
    WORK,
    Columns,
    Counted,
    Picks,
    Sought,
)
from molexa_core.reduction.combinations.verdict import decide
from molexa_core.reduction.gpu.device_search import DeviceSearch, Task
from molexa_core.reduction.momentum import (
    flight_row,
    flight_window,
    hit_momenta,
    node_ranges,
    require_single_valued,
)

MOST_COMBINATIONS: Final = 200_000
"""Without a gate, shots with more combinations are left out and counted, so that no choice depends
on the order of the hits."""
MOST_WORK: Final = 4e9
"""With a gate, shots that need more steps of about a nanosecond are left out and counted."""
MOST_CANDIDATES: Final = 1 << 16
"""Candidates of a shot, in the gate and in the displaced boxes, that are compared; where there are
more, the best ones are, and the shot is counted."""
SUM_BINS: Final = 400
FAR: Final = 1.6
"""Distance of the far displaced boxes from the gate, in units of that of the near ones."""
BOXES: Final = 13
"""The gate, six near boxes, six far ones."""
AMBIGUOUS: Final = 10.0 / 11.0
"""A coincidence is ambiguous if its probability among those that share a hit with it is smaller:
a likelihood ratio of less than 10."""
_NO_SUMS: Final = np.empty((0, 6))


@dataclass(frozen=True)
class SumGate:
    """The gate on the momentum sum, a.u.

    Attributes:
        centre: (3) centre along x, y, z.
        half_width: (3) half width along x, y, z.
        sigma: (3) standard deviation of the peak, where it was found in the data.
        spread: (3) standard deviation of the momentum sums of unrelated ions (accidental
            coincidences), where it is known.
        odds: expected number of true candidates in the gate over that of false ones.
    """

    centre: FloatArray
    half_width: FloatArray
    sigma: FloatArray | None = None
    spread: FloatArray | None = None
    odds: float = 1.0

    @property
    def deviation(self) -> FloatArray:
        """(3) unit of the chi-squares: that of the peak, a third of the half width without one."""
        return self.half_width / 3.0 if self.sigma is None else self.sigma

    @property
    def log_odds(self) -> float:
        """Logarithm of the odds that a candidate in the centre of the gate is true.

        False candidates are spread evenly over the gate, true ones are a normal distribution;
        a candidate of chi-square c has the odds exp(log_odds - c / 2).
        """
        narrow = 2.0 * self.half_width / (np.sqrt(2.0 * np.pi) * self.deviation)
        return float(np.log(self.odds) + np.log(narrow).sum())

    @property
    def reach(self) -> FloatArray:
        """(3) distance from the centre up to which sums are looked at: those of the boxes."""
        reach: FloatArray = np.abs(self.shifts).max(axis=0) + self.half_width
        return reach

    @property
    def shifts(self) -> FloatArray:
        """(13, 3) displacement of the gate itself (none) and of boxes beside the peak.

        Six near boxes, on both sides on each axis, with their inner edge four standard deviations
        from the centre of the peak (a third of the half width is taken for one where the peak is
        not known), then six at `FAR` times the distance.
        """
        near = np.diag(self.half_width + 4.0 * self.deviation)
        return np.vstack([np.zeros((1, 3)), near, -near, FAR * near, -FAR * near])


@dataclass
class Tally:
    """Counts of a coincidence search so far.

    Attributes:
        shots: shots searched.
        combinations: combinations of candidate hits in them.
        crowded: shots left out because of too many combinations.
        truncated: shots with more candidates than are compared.
        found: coincidences.
        ambiguous: coincidences of a probability below `AMBIGUOUS`; counted by `solve`.
        sums: (3, bins) histograms of the momentum sum on each axis, of the combinations in the
            gate on the other two axes; of all combinations where there is no gate.
        elsewhere: (boxes) coincidences in the gate (box 0) and in each displaced box beside it.
    """

    shots: int = 0
    combinations: int = 0
    crowded: int = 0
    truncated: int = 0
    found: int = 0
    ambiguous: int = 0
    sums: IntArray = field(default_factory=lambda: np.zeros((3, SUM_BINS), np.int64))
    elsewhere: IntArray = field(default_factory=lambda: np.zeros(BOXES, np.int64))

    def add(self, other: Tally) -> None:
        """Add the counts of other shots."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The counts as arrays by name."""
        return {one.name: np.asarray(getattr(self, one.name), np.int64) for one in fields(self)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Tally:
        """The counts that `as_arrays` gave."""
        counts: dict[str, Any] = {name: v if v.ndim else int(v) for name, v in arrays.items()}
        return cls(**counts)


@dataclass(frozen=True)
class Found:
    """Coincidences of consecutive shots.

    Attributes:
        shot: (n) index of the shot in the hits searched, ascending.
        rows: (n, ions) indices of the hits.
        chi_square: (n) of the momentum sum, with three degrees of freedom; 0 without a gate.
        probability: (n) that these hits have these roles, given that this coincidence or one that
            shares a hit with it is true; 1 where none does, and without a gate.
    """

    shot: IntArray
    rows: IntArray
    chi_square: FloatArray
    probability: FloatArray

    def __len__(self) -> int:
        return len(self.shot)

    def select(self, mask: BoolArray) -> Found:
        """Some of the coincidences."""
        return Found(
            self.shot[mask], self.rows[mask], self.chi_square[mask], self.probability[mask]
        )


class Search:
    """The search for the coincidences of a channel in calibrated hits.

    Args:
        channel: the ions, windows and the momentum limit.
        setup: spectrometer and jet.
        card: the graphics card that searches; None for the processor.

    Attributes:
        ions: the ion of each column of the coincidences.
        windows: time-of-flight window in ns of each kind of ion, in the order of the channel.
        nodes: times of flight in these windows at which the magnetic field hides the momentum.
        overlaps: pairs of ions whose windows overlap, so that a hit can be either.
        sum_range: momentum sums are collected from -range to +range, a.u.

    Raises:
        SettingsError: the spectrometer gives two momenta the same time of flight.
        UsageError: the channel asks for no ion.
    """

    def __init__(self, channel: Channel, setup: Setup, card: Processor | None = None) -> None:
        self._device = None if card is None else DeviceSearch(card)
        entries = [entry for entry in channel.ions if entry.wanted > 0]
        if not entries:
            raise UsageError(f"channel {channel.name} asks for no ion", do="Raise `detected`.")
        self.ions: tuple[Ion, ...] = channel.wanted_ions
        self.windows: dict[str, tuple[float, float]] = {}
        self.nodes: dict[str, list[tuple[float, float]]] = {}
        self.sum_range = channel.gates.max_momentum
        self._spectrometer = setup.spectrometer
        self._jet = setup.jet.velocity_m_per_s
        kinds, flights = [], []
        # The kind with the fewest ions comes first: like ions are best listed together.
        order = sorted(range(len(entries)), key=lambda place: entries[place].wanted)
        for entry in entries:
            ion = parse_ion(entry.ion)
            limit = channel.gates.max_momentum
            require_single_valued(ion, self._spectrometer, limit)
            window = entry.window_ns or flight_window(ion, self._spectrometer, limit)
            self.windows[entry.ion] = window
            self.nodes[entry.ion] = node_ranges(ion, self._spectrometer, *window)
            kinds.append(window)
            flights.append(flight_row(ion, self._spectrometer, self._jet))
        self._kinds = np.array(kinds, np.float64)[order]
        self._flights = np.array(flights)[order]
        self._wanted = np.array([entries[place].wanted for place in order], np.int64)
        self._kind_of = np.repeat(np.arange(len(entries)), self._wanted).astype(np.int64)
        column_of = np.repeat(order, self._wanted)
        self._columns = np.argsort(column_of, kind="stable")
        self._counts = tuple(entry.wanted for entry in entries)
        self._limits = np.zeros(LIMITS)
        self._limits[MAX_MOMENTUM] = channel.gates.max_momentum
        self.overlaps = [
            (one, other)
            for (one, first), (other, second) in combinations(self.windows.items(), 2)
            if first[0] <= second[1] and second[0] <= first[1]
        ]
        self._limits[OVERLAP] = bool(self.overlaps)

    def collect_sums(
        self,
        hits: Hits,
        tally: Tally,
        into: FloatArray,
        filled: int,
        *,
        centre: FloatArray | None = None,
        reach: float | FloatArray | None = None,
        order: IntArray | None = None,
        most: float = MOST_COMBINATIONS,
    ) -> int:
        """Collect the momentum sums of all combinations within range until `into` is full.

        Args:
            hits: calibrated hits.
            tally: counts, increased.
            into: (capacity, 6) filled from row `filled` on with the sum of the momenta and the sum
                of their squares on each axis.
            filled: rows in use.
            centre: (3) middle of the range, a.u.; zero if None.
            reach: sums from -reach to +reach about the centre, a.u., one for all or (3); the
                range of the channel if None.
            order: the shots to be searched; all if None.
            most: shots with more combinations, or that need more work than `MOST_WORK`, are not
                used.

        Returns:
            rows in use afterwards.
        """
        wide = np.zeros((4, 3))
        wide[0] = 0.0 if centre is None else centre
        wide[1:] = self.sum_range if reach is None else reach
        task = self._task(COLLECT, wide, np.zeros((0, 3)), combinations=most, work=MOST_WORK)
        counters = self._run(hits, tally, task, into=into[filled:], order=order)[0]
        return filled + int(counters[COLLECTED])

    def find(self, hits: Hits, tally: Tally, gate: SumGate | None) -> tuple[IntArray, IntArray]:
        """The coincidences in consecutive shots.

        Args:
            hits: calibrated hits.
            tally: counts, increased.
            gate: the gate on the momentum sum; None keeps every combination.

        Returns:
            (found) index of the shot in `hits`, and (found, ions) indices of the hits.
        """
        found = self._solve(hits, tally, gate, BEST, weigh=False)
        return found.shot, found.rows

    def solve(
        self, hits: Hits, tally: Tally, gate: SumGate | None, *, every: bool = False
    ) -> Found:
        """The coincidences with chi-squares and probabilities.

        Args:
            hits: calibrated hits.
            tally: counts, increased.
            gate: the gate on the momentum sum; None keeps every combination.
            every: all candidates in the gate, also those that share hits, instead of the best set.
        """
        found = self._solve(hits, tally, gate, ALL if every else BEST, weigh=True)
        tally.ambiguous += int((found.probability < AMBIGUOUS).sum())
        return found

    @property
    def wanted(self) -> tuple[int, ...]:
        """How many ions of each kind a coincidence has, in the order of `windows`."""
        return self._counts

    def combinations(self, hits: Hits) -> FloatArray:
        """(shots) number of combinations of the candidates of each shot.

        Choices that use one hit as two kinds of ions are counted too.
        """
        number = np.ones(hits.n_shots)
        for wanted, (rows, _) in zip(self._counts, self.candidates(hits), strict=True):
            shots = np.searchsorted(hits.offsets, rows, side="right") - 1
            number *= comb(np.bincount(shots, minlength=hits.n_shots), wanted)
        return number

    def candidates(self, hits: Hits) -> Iterator[tuple[IntArray, FloatArray]]:
        """For each kind of ion the hits that can be one, and their momenta (hits, 3) in a.u."""
        for name, (first, last) in self.windows.items():
            rows = np.flatnonzero((hits.t_ns >= first) & (hits.t_ns <= last))
            momenta = self._momenta_as(parse_ion(name), hits, rows)
            inside = np.square(momenta).sum(axis=1) <= self.sum_range**2
            yield rows[inside], momenta[inside]

    def momenta(self, hits: Hits, rows: IntArray) -> FloatArray:
        """(found, ions, 3) momenta in a.u. of the hits that `find` returned."""
        momenta = np.empty((*rows.shape, 3))
        for column, ion in enumerate(self.ions):
            momenta[:, column] = self._momenta_as(ion, hits, rows[:, column])
        return momenta

    def _momenta_as(self, ion: Ion, hits: Hits, rows: IntArray) -> FloatArray:
        """(rows, 3) momenta of hits as one kind of ion."""
        return hit_momenta(
            hits.x_mm[rows],
            hits.y_mm[rows],
            hits.t_ns[rows],
            ion,
            self._spectrometer,
            jet_velocity_m_per_s=self._jet,
        )

    def _solve(
        self, hits: Hits, tally: Tally, gate: SumGate | None, asked: int, *, weigh: bool
    ) -> Found:
        places, numbers = self._run(hits, tally, self.task_of(gate, asked, weigh=weigh))[1:]
        return Found(
            places[:, 0].copy(),
            places[:, 1 + self._columns],
            np.zeros(len(places)) if gate is None else numbers[:, 0].copy(),
            numbers[:, 1].copy(),
        )

    def task_of(self, gate: SumGate | None, asked: int, *, weigh: bool = False) -> Task:
        """What the compiled loops, or a graphics card, are to search for.

        Args:
            gate: the gate on the momentum sum; None keeps every combination.
            asked: see `shot.BEST` and following; with a gate.
            weigh: whether probabilities are asked for.
        """
        if gate is None:
            box = np.zeros((4, 3))
            box[1:] = [[np.inf], [1.0], [self.sum_range]]
            most = float(MOST_COMBINATIONS)
            return self._task(EVERY, box, np.zeros((1, 3)), combinations=most, weigh=weigh)
        box = np.vstack([gate.centre, gate.half_width, gate.deviation, gate.reach])
        more: dict[str, Any] = {"work": MOST_WORK, "log_odds": gate.log_odds, "weigh": weigh}
        return self._task(asked, box, gate.shifts, **more)

    def _task(
        self,
        asked: int,
        gate: FloatArray,
        shifts: FloatArray,
        *,
        combinations: float = np.inf,
        work: float = np.inf,
        log_odds: float = 0.0,
        weigh: bool = False,
    ) -> Task:
        limits = self._limits.copy()
        limits[MOST], limits[WORK], limits[LOG_ODDS] = combinations, work, log_odds
        limits[ROOM] = MOST_COMBINATIONS if asked == EVERY else MOST_CANDIDATES
        return Task(
            kinds=self._kinds,
            flights=self._flights,
            wanted=self._wanted,
            kind_of=self._kind_of,
            columns=self._columns,
            limits=limits,
            asked=asked,
            weigh=weigh,
            gate=gate,
            shifts=shifts,
            bins=SUM_BINS,
        )

    def _run(
        self,
        hits: Hits,
        tally: Tally,
        task: Task,
        *,
        into: FloatArray = _NO_SUMS,
        order: IntArray | None = None,
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """The counters, and what `verdict.decide` returns for all shots."""
        shots = np.arange(hits.n_shots, dtype=np.int64) if order is None else order
        most = int(hits.counts.max(initial=1))
        columns = Columns(
            np.ascontiguousarray(hits.offsets, np.int64),
            np.ascontiguousarray(hits.x_mm, np.float64),
            np.ascontiguousarray(hits.y_mm, np.float64),
            np.ascontiguousarray(hits.t_ns, np.float64),
        )
        sought = Sought(
            task.kinds, task.flights, task.wanted, task.kind_of, task.limits.copy(), task.asked,
            task.weigh, task.gate, task.shifts,
        )  # fmt: skip
        counted = Counted(
            into, tally.sums, np.zeros(len(tally.elsewhere), np.int64), np.zeros(COUNTERS, np.int64)
        )
        if task.asked == COLLECT:
            self._collect(shots, most, columns, sought, counted)
            found = np.empty((0, 1 + len(self.ions)), np.int64), np.empty((0, 2))
        else:
            there = task if order is None and task.suitable else None
            found = self._listed(shots, most, columns, sought, counted, there)
        counters = counted.counters
        tally.elsewhere += counted.elsewhere
        tally.shots += int(counters[SHOTS])
        tally.combinations += int(counters[COMBINATIONS])
        tally.crowded += int(counters[CROWDED])
        tally.truncated += int(counters[TRUNCATED])
        tally.found += len(found[0])
        return counters, *found

    def _picks(self, capacity: int) -> Picks:
        return Picks(np.empty((capacity, 1 + len(self.ions)), np.int64), np.empty((capacity, 3)))

    def _listed(
        self,
        shots: IntArray,
        most: int,
        columns: Columns,
        sought: Sought,
        counted: Counted,
        there: Task | None,
    ) -> tuple[IntArray, FloatArray]:
        """The coincidences, by shots: each search leaves to the next what is too much for it.

        The first one is that of the graphics card if there is one and `there` is given.
        """
        counters, picks = counted.counters, self._picks(2 * MOST_PICKS)
        parts: list[tuple[IntArray, FloatArray]] = []
        searches = [search_few] if sought.asked == EVERY else [search_few, search_masked]
        if self._device is not None and there is not None:
            left = np.empty(len(shots), np.int64)
            on_card = self._device.hits(*columns)
            table = self._device.search_few(
                on_card, there, counted.histograms, counted.elsewhere, counters, left
            )
            parts.append((table[:, :-2].astype(np.int64), table[:, -2:]))
            shots = left[: counters[LEFT]]
            del searches[0]
        for search in searches:
            begin, left = 0, np.empty(len(shots), np.int64)
            counters[LEFT] = 0
            while begin < len(shots) or not parts:
                begin, n = search(shots, begin, most, columns, sought, counted, picks, left)
                parts.append(decide(n, picks, columns.offsets, sought, counted))
            shots = left[: counters[LEFT]]
        counters[FOUND] = 0
        if len(shots):
            parts.append(search_shots(shots, most, columns, sought, counted))
        places, numbers = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(places[:, 0], kind="stable")
        return places[order], numbers[order]

    def _collect(
        self, shots: IntArray, most: int, columns: Columns, sought: Sought, counted: Counted
    ) -> None:
        """Collect momentum sums in the order of the shots, by turns of two searches."""
        counters, picks = counted.counters, self._picks(MOST_PICKS)
        left = np.empty(len(shots), np.int64)
        search_few(shots, 0, most, columns, sought, counted, picks, left)
        many = True
        while counters[LEFT]:
            counters[LEFT] = 0
            rest = shots[counters[SHOTS] :]
            if many:
                search_shots(rest, most, columns, sought, counted)
            else:
                search_few(rest, 0, most, columns, sought, counted, picks, left)
            many = not many
