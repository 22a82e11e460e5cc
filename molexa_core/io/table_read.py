"""Hits from the rows of a table: one column per slot, lists, or one row per hit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.io.table import Held, Table, View, numbers_of, require_columns, require_kind

MOST_MISSING: Final = 10_000_000
"""A table with one row per hit may leave out this many shots in a row, those without hits."""


@dataclass(frozen=True)
class Part:
    """One file of a run: its table, its layout, the number of its first shot.

    Attributes:
        slots: slots of a flat layout.
        tags: columns with a value per shot.
    """

    table: Table
    columns: Columns
    slots: int
    tags: tuple[str, ...]
    first_shot: int = 0

    @property
    def path(self) -> Path:
        """The file."""
        return self.table.path

    @property
    def n_shots(self) -> int | None:
        """Number of shots, where it is known without reading."""
        return None if self.columns.layout == "rows" else self.table.n_rows


def checked_slots(table: Table, columns: Columns) -> int:
    """Check names and types of the columns of a layout.

    Returns:
        the number of slots of a flat layout, else 0.

    Raises:
        ColumnError: a column is missing or of the wrong type.
    """
    patterns = (columns.x, columns.y, columns.time)
    if columns.layout != "flat":
        lists = columns.layout == "jagged" and columns.count is None
        held: Held = "list" if lists else "number"
        singles = [name for name in (columns.shot, columns.count) if name is not None]
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
    singles = [name for name in (columns.count, columns.shot) if name is not None]
    return [*singles, *names, *part.tags]


def read_hits(part: Part, rows: int | None, *, with_method: bool) -> Iterator[Hits]:
    """The hits of a file, chunk by chunk.

    Raises:
        InputFileError: a number of hits or of a shot that cannot be.
    """
    columns = part.columns
    views = part.table.views(columns, needed(part, with_method=with_method), rows)
    if columns.layout == "rows":
        yield from _RowReader(part, with_method=with_method).run(views)
        return
    read = _flat if columns.layout == "flat" else _jagged
    for view in views:
        offsets, values = read(part, view, with_method=with_method)
        tags = {name: np.asarray(column) for name, column in view.numbers(part.tags).items()}
        yield _hits(part, part.first_shot + view.start, offsets, values, tags)


def _hits(
    part: Part,
    first_shot: int,
    offsets: IntArray,
    values: Sequence[FloatArray],
    tags: dict[str, NDArray[Any]],
) -> Hits:
    x, y, t, method = values
    mm, ns = part.columns.x_unit_mm, part.columns.time_unit_ns
    return Hits(
        first_shot=first_shot,
        offsets=offsets,
        x_mm=x if mm == 1.0 else x * mm,
        y_mm=y if mm == 1.0 else y * mm,
        t_ns=t if ns == 1.0 else t * ns,
        method=as_method(method),
        tags={name.rpartition("/")[2]: column for name, column in tags.items()},
    )


def as_method(values: FloatArray) -> NDArray[np.int16]:
    """Methods are small whole numbers; what is not (-1 pads, NaN) becomes -1."""
    known = (values >= 0) & (values < 2**15)
    return np.where(known, values, -1.0).astype(np.int16)


def _methods(columns: Columns, slots: int) -> list[str]:
    if columns.method is None:
        return []
    return [columns.slot(columns.method, i) for i in range(slots)]


def _flat(part: Part, view: View, *, with_method: bool) -> tuple[IntArray, list[FloatArray]]:
    columns = part.columns
    if columns.count is None:
        return _flat_by_time(part, view, with_method=with_method)
    counts = _checked_counts(part, view.numbers([columns.count])[columns.count], view.start)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
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
    """Without a number of hits: slots whose time is a number other than 0."""
    columns = part.columns
    patterns = _patterns(part, part.slots, with_method=with_method)
    dense = view.numbers([columns.slot(p, i) for i in range(part.slots) for p in patterns])
    stacked = [
        np.stack([numbers_of(dense[columns.slot(p, i)]) for i in range(part.slots)], axis=1)
        for p in patterns
    ]
    used = np.isfinite(stacked[2]) & (stacked[2] != 0)
    offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int64)
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


def _checked_counts(part: Part, stored: NDArray[Any], start: int) -> IntArray:
    bad = ~((stored >= 0) & (stored <= part.slots))  # also true where it is not a number
    whole = np.zeros(len(stored), np.int64)
    np.copyto(whole, stored, where=~bad, casting="unsafe")
    bad |= whole != stored
    if bad.any():
        shot = int(np.argmax(bad))
        raise InputFileError(
            f"column {part.columns.count!r} says {stored[shot]:g} hits in shot {start + shot}, but "
            f"there are columns for 0 to {part.slots}",
            where=part.path,
            do="The run is damaged, or `columns` of the setup names the wrong column.",
        )
    return whole


def _jagged(part: Part, view: View, *, with_method: bool) -> tuple[IntArray, list[FloatArray]]:
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
    offsets = np.concatenate([[0], np.cumsum(first)]).astype(np.int64)
    values = [lists[name][1] for name in names]
    values += [np.zeros(int(offsets[-1]))] * (4 - len(values))
    return offsets, values


@dataclass(frozen=True)
class _Rows:
    """Rows that begin a shot whose end is not read yet; values are x, y, t and method."""

    shot: IntArray
    values: list[FloatArray]
    tags: dict[str, FloatArray]

    def cut(self, part: slice) -> _Rows:
        return _Rows(
            self.shot[part],
            [value[part] for value in self.values],
            {name: column[part] for name, column in self.tags.items()},
        )

    def followed_by(self, other: _Rows) -> _Rows:
        return _Rows(
            np.concatenate([self.shot, other.shot]),
            [np.concatenate(pair) for pair in zip(self.values, other.values, strict=True)],
            {name: np.concatenate([of, other.tags[name]]) for name, of in self.tags.items()},
        )


class _RowReader:
    """Collects the rows of each shot; shots that no row names have no hits."""

    def __init__(self, part: Part, *, with_method: bool) -> None:
        self._part = part
        columns = part.columns
        self._names = [columns.x, columns.y, columns.time]
        if with_method and columns.method is not None and columns.method in part.table.kinds:
            self._names.append(columns.method)
        self._next: int | None = None
        self._shift = 0

    def run(self, views: Iterator[View]) -> Iterator[Hits]:
        """Chunks that end where shots end."""
        held: _Rows | None = None
        for view in views:
            rows = self._rows(view, held)
            held = rows if held is None else held.followed_by(rows)
            whole = int(np.searchsorted(held.shot, held.shot[-1])) if len(held.shot) else 0
            if whole:
                yield from self._chunks(held.cut(slice(0, whole)))
                held = held.cut(slice(whole, None))
        if held is not None and len(held.shot):
            yield from self._chunks(held)

    def _rows(self, view: View, held: _Rows | None) -> _Rows:
        part = self._part
        name = str(part.columns.shot)
        found = view.numbers([name, *self._names, *part.tags])
        stored = np.asarray(found[name])
        bad = ~((stored >= 0) & (stored < 2**62))
        shot = np.zeros(len(stored), np.int64)
        np.copyto(shot, stored, where=~bad, casting="unsafe")
        bad |= shot != stored
        if bad.any():
            row = int(np.argmax(bad))
            raise self._fault(
                f"column {name!r} says shot {stored[row]!s} in row {view.start + row}, which is "
                "no number of a shot"
            )
        last = held.shot[-1] if held is not None and len(held.shot) else shot[:1].sum()
        back = np.diff(np.concatenate([[last], shot])) < 0
        if back.any():
            row = int(np.argmax(back))
            raise self._fault(
                f"the number of the shot goes back to {shot[row]} in row {view.start + row}; rows "
                "must be in the order of shots"
            )
        values = [numbers_of(found[column]) for column in self._names]
        values += [np.zeros(len(shot))] * (4 - len(values))
        return _Rows(shot, values, {tag: numbers_of(found[tag]) for tag in part.tags})

    def _chunks(self, rows: _Rows) -> Iterator[Hits]:
        """The hits of whole shots, in chunks of a bounded number of shots."""
        if self._next is None:  # the shots of a later file go on where those before it end
            begins = self._part.first_shot
            self._shift = begins if rows.shot[0] < begins else 0
            self._next = int(rows.shot[0]) + self._shift
            if begins and self._next - begins <= MOST_MISSING:
                self._next = begins
        shots, first, counts = np.unique(rows.shot, return_index=True, return_counts=True)
        shots = shots + self._shift
        gaps = np.diff(np.concatenate([[self._next - 1], shots]))
        if gaps.max() > MOST_MISSING:
            at = int(np.argmax(gaps))
            raise self._fault(
                f"the number of the shot jumps by {gaps[at]} to {shots[at] - self._shift}; more "
                f"than {MOST_MISSING} shots without a hit cannot be meant"
            )
        n_shots = int(shots[-1]) - self._next + 1
        if n_shots > MOST_MISSING:
            half = int(first[len(shots) // 2])
            yield from self._chunks(rows.cut(slice(0, half)))
            yield from self._chunks(rows.cut(slice(half, None)))
            return
        dense = np.zeros(n_shots, np.int64)
        dense[shots - self._next] = counts
        tags: dict[str, NDArray[Any]] = {}
        for name, column in rows.tags.items():
            tags[name] = np.full(n_shots, np.nan)
            tags[name][shots - self._next] = column[first]
        offsets = np.concatenate([[0], np.cumsum(dense)]).astype(np.int64)
        begin, self._next = self._next, self._next + n_shots
        yield _hits(self._part, begin, offsets, rows.values, tags)

    def _fault(self, what: str) -> InputFileError:
        return InputFileError(
            what,
            where=self._part.path,
            do="Sort the table, or name the column of the shot as `shot` of `columns`.",
        )


def with_first_shot(part: Part, first_shot: int) -> Part:
    """The same part with the number of its first shot."""
    return replace(part, first_shot=first_shot)
