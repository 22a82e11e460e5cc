"""Isotopes: masses against the standard atomic weights, and how they are written."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.errors import UnknownIonError, UsageError
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.matter.ions import ion_of_mass, parse_ion
from molexa_core.base.matter.isotopes import ISOTOPES, isotope_of_mass, nuclide, split_nuclides
from molexa_core.base.tables import Geometry
from molexa_core.base.units import DALTON_ME

ABUNDANCE = {
    "H": {1: 99.9855, 2: 0.0145},
    "He": {3: 0.0002, 4: 99.9998},
    "Li": {6: 4.85, 7: 95.15},
    "B": {10: 19.65, 11: 80.35},
    "C": {12: 98.94, 13: 1.06},
    "N": {14: 99.6337, 15: 0.3663},
    "O": {16: 99.757, 17: 0.038, 18: 0.205},
    "Ne": {20: 90.48, 21: 0.27, 22: 9.25},
    "Mg": {24: 78.965, 25: 10.011, 26: 11.025},
    "Si": {28: 92.2545, 29: 4.672, 30: 3.0735},
    "S": {32: 94.85, 33: 0.763, 34: 4.365, 36: 0.0158},
    "Cl": {35: 75.8, 37: 24.2},
    "Ar": {36: 0.3336, 38: 0.0629, 40: 99.6035},
    "Br": {79: 50.65, 81: 49.35},
    "Kr": {78: 0.355, 80: 2.286, 82: 11.593, 83: 11.5, 84: 56.987, 86: 17.279},
    "Xe": {
        124: 0.095,
        126: 0.089,
        128: 1.91,
        129: 26.401,
        130: 4.071,
        131: 21.232,
        132: 26.909,
        134: 10.436,
        136: 8.857,
    },
}
"""Shares in per cent (IUPAC, compositions of the elements); all others have one isotope."""


@pytest.mark.parametrize("symbol", ELEMENTS)
def test_masses_and_abundances_give_the_standard_atomic_weight(symbol: str) -> None:
    shares = ABUNDANCE.get(symbol, {next(iter(ISOTOPES[symbol])): 100.0})
    radioactive = {"H": {3}, "C": {14}}.get(symbol, set())
    assert set(shares) == set(ISOTOPES[symbol]) - radioactive
    mean = sum(ISOTOPES[symbol][n] * share for n, share in shares.items()) / sum(shares.values())
    # the abundances of Li differ by 0.4 % between samples
    off = 5e-3 if symbol == "Li" else 4e-4
    assert mean == pytest.approx(ELEMENTS[symbol].average_mass_da, rel=off)
    most = max(shares, key=lambda number: shares[number])
    assert ISOTOPES[symbol][most] == pytest.approx(ELEMENTS[symbol].isotope_mass_da, abs=2e-9)
    assert all(abs(mass - number) < 0.1 for number, mass in ISOTOPES[symbol].items())


@pytest.mark.parametrize(
    ("written", "printed", "charge", "mass_da"),
    [
        ("D+", "D+", 1, 2.01410177784),
        ("2H+", "D+", 1, 2.01410177784),
        ("T+", "T+", 1, 3.01604928132),
        ("13C+", "13C+", 1, 13.00335483534),
        ("[13C]2+", "13C2+", 2, 13.00335483534),
        ("18O2+", "18O2+", 2, 17.99915961214),
        ("(18O2)+", "(18O2)+", 1, 2 * 17.99915961214),
        ("37Cl+", "37Cl+", 1, 36.965902573),
        ("81Br3+", "81Br3+", 3, 80.9162882),
        ("(13CO)+", "13CO+", 1, 13.00335483534 + 15.99491461926),
        ("C[18O]+", "C[18O]+", 1, 12.0 + 17.99915961214),
        ("(C[18O]2)2+", "(C[18O]2)2+", 2, 12.0 + 2 * 17.99915961214),
        ("(D2O)+", "D2O+", 1, 2 * 2.01410177784 + 15.99491461926),
        ("HDO+", "HDO+", 1, 1.0078250319 + 2.01410177784 + 15.99491461926),
        ("CD3OH+", "CD3OH+", 1, 12 + 3 * 2.01410177784 + 15.99491461926 + 1.0078250319),
        ("C10H16O+", "C10H16O+", 1, 120 + 16 * 1.0078250319 + 15.99491461926),
        ("Cl+@35.45", "Cl+@35.45", 1, 35.45),
        ("C6H5+@78.05", "C6H5+@78.05", 1, 78.05),
    ],
)
def test_ions_with_isotopes(written: str, printed: str, charge: int, mass_da: float) -> None:
    ion = parse_ion(written)
    assert (str(ion), ion.charge) == (printed, charge)
    assert parse_ion(printed) == ion
    assert ion.mass == pytest.approx(mass_da * DALTON_ME - charge, rel=1e-12)
    assert ion.states_isotopes == (written != "C10H16O+")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("15C+", "no isotope 15 of C is known here. Known are 12C, 13C, 14C"),
        ("D2+", r"D has one electron: write D\+, or \(D2\)\+"),
        ("C18O+", r"Write C\[18O\] for the isotope"),
        ("Cl+@99", "a mass of 99 u"),
        ("Cl2+@17.5", "not mass over charge"),
        ("Cl+@", "has no mass behind"),
        ("Cl+@1e9", "has no mass behind"),
        ("[C]+", "is not an ion"),
    ],
)
def test_ions_that_cannot_be(written: str, message: str) -> None:
    with pytest.raises(UnknownIonError, match=message):
        parse_ion(written)


def test_average_masses_are_for_isotopes_that_are_not_stated() -> None:
    assert str(parse_ion("Cl2+").with_masses("average")) == "Cl2+@35.45"
    assert str(parse_ion("37Cl+").with_masses("average")) == "37Cl+"
    assert str(parse_ion("Cl+@36").with_masses("average")) == "Cl+@36"
    assert parse_ion("Cl+").with_masses("isotope") is parse_ion("Cl+")
    mixed = parse_ion("CD3+").with_masses("average")
    assert mixed.neutral_mass / DALTON_ME == pytest.approx(12.011 + 3 * 2.01410177784, rel=1e-8)
    with pytest.raises(UsageError, match="Choose isotope or average"):
        parse_ion("Cl+").with_masses("heavy")  # type: ignore[arg-type]


def test_an_isotope_by_its_mass() -> None:
    assert isotope_of_mass("Cl", 36.966) == 37
    assert isotope_of_mass("Cl", 35.45) == 0
    assert isotope_of_mass("H", 1.008) == 0
    assert isotope_of_mass("H", 1.00783) == 1
    assert isotope_of_mass("H", 2.014) == 2
    assert isotope_of_mass("Br", 79.904) == 0
    with pytest.raises(UnknownIonError, match="no isotope of Cl has the mass 36 u"):
        isotope_of_mass("Cl", 36.0)


def test_geometries_know_their_isotopes() -> None:
    symbols, numbers = split_nuclides(("O", "D", "H"))
    geometry = Geometry(symbols, np.eye(3), isotopes=numbers)
    assert geometry.symbols == ("O", "H", "H")
    assert geometry.names == ("O", "D", "H")
    assert geometry.masses() / DALTON_ME == pytest.approx(
        [15.99491461926, 2.0141, 1.0078], abs=1e-4
    )
    average = geometry.masses("average") / DALTON_ME
    assert average == pytest.approx([15.999, 2.01410177784, 1.008])
    assert nuclide("T").element is ELEMENTS["H"]
    with pytest.raises(UnknownIonError, match="unknown element 'Q'"):
        nuclide("Q")


def test_a_mass_of_an_ion() -> None:
    assert str(ion_of_mass(parse_ion("O+"), 17.5)) == "O+@17.5"
