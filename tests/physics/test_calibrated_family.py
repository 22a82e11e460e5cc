"""The misfit of a calibration: size, symmetry, and that it is added to the error of the family."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.belief import Coordinate
from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.calibrated import CalibratedFamily, calibrated, relative_error
from molexa_core.physics.family.family import Fragments, Linearised, WithYields

WATER = Fragments.of([parse_ion(text) for text in ("O2+", "H+", "H+")])
MOMENTA = np.array([[[0.0, -40.0, 0.0], [50.0, 20.0, 0.0], [-50.0, 20.0, 0.0]]])


class Scaled:
    """Momenta proportional to the positions."""

    name = "proportional"
    coordinates = (Coordinate("scale", "scale"),)

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        return np.asarray(np.exp(parameters)[:, :, None] * positions)

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        raise NotImplementedError

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        return np.broadcast_to(np.eye(3 * len(fragments)), (len(positions), 9, 9))


class Counted(Scaled):
    def log_yield(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        return np.zeros(len(positions)), np.ones(len(positions))


def test_the_whole_keeps_no_momentum() -> None:
    covariance = relative_error(WATER, MOMENTA)[0].reshape(3, 3, 3, 3)
    assert np.abs(covariance.sum(axis=(0, 2))).max() < 1e-8


def test_the_error_of_a_diatomic_is_relative_to_its_momentum() -> None:
    ions = Fragments.of([parse_ion("N2+"), parse_ion("N2+")])
    momenta = np.array([[[100.0, 0.0, 0.0], [-100.0, 0.0, 0.0]]])
    covariance = relative_error(ions, momenta)[0]
    assert covariance[0, 0] == pytest.approx(100.0**2)
    assert covariance[0, 3] == pytest.approx(-(100.0**2))


def test_it_turns_with_the_molecule_and_scales_with_the_square() -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    big = np.kron(np.eye(3), turn)
    turned = relative_error(WATER, MOMENTA @ turn.T)[0]
    assert np.allclose(turned, big @ relative_error(WATER, MOMENTA)[0] @ big.T)
    assert np.allclose(relative_error(WATER, 3.0 * MOMENTA), 9.0 * relative_error(WATER, MOMENTA))


def test_the_error_is_that_of_the_family_and_the_misfit() -> None:
    family = calibrated(Scaled(), 0.1)
    at = np.zeros((1, 1))
    expected = np.eye(9) + 0.01 * relative_error(WATER, MOMENTA)
    assert np.allclose(family.error(WATER, MOMENTA, at), expected)
    assert family.name == "proportional"
    assert np.array_equal(family.explode(WATER, MOMENTA, at), MOMENTA)


def test_yields_are_known_where_the_family_knows_them() -> None:
    assert not isinstance(calibrated(Scaled(), 0.1), WithYields)
    counted = calibrated(Counted(), 0.1)
    assert isinstance(counted, WithYields)
    assert counted.log_yield(WATER, MOMENTA, np.zeros((1, 1)))[1] == 1.0


def test_a_negative_misfit_is_none() -> None:
    with pytest.raises(UsageError):
        CalibratedFamily(Scaled(), -0.1)
