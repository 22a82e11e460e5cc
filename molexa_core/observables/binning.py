"""Series: coincidences in bins of a tag, and what is left of each without static background.

A bin holds signal and static background; shots without the pump (or without the probe) hold the
background alone. With s = shots of the bin / shots of the background, every sum over the bin less s
times the sum over the background is that of the signal, on average. So a coincidence has the
coefficient c = 1 in its bin and c = -s in the background, times its weight, and

    number of signal  W = sum c,        var(W) = sum c^2,
    mean of x         m = sum c x / W,  var(m) = sum_e (sum_(rows of e) c (x - m))^2 / W^2,

for independent events e whose numbers are Poisson distributed (first order in 1 / W). Every bin is
corrected by the same background: its error is common to all bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, NoEventsError, UsageError, listing
from molexa_core.base.options.gate_options import SeriesOptions
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray, IntArray
from molexa_core.observables.expression import Condition, Formula, parse_condition, parse_number
from molexa_core.observables.gating import recorded
from molexa_core.observables.tree import SINGLE

MOST_BINS: Final = 500
MOST_VALUES: Final = 200
"""Values of a tag that each get a bin of their own."""
LEAST_SIGMAS: Final = 3.0
"""Signal below this many standard errors is none."""


@dataclass(frozen=True)
class Bin:
    """One bin of a series.

    Attributes:
        low, high: its limits, equal for a single value.
        value: the value, or the middle.
        last: whether the upper limit belongs to it.
    """

    low: float
    high: float
    value: float
    last: bool = False

    def holds(self, values: FloatArray) -> BoolArray:
        """(n) which values lie in it."""
        if self.low == self.high:
            close = 4.0 * SINGLE * max(abs(self.low), 1e-12)
            return np.asarray(np.abs(values - self.low) <= close)
        inside = (values >= self.low) & (values < self.high)
        return np.asarray(inside | (values == self.high)) if self.last else np.asarray(inside)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:.6g}"
        return f"{self.low:.6g} to {self.high:.6g}"


@dataclass(frozen=True)
class Signal:
    """What is left of a bin without background.

    Attributes:
        value: mean of each quantity, not a number where there is no signal.
        error: its standard error.
        number: number of events of the signal.
        number_error: its standard error.
    """

    value: FloatArray
    error: FloatArray
    number: float
    number_error: float

    @property
    def clear(self) -> bool:
        """Whether the number differs from zero by more than `LEAST_SIGMAS` standard errors."""
        return self.number > LEAST_SIGMAS * self.number_error


@dataclass(frozen=True)
class Binned:
    """The coincidences of a series.

    Attributes:
        by: what tells the bins apart, as written.
        unit: its unit.
        bins: the bins.
        member: (n) the bin of each row, -1 for none.
        background: for each kind of background, (n) the rows that belong to it.
        scales: (bins, kinds) shots of the bin over shots of that background.
        shots: (bins) number of shots, None where it is not known.
        statements: the conditions of the background.
        unknown: rows whose value is not a number.
        sign: (n) 1 for coincidences, -1 for false ones that are subtracted.
    """

    by: str
    unit: str
    bins: tuple[Bin, ...]
    member: IntArray
    background: tuple[BoolArray, ...]
    scales: FloatArray
    shots: IntArray | None
    statements: tuple[str, ...]
    unknown: int
    sign: FloatArray

    @property
    def counts(self) -> IntArray:
        """(bins) rows of each bin, without false ones."""
        counted = self.member[(self.member >= 0) & (self.sign > 0)]
        return np.bincount(counted, minlength=len(self.bins))

    @property
    def of_background(self) -> BoolArray:
        """(n) rows of any background."""
        found = np.zeros(len(self.member), np.bool_)
        for rows in self.background:
            found |= rows
        return found

    @property
    def used(self) -> BoolArray:
        """(n) rows that count in some bin."""
        return np.asarray((self.member >= 0) | self.of_background)

    def coefficients(self, number: int, weight: FloatArray) -> FloatArray:
        """(n) coefficient of each row in a bin: its weight, -s times it in the background.

        That of false coincidences has the other sign.
        """
        weight = self.sign * weight
        found = np.where(self.member == number, weight, 0.0)
        for kind, rows in enumerate(self.background):
            found = found - np.where(rows, self.scales[number, kind] * weight, 0.0)
        return np.asarray(found)

    def to_dict(
        self,
        quantities: Sequence[Mapping[str, Any]],
        value: FloatArray,
        statistical: FloatArray,
        systematic: FloatArray | None,
        release: FloatArray,
        number: FloatArray,
    ) -> dict[str, Any]:
        """A series as plain values; what is not known is null.

        Args:
            quantities: what was averaged: `of`, `kind` (`distance`, `angle` or a unit), `bond`.
            value: (bins, quantities) means of the signal.
            statistical: (bins, quantities) standard errors from the numbers of events.
            systematic: (bins, quantities) standard errors that do not shrink with them, or None.
            release: (bins, 2) mean kinetic energy release and its standard error, eV.
            number: (bins, 2) events of the signal and its standard error.
        """
        rows = []
        for at, one in enumerate(self.bins):
            shots = None if self.shots is None else int(self.shots[at])
            of_bin = [
                {
                    **quantity,
                    "mean": _number(value[at, column]),
                    "statistical": _number(statistical[at, column]),
                    "systematic": None if systematic is None else _number(systematic[at, column]),
                }
                for column, quantity in enumerate(quantities)
            ]
            rows.append(
                {
                    "low": one.low,
                    "high": one.high,
                    "value": one.value,
                    "events": int(self.counts[at]),
                    "shots": shots,
                    "signal": float(number[at, 0]),
                    "signal_error": float(number[at, 1]),
                    "signal_per_shot": float(number[at, 0]) / shots if shots else None,
                    "signal_per_shot_error": float(number[at, 1]) / shots if shots else None,
                    "background_scale": self.scales[at].tolist(),
                    "ker_ev": _number(release[at, 0]),
                    "ker_error_ev": _number(release[at, 1]),
                    "quantities": of_bin,
                }
            )
        return {
            "by": self.by,
            "unit": self.unit,
            "background": list(self.statements),
            "background_events": [int((kind & (self.sign > 0)).sum()) for kind in self.background],
            "bins": rows,
        }

    def select(self, rows: BoolArray | IntArray) -> Binned:
        """The same bins with some of the rows."""
        return Binned(
            self.by,
            self.unit,
            self.bins,
            self.member[rows],
            tuple(one[rows] for one in self.background),
            self.scales,
            self.shots,
            self.statements,
            self.unknown,
            self.sign[rows],
        )

    def with_false(self, false: Coincidences) -> Binned:
        """The same bins with the rows of false coincidences behind the others, to be subtracted.

        Raises:
            ExpressionError, InputFileError: as `binned`.
        """
        values = parse_number(self.by).values(false)
        background = [parse_condition(text).mask(false) for text in self.statements]
        taken = np.zeros(len(false), np.bool_)
        for rows in background:
            taken |= rows
        member = np.full(len(false), -1, np.int64)
        for number, one in enumerate(self.bins):
            member[one.holds(values) & ~taken] = number
        return replace(
            self,
            member=np.concatenate([self.member, member]),
            background=tuple(
                np.concatenate(pair) for pair in zip(self.background, background, strict=True)
            ),
            sign=np.concatenate([self.sign, np.full(len(false), -1.0)]),
        )


def signal_of(values: FloatArray, coefficients: FloatArray, event: IntArray) -> Signal:
    """Means over the signal of a bin.

    Args:
        values: (n, k) quantities.
        coefficients: (n) of `Binned.coefficients`.
        event: (n) event of each row; rows of one event are not independent.
    """
    used = coefficients != 0.0
    values, coefficients = values[used], coefficients[used]
    _, by_event = np.unique(event[used], return_inverse=True)
    events = int(by_event.max()) + 1 if len(by_event) else 0
    total = float(coefficients.sum())
    together = np.bincount(by_event, weights=coefficients, minlength=events)
    number_error = float(np.sqrt(np.square(together).sum()))
    nothing = np.full(values.shape[1], np.nan)
    found = Signal(nothing, nothing, total, number_error)
    if not found.clear or events < 2:
        return found
    mean = coefficients @ values / total
    error = np.empty_like(mean)
    for column in range(values.shape[1]):
        away = coefficients * (values[:, column] - mean[column])
        each = np.bincount(by_event, weights=away, minlength=events)
        error[column] = np.sqrt(np.square(each).sum() * events / (events - 1)) / total
    return Signal(mean, error, total, number_error)


def binned(
    table: Coincidences, options: SeriesOptions, shots: Mapping[str, NDArray[Any]]
) -> Binned:
    """The coincidences of a table in bins, and those of the background.

    Args:
        table: the coincidences.
        options: `by`, bins and background.
        shots: tags of all shots; empty where they are not known.

    Raises:
        UsageError: what is asked for cannot be read, or does not fit the events.
        InputFileError: the numbers of shots are needed and not known.
        NoEventsError: no coincidence lies in a bin, or in a background.
    """
    if options.by is None:
        raise UsageError(
            "nothing says what the series runs over",
            setting="by",
            do="Name a tag or a number of the events, such as `by='delay_fs'`.",
        )
    if options.background_scale is not None and not options.background:
        raise UsageError(
            "there is no background to be scaled",
            setting="background_scale",
            do="Say with `background=` which coincidences are background.",
        )
    by = parse_number(options.by)
    values = by.values(table)
    conditions = [parse_condition(text) for text in options.background or ()]
    background: list[BoolArray] = []
    taken = np.zeros(len(table), np.bool_)
    for condition in conditions:
        rows = condition.mask(table)
        if not rows.any():
            raise NoEventsError(
                f"no coincidence is background: {condition.text!r} holds for none of {len(table)}",
                do="Change the condition of the background.",
            )
        if (rows & taken).any():
            raise UsageError(
                f"{int((rows & taken).sum())} coincidences belong to two backgrounds, the second "
                f"being {condition.text!r}",
                setting="background",
                do="Write conditions that exclude each other.",
            )
        taken |= rows
        background.append(rows)
    known = np.isfinite(values)
    bins = _bins(options.bins, values[known & ~taken], by)
    member = np.full(len(table), -1, np.int64)
    for number, one in enumerate(bins):
        member[one.holds(values) & ~taken] = number
    if not (member >= 0).any():
        inside = values[known & ~taken]
        spans = f"from {inside.min():.4g} to {inside.max():.4g}" if len(inside) else "not known"
        raise NoEventsError(
            f"no coincidence lies in a bin of {by.text}, which is {spans}", do="Change the bins."
        )
    counted = _shots(table, by, bins, conditions, shots)
    scales = np.empty((len(bins), len(conditions)))
    if conditions and options.background_scale is not None:
        scales[:] = options.background_scale
    elif conditions and counted is None:
        raise InputFileError(
            "how many shots were taken in each bin and of the background is not known",
            do="Reduce the run again (the number of shots of every condition is then counted), "
            "let `by=` and `background=` depend on tags alone, or give `background_scale=`.",
        )
    elif counted is not None:
        scales = counted[0][:, None] / np.maximum(counted[1][None, :], 1)
    return Binned(
        by.text,
        by.unit,
        tuple(bins),
        member,
        tuple(background),
        scales,
        None if counted is None else counted[0],
        tuple(condition.text for condition in conditions),
        int((~known & ~taken).sum()),
        np.ones(len(table)),
    )


def remarks_of(series: Binned) -> list[str]:
    """Sentences on bins without coincidences, and rows without a value."""
    empty = [str(one) for one, count in zip(series.bins, series.counts, strict=True) if not count]
    found = []
    if empty:
        unit = f" {series.unit}" if series.unit else ""
        found.append(
            f"{len(empty)} of {len(series.bins)} bins of {series.by} hold no coincidence: "
            f"{listing(empty)}{unit}"
        )
    if series.unknown:
        found.append(f"{series.by} is not a number in {series.unknown} coincidences, left out")
    return found


def remarks_on_signal(series: Binned, unknown: BoolArray) -> list[str]:
    """A sentence on bins whose means are not known, if there are any.

    Args:
        series: the bins.
        unknown: for each bin whether that is to be said of it.
    """
    lost = int(unknown.sum())
    what = "no signal above the background" if series.background else "too few true coincidences"
    return [f"{what} in {lost} of {len(series.bins)} bins of {series.by}"] if lost else []


def _bins(text: str | None, values: FloatArray, by: Formula) -> list[Bin]:
    if text is None:
        return _single(values, by)
    try:
        return _written(text.strip(), values)
    except ValueError as error:
        told = "" if "could not" in str(error) or "invalid" in str(error) else f": {error}"
        raise UsageError(
            f"bins {text!r} cannot be read{told}",
            setting="bins",
            do="Write a number of bins (20), edges (0,50,200), or start:stop:width (0:400:20).",
        ) from error


def _single(values: FloatArray, by: Formula) -> list[Bin]:
    """A bin for every value."""
    found = np.unique(values)
    apart = np.diff(found) > SINGLE * np.maximum(np.abs(found[1:]), np.abs(found[:-1]))
    groups = np.split(found, np.flatnonzero(apart) + 1) if len(found) else []
    if len(groups) > MOST_VALUES:
        raise UsageError(
            f"{by.text} has {len(groups)} values",
            setting="by",
            do="Divide them with `bins=`, such as `bins=20`.",
        )
    middles = [float(np.median(group)) for group in groups]
    return [Bin(value, value, value) for value in middles]


def _written(text: str, values: FloatArray) -> list[Bin]:
    """Bins as written.

    Raises:
        ValueError: they cannot be read.
    """
    if ":" in text:
        start, stop, width = (float(part) for part in text.split(":"))
        if not width > 0 or not stop > start:
            msg = "the stop must be above the start, and the width above 0"
            raise ValueError(msg)
        count = int(np.ceil((stop - start) / width - 1e-9))
        edges = start + width * np.arange(min(count, MOST_BINS + 1) + 1)
    elif "," in text:
        edges = np.array([float(part) for part in text.split(",")])
    else:
        count = int(text)
        if count < 1 or not len(values):
            msg = "at least one bin and one value are needed"
            raise ValueError(msg)
        low, high = float(values.min()), float(values.max())
        edges = np.linspace(low, high if high > low else low + 1.0, min(count, MOST_BINS + 1) + 1)
    if len(edges) - 1 > MOST_BINS:
        msg = f"more than {MOST_BINS} bins"
        raise ValueError(msg)
    if len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        msg = "edges must be at least two numbers that ascend"
        raise ValueError(msg)
    last = len(edges) - 2
    return [
        Bin(low, high, 0.5 * (low + high), last=number == last)
        for number, (low, high) in enumerate(pairwise(edges.tolist()))
    ]


def _shots(
    table: Coincidences,
    by: Formula,
    bins: Sequence[Bin],
    conditions: Sequence[Condition],
    shots: Mapping[str, NDArray[Any]],
) -> tuple[IntArray, IntArray] | None:
    """(bins) and (kinds) numbers of shots; None where tags alone do not tell them.

    Gates on tags that the coincidences passed are applied to the shots too.
    """
    if not shots or not by.of_shots or not all(one.of_shots for one in conditions):
        return None
    count = len(next(iter(shots.values())))
    none = np.empty((count, 0, 3))
    every = Coincidences((), np.arange(count), none, np.ones(count), tags=shots)
    passed = np.ones(count, np.bool_)
    for row in recorded(table.meta):
        if not row.get("regions"):
            for part in parse_condition(str(row.get("gate"))).parts_of_shots():
                passed &= part.mask(every)
    off = [condition.mask(every) & passed for condition in conditions]
    on = passed.copy()
    for rows in off:
        on &= ~rows
    values = by.values(every)
    return (
        np.array([int((one.holds(values) & on).sum()) for one in bins]),
        np.array([int(rows.sum()) for rows in off], np.int64),
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
