"""The hidden factor of a model's error: against distributions known in closed form."""

import math

import numpy as np
import pytest
from scipy.stats import chi2, f, multivariate_normal, multivariate_t

from molexa_core.physics.family.error_size import (
    KNOWN,
    Block,
    ErrorSize,
    SumOfSquares,
    draws_of,
    log_density,
)

OWN = np.array([[2.0, 0.6, 0.1], [0.6, 1.0, 0.2], [0.1, 0.2, 0.5]])
FIXED = np.array([[0.3, 0.1, 0.0], [0.1, 0.4, 0.0], [0.0, 0.0, 0.2]])


def residuals(count: int = 40) -> np.ndarray:
    return 2.0 * np.random.default_rng(3).standard_normal((count, 3))


def test_a_known_error_is_that_of_a_normal_distribution() -> None:
    r = residuals()
    found = log_density(r, FIXED, np.repeat(OWN[None], len(r), axis=0), KNOWN)
    assert np.allclose(found, multivariate_normal(cov=OWN + FIXED).logpdf(r), atol=1e-10)


@pytest.mark.parametrize("freedom", [2.75, 5.0, 30.0])
def test_without_a_measurement_residuals_have_a_student_distribution(freedom: float) -> None:
    r = 0.5 * residuals()
    own = np.repeat(OWN[None], len(r), axis=0)
    found = log_density(r, 1e-8 * np.eye(3), own, ErrorSize(freedom))
    exact = multivariate_t(shape=OWN, df=freedom).logpdf(r)
    assert np.abs(found - exact).max() < 0.03


def test_a_share_scales_what_is_claimed() -> None:
    """A fifth of the factor is a fifth of the claimed covariance: in densities and in draws."""
    r = 0.5 * residuals()
    own = np.repeat(OWN[None], len(r), axis=0)
    scaled = log_density(r, FIXED, own, ErrorSize(2.75, 0.2))
    assert np.allclose(scaled, log_density(r, FIXED, 0.2 * own, ErrorSize(2.75)), atol=1e-10)
    known = log_density(r, FIXED, own, ErrorSize(share=0.2))
    assert np.allclose(known, log_density(r, FIXED, 0.2 * own, KNOWN), atol=1e-10)
    block = Block(slice(0, 3), 0.9 * np.eye(3), ErrorSize(share=0.2))
    drawn = draws_of(3, [block], 20_000, seed=1)
    assert drawn.var(axis=0) == pytest.approx(0.1 + 0.2 * 0.9, rel=0.05)


def test_what_is_not_a_number_has_no_density() -> None:
    r = residuals(2)
    r[0] = np.nan
    own = np.stack([OWN, np.full((3, 3), np.nan)])
    assert np.isneginf(log_density(r, FIXED, own, ErrorSize(3.0))).all()


def test_probabilities_of_the_factor_are_one_together() -> None:
    size = ErrorSize(2.75)
    assert np.exp(size.log_shares).sum() == pytest.approx(1.0)
    # Median of f / chi^2_f.
    below = np.exp(size.log_shares)[size.squares < 2.75 / chi2.ppf(0.5, 2.75)].sum()
    assert below == pytest.approx(0.5, abs=0.12)


def test_sums_of_squares_are_chi_square_or_f_distributed() -> None:
    value = np.array([0.5, 3.0, 12.0, 40.0])
    whole = [Block(slice(0, 3), np.eye(3), KNOWN)]
    assert np.allclose(SumOfSquares(np.eye(3), whole).exceeded(value), chi2.sf(value, 3))
    tails = [Block(slice(0, 3), np.eye(3), ErrorSize(2.75))]
    found = SumOfSquares(np.eye(3), tails).exceeded(value)
    assert np.allclose(found, f.sf(value / 3.0, 3, 2.75), rtol=0.02)


def test_probabilities_of_drawn_sums_are_uniform() -> None:
    """With two sets of momenta, what a fit follows taken out, and part of the error measured."""
    random = np.random.default_rng(1)
    columns = np.linalg.qr(random.standard_normal((9, 9)))[0]
    left = columns[:, 4:].T
    blocks = [
        Block(slice(0, 3), OWN / 2.5, ErrorSize(2.75)),
        Block(slice(3, 6), np.diag([0.9, 0.5, 0.1]), ErrorSize(6.0)),
    ]
    sums = np.square(draws_of(9, blocks, 40_000, seed=4) @ left.T).sum(axis=1)
    p = SumOfSquares(left, blocks).exceeded(sums)
    for level in (0.005, 0.01, 0.1, 0.5, 0.9):
        error = math.sqrt(level * (1.0 - level) / len(p))
        # A chi-square in place of a sum of several is right to some per cent of the level.
        assert abs((p < level).mean() - level) < 4.0 * error + 0.06 * level
