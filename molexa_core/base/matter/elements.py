"""Elements and their masses.

Two masses exist for each element, and they are not interchangeable:

* `isotope_mass_da`, the most abundant isotope. A reaction microscope separates isotopes by time
  of flight, so detection, momenta, coincidences and every simulation in molexa use this one.
* `average_mass_da`, the standard atomic weight. Published Coulomb-explosion data sets use it;
  it is used only where a comparison with such data asks for it by name.

Isotope masses: AME 2020 atomic mass evaluation. Average masses: IUPAC 2021 (abridged).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from molexa_core.base.errors import UnknownIonError, listing, near_matches
from molexa_core.base.units import DALTON_ME


@dataclass(frozen=True, slots=True)
class Element:
    """One element.

    Attributes:
        symbol: chemical symbol.
        number: atomic number.
        name: English name.
        isotope_mass_da: mass of the neutral atom of the most abundant isotope, in dalton.
        average_mass_da: standard atomic weight, in dalton.
        covalent_radius_angstrom: single-bond covalent radius (Pyykko and Atsumi,
            Chem. Eur. J. 15, 186 (2009)), in angstrom.
    """

    symbol: str
    number: int
    name: str
    isotope_mass_da: float
    average_mass_da: float
    covalent_radius_angstrom: float

    @property
    def isotope_mass(self) -> float:
        """Mass of the neutral atom of the most abundant isotope, in electron masses."""
        return self.isotope_mass_da * DALTON_ME

    @property
    def average_mass(self) -> float:
        """Standard atomic weight in electron masses."""
        return self.average_mass_da * DALTON_ME


_TABLE: Final = (
    Element("H", 1, "hydrogen", 1.00782503190, 1.008, 0.32),
    Element("He", 2, "helium", 4.00260325413, 4.002602, 0.46),
    Element("Li", 3, "lithium", 7.01600343426, 6.94, 1.33),
    Element("Be", 4, "beryllium", 9.0121831, 9.0121831, 1.02),
    Element("B", 5, "boron", 11.009305167, 10.81, 0.85),
    Element("C", 6, "carbon", 12.0, 12.011, 0.75),
    Element("N", 7, "nitrogen", 14.00307400425, 14.007, 0.71),
    Element("O", 8, "oxygen", 15.99491461926, 15.999, 0.63),
    Element("F", 9, "fluorine", 18.99840316207, 18.998, 0.64),
    Element("Ne", 10, "neon", 19.9924401753, 20.180, 0.67),
    Element("Na", 11, "sodium", 22.9897692820, 22.990, 1.55),
    Element("Mg", 12, "magnesium", 23.985041689, 24.305, 1.39),
    Element("Al", 13, "aluminium", 26.981538408, 26.982, 1.26),
    Element("Si", 14, "silicon", 27.97692653442, 28.085, 1.16),
    Element("P", 15, "phosphorus", 30.97376199768, 30.974, 1.11),
    Element("S", 16, "sulfur", 31.97207117354, 32.06, 1.03),
    Element("Cl", 17, "chlorine", 34.968852694, 35.45, 0.99),
    Element("Ar", 18, "argon", 39.96238312204, 39.95, 0.96),
    Element("Br", 35, "bromine", 78.9183376, 79.904, 1.14),
    Element("Kr", 36, "krypton", 83.911497727, 83.798, 1.17),
    Element("I", 53, "iodine", 126.904472, 126.90, 1.33),
    Element("Xe", 54, "xenon", 131.90415508, 131.29, 1.31),
)

ELEMENTS: Final[dict[str, Element]] = {element.symbol: element for element in _TABLE}
"""All known elements by symbol."""

BY_NUMBER: Final[dict[int, Element]] = {element.number: element for element in _TABLE}
"""All known elements by atomic number."""


def element(symbol: str) -> Element:
    """The element with this symbol.

    Raises:
        UnknownIonError: the symbol is not in the table; names the near matches.

    Example:
        >>> element("Cl").number
        17
    """
    try:
        return ELEMENTS[symbol]
    except KeyError:
        raise UnknownIonError(f"unknown element {symbol!r}", do=known_elements(symbol)) from None


def known_elements(symbol: str) -> str:
    """What to do about an unknown element: those like it, and all that are known.

    Example:
        >>> known_elements("cl").split(" Known")[0]
        'Did you mean Cl, Al?'
    """
    near = near_matches(symbol, ELEMENTS)
    hint = f"Did you mean {listing(near)}? " if near else ""
    return f"{hint}Known are {listing(ELEMENTS, limit=len(ELEMENTS))}."


def sum_formula(symbols: Sequence[str]) -> str:
    """Sum formula in the Hill order: C, H, then the others by alphabet.

    Example:
        >>> sum_formula(("O", "H", "H"))
        'H2O'
    """
    order = sorted(set(symbols))
    if "C" in order:
        order = [s for s in ("C", "H") if s in order] + [s for s in order if s not in ("C", "H")]
    counts = [(symbol, list(symbols).count(symbol)) for symbol in order]
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in counts)
