"""Recognition of the columns with x, y and time of the hits by their names and types.

Columns that differ only in the quantity belong together (`column_names`). Among several names of
one quantity a fixed order of preference decides, and the user is told which were not used; if names
have equal rank, the user must choose. The order of the columns does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, Required, TypedDict, Unpack

from molexa_core.base.errors import ColumnError, InputFileError, listing
from molexa_core.base.settings.columns import SLOT, Columns
from molexa_core.io.root.layouts import LMF2ROOT, PRESETS, SP8, is_tag, numbered_from
from molexa_core.io.tables.column_names import IONS, Name, apart, shot_options
from molexa_core.io.tables.interface import Held, Kind, Table, no_number, require_columns
from molexa_core.io.tables.units_of_columns import Choice, in_units

__all__ = ["Choice", "NoHitsError", "choose", "preset", "shot_column", "tags_of"]

_COUNTS: Final = (
    ("nhits", "n_hits", "numhits"),
    ("n", "num"),
    ("count", "counts"),
    ("hits",),
    ("hit",),
)
"""What the number of hits is called, in the order in which names are preferred."""
_HITS: Final = ("x", "y", "time")
_DETECTORS: Final = ("det", "detector", "dld", "mcp", "anode", "hex", "quad")
"""Prefixes of a number that distinguishes detectors, not slots."""


class NoHitsError(ColumnError):
    """No columns of the table have names of hits."""


@dataclass(frozen=True)
class _Guess:
    """Columns that can be the hits.

    Attributes:
        columns: the layout.
        detector: prefix of the quantities, which names the detector.
        doubts: groups of columns of equal rank for one quantity.
        aside: columns not used because another of the same quantity is preferred.
    """

    columns: Columns
    detector: str
    doubts: tuple[tuple[str, ...], ...] = ()
    aside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.columns.x}, {self.columns.y}, {self.columns.time}"


def choose(table: Table, given: Columns | None) -> Choice:
    """The layout of a table: the given one, a preset, or one found from the column names.

    Raises:
        NoHitsError: no columns have names of hits.
        InputFileError: several layouts are possible, or units contradict each other.
        ColumnError: columns are missing.
    """
    if given is not None:
        return in_units(table, Choice("columns", given, f"{table.label}: `columns` of the setup"))
    for name in ("lmf2root", "sp8"):
        preset = numbered_from(PRESETS[name], table.kinds)
        if preset.slot(preset.x, 0) in table.kinds and preset.count in table.kinds:
            why = f"{table.label} has the columns of {name}"
            plain = preset.model_copy(update={"tree": None})
            return in_units(table, Choice(name, plain, why), fixed=True)
    kinds = table.kinds
    candidates = [*_lists(kinds), *_rows(kinds), *_slots(kinds)]
    if not candidates:
        raise _none(table)
    best = [item for item in candidates if item.detector in IONS] or candidates
    if len(best) > 1:
        raise InputFileError(
            f"{table.label} has several columns that can be the hits: {listing(best)}",
            where=table.path,
            do="Say which in `columns` of the setup.",
        )
    chosen = best[0]
    if chosen.doubts:
        raise InputFileError(
            f"{table.label} has several columns that can be the same: "
            + "; ".join(" or ".join(repr(name) for name in names) for names in chosen.doubts),
            where=table.path,
            do="Say which in `columns` of the setup.",
        )
    others = [item for item in candidates if item is not chosen]
    return in_units(
        table, Choice(chosen.columns.layout, chosen.columns, _why(table, chosen, others))
    )


def _why(table: Table, chosen: _Guess, others: Sequence[_Guess]) -> str:
    columns = chosen.columns
    shots = " and ".join(repr(name) for name in columns.shots)
    meaning = {
        "jagged": f"one list per shot, number of hits in {columns.count!r}"
        if columns.count
        else "one list per shot",
        "rows": f"one row per hit, shots in {shots}",
        "flat": f"one column per slot, number of hits in {columns.count!r}"
        if columns.count
        else "one column per slot, empty where x, y and time are 0 or not numbers",
    }[columns.layout]
    more = ""
    if chosen.aside:
        more += f"; {listing(repr(name) for name in chosen.aside)} left aside"
    if others:
        sets = "; ".join(str(item) for item in others[:4])
        more += f"; {len(others)} other set(s) of columns left aside ({sets})"
    return (
        f"{table.label}: x from {columns.x!r}, y from {columns.y!r}, time from {columns.time!r} "
        f"by their names ({meaning}){more}"
    )


def preset(table: Table, name: str) -> Choice:
    """The preset of this name, with slots numbered from 0 or 1 as in the file.

    Raises:
        InputFileError: the file states units that are not known.
    """
    columns = numbered_from(PRESETS[name], table.kinds)
    choice = Choice(name, columns, f"{table.label} is that of {_MAKERS[name]}")
    return in_units(table, choice, fixed=True)


_MAKERS: Final = {
    "lmf2root": "LMF2Root",
    "jagged": "molexa (lists)",
    "sp8": "sp8-analysis",
}


def shot_column(
    kinds: Mapping[str, Kind], beside: str = ""
) -> tuple[tuple[str, ...] | None, tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The column with the shot number, found by its name, for tables with one row per hit.

    Args:
        kinds: the columns.
        beside: a column of the hits; names in its folder come first.

    Returns:
        The column, or a pair of train and pulse, if there is one; names of equal rank; and names
        that are not used.
    """
    names = _held(kinds, "number")
    folder = beside.rpartition("/")[0]
    near = [name for name in names if name.rpartition("/")[0] == folder]
    options = shot_options(near) or shot_options(names)
    if not options:
        return None, (), ()
    best, *others = options
    chosen = best[0]
    doubts: tuple[tuple[str, ...], ...] = ()
    if len(best) > 1:
        doubts = (tuple(" and ".join(option) for option in best),)
    aside = tuple(
        dict.fromkeys(n for rank in others for option in rank for n in option if n not in chosen)
    )
    return chosen, doubts, aside


