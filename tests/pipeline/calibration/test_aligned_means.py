"""Means of events that are turned as a whole onto their mean."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import NoEventsError, UsageError
from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.physics.virtual.sources import Target
from molexa_core.pipeline.calibration.aligned_means import left_by_scatter, observe, turned_mean
from molexa_core.pipeline.calibration.pairs import Pairs


def target_of(name: str, text: str) -> Target:
    ions = tuple(parse_ion(one) for one in text.split())
    return target_of_ions(ions, molecule(name), where=name)


WATER = target_of("water", "O2+ H+ H+")


def scattered(target: Target, count: int, relative: float, seed: int = 0) -> FloatArray:
    """Momenta at rest with isotropic scatter that leaves the momentum of the whole at zero."""
    random = np.random.default_rng(seed)
    rest = explode_many(target.positions[None], target.charges, target.masses)
    size = np.sqrt(np.square(rest).mean())
    noise = relative * size * random.standard_normal((count, len(target.ions), 3))
    share = target.masses / target.masses.sum()
    return np.asarray(rest + noise - share[:, None] * noise.sum(axis=1, keepdims=True))


def test_neither_orientation_nor_the_order_of_like_ions_matters() -> None:
    given = scattered(WATER, 400, 0.1)
    random = np.random.default_rng(1)
    turned = np.einsum("nab,nib->nia", rotations_of(random.normal(size=(4, 400))), given)
    swapped = np.where(random.random(400)[:, None, None] < 0.5, turned, turned[:, [0, 2, 1]])
    mass = WATER.masses
    moved = swapped + mass[:, None] / mass.sum() * random.normal(size=(400, 1, 3)) * 5.0
    one = observe(Coincidences.of(WATER.ions, given), WATER)
    other = observe(Coincidences.of(WATER.ions, moved), WATER)
    assert np.allclose(one.values, other.values, rtol=1e-5)
    assert np.allclose(one.covariance, other.covariance, rtol=1e-3)


@pytest.mark.parametrize("kind", ["along each momentum", "in all directions"])
def test_what_scatter_leaves_in_the_mean_is_within_what_is_said(kind: str) -> None:
    pairs = Pairs(WATER.ions)
    rest = explode_many(WATER.positions[None], WATER.charges, WATER.masses)
    right = pairs.sizes(rest)[0]
    given = scattered(WATER, 20_000, 0.15)
    if kind == "along each momentum":
        # As by chance of the moment at which each atom is charged.
        factor = 1.0 + 0.2 * np.random.default_rng(4).standard_normal((20_000, 3, 1))
        given = factor * rest
    found = observe(Coincidences.of(WATER.ions, given), WATER)
    naive = pairs.sizes(given).mean(axis=0)
    assert np.abs(found.values / right - 1.0).max() < np.abs(naive / right - 1.0).max()
    left = left_by_scatter(found, 0.0, found.values, 3)
    sigma = np.sqrt(np.diag(left.covariance) + np.diag(found.covariance))
    assert np.all(np.abs(found.values - left.offset - right) < 2.0 * sigma)


def test_the_error_is_that_of_repeated_measurements() -> None:
    found = [
        observe(Coincidences.of(WATER.ions, scattered(WATER, 300, 0.1, seed)), WATER)
        for seed in range(120)
    ]
    values = np.array([one.values for one in found])
    claimed = np.sqrt(np.mean([np.diag(one.covariance) for one in found], axis=0))
    assert np.allclose(values.std(axis=0) / claimed, 1.0, atol=0.25)


def test_rows_of_one_event_are_no_further_events() -> None:
    given = scattered(WATER, 300, 0.1)
    once = observe(Coincidences.of(WATER.ions, given), WATER)
    both = np.repeat(given, 2, axis=0)
    both[1::2] = both[1::2][:, [0, 2, 1]]
    numbers = np.repeat(np.arange(300), 2)
    twice = observe(Coincidences.of(WATER.ions, both, event_id=numbers), WATER)
    assert twice.events == pytest.approx(300)
    assert np.allclose(twice.values, once.values, rtol=1e-6)
    assert np.allclose(twice.covariance, once.covariance, rtol=1e-3)


def test_a_diatomic_has_the_mean_of_its_sizes() -> None:
    target = target_of("nitrogen", "N2+ N2+")
    along = np.random.default_rng(2).normal(100.0, 10.0, 500)
    momenta = np.zeros((500, 2, 3))
    momenta[:, 0, 0], momenta[:, 1, 0] = along, -along
    found = observe(Coincidences.of(target.ions, momenta), target)
    assert found.values[0] == pytest.approx(along.mean(), rel=1e-6)
    assert left_by_scatter(found, 0.0, found.values, 2).offset[0] == 0.0


def test_bent_events_of_a_linear_molecule_find_their_plane() -> None:
    """Bent by one angle about any axis: the mean is bent by that angle and not straight."""
    target = target_of("ocs", "O2+ C2+ S2+")
    count = 300
    bent = np.array([[-200.0, -40.0, 0.0], [-20.0, 80.0, 0.0], [220.0, -40.0, 0.0]])
    random = np.random.default_rng(3)
    events = np.einsum("nab,ib->nia", rotations_of(random.normal(size=(4, count))), bent)
    found = observe(Coincidences.of(target.ions, events), target)
    assert np.allclose(found.values, Pairs(target.ions).sizes(bent[None])[0], rtol=1e-4)
    angle = random.uniform(0, 2 * np.pi, count)
    about = np.zeros((count, 3, 3))
    about[:, 0, 0] = 1.0
    about[:, 1, 1] = about[:, 2, 2] = np.cos(angle)
    about[:, 1, 2], about[:, 2, 1] = -np.sin(angle), np.sin(angle)
    near = np.einsum("nab,ib->nia", about, bent)
    mean, scatter = turned_mean(near[None])
    assert np.allclose(Pairs(target.ions).sizes(mean), found.values, rtol=1e-4)
    assert scatter[0] < 1e-6


def test_what_cannot_be_averaged_is_told() -> None:
    with pytest.raises(NoEventsError, match="too few"):
        observe(Coincidences.of(WATER.ions, scattered(WATER, 5, 0.1)), WATER)
    ethane = target_of("ethane", "C2+ C2+ H+ H+ H+ H+ H+ H+")
    with pytest.raises(UsageError, match="too many like ions"):
        observe(Coincidences.of(ethane.ions, scattered(ethane, 20, 0.1)), ethane)
