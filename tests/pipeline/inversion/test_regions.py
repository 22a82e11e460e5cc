"""Credible regions: how much they hold, and that twins give several intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from molexa_core.base.tables import FloatArray
from molexa_core.pipeline.inversion.weighted_draws import credible_intervals, equal_rows

DISTANCE, SHARE = 6.0, 0.3


def _twins(random: np.random.Generator, count: int) -> FloatArray:
    return random.normal(size=count) + DISTANCE * (random.random(count) < SHARE)


def _holds(parts: list[tuple[float, float]]) -> float:
    """Of the distribution of `_twins`."""
    one = sum(norm.cdf(b) - norm.cdf(a) for a, b in parts)
    other = sum(norm.cdf(b - DISTANCE) - norm.cdf(a - DISTANCE) for a, b in parts)
    return float((1.0 - SHARE) * one + SHARE * other)


@pytest.mark.parametrize(("level", "tolerance"), [(0.6827, 0.02), (0.9545, 0.015)])
def test_twins_give_two_intervals_that_hold_the_level(level: float, tolerance: float) -> None:
    random = np.random.default_rng(1)
    found = [
        credible_intervals(_twins(random, 2000), np.ones(2000), level, (-np.inf, np.inf))
        for _ in range(25)
    ]
    assert np.mean([_holds(parts) for parts in found]) == pytest.approx(level, abs=tolerance)
    assert np.mean([len(parts) == 2 for parts in found]) > 0.9


def test_one_maximum_gives_one_interval_also_with_few_draws() -> None:
    random = np.random.default_rng(2)
    for count in (60, 500):
        found = [credible_intervals(random.normal(size=count), np.ones(count)) for _ in range(40)]
        assert np.mean([len(parts) == 1 for parts in found]) > 0.9
        held = [norm.cdf(parts[-1][1]) - norm.cdf(parts[0][0]) for parts in found]
        assert np.mean(held) == pytest.approx(0.6827, abs=0.03)


def test_weights_count_as_repeated_draws_do() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=4000)
    # Draws of a wide distribution, weighed to a narrow one.
    wide = 3.0 * random.normal(size=12_000)
    weights = norm.pdf(wide) / norm.pdf(wide, scale=3.0)
    (one,), (other,) = (
        credible_intervals(values, np.ones(len(values))),
        credible_intervals(wide, weights),
    )
    assert one == pytest.approx((-1.0, 1.0), abs=0.12)
    assert other == pytest.approx((-1.0, 1.0), abs=0.12)


def test_regions_stay_within_their_limits() -> None:
    angles = 180.0 - np.abs(np.random.default_rng(4).normal(scale=2.0, size=2000))
    (part,) = credible_intervals(angles, np.ones(2000), limits=(0.0, 180.0))
    assert part[1] <= 180.0
    assert part[0] == pytest.approx(178.0, abs=0.3)


def test_a_value_that_is_exact_is_one_interval() -> None:
    assert credible_intervals(np.full(50, 2.0), np.ones(50)) == [(2.0, 2.0)]


def test_equally_likely_rows_occur_by_their_weights() -> None:
    weights = np.array([0.5, 0.25, 0.0, 0.25])
    rows = equal_rows(weights, 4000, np.random.default_rng(5))
    assert np.bincount(rows, minlength=4) / 4000 == pytest.approx(weights, abs=0.001)
    assert not (np.diff(rows) >= 0).all()
