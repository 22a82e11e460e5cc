"""Telling like ions apart: each event's ions are matched one to one to a set of lobes.

The lobes are the mean momenta of the ions matched to them (self-consistent, like k-means, but
with one ion of every event in every lobe). Matching is exact for each event: the assignment with
the least sum of squared distances. The starts are the ions of twelve real events, chosen by rank
of their summed kinetic energy; the start with the least spread around its lobes wins. Nothing
depends on the order of the ions or of the events.

Unbiased as long as the lobes are well apart compared with their widths; where they overlap, any
rule that decides event by event pushes their means apart.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from molexa_core.base.tables import FloatArray, IntArray

STARTS: Final = 12
SAMPLE: Final = 4096
"""Rows on which the starts are compared."""
_ROUNDS: Final = 200
_EXACT_BY_SUBSETS: Final = 8
_CHUNK: Final = 16384
_FIRST_AZIMUTH: Final = np.radians(-30.0)


def match_lobes(momentum: FloatArray, weight: FloatArray) -> tuple[IntArray, FloatArray]:
    """Match the like ions of every row to lobes.

    Args:
        momentum: (n, k, 3) momenta of k like ions in the molecular frame, with the second
            reference momentum in the half-plane of the first and second component.
        weight: (n) weight of each row.

    Returns:
        (n, k) which ion of the row belongs to each lobe, and (k, 3) the lobes, ordered by azimuth
        around the first axis, counted from the second axis.
    """
    n, k, _ = momentum.shape
    if k < 2 or n == 0:
        return np.tile(np.arange(k), (n, 1)), np.zeros((k, 3)) if n == 0 else _means(
            momentum, weight
        )
    energy = np.sort(np.square(momentum).sum(axis=2), axis=1).sum(axis=1)
    ranked = np.argsort(energy, kind="stable")
    sample = ranked[_spread(n, SAMPLE)]
    starts = momentum[ranked[_spread(n, STARTS)]]
    best, least = starts[0], np.inf
    for start in starts:
        lobes, cost = _settle(momentum[sample], weight[sample], start)
        if cost < least * (1.0 - 1e-9):
            best, least = lobes, cost
    lobes, _ = _settle(momentum, weight, best)
    lobes = lobes[_by_azimuth(lobes)]
    return best_assignment(np.einsum("nic,lc->nil", momentum, lobes)), lobes


def best_assignment(score: FloatArray) -> IntArray:
    """The one-to-one assignment with the largest summed score, for every row.

    Exact. Up to eight ions by dynamic programming over subsets, vectorised over the rows; above
    that by the Hungarian algorithm, row by row.

    Args:
        score: (n, ions, lobes), ions = lobes = k. For least squares give the scalar products:
            the other terms are the same for every assignment.

    Returns:
        (n, lobes) the ion of each lobe.
    """
    n, k, _ = score.shape
    if k > _EXACT_BY_SUBSETS:
        matched = [linear_sum_assignment(row.T, maximize=True)[1] for row in score]
        return np.array(matched, dtype=np.int64).reshape(n, k)
    chunks = [_by_subsets(score[start : start + _CHUNK]) for start in range(0, n, _CHUNK)]
    return np.concatenate(chunks) if chunks else np.empty((0, k), dtype=np.int64)


def _by_subsets(score: FloatArray) -> IntArray:
    """Best assignment by the recursion over sets of ions that fill the first lobes."""
    n, k, _ = score.shape
    total = np.full((1 << k, n), -np.inf)
    last = np.zeros((1 << k, n), dtype=np.int64)
    total[0] = 0.0
    for subset in range(1, 1 << k):
        lobe = subset.bit_count() - 1
        for ion in range(k):
            if not subset >> ion & 1:
                continue
            value = total[subset ^ (1 << ion)] + score[:, ion, lobe]
            better = value > total[subset]
            total[subset][better] = value[better]
            last[subset][better] = ion
    assignment = np.empty((n, k), dtype=np.int64)
    subset_left = np.full(n, (1 << k) - 1)
    rows = np.arange(n)
    for lobe in range(k - 1, -1, -1):
        ion = last[subset_left, rows]
        assignment[:, lobe] = ion
        subset_left ^= 1 << ion
    return assignment


def _settle(
    momentum: FloatArray, weight: FloatArray, lobes: FloatArray
) -> tuple[FloatArray, float]:
    """Match and average in turns until nothing changes; the lobes and the mean squared spread."""
    before: IntArray | None = None
    matched = momentum
    for _ in range(_ROUNDS):
        assignment = best_assignment(np.einsum("nic,lc->nil", momentum, lobes))
        if before is not None and np.array_equal(assignment, before):
            break
        matched = np.take_along_axis(momentum, assignment[:, :, None], axis=1)
        lobes, before = _means(matched, weight), assignment
    spread = np.square(matched - lobes).sum(axis=(1, 2))
    return lobes, float(np.average(spread, weights=weight))


def _means(momentum: FloatArray, weight: FloatArray) -> FloatArray:
    means: FloatArray = np.average(momentum, axis=0, weights=weight)
    return means


def _spread(n: int, wanted: int) -> IntArray:
    """At most `wanted` evenly spread ranks out of n."""
    count = min(n, wanted)
    return (np.arange(count) * 2 + 1) * n // (2 * count)


def _by_azimuth(lobes: FloatArray) -> IntArray:
    """Order by azimuth from -30 degrees on, so that lobes in the half-plane come first."""
    azimuth = np.arctan2(lobes[:, 2], lobes[:, 1]) - _FIRST_AZIMUTH
    return np.lexsort((-lobes[:, 0], np.mod(azimuth, 2.0 * np.pi)))
