"""Units of momenta stated in column names or comments of tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from molexa_core.base.errors import ColumnError
from molexa_core.base.fields import MOMENTUM, MOMENTUM_ERROR
from molexa_core.base.units import ATOMIC_MOMENTUM_SI, ATOMIC_VELOCITY_M_S, DALTON_ME, HARTREE_EV
from molexa_core.base.units import FINE_STRUCTURE as ALPHA


@dataclass(frozen=True)
class MomentumUnit:
    """A unit of momenta.

    Attributes:
        text: its name.
        value: its size in a.u.
    """

    text: str
    value: float


ATOMIC: Final = MomentumUnit("a.u.", 1.0)
KNOWN: Final = (
    "a.u., kg m/s, g cm/s, u m/s, u km/s, u mm/us, eV/c, keV/c, MeV/c, each also with a number "
    "before it (1e-24 kg m/s)"
)
_DALTON_KG: Final = DALTON_ME * ATOMIC_MOMENTUM_SI / ATOMIC_VELOCITY_M_S
_MASSES: Final = {"kg": 1.0, "g": 1e-3} | dict.fromkeys(
    ("amu", "daltons", "dalton", "da", "u"), _DALTON_KG
)
"""Kilograms."""
_LENGTHS: Final = {"km": 1e3, "m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9}
_TIMES: Final = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}
_ENERGIES: Final = {"ev": ("eV/c", 1.0), "kev": ("keV/c", 1e3), "mev": ("MeV/c", 1e6)}
"""Over the speed of light, which is 1 / alpha in a.u.; nobody has momenta of milli-eV/c."""
_SI: Final = MomentumUnit("kg m/s", 1.0 / ATOMIC_MOMENTUM_SI)
_PLAIN_WORDS: Final = {
    **dict.fromkeys(
        ("a.u.", "a.u", "au", "atomic units", "atomic unit", "hbar/a0", "me*v0"), ATOMIC
    ),
    **dict.fromkeys(("si", "ns", "n s", "kgms", "kg ms"), _SI),
    "cgs": MomentumUnit("g cm/s", 1e-5 / ATOMIC_MOMENTUM_SI),
}


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


_TIMES_SIGN: Final = r"[\s*._]*"
_MASS: Final = rf"(?P<mass{{n}}>{_any(_MASSES)})"
_SPEED: Final = (
    rf"(?P<length{{n}}>{_any(_LENGTHS)})(?:\s*(?:/|per)\s*(?P<time{{n}}>{_any(_TIMES)})|"
    rf"{_TIMES_SIGN}(?P<inverse{{n}}>{_any(_TIMES)})\s*(?:\^|\*\*)?\s*[({{{{]?-1[)}}}}]?)"
)
_PRODUCT: Final = (
    f"{_MASS}{_TIMES_SIGN}{_SPEED}".format(n=1) + "|" + rf"{_SPEED}{_TIMES_SIGN}{_MASS}".format(n=2)
)
_UNIT: Final = rf"(?:{_PRODUCT}|(?P<energy>[km]?ev)\s*(?:/\s*c|c\s*\^?\s*-1))"
_NUMBER: Final = (
    r"(?:(?P<plain>\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*[x*]?\s*)??"
    r"(?:10\s*(?:\^|\*\*)\s*[({]?(?P<power>[+-]?\d+)[)}]?\s*[x*]?\s*)?"
)
_WHOLE: Final = re.compile(_NUMBER + _UNIT)
_IN_COMMENT: Final = re.compile(
    r"(?:(?:\bin\s+|[(\[]\s*|\bunits?\s*[:=]?\s*)" + _NUMBER + r"|(?<![\w/]))" + _UNIT + r"(?!\w)"
)
_QUANTITY: Final = "|".join((*MOMENTUM_ERROR, *MOMENTUM))
_NAMED: Final = re.compile(
    rf"({_QUANTITY})(?:\s*[(\[]\s*(.*?)\s*[)\]]|\s*/\s*(.+)|_(si|au|a\.u\.|kgms|kg_m_s|kev_c))",
    re.IGNORECASE,
)
_BEHIND_A_NAME: Final = {"kgms": "kg m/s", "kg_m_s": "kg m/s", "kev_c": "kev/c"}
_SI_WORDS: Final = re.compile(r"\bsi[- ]units?\b|\bin si\b")
_ATOMIC_WORDS: Final = re.compile(r"\ba\.u\.|\batomic units?\b|\bin au\b|[(\[]au[)\]]")
_SPEAKS: Final = re.compile(r"\bunits?\b|\bmoment(?:a|um) (?:are |is )?in\b", re.IGNORECASE)
_RAISED: Final = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_RAISED_NUMBER: Final = re.compile(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def split_unit(name: str, where: str) -> tuple[str, MomentumUnit | None]:
    """The name of a column and the unit in it, None where it has none.

    Raises:
        ColumnError: an unknown unit.

    Example:
        >>> split_unit("px (a.u.)", "line 1"), split_unit("pz_err", "line 1")
        (('px', MomentumUnit(text='a.u.', value=1.0)), ('pz_err', None))
    """
    match = _NAMED.fullmatch(name)
    if match is None:
        return name, None
    word = next(part for part in match.groups()[1:] if part is not None)
    unit = _unit_of(word)
    if unit is None:
        raise ColumnError(
            f"unknown unit {word[:30]!r} in column {name[:40]!r}",
            where=where,
            do=f"Known are {KNOWN}.",
        )
    return match[1].lower(), unit


def unit_in_comments(comments: Iterable[str]) -> list[MomentumUnit]:
    """Units of momenta that comment lines name; more than one if they do not agree.

    A number before a unit belongs to it behind `in`, `unit` or a bracket; elsewhere it is a value.

    Example:
        >>> [unit.text for unit in unit_in_comments(["# momenta in 1e-24 kg m/s"])]
        ['1e-24 kg m/s']
    """
    units: dict[float, MomentumUnit] = {}
    for line in comments:
        text = _written(line)
        for match in _IN_COMMENT.finditer(text):
            unit = _matched(match)
            units.setdefault(unit.value, unit)
        if _SI_WORDS.search(text):
            units.setdefault(_SI.value, _SI)
        if _ATOMIC_WORDS.search(text):
            units.setdefault(ATOMIC.value, ATOMIC)
    return list(units.values())


def speaks_of_units(comments: Iterable[str]) -> str | None:
    """The first comment that speaks of units of momenta, if there is one."""
    return next((line for line in comments if _SPEAKS.search(line)), None)


def _unit_of(word: str) -> MomentumUnit | None:
    text = _written(_BEHIND_A_NAME.get(word.lower(), word)).strip()
    plain = _PLAIN_WORDS.get(text, _PLAIN_WORDS.get(re.sub(r"\s+", "", text)))
    if plain is not None:
        return plain
    match = _WHOLE.fullmatch(text)
    return None if match is None else _matched(match)


def _matched(match: re.Match[str]) -> MomentumUnit:
    """The unit of a match, with the number before it."""
    found = match.groupdict()
    number = float(found["plain"] or 1.0) * 10.0 ** int(found["power"] or 0)
    size = "" if number == 1.0 else f"{number:g} "
    if found["energy"] is not None:
        name, value = _ENERGIES[found["energy"]]
        return MomentumUnit(f"{size}{name}", number * value * ALPHA / HARTREE_EV)
    way = "1" if found["mass1"] is not None else "2"
    mass, length = found[f"mass{way}"], found[f"length{way}"]
    time = found[f"time{way}"] or found[f"inverse{way}"]
    speed = _LENGTHS[length] / _TIMES[time]
    shown = mass if mass in {"kg", "g"} else "u"
    return MomentumUnit(
        f"{size}{shown} {length}/{'s' if time == 'sec' else time}",
        number * _MASSES[mass] * speed / ATOMIC_MOMENTUM_SI,
    )


def _written(text: str) -> str:
    """Lower case, with one sign for each of multiplication, minus, micro and powers."""
    text = _RAISED_NUMBER.sub(lambda match: "^" + match[0].translate(_RAISED), text)
    text = re.sub(r"[\u2212\u2013]", "-", text.lower()).replace("µ", "u").replace("μ", "u")
    return re.sub(r"[\u00b7\u22c5×]", "*", text)
