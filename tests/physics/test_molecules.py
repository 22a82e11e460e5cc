"""The shipped molecules against tabulated structures, and their vibrations against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from molexa_core.base.elements import element
from molexa_core.base.errors import ComputationError, InputFileError
from molexa_core.base.units import BOHR_ANGSTROM, DALTON_ME, WAVENUMBER_HARTREE
from molexa_core.physics.molecules import molecule, molecule_names, sum_formula
from molexa_core.physics.vibrations import (
    normal_modes,
    rigid_motions,
    sample_gaussian,
    sample_ground_state,
)

# Experimental bond lengths in angstrom (CRC Handbook of Chemistry and Physics; NIST CCCBDB).
BONDS = [
    ("water", "O", "H", 0.958),
    ("cf4", "C", "F", 1.319),
    ("nitrogen", "N", "N", 1.098),
    ("carbon_monoxide", "C", "O", 1.128),
    ("co2", "C", "O", 1.160),
    ("methane", "C", "H", 1.087),
    ("ammonia", "N", "H", 1.012),
    ("hcl", "H", "Cl", 1.275),
    ("hcn", "C", "N", 1.153),
    ("acetylene", "C", "C", 1.203),
    ("ethylene", "C", "C", 1.339),
    ("formaldehyde", "C", "O", 1.205),
    ("so2", "S", "O", 1.432),
    ("ocs", "C", "O", 1.157),
    ("ccl4", "C", "Cl", 1.767),
    ("silane", "Si", "H", 1.480),
    ("ph3", "P", "H", 1.420),
    ("nf3", "N", "F", 1.365),
    ("ethanol", "C", "C", 1.512),
]
# Experimental bond angles in degrees: ends, centre.
ANGLES = [
    ("water", "H", "O", "H", 104.5),
    ("ammonia", "H", "N", "H", 106.7),
    ("co2", "O", "C", "O", 180.0),
    ("so2", "O", "S", "O", 119.3),
    ("formaldehyde", "H", "C", "H", 116.1),
    ("ph3", "H", "P", "H", 93.5),
    ("nf3", "F", "N", "F", 102.4),
]
BOND_TOLERANCE, ANGLE_TOLERANCE = 0.04, 4.0
"""What GFN2-xTB is good for with these molecules."""
WAVENUMBERS = [("nitrogen", 2359), ("carbon_monoxide", 2170), ("hcl", 2991), ("chlorine", 560)]
"""Harmonic wavenumbers in 1/cm (Huber and Herzberg); GFN2-xTB has them within 20 per cent."""


@pytest.mark.parametrize(("name", "first", "second", "length"), BONDS)
def test_bond_lengths(name: str, first: str, second: str, length: float) -> None:
    shortest = _distances(name, first, second).min() * BOHR_ANGSTROM
    assert shortest == pytest.approx(length, abs=BOND_TOLERANCE)


@pytest.mark.parametrize(("name", "end", "centre", "other", "angle"), ANGLES)
def test_bond_angles(name: str, end: str, centre: str, other: str, angle: float) -> None:
    geometry = molecule(name).geometry
    middle = geometry.positions[geometry.symbols.index(centre)]
    ends = [x - middle for s, x in zip(geometry.symbols, geometry.positions, strict=True)
            if s == end]  # fmt: skip
    assert end == other
    cosine = ends[0] @ ends[1] / np.linalg.norm(ends[0]) / np.linalg.norm(ends[1])
    found = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert found == pytest.approx(angle, abs=ANGLE_TOLERANCE)


@pytest.mark.parametrize(("name", "wavenumber"), WAVENUMBERS)
def test_wavenumbers_of_diatomics(name: str, wavenumber: float) -> None:
    modes = molecule(name).modes()
    assert modes is not None
    assert modes.wavenumber_cm[0] == pytest.approx(wavenumber, rel=0.2)


@pytest.mark.parametrize("name", molecule_names())
def test_every_molecule_is_a_minimum_at_rest(name: str) -> None:
    entry = molecule(name)
    x, mass, n = entry.geometry.positions, entry.masses, len(entry.geometry)
    assert 2 <= n <= 9
    assert entry.hessian is not None
    assert np.abs(mass @ x / mass.sum()).max() < 1e-6
    # Translations and rotations cost nothing; every other direction costs energy.
    rigid = rigid_motions(x, np.ones(n))
    linear = np.linalg.matrix_rank(x - x[0], tol=1e-3) < 2
    assert rigid.shape[1] == (5 if linear else 6)
    # Rounded geometries leave the Hessian that was projected at full precision this much.
    assert np.abs(entry.hessian @ rigid).max() < 1e-6
    root = np.repeat(np.sqrt(mass), 3)
    values = np.linalg.eigvalsh(entry.hessian / root / root[:, None])
    soft = np.sqrt(np.abs(values[: rigid.shape[1]])) / WAVENUMBER_HARTREE
    assert soft.max() < 5.0
    modes = entry.modes()
    assert modes is not None
    assert len(modes.frequency) == 3 * n - rigid.shape[1]
    assert modes.wavenumber_cm.min() > 50.0
    np.testing.assert_allclose(np.sqrt(values[rigid.shape[1] :]), modes.frequency, rtol=1e-6)


def test_symmetric_molecules_are_symmetric() -> None:
    for name, centre, end in (("cf4", "C", "F"), ("methane", "C", "H"), ("sf6", "S", "F")):
        distances = _distances(name, centre, end)
        assert np.ptp(distances) < 1e-4


def test_diatomic_mode_meets_the_closed_form() -> None:
    m1, m2, k = 2.0e4, 3.0e4, 0.7
    hessian = np.zeros((6, 6))
    hessian[np.ix_([2, 5], [2, 5])] = k * np.array([[1, -1], [-1, 1]])
    x = np.array([[0.0, 0, 0], [0, 0, 2.0]])
    modes = normal_modes(x, np.array([m1, m2]), hessian)
    omega = np.sqrt(k * (m1 + m2) / (m1 * m2))
    assert modes.frequency == pytest.approx([omega], rel=1e-12)
    drawn = sample_ground_state(x, modes, 200_000, np.random.default_rng(3))
    distance = drawn[:, 1, 2] - drawn[:, 0, 2]
    variance = 1 / (2 * (m1 * m2 / (m1 + m2)) * omega)
    assert distance.mean() == pytest.approx(2.0, abs=4 * np.sqrt(variance / len(distance)))
    assert distance.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / len(distance)))
    assert np.ptp(drawn[..., :2]) < 1e-12


def test_ground_state_has_the_variance_of_each_mode_and_no_rigid_motion() -> None:
    entry = molecule("ethanol")
    modes = entry.modes()
    assert modes is not None
    n = 40_000
    drawn = sample_ground_state(entry.geometry.positions, modes, n, np.random.default_rng(4))
    root = np.sqrt(entry.masses)[None, :, None]
    moved = ((drawn - entry.geometry.positions) * root).reshape(n, -1)
    vectors = (modes.displacement * root).reshape(len(modes.frequency), -1)
    amplitude = moved @ vectors.T
    limit = 5 * np.sqrt(2 / n)
    np.testing.assert_allclose(amplitude.var(axis=0), 0.5 / modes.frequency, rtol=limit)
    correlation = np.corrcoef(amplitude.T) - np.eye(len(modes.frequency))
    assert np.abs(correlation).max() < 6 / np.sqrt(n)
    rigid = rigid_motions(entry.geometry.positions, entry.masses)
    assert np.abs(moved @ rigid).max() < 1e-9


def test_gaussian_spread_goes_with_the_inverse_root_of_mass() -> None:
    mass = np.array([1.0, 16.0]) * DALTON_ME
    x = np.zeros((2, 3))
    drawn = sample_gaussian(x, mass, 0.13, 100_000, np.random.default_rng(5))
    np.testing.assert_allclose(drawn.std(axis=0)[0], 0.13, rtol=0.02)
    np.testing.assert_allclose(drawn.std(axis=0)[1], 0.13 / 4, rtol=0.02)


def test_a_saddle_point_is_refused() -> None:
    hessian = np.zeros((6, 6))
    hessian[np.ix_([2, 5], [2, 5])] = -0.5 * np.array([[1, -1], [-1, 1]])
    with pytest.raises(ComputationError, match="imaginary wavenumber"):
        normal_modes(np.array([[0.0, 0, 0], [0, 0, 2]]), np.full(2, 2e4), hessian)


def test_names_and_formulas() -> None:
    assert molecule("H2O").name == "water"
    assert molecule("CF4").name == "cf4"
    assert sum_formula(("O", "C", "H", "C", "H", "H", "H", "H", "H")) == "C2H6O"
    with pytest.raises(InputFileError, match="Did you mean water"):
        molecule("watr")


def test_masses_are_those_of_the_most_abundant_isotopes() -> None:
    assert molecule("hcl").masses.sum() == pytest.approx(
        element("H").isotope_mass + element("Cl").isotope_mass
    )


def _distances(name: str, first: str, second: str) -> NDArray[np.float64]:
    geometry = molecule(name).geometry
    symbols, x = geometry.symbols, geometry.positions
    return np.array(
        [
            np.linalg.norm(x[i] - x[j])
            for i in range(len(symbols))
            for j in range(len(symbols))
            if i != j and (symbols[i], symbols[j]) == (first, second)
        ]
    )
