"""One atom in the pulse: charge states against references and against rate equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2

from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.cache import atomic_tables
from molexa_core.physics.atomic.element_tables import AtomicTables
from molexa_core.physics.mcmd import state as at
from molexa_core.physics.mcmd.molecule_tables import MoleculeTables, pack_tables
from molexa_core.physics.mcmd.rate_equations import rate_equations
from molexa_core.physics.mcmd.trajectories import Trajectories, run_trajectories

TRAJECTORIES = 10_000
PER_A2 = 1e8
"""Photons per square micrometre of one per square angstrom."""


@pytest.fixture(scope="module")
def neon() -> AtomicTables:
    return atomic_tables("Ne", 2000.0)


@pytest.fixture(scope="module")
def packed(neon: AtomicTables) -> MoleculeTables:
    return pack_tables(["Ne"], [neon])


def explode_neon(packed: MoleculeTables, pulse: Pulse, **options: Any) -> Trajectories:
    return run_trajectories(
        np.zeros((1, 1, 3)),
        ["Ne"],
        pulse,
        ModelOptions(**options),
        trajectories=TRAJECTORIES,
        seed=7,
        workers=1,
        tables=packed,
    )


def charge_states(found: Trajectories) -> np.ndarray:
    return np.bincount(found.charges.ravel(), minlength=11)


def test_one_photon_ends_in_two_charges(packed: MoleculeTables) -> None:
    found = explode_neon(packed, Pulse(2000.0, fluence_um2=100.0 * PER_A2))
    one = found.photons[0] == 1
    share = np.bincount(found.charges[0, one, 0], minlength=3) / one.sum()
    error = np.sqrt(0.075 * 0.925 / one.sum())
    assert share[2] == pytest.approx(0.925, abs=4 * error)
    assert share[1] == pytest.approx(0.075, abs=4 * error)


@pytest.mark.parametrize(
    ("fluence", "duration", "expected"),
    [
        (1e4, 15.0, (0.02, 0.01, 0.08, 0.02, 0.16, 0.05, 0.22, 0.08, 0.23, 0.12, 0.02)),
        (2.75e4, 15.0, (0, 0, 0, 0, 0, 0, 0.01, 0.03, 0.19, 0.54, 0.23)),
        pytest.param(1e5, 230.0, (0, 0, 0, 0, 0, 0, 0, 0, 0, 0.05, 0.95), marks=pytest.mark.slow),
    ],
)
def test_charge_states_of_neon(
    packed: MoleculeTables, fluence: float, duration: float, expected: tuple[float, ...]
) -> None:
    """Reference: a program written separately for the same model, 10 000 trajectories."""
    pulse = Pulse(2000.0, duration_fs=duration, fluence_um2=fluence * PER_A2)
    share = charge_states(explode_neon(packed, pulse)) / TRAJECTORIES
    assert share == pytest.approx(np.array(expected), abs=0.02)


@pytest.mark.parametrize(("fluence", "duration"), [(1e4, 15.0), (1e4, 2.0), (2.75e4, 15.0)])
def test_monte_carlo_agrees_with_rate_equations(
    neon: AtomicTables, packed: MoleculeTables, fluence: float, duration: float
) -> None:
    pulse = Pulse(2000.0, duration_fs=duration, fluence_um2=fluence * PER_A2)
    seen = charge_states(explode_neon(packed, pulse))
    expected = rate_equations(neon, pulse)[0] * TRAJECTORIES
    assert expected.sum() == pytest.approx(TRAJECTORIES, rel=1e-9)
    rare = expected < 8.0
    pairs = [
        *zip(seen[~rare], expected[~rare], strict=True),
        (seen[rare].sum(), expected[rare].sum()),
    ]
    statistic = sum((o - e) ** 2 / e for o, e in pairs if e > 0.0)
    freedom = len([e for _, e in pairs if e > 0.0]) - 1
    assert chi2.sf(statistic, freedom) > 1e-3


def test_focal_average_of_the_fluence(packed: MoleculeTables) -> None:
    found = explode_neon(
        packed,
        Pulse(2000.0),
        focus="volume",
        lowest_fluence=0.01,
    )
    logs = np.log(found.fluence_factor[0]) / np.log(0.01)
    assert 0.0 < logs.min() < logs.max() < 1.0
    counts = np.histogram(logs, bins=20, range=(0.0, 1.0))[0]
    assert chi2.sf(((counts - TRAJECTORIES / 20) ** 2 / (TRAJECTORIES / 20)).sum(), 19) > 1e-3
    assert found.photons.mean() < 0.4 * explode_neon(packed, Pulse(2000.0)).photons.mean()


def test_photon_energy_in_is_what_comes_out(packed: MoleculeTables) -> None:
    found = explode_neon(packed, Pulse(2000.0), double_auger=0.06, shake_off=0.2)
    energy = found.energies[0].astype(float)
    assert energy[:, at.ABSORBED] == pytest.approx(found.photons[0] * 2000.0 / HARTREE_EV, rel=1e-6)
    rest = energy[:, 1:].sum(axis=1)
    assert rest == pytest.approx(energy[:, at.ABSORBED], rel=1e-6, abs=1e-4)
    assert (energy[:, at.ELECTRONS] > 0).all() or not found.photons.all()
    assert not energy[:, at.COULOMB].any()


def test_the_energy_spent_in_the_atom_is_near_its_ionization_energies(
    neon: AtomicTables, packed: MoleculeTables
) -> None:
    """Orbital energies of one ion are not differences of total energies: 7 % of the binding energy
    are missing, 2 % of the photon energy. Measured ionization energies: NIST."""
    found = explode_neon(packed, Pulse(2000.0))
    bare = found.charges[0, :, 0] == 10
    spent = float(found.energies[0, bare, at.ATOMS].mean()) * HARTREE_EV
    measured = 21.56 + 40.96 + 63.42 + 97.19 + 126.25 + 157.93 + 207.27 + 239.10 + 1195.8 + 1362.2
    total = -float(neon.average_energy[0]) * HARTREE_EV
    assert total == pytest.approx(measured, rel=0.01)
    assert spent == pytest.approx(measured, rel=0.08)
    absorbed = float(found.energies[0, bare, at.ABSORBED].mean()) * HARTREE_EV
    assert abs(spent - measured) < 0.02 * absorbed


@pytest.mark.parametrize("option", ["double_auger", "shake_off"])
def test_second_electrons_raise_the_charge(packed: MoleculeTables, option: str) -> None:
    weak = Pulse(2000.0, fluence_um2=1000.0 * PER_A2)
    found = explode_neon(packed, weak, **{option: 0.3})
    one = found.photons[0] == 1
    share = np.bincount(found.charges[0, one, 0], minlength=5) / one.sum()
    assert share[3] == pytest.approx(0.3 * 0.925, abs=4 * np.sqrt(0.2 / one.sum()))
    assert share[4] == 0


def test_one_second_electron_in_each_decay_at_most(packed: MoleculeTables) -> None:
    found = explode_neon(packed, Pulse(2000.0), double_auger=1.0)
    counts = found.counts[0].astype(int)
    electrons = counts[:, at.PHOTONS] + counts[:, at.AUGERS] + counts[:, at.SECONDS]
    assert (electrons == found.charges[0, :, 0]).all()
    assert (counts[:, at.SECONDS] <= counts[:, at.AUGERS]).all()
