"""Reading of hits from tables with one row per shot: one column per slot, or lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, IntArray, offsets_of
from molexa_core.io.tables.interface import (
    Held,
    Table,
    View,
    numbers_of,
    require_columns,
    require_kind,
)
from molexa_core.io.tables.part import Part, empty_places


def checked_slots(table: Table, columns: Columns) -> int:
    """Check names and types of the columns of a layout.

    Returns:
        the number of slots of a flat layout, else 0.

    Raises:
        ColumnError: a column is missing or of the wrong type.
    """
    patterns = (columns.x, columns.y, columns.time)
    if columns.layout != "flat":
        held: Held = "list" if in_lists(table, columns) else "number"
        singles = [*columns.shots, *([] if columns.count is None else [columns.count])]
        require_columns(table, [*patterns, *singles])
        known = [columns.method] if columns.method is not None else []
        stored = [name for name in known if name in table.kinds]
        require_kind(table, [*patterns, *stored], held)
        require_kind(table, singles, "number")
        return 0
    slots = 0
    while any(columns.slot(pattern, slots) in table.kinds for pattern in patterns):
        slots += 1
    names = [columns.slot(pattern, i) for i in range(max(slots, 1)) for pattern in patterns]
    counts = [] if columns.count is None else [columns.count]
    require_columns(table, [*counts, *names])
    methods = [name for name in _methods(columns, slots) if name in table.kinds]
    require_kind(table, [*counts, *names, *methods], "number")
    return slots


def in_lists(table: Table, columns: Columns) -> bool:
    """Whether a row holds the hits of a shot as lists; otherwise hits are stored end to end."""
    if columns.layout != "jagged":
        return False
    kind = table.kinds.get(columns.x)
    return columns.count is None or (kind is not None and kind.held == "list")


def needed(part: Part, *, with_method: bool) -> list[str]:
    """The columns that reading the hits needs."""
    columns = part.columns
    patterns = [columns.x, columns.y, columns.time]
    methods = [columns.method] if columns.method is not None else []
    names = list(patterns)
    if columns.layout == "flat":
        names = [columns.slot(pattern, i) for i in range(part.slots) for pattern in patterns]
        methods = _methods(columns, part.slots)
    if with_method:
        names += [name for name in methods if name in part.table.kinds]
    singles = [*([] if columns.count is None else [columns.count]), *columns.shots]
    return [*singles, *names, *part.tags]


def _methods(columns: Columns, slots: int) -> list[str]:
    if columns.method is None:
        return []
    return [columns.slot(columns.method, i) for i in range(slots)]


def flat_hits(part: Part, view: View, *, with_method: bool) -> tuple[IntArray, list[FloatArray]]:
    """Hits from one column per slot: offsets of the shots, and x, y, t and method.

    Raises:
        InputFileError: an impossible number of hits.
    """
    columns = part.columns
    if columns.count is None:
        return _flat_by_time(part, view, with_method=with_method)
    stored = view.numbers([columns.count])[columns.count]
    counts = _checked_counts(part, stored, view.start, part.slots)
    offsets = offsets_of(counts)
    used = int(counts.max(initial=0))
    patterns = _patterns(part, used, with_method=with_method)
    dense = view.numbers([columns.slot(p, i) for i in range(used) for p in patterns])
    values = [np.zeros(int(offsets[-1])) for _ in range(4)]
    for i in range(used):
        shots = np.flatnonzero(counts > i)
        places = offsets[shots] + i
        for value, pattern in zip(values, patterns, strict=False):
            value[places] = dense[columns.slot(pattern, i)][shots]
    return offsets, values


def _flat_by_time(
    part: Part, view: View, *, with_method: bool
) -> tuple[IntArray, list[FloatArray]]:
    """All slots, for tables without a number of hits; empty slots are left out later."""
    columns = part.columns
    patterns = _patterns(part, part.slots, with_method=with_method)
    dense = view.numbers([columns.slot(p, i) for i in range(part.slots) for p in patterns])
    stacked = [
        np.stack([numbers_of(dense[columns.slot(p, i)]) for i in range(part.slots)], axis=1)
        for p in patterns
    ]
    used = ~empty_places(part, *(column.ravel() for column in stacked[:3])).reshape(
        stacked[2].shape
    )
    offsets = offsets_of(used.sum(axis=1))
    values = [column[used] for column in stacked]
    values += [np.zeros(int(offsets[-1]))] * (4 - len(values))
    return offsets, values


def _patterns(part: Part, slots: int, *, with_method: bool) -> list[str]:
    columns = part.columns
    patterns = [columns.x, columns.y, columns.time]
    methods = _methods(columns, slots) if with_method else []
    if methods and all(name in part.table.kinds for name in methods):
        patterns.append(str(columns.method))
    return patterns


def _checked_counts(part: Part, stored: NDArray[Any], start: int, room: int | IntArray) -> IntArray:
    """Numbers of hits, after a check that none exceeds the number of slots."""
    bad = ~((stored >= 0) & (stored <= room))  # also true where it is not a number
    whole = np.zeros(len(stored), np.int64)
    np.copyto(whole, stored, where=~bad, casting="unsafe")
    bad |= whole != stored
    if bad.any():
        shot = int(np.argmax(bad))
        most = int(np.broadcast_to(room, bad.shape)[shot])
        raise InputFileError(
            f"column {part.columns.count!r} says {stored[shot]:g} hits in shot {start + shot}, but "
            f"there are columns for 0 to {most}"
            if part.columns.layout == "flat"
            else f"column {part.columns.count!r} says {stored[shot]:g} hits in shot "
            f"{start + shot}, but there are places for 0 to {most}",
            where=part.path,
            do="The run is damaged, or `columns` of the setup names the wrong column.",
        )
    return whole


def list_hits(part: Part, view: View, *, with_method: bool) -> tuple[IntArray, list[FloatArray]]:
    """Hits from one list per shot and quantity; as `flat_hits`.

    Raises:
        InputFileError: lists of different lengths, or an impossible number of hits.
    """
    columns = part.columns
    names = [columns.x, columns.y, columns.time]
    if with_method and columns.method in part.table.kinds and columns.method is not None:
        names.append(columns.method)
    lists = view.lists(names)
    first = lists[names[0]][0]
    for name in names[1:]:
        differs = lists[name][0] != first
        if differs.any():
            shot = int(np.argmax(differs))
            raise InputFileError(
                f"shot {view.start + shot} has {first[shot]} values in {names[0]!r}, but "
                f"{lists[name][0][shot]} in {name!r}",
                where=part.path,
                do="The run is damaged.",
            )
    values = [lists[name][1] for name in names]
    if columns.count is not None and in_lists(part.table, columns):
        stored = view.numbers([columns.count])[columns.count]
        counts = _checked_counts(part, stored, view.start, first)
        place = np.arange(len(values[0])) - np.repeat(np.cumsum(first) - first, first)
        used = place < np.repeat(counts, first)
        x, y, t = (column[~used] for column in values[:3])
        held = ~empty_places(part, x, y, t) & ~((x == t) & (y == t))
        part.tally.beyond += int(held.sum())
        values, first = [column[used] for column in values], counts
    offsets = offsets_of(first)
    values += [np.zeros(int(offsets[-1]))] * (4 - len(values))
    return offsets, values
