"""Tests of posteriors on cases whose posterior is known: exact ones pass, wrong ones do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray
from molexa_core.pipeline.evaluation.posterior_tests import (
    LEVELS,
    central_curve,
    evenness,
    holm,
    local_test,
    nearness_ranks,
    rank_among,
    reference_points,
    region_curve,
    tarp_ranks,
    uniformity,
)

DRAWS = 63
TESTS = ("single", "joint", "TARP", "TARP cumulative", "local", "local joint")
APART = 4.0


def _cases(
    random: np.random.Generator, kind: str, cases: int, size: int = 3
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Truth, draws and observables of normal posteriors with middle and width set by observables.

    In `twins` each case has two solutions, of which the truth is either.
    """
    seen = random.normal(size=(cases, 3))
    middle, width = seen[:, :1], np.exp(0.3 * seen[:, 1:2])
    twins = kind in ("twins", "a twin is missing")
    truth = middle + width * random.normal(size=(cases, size))
    truth = truth + APART * twins * (random.random((cases, 1)) < 0.5)
    noise = random.normal(size=(DRAWS + 2, cases, size))
    if kind == "too narrow":
        noise = 0.8 * noise
    if kind == "biased":
        noise = noise + 0.5
    if kind == "biased by what was measured":
        noise = noise + 0.5 * np.sign(seen[:, 2:])
    if kind == "width by what was measured":
        noise = noise * np.where(seen[:, 2:] > 0.0, 1.3, 1.0 / 1.3)
    draws = middle + width * noise
    if kind == "twins":
        draws = draws + APART * (random.random((DRAWS + 2, cases, 1)) < 0.5)
    return truth, draws, seen


def _p_values(kind: str, cases: int, seed: int) -> FloatArray:
    """Of all `TESTS`."""
    random = np.random.default_rng([seed, len(kind)])
    truth, drawn, seen = _cases(random, kind, cases)
    draws, spare = drawn[:-2], drawn[-2:]
    single = rank_among(truth[:, 0], draws[:, :, 0], random)
    joint = nearness_ranks(truth, draws, random)
    references = reference_points(spare, np.roll(spare[1], 1, axis=0), random)
    tarp = tarp_ranks(truth, draws, references, random)
    found = [uniformity("", one) for one in (single, joint, tarp)]
    found += [evenness("", tarp), local_test("", single, seen, random)]
    found.append(local_test("", joint, seen, random))
    return np.array([one.p_value for one in found])


@pytest.mark.parametrize("kind", ["exact", "twins"])
def test_exact_posteriors_are_rejected_no_more_often_than_claimed(kind: str) -> None:
    found = np.stack([_p_values(kind, 120, seed) for seed in range(24)])
    # 144 p-values, of each test 24: 10 % and 1 % levels within four standard deviations.
    assert (found < 0.1).mean() < 0.1 + 4.0 * np.sqrt(0.09 / found.size)
    assert (found < 0.1).mean() > 0.03
    assert ((found < 0.01).sum(axis=0) <= 2).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "twins"])
def test_the_rate_of_false_alarms_is_the_level(kind: str) -> None:
    found = np.stack([_p_values(kind, 250, seed) for seed in range(300)])
    for level in (0.01, 0.05, 0.2):
        rate = (found < level).mean(axis=0)
        assert (np.abs(rate - level) < 4.0 * np.sqrt(level * (1.0 - level) / len(found))).all()


@pytest.mark.parametrize("kind", ["too narrow", "biased", "a twin is missing"])
def test_wrong_posteriors_are_rejected_by_every_test(kind: str) -> None:
    found = _p_values(kind, 1000, 1)
    assert (found < 0.01).all(), dict(zip(TESTS, found, strict=True))


@pytest.mark.parametrize("kind", ["biased by what was measured", "width by what was measured"])
def test_the_local_test_finds_what_averages_out(kind: str) -> None:
    found = dict(zip(TESTS, _p_values(kind, 1000, 2), strict=True))
    assert found["local"] < 0.01
    assert found["local"] <= found["single"]


def test_ranks_of_a_truth_that_is_one_of_the_draws_are_even_with_ties() -> None:
    random = np.random.default_rng(3)
    # Few different values: most draws are tied with the truth.
    truth = random.integers(0, 3, 4000).astype(float)
    draws = random.integers(0, 3, (9, 4000)).astype(float)
    ranks = rank_among(truth, draws, random)
    assert np.abs(np.histogram(ranks, 10, (0.0, 1.0))[0] - 400).max() < 4.0 * np.sqrt(400)


def test_a_rank_is_the_share_of_draws_below() -> None:
    draws = np.arange(99.0)[:, None] + 0.5
    for truth, share in ((0.0, 0.0), (50.0, 0.5), (99.0, 0.99)):
        rank = rank_among(np.array([truth]), draws, np.random.default_rng(0))
        assert share <= rank[0] <= share + 0.01


def test_coverage_of_normal_draws_that_are_too_narrow_is_that_of_the_normal_distribution() -> None:
    random = np.random.default_rng(4)
    truth = random.normal(size=20_000)
    ranks = norm.cdf(truth / 0.8)
    curve = central_curve("", ranks, np.arange(len(ranks)))
    expected = 2.0 * norm.cdf(0.8 * norm.ppf(0.5 + 0.5 * LEVELS)) - 1.0
    assert np.abs(curve.covered - expected).max() < 0.012
    assert ((curve.low <= curve.covered) & (curve.covered <= curve.high)).all()
    assert curve.deviation == pytest.approx(np.abs(expected - LEVELS).max(), abs=0.012)


def test_intervals_of_a_curve_are_wide_where_distances_belong_together() -> None:
    random = np.random.default_rng(5)
    ranks = np.repeat(random.random(50), 20)
    together = region_curve("", ranks, np.repeat(np.arange(50), 20))
    apart = region_curve("", ranks, np.arange(1000))
    assert (together.high - together.low)[24] > 3.0 * (apart.high - apart.low)[24]


def test_holm_keeps_the_level_of_the_family() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    random = np.random.default_rng(6)
    rejected = np.mean([min(holm(random.random(10).tolist())) < 0.05 for _ in range(4000)])
    assert abs(rejected - 0.05) < 4.0 * np.sqrt(0.05 * 0.95 / 4000)


def test_too_few_cases_are_refused() -> None:
    with pytest.raises(UsageError, match="too few"):
        uniformity("", np.array([0.1, 0.5]))
