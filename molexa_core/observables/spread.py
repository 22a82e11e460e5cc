"""Spectra of an observable: counts with errors, robust position and width, and the peak.

False coincidences are subtracted with their weights: a bin holds sum w over coincidences less sum w
over false ones. Its variance is the sum of all squared weights, and the square of what the error of
the normalisation of the false ones makes in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.subtraction import scale_error_of
from molexa_core.base.tables import BoolArray, Coincidences, FloatArray
from molexa_core.observables.expression import Formula

RESAMPLES: Final = 100
"""Poisson resamples from which errors are found."""
FEWEST: Final = 20
"""Effective number of events below which no width is stated."""
BEYOND: Final = 0.002
"""Share of the values that may lie beyond either end of an axis."""
MOST_BINS: Final = 2000
Limits = tuple[float, float]
_QUANTILES: Final = (0.1587, 0.5, 0.8413)


@dataclass(frozen=True)
class Rows:
    """Values with their weights, false coincidences with negative ones.

    Attributes:
        values: for each axis (n) values, those that are numbers.
        weight: (n).
        unknown: rows left out because a value is not a number.
        false: (n) which rows are false coincidences.
        scale_error: relative standard error of the weights that all of these share.
    """

    values: tuple[FloatArray, ...]
    weight: FloatArray
    unknown: int
    false: BoolArray
    scale_error: float = 0.0


@dataclass(frozen=True)
class Position:
    """Where the values lie, each with its standard error.

    Attributes:
        events: sum of the weights.
        mean: mean.
        median: median, which outliers do not move.
        width: half of the interval from 15.87 to 84.13 per cent: the standard deviation of a normal
            distribution.
    """

    events: tuple[float, float]
    mean: tuple[float, float]
    median: tuple[float, float]
    width: tuple[float, float]


def rows_of(table: Coincidences, axes: tuple[Formula, ...]) -> Rows:
    """The values of a table and of its false coincidences.

    Raises:
        ExpressionError, InputFileError: the events lack what an axis names.
        NoEventsError: no row has values that are numbers.
    """
    tables = [table] if table.false is None else [table, table.false]
    parts, weights, false, unknown = [], [], [], 0
    for number, part in enumerate(tables):
        values = np.stack([axis.values(part) for axis in axes])
        known = np.isfinite(values).all(axis=0)
        unknown += 0 if number else int((~known).sum())
        parts.append(values[:, known])
        weights.append((-1.0 if number else 1.0) * part.weight[known])
        false.append(np.full(int(known.sum()), bool(number)))
    together = np.concatenate(parts, axis=1)
    if not len(together.T):
        names = " and ".join(axis.text for axis in axes)
        raise NoEventsError(f"no coincidence has values of {names}", do="Change the gates.")
    return Rows(
        tuple(together),
        np.concatenate(weights),
        unknown,
        np.concatenate(false),
        scale_error_of(table.meta),
    )


def bin_edges(values: FloatArray, bins: int, limits: Limits | None = None) -> FloatArray:
    """(bins + 1) edges of equal bins between limits, or around nearly all of some values.

    Raises:
        UsageError: a number of bins or limits that cannot be.
    """
    if not 1 <= bins <= MOST_BINS:
        raise UsageError(f"{bins} bins", setting="bins", do=f"Choose 1 to {MOST_BINS}.")
    if limits is not None:
        if not limits[0] < limits[1]:
            raise UsageError(f"the range {limits[0]:g} to {limits[1]:g} is empty")
        return np.linspace(*limits, bins + 1)
    low, high = (float(end) for end in np.quantile(values, (BEYOND, 1.0 - BEYOND)))
    margin = 0.05 * (high - low) or max(abs(high), 1.0) * 0.05
    return np.linspace(low - margin, high + margin, bins + 1)


def histogram(rows: Rows, edges: tuple[FloatArray, ...]) -> tuple[FloatArray, FloatArray]:
    """Counts and their standard errors, (bins) or (bins of x, bins of y)."""
    sample = np.stack(rows.values, axis=1)
    counts = np.histogramdd(sample, edges, weights=rows.weight)[0]
    variance = np.histogramdd(sample, edges, weights=np.square(rows.weight))[0]
    if rows.scale_error > 0.0:
        taken = np.histogramdd(sample[rows.false], edges, weights=rows.weight[rows.false])[0]
        variance = variance + np.square(rows.scale_error * taken)
    return np.asarray(counts), np.asarray(np.sqrt(variance))


def position_of(values: FloatArray, weight: FloatArray, seed: int = 0) -> Position | None:
    """Mean, median and robust width, with errors from Poisson resamples.

    Every row is taken a Poisson distributed number of times (bootstrap of a Poisson process), false
    coincidences too.

    Args:
        values: (n) of an observable.
        weight: (n) negative for false coincidences.
        seed: of the resamples.

    Returns:
        None with fewer than `FEWEST` events in effect.
    """
    total = float(weight.sum())
    if total <= 0 or total**2 / float(np.square(weight).sum()) < FEWEST:
        return None
    order = np.argsort(values, kind="stable")
    values, weight = values[order], weight[order]
    rng = np.random.default_rng([seed, 21])
    found = _numbers(values, weight)
    again = np.array(
        [_numbers(values, weight * rng.poisson(1.0, len(values))) for _ in range(RESAMPLES)]
    )
    error = again.std(axis=0, ddof=1)
    pairs = [(float(one), float(two)) for one, two in zip(found, error, strict=True)]
    return Position(*pairs)


def _numbers(values: FloatArray, weight: FloatArray) -> FloatArray:
    """(4) sum, mean, median and width of sorted values."""
    total = float(weight.sum())
    share = (np.cumsum(weight) - 0.5 * weight) / total
    # Subtraction makes the sum fall in places: the quantiles are those of its running maximum.
    low, middle, high = np.interp(_QUANTILES, np.maximum.accumulate(share), values)
    mean = float(weight @ values) / total
    return np.array([total, mean, middle, 0.5 * (high - low)])
