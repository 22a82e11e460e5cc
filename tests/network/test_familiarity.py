"""Inputs unlike the training are told apart from those like it."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import WeightsError
from molexa_core.network.inference.familiarity import (
    objections,
    quantities,
    ranges_of,
    read_ranges,
    unlike,
)
from molexa_core.network.weights import default_weights, read_card
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.molecules.library import molecule


def test_two_ions_alone_have_the_distance_that_their_energy_says() -> None:
    charges, masses = np.array([[2.0, 3.0]]), np.array([[2000.0, 30000.0]])
    distance = 2.5
    momentum = np.sqrt(2.0 * (6.0 / distance) * masses.prod() / masses.sum())
    momenta = np.array([[[momentum, 0.0, 0.0], [-momentum, 0.0, 0.0]]])
    found = quantities(charges, masses, momenta)
    assert found["size_bohr"] == pytest.approx(distance)
    assert found["nearest_bohr"] == pytest.approx(distance)
    assert found["charge"] == 3.0
    assert found["energy_share"] == pytest.approx(30000.0 / 32000.0)


def test_the_shipped_molecules_are_familiar_and_distorted_momenta_are_not() -> None:
    ranges = read_ranges(read_card(default_weights())[0].data)
    assert ranges is not None
    assert sorted(ranges) == list(range(2, 10))
    for name in ("water", "methane", "cf4", "co2", "ethanol", "nitrogen"):
        shipped = molecule(name)
        positions = shipped.geometry.positions[None]
        charges = np.ones(positions.shape[1])
        rise = ErrorFunctionRise(45.0)
        momenta = explode_many(positions, charges, shipped.masses, build_up=rise)[0]
        assert objections(ranges, charges, shipped.masses, momenta) == []
        (slow,) = objections(ranges, charges, shipped.masses, 0.2 * momenta)[:1]
        assert slow.startswith("mean distance that the kinetic energy release implies")
        assert "bohr (training: " in slow
        high = objections(ranges, 12.0 * charges, shipped.masses, 12.0 * momenta)
        assert any(text.startswith("largest charge 12 (training: 1 to 8") for text in high)
        both = np.stack([momenta, 0.2 * momenta])
        columns = (np.stack([charges] * 2), np.stack([shipped.masses] * 2))
        assert unlike(ranges, *columns, both).tolist() == [False, True]


def test_other_numbers_of_ions_and_damaged_cards() -> None:
    generator = np.random.default_rng(0)
    momenta = generator.standard_normal((500, 3, 3))
    ranges = read_ranges({"ranges": ranges_of([(np.ones((500, 3)), np.ones((500, 3)), momenta)])})
    assert ranges is not None
    assert unlike(ranges, np.ones((500, 3)), np.ones((500, 3)), momenta).mean() < 0.02
    four = objections(ranges, np.ones(4), np.ones(4), np.ones((4, 3)))
    assert four == ["4 ions (training: 3 to 3)"]
    assert read_ranges({}) is None
    with pytest.raises(WeightsError, match="ranges of the training"):
        read_ranges({"ranges": {"3": {"charge": [1.0]}}})
