"""Isotopes and their masses.

A nuclide is written as its mass number and element, `13C`, `37Cl`; `D` and `T` are `2H` and `3H`. A
bare element, `Cl`, means its most abundant isotope wherever a mass is needed, and its standard
atomic weight where that is asked for by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from molexa_core.base.errors import UnknownIonError, UsageError, listing
from molexa_core.base.matter.elements import Element, element
from molexa_core.base.units import DALTON_ME

Masses = Literal["isotope", "average"]
"""Masses of atoms whose isotope is not stated: most abundant isotope, or standard atomic weight."""
ISOTOPES: Final[dict[str, dict[int, float]]] = {
    "H": {1: 1.00782503190, 2: 2.01410177784, 3: 3.01604928132},
    "He": {3: 3.01602932197, 4: 4.00260325413},
    "Li": {6: 6.01512288742, 7: 7.01600343426},
    "Be": {9: 9.0121831},
    "B": {10: 10.012936862, 11: 11.009305167},
    "C": {12: 12.0, 13: 13.00335483534, 14: 14.00324198800},
    "N": {14: 14.00307400425, 15: 15.00010889827},
    "O": {16: 15.99491461926, 17: 16.99913175595, 18: 17.99915961214},
    "F": {19: 18.99840316207},
    "Ne": {20: 19.9924401753, 21: 20.99384669, 22: 21.99138511},
    "Na": {23: 22.9897692820},
    "Mg": {24: 23.985041689, 25: 24.98583697, 26: 25.98259297},
    "Al": {27: 26.981538408},
    "Si": {28: 27.97692653442, 29: 28.97649466434, 30: 29.973770137},
    "P": {31: 30.97376199768},
    "S": {32: 31.97207117354, 33: 32.97145890862, 34: 33.967867011, 36: 35.967080692},
    "Cl": {35: 34.968852694, 37: 36.965902573},
    "Ar": {36: 35.967545106, 38: 37.962732102, 40: 39.96238312204},
    "Br": {79: 78.9183376, 81: 80.9162882},
    "Kr": {
        78: 77.92036634,
        80: 79.91637794,
        82: 81.91348115,
        83: 82.914126516,
        84: 83.911497727,
        86: 85.910610625,
    },
    "I": {127: 126.904472},
    "Xe": {
        124: 123.9058852,
        126: 125.904297422,
        128: 127.9035307534,
        129: 128.9047808574,
        130: 129.903509346,
        131: 130.90508413,
        132: 131.90415508,
        134: 133.9053930,
        136: 135.907214474,
    },
}
"""Mass of the neutral atom in dalton by element and mass number: all stable isotopes, T and 14C.

