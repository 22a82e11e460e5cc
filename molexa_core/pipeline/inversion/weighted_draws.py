"""Mean, median, 68 % half-width and credible intervals of weighted draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray

LEVEL: Final = 0.6827
"""Probability of a normal deviate to be within one standard deviation."""
_BINS: Final = 256
GAP: Final = 0.25
"""Largest density in a gap of a region, share of the mean density inside."""
OPTIMISM: Final = 0.5
"""Probability by which the shortest set of n draws holds less than it seems, times n^(2/3): 0.03
for 60 draws."""
LEAST_PART: Final = 0.02
"""Smallest probability of a part of a region."""


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
    values: FloatArray,
    weights: FloatArray,
    level: float = LEVEL,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> list[tuple[float, float]]:
    """The shortest set that holds this probability: several intervals where there are twins.

    A gap counts where the draws show one: its density must be below `GAP` of the mean one inside,
    and what it cuts off must hold at least `LEAST_PART`. Gaps that do
    not are filled, so that the region holds a little more than its level rather than less.

    Args:
        values: (n) draws.
        weights: (n) of any sum.
        level: probability.
        limits: between which values can lie.

    Returns:
        (low, high) in rising order.
    """
    share = weights / weights.sum()
    mean = float(share @ values)
    effective = 1.0 / float((share**2).sum())
    spread = float(np.sqrt(share @ (values - mean) ** 2))
    if spread <= 1e-12 * max(abs(mean), 1e-300):
        return [(float(values.min()), float(values.max()))]
    low, high = quantiles(values[:, None], weights, (0.005, 0.995))[:, 0]
    width = 0.9 * min(spread, _narrowest(values, share) / 0.637) * effective**-0.2
    width = max(width, 1e-3 * (high - low))
    grid = np.linspace(low - 4.0 * width, high + 4.0 * width, _BINS)
    density = np.exp(-0.5 * ((grid[:, None] - values) / width) ** 2) @ share
    order = np.argsort(-density)
    half = 0.5 * (grid[1] - grid[0])

    def region(count: int) -> list[tuple[float, float]]:
        """Of the bins with the largest density."""
        inside = np.zeros(_BINS, dtype=bool)
        inside[order[:count]] = True
        edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
        parts = [
            (float(grid[begin] - half), float(grid[end - 1] + half))
            for begin, end in edges.reshape(-1, 2)
        ]
        return _joined(parts, values, share)

    # The least number of bins that holds the level by the draws themselves, and a little more: the
    # shortest set is chosen where the draws happen to be dense.
    level = min(level + OPTIMISM * effective ** (-2.0 / 3.0), 0.9999)
    few, many = 0, _BINS
    while many - few > 1:
        middle = (few + many) // 2
        if _held(region(middle), values, share) >= level:
            many = middle
        else:
            few = middle
    lowest, highest = limits
    return [(min(max(a, lowest), highest), min(max(b, lowest), highest)) for a, b in region(many)]


def _narrowest(values: FloatArray, share: FloatArray) -> float:
    """Length of the shortest interval that holds a quarter: 0.637 for a normal distribution.

    With twins it is that within one of them.
    """
    order = np.argsort(values)
    sorted_values, total = values[order], np.cumsum(share[order])
    ends = np.searchsorted(total, total - share[order] + 0.25)
    inside = ends < len(values)
    lengths = sorted_values[ends[inside]] - sorted_values[inside]
    return float(lengths.min()) if len(lengths) else float(np.ptp(values))


def _held(parts: list[tuple[float, float]], values: FloatArray, share: FloatArray) -> float:
    return sum(float(share[(values >= a) & (values <= b)].sum()) for a, b in parts)


def _joined(
    parts: list[tuple[float, float]], values: FloatArray, share: FloatArray
) -> list[tuple[float, float]]:
    """The parts with the gaps between them filled that the draws do not show.

    Args:
        parts: intervals in rising order.
        values: (n) draws.
        share: (n) their weights, of sum 1.
    """
    held = [float(share[(values >= a) & (values <= b)].sum()) for a, b in parts]
    kept = [parts[0]]
    mass = [held[0]]
    scale = sum(held) / max(sum(b - a for a, b in parts), 1e-300)
    for (low, high), inside in zip(parts[1:], held[1:], strict=True):
        before = kept[-1]
        gap = float(share[(values > before[1]) & (values < low)].sum())
        shown = gap < GAP * scale * (low - before[1])
        if shown and min(mass[-1], inside) >= LEAST_PART:
            kept.append((low, high))
            mass.append(inside)
        else:
            kept[-1] = (before[0], high)
            mass[-1] += inside + gap
    return kept
