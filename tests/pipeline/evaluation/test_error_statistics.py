"""Statistics of errors, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.pipeline.evaluation.error_statistics import (
    MEASURES,
    by_predicted_error,
    diatomics,
    errors_of,
    most_certain,
    ranking,
    spread,
)


def test_errors_of_a_known_displacement() -> None:
    truth = np.array([[[0.0, 0, 0], [2.0, 0, 0], [0, 2.0, 0]]])
    moved = truth.copy()
    moved[0, 1, 0] = 2.3
    mae, mean_distance, max_distance, *_ = errors_of(moved, truth)[:, 0]
    assert mae == pytest.approx(0.3 / 9)
    hypotenuse = np.hypot(2.3, 2.0) - np.hypot(2.0, 2.0)
    assert mean_distance == pytest.approx((0.3 + hypotenuse) / 3)
    assert max_distance == pytest.approx(0.3)


def test_the_most_certain_entries_are_taken_by_predicted_and_told_by_true_error() -> None:
    predicted = np.array([4.0, 1.0, 3.0, 2.0])
    errors = np.vstack([[0.4, 0.1, 0.3, 0.9]] * len(MEASURES))
    half = next(row for row in most_certain(errors, predicted) if row["share"] == 0.5)
    assert half["entries"] == 2
    assert half["mae_mean"] == pytest.approx(0.5)
    assert half["predicted_most"] == 2.0
    first, *_, last = by_predicted_error(errors, predicted)
    assert (first["mae_mean"], last["mae_mean"]) == (0.1, 0.4)


def test_ranking_tells_entries_from_samples() -> None:
    # Between entries the estimate is right; between the samples of one it is upside down.
    errors = np.array([[1.0, 2.0, 3.0], [1.1, 2.1, 3.1]])
    predicted = np.array([[1.0, 2.0, 3.0], [0.9, 1.9, 2.9]])
    found = ranking([errors], [predicted])
    assert found["between_entries"] == pytest.approx(1.0)
    assert found["between_entries_by_rank"] == pytest.approx(1.0)
    assert found["between_samples_of_an_entry"] == pytest.approx(-1.0)


def test_two_predictions_of_a_normal_coordinate_differ_by_two_over_root_pi_deviations() -> None:
    drawn = np.random.default_rng(1).normal(scale=0.1, size=(2, 4000, 3, 3))
    found = spread({3: drawn})["all"]
    assert found["difference"] == pytest.approx(0.2 / np.sqrt(np.pi), rel=0.02)


def test_bond_lengths_of_an_instant_explosion_are_classical() -> None:
    length = np.array([2.0, 3.0, 4.0])
    charges, masses = np.tile([1.0, 2.0], (3, 1)), np.full((3, 2), 2.0e4)
    speed = np.sqrt(charges.prod(axis=1) / length / masses[:, 0])
    momenta = np.zeros((3, 2, 3))
    momenta[:, 0, 0], momenta[:, 1, 0] = -speed * 2.0e4, speed * 2.0e4
    truth = np.zeros((3, 2, 3))
    truth[:, 1, 0] = length
    errors = errors_of(truth * 1.1, truth)
    found = diatomics(errors, truth, charges, masses, momenta, np.arange(3))
    assert found["c / KER with c = 1"] == pytest.approx(0.0, abs=1e-9)
    assert found["c fitted"] == pytest.approx(1.0)
    assert found["network"] == pytest.approx(0.3)
    assert found["network median"] == pytest.approx(0.3)
