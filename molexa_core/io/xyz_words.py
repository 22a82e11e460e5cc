"""Units of length in comments and atom labels of XYZ files, as other programs write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from molexa_core.base.errors import InputFileError, UnknownIonError
from molexa_core.base.matter.elements import BY_NUMBER, known_elements
from molexa_core.base.matter.isotopes import Nuclide, is_nuclide, nuclide
from molexa_core.base.units import BOHR_ANGSTROM

ANGSTROM: Final = "Å"
UNITS: Final = {ANGSTROM: 1.0, "bohr": BOHR_ANGSTROM, "nm": 10.0, "pm": 0.01}
"""Units of length in angstrom that are converted."""
_NAMES: Final = {
    ANGSTROM: (
        "å",
        "a",
        "ang",
        "angs",
        "angstrom",
        "angstroms",
        "angstroem",
        "angstromd0",
        "angstroemd0",
    ),
    "bohr": ("bohr", "bohrs", "bohrd0", "a.u.", "a.u", "au", "a0", "atomic", "atomic units"),
    "nm": ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    "pm": ("pm", "picometer", "picometers", "picometre", "picometres"),
}
_UNIT_OF: Final = {name: unit for unit, names in _NAMES.items() for name in names}
_ALONE: Final = r"bohrs?|a\.u\.?|angstroe?ms?|[åÅ\u212b]"
_WITH_A_SIGN: Final = r"au|ang|angs|a0|nm|pm|atomic units|nanomet(?:er|re)s?|picomet(?:er|re)s?"
_STATED: Final = re.compile(
    rf"(?<![\w.])(?:{_ALONE})(?![\w.])|"
    rf"(?:(?<=[(\[/=:])|(?<=[/=:] )|(?<=\bin ))(?:{_WITH_A_SIGN})(?![\w.])|(?<=[(\[])[aA](?=[)\]])",
    re.IGNORECASE,
)
"""Words that state a unit: some wherever they stand, others (gold, angles) only behind a sign."""
_QUANTITY: Final = re.compile(r"[-+]?[0-9.]+(?:[eEdD][-+]?[0-9]+)?\s*[*/]?\s*$")
_PER: Final = re.compile(
    r"(?:ev|hartrees?|ha|eh|h|ry|rydbergs?|e|mol)\s*(?:/|\bper)\s*$", re.IGNORECASE
)
_KEY: Final = re.compile(
    r"(?:(?:length|len|pos|position|positions|coord|coords|coordinate|coordinates|distance|xyz|"
    r"geometry)_?)?units?(?:_?(?:length|of_length|pos|positions|coords|coordinates))?",
    re.IGNORECASE,
)
_SPELLED: Final = re.compile(
    r"\bunits?\b(?:\s+of\s+lengths?)?\s*(?:[:=]|\bis\b|\bare\b)\s*([^\s,;()\[\]]+)"
)
_NO_LENGTHS: Final = frozenset(
    ("ev", "hartree", "hartrees", "ha", "ry", "rydberg", "kcal/mol", "kj/mol", "fs", "debye")
)
_OTHER: Final = re.compile(
    r"energ|hartree|force|gradient|dipole|charge|momentum|momenta|velocit|time|field|\be\s*[=(]",
    re.IGNORECASE,
)
_BOTH: Final = frozenset(("a.u.", "a.u", "au", "atomic", "atomic units"))
"""Words that may state the unit of an energy as well."""
_LENGTHS: Final = re.compile(r"coord|position|geometr|length|distance|xyz", re.IGNORECASE)
_GHOST: Final = re.compile(
    r"@.*|gh(?:ost)?[\s(_-].*|gh|ghost|x{1,2}[\d_-]*|bq.*|.*-bq|q\d*|du\d*|[a-z]{1,2}:|0(?:\.0*)?",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(r"([A-Za-z]{1,2})(?:[_-]?[0-9]{1,5}[A-Za-z']{0,2}|_[A-Za-z]\w{0,8})")
_ISO: Final = re.compile(r"([A-Za-z]{1,2})[0-9]{0,5}\((.*)\)")
_ISO_KEY: Final = re.compile(r"iso\s*=\s*([0-9]{1,3})", re.IGNORECASE)
_MASS_NUMBER: Final = re.compile(r"([0-9]{1,3})[-]?([A-Za-z]{1,2})")


def unit_of_length(text: str, pairs: Mapping[str, str], count_line: str, where: str) -> str:
    """The unit that a structure states for its coordinates; angstrom where it states none.

    Args:
        text: the comment without its `key=value` pairs.
        pairs: those pairs.
        count_line: the text behind the number of atoms.
        where: for the message.

    Raises:
        InputFileError: an unknown unit, two different ones, or words that may mean the energy.
    """
    stated: dict[str, str] = {}
    for word in _asked(text, pairs, count_line):
        plain = word.strip("'\"()[],;:").lower()
        unit = _UNIT_OF.get(plain.replace("oem", "om"))
        if plain in _NO_LENGTHS:
            continue
        if unit is None:
            raise InputFileError(
                f"unknown unit {word[:30]!r} of the coordinates",
                where=where,
                do="Known are angstrom, bohr (a.u.), nm and pm.",
            )
        stated.setdefault(unit, word.strip("'\"()[],;:"))
    for match in _STATED.finditer(text):
        word = match[0].lower()
        if _QUANTITY.search(text[: match.start()]):
            continue  # 800 nm is a wavelength
        if _PER.search(text[: match.start()]):
            continue  # hartree/bohr is the unit of a gradient
        unit = ANGSTROM if word == "\u212b" else _UNIT_OF[word.replace("oem", "om")]
        if word in _BOTH and _OTHER.search(text) and not _LENGTHS.search(text):
            if stated:
                continue
            raise InputFileError(
                f"the comment line says {match[0]}, of the coordinates or of something else",
                where=where,
                do="Write units=angstrom or units=bohr into the comment line.",
            )
        stated.setdefault(unit, match[0])
    if len(stated) > 1:
        raise InputFileError(
            f"the comment line states two units of length, {' and '.join(stated.values())}",
            where=where,
            do="Leave the one of the coordinates.",
        )
    return next(iter(stated), ANGSTROM)


def _asked(text: str, pairs: Mapping[str, str], count_line: str) -> list[str]:
    """Words at places where a unit of length is certainly stated."""
    found = [value for key, value in pairs.items() if _KEY.fullmatch(key)]
    found += [match[1] for match in _SPELLED.finditer(text.lower())]
    if count_line:
        found.append(count_line)
    return found


def atom_of(text: str, where: str) -> Nuclide:
    """The atom that the first column names: `O`, `O1`, `C_3`, `8`, `D`, `13C`, `H(iso=2)`.

    Raises:
        InputFileError: no atom, an atom without a nucleus, or an unknown element or isotope.
    """
    if text.isascii() and text.isdigit() and int(text[:4]) in BY_NUMBER:
        return nuclide(BY_NUMBER[int(text[:4])].symbol)
    if _GHOST.fullmatch(text):
        raise InputFileError(
            f"{text[:20]!r} is a ghost atom or a dummy, which has no nucleus",
            where=where,
            do="Take the line out and lower the number of atoms.",
        )
    name = _name(text)
    try:
        return nuclide(name)
    except UnknownIonError as error:
        known = error.do if name[:1].isdigit() else known_elements(name)
        what = error.what if name[:1].isdigit() else f"unknown element {text[:20]!r}"
        raise InputFileError(what, where=where, do=known) from error


def _name(text: str) -> str:
    """Element or isotope behind a label."""
    if match := _MASS_NUMBER.fullmatch(text):
        return f"{match[1]}{match[2].capitalize()}"
    if match := _ISO.fullmatch(text):
        number = _ISO_KEY.search(match[2])
        symbol = match[1].capitalize()
        return symbol if number is None else f"{int(number[1])}{symbol}"
    if (match := _LABEL.fullmatch(text)) and is_nuclide(match[1].capitalize()):
        return match[1].capitalize()
    return text.capitalize()
