"""Which columns of a table hold x, y and the time of the hits, told by their names and types.

A name is taken apart into what stands before the quantity (`Ion`, `r`, `hits_`), the quantity
(`x`, `tof`, ...), its unit (`_mm`, `_ns`) and the number of a slot. Columns that differ only in
the quantity belong together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from molexa_core.base.errors import ColumnError, InputFileError, listing
from molexa_core.base.fields import EVENT_ID, TAG_SHOT
from molexa_core.base.settings.columns import SLOT, Columns
from molexa_core.io.root_layouts import LMF2ROOT, PRESETS, SP8, is_tag, numbered_from
from molexa_core.io.table import Held, Kind, Table, require_columns

_QUANTITIES: Final = {
    "x": ("x", "xpos", "posx", "pos_x", "x_pos"),
    "y": ("y", "ypos", "posy", "pos_y", "y_pos"),
    "time": ("tof", "t", "time"),
    "method": ("method", "flag", "rekmeth", "m"),
}
_LENGTHS: Final = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1e3}
_TIMES: Final = {"ns": 1.0, "ps": 1e-3, "us": 1e3, "s": 1e9}
_UNIT: Final = re.compile(r"(?P<base>.+?)_(?P<unit>mm|um|cm|m|ns|ps|us|s)")
_SHOTS: Final = (TAG_SHOT, "shot_id", "event", EVENT_ID, "eventid", "evt", "pulse_index", "trigger")
_COUNTS: Final = ("n", "num", "nhits", "n_hits", "numhits", "count", "counts", "hit", "hits")
_IONS: Final = ("", "ion", "ions", "r", "recoil", "hit", "hits", "i", "fiionhits", "rec")
"""Prefixes that mean the ion detector where there are several."""


@dataclass(frozen=True)
class Choice:
    """A layout and why it was chosen.

    Attributes:
        name: name of the layout: that of a preset, `columns`, or `jagged`, `flat`, `rows`.
        columns: the layout.
        why: a sentence for the user.
    """

    name: str
    columns: Columns
    why: str


def choose(table: Table, given: Columns | None) -> Choice:
    """The layout of a table: the one given, a preset, or one told by the names of the columns.

    Raises:
        InputFileError: the names tell none, or several.
        ColumnError: columns are missing.
    """
    if given is not None:
        return Choice("columns", given, f"{table.label}: `columns` of the setup")
    for name in ("lmf2root", "sp8"):
        preset = numbered_from(PRESETS[name], table.kinds)
        if preset.slot(preset.x, 0) in table.kinds and preset.count in table.kinds:
            why = f"{table.label} has the columns of {name}"
            return Choice(name, preset.model_copy(update={"tree": None}), why)
    found = [
        *_lists(table.kinds),
        *_rows(table.kinds),
        *_slots(table.kinds),
    ]
    if not found:
        raise _none(table)
    best = [item for item in found if _prefix(item) in _IONS] or found
    kind = best[0].layout
    best = [item for item in best if item.layout == kind]
    if len(best) > 1:
        raise InputFileError(
            f"{table.label} has several columns that can be the hits: "
            f"{listing(f'{item.x}, {item.y}, {item.time}' for item in best)}",
            where=table.path,
            do="Say which in `columns` of the setup.",
        )
    chosen = best[0]
    meaning = {
        "jagged": "one list per shot",
        "rows": f"one row per hit, shots in {chosen.shot!r}",
        "flat": f"one column per slot, number of hits in {chosen.count!r}"
        if chosen.count
        else "one column per slot, empty where the time is 0 or not a number",
    }[chosen.layout]
    others = len(found) - 1
    more = f"; {others} other set(s) of columns left aside" if others else ""
    why = (
        f"{table.label}: x from {chosen.x!r}, y from {chosen.y!r}, time from {chosen.time!r} "
        f"by their names ({meaning}){more}"
    )
    return Choice(chosen.layout, chosen, why)


def preset(table: Table, name: str) -> Choice:
    """The preset of this name, with its slots counted as the file does."""
    columns = numbered_from(PRESETS[name], table.kinds)
    return Choice(name, columns, f"{table.label} is that of {_MAKERS[name]}")


_MAKERS: Final = {
    "lmf2root": "LMF2Root",
    "jagged": "molexa (lists)",
    "sp8": "sp8-analysis",
}


def shot_column(kinds: Mapping[str, Kind]) -> str | None:
    """The column whose name says that it holds the number of the shot, where rows are hits."""
    by_name = {name.rpartition("/")[2].lower(): name for name in reversed(_held(kinds, "number"))}
    return next((by_name[word] for word in _SHOTS if word in by_name), None)


def time_unit(name: str) -> float | None:
    """The unit in ns of a column whose name is that of a time (`t`, `time_ps`), None for others."""
    part = _apart(name)
    is_time = part is not None and part.quantity == "time" and part.prefix == "/"
    return part.factor if part is not None and is_time else None


def tags_of(table: Table, columns: Columns) -> tuple[str, ...]:
    """The columns with a value per shot that travels with the coincidences.

    Raises:
        ColumnError: one named in `columns` is missing.
    """
    require_columns(table, columns.tags)
    known = [name for name in table.kinds if is_tag(name.rpartition("/")[2])]
    numbers = [name for name in known if table.kinds[name].held == "number"]
    return tuple(dict.fromkeys([*numbers, *columns.tags]))


def _none(table: Table) -> ColumnError:
    return ColumnError(
        f"{table.label}: no columns whose names tell x, y and time of hits; it has: "
        f"{listing(sorted(table.kinds))}",
        where=table.path,
        do=f"Looked for those of LMF2Root ({LMF2ROOT.x} ...) and sp8-analysis ({SP8.x} ...), for "
        "lists or numbers named x, y, t and a `shot`. Name them in `columns` of the setup.",
    )


@dataclass(frozen=True)
class _Part:
    """A name of a column, taken apart."""

    prefix: str
    suffix: str
    quantity: str
    factor: float


def _apart(name: str) -> _Part | None:
    """What a name says, or None where it names no quantity of a hit."""
    folder, _, base = name.rpartition("/")
    lower = base.lower()
    unit = _UNIT.fullmatch(lower)
    factor = 1.0
    if unit is not None:
        lower = unit["base"]
        factor = _LENGTHS.get(unit["unit"], _TIMES.get(unit["unit"], 1.0))
    tail = ""
    if lower.endswith(SLOT):  # the slot behind the quantity: x{i}, x_{i}
        lower, tail = lower.removesuffix(SLOT).rstrip("_"), SLOT
    for quantity, words in _QUANTITIES.items():
        for word in words:
            if not lower.endswith(word):
                continue
            before = lower.removesuffix(word)
            clean = not before or before[-1] in "._}]" or len(word) > 1 or before in _IONS
            if clean and not (unit is not None and quantity == "method"):
                wanted = _TIMES if quantity == "time" else _LENGTHS
                if unit is not None and unit["unit"] not in wanted:
                    continue
                return _Part(f"{folder}/{before}", tail, quantity, factor)
    return None


def _sets(names: Iterable[str]) -> list[dict[str, tuple[str, float]]]:
    """Columns that belong together, by quantity, where x, y and time are all there."""
    groups: dict[tuple[str, str], dict[str, tuple[str, float]]] = {}
    for name in names:
        part = _apart(name)
        if part is not None:
            group = groups.setdefault((part.prefix, part.suffix), {})
            group.setdefault(part.quantity, (name, part.factor))
    whole = [group for group in groups.values() if {"x", "y", "time"} <= set(group)]
    return [group for group in whole if group["x"][1] == group["y"][1]]


def _held(kinds: Mapping[str, Kind], held: Held) -> list[str]:
    return [name for name, kind in kinds.items() if kind.held == held]


def _fields(group: Mapping[str, tuple[str, float]]) -> dict[str, str | float | None]:
    return {
        "x": group["x"][0],
        "y": group["y"][0],
        "time": group["time"][0],
        "method": group["method"][0] if "method" in group else None,
        "x_unit_mm": group["x"][1],
        "time_unit_ns": group["time"][1],
    }


def _lists(kinds: Mapping[str, Kind]) -> list[Columns]:
    return [
        Columns.model_validate({"layout": "jagged"} | _fields(group))
        for group in _sets(_held(kinds, "list"))
    ]


def _rows(kinds: Mapping[str, Kind]) -> list[Columns]:
    names = _held(kinds, "number")
    shot = shot_column(kinds)
    if shot is None:
        return []
    return [
        Columns.model_validate({"layout": "rows", "shot": shot} | _fields(group))
        for group in _sets(names)
    ]


def _slots(kinds: Mapping[str, Kind]) -> list[Columns]:
    """Sets of numbered columns: `r1x r1y r1tof`, `x_0 y_0 t_0`, `IonX1 IonY1 IonT1`."""
    numbers: dict[str, set[int]] = {}
    names = _held(kinds, "number")
    for name in names:
        match = re.fullmatch(r"(\D*)(\d{1,4})(\D*)", name)
        if match is not None:
            numbers.setdefault(f"{match[1]}{SLOT}{match[3]}", set()).add(int(match[2]))
    found = []
    for group in _sets(numbers):
        first = min(numbers[group["x"][0]])
        values = _fields(group) | {"layout": "flat", "first": first}
        values["count"] = _count(names, group["x"][0])
        if len(str(group["x"][0])) > 1:
            found.append(Columns.model_validate(values))
    return found


def _count(names: Iterable[str], x: str) -> str | None:
    """The column with the number of hits that belongs to slots named like this."""
    part = _apart(x)
    prefix = "" if part is None else part.prefix.rpartition("/")[2].replace(SLOT, "").strip("._")
    for name in names:
        lower = name.lower()
        if any(lower in {word, f"{prefix}{word}", f"{prefix}_{word}"} for word in _COUNTS):
            return name
        if lower in {f"n_{prefix}", f"n{prefix}"} and prefix:
            return name
    return None


def _prefix(columns: Columns) -> str:
    part = _apart(columns.x)
    return "" if part is None else part.prefix.rpartition("/")[2].replace(SLOT, "").strip("._")
