"""Weights of draws from evidence and from the samples of a network."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.sample_shares import with_samples

LONG, SHORT = 4.0, 2.0


def chain(
    random: np.random.Generator, length: float, count: int, spread: float = 0.03
) -> FloatArray:
    """Three atoms in a row with bonds of about this length, in any orientation."""
    x = np.zeros((count, 3, 3))
    x[:, 1, 0] = length * (1.0 + spread * random.standard_normal(count))
    x[:, 2, 0] = x[:, 1, 0] + length * (1.0 + spread * random.standard_normal(count))
    turn = np.linalg.qr(random.standard_normal((count, 3, 3)))[0]
    return np.asarray(x @ turn)


def drawn(random: np.random.Generator, share: float) -> tuple[FloatArray, FloatArray, IntArray]:
    """Draws of two solutions, the first of which has this share of the evidence."""
    x = np.concatenate([chain(random, SHORT, 600), chain(random, LONG, 400)])
    solution = np.repeat([0, 1], [600, 400])
    weights = random.random(1000)
    for number, part in ((0, share), (1, 1.0 - share)):
        weights[solution == number] *= part / weights[solution == number].sum()
    return x, weights, solution


def test_shares_are_the_mean_of_a_dirichlet_distribution() -> None:
    random = np.random.default_rng(0)
    x, weights, solution = drawn(random, 0.1)
    samples = np.concatenate([chain(random, SHORT, 12), chain(random, LONG, 4)])
    found = with_samples(x, weights, samples, against=8.0)
    assert found.sum() == pytest.approx(1.0)
    assert found[solution == 0].sum() == pytest.approx((8.0 * 0.1 + 12.0) / 24.0, abs=1e-3)
    assert (found >= 8.0 / 24.0 * weights).all()


def test_what_the_network_never_draws_is_not_excluded() -> None:
    random = np.random.default_rng(1)
    x, weights, solution = drawn(random, 0.6)
    found = with_samples(x, weights, chain(random, LONG, 16), against=16.0)
    assert found[solution == 0].sum() == pytest.approx(0.3, abs=1e-3)


def test_samples_that_explain_nothing_do_not_count() -> None:
    random = np.random.default_rng(2)
    x, weights, _ = drawn(random, 0.6)
    assert with_samples(x, weights, chain(random, 12.0, 16)) == pytest.approx(weights)


def test_a_sample_says_nothing_of_what_gives_the_same_structure() -> None:
    """One structure by two hypotheses about the explosion: they keep their probabilities."""
    random = np.random.default_rng(3)
    x = chain(random, SHORT, 4000)
    one = np.arange(4000) % 2 == 0
    weights = np.where(one, 0.2, 0.8) / 2000.0
    found = with_samples(x, weights, chain(random, SHORT, 64), against=1.0)
    assert found[one].sum() == pytest.approx(0.2, abs=0.02)


def test_samples_narrow_a_solution_that_evidence_leaves_open() -> None:
    random = np.random.default_rng(4)
    x = chain(random, SHORT, 4000, spread=0.3)
    weights = np.full(4000, 1.0 / 4000)
    found = with_samples(x, weights, chain(random, 1.2 * SHORT, 64, spread=0.02), against=1.0)
    length = np.linalg.norm(x[:, 1] - x[:, 0], axis=1)
    before, after = weights @ length, found @ length
    assert after - before == pytest.approx(0.2 * SHORT, abs=0.15)
    assert found @ (length - after) ** 2 < 0.5 * weights @ (length - before) ** 2
    # Each sample is spread over many draws.
    assert 1.0 / (found**2).sum() > 100.0


def test_a_sample_is_not_taken_for_a_twin_where_few_draws_are_like_it() -> None:
    random = np.random.default_rng(5)
    x = np.concatenate([chain(random, SHORT, 3), chain(random, LONG, 997)])
    weights = np.concatenate([np.full(3, 1e-4), np.full(997, (1.0 - 3e-4) / 997.0)])
    found = with_samples(x, weights, chain(random, SHORT, 64), against=8.0)
    assert found[:3].sum() == pytest.approx(64.0 / 72.0, abs=0.01)
