"""Strong laser pulses: limits, symmetries, derivatives, and what is published of energies."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import erfc

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS, BOHR_ANGSTROM
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.family.family import Family, Fragments
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior
from tests.physics.test_build_up_family import energy, fragments, methane

FINE = LaserFamily(single=False, accuracy=Accuracy(4000, 0.05))
ANGLED = (math.sin(math.radians(59.7)), math.cos(math.radians(59.7)))
MOLECULES = {
    "N2": (("N", "N"), (2.0, 2.0), [[0, 0, 0], [1.098, 0, 0]]),
    "CO2": (("O", "C", "O"), (2.0, 2.0, 2.0), [[-1.162, 0, 0], [0, 0.02, 0], [1.162, 0, 0]]),
    "SO2": (
        ("S", "O", "O"),
        (3.0, 2.0, 2.0),
        [[0, 0, 0], [1.431 * ANGLED[0], 1.431 * ANGLED[1], 0], [-1.236, 0.722, 0]],
    ),
    "H2O": (("O", "H", "H"), (2.0, 1.0, 1.0), [[0, 0, 0], [0.757, 0.587, 0], [-0.757, 0.587, 0]]),
}


def at_rest(name: str) -> tuple[Fragments, FloatArray, float]:
    """Ions, places in bohr, and the Coulomb energy."""
    symbols, charges, places = MOLECULES[name]
    ions, x = fragments(symbols, charges), np.array(places) / BOHR_ANGSTROM
    i, j = np.triu_indices(len(x), 1)
    pairs = ions.charges[i] * ions.charges[j] / np.linalg.norm(x[i] - x[j], axis=1)
    return ions, x, float(pairs.sum())


def test_two_ions_follow_the_equation_of_their_distance() -> None:
    ions = fragments(("N", "O"), (2.0, 3.0))
    duration, early, latest, growth, sharpness = 40.0, 0.3, 0.6, 1.4, 2.0
    x = np.array([[[0.0, 0, 0], [0, 0, 2.1]]])
    prior = laser_prior(duration)
    parameters = np.array([prior.mean])
    values = (math.log(early / (1 - early)), math.log(latest), math.log(growth))
    parameters[0, 1:] = (*values, math.log(sharpness), 0.0)
    whole = latest * duration / ATOMIC_TIME_FS
    reduced = ions.masses.prod() / ions.masses.sum()

    def motion(t: float, state: FloatArray) -> list[float]:
        r, v = state
        first = erfc(3.15 - 6.3 * t / (0.5 * whole)) / 2
        second = erfc(sharpness * (1 - t / whole - (r / 2.1 - 1) / growth)) / 2
        share = early * first + (1 - early) * second
        return [v, 6.0 * share**2 / r**2 / reduced]

    path = solve_ivp(motion, (0.0, 2e5), [2.1, 0.0], rtol=1e-10, atol=1e-10, method="DOP853")
    r, v = path.y[:, -1]
    expected = math.sqrt(2 * reduced * (reduced * v**2 / 2 + 6.0 / r))
    found = FINE.explode(ions, x, parameters)
    assert found[0, 1, 2] == pytest.approx(expected, rel=2e-6)
    assert found[0, 0, 2] == pytest.approx(-expected, rel=2e-6)


def test_a_pulse_of_no_duration_charges_at_once_and_an_early_share_of_all_is_one_rise() -> None:
    ions, x, _ = methane(8, seed=11)
    parameters = np.tile(laser_prior(1e-3).mean, (8, 1))
    parameters[:, 5] = 0.0
    i, j = np.triu_indices(5, 1)
    potential = ions.charges[i] * ions.charges[j] / np.linalg.norm(x[:, i] - x[:, j], axis=2)
    found = energy(ions, FINE.explode(ions, x, parameters))
    np.testing.assert_allclose(found, potential.sum(axis=1), rtol=1e-6)
    parameters[:, 0], parameters[:, 1] = math.log(60.0), 25.0
    rise = ErrorFunctionRise(0.5 * 0.7 * 60.0)
    expected = explode_many(x, ions.charges, ions.masses, build_up=rise, accuracy="fine")
    found = FINE.explode(ions, x, parameters)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_the_slower_the_pulse_the_softer_until_the_molecule_ionizes_by_its_size() -> None:
    ions, x, whole = at_rest("N2")
    durations = np.array([3.0, 10.0, 30.0, 100.0, 1000.0])
    parameters = np.tile(laser_prior(1.0).mean, (5, 1))
    parameters[:, 0], parameters[:, 4] = np.log(durations), math.log(6.0)
    share = energy(ions, FINE.explode(ions, np.tile(x, (5, 1, 1)), parameters)) / whole
    assert (np.diff(share) < 0).all()
    # In the slowest pulse at a growth of 1.5 all at once: 1 / 2.5 of the energy from there on, and
    # on the way there the work of the early charges.
    parameters[:, 5] = 0.0
    share = energy(ions, FINE.explode(ions, np.tile(x, (5, 1, 1)), parameters)) / whole
    assert share[-1] == pytest.approx(0.4 + 0.3**2 * 0.6, abs=0.05)


def test_momenta_turn_with_the_molecule_and_change_places_with_like_atoms() -> None:
    ions, x, _ = methane(10, seed=13)
    random = np.random.default_rng(14)
    parameters = laser_prior().draw(random, 10)
    turn, _ = np.linalg.qr(random.standard_normal((3, 3)))
    found = FINE.explode(ions, x, parameters)
    scale = np.abs(found).max()
    np.testing.assert_allclose(
        FINE.explode(ions, x @ turn + 3.0, parameters), found @ turn, atol=1e-8 * scale
    )
    order = [0, 3, 1, 4, 2]
    np.testing.assert_allclose(
        FINE.explode(ions, x[:, order], parameters), found[:, order], atol=1e-8 * scale
    )
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-10 * scale)


def test_derivatives_agree_with_differences() -> None:
    ions, x, _ = methane(6, seed=15)
    parameters = laser_prior().draw(np.random.default_rng(16), 6)
    family = LaserFamily(single=False, accuracy=Accuracy(2000, 0.1))
    found = family.linearise(ions, x, parameters)
    for place in range(6):
        step = np.zeros(6)
        step[place] = 1e-3
        change = family.explode(ions, x, parameters + step)
        change = (change - family.explode(ions, x, parameters - step)) / 2e-3
        off = found.by_parameters[:, :, place] - change.reshape(6, 15)
        assert np.abs(off).max() < 3e-5 * np.abs(found.by_parameters).max()
    for place in range(15):
        moved = np.zeros((5, 3))
        moved.flat[place] = 1e-3
        change = family.explode(ions, x + moved, parameters)
        change = (change - family.explode(ions, x - moved, parameters)) / 2e-3
        off = found.by_positions[:, :, place] - change.reshape(6, 15)
        assert np.abs(off).max() < 1e-5 * np.abs(found.by_positions).max()


def test_single_precision_suffices() -> None:
    ions, x, _ = methane(500, seed=17)
    parameters = laser_prior().draw(np.random.default_rng(18), 500)
    exact, fast = FINE.explode(ions, x, parameters), LaserFamily().explode(ions, x, parameters)
    off = np.linalg.norm(fast - exact, axis=2) / np.linalg.norm(exact, axis=2)
    assert off.mean() < 5e-6
    assert off.max() < 1e-4


def test_the_error_is_that_of_displacements_and_of_differences_between_atoms() -> None:
    ions, x, _ = at_rest("SO2")
    parameters = laser_prior(40.0).mean[None]
    still = LaserFamily(displacement=0.0, single=False)
    moved = LaserFamily(early_spread=0.0, timing_spread=0.0, single=False)
    both = LaserFamily(single=False).error(ions, x[None], parameters)
    apart = still.error(ions, x[None], parameters) + moved.error(ions, x[None], parameters)
    np.testing.assert_allclose(both, apart, atol=1e-9 * np.abs(both).max())
    random = np.random.default_rng(19)
    places = x + 0.02 * random.standard_normal((4000, 3, 3))
    found = still.explode(ions, places, np.tile(parameters, (4000, 1))).reshape(4000, 9)
    size = 0.2 * 40.0 / 80.0  # half of the displacement in long pulses
    expected = np.cov(found.T) * (size / 0.02) ** 2
    error = moved.error(ions, x[None], parameters)[0]
    np.testing.assert_allclose(error, expected, atol=0.06 * np.abs(expected).max())


@pytest.mark.parametrize("name", MOLECULES)
def test_the_prior_has_the_energies_that_are_published(name: str) -> None:
    """Few cycles: near the Coulomb energy, less where hydrogens move; 50 to 200 fs: 0.4 to 0.75."""
    ions, x, whole = at_rest(name)
    random = np.random.default_rng(20)
    family: Family = LaserFamily()
    assert tuple(one.name for one in family.coordinates) == laser_prior().names

    def shares(duration: float) -> FloatArray:
        parameters = laser_prior(duration, 0.1).draw(random, 3000)
        found = family.explode(ions, np.tile(x, (3000, 1, 1)), parameters)
        return energy(ions, found) / whole

    short = np.quantile(shares(6.0), [0.025, 0.5, 0.975])
    assert (0.76 if name == "H2O" else 0.86) < short[1] < 1.0
    assert short[0] > (0.6 if name == "H2O" else 0.72)
    for duration in (50.0, 100.0, 200.0):
        low, below, middle, above, high = np.quantile(
            shares(duration), [0.025, 0.16, 0.5, 0.84, 0.975]
        )
        assert 0.45 < middle < 0.75
        assert low > 0.3
        assert high < 0.95
        assert above - below > 0.12


def test_an_uncertain_duration_widens_the_prior() -> None:
    assert laser_prior(30.0).width[0] == 0.0
    assert laser_prior(30.0, 0.2).width[0] == pytest.approx(0.2)
    assert laser_prior().width[0] > 0.8
    with pytest.raises(UsageError, match="duration of the laser pulse is -3 fs"):
        laser_prior(-3.0)
