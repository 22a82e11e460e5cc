"""Mean, median, 68 % half-width and credible intervals of weighted draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray

LEVEL: Final = 0.6827
"""Probability of a normal deviate to be within one standard deviation."""
_BINS: Final = 256


@dataclass(frozen=True)
class Summary:
    """What weighted draws say of K quantities.

    Attributes:
        mean: (K).
        median: (K).
        low, high: (K) limits of the central 68 % interval.
        half_width: (K) half of its length.
    """

    mean: FloatArray
    median: FloatArray
    low: FloatArray
    high: FloatArray

    @property
    def half_width(self) -> FloatArray:
        """(K) half of the length of the central 68 % interval."""
        return np.asarray(0.5 * (self.high - self.low))


def summary(values: FloatArray, weights: FloatArray) -> Summary:
    """Summary of (n, K) values with (n) weights, of any sum."""
    share = weights / weights.sum()
    tail = 0.5 * (1.0 - LEVEL)
    low, median, high = quantiles(values, weights, (tail, 0.5, 1.0 - tail))
    return Summary(np.asarray(share @ values), median, low, high)


def quantiles(values: FloatArray, weights: FloatArray, levels: tuple[float, ...]) -> FloatArray:
    """(levels, K) weighted quantiles of (n, K) values, linear between the middles of the steps."""
    found = np.empty((len(levels), values.shape[1]))
    for column in range(values.shape[1]):
        order = np.argsort(values[:, column])
        share = weights[order] / weights.sum()
        middle = np.cumsum(share) - 0.5 * share
        found[:, column] = np.interp(levels, middle, values[order, column])
    return found


def equal_rows(weights: FloatArray, count: int, random: np.random.Generator) -> IntArray:
    """(count) rows drawn by their (n) weights, as evenly as can be, in random order."""
    places = (np.arange(count) + random.random(count)) / count
    rows = np.searchsorted(np.cumsum(weights / weights.sum()), places).clip(max=len(weights) - 1)
    return random.permutation(rows)


def credible_intervals(
    values: FloatArray, weights: FloatArray, level: float = LEVEL
) -> list[tuple[float, float]]:
    """The shortest set that holds this probability: several intervals where there are twins.

    Args:
        values: (n) draws.
        weights: (n) of any sum.
        level: probability.

    Returns:
        (low, high) in rising order.
    """
    share = weights / weights.sum()
    mean = float(share @ values)
    effective = 1.0 / float((share**2).sum())
    spread = float(np.sqrt(share @ (values - mean) ** 2))
    if spread <= 1e-12 * max(abs(mean), 1e-300):
        return [(float(values.min()), float(values.max()))]
    low, median, high = quantiles(values[:, None], weights, (0.005, 0.5, 0.995))[:, 0]
    del median
    # The central half is narrower than the whole where there are several clumps.
    quarter, three = quantiles(values[:, None], weights, (0.25, 0.75))[:, 0]
    width = 0.9 * min(spread, max((three - quarter) / 1.34, 0.1 * spread)) * effective**-0.2
    grid = np.linspace(low - 4.0 * width, high + 4.0 * width, _BINS)
    density = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) @ share
    order = np.argsort(-density)
    held = np.cumsum(density[order]) / density.sum()
    inside = np.zeros(_BINS, dtype=bool)
    inside[order[: int(np.searchsorted(held, level)) + 1]] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
    half = 0.5 * (grid[1] - grid[0])
    return [
        (float(grid[begin] - half), float(grid[end - 1] + half))
        for begin, end in edges.reshape(-1, 2)
    ]
