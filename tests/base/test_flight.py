"""Time of flight against closed forms and against integrating the equation of motion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings.setup import Region
from molexa_core.base.units import ACCELERATION_MM_NS2, ATOMIC_VELOCITY_MM_NS

ONE = (Region(length_mm=110, field_v_per_cm=250),)
WILEY_MCLAREN = (
    Region(length_mm=8, field_v_per_cm=120),
    Region(length_mm=25, field_v_per_cm=410),
    Region(length_mm=90, field_v_per_cm=0),
)
IONS = ["H+", "O+", "O3+", "Cl11+", "Xe+"]


def integrated(pz: float, charge: float, mass: float, regions: tuple[Region, ...]) -> float:
    """Time of flight from solving z'' = q E(z) / m numerically, region by region."""
    z, v, time = 0.0, pz / mass * ATOMIC_VELOCITY_MM_NS, 0.0
    start = 0.0
    for region in regions:
        a = ACCELERATION_MM_NS2 * charge / mass * region.field_v_per_cm
        end = start + region.length_mm

        def reached(t: float, y: np.ndarray, end: float = end) -> float:
            del t
            return float(y[0] - end)

        reached.terminal = True  # type: ignore[attr-defined]
        reached.direction = 1  # type: ignore[attr-defined]
        solution = solve_ivp(
            lambda t, y, a=a: [y[1], a], (0, 1e6), [z, v], events=reached, rtol=1e-11, atol=1e-13
        )
        z, v = solution.y_events[0][0]
        time += solution.t_events[0][0]
        start = end
    return time


@pytest.mark.parametrize("ion", IONS)
@pytest.mark.parametrize("pz", [-300.0, -1.0, 0.0, 1.0, 300.0])
@pytest.mark.parametrize("regions", [ONE, WILEY_MCLAREN], ids=["one", "three"])
def test_against_the_equation_of_motion(ion: str, pz: float, regions: tuple[Region, ...]) -> None:
    charge, mass = parse_ion(ion).charge, parse_ion(ion).mass
    if ion == "H+":
        pz /= 6.0
    expected = integrated(pz, charge, mass, regions)
    assert flight_time(pz, charge, mass, regions) == pytest.approx(expected, rel=1e-8)


def test_ion_at_rest_in_a_homogeneous_field() -> None:
    for name in IONS:
        ion = parse_ion(name)
        acceleration = ACCELERATION_MM_NS2 * ion.charge / ion.mass * 250
        assert flight_time(0.0, ion.charge, ion.mass, ONE) == pytest.approx(
            np.sqrt(2 * 110 / acceleration), rel=1e-12
        )


def test_time_scales_with_the_root_of_mass_over_charge() -> None:
    times = [flight_time(0.0, q, m, WILEY_MCLAREN) for q, m in ((1, 4e4), (4, 4e4), (1, 1e4))]
    assert times[0] / times[1] == pytest.approx(2.0, rel=1e-12)
    assert times[1] == pytest.approx(times[2], rel=1e-12)


def test_turning_round_costs_the_time_up_and_down() -> None:
    # t(-p) - t(+p) = 2 v / a exactly in a homogeneous field: p_z = E q (t0 - t) up to symmetry
    ion = parse_ion("O+")
    p = np.array([1.0, 10.0, 100.0])
    difference = flight_time(-p, 1, ion.mass, ONE) - flight_time(p, 1, ion.mass, ONE)
    np.testing.assert_allclose(difference, 2 * p * 124.38 / 250, rtol=1e-4)


def test_focusing_condition_of_wiley_and_mclaren() -> None:
    # field-free drift twice as long as the acceleration: time does not depend on the start, first
    # order, so dt/ds at fixed total length vanishes
    drift = 220.0

    def time(start: float) -> float:
        regions = (
            Region(length_mm=110 + start, field_v_per_cm=250),
            Region(length_mm=drift, field_v_per_cm=0),
        )
        return float(flight_time(0.0, 1, parse_ion("O+").mass, regions))

    slope = (time(0.1) - time(-0.1)) / 0.2
    without = 0.5 * float(flight_time(0.0, 1, parse_ion("O+").mass, ONE)) / 110
    assert abs(slope) < 1e-3 * without


def test_broadcasting() -> None:
    masses = np.array([parse_ion(name).mass for name in IONS])
    charges = np.array([parse_ion(name).charge for name in IONS])
    pz = np.linspace(-20, 20, 7)[:, None]
    times = flight_time(pz, charges, masses, WILEY_MCLAREN)
    assert times.shape == (7, 5)
    assert times[2, 3] == flight_time(pz[2, 0], charges[3], masses[3], WILEY_MCLAREN)
    assert np.all(np.diff(times, axis=0) < 0)


def test_no_warning_for_an_ion_at_rest_in_a_drift() -> None:
    # the masked branch divides by zero inside; that must not reach the user
    assert np.isfinite(flight_time(np.zeros(3), 1, 2000.0, WILEY_MCLAREN)).all()
