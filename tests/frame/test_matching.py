from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from molexa_core.frame import matching
from molexa_core.frame.matching import best_assignment, match_lobes


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_assignment_is_the_best_of_all(k: int, rng: np.random.Generator) -> None:
    score = rng.normal(size=(40, k, k))
    found = best_assignment(score)
    for row, assignment in zip(score, found, strict=True):
        every = [sum(row[p[lobe], lobe] for lobe in range(k)) for p in permutations(range(k))]
        assert sum(row[assignment[lobe], lobe] for lobe in range(k)) == pytest.approx(max(every))
        assert sorted(assignment) == list(range(k))


def test_subsets_and_hungarian_agree(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = rng.normal(size=(50, 6, 6))
    by_subsets = best_assignment(score)
    monkeypatch.setattr(matching, "_EXACT_BY_SUBSETS", 1)
    np.testing.assert_array_equal(best_assignment(score), by_subsets)


def test_the_size_of_the_chunks_does_not_matter(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = rng.normal(size=(50, 4, 4))
    whole = best_assignment(score)
    monkeypatch.setattr(matching, "_CHUNK", 7)
    np.testing.assert_array_equal(best_assignment(score), whole)


def test_lobes_are_found_and_ordered_by_azimuth(rng: np.random.Generator) -> None:
    angles = np.radians([0.0, 70.0, 140.0, 215.0, 290.0])
    lobes = 100.0 * np.stack([np.full(5, 0.3), np.cos(angles), np.sin(angles)], axis=1)
    momentum = lobes + rng.normal(scale=8.0, size=(2000, 5, 3))
    order = rng.permuted(np.tile(np.arange(5), (2000, 1)), axis=1)
    mixed = np.take_along_axis(momentum, order[:, :, None], axis=1)
    assignment, found = match_lobes(mixed, np.ones(2000))
    np.testing.assert_allclose(found, lobes, atol=5 * 8.0 / np.sqrt(2000))
    right = np.take_along_axis(order, assignment, axis=1) == np.arange(5)
    assert right.mean() > 0.999


def test_weights_count(rng: np.random.Generator) -> None:
    low, high = np.array([[0.0, 50, 0], [0, -50, 0]]), np.array([[0.0, 60, 0], [0, -60, 0]])
    momentum = np.stack([low, high])
    _, lobes = match_lobes(momentum, np.array([3.0, 1.0]))
    np.testing.assert_allclose(lobes, [[0, 52.5, 0], [0, -52.5, 0]])


def test_one_ion_and_no_row() -> None:
    assignment, lobes = match_lobes(np.ones((3, 1, 3)), np.ones(3))
    assert assignment.tolist() == [[0], [0], [0]]
    assert lobes.tolist() == [[1.0, 1.0, 1.0]]
    assignment, _ = match_lobes(np.empty((0, 3, 3)), np.empty(0))
    assert assignment.shape == (0, 3)
