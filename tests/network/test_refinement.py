"""Refinement: structures end where their explosion gives the measured momenta."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.tables import FloatArray
from molexa_core.network.inference.refinement import refine
from molexa_core.physics.coulomb.batches import explode_many, linearise_many
from molexa_core.physics.coulomb.build_up import Instant
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.molecules.library import molecule


def exploding(name: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions (centred), charges and masses of a shipped molecule, all ions singly charged."""
    shipped = molecule(name)
    positions = shipped.geometry.positions - shipped.geometry.positions.mean(axis=0)
    return positions, np.ones(len(positions)), shipped.masses


@pytest.mark.parametrize("name", ["water", "formaldehyde", "methanol"])
def test_a_structure_near_the_truth_ends_at_the_truth(name: str) -> None:
    truth, charges, masses = exploding(name)
    momenta = explode_many(truth[None], charges, masses)[0]
    generator = np.random.default_rng(4)
    starts = truth + 0.1 * generator.standard_normal((5, *truth.shape))
    refined = refine(lambda x: explode_many(x, charges, masses), starts, momenta)
    assert refined.converged.all()
    assert refined.residual.max() < 1e-6
    assert np.abs(refined.positions - truth).max() < 1e-4
    assert refined.covariance is None


def test_starts_do_not_depend_on_each_other() -> None:
    truth, charges, masses = exploding("water")
    momenta = explode_many(truth[None], charges, masses)[0]
    starts = truth + 0.3 * np.random.default_rng(5).standard_normal((4, *truth.shape))
    together = refine(lambda x: explode_many(x, charges, masses), starts, momenta)
    alone = refine(lambda x: explode_many(x, charges, masses), starts[2:3], momenta)
    assert np.abs(together.positions[2] - alone.positions[0]).max() < 1e-7


def test_a_linear_model_is_solved_with_its_covariance() -> None:
    """With p = a x the answer and its covariance are known in closed form."""
    generator = np.random.default_rng(6)
    start = np.array([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    momenta = generator.standard_normal((2, 3))
    momenta -= momenta.mean(axis=0)
    slope, error, width = 2.0, 0.3, 0.2

    def forward(positions: FloatArray) -> FloatArray:
        return np.asarray(slope * (positions - positions.mean(axis=1, keepdims=True)))

    refined = refine(
        forward, start, momenta, sigma=np.full((2, 3), error), width=width, iterations=40
    )
    weight, pull = (slope / error) ** 2, 1.0 / width**2
    expected = (weight * momenta / slope + pull * start[0]) / (weight + pull)
    assert refined.positions[0] == pytest.approx(expected, abs=1e-5)
    assert refined.covariance is not None
    # Relative motion is determined by both, the common translation by the width alone.
    variance = 0.5 / (weight + pull) + 0.5 / pull
    assert np.diagonal(refined.covariance[0]) == pytest.approx(variance, rel=1e-4)


def test_noise_moves_a_refined_structure_as_its_covariance_says() -> None:
    truth, charges, masses = exploding("water")
    exact = explode_many(truth[None], charges, masses)[0]
    generator = np.random.default_rng(7)
    sigma = np.full(truth.shape, 0.01 * np.abs(exact).max())
    pulls = []
    for _ in range(40):
        noise = sigma * generator.standard_normal(truth.shape)
        noise -= noise.mean(axis=0)
        refined = refine(
            lambda x: explode_many(x, charges, masses, accuracy="draft"),
            truth[None],
            exact + noise,
            sigma=sigma,
            width=10.0,
        )
        assert refined.covariance is not None
        moved = refined.positions[0] - truth
        # The distance of the hydrogens does not depend on where the molecule is.
        axis = (truth[1] - truth[2]) / np.linalg.norm(truth[1] - truth[2])
        gradient = np.concatenate([np.zeros(3), axis, -axis])
        pulls.append(
            gradient @ moved.ravel() / np.sqrt(gradient @ refined.covariance[0] @ gradient)
        )
    # Removing the mean of the noise takes a third of the freedom, so pulls are a little below 1.
    assert 0.6 < np.std(pulls) < 1.3


def test_a_forward_model_that_fails_leaves_the_start_alone() -> None:
    start = np.array([[[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    momenta = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])
    refined = refine(lambda x: np.full_like(x, np.nan), start, momenta)
    assert (refined.positions == start).all()
    assert np.isinf(refined.residual).all()
    assert not refined.converged.any()


def test_a_rough_model_on_the_way_does_not_move_the_end() -> None:
    truth, charges, masses = exploding("methanol")
    momenta = explode_many(truth[None], charges, masses, accuracy="draft")[0]
    starts = truth + 0.1 * np.random.default_rng(8).standard_normal((5, *truth.shape))
    refined = refine(
        lambda x: explode_many(x, charges, masses, accuracy="draft"),
        starts,
        momenta,
        linearised=lambda x: linearise_many(
            x, charges, masses, build_up=Instant(), accuracy=Accuracy(16, 1.2)
        ),
    )
    assert refined.converged.all()
    assert refined.residual.max() < 1e-6
    assert np.abs(refined.positions - truth).max() < 1e-4


def test_what_is_far_off_on_the_rough_model_is_not_polished() -> None:
    """One iteration leaves the second start too far from the momenta."""
    truth, charges, masses = exploding("water")
    momenta = explode_many(truth[None], charges, masses)[0]
    calls = []

    def forward(positions: FloatArray) -> FloatArray:
        calls.append(len(positions))
        return explode_many(positions, charges, masses)

    refined = refine(
        forward,
        np.stack([truth, 3.0 * truth]),
        momenta,
        linearised=lambda x: linearise_many(
            x, charges, masses, build_up=Instant(), accuracy=Accuracy(16, 1.2)
        ),
        iterations=1,
    )
    assert refined.residual[0] < 1e-6
    assert refined.residual[1] > 0.2
    assert calls[0] == 2
    assert set(calls[1:]) == {1}
