"""Neon in a strong pulse: rate equations of the tables, and random walks through them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.special import ndtr
from scipy.stats import chisquare

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS, BOHR_ANGSTROM
from molexa_core.physics.atomic.element_tables import PHOTO, AtomicTables, build_tables
from molexa_core.physics.atomic.walks import Chances, Exposure, next_events

SIGMA_PER_FWHM = 1.0 / np.sqrt(8.0 * np.log(2.0))


@pytest.fixture(scope="module")
def neon() -> AtomicTables:
    return build_tables("Ne", 2000.0)


def exposure_of(per_angstrom2: float, fwhm_fs: float) -> Exposure:
    sigma = fwhm_fs / ATOMIC_TIME_FS * SIGMA_PER_FWHM
    return Exposure(per_angstrom2 * BOHR_ANGSTROM**2, float(sigma))


def charge_states(tables: AtomicTables, exposure: Exposure) -> FloatArray:
    """Shares of the charges long after the pulse, from the master equation of the tables."""
    start = np.repeat(np.arange(len(tables)), np.diff(tables.first))
    rates = []
    for which in (tables.kind == PHOTO, tables.kind != PHOTO):
        matrix = np.zeros((len(tables), len(tables)))
        np.add.at(matrix, (tables.target[which], start[which]), tables.value[which])
        rates.append(matrix - np.diag(matrix.sum(axis=0)))
    share = np.zeros(len(tables))
    share[0] = 1.0
    for begin, end in pairwise(np.linspace(-5.0, 5.0, 401)):
        photons = exposure.fluence * (ndtr(end) - ndtr(begin))
        share = expm(rates[0] * photons + rates[1] * (end - begin) * exposure.sigma) @ share
    share = expm(rates[1] * 1e9) @ share
    return np.asarray(np.bincount(tables.charge, weights=share, minlength=11), dtype=np.float64)


@pytest.mark.parametrize(
    ("per_angstrom2", "fwhm_fs", "expected"),
    [
        (1e4, 15.0, [0.02, 0.01, 0.08, 0.02, 0.16, 0.05, 0.22, 0.08, 0.23, 0.12, 0.02]),
        (2.75e4, 15.0, {8: 0.19, 9: 0.54, 10: 0.23}),
        (1e5, 230.0, {10: 0.95}),
    ],
)
def test_charge_states_of_neon_in_strong_pulses(
    neon: AtomicTables,
    per_angstrom2: float,
    fwhm_fs: float,
    expected: list[float] | dict[int, float],
) -> None:
    """Against Monte Carlo of a separate program; even charges prevail at medium fluence."""
    found = charge_states(neon, exposure_of(per_angstrom2, fwhm_fs))
    assert found.sum() == pytest.approx(1.0)
    pairs = expected.items() if isinstance(expected, dict) else enumerate(expected)
    for charge, share in pairs:
        assert found[charge] == pytest.approx(share, abs=0.02), charge


def test_walks_end_as_the_rate_equations_say(neon: AtomicTables) -> None:
    exposure = exposure_of(1e4, 15.0)
    tables, expected = neon, charge_states(neon, exposure)
    rng = np.random.default_rng(5)
    walks = 20_000
    rows, when = np.zeros(walks, dtype=np.int64), np.full(walks, -10.0 * exposure.sigma)
    chances, going = Chances(tables), np.ones(walks, dtype=bool)
    while going.any():
        transition, then = next_events(chances, rows[going], when[going], exposure, rng)
        moved = transition >= 0
        at = np.flatnonzero(going)
        rows[at[moved]], when[at[moved]] = tables.target[transition[moved]], then[moved]
        going[at[~moved]] = False
    found = np.bincount(tables.charge[rows], minlength=11)
    kept = expected * walks > 5.0
    assert expected[kept].sum() > 0.999
    assert found[~kept].sum() < 50
    scaled = expected[kept] / expected[kept].sum() * found[kept].sum()
    assert chisquare(found[kept], scaled).pvalue > 1e-3