def tags_of(table: Table, columns: Columns) -> tuple[str, ...]:
    """The columns with a value per shot that is kept with the coincidences.

    Raises:
        ColumnError: one named in `columns` is missing.
    """
    require_columns(table, columns.tags)
    known = [name for name in table.kinds if is_tag(name.rpartition("/")[2])]
    numbers = [name for name in known if table.kinds[name].held == "number"]
    return tuple(dict.fromkeys([*numbers, *columns.tags]))


def _none(table: Table) -> NoHitsError:
    """The error that explains why no columns of hits were found, from the most likely cause."""
    looked = (
        f"Looked for those of LMF2Root ({LMF2ROOT.x} ...) and sp8-analysis ({SP8.x} ...), for "
        "lists or numbers named x, y, t and a `shot`. Name them in `columns` of the setup, which "
        "`molexa new setup` writes."
    )
    words = [name for name, kind in table.kinds.items() if kind.held == "other"]
    meant = _sets(table.kinds)
    if meant and any(name.written in words for name in meant[0].names):
        kind = table.kinds[next(n.written for n in meant[0].names if n.written in words)]
        named = [n.written for n in meant[0].names if n.written in words]
        shown = "" if kind.example is None else f", such as {kind.example!r}"
        verb = "does" if len(named) == 1 else "do"
        return NoHitsError(
            f"{table.label}: {listing(repr(name) for name in named)} {verb} not hold numbers "
            f"(type {kind.type}{shown})",
            where=table.path,
            do=no_number(kind.example) or looked,
        )
    held = f"it has: {listing(sorted(table.kinds))}"
    called = next((name for rank in shot_options(words) for one in rank for name in one), None)
    if called is not None and _sets(_held(table.kinds, "number")):
        kind = table.kinds[called]
        shown = "" if kind.example is None else f", such as {kind.example!r}"
        return NoHitsError(
            f"{table.label}: {called!r} does not hold numbers (type {kind.type}{shown})",
            where=table.path,
            do="Name a column with the number of the shot as `shot` in `columns` of the setup.",
        )
    if _sets(_held(table.kinds, "number")):
        return NoHitsError(
            f"{table.label}: x, y and time of hits, but no column whose name tells the shot, "
            f"such as shot, trigger, event or trainId and pulseId; {held}",
            where=table.path,
            do="Name it as `shot` in `columns` of the setup.",
        )
    typed = [f"{name} ({table.kinds[name].type})" for name in words]
    more = f"; not numbers: {listing(typed, limit=6)}" if typed else ""
    return NoHitsError(
        f"{table.label}: no columns whose names tell x, y and time of hits; {held}{more}",
        where=table.path,
        do=looked,
    )


@dataclass(frozen=True)
class _Set:
    """Column names that belong together and include x, y and time."""

    chosen: Mapping[str, Name]
    doubts: tuple[tuple[str, ...], ...]
    aside: tuple[str, ...]

    @property
    def names(self) -> list[Name]:
        return [self.chosen[quantity] for quantity in _HITS]

    def fields(self) -> dict[str, str]:
        """Names of the columns, as `Columns` calls them."""
        return {quantity: name.written for quantity, name in self.chosen.items()}


def _sets(names: Iterable[str]) -> list[_Set]:
    """Groups of columns that belong together and include x, y and time."""
    groups: dict[tuple[str, str], dict[str, list[Name]]] = {}
    for name in names:
        part = apart(name)
        if part is not None:
            group = groups.setdefault((part.prefix, part.suffix), {})
            group.setdefault(part.quantity, []).append(part)
    return [_decided(group) for group in groups.values() if set(_HITS) <= set(group)]


