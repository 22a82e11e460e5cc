"""The resolution of single events: as in simulated flights, and what the momentum sum tells."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Setup
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, ATOMIC_VELOCITY_MM_NS
from molexa_core.pipeline.runs.mock import default_setup
from molexa_core.reduction.momentum import hit_momenta
from molexa_core.reduction.resolution import by_mass, resolution_from_sums, resolution_of

IONS = tuple(parse_ion(name) for name in ("O+", "C+", "H+", "H+"))
MASS = np.array([ion.mass for ion in IONS])


def measured(setup: Setup, events: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """True momenta with sum zero, and the measured ones, (events, ions, 3)."""
    random = np.random.default_rng(seed)
    true = random.normal(size=(events, len(IONS), 3)) * 20.0
    true -= (MASS / MASS.sum())[:, None] * true.sum(axis=1, keepdims=True)
    jet, detector = setup.jet, setup.detector
    spread = [jet.transverse_spread_m_per_s, jet.spread_m_per_s, jet.transverse_spread_m_per_s]
    velocity = random.normal(size=(events, 3)) * np.array(spread) / ATOMIC_VELOCITY_M_S
    start = random.normal(size=(events, 3)) * np.array(setup.virtual.interaction_size_mm)
    found = np.empty_like(true)
    for column, ion in enumerate(IONS):
        p = true[:, column] + ion.mass * velocity
        t = flight_time(p[:, 2], ion.charge, ion.mass, setup.spectrometer.regions, start[:, 2])
        place = start[:, :2] + p[:, :2] / ion.mass * ATOMIC_VELOCITY_MM_NS * t[:, None]
        place += detector.position_resolution_mm * random.normal(size=place.shape)
        t = t + detector.time_resolution_ns * random.normal(size=t.shape)
        found[:, column] = hit_momenta(place[:, 0], place[:, 1], t, ion, setup.spectrometer.regions)
    return true, found


def test_errors_of_simulated_flights_are_as_predicted() -> None:
    setup = default_setup()
    true, found = measured(setup, 20_000, 1)
    resolution = resolution_of(IONS, setup, found.sum(axis=1))
    error = resolution.without_sum(found) - true
    for axis in range(3):
        empirical = np.cov(error[:, :, axis].T)
        size = np.sqrt(np.outer(np.diag(empirical), np.diag(empirical)))
        assert np.abs((resolution.covariance[axis] - empirical) / size).max() < 0.06
    np.testing.assert_allclose(resolution.without_sum(found).sum(axis=1), 0.0, atol=1e-9)


def test_the_sum_tells_more_than_the_masses_do() -> None:
    setup = default_setup()
    true, found = measured(setup, 20_000, 2)
    resolution = resolution_of(IONS, setup, found.sum(axis=1))
    masses = found - (MASS / MASS.sum())[:, None] * found.sum(axis=1, keepdims=True)
    mine, theirs = (
        np.square(one - true).mean(axis=0) for one in (resolution.without_sum(found), masses)
    )
    assert (mine <= 1.02 * theirs).all()
    assert mine[0, 0] < 0.7 * theirs[0, 0], "along the light, where the explosion is spread out"
    after = by_mass(IONS, resolution_of(IONS, setup, np.empty((0, 3))))
    np.testing.assert_allclose(np.diagonal(after.covariance, axis1=1, axis2=2).T, theirs, rtol=0.06)


def test_drawn_errors_have_the_covariance() -> None:
    resolution = resolution_of(IONS, default_setup(), np.empty((0, 3)))
    drawn = resolution.draw(np.random.default_rng(3), 40_000)
    np.testing.assert_allclose(drawn.sum(axis=1), 0.0, atol=1e-6)
    for axis in range(3):
        empirical = np.cov(drawn[:, :, axis].T)
        assert np.abs(empirical - resolution.covariance[axis]).max() < 0.03 * empirical.max()


def test_sums_alone() -> None:
    sums = np.random.default_rng(4).normal(size=(5000, 3)) * np.array([4.0, 2.0, 1.0])
    found = resolution_from_sums(IONS, sums, 30.0)
    assert found is not None
    # Independent errors of variances v_i with sum S^2 leave v_i - v_i^2 / S^2.
    kind = MASS / MASS.sum()
    expected = 16.0 * (kind - kind**2)
    assert np.diagonal(found.covariance[0]) == pytest.approx(expected, rel=0.1)
    assert resolution_from_sums(IONS, sums * 1e-9, 30.0) is None
    assert resolution_from_sums(IONS, sums[:5], 30.0) is None
