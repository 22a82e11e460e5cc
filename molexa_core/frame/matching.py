"""Assignment of like ions: in each event the ions are matched one to one to a set of lobes.

The lobes are the mean momenta of the ions matched to them (self-consistent, like k-means, but
with one ion of every event in every lobe). The matching of each event is exact: the assignment with
the least sum of squared distances. The iteration starts from the ions of twelve real events, chosen
by rank of their summed squared momenta; the start with the least spread around its lobes is used.
The result does not depend on the order of the ions or of the events.

The means are unbiased if the lobes are well separated compared with their widths; where lobes
overlap, any rule that decides event by event pushes their means apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from molexa_core.base.tables import FloatArray, IntArray

Block = tuple[FloatArray, FloatArray]
"""Momenta (rows, k, 3) of like ions and the weights (rows)."""
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
    lobes = find_lobes([(momentum, weight)])
    return assign_to(momentum, lobes), lobes


def assign_to(momentum: FloatArray, lobes: FloatArray) -> IntArray:
    """(n, k) which ion of (n, k, 3) momenta belongs to each of (k, 3) lobes, row by row."""
    return best_assignment(np.einsum("nic,lc->nil", momentum, lobes))


def find_lobes(blocks: Iterable[Block]) -> FloatArray:
    """The lobes of `match_lobes` from rows in blocks, which are read many times.

    Keeps one block and two numbers per row in memory.

    Args:
        blocks: momenta (rows, k, 3) and weights (rows), in the same order every time.

    Returns:
        (k, 3) the lobes, ordered by azimuth.
    """
    energies = [
        np.sort(np.square(momentum).sum(axis=2), axis=1).sum(axis=1) for momentum, _ in blocks
    ]
    ranked = np.argsort(np.concatenate(energies), kind="stable")
    sample, chosen = ranked[_spread(len(ranked), SAMPLE)], ranked[_spread(len(ranked), STARTS)]
    del energies, ranked
    momentum, weight = rows_of(blocks, sample)
    starts, _ = rows_of(blocks, chosen)
    best, least = starts[0], np.inf
    for start in starts:
        lobes, cost = _settle(momentum, weight, start)
        if cost < least * (1.0 - 1e-9):
            best, least = lobes, cost
    lobes = best
    for _ in range(_ROUNDS):
        moved = _round(blocks, lobes)
        converged = np.array_equal(moved, lobes)  # the assignment did not change
        lobes = moved
        if converged:
            break
    ordered: FloatArray = lobes[by_azimuth(lobes)]
    return ordered


def rows_of(blocks: Iterable[Block], rows: IntArray) -> Block:
    """The rows with these numbers, in the given order."""
    order = np.argsort(rows, kind="stable")
    wanted, first = rows[order], 0
    parts: list[Block] = []
    for momentum, weight in blocks:
        low, high = np.searchsorted(wanted, [first, first + len(weight)])
        inside = wanted[low:high] - first
        parts.append((momentum[inside], weight[inside]))
        first += len(weight)
    back = np.argsort(order)
    return (
        np.concatenate([momentum for momentum, _ in parts])[back],
        np.concatenate([weight for _, weight in parts])[back],
    )


def _round(blocks: Iterable[Block], lobes: FloatArray) -> FloatArray:
    """The mean momenta of the ions matched to each lobe."""
    total, weights = np.zeros_like(lobes), 0.0
    for momentum, weight in blocks:
        matched = np.take_along_axis(momentum, assign_to(momentum, lobes)[:, :, None], axis=1)
        total += np.multiply(matched, weight[:, None, None]).sum(axis=0)
        weights += float(weight.sum())
    means: FloatArray = total / weights
    return means


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
    """Best assignment by dynamic programming over the sets of ions that fill the first lobes."""
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
    """Match and average in turns until convergence; the lobes and the mean squared spread."""
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


def by_azimuth(lobes: FloatArray) -> IntArray:
    """Order by azimuth from -30 degrees on, so that lobes in the half-plane come first."""
    azimuth = np.arctan2(lobes[:, 2], lobes[:, 1]) - _FIRST_AZIMUTH
    return np.lexsort((-lobes[:, 0], np.mod(azimuth, 2.0 * np.pi)))
