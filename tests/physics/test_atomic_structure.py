"""Atomic orbitals and photoionization against closed forms and reference values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from molexa_core.base.errors import UnknownIonError, UsageError
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.units import BOHR2_BARN, FINE_STRUCTURE, HARTREE_EV
from molexa_core.physics.atomic.configuration import compute_configuration
from molexa_core.physics.atomic.continuum import on_mesh, wave_mesh
from molexa_core.physics.atomic.energies import average_energy
from molexa_core.physics.atomic.grid import RADIUS, radial_grid
from molexa_core.physics.atomic.photoionization import cross_sections
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import (
    COVERED,
    NAMES,
    covered_element,
    ground_occupation,
    occupation_text,
    parse_occupation,
    valence_subshells,
)

PHOTON = 2000.0 / HARTREE_EV
ELAM_2KEV = {
    "H": 1.1109,
    "C": 6016.96,
    "N": 11070.2,
    "O": 18429.4,
    "F": 28499.7,
    "Ne": 41591.2,
    "Si": 129397.4,
    "P": 15409.9,
    "S": 20379.9,
    "Cl": 26459.8,
}
"""Photoabsorption at 2 keV in barn per atom: Elam, Ravel and Sieber, Radiat. Phys. Chem. 63, 121
(2002), as xraydb 4.5.8 gives it (`mu_elam(..., kind="photo")`)."""
ELAM_AT_EV = (600.0, 1500.0, 4000.0, 10000.0)
ELAM = {
    "H": (60.591, 2.9317, 0.10529, 0.0045576),
    "C": (168960, 13950, 742.7, 41.4),
    "N": (277930, 25150, 1418.0, 82.412),
    "O": (424290, 41109, 2452.0, 147.9),
    "F": (38683, 62370, 3931.0, 245.5),
    "Ne": (60957, 89283, 5939.2, 383.71),
    "Si": (253810, 24869, 21050, 1546.0),
    "P": (333770, 33550, 26880, 2037.0),
    "S": (436060, 44270, 33660, 2625.0),
    "Cl": (592380, 57360, 41330, 3321.0),
}
"""The same at other photon energies."""
BINDING_EV = {
    ("C", "1s"): 290.9,
    ("N", "1s"): 404.6,
    ("O", "1s"): 536.8,
    ("F", "1s"): 687.6,
    ("Ne", "1s"): 857.0,
    ("Si", "1s"): 1823.8,
    ("P", "1s"): 2124.0,
    ("S", "1s"): 2448.0,
    ("Cl", "1s"): 2794.0,
    ("Cl", "2s"): 266.3,
    ("Cl", "2p"): 208.2,
    ("C", "2s"): 17.5,
    ("C", "2p"): 9.0,
    ("Ne", "2p"): 20.0,
}
"""Hartree-Fock-Slater binding energies of an independent program; C and Ne as tabulated by Herman
and Skillman, Atomic Structure Calculations (1963)."""
EDGES_EV = {
    "C": 284.2,
    "N": 409.9,
    "O": 543.1,
    "F": 696.7,
    "Ne": 870.2,
    "Si": 1839.0,
    "P": 2145.5,
    "S": 2472.0,
    "Cl": 2822.0,
}
"""K edges in eV as tabulated by Elam, Ravel and Sieber (xraydb 4.5.8)."""
IONIZATION_EV = {
    "C": ((24.38, 47.89, 64.49, 392.1, 490.0), (21.7, 45.9, 65.0, 386.4, 489.8)),
    "N": ((29.6, 47.45, 77.47, 97.89), (26.2, 43.9, 75.2, 98.5)),
    "O": ((35.12, 54.94, 77.41, 113.9, 138.1), (30.8, 50.6, 73.1, 111.2, 138.9)),
    "F": ((34.97, 62.71, 87.14, 114.2, 157.2, 185.2), (35.6, 57.4, 82.0, 109.1, 154.1, 186.0)),
    "Si": ((16.35, 33.49, 45.14, 166.8), (14.8, 32.6, 45.4, 164.4)),
    "P": ((19.77, 30.2, 51.44, 65.03), (17.7, 28.4, 50.6, 65.4)),
    "S": ((23.34, 34.86, 47.22, 72.59, 88.05, 280.9), (20.7, 32.5, 45.4, 71.7, 88.5, 278.5)),
    "Cl": (
        (23.81, 39.80, 53.24, 67.68, 97.03, 114.2, 348.3, 400.9, 456.7),
        (23.9, 36.7, 50.6, 65.6, 96.0, 114.7, 345.8, 400.5, 457.9),
    ),
}
"""Ionization energies of the ions from charge 1 on: NIST Atomic Spectra Database, and minus the
outermost orbital energy in an independent Hartree-Fock-Slater program."""


def number(symbol: str) -> int:
    return ELEMENTS[symbol].number


def total_barn(symbol: str, photon: float) -> float:
    atom = compute_configuration(number(symbol), ground_occupation(number(symbol)), photon)
    return float(atom.cross_section.sum()) * BOHR2_BARN


def stobbe(charge: int, photon: float) -> float:
    """1s photoionization of a one-electron ion, bohr^2 (Stobbe, Ann. Phys. 399, 661 (1930))."""
    edge = charge**2 / 2.0
    nu = np.sqrt(edge / (photon - edge))
    fall = np.exp(-4.0 * nu * np.arctan(1.0 / nu)) / (1.0 - np.exp(-2.0 * np.pi * nu))
    scale = 2.0**9 * np.pi**2 / 3.0 * FINE_STRUCTURE / charge**2
    return float(scale * (edge / photon) ** 4 * fall)


@pytest.mark.parametrize("charge", [1, 2, 6, 17])
def test_one_electron_has_the_energies_of_hydrogen(charge: int) -> None:
    orbitals = solve_orbitals(charge, (1, 0, 0, 0, 0))
    levels = -(charge**2) / 2.0 / np.array([1, 4, 4, 9, 9])
    # The third shell of hydrogen reaches the end of the grid, 50 bohr.
    inner = slice(None) if charge > 1 else slice(0, 3)
    assert orbitals.energy[inner] == pytest.approx(levels[inner], rel=1e-6)
    assert orbitals.energy[0] == pytest.approx(-(charge**2) / 2.0, rel=1e-9)


@pytest.mark.parametrize("charge", [1, 2, 6, 17])
@pytest.mark.parametrize("excess", [1.03, 1.5, 4.0, 30.0])
def test_photoionization_of_one_electron_is_the_formula_of_stobbe(
    charge: int, excess: float
) -> None:
    photon = excess * charge**2 / 2.0
    one = compute_configuration(charge, (1, 0, 0, 0, 0), photon)
    assert one.cross_section[0] == pytest.approx(stobbe(charge, photon), rel=2e-4)
    assert not one.cross_section[1:].any()


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_multipole_potential_is_the_integral(order: int) -> None:
    grid = radial_grid()
    values = grid.potential_function(grid.r**4 * np.exp(-1.5 * grid.r), order)
    for index in (10, 25, 40, 60):
        r = grid.r[index]
        inner = quad(lambda s: s ** (4 + order) * np.exp(-1.5 * s), 0, r, epsabs=1e-13)[0]
        outer = quad(lambda s: s ** (3 - order) * np.exp(-1.5 * s), r, RADIUS, epsabs=1e-13)[0]
        assert values[index] == pytest.approx(inner / r**order + outer * r ** (order + 1), rel=1e-8)


def test_orbitals_are_orthonormal_and_interpolate() -> None:
    orbitals = solve_orbitals(17, ground_occupation(17))
    grid = orbitals.grid
    for some in ([0, 1, 3], [2, 4]):
        overlap = (orbitals.u[some] * grid.weight) @ orbitals.u[some].T
        assert overlap == pytest.approx(np.eye(len(some)), abs=1e-10)
    atom = on_mesh(orbitals, wave_mesh(17, PHOTON))
    assert (atom.u**2) @ atom.step == pytest.approx(np.ones(5), abs=1e-6)
    far = atom.mesh.r > 20.0
    mesh = atom.mesh
    potential = (atom.curvature - mesh.bend) / (2.0 * mesh.square)
    assert potential[far] * mesh.r[far] == pytest.approx(-1.0, rel=1e-9)


@pytest.mark.parametrize("where", BINDING_EV, ids=" ".join)
def test_binding_energies_of_neutral_atoms(where: tuple[str, str]) -> None:
    symbol, shell = where
    energy = solve_orbitals(number(symbol), ground_occupation(number(symbol))).energy
    found = -energy[NAMES.index(shell)] * HARTREE_EV
    assert found == pytest.approx(BINDING_EV[where], rel=3e-4, abs=0.06)


@pytest.mark.parametrize("symbol", EDGES_EV)
def test_k_edges_are_near_those_measured(symbol: str) -> None:
    energy = solve_orbitals(number(symbol), ground_occupation(number(symbol))).energy[0]
    assert -energy * HARTREE_EV == pytest.approx(EDGES_EV[symbol], rel=0.025)


@pytest.mark.parametrize("symbol", IONIZATION_EV)
def test_ionization_energies_of_ions(symbol: str) -> None:
    measured, program = IONIZATION_EV[symbol]
    occupation = list(ground_occupation(number(symbol)))
    found = []
    for _ in range(len(measured) + 1):
        outer = max(index for index, count in enumerate(occupation) if count)
        energy = solve_orbitals(number(symbol), tuple(occupation)).energy[outer]
        found.append(-energy * HARTREE_EV)
        occupation[outer] -= 1
    assert found[1:] == pytest.approx(program, abs=0.06)
    # Slater exchange binds the singly and doubly charged ions up to 12 per cent too weakly.
    assert found[1:] == pytest.approx(measured, rel=0.125)


@pytest.mark.parametrize("symbol", IONIZATION_EV)
def test_ionization_energies_from_differences_of_average_energies(symbol: str) -> None:
    measured, _ = IONIZATION_EV[symbol]
    occupation = list(ground_occupation(number(symbol)))
    energies = []
    for _ in range(len(measured) + 2):
        energies.append(average_energy(solve_orbitals(number(symbol), tuple(occupation))))
        occupation[max((i for i, count in enumerate(occupation) if count), default=0)] -= 1
    found = np.diff(energies) * HARTREE_EV
    assert found[1:] == pytest.approx(measured, rel=0.10)


@pytest.mark.parametrize(
    ("symbol", "limit"), [("He", -2.86168), ("Be", -14.57302), ("Ne", -128.5471), ("Ar", -526.8175)]
)
def test_average_energies_of_closed_shells_are_just_above_hartree_fock(
    symbol: str, limit: float
) -> None:
    """Hartree-Fock energies: Froese Fischer, The Hartree-Fock Method for Atoms (1977)."""
    orbitals = solve_orbitals(number(symbol), ground_occupation(number(symbol)))
    found = average_energy(orbitals)
    assert 0.0 < found - limit < 0.13
    assert found == pytest.approx(limit, rel=3e-3)


@pytest.mark.parametrize("charge", [1, 6, 17])
def test_average_energy_of_one_electron_is_its_orbital_energy(charge: int) -> None:
    orbitals = solve_orbitals(charge, (1, 0, 0, 0, 0))
    assert average_energy(orbitals) == pytest.approx(-(charge**2) / 2.0, rel=1e-9)
    assert average_energy(solve_orbitals(charge, (0, 0, 0, 0, 0))) == 0.0


@pytest.mark.parametrize("symbol", ELAM_2KEV)
def test_cross_sections_at_2_kev_are_those_of_elam(symbol: str) -> None:
    assert total_barn(symbol, PHOTON) == pytest.approx(ELAM_2KEV[symbol], rel=0.01)


@pytest.mark.parametrize("symbol", ELAM)
def test_cross_sections_at_other_energies_are_near_those_of_elam(symbol: str) -> None:
    found = [total_barn(symbol, photon / HARTREE_EV) for photon in ELAM_AT_EV]
    # Below 1 keV the table of Elam is up to 8 per cent off the calculations that it joins above.
    assert found[0] == pytest.approx(ELAM[symbol][0], rel=0.10)
    assert found[1:] == pytest.approx(ELAM[symbol][1:], rel=0.01)


@pytest.mark.parametrize(
    ("symbol", "subshells"),
    [("C", (5729.5, 280.4)), ("Ne", (39185.0, 1889.0, 490.0)), ("Cl", (0.0, 12052.0, 12115.0))],
)
def test_cross_sections_of_subshells(symbol: str, subshells: tuple[float, ...]) -> None:
    atom = compute_configuration(number(symbol), ground_occupation(number(symbol)), PHOTON)
    found = atom.cross_section[: len(subshells)] * BOHR2_BARN
    assert found == pytest.approx(subshells, rel=5e-3)


@pytest.mark.parametrize("symbol", ["C", "Cl"])
def test_a_finer_mesh_changes_nothing(symbol: str) -> None:
    orbitals = solve_orbitals(number(symbol), ground_occupation(number(symbol)))
    coarse, fine = (
        cross_sections(
            orbitals, on_mesh(orbitals, wave_mesh(number(symbol), PHOTON, refine=refine)), PHOTON
        ).sum()
        for refine in (1, 2)
    )
    assert coarse == pytest.approx(fine, rel=1e-5)


@pytest.mark.parametrize("symbol", ["O", "Si", "Ar"])
def test_more_points_change_nothing_that_matters(symbol: str) -> None:
    occupation = ground_occupation(number(symbol))
    usual = solve_orbitals(number(symbol), occupation)
    better = solve_orbitals(number(symbol), occupation, grid=radial_grid(120))
    held = np.array(occupation) > 0
    assert usual.energy[held] == pytest.approx(better.energy[held], abs=0.02 / HARTREE_EV)


def test_silicon_loses_its_k_edge_at_2_kev_when_seven_times_charged() -> None:
    edges = [
        -solve_orbitals(14, occupation).energy[0] * HARTREE_EV
        for occupation in ((2, 2, 6, 0, 0), (2, 2, 5, 0, 0), (2, 2, 4, 0, 0), (2, 2, 3, 0, 0))
    ]
    assert edges == pytest.approx([1883.0, 1935.0, 1992.0, 2054.0], abs=1.0)


@pytest.mark.parametrize("symbol", COVERED)
def test_every_ground_state_converges(symbol: str) -> None:
    occupation = ground_occupation(number(symbol))
    orbitals = solve_orbitals(number(symbol), occupation)
    held = orbitals.energy[np.array(occupation) > 0]
    assert (np.diff(held) > 0).all()
    assert held[-1] < 0
    assert orbitals.charge == 0


def test_occupations_are_read_and_written() -> None:
    chlorine = covered_element("Cl")
    for text in ("1s2.2s2.2p6.3s2.3p4", "1s1.2p3", "bare"):
        assert occupation_text(parse_occupation(text, chlorine)) == text
    assert parse_occupation("2p6 1s2", chlorine) == (2, 0, 6, 0, 0)
    assert [NAMES[i] for i in valence_subshells(1)] == ["1s"]
    assert [NAMES[i] for i in valence_subshells(6)] == ["2s", "2p"]
    assert [NAMES[i] for i in valence_subshells(16)] == ["3s", "3p"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1s3", "3 electrons in 1s"),
        ("1s2.1s1", "1s stands twice"),
        ("1s2.3d1", "no subshell 3d"),
        ("1s2,2s2", "cannot read"),
        ("1s", "cannot read"),
        ("", "cannot read"),
        ("1s2.2s2.2p4", "8 electrons for N, which has 7"),
    ],
)
def test_impossible_occupations(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_occupation(text, covered_element("N"))


@pytest.mark.parametrize("symbol", ["As", "Xx", "cl", ""])
def test_uncovered_elements_name_those_covered(symbol: str) -> None:
    with pytest.raises(UnknownIonError, match="The model covers: H, He, Li.*, Ar, Br, Kr, I, Xe"):
        covered_element(symbol)


@pytest.mark.slow
@pytest.mark.parametrize("symbol", ["C", "N", "O", "F", "Ne", "Si", "P", "S", "Cl"])
def test_cross_sections_converge_with_the_points_of_the_grid(symbol: str) -> None:
    occupation = ground_occupation(number(symbol))
    totals = []
    for points in (70, 140):
        orbitals = solve_orbitals(number(symbol), occupation, grid=radial_grid(points))
        mesh = wave_mesh(number(symbol), PHOTON, points=points)
        totals.append(cross_sections(orbitals, on_mesh(orbitals, mesh), PHOTON).sum())
    assert totals[0] == pytest.approx(totals[1], rel=5e-4)
