"""Compiled sums over the pairs of hits of each shot, for maps of cumulants."""

from __future__ import annotations

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray


@compiled
def count_hits(bins: IntArray, begin: int, end: int, number: FloatArray, filled: IntArray) -> int:
    """Count the hits of a shot in their bins; list the filled bins, and return how many."""
    n = 0
    for hit in range(begin, end):
        place = bins[hit]
        if place >= 0:
            if number[place] == 0.0:
                filled[n] = place
                n += 1
            number[place] += 1.0
    return n


@compiled
def add_single(
    weight: float, number: FloatArray, filled: IntArray, n: int, ones: FloatArray
) -> None:
    """Add the squares and the numbers of hits of one shot."""
    for i in range(n):
        a = filled[i]
        ones[0, a] += weight * number[a] * number[a]
        ones[1, a] += weight * number[a]


@compiled
def add_pairs(
    offsets: IntArray,
    hit_x: IntArray,
    hit_y: IntArray,
    weights: FloatArray,
    pairs: FloatArray,
    ones_x: FloatArray,
    ones_y: FloatArray,
) -> None:
    """Add the sums over shots from which cumulants of all pairs of bins and their variances follow.

    For the bins a of the first and b of the second axis: x hits in a, y hits in b, and P pairs of
    different hits in both. `weights` (shots, k) are functions of each shot.

    * `offsets` (shots + 1); `hit_x`, `hit_y` (hits): bin of each hit on both axes, -1 for none.
    * `pairs` (5, k, bins, bins): sums of P^2, P x, P y, P and x y, times each weight: added to.
    * `ones_x`, `ones_y` (2, k, bins): sums of x^2 and x, y^2 and y, times each weight: added to.
    """
    bins_x, bins_y = pairs.shape[2], pairs.shape[3]
    x, y = np.zeros(bins_x), np.zeros(bins_y)
    same = np.zeros((bins_x, bins_y))
    most = 1
    for shot in range(len(offsets) - 1):
        most = max(most, offsets[shot + 1] - offsets[shot])
    in_x, in_y = np.empty(most, np.int64), np.empty(most, np.int64)
    for shot in range(len(offsets) - 1):
        begin, end = offsets[shot], offsets[shot + 1]
        n_x = count_hits(hit_x, begin, end, x, in_x)
        n_y = count_hits(hit_y, begin, end, y, in_y)
        for hit in range(begin, end):
            if hit_x[hit] >= 0 and hit_y[hit] >= 0:
                same[hit_x[hit], hit_y[hit]] += 1.0
        for k in range(weights.shape[1]):
            weight = weights[shot, k]
            add_single(weight, x, in_x, n_x, ones_x[:, k])
            add_single(weight, y, in_y, n_y, ones_y[:, k])
            for i in range(n_x):
                a = in_x[i]
                for j in range(n_y):
                    b = in_y[j]
                    both = x[a] * y[b]
                    p = both - same[a, b]
                    pairs[0, k, a, b] += weight * p * p
                    pairs[1, k, a, b] += weight * p * x[a]
                    pairs[2, k, a, b] += weight * p * y[b]
                    pairs[3, k, a, b] += weight * p
                    pairs[4, k, a, b] += weight * both
        for hit in range(begin, end):
            if hit_x[hit] >= 0 and hit_y[hit] >= 0:
                same[hit_x[hit], hit_y[hit]] = 0.0
        for i in range(n_x):
            x[in_x[i]] = 0.0
        for j in range(n_y):
            y[in_y[j]] = 0.0
