"""Modes: geometries of the same momenta, samples at them, and their probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.elements import element
from molexa_core.pipeline.evaluation.ambiguity import (
    EXACT,
    box_probabilities,
    determinant,
    exact_momenta,
    modes_of,
    nearest_modes,
)

TAU_FS = 45.0


def test_a_second_geometry_has_the_same_momenta() -> None:
    # P4+ Cl+ H+ with distances 6.49, 5.81, 3.02 has a twin near 6.50, 4.7, 5.3.
    across = (6.49**2 + 5.81**2 - 3.02**2) / (2 * 6.49)
    truth = np.array([[[0, 0, 0], [6.49, 0, 0], [across, np.sqrt(5.81**2 - across**2), 0]]])
    charges = np.array([[4.0, 1.0, 1.0]])
    masses = np.array([[element(symbol).isotope_mass for symbol in ("P", "Cl", "H")]])
    momenta = exact_momenta(truth, charges, masses, TAU_FS)
    (modes,) = modes_of(truth, charges, masses, momenta, tau_fs=TAU_FS)
    assert len(modes) >= 2
    assert modes[0] == pytest.approx(truth[0] - truth[0].mean(axis=0))
    repeated = np.repeat(charges, len(modes), axis=0), np.repeat(masses, len(modes), axis=0)
    reached = exact_momenta(modes, *repeated, TAU_FS)
    misfit = np.sqrt(((reached - momenta) ** 2).sum(axis=(1, 2)) / (momenta**2).sum())
    assert misfit.max() < 2 * EXACT
    distances = np.linalg.norm(modes[1:, [0, 0, 1]] - modes[1:, [1, 2, 2]], axis=2)
    assert np.abs(distances - [6.50, 4.68, 5.31]).max(axis=1).min() < 0.02
    known = (charges[0], masses[0])
    chance = box_probabilities(modes, *known, tau_fs=TAU_FS, half_width=10.0, contact=1.5)
    assert chance.sum() == pytest.approx(1.0)
    # A cube too small for the larger one of two shapes gives it no room.
    none = box_probabilities(modes, *known, tau_fs=TAU_FS, half_width=1.0, contact=1.5)
    assert none.sum() == 0.0


def test_samples_are_counted_at_the_nearest_mode() -> None:
    modes = np.zeros((2, 3, 3))
    modes[1] += 1.0
    samples = np.stack([modes[0] + 0.1, modes[1] - 0.05, modes[1] - 0.4])
    place, distance, between = nearest_modes(samples, modes)
    assert place.tolist() == [0, 1, 1]
    assert distance == pytest.approx([0.1, 0.05, 0.4])
    assert between.tolist() == [False, False, True]


def test_the_determinant_of_two_ions_that_explode_at_once() -> None:
    """p = sqrt(2 mu q1 q2 / R) along the bond: dp/dR = p / 2R along it, p / R across, twice."""
    charges, masses = np.array([2.0, 3.0]), np.array([2.0e4, 6.0e4])
    length = 5.0
    momentum = np.sqrt(2.0 * 1.5e4 * 6.0 / length)
    # In rows of norm one x is (r1 - r2) / sqrt 2, and p becomes sqrt 2 p: a factor 2 for each axis.
    expected = 8.0 * 0.5 * (momentum / length) ** 3
    placed = np.array([[0.0, 0, 0], [length, 0, 0]])
    assert determinant(placed, charges, masses, tau_fs=0.001) == pytest.approx(expected, rel=1e-4)
