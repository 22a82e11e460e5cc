"""Column names of a text table, from a line or comment above the data, with units."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from molexa_core.base.errors import ColumnError
from molexa_core.io.tables.column_names import apart, shot_options
from molexa_core.io.tables.column_units import unit_of
from molexa_core.io.tables.text_numbers import is_number
from molexa_core.io.text_lines import column_of, split

_GLUED: Final = re.compile(r"\s+(?=[\[({])|\s*/\s*|\s+in\s+")
"""Blanks between a name and its unit."""
_CHANNEL: Final = re.compile(r"(?:.*[._ ])?(?:channel|chan|ch|input)", re.IGNORECASE)
_TOLD: Final = 2
"""So many names that mean something make a line one of names."""

Meaning = Literal["names", "units", "short", "other"]


@dataclass(frozen=True)
class Written:
    """The lines above the data of a text table, and the first lines of data.

    Attributes:
        path: the file.
        texts: lines that are neither data nor comments, with their numbers.
        comments: comments.
        sample: the first lines of data.
        fields: their values.
        separator: separator of values; None for blanks.
        decimal: the decimal sign.
    """

    path: Path
    texts: Sequence[tuple[int, str]]
    comments: Sequence[str]
    sample: Sequence[str]
    fields: Sequence[Sequence[str]]
    separator: str | None
    decimal: str


def find_names(
    above: Written, width: int, known: Collection[str]
) -> tuple[list[str] | None, dict[int, str]]:
    """The names of the columns, if there are any, and units by column number.

    Args:
        above: the lines above the data.
        width: values in each line.
        known: column names given in the setup.

    Raises:
        ColumnError: there are more or fewer names than values.
    """
    units: dict[int, str] = {}
    short: tuple[int, list[str]] | None = None
    for place, (number, text) in enumerate(reversed(above.texts)):
        last = place + 1 == len(above.texts)
        meaning, names = _meaning(text, above.separator, width, last=last)
        if meaning == "names":
            return names, units
        if meaning == "units":
            units |= _by_place(names)
            continue
        if meaning == "short" and (last or tells(names, known)):
            short = number, names
            break
        meant = split(text, above.separator)
        if tells(meant, known):
            raise _unequal(above.path, number, len(meant), width)
    if short is not None:
        return _with_row_names(above, width, short), {}
    for comment in reversed(above.comments):
        fitting = [words for words in _splits(comment, above.separator) if len(words) == width]
        names = max(fitting, key=lambda words: _told(words, known), default=[])
        if names and tells(names, known):
            return names, units
        if names and _are_units(names):
            units |= _by_place(names)
    return None, units


def _meaning(
    text: str, separator: str | None, width: int, *, last: bool
) -> tuple[Meaning, list[str]]:
    """The meaning of a line above the data, by the number of its words."""
    ways = _splits(text, separator)
    ways = [words[:-1] if len(words) == width + 1 and not words[-1] else words for words in ways]
    whole = [names for names in ways if len(names) == width]
    if whole:
        best = max(whole, key=lambda names: _told(names, ()))
        return ("units" if _are_units(best) and not last else "names"), best
    short = next((names for names in ways if len(names) == width - 1), None)
    return ("other", []) if short is None else ("short", short)


def _splits(text: str, separator: str | None) -> list[list[str]]:
    """The possible ways to split a line of names, the likeliest first."""
    found = [split(text, separator)]
    if ":" in text or "=" in text:
        behind = re.split(r"[:=]", text, maxsplit=1)[1]
        found.append(split(behind, separator))
    if separator is not None:
        return found + [
            split(text, other) for other in (",", ";", "\t", None) if other != separator
        ]
    glued = _GLUED.sub(lambda match: "\0" + match[0].strip() + "\0", text)
    found.append([name.replace("\0", " ").strip() for name in split(glued, None)])
    found.append([name for name in re.split(r"\s{2,}|\t", text.strip()) if name])
    found += [split(text, other) for other in (",", ";", "|") if other in text]
    return found


def tells(names: Sequence[str], known: Collection[str]) -> bool:
    """Whether names are names of hits or edges, or those given in the setup."""
    return _told(names, known) >= _TOLD


def _told(names: Sequence[str], known: Collection[str]) -> int:
    """The number of names that are recognised."""
    return sum(
        name in known
        or apart(name) is not None
        or bool(shot_options([name]))
        or _CHANNEL.fullmatch(name) is not None
        for name in names
    )


def _are_units(fields: Sequence[str]) -> bool:
    units = [unit_of(text) for text in fields]
    good = [unit for unit in units if unit and (unit.dimension or unit.is_step)]
    bare = sum(unit is None for unit in units)
    quantities = {part.quantity for part in map(apart, fields) if part}
    return bool(good) and len(good) + bare >= len(fields) - 1 and not {"x", "y"} <= quantities


def _by_place(fields: Sequence[str]) -> dict[int, str]:
    return {place: text for place, text in enumerate(fields) if unit_of(text) is not None}


def _with_row_names(above: Written, width: int, short: tuple[int, list[str]]) -> list[str]:
    """Names if there is one fewer than values: row names of R, or a separator at the line end."""
    number, names = short
    last = column_of(above.fields, width - 1)
    if not any(last):
        return [*names, ""]
    first = column_of(above.fields, 0)
    quoted = all(line.lstrip().startswith('"') for line in above.sample)
    counted = (
        first == [str(int(first[0]) + i) for i in range(len(first))] if first[0].isdigit() else 0
    )
    words = not any(is_number(text, above.decimal) for text in first)
    if quoted or words or (counted and len(first) > 1):
        return ["", *names]
    raise _unequal(above.path, number, len(names), width)


def _unequal(path: Path, number: int, names: int, values: int) -> ColumnError:
    return ColumnError(
        f"line {number} has {names} names, but the lines below it have {values} values",
        where=path,
        do="Give every column a name.",
    )
