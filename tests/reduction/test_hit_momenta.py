from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import SettingsError
from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings.setup import Region
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, ATOMIC_VELOCITY_MM_NS
from molexa_core.reduction.momentum import flight_window, hit_momenta
from tests.fakes.root_runs import REGIONS, break_ups, fly, make_setup

ION_NAMES = ("H+", "C+", "O2+", "F+", "I7+")


def regions_of(*pairs: tuple[float, float]) -> list[Region]:
    return [Region(length_mm=mm, field_v_per_cm=field) for mm, field in pairs]


@pytest.mark.parametrize("n_regions", sorted(REGIONS))
@pytest.mark.parametrize("name", ION_NAMES)
def test_momenta_come_back_from_a_flight(
    n_regions: int, name: str, rng: np.random.Generator
) -> None:
    setup = make_setup(n_regions)
    ion = parse_ion(name)
    known = rng.uniform(-150, 150, (2000, 1, 3))
    x, y, t = (values[:, 0] for values in fly(known, [ion], setup))
    found = hit_momenta(
        x, y, t, ion, setup.spectrometer.regions, jet_velocity_m_per_s=setup.jet.velocity_m_per_s
    )
    np.testing.assert_allclose(found, known[:, 0], rtol=0, atol=1e-8)


@given(
    split=st.floats(0.01, 0.99),
    pz=st.floats(-500, 500),
    name=st.sampled_from(ION_NAMES),
    field=st.floats(10, 5000),
)
def test_iteration_agrees_with_the_closed_form_when_a_region_is_split(
    split: float, pz: float, name: str, field: float
) -> None:
    ion = parse_ion(name)
    t = flight_time([pz], ion.charge, ion.mass, regions_of((100.0, field)))
    zero = np.zeros(1)
    closed = hit_momenta(zero, zero, t, ion, regions_of((100.0, field)))
    halves = regions_of((100.0 * split, field), (100.0 * (1 - split), field))
    iterated = hit_momenta(zero, zero, t, ion, halves)
    scale = ion.mass * 100.0 / t[0] / ATOMIC_VELOCITY_MM_NS
    np.testing.assert_allclose(iterated[:, 2], closed[:, 2], rtol=1e-10, atol=1e-11 * scale)


def test_single_region_is_the_textbook_formula() -> None:
    """pz = m L / t - q E t / 2 in SI units, worked by hand for H+ at 500 ns."""
    proton_kg, charge_c, au_kg_m_s = 1.67262192e-27, 1.602176634e-19, 1.99285191545e-24
    expected = proton_kg * 0.11 / 500e-9 - charge_c * 25_000.0 * 500e-9 / 2
    found = hit_momenta(
        np.zeros(1), np.zeros(1), np.array([500.0]), parse_ion("H+"), regions_of((110.0, 250.0))
    )
    assert found[0, 2] == pytest.approx(expected / au_kg_m_s, rel=1e-6)


def test_an_ion_that_only_drifts_with_the_jet_has_no_transverse_momentum() -> None:
    ion, regions = parse_ion("O+"), regions_of((110.0, 250.0))
    t = flight_time([0.0], ion.charge, ion.mass, regions)
    y = 1200.0 / ATOMIC_VELOCITY_M_S * ATOMIC_VELOCITY_MM_NS * t
    found = hit_momenta(np.zeros(1), y, t, ion, regions, jet_velocity_m_per_s=1200.0)
    np.testing.assert_allclose(found, 0.0, atol=1e-9)


@pytest.mark.parametrize("n_regions", sorted(REGIONS))
def test_impossible_times_are_marked(n_regions: int) -> None:
    t = np.array([0.0, -5.0, np.nan, 700.0])
    zero = np.zeros(4)
    regions = make_setup(n_regions).spectrometer.regions
    found = hit_momenta(zero, zero, t, parse_ion("H+"), regions)
    assert np.isnan(found[:3]).all()
    assert np.isfinite(found[3]).all()


def test_very_short_and_very_long_times_still_have_a_momentum(rng: np.random.Generator) -> None:
    ion, regions = parse_ion("C+"), make_setup(3).spectrometer.regions
    t = 10 ** rng.uniform(0, 6, 500)
    pz = hit_momenta(np.zeros(500), np.zeros(500), t, ion, regions)[:, 2]
    back = flight_time(pz, ion.charge, ion.mass, regions)
    np.testing.assert_allclose(back, t, rtol=1e-9)


def test_the_window_holds_all_momenta_up_to_the_limit(rng: np.random.Generator) -> None:
    setup, ion = make_setup(3), parse_ion("O+")
    first, last = flight_window(ion, setup.spectrometer.regions, 100.0)
    momenta = break_ups([ion], 10, rng, 1.0) + rng.uniform(-100, 100, (10, 1, 3))
    t = fly(momenta, [ion], setup)[2]
    assert first < t.min() < t.max() < last
    edges = flight_time([100.0, -100.0], ion.charge, ion.mass, setup.spectrometer.regions)
    assert (first, last) == pytest.approx(tuple(edges))


def test_a_drift_so_long_that_times_repeat_is_refused() -> None:
    regions = regions_of((5.0, 50.0), (500.0, 0.0))
    with pytest.raises(SettingsError, match="time of flight of another pz"):
        flight_window(parse_ion("H+"), regions, 200.0)
