"""Trivial answers: exact where they must be."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.molecules.library import molecule
from molexa_core.pipeline.evaluation.baselines import (
    along_the_momenta,
    equilibrium_positions,
    fitted_bond_factor,
    nearest_in_training,
)


def test_two_ions_of_an_instant_explosion_are_solved_by_their_energy() -> None:
    positions = np.array([[[0.0, 0.0, -1.2], [0.0, 0.0, 1.3]]])
    charges, masses = np.array([[2.0, 3.0]]), np.array([[20_000.0, 30_000.0]])
    momenta = explode_many(positions, charges, masses, accuracy="fine")
    found = along_the_momenta(charges, masses, momenta)
    assert found == pytest.approx(positions - positions.mean(axis=1, keepdims=True), abs=1e-6)
    assert fitted_bond_factor(charges, masses, momenta, np.array([2.5])) == pytest.approx(1.0)


def test_equilibrium_is_laid_onto_the_truth() -> None:
    water = molecule("water").geometry
    numbers = np.array([[8, 1, 1]])
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    truth = (water.positions - water.positions.mean(axis=0)) @ turn.T
    symbols = {number: element.symbol for number, element in BY_NUMBER.items()}
    found = equilibrium_positions(numbers, truth[None], symbols)
    assert found[0] == pytest.approx(truth, abs=1e-9)
    assert np.isnan(equilibrium_positions(np.array([[9, 9, 9]]), truth[None], symbols)).all()


def test_the_nearest_training_entry() -> None:
    generator = np.random.default_rng(2)
    numbers, charges = np.array([[8, 1]] * 5), np.array([[1.0, 1.0]] * 4 + [[2.0, 1.0]])
    momenta, positions = generator.normal(size=(2, 5, 2, 3))
    training = (numbers, charges, momenta, positions)
    # Twice the momenta, and other charges with the pattern that goes with them: the same geometry.
    found = nearest_in_training(numbers[:1], charges[:1], 2 * momenta[2:3], training)
    assert (found[0] == positions[2]).all()
    doubled = momenta[4:] / np.sqrt([2.0, 1.0])[:, None]
    found = nearest_in_training(numbers[:1], charges[:1], doubled, training)
    assert (found[0] == positions[4]).all()
    found = nearest_in_training(np.array([[7, 1]]), charges[:1], momenta[:1], training)
    assert np.isnan(found).all()
