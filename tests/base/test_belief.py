"""Normal distributions of parameters: coordinates, factors, marginals."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.errors import UsageError


@pytest.mark.parametrize(("scale", "value"), [("linear", -3.0), ("log", 2.5), ("logit", 0.2)])
def test_coordinates_and_values_are_inverse(scale, value):
    coordinate = Coordinate("x", "quantity", scale=scale)
    assert float(coordinate.values(coordinate.of_value(value))) == pytest.approx(value)


def test_value_without_coordinate_is_refused():
    with pytest.raises(UsageError, match="duration is -1 fs"):
        Coordinate("duration_fs", "duration", "fs").of_value(-1.0)


def test_draws_have_mean_and_covariance_and_keep_what_is_exact():
    covariance = np.array([[4.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    belief = Belief(("a", "b", "c"), np.array([1.0, 2.0, 3.0]), covariance)
    assert belief.factor().shape == (3, 2)
    drawn = belief.draw(np.random.default_rng(0), 100_000)
    assert np.allclose(drawn.mean(0), belief.mean, atol=0.03)
    assert np.allclose(np.cov(drawn.T), covariance, atol=0.06)
    assert (drawn[:, 2] == 3.0).all()
    assert np.allclose(belief.only(["c", "a"]).covariance, [[0.0, 0.0], [0.0, 4.0]])


def test_matrix_that_is_no_covariance_is_refused():
    with pytest.raises(UsageError, match="negative eigenvalue"):
        Belief(("a", "b"), np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]))