def _decided(group: Mapping[str, Sequence[Name]]) -> _Set:
    """The preferred name of each quantity; several names of equal rank are noted as doubts."""
    chosen: dict[str, Name] = {}
    doubts: list[tuple[str, ...]] = []
    aside: list[str] = []
    for quantity, names in group.items():
        usual = any(name.level == 0 for name in names)
        able = [name for name in names if name.level >= 0 or not usual]
        rank = min(name.rank for name in able)
        best = [name for name in able if name.rank == rank]
        chosen[quantity] = best[0]
        if len(best) > 1 and quantity in _HITS:
            doubts.append(tuple(name.written for name in best))
        if quantity in _HITS:
            aside += [name.written for name in names if name not in best]
    return _Set(chosen, tuple(doubts), tuple(aside))


def _held(kinds: Mapping[str, Kind], held: Held) -> list[str]:
    return [name for name, kind in kinds.items() if kind.held == held]


class _Further(TypedDict, total=False):
    """Fields of `Columns` beside the names of the columns."""

    layout: Required[Literal["flat", "jagged", "rows"]]
    count: str
    shot: str | tuple[str, ...]
    first: int


def _guess(of: _Set, **further: Unpack[_Further]) -> _Guess:
    return _Guess(
        Columns.model_validate({**of.fields(), **further}),
        of.chosen["x"].detector,
        of.doubts,
        of.aside,
    )


def _lists(kinds: Mapping[str, Kind]) -> list[_Guess]:
    """Sets of lists; for padded rows with the column of the number of hits, if there is one."""
    numbers = _held(kinds, "number")
    return [
        _counted(of, numbers, layout="jagged")
        if kinds[of.chosen["x"].written].filled
        else _guess(of, layout="jagged")
        for of in _sets(_held(kinds, "list"))
    ]


def _rows(kinds: Mapping[str, Kind]) -> list[_Guess]:
    guesses = []
    for of in _sets(_held(kinds, "number")):
        shot, doubts, aside = shot_column(kinds, of.chosen["x"].written)
        if shot is None:
            continue
        name = shot[0] if len(shot) == 1 else shot
        more = _Set(of.chosen, (*of.doubts, *doubts), (*of.aside, *aside))
        guesses.append(_guess(more, layout="rows", shot=name))
    return guesses


def _slots(kinds: Mapping[str, Kind]) -> list[_Guess]:
    """Sets of numbered columns: `r1x r1y r1tof`, `x_0 y_0 t_0`, `IonX1 IonY1 IonT1`."""
    numbers: dict[str, set[int]] = {}
    names = _held(kinds, "number")
    for name in names:
        match = re.fullmatch(r"(\D*)(\d{1,4})(\D*)", name)
        if match is not None:
            numbers.setdefault(f"{match[1]}{SLOT}{match[3]}", set()).add(int(match[2]))
    guesses = []
    for of in _sets(numbers):
        x = of.chosen["x"]
        if len(x.written) > 1:
            first = min(numbers[x.written])
            guess = _counted(of, names, layout="flat", first=first)
            if x.detector in _DETECTORS and len(numbers[x.written]) > 1:
                several = sorted(numbers[x.written])
                named = tuple(x.written.replace(SLOT, str(number)) for number in several)
                guess = replace(guess, doubts=(*guess.doubts, named))
            guesses.append(guess)
    return guesses


def _counted(of: _Set, names: Iterable[str], **further: Unpack[_Further]) -> _Guess:
    """A guess with the number of hits, where a column among these says it."""
    ranks = _counts(names, of.chosen["x"])
    if not ranks:
        return _guess(of, **further)
    best, *others = ranks
    doubts = (*of.doubts, tuple(best)) if len(best) > 1 else of.doubts
    aside = (*of.aside, *(name for rank in others for name in rank))
    further["count"] = best[0]
    return _guess(_Set(of.chosen, doubts, aside), **further)


def _counts(names: Iterable[str], x: Name) -> list[list[str]]:
    """The columns that can be the number of hits of columns named like this.

    Returns:
        Those of one rank in a list, the preferred ranks first: names in the folder of the hits,
        with the name of their detector, in the order of `_COUNTS`.
    """
    folder, prefix = x.prefix.rpartition("/")[0], x.detector
    ranks: dict[str, tuple[bool, int]] = {}
    for rank, words in enumerate(_COUNTS):
        ranks |= dict.fromkeys(words, (True, rank))
        if prefix:
            joined = {f"{prefix}{word}" for word in words} | {f"{prefix}_{word}" for word in words}
            ranks |= dict.fromkeys(joined, (False, rank))
    if prefix:
        ranks |= dict.fromkeys((f"n_{prefix}", f"n{prefix}"), (False, 0))
    found: dict[tuple[bool, bool, int], list[str]] = {}
    for name in names:
        place, _, leaf = name.rpartition("/")
        if leaf.lower() in ranks:
            found.setdefault((place != folder, *ranks[leaf.lower()]), []).append(name)
    return [found[rank] for rank in sorted(found)]
