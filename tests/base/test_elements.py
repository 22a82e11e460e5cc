"""The element table: complete, and its two masses plausible for one another."""

from __future__ import annotations

import pytest

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.matter.elements import BY_NUMBER, ELEMENTS, element
from molexa_core.base.units import DALTON_ME

PERIODIC = ["H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne"]
PERIODIC += ["Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar"]
MASS_NUMBER = {"H": 1, "C": 12, "N": 14, "O": 16, "S": 32, "Cl": 35, "Ar": 40, "Br": 79, "Xe": 132}
MONOISOTOPIC = ["Be", "F", "Na", "Al", "P", "I"]
"""Elements of one stable isotope: both masses must agree."""


def test_hydrogen_to_argon_and_four_heavy_ones() -> None:
    assert list(ELEMENTS) == [*PERIODIC, "Br", "Kr", "I", "Xe"]
    assert [ELEMENTS[symbol].number for symbol in PERIODIC] == list(range(1, 19))
    assert BY_NUMBER[35].symbol == "Br"
    assert BY_NUMBER[53].name == "iodine"
    assert BY_NUMBER[54].symbol == "Xe"


@pytest.mark.parametrize("symbol", ELEMENTS)
def test_isotope_mass_is_near_a_whole_number(symbol: str) -> None:
    # the mass defect of a nucleus stays within a tenth of a dalton
    mass = ELEMENTS[symbol].isotope_mass_da
    assert abs(mass - round(mass)) < 0.1


@pytest.mark.parametrize("symbol", MONOISOTOPIC)
def test_one_stable_isotope_means_one_mass(symbol: str) -> None:
    assert ELEMENTS[symbol].average_mass_da == pytest.approx(
        ELEMENTS[symbol].isotope_mass_da, rel=5e-5
    )


@pytest.mark.parametrize(("symbol", "number"), MASS_NUMBER.items())
def test_the_isotope_is_the_most_abundant_one(symbol: str, number: int) -> None:
    assert round(ELEMENTS[symbol].isotope_mass_da) == number


def test_average_mass_differs_where_isotopes_mix() -> None:
    assert element("Cl").average_mass_da - element("Cl").isotope_mass_da > 0.4
    assert element("Br").average_mass_da - element("Br").isotope_mass_da > 0.9
    assert element("C").average_mass > element("C").isotope_mass == 12 * DALTON_ME


def test_bond_lengths_from_covalent_radii() -> None:
    def bond(first: str, second: str) -> float:
        return element(first).covalent_radius_angstrom + element(second).covalent_radius_angstrom

    assert bond("O", "H") == pytest.approx(0.96, abs=0.03)
    assert bond("C", "C") == pytest.approx(1.53, abs=0.05)
    assert bond("C", "F") == pytest.approx(1.35, abs=0.05)


def test_unknown_element_names_near_matches() -> None:
    with pytest.raises(
        UnknownIonError, match=r"unknown element 'cl'\. Did you mean Cl.* Known are H, He"
    ):
        element("cl")
    with pytest.raises(UnknownIonError, match=r"element 'Q'\. Known are H, He"):
        element("Q")
