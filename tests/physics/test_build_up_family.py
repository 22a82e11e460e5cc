"""Charges that rise with time: closed forms, symmetries, limits, derivatives, differences."""

from __future__ import annotations

import math

import numpy as np
import pytest

from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import AtomRises, ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import Family, Fragments

FINE = BuildUpFamily(single=False, accuracy=Accuracy(3000, 0.05))
METHANE = ("C", "H", "H", "H", "H")


def fragments(symbols: tuple[str, ...], charges: tuple[float, ...]) -> Fragments:
    masses = np.array([element(symbol).isotope_mass for symbol in symbols])
    return Fragments(symbols, np.array(charges), masses)


def methane(n: int, seed: int) -> tuple[Fragments, FloatArray, FloatArray]:
    """Distorted molecules, with parameters from the prior."""
    random = np.random.default_rng(seed)
    corners = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 1.19
    places = corners + 0.1 * random.standard_normal((n, 5, 3))
    ions = fragments(METHANE, (3.0, 1.0, 1.0, 1.0, 1.0))
    return ions, places, BUILD_UP_PRIOR.draw(random, n)


def energy(ions: Fragments, momenta: FloatArray) -> FloatArray:
    return np.asarray(((momenta**2).sum(axis=2) / (2 * ions.masses)).sum(axis=1))


def test_it_is_a_family_with_a_prior_of_its_coordinates() -> None:
    family: Family = FINE
    assert tuple(one.name for one in family.coordinates) == BUILD_UP_PRIOR.names


def test_each_row_has_parameters_of_its_own() -> None:
    ions, x, parameters = methane(20, seed=1)
    parameters[:, 3] = 0.0
    found = FINE.explode(ions, x, parameters)
    for row in range(len(x)):
        tau, ratio, after = np.exp(parameters[row, 0]), *parameters[row, 1:3]
        window = tau * math.exp(ratio)
        first = min(after, 0.0)
        rise = AtomRises((tau, *[window] * 4), (tau * -first, *[tau * (after - first)] * 4))
        expected = explode_many(
            x[row : row + 1], ions.charges, ions.masses, build_up=rise, accuracy="fine"
        )
        np.testing.assert_allclose(found[row], expected[0], atol=1e-7 * np.abs(expected).max())


def test_two_screened_ions_get_the_energy_of_their_potential() -> None:
    ions = fragments(("N", "O"), (2.0, 3.0))
    r, s = np.array([1.5, 2.1, 4.0, 9.0]), np.array([0.2, 0.1, -0.1, 0.3])
    x = np.zeros((4, 2, 3))
    x[:, 1, 0] = r
    parameters = np.stack([np.full(4, -9.0), np.zeros(4), np.zeros(4), s], axis=1)
    radius = sum(element(one).covalent_radius_angstrom for one in ions.symbols) / BOHR_ANGSTROM
    expected = 6.0 / np.sqrt(r**2 + s * radius**2)
    found = energy(ions, FINE.explode(ions, x, parameters))
    np.testing.assert_allclose(found, expected, rtol=3e-6)
    assert not np.isfinite(FINE.explode(ions, 0.1 * x[2:3], parameters[2:3])).any()


def test_a_short_window_is_an_instant_and_without_hydrogens_there_is_one_rise() -> None:
    ions, x, parameters = methane(8, seed=2)
    parameters[:] = (-9.0, 0.0, 0.0, 0.0)
    i, j = np.triu_indices(5, 1)
    potential = ions.charges[i] * ions.charges[j] / np.linalg.norm(x[:, i] - x[:, j], axis=2)
    np.testing.assert_allclose(
        energy(ions, FINE.explode(ions, x, parameters)), potential.sum(axis=1), rtol=1e-6
    )
    parameters[:] = (math.log(30.0), -0.7, 0.2, 0.0)
    heavy = fragments(("C", "F", "F", "F", "F"), (3.0, 1.0, 1.0, 1.0, 1.0))
    found = FINE.explode(heavy, x, parameters)
    common = ErrorFunctionRise(30.0)
    expected = explode_many(x, heavy.charges, heavy.masses, build_up=common, accuracy="fine")
    np.testing.assert_allclose(found, expected, atol=1e-7 * np.abs(expected).max())


