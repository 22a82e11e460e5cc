"""Derivatives of momenta by positions, against differences and in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import explode_many, linearise_many
from molexa_core.physics.coulomb.build_up import BuildUp, ErrorFunctionRise, Instant
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.molecules.library import molecule


@pytest.mark.parametrize("rise", [Instant(), ErrorFunctionRise(45.0)])
def test_derivatives_agree_with_differences(rise: BuildUp) -> None:
    shipped = molecule("formaldehyde")
    generator = np.random.default_rng(1)
    positions = shipped.geometry.positions + 0.2 * generator.standard_normal((3, 4, 3))
    charges = np.array([2.0, 1.0, 1.0, 3.0])

    def exploded(at: FloatArray) -> FloatArray:
        return explode_many(at, charges, shipped.masses, build_up=rise, accuracy="fine")

    momenta, found = linearise_many(
        positions, charges, shipped.masses, build_up=rise, accuracy="fine"
    )
    assert np.array_equal(momenta, exploded(positions))
    step = 1e-4
    for coordinate in range(12):
        shift = step * np.eye(12)[coordinate].reshape(4, 3)
        ahead = exploded(positions + shift)
        behind = exploded(positions - shift)
        expected = ((ahead - behind) / (2.0 * step)).reshape(3, 12)
        assert found[:, :, coordinate] == pytest.approx(expected, abs=2e-5 * np.abs(found).max())


def test_two_ions_in_closed_form() -> None:
    """At distance r the momentum is sqrt(2 m q q' / r), along the line between them."""
    r, reduced = 2.0, 2000.0 * 3000.0 / 5000.0
    positions = np.array([[[0.0, 0.0, 0.0], [r, 0.0, 0.0]]])
    _, found = linearise_many(
        positions,
        np.ones(2),
        np.array([2000.0, 3000.0]),
        build_up=Instant(),
        accuracy="fine",
    )
    momentum = np.sqrt(2.0 * reduced / r)
    along, across = -0.5 * momentum / r, momentum / r
    block = np.diag([along, across, across])
    expected = np.block([[block, -block], [-block, block]])
    assert found[0] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_momenta_in_sum_do_not_change_and_moving_all_changes_nothing() -> None:
    shipped = molecule("ethanol")
    _, found = linearise_many(
        shipped.geometry.positions[None],
        np.ones(9),
        shipped.masses,
        build_up=ErrorFunctionRise(45.0),
        accuracy=Accuracy(16, 1.2),
    )
    blocks = found[0].reshape(9, 3, 9, 3)
    largest = np.abs(blocks).max()
    assert np.abs(blocks.sum(axis=0)).max() < 1e-5 * largest
    assert np.abs(blocks.sum(axis=2)).max() < 1e-5 * largest
