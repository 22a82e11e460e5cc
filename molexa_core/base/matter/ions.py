"""Ion notation: `H+`, `O2+`, `Cl11+`, and molecular fragments such as `H2O+` or `(CH3)2+`.

The same string is used in YAML, CSV, options and output. Reading rules:

* one element, then digits, then `+`: an atomic ion, the digits are its charge
  (`O2+` is doubly charged atomic oxygen; `O+` and `O1+` are the same ion);
* several elements: a molecular ion, the digits belong to the formula, and the number of plus
  signs is the charge (`H2O+`, `CH3++`);
* a formula in parentheses: the digits behind it are the charge (`(O2)+` is the singly charged
  oxygen molecule, `(CH3)2+` the methyl dication);
* an isotope has its mass number in front of the ion or formula (`13C+`, `18O2+` with charge 2,
  `(13CO)+`), in square brackets elsewhere (`C[18O]+`); `D` and `T` are `2H` and `3H`;
* a mass given explicitly stands behind `@`, in u, for the neutral atom or molecule (`Cl+@35.45`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Final

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.matter.elements import ELEMENTS, Element
from molexa_core.base.matter.isotopes import (
    ISOTOPES,
    NEAR_DA,
    Masses,
    Nuclide,
    nuclide,
    nuclide_name,
)
from molexa_core.base.units import DALTON_ME

_ATOM: Final = r"(?:\[[0-9]{0,3}[A-Z][a-z]?\]|[A-Z][a-z]?)"
_FIRST: Final = r"(?:\[[0-9]{1,3}[A-Z][a-z]?\]|[A-Z][a-z]?)"
_FORMULA: Final = rf"[0-9]{{0,3}}{_FIRST}[0-9]{{0,3}}(?:{_ATOM}[0-9]{{0,3}})*"
_ATOMIC: Final = re.compile(r"([0-9]{0,3}[A-Z][a-z]?|\[[0-9]{1,3}[A-Z][a-z]?\])([0-9]{0,3})\+")
_BARE: Final = re.compile(rf"({_FORMULA})(\++)")
_GROUPED: Final = re.compile(rf"\(({_FORMULA})\)([0-9]{{0,3}})\+")
_PART: Final = re.compile(rf"({_ATOM})([0-9]{{0,3}})")
_LEADING: Final = re.compile(r"([0-9]{1,3})([A-Z][a-z]?)(.*)")
_MASS: Final = "@"
_AMBIGUOUS: Final = 10
"""From this number on, digits between two elements may be meant as the isotope of the second."""


@dataclass(frozen=True)
class Ion:
    """A positive ion, atomic or molecular.

    Attributes:
        composition: elements or isotopes (`C`, `13C`, `D`) with their counts, as written.
        charge: number of missing electrons, at least 1.
        mass_u: mass of the neutral atom or molecule in u, where it is not that of the composition.
    """

    composition: tuple[tuple[str, int], ...]
    charge: int
    mass_u: float | None = None

    @property
    def is_atomic(self) -> bool:
        """Whether this is an ion of a single atom (only those can be reconstructed)."""
        return len(self.composition) == 1 and self.composition[0][1] == 1

    @property
    def nuclide(self) -> Nuclide:
        """Element and isotope of an atomic ion.

        Raises:
            UnknownIonError: the ion is a molecule.
        """
        if not self.is_atomic:
            raise UnknownIonError(
                f"{self} is a molecular ion", do="An atomic ion such as O+ is needed here."
            )
        return nuclide(self.composition[0][0])

    @property
    def element(self) -> Element:
        """The element of an atomic ion.

        Raises:
            UnknownIonError: the ion is a molecule.
        """
        return self.nuclide.element

    @property
    def elements(self) -> tuple[tuple[Element, int], ...]:
        """The elements with their counts, in the order written."""
        return tuple((nuclide(name).element, count) for name, count in self.composition)

    @property
    def electrons(self) -> int:
        """Number of electrons of the neutral atom or molecule."""
        return sum(count * element.number for element, count in self.elements)

    @cached_property
    def neutral_mass(self) -> float:
        """Mass of the neutral atom or molecule in electron masses."""
        if self.mass_u is not None:
            return self.mass_u * DALTON_ME
        return sum(count * nuclide(name).mass for name, count in self.composition)

    @cached_property
    def mass(self) -> float:
        """Mass in electron masses: isotopes (most abundant ones) less the missing electrons."""
        return self.neutral_mass - self.charge

    @property
    def mass_over_charge_da(self) -> float:
        """Mass-to-charge ratio in dalton per elementary charge."""
        return self.mass / self.charge / DALTON_ME

    @property
    def states_isotopes(self) -> bool:
        """Whether the name states an isotope or a mass."""
        return self.mass_u is not None or any(nuclide(n).number for n, _ in self.composition)

    def mass_as(self, masses: Masses) -> float:
        """Mass in electron masses by a rule for isotopes that are not stated; see `Nuclide`.

        Raises:
            UsageError: an unknown rule.
        """
        neutral = sum(count * nuclide(name).mass_as(masses) for name, count in self.composition)
        return (neutral if self.mass_u is None else self.neutral_mass) - self.charge

    def with_masses(self, masses: Masses) -> Ion:
        """This ion with the masses of a rule for the isotopes that are not stated.

        Raises:
            UsageError: an unknown rule.

        Example:
            >>> str(parse_ion("Cl+").with_masses("average"))
            'Cl+@35.45'
        """
        parts = [(nuclide(name), count) for name, count in self.composition]
        mass = sum(count * atom.mass_as(masses) for atom, count in parts) / DALTON_ME
        if masses == "isotope" or self.mass_u is not None or all(atom.number for atom, _ in parts):
            return self
        return replace(self, mass_u=float(f"{mass:.9g}"))

    def __str__(self) -> str:
        formula = _formula(self.composition)
        charge = str(self.charge) if self.charge > 1 else ""
        own = "" if self.mass_u is None else f"{_MASS}{self.mass_u:.9g}"
        if self.is_atomic:
            return f"{formula}{charge}+{own}"
        if len(self.composition) == 1 or self.charge > 1:
            return f"({formula}){charge}+{own}"
        return f"{formula}+{own}"


@lru_cache(maxsize=1024)
def parse_ion(text: str) -> Ion:
    """The ion that a string names (rules at the top of this module).

    Raises:
        UnknownIonError: the string is not ion notation, names an unknown element, or has a
            charge of zero or above the number of electrons.

    Example:
        >>> parse_ion("Cl11+").charge
        11
        >>> str(parse_ion("O1+"))
        'O+'
    """
    stripped, has_mass, mass = text.strip().partition(_MASS)
    if (match := _ATOMIC.fullmatch(stripped)) or (match := _GROUPED.fullmatch(stripped)):
        composition = _composition(match[1], text)
        charge = int(match[2]) if match[2] else 1
    elif match := _BARE.fullmatch(stripped):
        composition = _composition(match[1], text)
        charge = len(match[2])
    else:
        neutral = "; a neutral atom reaches no detector" if stripped in ELEMENTS else ""
        raise UnknownIonError(
            f"{text!r} is not an ion{neutral}",
            do="Write the element, the charge and a plus, such as H+, O2+ or Cl11+.",
        )
    if any(count == 0 for _, count in composition):
        raise UnknownIonError(f"{text!r} has an element zero times", do="Leave it out.")
    ion = Ion(composition, charge)
    if not 1 <= charge <= ion.electrons:
        symbol = composition[0][0]
        only = f"{symbol} has one electron: write {symbol}+, or ({symbol}2)+ for the molecule."
        raise UnknownIonError(
            f"{text!r} has charge {charge}",
            do=f"It must be between 1 and {ion.electrons}." if ion.electrons > 1 else only,
        )
    return ion_of_mass(ion, _number(mass, text)) if has_mass else ion


def ion_of_mass(ion: Ion, mass_u: float) -> Ion:
    """The ion with an explicitly given mass.

    Args:
        ion: composition and charge.
        mass_u: mass of the neutral atom or molecule, in u.

    Raises:
        UnknownIonError: a mass that the composition cannot have.
    """
    usual = ion.neutral_mass / DALTON_ME
    has_hydrogen = any(nuclide(name).element.symbol == "H" for name, _ in ion.composition)
    if not 0.7 * usual <= mass_u <= (3.2 if has_hydrogen else 1.5) * usual:
        raise UnknownIonError(
            f"a mass of {mass_u:g} u for {ion}",
            do=f"It is near {usual:.4g} u; give that of the neutral, not mass over charge.",
        )
    return replace(ion, mass_u=float(f"{mass_u:.9g}"))


def parse_ions(text: str) -> tuple[Ion, ...]:
    """The ions of a comma-separated list such as `O+,H+,H+`.

    Raises:
        UnknownIonError: the list is empty or one of its items is not an ion.
    """
    items = [item for item in text.split(",") if item.strip()]
    if not items:
        raise UnknownIonError("no ions given", do="Write them with commas, such as O+,H+,H+.")
    return tuple(parse_ion(item) for item in items)


def ion_by_mass(ion: Ion, mass_u: float) -> Ion:
    """The ion of this composition with this mass: an isotope if one fits, else the mass itself.

    Args:
        ion: composition and charge.
        mass_u: mass of the neutral atom or molecule, in u.

    Raises:
        UnknownIonError: a mass that the composition cannot have.

    Example:
        >>> [str(ion_by_mass(parse_ion("Cl+"), mass)) for mass in (34.969, 36.966, 35.45)]
        ['Cl+', '37Cl+', 'Cl+@35.45']
    """
    if abs(mass_u - ion.neutral_mass / DALTON_ME) < NEAR_DA:
        return ion
    if ion.is_atomic:
        symbol = ion.element.symbol
        for number, mass in ISOTOPES[symbol].items():
            if abs(mass - mass_u) < NEAR_DA:
                return replace(ion, composition=((nuclide_name(symbol, number), 1),))
    return ion_of_mass(ion, mass_u)


def isotopes_of(ions: Sequence[Ion]) -> tuple[int, ...] | None:
    """Mass numbers of atomic ions, 0 where they are not stated; None where none is.

    Raises:
        UnknownIonError: a molecular ion.

    Example:
        >>> isotopes_of(parse_ions("O+,D+,H+"))
        (0, 2, 0)
    """
    numbers = tuple(ion.nuclide.number for ion in ions)
    return numbers if any(numbers) else None


def _composition(formula: str, text: str) -> tuple[tuple[str, int], ...]:
    """Isotopes and counts of a formula; an isotope in front belongs to the first element."""
    if match := _LEADING.fullmatch(formula):
        formula = f"[{match[1]}{match[2]}]{match[3]}"
    parts = _PART.findall(formula)
    for (before, digits), (after, _) in pairwise(parts):
        number = int(digits or 0)
        if _may_be_an_isotope(before.strip("[]"), number, after):
            raise UnknownIonError(
                f"{text!r} may mean {number} times {before}, or the isotope {number}{after}",
                do=f"Write {before}[{number}{after}] for the isotope, "
                f"{before}{number}[{after}] for the number.",
            )
    return tuple((str(nuclide(atom.strip("[]"))), int(digits or 1)) for atom, digits in parts)


def _may_be_an_isotope(before: str, number: int, after: str) -> bool:
    """Whether the number between two elements may be the mass number of the second one."""
    light = nuclide(before).element.symbol == "H"
    return number >= _AMBIGUOUS and not light and number in ISOTOPES.get(after, ())


def _formula(composition: Sequence[tuple[str, int]]) -> str:
    """A formula that is read back as it was: in brackets what could be misread."""
    text, before, number = "", "", 0
    for name, count in composition:
        isotope = name[0].isdigit() and before
        brackets = isotope or (before and _may_be_an_isotope(before, number, name))
        text += f"{f'[{name}]' if brackets else name}{count if count > 1 else ''}"
        before, number = name, count
    return text


def _number(mass: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{0,12})?", mass):
        raise UnknownIonError(
            f"{text!r} has no mass behind {_MASS}", do="Write it in u, such as Cl+@35.45."
        )
    return float(mass)
