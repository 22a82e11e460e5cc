"""Ion notation: `H+`, `O2+`, `Cl11+`, and molecular fragments such as `H2O+` or `(CH3)2+`.

The same string is used in YAML, CSV, options and output. Reading rules:

* one element, then digits, then `+`: an atomic ion, the digits are its charge
  (`O2+` is doubly charged atomic oxygen; `O+` and `O1+` are the same ion);
* several elements: a molecular ion, the digits belong to the formula, and the number of plus
  signs is the charge (`H2O+`, `CH3++`);
* a formula in parentheses: the digits behind it are the charge (`(O2)+` is the singly charged
  oxygen molecule, `(CH3)2+` the methyl dication).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from molexa_core.base.elements import ELEMENTS, Element, element
from molexa_core.base.errors import UnknownIonError
from molexa_core.base.units import DALTON_ME

_ATOMIC: Final = re.compile(r"([A-Z][a-z]?)([0-9]{0,3})\+")
_BARE: Final = re.compile(r"((?:[A-Z][a-z]?[0-9]{0,3})+)(\++)")
_GROUPED: Final = re.compile(r"\(((?:[A-Z][a-z]?[0-9]{0,3})+)\)([0-9]{0,3})\+")
_PART: Final = re.compile(r"([A-Z][a-z]?)([0-9]{0,3})")


@dataclass(frozen=True)
class Ion:
    """A positive ion, atomic or molecular.

    Attributes:
        composition: element symbols with their counts, in the order written.
        charge: number of missing electrons, at least 1.
    """

    composition: tuple[tuple[str, int], ...]
    charge: int

    @property
    def is_atomic(self) -> bool:
        """Whether this is an ion of a single atom (only those can be reconstructed)."""
        return len(self.composition) == 1 and self.composition[0][1] == 1

    @property
    def element(self) -> Element:
        """The element of an atomic ion.

        Raises:
            UnknownIonError: the ion is a molecule.
        """
        if not self.is_atomic:
            raise UnknownIonError(
                f"{self} is a molecular ion", do="An atomic ion such as O+ is needed here."
            )
        return element(self.composition[0][0])

    @cached_property
    def mass(self) -> float:
        """Mass in electron masses: most abundant isotopes less the missing electrons."""
        atoms = sum(count * element(symbol).isotope_mass for symbol, count in self.composition)
        return atoms - self.charge

    @property
    def mass_over_charge_da(self) -> float:
        """Mass-to-charge ratio in dalton per elementary charge."""
        return self.mass / self.charge / DALTON_ME

    def __str__(self) -> str:
        formula = "".join(
            f"{symbol}{count if count > 1 else ''}" for symbol, count in self.composition
        )
        charge = str(self.charge) if self.charge > 1 else ""
        if self.is_atomic:
            return f"{formula}{charge}+"
        if len(self.composition) == 1 or self.charge > 1:
            return f"({formula}){charge}+"
        return f"{formula}+"


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
    stripped = text.strip()
    if (match := _ATOMIC.fullmatch(stripped)) or (match := _GROUPED.fullmatch(stripped)):
        composition = _composition(match[1])
        charge = int(match[2]) if match[2] else 1
    elif match := _BARE.fullmatch(stripped):
        composition = _composition(match[1])
        charge = len(match[2])
    else:
        neutral = "; a neutral atom reaches no detector" if stripped in ELEMENTS else ""
        raise UnknownIonError(
            f"{text!r} is not an ion{neutral}",
            do="Write the element, the charge and a plus, such as H+, O2+ or Cl11+.",
        )
    if any(count == 0 for _, count in composition):
        raise UnknownIonError(f"{text!r} has an element zero times", do="Leave it out.")
    electrons = sum(count * element(symbol).number for symbol, count in composition)
    if not 1 <= charge <= electrons:
        known = "H has one electron: write H+, or (H2)+ for the molecule."
        raise UnknownIonError(
            f"{text!r} has charge {charge}",
            do=f"It must be between 1 and {electrons}." if electrons > 1 else known,
        )
    return Ion(composition, charge)


def parse_ions(text: str) -> tuple[Ion, ...]:
    """The ions of a comma-separated list such as `O+,H+,H+`.

    Raises:
        UnknownIonError: the list is empty or one of its items is not an ion.
    """
    items = [item for item in text.split(",") if item.strip()]
    if not items:
        raise UnknownIonError("no ions given", do="Write them with commas, such as O+,H+,H+.")
    return tuple(parse_ion(item) for item in items)


def _composition(formula: str) -> tuple[tuple[str, int], ...]:
    return tuple((symbol, int(digits or 1)) for symbol, digits in _PART.findall(formula))
