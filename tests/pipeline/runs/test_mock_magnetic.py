"""A virtual run in a magnetic field, or through a flight map, reduced with and without it."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.matter.flight import cyclotron_frequency, flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.settings import Setup, load_channel, parse_settings
from molexa_core.base.storage.resources import find
from molexa_core.pipeline.chain.reduce import Reduction, reduce
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.reducer import Reducer

WATER = load_channel(find("channels", "water", ".yaml"))
REGIONS = [{"length_mm": 110.0, "field_v_per_cm": 250.0}]


def setup_of(**spectrometer: object) -> Setup:
    values = {
        "spectrometer": spectrometer or {"regions": REGIONS},
        "detection_efficiency": 1.0,
        "detector": {"dead_time_ns": 0.0},
        "virtual": {"statistics": "one"},
    }
    return parse_settings(Setup, values, where="setup")


def reduced(flown: Setup, assumed: Setup, shots: int = 2000) -> Reduction:
    return reduce([mock(WATER, shots, setup=flown, seed=4).hits], WATER, assumed)


def turn(reduction: Reduction, reference: Reduction) -> float:
    """Degrees by which protons are turned around z against those of the reference."""
    one, other = reduction.table.momentum, reference.table.momentum
    common = np.isin(reduction.table.tags["shot"], reference.table.tags["shot"])
    assert common.mean() > 0.99
    rows = np.searchsorted(reference.table.tags["shot"], reduction.table.tags["shot"][common])
    z = one[common][..., 0] + 1j * one[common][..., 1]
    w = other[rows][..., 0] + 1j * other[rows][..., 1]
    return float(np.rad2deg(np.angle((z[:, 1:] * w[:, 1:].conj()).sum())))


def test_momenta_in_a_magnetic_field_are_those_without() -> None:
    free, field = setup_of(), setup_of(regions=REGIONS, magnetic_field_gauss=6.5)
    without = reduced(free, free)
    within = reduced(field, field)
    assert within.summary.ker.peak == pytest.approx(without.summary.ker.peak, rel=2e-3)
    assert abs(turn(within, without)) < 0.05
    forgotten = reduced(field, free)
    proton = parse_ion("H+")
    time = flight_time(0.0, 1, proton.mass, free.spectrometer)
    half = 0.5 * cyclotron_frequency(1, proton.mass, field.spectrometer) * time
    assert turn(forgotten, without) == pytest.approx(-np.rad2deg(half), rel=0.05)  # clockwise


def test_a_node_in_a_window_is_said() -> None:
    proton = parse_ion("H+")
    setup = setup_of(regions=REGIONS)
    time = float(flight_time(0.0, 1, proton.mass, setup.spectrometer))
    gauss = 2.0 * np.pi * proton.mass / (0.0175882 * time)
    field = setup_of(regions=REGIONS, magnetic_field_gauss=gauss)
    progress = CollectingProgress()
    Reducer(WATER, field, progress)
    assert any("H+ returns to the axis" in text for text in progress.warned)


def test_a_run_through_lenses() -> None:
    ion = parse_ion("O+")
    pz = np.linspace(-300.0, 300.0, 121)
    times = flight_time(pz, 1, ion.mass, setup_of().spectrometer)
    table = {
        "ion": "O+",
        "pz_au": pz.tolist(),
        "time_ns": times.tolist(),
        "position_scale": [0.8],
        "time_per_mm_ns": 0.1,
    }
    lenses, plain = setup_of(flight_map=table), setup_of()
    mapped, straight = reduced(lenses, lenses), reduced(plain, plain)
    assert mapped.summary.ker.peak == pytest.approx(straight.summary.ker.peak, rel=5e-3)
    assert abs(turn(mapped, straight)) < 0.05
