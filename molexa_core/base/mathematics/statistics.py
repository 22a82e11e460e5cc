"""Confidence intervals of means by bootstrap resampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray

RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: of the sample.
        low, high: limits of the interval.
    """

    mean: float
    low: float
    high: float


def bootstrap_mean(
    values: FloatArray, clusters: IntArray | None = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of values and its bootstrap interval (Efron, Ann. Stat. 7, 1 (1979); percentiles).

    Values that belong together (entries of one geometry) are not independent: with `clusters`,
    whole clusters are drawn.

    Args:
        values: (n); those that are not numbers are left out.
        clusters: (n) which cluster each belongs to; each its own where not given.
        level: of confidence.
        seed: of the resampling.

    Returns:
        The mean and its interval, not numbers if there are no values.
    """
    known = np.isfinite(values)
    values = values[known]
    if not len(values):
        return Interval(np.nan, np.nan, np.nan)
    names = np.arange(len(values)) if clusters is None else clusters[known]
    _, place = np.unique(names, return_inverse=True)
    totals, sizes = np.bincount(place, weights=values), np.bincount(place)
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = generator.integers(len(totals), size=len(totals))
        means[number] = totals[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(values.mean()), float(low), float(high))
