"""The compiled explosion against its plain twin, closed forms, conservation laws and symmetries."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import erfc as exact_erfc

from molexa_core.base.compiled import compiled
from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb import lanes
from molexa_core.physics.coulomb.batches import (
    build_up_derivatives,
    explode_many,
    linearise_many,
)
from molexa_core.physics.coulomb.build_up import (
    AtomRises,
    BuildUp,
    ErrorFunctionRise,
    Instant,
)
from molexa_core.physics.coulomb.derivatives import explode_with_derivatives
from molexa_core.physics.coulomb.explosion import Accuracy, explode
from tests.physics.test_explosion import clusters

torch.set_num_threads(1)
Arrays = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
APART = AtomRises((45.0, 10.0, 0.0, 60.0), (8.0, 0.0, 3.0, 20.0))
"""Four atoms, each charged in its own time, one of them at once."""
RISES = (Instant(), ErrorFunctionRise(45.0), APART)
MEDIAN = {"draft": 6e-6, "fast": 8e-7, "fine": 2e-9}
"""Largest median error of the largest momentum of a molecule, by accuracy."""


def molecules(n: int, atoms: int, seed: int) -> Arrays:
    x, q, m = (values.numpy() for values in clusters(n, atoms, seed))
    return x, q, m


def plain(x: FloatArray, q: FloatArray, m: FloatArray, rise: BuildUp, cut: Accuracy) -> FloatArray:
    given = (torch.from_numpy(values) for values in (x, q, m))
    return np.asarray(explode(*given, build_up=rise, accuracy=cut).numpy())


def errors(found: FloatArray, exact: FloatArray) -> FloatArray:
    """Of the largest momentum of each molecule."""
    largest = np.linalg.norm(exact, axis=2).max(axis=1)
    return np.asarray(np.linalg.norm(found - exact, axis=2).max(axis=1) / largest)


@compiled
def _functions(values: FloatArray, roots: FloatArray, others: FloatArray, s: FloatArray) -> None:
    for row in range(len(values)):
        value = lanes.load(values, row)
        lanes.store(roots, row, lanes.inverse_root(value * value))
        lanes.store(others, row, lanes.erfc(value, s))


@pytest.mark.parametrize(("dtype", "digits"), [(np.float64, 1e-15), (np.float32, 2e-7)])
def test_functions_of_lanes_are_exact_to_the_last_digits(dtype: type, digits: float) -> None:
    values, roots, others = (lanes.rows(200, dtype) for _ in range(3))
    assert all(array.ctypes.data % lanes.BYTES == 0 for array in (values, roots, others))
    values[:] = np.linspace(-7.0, 5.0, values.size).reshape(values.shape)
    _functions(values, roots, others, lanes.ERFC[np.dtype(dtype).name])
    # Of a number near 0 in single precision the square would be no number any more.
    z = values.astype(float)
    assert np.abs(roots * np.abs(z) - 1).max() < digits
    # exp(-z^2) has the digits of z^2.
    assert (np.abs(others / exact_erfc(z) - 1) / (1 + z**2)).max() < 1.5 * digits


def test_a_root_of_any_size_is_right() -> None:
    values, roots, others = (lanes.rows(30, np.float64) for _ in range(3))
    values[:] = np.logspace(-140, 140, values.size).reshape(values.shape)
    _functions(values, roots, others, lanes.ERFC["float64"])
    np.testing.assert_allclose(roots * values, 1.0, rtol=1e-15)


@pytest.mark.parametrize("rise", RISES)
def test_it_is_the_plain_explosion_but_for_rounding(rise: BuildUp) -> None:
    x, q, m = molecules(21, 4, seed=31)
    cut = Accuracy(60, 0.35)
    found = explode_many(x, q, m, build_up=rise, accuracy=cut)
    # It ends before the last step, which changes a hundredth of the error of the steps.
    assert errors(found, plain(x, q, m, rise, cut)).max() < 2e-7
    few = Accuracy(9, 0.35)  # too few to come far
    if rise is not APART:
        found = explode_many(x, q, m, build_up=rise, accuracy=few)
        assert errors(found, plain(x, q, m, rise, few)).max() < 1e-11


@pytest.mark.parametrize("accuracy", ["draft", "fast", "fine"])
@pytest.mark.parametrize("rise", RISES)
def test_errors_are_those_stated(rise: BuildUp, accuracy: str) -> None:
    x, q, m = molecules(300, 4, seed=32)
    exact = explode_many(x, q, m, build_up=rise, accuracy=Accuracy(1600, 1 / 64))
    error = errors(explode_many(x, q, m, build_up=rise, accuracy=accuracy), exact)
    assert np.median(error) < MEDIAN[accuracy]
    assert np.quantile(error, 0.99) < 10 * MEDIAN[accuracy]


@pytest.mark.parametrize("atoms", [5, 10])
def test_single_precision_is_good_to_a_few_parts_in_a_million(atoms: int) -> None:
    x, q, m = molecules(1000, atoms, seed=33)
    apart = AtomRises(
        tuple(np.linspace(5.0, 45.0, atoms)), tuple(np.linspace(0.0, 20.0, atoms)[::-1])
    )
    rises: tuple[BuildUp, ...] = (Instant(), apart)
    for rise in rises:
        exact = explode_many(x, q, m, build_up=rise, accuracy="fine")
        found = explode_many(x, q, m, build_up=rise, accuracy="draft", single=True)
        off = np.linalg.norm(found - exact, axis=2)
        assert (off / np.linalg.norm(exact, axis=2)).mean() < 5e-6
        fast = explode_many(x, q, m, build_up=rise, accuracy="fast", single=True)
        assert np.median(errors(fast, exact)) < 1.5e-6


def test_two_bodies_meet_the_closed_form() -> None:
    m = np.array([1837.0, 25500.0])
    r = np.geomspace(1.0, 30.0, 9)
    x = np.zeros((9, 2, 3))
    x[:, 1, 2] = r
    p = explode_many(x, np.array([2.0, 3.0]), m, accuracy="fine")
    expected = np.sqrt(2 * m[0] * m[1] / m.sum() * 6.0 / r)
    np.testing.assert_allclose(p[:, 1, 2], expected, rtol=1e-8)
    np.testing.assert_allclose(p[:, 0, 2], -expected, rtol=1e-8)


@pytest.mark.parametrize("atoms", [2, 3, 5, 10])
def test_energy_and_momentum_are_conserved(atoms: int) -> None:
    x, q, m = molecules(60, atoms, seed=34 + atoms)
    p = explode_many(x, q, m, accuracy="fine")
    i, j = np.triu_indices(atoms, 1)
    energy = (q[:, i] * q[:, j] / np.linalg.norm(x[:, i] - x[:, j], axis=2)).sum(axis=1)
    released = ((p**2).sum(axis=2) / (2 * m)).sum(axis=1)
    np.testing.assert_allclose(released, energy, rtol=1e-7)
    largest = np.linalg.norm(p, axis=2).max(axis=1)
    assert (np.linalg.norm(p.sum(axis=1), axis=1) / largest).max() < 1e-13
    late = AtomRises(tuple(3.0 * k for k in range(atoms)), tuple(5.0 * k for k in range(atoms)))
    p = explode_many(x, q, m, build_up=late)
    assert (np.linalg.norm(p.sum(axis=1), axis=1) / largest).max() < 1e-13


@pytest.mark.parametrize("rise", [Instant(), ErrorFunctionRise(45.0)])
def test_halving_the_steps_gains_the_order_of_the_method(rise: BuildUp) -> None:
    x, q, m = molecules(64, 4, seed=38)
    exact = explode_many(x, q, m, build_up=rise, accuracy=Accuracy(4000, 0.01))
    refinement = np.array([2, 4, 8])
    found = [
        np.median(
            errors(
                explode_many(
                    x, q, m, build_up=rise, accuracy=Accuracy(80, 0.4).refined(int(times))
                ),
                exact,
            )
        )
        for times in refinement
    ]
    slope = -np.polyfit(np.log(refinement), np.log(found), 1)[0]
    assert slope == pytest.approx(5.0, abs=0.6)


def test_turned_moved_reordered_and_alone() -> None:
    x, q, m = molecules(11, 4, seed=39)
    p = explode_many(x, q, m, build_up=APART)
    scale = np.abs(p).max()
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = explode_many(x @ turn.T + [5.0, -3.0, 2.0], q, m, build_up=APART)
    assert np.abs(turned - p @ turn.T).max() < 1e-11 * scale
    order = [3, 1, 0, 2]
    other = AtomRises(
        tuple(APART.tau_fs[k] for k in order), tuple(APART.onset_fs[k] for k in order)
    )
    shuffled = explode_many(x[:, order], q[:, order], m[:, order], build_up=other)
    assert np.abs(shuffled - p[:, order]).max() < 1e-11 * scale
    for k in range(len(x)):
        alone = explode_many(x[k : k + 1], q[k : k + 1], m[k : k + 1], build_up=APART)
        np.testing.assert_array_equal(alone[0], p[k])
    np.testing.assert_array_equal(explode_many(x, q, m, build_up=APART, batch=3), p)


@pytest.mark.parametrize("single", [False, True])
def test_uncharged_atoms_and_single_ions_stay(single: bool) -> None:
    x, q, m = molecules(10, 4, seed=40)
    q[:5, 2:] = 0.0
    q[5:, 1:] = 0.0
    x[:, 3] = x[:, 2]
    p = explode_many(x, q, m, build_up=RISES[1], single=single)
    assert np.abs(p[:5, 2:]).max() == 0.0
    assert np.abs(p[5:]).max() == 0.0
    pairs = explode_many(x[:5, :2], q[:5, :2], m[:5, :2], build_up=RISES[1])
    np.testing.assert_allclose(p[:5, :2], pairs, rtol=2e-6 if single else 1e-13, atol=1e-5)


def test_rises_of_all_atoms_alike_are_the_common_rise() -> None:
    x, q, m = molecules(20, 5, seed=41)
    common = explode_many(x, q, m, build_up=ErrorFunctionRise(30.0), accuracy="fine")
    alike = explode_many(x, q, m, build_up=AtomRises((30.0,) * 5, (0.0,) * 5), accuracy="fine")
    assert errors(alike, common).max() < 1e-12
    later = explode_many(x, q, m, build_up=AtomRises((30.0,) * 5, (12.0,) * 5), accuracy="fine")
    assert errors(later, common).max() < 2e-5  # what the tail before the onset does


def test_rises_without_length_are_the_instant_explosion() -> None:
    x, q, m = molecules(20, 5, seed=42)
    instant = explode_many(x, q, m, accuracy="fine")
    at_once = explode_many(x, q, m, build_up=AtomRises((0.0,) * 5, (0.0,) * 5), accuracy="fine")
    assert errors(at_once, instant).max() < 1e-6


def test_an_ion_charged_last_finds_the_others_further_away() -> None:
    x, q, m = molecules(40, 3, seed=43)
    energy = [
        ((explode_many(x, q, m, build_up=rise, accuracy="fine") ** 2).sum(axis=2) / (2 * m)).sum(1)
        for rise in (AtomRises((0.0,) * 3, (0.0, 0.0, onset)) for onset in (0.0, 3.0, 30.0, 3e4))
    ]
    for more, less in itertools.pairwise(energy):
        assert less.mean() < more.mean()
    first = q[:, 0] * q[:, 1] / np.linalg.norm(x[:, 0] - x[:, 1], axis=1)
    assert np.median(energy[-1] / first) == pytest.approx(1.0, abs=0.01)


def difference(of: Callable[[float], FloatArray], step: float) -> FloatArray:
    """Derivative of fourth order from differences."""
    near, far = of(step) - of(-step), of(2 * step) - of(-2 * step)
    return np.asarray((8 * near - far) / (12 * step))


@pytest.mark.parametrize(("single", "digits"), [(True, 2e-5), (False, 1e-7)])
@pytest.mark.parametrize("rise", RISES)
def test_derivatives_by_positions_agree_with_differences(
    rise: BuildUp, single: bool, digits: float
) -> None:
    x, q, m = molecules(3, 4, seed=44)
    q, m = q[0], m[0]
    momenta, found = linearise_many(x, q, m, build_up=rise, accuracy="fine", single=single)
    np.testing.assert_array_equal(momenta, explode_many(x, q, m, build_up=rise, accuracy="fine"))
    largest = np.abs(found).max()
    for coordinate in range(12):
        unit = np.eye(12)[coordinate].reshape(4, 3)

        def moved(h: float, unit: FloatArray = unit) -> FloatArray:
            return explode_many(x + h * unit, q, m, build_up=rise, accuracy="fine")

        expected = difference(moved, 2e-3)
        off = found[:, :, coordinate] - expected.reshape(3, 12)
        assert np.abs(off).max() < digits * largest


@pytest.mark.parametrize("rise", [Instant(), ErrorFunctionRise(45.0)])
def test_derivatives_are_those_of_the_plain_twin(rise: BuildUp) -> None:
    x, q, m = molecules(9, 5, seed=47)
    _, found = linearise_many(x, q[0], m[0], build_up=rise, accuracy="draft")
    every = (torch.from_numpy(one) for one in (x, np.tile(q[0], (9, 1)), np.tile(m[0], (9, 1))))
    _, plainly = explode_with_derivatives(*every, build_up=rise, accuracy="draft")
    assert np.abs(found - plainly.numpy()).max() < 1e-5 * np.abs(found).max()


def test_derivatives_by_the_build_up_agree_with_differences() -> None:
    x, q, m = molecules(5, 4, seed=48)
    found = build_up_derivatives(x, q, m, build_up=ErrorFunctionRise(45.0), accuracy="fine")
    assert found.shape == (5, 4, 3, 1)
    expected = difference(
        lambda h: explode_many(x, q, m, build_up=ErrorFunctionRise(45.0 + h), accuracy="fine"), 0.3
    )
    assert np.abs(found[..., 0] - expected).max() < 1e-5 * np.abs(found).max()
    late = AtomRises((45.0, 10.0, 20.0, 60.0), (8.0, 4.0, 3.0, 20.0))
    found = build_up_derivatives(x, q, m, build_up=late, accuracy="fine")
    assert found.shape == (5, 4, 3, 8)
    for atom in range(4):
        for number, name in enumerate(("tau_fs", "onset_fs")):

            def moved(h: float, atom: int = atom, name: str = name) -> FloatArray:
                values = list(getattr(late, name))
                values[atom] += h
                rise = replace(late, **{name: tuple(values)})
                return explode_many(x, q, m, build_up=rise, accuracy="fine")

            off = found[..., 2 * atom + number] - difference(moved, 0.1)
            assert np.abs(off).max() < 1e-5 * np.abs(found).max()


def test_another_build_up_goes_the_plain_way() -> None:
    class Halved:
        def factor(self, time: torch.Tensor) -> torch.Tensor:
            return torch.full_like(time, 0.5)

        def rate(self, time: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(time)

    x, q, m = molecules(3, 4, seed=45)
    found = explode_many(x, q, m, build_up=Halved(), accuracy="fine")
    assert errors(found, explode_many(x, q / 2, m, accuracy="fine")).max() < 1e-8


def test_impossible_rises_are_refused() -> None:
    with pytest.raises(UsageError, match="onset is -1"):
        AtomRises((1.0, 1.0), (0.0, -1.0))
    with pytest.raises(UsageError, match="tau is nan"):
        AtomRises((1.0, float("nan")), (0.0, 0.0))
    with pytest.raises(UsageError, match="1 windows and 2 onsets"):
        AtomRises((1.0,), (0.0, 0.0))
    x, q, m = molecules(1, 3, seed=46)
    with pytest.raises(UsageError, match="for 4 atoms, the molecule has 3"):
        explode_many(x, q, m, build_up=APART)
