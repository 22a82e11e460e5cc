"""Parameters at several conditions: the same belief at each, alike as far as the conditions are."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.belief import Belief
from molexa_core.base.errors import UsageError
from molexa_core.pipeline.calibration.prior import alikeness, belief_at, joint_prior

NAMES = ("duration", "fluence", "transfer")
COVARIANCE = np.array([[0.25, 0.1, 0.05], [0.1, 0.5, 0.0], [0.05, 0.0, 1.0]])


def belief(shift: float = 0.0) -> Belief:
    return Belief(NAMES, np.array([1.0 + shift, 2.0, 3.0]), COVARIANCE)


def covariance(ln_ratios: list[float], common: tuple[str, ...] = ()) -> np.ndarray:
    at = np.array(ln_ratios)
    prior = joint_prior([belief(x) for x in ln_ratios], np.abs(at[:, None] - at[None, :]), common)
    return np.einsum("apk,bqk->apbq", prior.factor, prior.factor)


def test_every_condition_has_the_belief_of_the_family_there() -> None:
    for common in ((), ("transfer",)):
        joint = covariance([0.0, 0.7, 2.0], common)
        for at in range(3):
            assert np.allclose(joint[at, :, at], COVARIANCE)


def test_the_law_shifts_the_expectation() -> None:
    prior = joint_prior([belief(), belief(0.7)], np.array([[0.0, 0.7], [0.7, 0.0]]))
    assert prior.mean[1, 0] - prior.mean[0, 0] == pytest.approx(0.7)


def test_the_difference_grows_with_the_distance_up_to_independence() -> None:
    def variance(distance: float) -> float:
        joint = covariance([0.0, distance])
        return float(joint[0, 0, 0, 0] + joint[1, 0, 1, 0] - 2.0 * joint[0, 0, 1, 0])

    widths = [variance(x) for x in (0.0, 0.1, 0.5, 1.0, 2.0, 50.0)]
    assert widths[0] == pytest.approx(0.0, abs=1e-9)
    assert np.all(np.diff(widths) > 0)
    assert widths[-1] == pytest.approx(2.0 * COVARIANCE[0, 0])
    # An uncertain exponent: the standard deviation is proportional to a small distance.
    assert np.sqrt(variance(0.2) / variance(0.1)) == pytest.approx(2.0, rel=0.03)


def test_what_is_common_is_one_number() -> None:
    joint = covariance([0.0, 1.0], ("transfer",))
    assert joint[0, 2, 1, 2] == pytest.approx(1.0)
    assert joint[0, 0, 1, 0] < COVARIANCE[0, 0]
    assert joint[0, 0, 1, 2] == pytest.approx(COVARIANCE[0, 2])


def test_a_known_parameter_has_no_freedom() -> None:
    known = Belief.independent(["a", "b"], [0.0, 1.0], [0.0, 0.5])
    prior = joint_prior([known], np.zeros((1, 1)))
    assert prior.size == 1
    drawn = prior.coordinates(np.random.default_rng(0).normal(size=(10, 1)))
    assert np.all(drawn[:, 0, 0] == 0.0)


def test_conditions_of_different_families_are_refused() -> None:
    with pytest.raises(UsageError):
        joint_prior([belief(), Belief.independent(["a"], [0.0], [1.0])], np.zeros((2, 2)))


def test_alikeness_is_a_correlation() -> None:
    at = np.random.default_rng(1).uniform(-3, 3, 20)
    kernel = alikeness(np.abs(at[:, None] - at[None, :]))
    assert np.allclose(np.diag(kernel), 1.0)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12


def test_a_calibration_is_kept_at_its_points_and_forgotten_far_away() -> None:
    at = np.array([0.0, 1.0])
    tight = Belief(
        tuple(f"{name} @ {k}" for k in range(2) for name in NAMES),
        np.array([1.3, 2.2, 3.5, 2.2, 2.1, 3.5]),
        0.01 * np.eye(6),
    )

    def found(x: float, common: tuple[str, ...] = ()) -> Belief:
        where = np.array([x, *at])
        beliefs = [belief(y) for y in where]
        return belief_at(beliefs, np.abs(where[:, None] - where[None, :]), common, tight)

    assert np.allclose(found(0.0).mean, tight.mean[:3], atol=1e-6)
    assert np.allclose(found(1.0).covariance, 0.01 * np.eye(3), atol=1e-6)
    assert np.allclose(found(60.0).covariance, COVARIANCE, rtol=1e-3, atol=1e-3)
    assert found(60.0).mean[0] == pytest.approx(61.0, abs=0.01)
    widths = [found(x).width[0] for x in (1.0, 1.2, 1.6, 2.5, 5.0)]
    assert np.all(np.diff(widths) > 0)
    assert found(0.5).width[0] < found(1.5).width[0]
    # What is common to all conditions stays known everywhere.
    assert found(60.0, ("transfer",)).width[2] < 0.2
