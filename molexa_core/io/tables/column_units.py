"""Units of columns as stated in column names, attributes, or a line below the names."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from molexa_core.base.errors import InputFileError

Dimension = Literal["length", "time"]

_WORDS: Final[dict[Dimension, dict[float, str]]] = {
    "length": {
        1e3: "m meter meters metre metres",
        10.0: "cm centimeter centimeters centimetre centimetres",
        1.0: "mm millimeter millimeters millimetre millimetres",
        1e-3: "um micron microns micrometer micrometers micrometre micrometres",
        1e-6: "nm nanometer nanometers nanometre nanometres",
        25.4: 'inch inches in "',
    },
    "time": {
        1e9: "s sec second seconds",
        1e6: "ms msec millisecond milliseconds",
        1e3: "us usec microsecond microseconds",
        1.0: "ns nsec nanosecond nanoseconds",
        1e-3: "ps psec picosecond picoseconds",
        1e-6: "fs femtosecond femtoseconds",
    },
}
_FACTORS: Final[dict[Dimension, dict[str, float]]] = {
    dimension: {word: factor for factor, words in table.items() for word in words.split()}
    for dimension, table in _WORDS.items()
}
_BASE: Final[dict[Dimension, str]] = {"length": "mm", "time": "ns"}
_STEP_WORDS: Final = (
    "bin bins tick ticks channel channels ch lsb count counts pixel pixels px pix step steps "
    "sample samples clock clocks"
)
_STEPS: Final = frozenset(_STEP_WORDS.split())
"""Units whose size must be given in the setup."""
_NOTHING: Final = frozenset({"", "-", "--", "1", "none", "n/a", "na", "null", "#", "[]", "()"})
"""Texts that mean that no unit is stated."""
_ATTRIBUTES: Final = ("units", "unit", "uom", "physical_unit", "einheit")
_NUMBER: Final = re.compile(
    r"(?P<number>10\^[+-]?\d+|\d+(?:\.\d*)?(?:e[+-]?\d+)?)\s*[*x·×]?\s*(?P<unit>\D.*)"
)
_BRACKETS: Final = re.compile(r"[\[({<](.*)[\])}>]")
_TITLE: Final = re.compile(r"\s[\[(]([^\[\]()]+)[\])]")
_LONGEST: Final = 200
_SAME: Final = 1e-9


@dataclass(frozen=True)
class Unit:
    """A unit that a file states.

    Attributes:
        text: the unit as written.
        dimension: length or time; None if unknown, or for steps of a detector.
        factor: its size in mm or ns; None if unknown.
    """

    text: str
    dimension: Dimension | None
    factor: float | None

    @property
    def is_step(self) -> bool:
        """Whether it is a step of an instrument, whose size must be given elsewhere."""
        words = set(re.split(r"[\W_]+", _plain(self.text)))
        return bool(words & _STEPS) and words <= _STEPS | {"tdc", "adc"}


def unit_of(text: str | None) -> Unit | None:
    """The unit that a text states; None if it states none.

    Example:
        >>> unit_of("[µm]")
        Unit(text='µm', dimension='length', factor=0.001)
    """
    if text is None:
        return None
    written = _inside(text)
    plain = _plain(written)
    if plain in _NOTHING:
        return None
    size = 1.0
    match = _NUMBER.fullmatch(plain)
    if match is not None:
        number = match["number"]
        power = number.startswith("10^")
        size = 10.0 ** int(number[3:]) if power else float(number)
        plain = match["unit"].strip()
    for dimension, factors in _FACTORS.items():
        if plain in factors and size > 0:
            return Unit(written, dimension, size * factors[plain])
    return Unit(written, None, None)


def unit_in_title(title: str) -> str | None:
    """The unit in a title such as `position [mm]`.

    A bracket without a blank before it is the length of an array (`x[n]`), not a unit.
    """
    match = _TITLE.search(title)
    unit = None if match is None else unit_of(match[1])
    return unit.text if unit is not None and unit.dimension is not None else None


def known(dimension: Dimension) -> str:
    """The units that are understood, for messages."""
    return ", ".join(words.split()[0] for words in _WORDS[dimension].values())


def _inside(text: str) -> str:
    """The text without the brackets around it."""
    text = text.strip()[:_LONGEST]
    match = _BRACKETS.fullmatch(text)
    return text if match is None else match[1].strip()


def _plain(text: str) -> str:
    return text.strip().lower().replace("µ", "u").replace("μ", "u").rstrip(".")


def stated(
    column: str,
    own: Mapping[str, Any],
    table: Mapping[str, Any] | None = None,
    also: Sequence[str] = (),
) -> str | None:
    """The unit that attributes state for a column, as written.

    Args:
        column: the name of the column, without its folder.
        own: attributes of the column.
        table: attributes of the table or group, such as `x_unit` or `units` with a map of names.
        also: other words for the column in these attributes, such as `length`.
    """
    mine = {str(key).strip().lower(): value for key, value in own.items()}
    for key in _ATTRIBUTES:
        text = _text(mine.get(key))
        if text:
            return text
    around = {str(key).strip().lower(): value for key, value in (table or {}).items()}
    if not around:
        return None
    name = column.lower()
    for key in _ATTRIBUTES:
        for word in (name, *also):
            for place in (f"{word}_{key}", f"{word}.{key}", f"{key}_{word}", f"{word} {key}"):
                text = _text(around.get(place))
                if text:
                    return text
        listed = _map(around.get(key))
        text = _text({str(of).lower(): unit for of, unit in listed.items()}.get(name))
        if text:
            return text
    return None


def _map(value: Any) -> Mapping[Any, Any]:
    """Units by name, where an attribute holds such a map or its JSON."""
    if isinstance(value, Mapping):
        return value
    text = _text(value)
    if text is None or not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str | None:
    """A string that was stored as text, as bytes or as an array with one of them."""
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "size", 1) == 1:
        value = item()
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
        value = value.rstrip("\0")
    return value.strip() if isinstance(value, str) and value.strip() else None


def settle(
    what: str,
    sources: Mapping[str, Unit | None],
    dimension: Dimension,
    given: float | None,
    *,
    setting: str,
    where: object,
) -> tuple[float, str | None]:
    """The size of a unit in mm or ns, from all statements of column name, file and setup.

    Args:
        what: the column, for messages.
        sources: units stated by column name and file, by the place of the statement.
        dimension: length or time.
        given: the size given in the setup.
        setting: the key of the setup that gives it.
        where: the file.

    Returns:
        The size, and the unit as written in the file (None if it states none).

    Raises:
        InputFileError: an unknown unit, one of another dimension, or two that differ.
    """
    base = _BASE[dimension]
    factor, text, source = given, None, f"`{setting}` of the setup"
    told = f"{given:g} {base}" if given is not None else ""
    for place, unit in sources.items():
        if unit is None:
            continue
        if unit.dimension is None:
            if given is None:
                steps = "steps of the detector, whose size the file does not tell"
                raise InputFileError(
                    f"{what} is in {unit.text!r} ({place}), "
                    + (steps if unit.is_step else "a unit that is not known"),
                    where=where,
                    do=f"Give the size of one in {base} as `{setting}` in `columns` of the setup"
                    + ("." if unit.is_step else f"; known are {known(dimension)}."),
                )
            text = text or unit.text
            continue
        if unit.dimension != dimension:
            raise InputFileError(
                f"{what} is in {unit.text!r} ({place}), which is no {dimension}",
                where=where,
                do="Name the right column in `columns` of the setup.",
            )
        known_both = factor is not None and unit.factor is not None
        if known_both and abs((unit.factor or 0.0) / (factor or 1.0) - 1) > _SAME:
            raise InputFileError(
                f"{what} is in {unit.text!r} ({place}), but {source} says {told}",
                where=where,
                do="Correct the one that is wrong.",
            )
        factor, text, source, told = unit.factor, unit.text, place, repr(unit.text)
    return 1.0 if factor is None else factor, text
