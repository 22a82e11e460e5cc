"""Ion notation: what each spelling means, and that it survives a round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.matter.ions import Ion, parse_ion, parse_ions
from molexa_core.base.units import DALTON_ME


@st.composite
def atomic_ions(draw: st.DrawFn) -> Ion:
    symbol = draw(st.sampled_from(sorted(ELEMENTS)))
    return Ion(((symbol, 1),), draw(st.integers(1, ELEMENTS[symbol].number)))


@st.composite
def molecular_ions(draw: st.DrawFn) -> Ion:
    symbols = draw(st.lists(st.sampled_from(sorted(ELEMENTS)), min_size=1, max_size=4, unique=True))
    composition = tuple((symbol, draw(st.integers(1, 12))) for symbol in symbols)
    if len(composition) == 1:
        composition = ((symbols[0], draw(st.integers(2, 12))),)
    electrons = sum(count * ELEMENTS[symbol].number for symbol, count in composition)
    return Ion(composition, draw(st.integers(1, min(electrons, 30))))


@given(st.one_of(atomic_ions(), molecular_ions()))
def test_what_is_printed_is_read_back(ion: Ion) -> None:
    assert parse_ion(str(ion)) == ion


@pytest.mark.parametrize(
    ("text", "composition", "charge"),
    [
        ("H+", (("H", 1),), 1),
        ("O2+", (("O", 1),), 2),
        ("(O2)+", (("O", 2),), 1),
        ("(O2)2+", (("O", 2),), 2),
        ("(O)2+", (("O", 1),), 2),
        ("Cl11+", (("Cl", 1),), 11),
        ("H2O+", (("H", 2), ("O", 1)), 1),
        ("O++", (("O", 1),), 2),
        ("CH3++", (("C", 1), ("H", 3)), 2),
        ("(CH3)2+", (("C", 1), ("H", 3)), 2),
        (" Xe54+ ", (("Xe", 1),), 54),
    ],
)
def test_reading_rules(text: str, composition: tuple[tuple[str, int], ...], charge: int) -> None:
    ion = parse_ion(text)
    assert (ion.composition, ion.charge) == (composition, charge)


def test_oxygen_dication_is_not_the_oxygen_molecule() -> None:
    atom, molecule = parse_ion("O2+"), parse_ion("(O2)+")
    assert atom.is_atomic
    assert not molecule.is_atomic
    assert molecule.mass / atom.mass == pytest.approx(2, rel=1e-4)
    # so their mass-to-charge ratios differ by a factor of four
    ratio = molecule.mass_over_charge_da / atom.mass_over_charge_da
    assert ratio == pytest.approx(4, rel=1e-3)


def test_normal_form() -> None:
    assert [str(parse_ion(text)) for text in ("O1+", "(O2)1+", "H2O+", "CH3++")] == [
        "O+",
        "(O2)+",
        "H2O+",
        "(CH3)2+",
    ]


def test_mass_lacks_the_missing_electrons() -> None:
    proton = parse_ion("H+")
    assert proton.mass == pytest.approx(1836.152673, rel=1e-7)
    assert parse_ion("Ar1+").mass - parse_ion("Ar18+").mass == pytest.approx(17.0)
    assert parse_ion("H2O+").mass / DALTON_ME == pytest.approx(18.0106 - 5.4858e-4, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an ion"),
        ("O", "not an ion; a neutral atom reaches no detector"),
        ("O-", "not an ion"),
        ("o+", "not an ion"),
        ("O0+", "charge 0"),
        ("H2+", r"H has one electron: write H\+, or \(H2\)\+ for the molecule"),
        ("C7+", "must be between 1 and 6"),
        ("Fe3+", "unknown element 'Fe'"),
        ("C+ + O+", "not an ion"),
    ],
)
def test_bad_notation_is_named(text: str, message: str) -> None:
    with pytest.raises(UnknownIonError, match=message):
        parse_ion(text)


def test_zero_atoms_are_not_an_ion() -> None:
    with pytest.raises(UnknownIonError, match="'H0O\\+' has an element zero times"):
        parse_ion("H0O+")


@pytest.mark.parametrize("text", ["O" + "9" * 5000 + "+", "O\u0662+", "(" * 1000 + "O"])
def test_hostile_notation_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(UnknownIonError, match="not an ion"):
        parse_ion(text)


@given(st.text(alphabet="CHOlr()+0129 ,-", max_size=12))
def test_any_text_is_an_ion_or_a_clear_error(text: str) -> None:
    try:
        ion = parse_ion(text)
    except UnknownIonError as error:
        assert error.do
    else:
        assert parse_ion(str(ion)) == ion


def test_list_of_ions() -> None:
    assert [str(ion) for ion in parse_ions("O+, H+,H+")] == ["O+", "H+", "H+"]
    with pytest.raises(UnknownIonError, match="no ions given"):
        parse_ions(" , ")


def test_the_element_of_a_molecule_is_refused() -> None:
    assert parse_ion("Br7+").element.number == 35
    with pytest.raises(UnknownIonError, match="molecular ion"):
        _ = parse_ion("H2O+").element


def test_a_number_that_could_be_an_isotope_is_written_so_that_it_is_none() -> None:
    ion = Ion((("Al", 10), ("B", 1)), 1)
    assert str(ion) == "Al10[B]+"
    assert parse_ion("Al10[B]+") == ion
    assert parse_ion("Al[10B]+") == Ion((("Al", 1), ("10B", 1)), 1)
    with pytest.raises(UnknownIonError, match=r"Write Al\[10B\] for the isotope, Al10\[B\] for"):
        parse_ion("Al10B+")
