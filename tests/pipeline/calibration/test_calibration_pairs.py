"""Relative momenta of pairs: closed forms, symmetries, errors of means."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.ions import parse_ion
from molexa_core.pipeline.calibration.pairs import Pairs

WATER = tuple(parse_ion(text) for text in ("O2+", "H+", "H+"))


def momenta(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 3)) * 30.0 + 40.0


def test_two_ions_that_fly_apart_have_the_momentum_of_one() -> None:
    ions = tuple(parse_ion(text) for text in ("C2+", "O2+"))
    found = Pairs(ions).sizes(np.array([[[0.0, 80.0, 0.0], [0.0, -80.0, 0.0]]]))
    assert found[0, 0] == pytest.approx(80.0)


def test_like_pairs_are_one_value_and_need_no_order() -> None:
    pairs = Pairs(WATER)
    assert pairs.names == ("O2+ - H+", "H+ - H+")
    given = momenta(20)
    assert np.allclose(pairs.sizes(given), pairs.sizes(given[:, [0, 2, 1]]))


def test_the_order_of_two_kinds_does_not_matter() -> None:
    ions = tuple(parse_ion(text) for text in ("H+", "O2+", "H+"))
    assert set(Pairs(ions).names) == {"H+ - O2+", "H+ - H+"}


def test_neither_frame_nor_recoil_matters() -> None:
    pairs = Pairs(WATER)
    given = momenta(20)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    mass = np.array([ion.mass for ion in WATER])
    moved = given @ turn.T + mass[:, None] * np.array([1e-3, -2e-3, 5e-4])
    assert np.allclose(pairs.sizes(given), pairs.sizes(moved))


def test_squares_add_up_to_the_kinetic_energy_in_the_frame_of_the_whole() -> None:
    pairs = Pairs(WATER)
    given = momenta(5)
    mass = np.array([ion.mass for ion in WATER])
    centred = given - mass[:, None] / mass.sum() * given.sum(axis=1, keepdims=True)
    energy = (np.square(centred).sum(axis=2) / (2.0 * mass)).sum(axis=1)
    square = pairs.squares(given)
    weight = np.array(
        [
            2.0 * (mass[0] + mass[1]) ** 2 / (2.0 * mass[0] * mass[1] * mass.sum()),
            (mass[1] + mass[2]) ** 2 / (2.0 * mass[1] * mass[2] * mass.sum()),
        ]
    )
    assert np.allclose(square @ weight, energy)


def test_derivatives_are_those_of_differences() -> None:
    pairs = Pairs(WATER)
    given = momenta(2)
    gradient = pairs.gradient(given)
    for column in range(9):
        step = np.zeros(9)
        step[column] = 1e-4
        ahead = pairs.sizes(given + step.reshape(3, 3))
        behind = pairs.sizes(given - step.reshape(3, 3))
        assert np.allclose((ahead - behind) / 2e-4, gradient[:, :, column], atol=1e-6)


def test_errors_of_means_are_carried_on() -> None:
    ions = tuple(parse_ion(text) for text in ("N2+", "N2+"))
    found = Pairs(ions).of_means(
        np.array([[100.0, 0.0, 0.0], [-100.0, 0.0, 0.0]]), np.full((2, 3), 2.0)
    )
    assert found.values[0] == pytest.approx(100.0)
    assert found.covariance[0, 0] == pytest.approx(2.0, rel=1e-3)
