"""Impact of an ion: energy, derivatives, and what a push of one atom does."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.family.family import Family
from molexa_core.physics.family.ion_impact import ION_IMPACT_PRIOR, IonImpactFamily
from tests.physics.test_build_up_family import energy, fragments, methane

FINE = IonImpactFamily(single=False, accuracy=Accuracy(3000, 0.05))


def test_it_is_a_family_whose_ions_have_the_whole_energy() -> None:
    family: Family = FINE
    assert tuple(one.name for one in family.coordinates) == ION_IMPACT_PRIOR.names
    ions, x, _ = methane(12, seed=21)
    parameters = ION_IMPACT_PRIOR.draw(np.random.default_rng(22), 12)
    parameters[:, 1] = 0.0
    i, j = np.triu_indices(5, 1)
    potential = ions.charges[i] * ions.charges[j] / np.linalg.norm(x[:, i] - x[:, j], axis=2)
    found = energy(ions, FINE.explode(ions, x, parameters))
    np.testing.assert_allclose(found, potential.sum(axis=1), rtol=1e-7)


def test_derivatives_agree_with_differences() -> None:
    ions, x, _ = methane(6, seed=23)
    parameters = ION_IMPACT_PRIOR.draw(np.random.default_rng(24), 6)
    found = FINE.linearise(ions, x, parameters)
    step = np.array([0.0, 1e-3])
    change = (
        FINE.explode(ions, x, parameters + step) - FINE.explode(ions, x, parameters - step)
    ) / 2e-3
    off = np.abs(found.by_parameters[:, :, 1] - change.reshape(6, 15)).max()
    assert off < 1e-5 * np.abs(change).max()
    assert not found.by_parameters[:, :, 0].any()
    moved = np.zeros((5, 3))
    moved[3, 1] = 1e-3
    change = (
        FINE.explode(ions, x + moved, parameters) - FINE.explode(ions, x - moved, parameters)
    ) / 2e-3
    off = np.abs(found.by_positions[:, :, 10] - change.reshape(6, 15)).max()
    assert off < 1e-5 * np.abs(change).max()


def test_a_push_across_turns_two_ions_and_a_push_along_changes_nothing_at_first() -> None:
    """At rest, a push along the axis adds to the energy with its square alone.

    Across, it gives an angular momentum L; a repelling pair of energy E and strength k turns its
    way by L sqrt(2 E / m) / k for small L (Rutherford: half of the deflection from the turning
    point on), so that p = m sqrt(2 E / m) turns into L 2 E / k = 2 L / r.
    """
    ions = fragments(("N", "O"), (2.0, 3.0))
    x = np.array([[[0.0, 0, 0], [0, 0, 2.1]]])
    error = FINE.error(ions, x, np.array([[np.log(0.3), 0.0]]))[0]
    assert np.abs(error[2::3, 2::3]).max() < 1e-8
    other = ions.masses / ions.masses.sum()
    # The relative momentum of a push d of atom 0 is d m_1 / M, and L = r times that.
    pushes = np.array([other[1], -other[0]]) * 2.0
    expected = 0.3**2 / 6.0 * (pushes**2).sum()
    assert error[0, 0] == pytest.approx(expected, rel=1e-5)
    assert error[3, 3] == pytest.approx(expected, rel=1e-5)
    assert error[0, 3] == pytest.approx(-expected, rel=1e-5)


def test_the_error_has_the_sum_zero() -> None:
    ions, x, _ = methane(3, seed=25)
    parameters = np.tile(ION_IMPACT_PRIOR.mean, (3, 1))
    error = IonImpactFamily().error(ions, x, parameters)
    sums = error.reshape(3, 5, 3, 15).sum(axis=1)
    assert np.abs(sums).max() < 1e-5 * np.abs(error).max()
    assert np.linalg.eigvalsh(error).min() > -1e-9
