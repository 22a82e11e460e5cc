"""A family for a molecule whose atoms are known to deviate from it."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.atom_deviations import (
    Deviating,
    KnownDeviations,
    SameMolecule,
    charge_alikeness,
    kinds_of,
    moved_by_kinds,
)
from molexa_core.physics.family.build_up_family import BUILD_UP_PRIOR, BuildUpFamily
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.laser_family import LaserFamily, laser_prior

WATER = Fragments.of([parse_ion(name) for name in ("O2+", "H+", "H+")])
PLACES = np.array([[[0.0, 0.0, 0.1], [1.5, 0.0, 1.1], [-1.4, 0.3, 1.2]]])
LASER = LaserFamily(single=False)
AT = laser_prior(40.0).mean[None]
ELEMENTS, COUNTS = kinds_of(WATER.symbols)


def known(
    mean: FloatArray, width: float, charges: tuple[float, float] = (1.0, 2.0), alike: float = 1.0
) -> KnownDeviations:
    """One reference channel of water; charges of H and O, correlation with its pulse."""
    size = len(mean)
    gain = np.zeros((size, 6))
    gain[0, 1] = 0.5
    return KnownDeviations(
        ELEMENTS,
        COUNTS,
        np.array([charges]),
        np.array([[1.0, alike], [alike, 1.0]]),
        mean,
        gain,
        width**2 * np.eye(size),
        AT[0],
    )


def test_nothing_known_is_the_family_itself() -> None:
    same = SameMolecule(LASER, known(np.zeros(4), 1.0))
    error = LASER.error(WATER, PLACES, AT)
    assert np.allclose(same.explode(WATER, PLACES, AT), LASER.explode(WATER, PLACES, AT))
    assert np.allclose(same.error(WATER, PLACES, AT), error, atol=1e-9 * error.max())
    other = Fragments.of([parse_ion(name) for name in ("O2+", "H+", "C2+")])
    surely = SameMolecule(LASER, known(np.ones(4), 0.1))
    assert np.array_equal(
        surely.error(other, PLACES, AT), LASER.error(other, PLACES, AT)
    )  # another molecule


@pytest.mark.parametrize("family", [LASER, BuildUpFamily(single=False)])
def test_sums_of_elements_and_the_rest_are_all_that_is_open(family: Deviating) -> None:
    """Numbers of each atom are those of its element and, apart from them, its own."""
    at = AT if family is LASER else BUILD_UP_PRIOR.mean[None]
    by = moved_by_kinds(family, WATER, PLACES, at)[0]
    error = family.error(WATER, PLACES, at)[0]
    values = np.linalg.eigvalsh(error - by @ by.T)
    assert values.min() > -1e-6 * np.trace(error)
    assert np.trace(by @ by.T) < np.trace(error)
    # What moves both hydrogens alike keeps the sum of the momenta.
    assert np.abs(by.reshape(3, 3, -1).sum(axis=0)).max() < 1e-6 * np.abs(by).max()


def test_known_atoms_move_the_momenta_and_narrow_the_error() -> None:
    mean = np.array([0.8, -1.0, 0.3, 1.2])
    same = SameMolecule(LASER, known(mean, 0.2))
    by = moved_by_kinds(LASER, WATER, PLACES, AT)[0]
    momenta = LASER.explode(WATER, PLACES, AT)
    assert np.allclose(same.explode(WATER, PLACES, AT), momenta + (by @ mean).reshape(1, 3, 3))
    less = LASER.error(WATER, PLACES, AT)[0] - same.error(WATER, PLACES, AT)[0]
    assert np.allclose(less, (1.0 - 0.2**2) * by @ by.T, atol=1e-9 * np.abs(less).max())
    # An early share above the one at which they were seen goes with other deviations.
    moved = AT + np.array([[0.0, 0.4, 0.0, 0.0, 0.0, 0.0]])
    there = moved_by_kinds(LASER, WATER, PLACES, moved)[0]
    more = mean + np.array([0.2, 0.0, 0.0, 0.0])
    expected = LASER.explode(WATER, PLACES, moved) + (there @ more).reshape(1, 3, 3)
    assert np.allclose(same.explode(WATER, PLACES, moved), expected)


def test_derivatives_are_those_of_differences() -> None:
    same = SameMolecule(LASER, known(np.array([0.8, -1.0, 0.3, 1.2]), 0.2))
    found = same.linearise(WATER, PLACES, AT)
    assert np.allclose(found.momenta, same.explode(WATER, PLACES, AT))
    step = 1e-3
    for column in range(9):
        change = np.zeros((1, 9))
        change[0, column] = step
        ends = [
            same.explode(WATER, PLACES + sign * change.reshape(1, 3, 3), AT)[0].reshape(-1)
            for sign in (1.0, -1.0)
        ]
        slope = (ends[0] - ends[1]) / (2.0 * step)
        assert np.allclose(found.by_positions[0, :, column], slope, atol=0.01 * np.abs(slope).max())
    for column in range(1, 6):
        change = np.zeros((1, 6))
        change[0, column] = step
        ends = [
            same.explode(WATER, PLACES, AT + sign * change)[0].reshape(-1) for sign in (1.0, -1.0)
        ]
        slope = (ends[0] - ends[1]) / (2.0 * step)
        assert np.allclose(
            found.by_parameters[0, :, column], slope, atol=0.01 * np.abs(slope).max()
        )


def test_the_further_the_explosion_the_less_is_carried_on() -> None:
    mean = np.array([1.0, 0.0, -1.0, 0.5])
    widths, means = [], []
    for charges, alike in (
        ((1.0, 2.0), 1.0),
        ((1.0, 2.0), 0.9),
        ((1.0, 3.0), 0.9),
        ((1.0, 30.0), 0.9),
        ((1.0, 2.0), 0.0),
    ):
        found, _, covariance = known(mean, 0.3, charges, alike).in_channel(WATER)
        widths.append(float(covariance[0, 0]))
        means.append(float(found[0]))
    assert widths[0] == pytest.approx(0.09)
    assert widths == sorted(widths)
    assert means == sorted(means, reverse=True)
    assert widths[-1] == pytest.approx(1.0)
    assert means[-1] == pytest.approx(0.0)
    # a variance of 1 before stays 1 wherever nothing was learned
    unseen = known(mean, 1.0, (1.0, 3.0), 0.7).in_channel(WATER)[2]
    assert np.allclose(unseen, np.eye(4))


def test_charges_are_alike_as_far_as_they_are_near() -> None:
    matrix = charge_alikeness(np.array([[2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [2.0, 3.0]]))
    assert np.allclose(np.diag(matrix), 1.0)
    assert np.linalg.eigvalsh(matrix).min() > 0.0
    assert matrix[0, 1] == pytest.approx(0.85, abs=0.01)
    assert matrix[0, 2] == pytest.approx(0.66, abs=0.01)
    assert matrix[0, 1] < matrix[0, 3] < 1.0
