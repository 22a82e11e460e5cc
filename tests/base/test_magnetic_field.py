"""Flights in a magnetic field and in a flight map: closed forms, equation of motion, scaling."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from molexa_core.base.errors import SettingsError
from molexa_core.base.matter.flight import cyclotron_frequency, displacement, flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Setup, parse_settings
from molexa_core.base.settings.setup import Spectrometer
from molexa_core.base.units import (
    ACCELERATION_MM_NS2,
    ATOMIC_VELOCITY_MM_NS,
    CYCLOTRON_RAD_NS,
)
from molexa_core.reduction.momentum import NODE_SINE, flight_row, hit_momenta, node_ranges
from tests.fakes.root_runs import REGIONS

IONS = ("H+", "O+", "O3+", "Xe+")
GRID = np.linspace(-80.0, 80.0, 33)


def spectrometer_of(gauss: float, regions: int = 1) -> Spectrometer:
    rows = [{"length_mm": mm, "field_v_per_cm": field} for mm, field in REGIONS[regions]]
    return parse_settings(
        Spectrometer, {"regions": rows, "magnetic_field_gauss": gauss}, where="test"
    )


def map_of(regions: int, *, ion: str = "N2+", scale: float = 1.0, **more: object) -> Spectrometer:
    """The table of a spectrometer that has regions, as a simulation program writes it."""
    of = parse_ion(ion)
    pz = np.linspace(-260.0, 260.0, 105)
    times = flight_time(pz, of.charge, of.mass, spectrometer_of(0.0, regions))
    table = {"ion": ion, "pz_au": pz.tolist(), "time_ns": times.tolist()}
    table |= {"position_scale": [scale]} | more
    return parse_settings(Spectrometer, {"flight_map": table}, where="test")


@pytest.mark.parametrize("name", ["H+", "O2+"])
@pytest.mark.parametrize("gauss", [6.5, -40.0, 900.0])
def test_against_the_equation_of_motion(name: str, gauss: float) -> None:
    ion, field = parse_ion(name), 250.0
    start = np.array([12.0, -7.0, 5.0])
    spectrometer = spectrometer_of(gauss)
    t = float(flight_time(start[2], ion.charge, ion.mass, spectrometer))
    omega = CYCLOTRON_RAD_NS * gauss * ion.charge / ion.mass
    acceleration = ACCELERATION_MM_NS2 * ion.charge / ion.mass * field

    def force(_: float, y: np.ndarray) -> list[float]:
        vx, vy, vz = y[3:]
        return [vx, vy, vz, omega * vy, -omega * vx, acceleration]  # q (E + v x B) / m, B along z

    begin = [0.0, 0.0, 0.0, *(start / ion.mass * ATOMIC_VELOCITY_MM_NS)]
    end = solve_ivp(force, (0.0, t), begin, rtol=1e-11, atol=1e-12).y[:, -1]
    assert end[2] == pytest.approx(110.0, rel=1e-8)
    place = displacement(start, t, ion.charge, ion.mass, spectrometer)
    np.testing.assert_allclose(place, end[:2], rtol=1e-7, atol=1e-7)


def test_a_positive_field_turns_positive_ions_clockwise_by_half_the_angle() -> None:
    ion, spectrometer = parse_ion("H+"), spectrometer_of(6.5)
    t = float(flight_time(0.0, 1, ion.mass, spectrometer))
    place = displacement([20.0, 0.0, 0.0], t, 1, ion.mass, spectrometer)
    omega = float(cyclotron_frequency(1, ion.mass, spectrometer))
    assert np.arctan2(place[1], place[0]) == pytest.approx(-0.5 * omega * t, rel=1e-12)
    assert 0.5 < np.rad2deg(0.5 * omega * t) < 3.0  # protons turn by a degree in such fields
    radius = 20.0 / ion.mass * ATOMIC_VELOCITY_MM_NS * 2.0 / omega * np.sin(0.5 * omega * t)
    assert np.hypot(*place) == pytest.approx(radius, rel=1e-12)


@pytest.mark.parametrize("name", IONS)
@pytest.mark.parametrize("gauss", [0.0, 6.5, -300.0])
@pytest.mark.parametrize("regions", sorted(REGIONS))
def test_momenta_come_back(name: str, gauss: float, regions: int, rng: np.random.Generator) -> None:
    ion, spectrometer = parse_ion(name), spectrometer_of(gauss, regions)
    assert momenta_back(ion.mass, name, spectrometer, rng) < 1e-9


@pytest.mark.parametrize("name", IONS)
@pytest.mark.parametrize("scale", [1.0, 0.7])
def test_momenta_come_back_from_a_flight_map(
    name: str, scale: float, rng: np.random.Generator
) -> None:
    ion = parse_ion(name)
    spectrometer = map_of(3, scale=scale, time_per_mm_ns=0.3)
    assert momenta_back(ion.mass, name, spectrometer, rng) < 1e-9


def test_momenta_come_back_from_polynomials(rng: np.random.Generator) -> None:
    values = {
        "ion": "N2+",
        "pz_au": [-150.0, 150.0],
        "time_polynomial_ns": [3510.5, -1.61, 2e-4, -1e-8],
        "scale_polynomial": [0.9, 1e-4],
    }
    spectrometer = parse_settings(Spectrometer, {"flight_map": values}, where="test")
    for name in IONS:
        assert momenta_back(parse_ion(name).mass, name, spectrometer, rng) < 1e-9


def momenta_back(
    mass: float, name: str, spectrometer: Spectrometer, rng: np.random.Generator
) -> float:
    """Largest error of momenta after a flight there and back, over their size."""
    ion, jet = parse_ion(name), 900.0
    size = 8.0 * np.sqrt(ion.charge) if name == "H+" else 25.0
    known = rng.uniform(-size, size, (500, 3))
    moving = known + np.array([0.0, mass * jet / 2.18769126216e6, 0.0])
    t = flight_time(moving[:, 2], ion.charge, ion.mass, spectrometer)
    place = displacement(moving, t, ion.charge, ion.mass, spectrometer)
    found = hit_momenta(place[:, 0], place[:, 1], t, ion, spectrometer, jet_velocity_m_per_s=jet)
    return float(np.abs(found - known).max() / max(size, mass * 1e-4))


def test_a_map_of_one_ion_flies_all_others_like_the_spectrometer_it_was_made_of() -> None:
    mapped, regions = map_of(3), spectrometer_of(0.0, 3)
    for name in IONS:
        ion = parse_ion(name)
        pz = np.linspace(-20.0, 20.0, 11)
        np.testing.assert_allclose(
            flight_time(pz, ion.charge, ion.mass, mapped),
            flight_time(pz, ion.charge, ion.mass, regions),
            rtol=1e-7,
        )


def test_outside_the_map_there_is_no_flight() -> None:
    ion, spectrometer = parse_ion("N2+"), map_of(1)
    assert np.isnan(flight_time(400.0, ion.charge, ion.mass, spectrometer))
    t = np.array([1.0, 1e5])
    assert np.isnan(hit_momenta(t, t, t, ion, spectrometer)).all()


def test_hits_at_a_node_have_no_momentum_and_the_range_is_named() -> None:
    ion, spectrometer = parse_ion("H+"), spectrometer_of(900.0)
    omega = float(cyclotron_frequency(1, ion.mass, spectrometer))
    period = 2.0 * np.pi / omega
    ((low, high),) = node_ranges(ion, spectrometer, 0.5 * period, 1.5 * period)
    assert low < period < high
    assert np.sin(0.5 * omega * high) == pytest.approx(-NODE_SINE, rel=1e-9)
    t = np.array([low - 1e-6, low + 1e-6, period, high - 1e-6, high + 1e-6])
    found = hit_momenta(np.ones(5), np.ones(5), t, ion, spectrometer)
    assert list(np.isnan(found[:, 0])) == [False, True, True, True, False]
    assert not node_ranges(ion, spectrometer, 0.0, 0.5 * period)  # the start is no node
    assert not node_ranges(ion, spectrometer_of(0.0), 0.0, 1e9)


def test_rows_of_all_ions_have_one_length() -> None:
    for spectrometer in (spectrometer_of(5.0, 3), map_of(2)):
        assert len({len(flight_row(parse_ion(name), spectrometer)) for name in IONS}) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pz_au": [-1.0, 2.0, 1.0]}, "ascending order"),
        ({"pz_au": [1.0, 2.0, 3.0]}, "begin below 0"),
        ({"time_ns": [3.0, 2.0]}, "2 values for 3 momenta"),
        ({"time_ns": [1.0, 2.0, 3.0]}, "does not decrease with pz"),
        ({"position_scale": [1.0, 2.0]}, "2 values for 3 momenta"),
        ({"time_polynomial_ns": [2.0, -1.0]}, "either time_ns or time_polynomial_ns"),
    ],
)
def test_faulty_maps(changes: dict[str, object], message: str) -> None:
    table = {"ion": "O+", "pz_au": [-1.0, 0.0, 1.0], "time_ns": [3.0, 2.0, 1.2]}
    with pytest.raises(SettingsError, match=message):
        parse_settings(Setup, {"spectrometer": {"flight_map": table | changes}}, where="setup")


def test_a_map_and_regions_or_a_magnetic_field_exclude_each_other() -> None:
    table = {"ion": "O+", "pz_au": [-1.0, 0.0, 1.0], "time_ns": [3.0, 2.0, 1.2]}
    both = {"flight_map": table, "magnetic_field_gauss": 5.0}
    with pytest.raises(SettingsError, match="cannot go with magnetic_field_gauss"):
        parse_settings(Spectrometer, both, where="setup")
    both = {"flight_map": table, "regions": [{"length_mm": 10.0, "field_v_per_cm": 20.0}]}
    with pytest.raises(SettingsError, match="either regions or flight_map"):
        parse_settings(Spectrometer, both, where="setup")
