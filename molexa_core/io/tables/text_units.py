"""Units stated in comments of a text table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from molexa_core.io.tables.column_names import apart, dimension_of
from molexa_core.io.tables.column_units import unit_of

_TABLE: Final = re.compile(
    r"\bname\s*:\s*['\"]?([^,}'\"]+)['\"]?\s*,\s*unit\s*:\s*['\"]?([^,}'\"]+)"
)
"""A column as ECSV describes it."""
_PAIR: Final = re.compile(
    r"((?:[\w']+\s*(?:,|and|&|/)\s*)*[\w']+)\s*(?:\bin\b|\bare in\b|=|:|\(|\[)\s*"
    r"(\d*\.?\d*\s*[A-Za-zµμ]+)"
)
"""Names, or what they stand for, before a unit."""
_KINDS: Final = {
    "length": (
        "position",
        "positions",
        "length",
        "lengths",
        "coordinates",
        "distance",
        "distances",
    ),
    "time": ("times", "tofs", "time", "tof"),
}
_UNITS: Final = re.compile(r"\bunits?\b", re.IGNORECASE)


def units_in_comments(comments: Sequence[str], names: Sequence[str]) -> dict[int, str]:
    """Units by column number, from `x, y in mm`, `units: mm, ns`, or a table of columns."""
    units: dict[int, str] = {}
    parts = [apart(name) for name in names]
    for comment in comments:
        table = _TABLE.search(comment)
        if table is not None:
            units |= {i: table[2] for i, name in enumerate(names) if name == table[1].strip()}
            continue
        for match in _PAIR.finditer(comment):
            unit = unit_of(match[2])
            if unit is None or unit.dimension is None:
                continue
            words = {word.lower() for word in re.findall(r"[\w']+", match[1])}
            for place, (name, part) in enumerate(zip(names, parts, strict=True)):
                if part is None or part.quantity == "method":
                    continue
                dimension = dimension_of(part.quantity)
                meant = {name.lower(), part.quantity, *_KINDS[dimension]}
                if dimension == unit.dimension and words & meant:
                    units.setdefault(place, match[2].strip())
        if _UNITS.search(comment):
            _bare(comment, parts, units)
    return units


def speaks_of_units(comments: Sequence[str]) -> str | None:
    """The first comment with the word unit or units, if there is one."""
    return next((comment for comment in comments if _UNITS.search(comment)), None)


def _bare(comment: str, parts: Sequence[object], units: dict[int, str]) -> None:
    """`units: mm, ns`: a single unit of a dimension applies to all columns of this dimension."""
    told: dict[str, set[str]] = {}
    for word in re.findall(r"[A-Za-zµμ]+", _UNITS.sub(" ", comment)):
        unit = unit_of(word)
        if unit is not None and unit.dimension is not None and word.lower() != "in":
            told.setdefault(unit.dimension, set()).add(word)
    for place, part in enumerate(parts):
        quantity = getattr(part, "quantity", "method")
        if quantity == "method":
            continue
        words = told.get(dimension_of(quantity), set())
        if len(words) == 1:
            units.setdefault(place, next(iter(words)))