AME 2020 (M. Wang et al., Chin. Phys. C 45, 030003 (2021)).
"""
_SHORT: Final = {"D": ("H", 2), "T": ("H", 3)}
_NAMES: Final = {place: short for short, place in _SHORT.items()}
_NUCLIDE: Final = re.compile(r"([0-9]{1,3})([A-Z][a-z]?)")
NEAR_DA: Final = 0.02
"""A mass this near to that of an isotope is taken for it."""
_NEAR_WEIGHT_DA: Final = 0.008
"""A mass this near to the standard atomic weight names no isotope."""


@dataclass(frozen=True, slots=True)
class Nuclide:
    """An atom by its name: an element, and its isotope where that is stated.

    Attributes:
        element: the element.
        number: mass number, 0 where it is not stated.
        mass_da: mass of the neutral atom in dalton; of the most abundant isotope where not stated.
    """

    element: Element
    number: int
    mass_da: float

    @property
    def mass(self) -> float:
        """Mass of the neutral atom in electron masses."""
        return self.mass_da * DALTON_ME

    @property
    def average_mass_da(self) -> float:
        """Standard atomic weight in dalton; the mass of the isotope where that is stated."""
        return self.mass_da if self.number else self.element.average_mass_da

    def mass_as(self, masses: Masses) -> float:
        """Mass of the neutral atom in electron masses, by the rule for isotopes not stated.

        Raises:
            UsageError: an unknown rule.
        """
        if masses not in {"isotope", "average"}:
            raise UsageError(f"unknown masses {masses!r}", do="Choose isotope or average.")
        return self.mass if masses == "isotope" else self.average_mass_da * DALTON_ME

    def may_be(self, other: Nuclide) -> bool:
        """Whether two names may denote the same atom (a bare element fits all its isotopes).

        Example:
            >>> nuclide("H").may_be(nuclide("D")), nuclide("D").may_be(nuclide("H"))
            (True, False)
        """
        same = self.element == other.element
        return same and (not self.number or self.mass_da == other.mass_da)

    def __str__(self) -> str:
        return nuclide_name(self.element.symbol, self.number)


def nuclide_name(symbol: str, number: int) -> str:
    """The name of an isotope; the bare element for mass number 0.

    Example:
        >>> [nuclide_name("C", 13), nuclide_name("H", 2), nuclide_name("O", 0)]
        ['13C', 'D', 'O']
    """
    if not number:
        return symbol
    return _NAMES.get((symbol, number), f"{number}{symbol}")


@lru_cache(maxsize=1024)
def nuclide(text: str) -> Nuclide:
    """The atom that a string names: `C`, `13C`, `D`, `2H`.

    Raises:
        UnknownIonError: no such element or isotope; lists those that are known.

    Example:
        >>> nuclide("37Cl").mass_da
        36.965902573
        >>> str(nuclide("2H"))
        'D'
    """
    match = _NUCLIDE.fullmatch(text)
    symbol, number = _SHORT.get(text, (text, 0)) if match is None else (match[2], int(match[1]))
    chemical = element(symbol)
    if match is None and not number:
        return Nuclide(chemical, 0, chemical.isotope_mass_da)
    mass_da = ISOTOPES[symbol].get(number)
    if mass_da is None:
        names = [nuclide_name(symbol, listed) for listed in ISOTOPES[symbol]]
        raise UnknownIonError(
            f"no isotope {number} of {symbol} is known here", do=f"Known are {listing(names)}."
        )
    return Nuclide(chemical, number, mass_da)


def is_nuclide(text: str) -> bool:
    """Whether a string names an element or an isotope that is known.

    Example:
        >>> [is_nuclide(text) for text in ("D", "13C", "15C", "Q")]
        [True, True, False, False]
    """
    try:
        nuclide(text)
    except UnknownIonError:
        return False
    return True


def isotope_of_mass(symbol: str, mass_da: float) -> int:
    """The mass number of the isotope with this mass; 0 for the standard atomic weight.

    Raises:
        UnknownIonError: no isotope of the element has this mass; lists those that are known.

    Example:
        >>> isotope_of_mass("Cl", 36.966), isotope_of_mass("Cl", 35.45)
        (37, 0)
    """
    average_da = element(symbol).average_mass_da
    number, mass = min(ISOTOPES[symbol].items(), key=lambda item: abs(item[1] - mass_da))
    nearer_to_average = abs(mass_da - average_da) < abs(mass_da - element(symbol).isotope_mass_da)
    if nearer_to_average and abs(mass_da - average_da) <= _NEAR_WEIGHT_DA:
        return 0
    if abs(mass - mass_da) > NEAR_DA:
        names = [f"{nuclide_name(symbol, n)} ({m:.4f})" for n, m in ISOTOPES[symbol].items()]
        raise UnknownIonError(
            f"no isotope of {symbol} has the mass {mass_da:g} u",
            do=f"Known are {listing(names)}; {average_da:g} is its average.",
        )
    return number


def split_nuclides(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """Elements and mass numbers of atoms as written; None where no isotope is stated.

    Raises:
        UnknownIonError: see `nuclide`.

    Example:
        >>> split_nuclides(("O", "D", "H"))
        (('O', 'H', 'H'), (0, 2, 0))
    """
    atoms = [nuclide(name) for name in names]
    numbers = tuple(atom.number for atom in atoms)
    return tuple(atom.element.symbol for atom in atoms), numbers if any(numbers) else None
