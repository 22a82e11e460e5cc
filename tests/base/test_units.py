"""Units against closed forms that a physicist has in the head."""

from __future__ import annotations

import math

import pytest

from molexa_core.base import units


def test_coulomb_energy_of_two_charges() -> None:
    # e^2 / (4 pi eps0) = 14.399645 eV angstrom
    energy_ev = 1.0 / (1.0 / units.BOHR_ANGSTROM) * units.HARTREE_EV
    assert energy_ev == pytest.approx(14.3996454, rel=1e-8)
    # two N+ at the bond length of the molecule release 13.1 eV
    assert energy_ev / 1.098 == pytest.approx(13.1, abs=0.05)


def test_two_protons_at_one_angstrom_fly_apart_with_the_energy_of_their_repulsion() -> None:
    proton = units.DALTON_ME * 1.007276466
    energy = units.BOHR_ANGSTROM  # 1 / R with R = 1 angstrom, in hartree
    momentum = math.sqrt(energy * proton)  # p^2 / 2m shared by two
    speed_m_s = momentum / proton * units.ATOMIC_VELOCITY_M_S
    joule_per_hartree = units.HARTREE_EV * 1.602176634e-19
    mass_kg = 1.67262192595e-27
    assert 0.5 * mass_kg * speed_m_s**2 == pytest.approx(energy * joule_per_hartree / 2, rel=1e-8)


def test_velocity_unit_is_length_over_time() -> None:
    assert pytest.approx(units.ATOMIC_VELOCITY_MM_NS, rel=1e-10) == (
        units.BOHR_MM / units.ATOMIC_TIME_NS
    )
    assert pytest.approx(units.ATOMIC_VELOCITY_MM_NS, rel=1e-9) == (
        units.FINE_STRUCTURE * 299.792458
    )
    assert units.ATOMIC_VELOCITY_M_S == pytest.approx(units.ATOMIC_VELOCITY_MM_NS * 1e6)


def test_acceleration_of_an_electron_in_one_volt_per_centimetre() -> None:
    # e * 1 V/cm / m_e = 1.7588200e13 m/s^2 = 0.01758820 mm/ns^2
    assert pytest.approx(0.01758820, rel=1e-7) == units.ACCELERATION_MM_NS2


def test_momentum_from_the_time_of_flight_shift() -> None:
    # p_z = E q (t0 - t): 1 V/cm for 1 ns on charge 1 is 1/124.38 a.u.
    per_ns = units.ACCELERATION_MM_NS2 / units.ATOMIC_VELOCITY_MM_NS
    assert 1.0 / per_ns == pytest.approx(124.38, abs=0.005)


def test_momentum_unit_in_si() -> None:
    electron_kg = 9.1093837139e-31
    assert pytest.approx(electron_kg * units.ATOMIC_VELOCITY_M_S, rel=1e-9) == (
        units.ATOMIC_MOMENTUM_SI
    )


def test_field_unit_is_the_field_of_a_proton_at_one_bohr() -> None:
    volt_per_cm = units.HARTREE_EV / (units.BOHR_ANGSTROM * 1e-8)
    assert pytest.approx(volt_per_cm, rel=1e-10) == units.ATOMIC_FIELD_V_CM


def test_thermal_energy_and_wavenumber() -> None:
    assert units.BOLTZMANN_HARTREE_K * 300 * units.HARTREE_EV == pytest.approx(0.0258520, rel=1e-5)
    assert pytest.approx(8065.54394, rel=1e-8) == (
        1.0 / (units.WAVENUMBER_HARTREE * units.HARTREE_EV)
    )


def test_mass_unit() -> None:
    assert pytest.approx(1822.888486, rel=1e-9) == units.DALTON_ME
