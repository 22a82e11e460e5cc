"""Numbers of ions in the windows of a channel, shot by shot, and all cumulants of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.reduction.coincidences import Search
from molexa_core.reduction.cumulants.kstatistics import (
    MOST,
    Cumulant,
    factorial_cumulant,
    over_slices,
    residuals,
)
from molexa_core.reduction.mixing.loops import close_pairs

_FEWEST_SLICES: Final = 4
_UNCERTAIN: Final = 0.3
"""Largest error of (p - 1) / p of an exponent p that is told."""
_CLEAR: Final = 3.0
MOST_SHOTS: Final = 200_000
"""Shots in which pairs within the dead time are looked for."""
_FEWEST_CLOSE: Final = 20
_RANGE: Final = 1.1
"""Least ratio of the highest to the lowest rate of the slices that determines an exponent."""


@dataclass(frozen=True)
class CumulantRow:
    """The cumulant of some ions of a channel.

    Attributes:
        ions: which, like ions repeated.
        value: true combinations per shot; `error` its standard error.
        sliced: the same as the mean over slices of alike shots; None without slices.
        sliced_error: its standard error.
        exponent: p of a rise with the rate of hits as rate^p, over the slices: 1 for explosions of
            single molecules, the order for combinations that only a varying rate brings together.
            None where it is not determined.
        exponent_error: its standard error.
    """

    ions: tuple[str, ...]
    value: float
    error: float
    sliced: float | None = None
    sliced_error: float | None = None
    exponent: float | None = None
    exponent_error: float | None = None

    @property
    def label(self) -> str:
        """The ions as text."""
        return " ".join(self.ions)

    @property
    def false(self) -> bool:
        """Whether it rises with the rate as no explosion of single molecules does."""
        if self.exponent is None or self.exponent_error is None:
            return False
        return self.exponent - 1.0 > _CLEAR * self.exponent_error


def require_separate(windows: dict[str, tuple[float, float]]) -> None:
    """Check that no hit can be in two windows.

    Raises:
        UsageError: two windows overlap.
    """
    for (one, (first, last)), (other, (low, high)) in combinations(windows.items(), 2):
        if first <= high and low <= last:
            raise UsageError(
                f"the windows of {one} ({first:.0f} to {last:.0f} ns) and {other} ({low:.0f} to "
                f"{high:.0f} ns) overlap: a hit in both would be correlated with itself",
                do="Make them narrower by window_ns or max_momentum of the channel.",
            )


@dataclass
class HiddenPairs:
    """Pairs of like ions that the dead time of the detector takes away.

    Args:
        kinds: names of the kinds of ions.
        dead_time_ns, dead_radius_mm: as the setup states them.

    Attributes:
        shots: shots looked at.
        close: (kinds, 2) pairs within both limits, in single shots, and between neighbouring ones.
    """

    kinds: Sequence[str]
    dead_time_ns: float
    dead_radius_mm: float
    shots: int = 0
    close: IntArray = field(init=False)

    def __post_init__(self) -> None:
        self.close = np.zeros((len(self.kinds), 2), np.int64)

    def add(self, hits: Hits, search: Search) -> None:
        """Look at shots, up to `MOST_SHOTS` of them."""
        if self.shots >= MOST_SHOTS or min(self.dead_time_ns, self.dead_radius_mm) <= 0.0:
            return
        every = np.column_stack([hits.t_ns, hits.x_mm, hits.y_mm]).astype(np.float64)
        shots = np.arange(hits.n_shots, dtype=np.int64)
        dead = np.array([self.dead_time_ns, self.dead_radius_mm])
        for kind, (rows, _) in enumerate(search.candidates(hits)):
            of_kind = np.zeros(hits.n_hits, np.bool_)
            of_kind[rows] = True
            offsets = np.concatenate([[0], np.cumsum(of_kind)])[hits.offsets]
            self.close[kind] += close_pairs(offsets, every[of_kind], shots, dead)
        self.shots += hits.n_shots

    def and_of(self, other: HiddenPairs) -> HiddenPairs:
        """With the pairs of other shots."""
        both = HiddenPairs(self.kinds, self.dead_time_ns, self.dead_radius_mm)
        both.shots, both.close = self.shots + other.shots, self.close + other.close
        return both

    def lost(self) -> dict[str, float]:
        """Unrelated pairs per shot that are lost, by kind; those of kinds that lose none left out.

        Pairs are lost if the run has less than half as many within dead time and radius as two
        shots have between them.
        """
        found = {}
        for name, (within, between) in zip(self.kinds, self.close.tolist(), strict=True):
            if between >= _FEWEST_CLOSE and within < 0.25 * between:
                found[name] = 0.5 * between / self.shots
        return found


def counts_from(candidates: Sequence[tuple[IntArray, FloatArray]], hits: Hits) -> IntArray:
    """(kinds, shots) number of hits that can be each kind of ion.

    Args:
        candidates: `Search.candidates` of these hits.
        hits: calibrated.
    """
    rows = []
    for found, _ in candidates:
        shot = np.searchsorted(hits.offsets, found, side="right") - 1
        rows.append(np.bincount(shot, minlength=hits.n_shots))
    return np.array(rows, np.int64)


def cumulants(
    counts: IntArray,
    kinds: Sequence[str],
    wanted: Sequence[int],
    *,
    control: FloatArray | None = None,
    slices: IntArray | None = None,
) -> list[CumulantRow]:
    """The cumulants of all combinations of two to four ions of a channel.

    Args:
        counts: (kinds, shots).
        kinds: names of the kinds.
        wanted: how many ions of each kind the channel has.
        control: (shots) control variable, whose linear effect is taken off (partial cumulants).
        slices: (shots) number of the slice of each shot, -1 for none.

    Raises:
        UsageError: too few shots.
    """
    values = counts.astype(np.float64)
    left = values if control is None else _partial(values, control)
    rate = values.sum(axis=0)
    rows = []
    for block in product(*(range(count + 1) for count in wanted)):
        if not 2 <= sum(block) <= MOST:
            continue
        like = float(math.prod(math.factorial(count) for count in block))
        whole = factorial_cumulant(left, block)
        ions = tuple(name for name, n in zip(kinds, block, strict=True) for _ in range(n))
        row = CumulantRow(ions, whole.value / like, whole.error / like)
        if slices is not None:
            row = _sliced(row, values, rate, block, slices, like)
        rows.append(row)
    return sorted(rows, key=lambda row: len(row.ions))


def _partial(values: FloatArray, control: FloatArray) -> FloatArray:
    known = np.isfinite(control)
    middle = float(control[known].mean()) if known.any() else 0.0
    return residuals(values, np.where(known, control, middle))


def _sliced(
    row: CumulantRow,
    values: FloatArray,
    rate: FloatArray,
    block: tuple[int, ...],
    slices: IntArray,
    like: float,
) -> CumulantRow:
    parts: list[tuple[int, Cumulant]] = []
    rates = []
    for number in range(int(slices.max()) + 1):
        inside = slices == number
        n = int(inside.sum())
        if n > 2 * MOST:
            parts.append((n, factorial_cumulant(values[:, inside], block)))
            rates.append(float(rate[inside].mean()))
    if not parts:
        return row
    value, error = over_slices(parts)
    of_slices = np.array([part.value for _, part in parts])
    errors = np.array([part.error for _, part in parts])
    exponent = rise(np.array(rates), of_slices, errors)
    return CumulantRow(
        row.ions, row.value, row.error, value / like, error / like,
        None if exponent is None else exponent[0],
        None if exponent is None else exponent[1],
    )  # fmt: skip


def rise(rates: FloatArray, values: FloatArray, errors: FloatArray) -> tuple[float, float] | None:
    """The exponent p of values that rise as (rate - background)^p, and its standard error.

    The number of hits contains a background that does not rise, such as dark counts. It drops out
    of value'' value / value'^2 = (p - 1) / p, for which a parabola is fitted.

    Args:
        rates: (slices) mean number of hits per shot.
        values: (slices) a cumulant.
        errors: (slices) its standard errors.

    Returns:
        None if it is not determined: the rates are too alike or the values not clear enough.
    """
    known = (errors > 0.0) & (rates > 0.0)
    rates, values, errors = rates[known], values[known], errors[known]
    if len(rates) < _FEWEST_SLICES or rates.max() < _RANGE * rates.min():
        return None
    weight = 1.0 / errors
    middle = float(np.average(rates, weights=weight**2))
    powers = (rates - middle)[:, None] ** np.arange(3)
    design = powers * weight[:, None]
    covariance = np.linalg.pinv(design.T @ design)
    level, slope, bend = covariance @ design.T @ (values * weight)
    if slope < _CLEAR * np.sqrt(covariance[1, 1]) or level < _CLEAR * np.sqrt(covariance[0, 0]):
        return None
    ratio = 2.0 * level * bend / slope**2
    change = np.array([2.0 * bend / slope**2, -2.0 * ratio / slope, 2.0 * level / slope**2])
    error = float(np.sqrt(change @ covariance @ change))
    if ratio >= 1.0 or error > _UNCERTAIN:
        return None
    exponent = float(1.0 / (1.0 - ratio))
    return exponent, exponent**2 * error
