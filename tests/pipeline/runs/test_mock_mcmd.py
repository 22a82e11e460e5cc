"""A virtual run whose molecules explode in an X-ray pulse: charges differ from shot to shot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.matter.elements import element
from molexa_core.base.settings import Setup, load_channel
from molexa_core.base.units import ATOMIC_VELOCITY_M_S
from molexa_core.io.results.truth_file import read_truth
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import BLOCK_SHOTS
from molexa_core.pipeline.explosions.simulate_mcmd import simulate_mcmd
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual

QUIET = {
    "explosion": "mcmd",
    "zero_point": "off",
    "orientation": "fixed",
    "residual_gas": (),
    "dark_counts_per_shot": 0.0,
}
CHANNEL = load_channel("water")


@pytest.fixture(scope="module")
def setup() -> Setup:
    return with_virtual(default_setup(), QUIET)


def test_charges_are_distributed_as_in_the_model(setup: Setup) -> None:
    truth = mock(CHANNEL, 3000, setup=setup, seed=2).truth
    assert len(truth) > 700
    states = np.bincount(truth.charges[:, 0], minlength=9) / len(truth)
    many = simulate_mcmd(
        molecule("water").geometry, pulse=Pulse(2000.0), trajectories=2000, seed=77
    )
    expected = many.charge_states[0] / 2000
    sigma = np.sqrt(expected * (1 - expected) * (1 / len(truth) + 1 / 2000)) + 1e-3
    assert (np.abs(states - expected) < 4.5 * sigma).all()
    assert len(set(states > 0)) == 2 or len(np.unique(truth.charges[:, 0])) > 4


def test_coincidences_are_those_with_the_charges_of_the_channel(setup: Setup) -> None:
    run = mock(CHANNEL, 3000, setup=setup, seed=2)
    truth = run.truth
    wanted = (truth.charges == [1, 1, 1]).all(axis=1)
    assert (truth.in_channel == wanted).all()
    assert run.counts["molecules_in_channel"] == wanted.sum()
    assert 0 < wanted.sum() < 0.2 * len(truth)
    neutral = truth.charges == 0
    assert neutral.any()
    assert not truth.detected[neutral].any()
    assert run.counts["molecular_ions"] == (~neutral).sum()


def test_momenta_add_up_to_that_of_the_jet(setup: Setup) -> None:
    values = setup.model_dump()
    values["jet"] = {
        "velocity_m_per_s": 800.0,
        "spread_m_per_s": 0.0,
        "transverse_spread_m_per_s": 0.0,
    }
    truth = mock(CHANNEL, 500, setup=Setup(**values), seed=1).truth
    masses = np.array([element(symbol).isotope_mass for symbol in truth.equilibrium.symbols])
    total = (masses - truth.charges).sum(axis=1) * 800.0 / ATOMIC_VELOCITY_M_S
    sums = truth.momentum.sum(axis=1)
    assert np.allclose(sums[:, 1], total, atol=1e-2)
    assert np.abs(sums[:, [0, 2]]).max() < 1e-2


def test_a_longer_run_begins_with_a_shorter_one(setup: Setup) -> None:
    short = mock(CHANNEL, 300, setup=setup, seed=4).truth
    long = mock(CHANNEL, BLOCK_SHOTS + 200, setup=setup, seed=4).truth
    n = len(short)
    assert (long.charges[:n] == short.charges).all()
    assert np.allclose(long.momentum[:n], short.momentum)
    second = long.shot >= BLOCK_SHOTS
    assert second.any()
    block = long.charges[second][:50]
    assert not np.array_equal(block, long.charges[: len(block)])


def test_the_truth_is_stored(tmp_path: Path) -> None:
    mock("water", 600, out=tmp_path / "run.root", seed=3, truth=tmp_path / "t.h5", virtual=QUIET)
    truth, record = read_truth(tmp_path / "t.h5")
    assert truth.charge is not None
    assert len(np.unique(truth.charge[:, 0])) > 3
    assert record.settings["setup"]["virtual"]["explosion"] == "mcmd"
    mock("water", 300, out=tmp_path / "run.root", truth=tmp_path / "t.h5")
    truth, _ = read_truth(tmp_path / "t.h5")
    assert truth.charge is None
    assert truth.in_channel.all()


def test_a_pulse_needs_the_model() -> None:
    with pytest.raises(UsageError, match="the explosion is classical, which has no pulse"):
        with_virtual(default_setup(), {"pulse": {"energy_mj": 2.0}})
    changed = with_virtual(default_setup(), {"explosion": "mcmd", "pulse": {"energy_mj": 2.0}})
    assert changed.virtual.pulse.energy_mj == 2.0
    assert changed.virtual.pulse.photon_ev == 2000.0
