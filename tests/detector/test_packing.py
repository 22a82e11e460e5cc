"""The selection of hits: the best of all, by trying all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.detector import packing
from molexa_core.detector.candidates import COLUMNS


def cluster(seed: int, n: int, n_edges: int) -> tuple[np.ndarray, np.ndarray]:
    """Random candidates of 3 to 7 edges with weights."""
    random = np.random.default_rng(seed)
    candidates = np.full((n, COLUMNS), -1, np.int64)
    values = np.zeros((n, 4))
    for c in range(n):
        size = random.integers(3, 8)
        candidates[c, :size] = random.choice(n_edges, size, replace=False)
        values[c, 3] = random.uniform(1.0, 10.0) + 5.0 * size
    return candidates, values


def best_by_trying(candidates: np.ndarray, values: np.ndarray) -> float:
    """The plain twin: every subset."""
    sets = [set(row[:7][row[:7] >= 0].tolist()) for row in candidates]
    best = 0.0
    for size in range(len(sets) + 1):
        for chosen in itertools.combinations(range(len(sets)), size):
            edges = [edge for c in chosen for edge in sets[c]]
            if len(edges) == len(set(edges)):
                best = max(best, float(values[list(chosen), 3].sum()))
    return best


@compiled
def best_packing(
    members: IntArray,
    candidates: IntArray,
    values: FloatArray,
    used: IntArray,
    share: FloatArray,
    chosen: IntArray,
) -> tuple[int, bool]:
    """That of the sorter, for Python."""
    return packing.best_packing(members, candidates, values, used, share, chosen)


def pack(candidates: np.ndarray, values: np.ndarray) -> tuple[list[int], bool]:
    """Run the compiled search; it must leave its scratch clean."""
    used, share = np.zeros(64, np.int64), np.empty(64)
    chosen = np.empty(len(candidates), np.int64)
    members = np.argsort(-values[:, 3])
    n, cut = best_packing(members, candidates, values, used, share, chosen)
    assert not used.any()
    return chosen[:n].tolist(), cut


@pytest.mark.parametrize("seed", range(60))
def test_the_search_finds_the_best_of_all_selections(seed: int) -> None:
    candidates, values = cluster(seed, 4 + seed % 9, 8 + seed % 20)
    chosen, cut = pack(candidates, values)
    assert not cut
    edges = candidates[chosen, :7]
    edges = edges[edges >= 0]
    assert len(edges) == len(set(edges.tolist()))
    assert values[chosen, 3].sum() == pytest.approx(best_by_trying(candidates, values))


def test_best_is_not_first_come_first_served() -> None:
    """The weightiest candidate blocks two that are better together."""
    candidates = np.full((3, COLUMNS), -1, np.int64)
    candidates[0, :4] = 0, 1, 2, 3
    candidates[1, :3] = 0, 1, 4
    candidates[2, :3] = 2, 3, 5
    values = np.zeros((3, 4))
    values[:, 3] = 20.0, 15.0, 15.0
    chosen, _ = pack(candidates, values)
    assert sorted(chosen) == [1, 2]


def test_a_search_that_is_too_long_is_cut_off_and_says_so() -> None:
    random = np.random.default_rng(0)
    candidates = np.full((90, COLUMNS), -1, np.int64)
    values = np.zeros((90, 4))
    for c in range(90):
        candidates[c, :4] = random.choice(40, 4, replace=False)
        values[c, 3] = 10.0 + 0.01 * random.uniform()
    chosen, cut = pack(candidates, values)
    assert cut
    edges = candidates[chosen, :4].ravel()
    assert len(edges) == len(set(edges.tolist()))
    assert len(chosen) >= 5
