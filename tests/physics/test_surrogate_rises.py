"""Explosions in which each atom of each molecule has a rise of its own."""

import numpy as np
import pytest

from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import AtomRises
from molexa_core.physics.surrogate.rises import explode_rises

CHARGES = np.array([1.0, 2.0, 3.0, 1.0])
MASSES = np.array([ELEMENTS[s].isotope_mass for s in ("H", "C", "O", "F")]) - CHARGES


@pytest.fixture
def given() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Positions, ln of the windows, middles."""
    random = np.random.default_rng(1)
    base = np.array([[0.0, 0, 0], [2.4, 0.1, 0], [-0.5, 2.6, 0.4], [0.2, -1.0, 2.7]])
    positions = base + 0.2 * random.normal(size=(7, 4, 3))
    return positions, np.log(random.uniform(5, 80, (7, 4))), random.uniform(0, 20, (7, 4))


def test_momenta_are_those_of_the_engine_with_rises_of_atoms(
    given: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    positions, log_tau, middle = given
    found = explode_rises(positions, CHARGES, MASSES, log_tau, middle).momenta
    for row in range(len(positions)):
        tau = np.exp(log_tau[row])
        onset = middle[row] - 0.5 * tau
        rise = AtomRises(tuple(tau), tuple(onset - onset.min()))
        one = positions[row : row + 1]
        expected = explode_many(one, CHARGES, MASSES, build_up=rise, accuracy="fine")
        assert np.abs(found[row] - expected[0]).max() < 2e-5 * np.abs(expected).max()


def test_only_differences_of_the_middles_matter(
    given: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    positions, log_tau, middle = given
    found = explode_rises(positions, CHARGES, MASSES, log_tau, middle)
    later = explode_rises(positions, CHARGES, MASSES, log_tau, middle + 17.0)
    assert later.momenta == pytest.approx(found.momenta, rel=1e-5, abs=1e-4)


def test_derivatives_are_those_of_differences(
    given: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    positions, log_tau, middle = given
    found = explode_rises(positions, CHARGES, MASSES, log_tau, middle, derivatives="all")
    rises = explode_rises(positions, CHARGES, MASSES, log_tau, middle, derivatives="rises")
    assert found.by_rises is not None
    assert found.by_positions is not None
    assert rises.by_rises == pytest.approx(found.by_rises, rel=1e-4, abs=1e-5)
    for values, place, step, columns in (
        (positions, 0, 0.02, found.by_positions),
        (log_tau, 1, 0.02, found.by_rises[..., :4]),
        (middle, 2, 0.3, found.by_rises[..., 4:]),
    ):
        size = values[0].size
        for column in range(size):
            change = np.zeros(size)
            change[column] = step
            both = []
            for sign in (1.0, -1.0):
                moved = [positions, log_tau, middle]
                moved[place] = values + sign * change.reshape(values[0].shape)
                both.append(explode_rises(moved[0], CHARGES, MASSES, moved[1], moved[2]).momenta)
            slope = ((both[0] - both[1]) / (2 * step)).reshape(len(positions), -1)
            scale = np.abs(columns).max()
            assert np.abs(slope - columns[..., column]).max() < 3e-3 * scale
