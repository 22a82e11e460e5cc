"""Units of momenta stated in column names or comments of tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from molexa_core.base.errors import ColumnError
from molexa_core.base.fields import MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.units import ATOMIC_MOMENTUM_SI, ATOMIC_VELOCITY_M_S, DALTON_ME, HARTREE_EV
from molexa_core.base.units import FINE_STRUCTURE as ALPHA

ATOMIC: Final = "a.u."
_EV_C: Final = ALPHA / HARTREE_EV
"""1 eV/c in a.u.: the speed of light is 1 / alpha."""
UNITS: Final = {
    ATOMIC: 1.0,
    "kg m/s": 1.0 / ATOMIC_MOMENTUM_SI,
    "g cm/s": 1e-5 / ATOMIC_MOMENTUM_SI,
    "u m/s": DALTON_ME / ATOMIC_VELOCITY_M_S,
    "u km/s": 1e3 * DALTON_ME / ATOMIC_VELOCITY_M_S,
    "eV/c": _EV_C,
    "keV/c": 1e3 * _EV_C,
    "MeV/c": 1e6 * _EV_C,
}
"""Value of each unit in a.u."""
_SPELLINGS: Final = {
    ATOMIC: ("a.u.", "a.u", "au", "atomicunits", "atomicunit", "hbar/a0", "me*v0"),
    "kg m/s": ("kgm/s", "kgms-1", "kgms", "si", "ns", "kgm/sec"),
    "g cm/s": ("gcm/s", "gcms-1", "cgs"),
    "u m/s": ("um/s", "ums-1", "amum/s", "amums-1", "dam/s"),
    "u km/s": ("ukm/s", "ukms-1", "amukm/s", "amukms-1", "dakm/s"),
    "eV/c": ("ev/c", "evc-1"),
    "keV/c": ("kev/c", "kevc-1"),
    "MeV/c": ("mev/c", "mevc-1"),
}
_UNIT_OF: Final = {spelled: unit for unit, names in _SPELLINGS.items() for spelled in names}
_QUANTITY: Final = "|".join((*MOMENTUM_ERROR, *MOMENTUM))
_NAMED: Final = re.compile(
    rf"({_QUANTITY})(?:\s*[(\[]\s*(.*?)\s*[)\]]|\s*/\s*(.+)|_(si|au|a\.u\.|kgms|kg_m_s|kev_c))",
    re.IGNORECASE,
)
_SI_WORDS: Final = re.compile(
    r"kg\s*[*\u00b7\u22c5.]?\s*m\s*(?:/\s*s|[*\u00b7\u22c5.]?\s*s\s*(?:\^|\*\*)?\s*[-\u2212\u207b][1\u00b9])|"
    r"\bSI[- ]units?\b|\bin SI\b"
)
_EV_WORDS: Final = re.compile(r"\b([kM]?eV)\s*/\s*c\b")
_ATOMIC_WORDS: Final = re.compile(
    r"\ba\.u\.|\batomic units?\b|\bin au\b|[(\[]au[)\]]", re.IGNORECASE
)


def unit_value(unit: str) -> float:
    """Value of a unit in a.u."""
    return UNITS[unit]


def split_unit(name: str, where: str) -> tuple[str, str | None]:
    """The name of a column and the unit in it, None where it has none.

    Raises:
        ColumnError: an unknown unit.

    Example:
        >>> split_unit("px (kg m/s)", "line 1"), split_unit("pz_err", "line 1")
        (('px', 'kg m/s'), ('pz_err', None))
    """
    match = _NAMED.fullmatch(name)
    if match is None:
        return name, None
    word = next(part for part in match.groups()[1:] if part is not None)
    unit = _UNIT_OF.get(_plain(word))
    if unit is None:
        raise ColumnError(
            f"unknown unit {word[:30]!r} in column {name[:40]!r}",
            where=where,
            do=f"Known are {', '.join(UNITS)}.",
        )
    return match[1].lower(), unit


def unit_in_comments(comments: Iterable[str]) -> set[str]:
    """Units of momenta that comment lines name; more than one if they do not agree.

    Example:
        >>> unit_in_comments(["# momenta in kg m/s"])
        {'kg m/s'}
    """
    units = set()
    for line in comments:
        if _SI_WORDS.search(line):
            units.add("kg m/s")
        if match := _EV_WORDS.search(line):
            units.add(f"{match[1]}/c")
        if _ATOMIC_WORDS.search(line):
            units.add(ATOMIC)
    return units


def _plain(word: str) -> str:
    """A unit without blanks, signs of multiplication and powers written in several ways."""
    word = re.sub(r"[\u2212\u207b]", "-", word.lower()).replace("\u00b9", "1")
    return re.sub(r"[\s*\u00b7\u22c5_^{}]", "", word)