def test_momenta_turn_with_the_molecule_and_change_places_with_like_atoms() -> None:
    ions, x, parameters = methane(10, seed=3)
    turn, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((3, 3)))
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


@pytest.mark.parametrize("symbols", [METHANE, ("C", "F", "O", "O", "N"), ("H",) * 5])
def test_derivatives_agree_with_differences(symbols: tuple[str, ...]) -> None:
    _, x, parameters = methane(6, seed=5)
    ions = fragments(symbols, (2.0, 1.0, 1.0, 1.0, 1.0))
    family = BuildUpFamily(single=False, accuracy=Accuracy(2000, 0.1))
    found = family.linearise(ions, x, parameters)
    np.testing.assert_array_equal(found.momenta, family.explode(ions, x, parameters))
    for place in range(4):
        step = np.zeros(4)
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
    ions, x, parameters = methane(500, seed=6)
    exact, fast = FINE.explode(ions, x, parameters), BuildUpFamily().explode(ions, x, parameters)
    off = np.linalg.norm(fast - exact, axis=2) / np.linalg.norm(exact, axis=2)
    assert off.mean() < 5e-6
    parameters = parameters[:50]
    expected = FINE.linearise(ions, x[:50], parameters)
    found = BuildUpFamily().linearise(ions, x[:50], parameters)
    for name in ("by_positions", "by_parameters"):
        off = np.abs(getattr(found, name) - getattr(expected, name)).max(axis=(1, 2))
        assert (off / np.abs(getattr(expected, name)).max(axis=(1, 2))).mean() < 3e-5


def test_the_error_is_what_differences_between_atoms_do() -> None:
    ions, x, _ = methane(1, seed=7)
    parameters = np.array([[math.log(40.0), math.log(0.6), 0.2, 0.0]])
    family = BuildUpFamily(window_spread=0.01, onset_spread=0.005, smallest_error=0.0)
    error = family.error(ions, x, parameters)[0]
    random = np.random.default_rng(8)
    light = np.array([symbol == "H" for symbol in METHANE])
    drawn = []
    for _ in range(600):
        window = np.where(light, 24.0, 40.0) * np.exp(0.01 * random.standard_normal(5))
        onset = np.where(light, 8.0, 0.0) + 0.2 * random.standard_normal(5) + 5.0
        rise = AtomRises(tuple(window), tuple(onset))
        drawn.append(explode_many(x, ions.charges, ions.masses, build_up=rise, accuracy="fast"))
    exact = np.cov(np.array(drawn).reshape(600, 15).T)
    assert np.trace(error) == pytest.approx(np.trace(exact), rel=0.12)
    values, directions = np.linalg.eigh(exact)
    found = np.diag(directions.T @ error @ directions)
    np.testing.assert_allclose(found[-4:], values[-4:], rtol=0.3)
    assert np.abs(error.reshape(5, 3, 15).sum(axis=0)).max() < 1e-4 * np.abs(error).max()


def test_no_direction_is_without_error() -> None:
    """One per cent of the rms momentum in each component, none of the sum; also of no molecule."""
    ions, x, _ = methane(3, seed=9)
    parameters = np.tile(BUILD_UP_PRIOR.mean, (3, 1))
    p = BuildUpFamily().explode(ions, x, parameters)
    plain = BuildUpFamily(window_spread=0.0, onset_spread=0.0).error(ions, x, parameters)
    expected = 0.01 * np.sqrt(np.square(p).mean(axis=(1, 2)))
    sigma = np.sqrt(np.diagonal(plain, axis1=1, axis2=2))
    np.testing.assert_allclose(sigma, np.tile(expected[:, None], (1, 15)), rtol=1e-6)
    values = np.linalg.eigvalsh(BuildUpFamily().error(ions, x, parameters))
    assert np.abs(values[:, :3]).max() < 1e-5 * values.max()
    assert (values[:, 3] > 0.99 * expected**2).all()
    assert BuildUpFamily().error(ions, x[:0], parameters[:0]).shape == (0, 15, 15)
    assert BuildUpFamily().explode(ions, x[:0], parameters[:0]).shape == (0, 5, 3)
