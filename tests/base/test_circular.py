"""Directions on a circle: closed forms, rotations, a distribution across the cut."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.mathematics.circular import around, median_direction, wrapped


def _mean_distance(at: float, values: np.ndarray, weights: np.ndarray) -> float:
    return float(weights @ np.abs(wrapped(values - at)))


def test_directions_are_wrapped() -> None:
    assert wrapped([-540.0, -180.0, 0.0, 180.0, 359.0]).tolist() == [180, 180, 0, 180, -1]
    assert around(-175.0, [170.0, -10.0, 6.0]).tolist() == [-190.0, -10.0, -354.0]


def test_the_median_of_a_distribution_across_the_cut() -> None:
    values = wrapped(178.0 + 6.0 * np.random.default_rng(1).standard_normal(5001))
    assert (values < 0).mean() > 0.3
    assert abs(np.median(values)) < 179.0  # the median of the numbers, for comparison, is biased
    assert wrapped(median_direction(values) - 178.0) == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("turn", [0.0, 77.0, 180.0, -133.0])
def test_the_median_turns_with_the_directions(turn: float) -> None:
    random = np.random.default_rng(2)
    values, weights = random.normal(20.0, 50.0, 300), random.random(300)
    here = median_direction(values, weights)
    assert wrapped(median_direction(values + turn, weights) - here - turn) == pytest.approx(0.0)


def test_the_median_has_the_least_mean_distance() -> None:
    random = np.random.default_rng(3)
    for _ in range(20):
        values, weights = random.uniform(-180, 180, 41), random.random(41)
        found = _mean_distance(median_direction(values, weights), values, weights)
        grid = min(_mean_distance(at, values, weights) for at in np.linspace(-180, 180, 721))
        assert found < grid + 1e-9


def test_medians_of_few_directions() -> None:
    assert median_direction([30.0]) == pytest.approx(30.0)
    assert median_direction([170.0, 180.0, -160.0]) == pytest.approx(180.0)
    assert median_direction([-10.0, 0.0, 150.0], [1.0, 1.0, 10.0]) == pytest.approx(150.0)
    assert median_direction([-178.0, 176.0]) == pytest.approx(179.0)
