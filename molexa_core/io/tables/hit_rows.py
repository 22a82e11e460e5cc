"""Reading of hits from table rows: one row per hit, grouped into shots, or one row per shot."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.tables import FloatArray, Hits, IntArray, offsets_of
from molexa_core.io.tables.interface import LimitedTable, MarkedTable, View, numbers_of
from molexa_core.io.tables.part import Part, empty_places, hits_of
from molexa_core.io.tables.slots import flat_hits, list_hits, needed

MOST_MISSING: Final = 10_000_000
"""A table with one row per hit may leave out this many shots in a row, those without hits."""
_NO_END: Final = 2**62
"""Behind all rows of a table whose number is not known."""


def whole_numbers(part: Part, name: str, stored: NDArray[Any], row: IntArray) -> IntArray:
    """A column of identifying numbers as integers.

    Raises:
        InputFileError: a value is not a whole number, or too large to be exact in its type.
    """
    exact = 2 ** (np.finfo(stored.dtype).nmant + 1) if stored.dtype.kind == "f" else 0
    kind = stored.dtype.name
    stored = stored.astype(np.float64) if exact and stored.dtype.itemsize < 8 else stored
    bad = ~((stored >= 0) & (stored < 2**62))
    numbers = np.zeros(len(stored), np.int64)
    np.copyto(numbers, stored, where=~bad, casting="unsafe")
    bad |= numbers != stored
    if bad.any():
        at = int(np.argmax(bad))
        began = -(2**31) <= stored[at] < MOST_MISSING - 2**31
        why = " (a counter of 32 bits with a sign that ran over?)" if began else ""
        raise InputFileError(
            f"column {name!r} says shot {stored[at]!s} in row {row[at]}, which is no number of a "
            f"shot{why}",
            where=part.path,
            do="Correct the row, or name the column of the shot as `shot` of `columns`.",
        )
    digits = part.table.kinds[name].digits if name in part.table.kinds else None
    if digits is not None and (numbers >= 10**digits).any():
        at = int(np.argmax(numbers >= 10**digits))
        raise InputFileError(
            f"column {name!r} writes numbers of shots with {digits} digits, and row {row[at]} says "
            f"{numbers[at]}, so that neighbouring shots run together",
            where=part.path,
            do="Write the column as whole numbers again, without exponents.",
        )
    if exact:
        above = numbers >= exact
        if above.any():
            at = int(np.argmax(above))
            raise InputFileError(
                f"column {name!r} holds numbers of shots as {kind}, which tells whole "
                f"numbers apart only up to {exact}; row {row[at]} says {numbers[at]}, so that "
                "neighbouring shots run together",
                where=part.path,
                do="Write the column as whole numbers (64 bits) again.",
            )
    return numbers


def read_hits(part: Part, rows: int | None, *, with_method: bool) -> Iterator[Hits]:
    """The hits of a file, chunk by chunk.

    Raises:
        InputFileError: an impossible number of hits or shot number.
    """
    columns = part.columns
    views = part.table.views(columns, needed(part, with_method=with_method), rows)
    if columns.layout == "rows":
        yield from _RowReader(part, with_method=with_method).run(views)
        return
    read = flat_hits if columns.layout == "flat" else list_hits
    for view in views:
        offsets, values = read(part, view, with_method=with_method)
        tags = {name: np.asarray(column) for name, column in view.numbers(part.tags).items()}
        yield hits_of(part, part.first_shot + view.start, offsets, values, tags)


@dataclass(frozen=True)
class RowPlace:
    """Where shots can be read from, in a table with one row per hit.

    Attributes:
        row: the first row of a shot.
        following: number of the first shot that was not given before; None at the beginning.
        shift: added to the numbers of the shots.
        last: number of the shot in the row as stored, where one column holds it.
        turns: how often a 32-bit counter began again before.
        train: number of the first train, where two columns hold the number of the shot.
    """

    row: int = 0
    following: int | None = None
    shift: int = 0
    last: int | None = None
    turns: int = 0
    train: int | None = None


@dataclass(frozen=True)
class RowIndex:
    """Places in a table with one row per hit.

    Attributes:
        first: number of its first shot.
        end: number behind that of its last shot.
        places: in their order; the first one is the beginning.
        pulses: numbers of pulses in a train, where two columns hold the number of the shot.
        marks: see `interface.MarkedTable`.
    """

    first: int
    end: int
    places: tuple[RowPlace, ...]
    pulses: tuple[int, ...] | None = None
    marks: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def of(cls, part: Part, advance: Callable[[int], None]) -> RowIndex | None:
        """Look through the rows of a file; what is counted is that of the whole file.

        Args:
            part: the file.
            advance: told how many more rows were looked through.

        Returns:
            None for a file without a shot.

        Raises:
            InputFileError: as `read_hits`.
        """
        part = replace(part, tags=())
        reader = _RowReader(part, with_method=False)
        names = needed(part, with_method=False)
        places, row = [RowPlace()], 0
        for place in reader.places(part.table.views(part.columns, names, None)):
            advance(place.row - row)
            places.append(place)
            row = place.row
        if reader.first is None or reader.following is None:
            return None
        pulses = None if reader.pulses is None else tuple(reader.pulses.tolist())
        marks = tuple(part.table.marks) if isinstance(part.table, MarkedTable) else ()
        return cls(reader.first, reader.following, tuple(places), pulses, marks)

    def between(
        self, part: Part, first: int, last: int, rows: int | None, *, with_method: bool
    ) -> Iterator[Hits]:
        """The hits of the shots with numbers from `first` to before `last`.

        Args:
            part: the file, at the number of its first shot.
            first: number of a shot of the file.
            last: that behind the last one.
            rows: rows per view.
            with_method: see `read_hits`.
        """
        begins = [self.first if p.following is None else p.following for p in self.places]
        at = bisect_right(begins, first) - 1
        end = bisect_left(begins, last)
        if not isinstance(part.table, LimitedTable):
            raise TypeError(f"{part.table.label} is read from its beginning only")
        if isinstance(part.table, MarkedTable):
            part.table.marks = self.marks
        n_rows = part.table.n_rows
        behind = _NO_END if n_rows is None else n_rows
        if end < len(self.places):
            behind = self.places[end].row
        table = part.table.limited(self.places[at].row, behind)
        reader = _RowReader(part, with_method=with_method)
        reader.go_on(self.places[at], self.pulses)
        views = table.views(part.columns, needed(part, with_method=with_method), rows)
        for hits in reader.run(views):
            low, high = max(first - hits.first_shot, 0), min(last - hits.first_shot, hits.n_shots)
            if low < high:
                yield hits.shots(low, high)


@dataclass(frozen=True)
class _Rows:
    """Rows of a shot whose end has not been read yet; values are x, y, t and method."""

    row: IntArray
    shot: IntArray
    values: list[FloatArray]
    tags: dict[str, FloatArray]

    def cut(self, part: slice) -> _Rows:
        return _Rows(
            self.row[part],
            self.shot[part],
            [value[part] for value in self.values],
            {name: column[part] for name, column in self.tags.items()},
        )

    def followed_by(self, other: _Rows) -> _Rows:
        return _Rows(
            np.concatenate([self.row, other.row]),
            np.concatenate([self.shot, other.shot]),
            [np.concatenate(pair) for pair in zip(self.values, other.values, strict=True)],
            {name: np.concatenate([of, other.tags[name]]) for name, of in self.tags.items()},
        )


class _RowReader:
    """Groups the rows by shot; shots without a row have no hits."""

    def __init__(self, part: Part, *, with_method: bool) -> None:
        self._part = part
        columns = part.columns
        self._names = [columns.x, columns.y, columns.time]
        if with_method and columns.method is not None and columns.method in part.table.kinds:
            self._names.append(columns.method)
        self._next: int | None = None
        self._shift = 0
        self._last: int | None = None
        self._turns = 0
        self._train: int | None = None
        self._pulses: IntArray | None = None
        self.first: int | None = None

    @property
    def following(self) -> int | None:
        """Number of the first shot that was not given yet."""
        return self._next

    @property
    def pulses(self) -> IntArray | None:
        """Numbers of pulses in a train, where two columns hold the number of the shot."""
        return self._pulses

    def go_on(self, place: RowPlace, pulses: Sequence[int] | None) -> None:
        """Begin at a place; see `RowIndex`."""
        self._next, self._shift, self._last = place.following, place.shift, place.last
        self._turns, self._train = place.turns, place.train
        self._pulses = None if pulses is None else np.array(pulses, np.int64)

    def places(self, views: Iterator[View]) -> Iterator[RowPlace]:
        """Read all hits for what is counted of them, and say where others can begin."""
        held: _Rows | None = None
        for view in views:
            rows = self._rows(view, held)
            held = rows if held is None else held.followed_by(rows)
            whole = int(np.searchsorted(held.shot, held.shot[-1])) if len(held.shot) else 0
            if whole:
                for _ in self._chunks(held.cut(slice(0, whole))):
                    pass
                held = held.cut(slice(whole, None))
                one = len(self._part.columns.shots) == 1
                last = int(held.shot[0]) - self._turns * 2**32 if one else None
                yield RowPlace(
                    int(held.row[0]), self._next, self._shift, last, self._turns, self._train
                )
        if held is not None and len(held.shot):
            for _ in self._chunks(held):
                pass

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
        found = view.numbers([*part.columns.shots, *self._names, *part.tags])
        values = [numbers_of(found[column]) for column in self._names]
        values += [np.zeros(len(values[0]))] * (4 - len(values))
        stored = [np.asarray(found[name]) for name in part.columns.shots]
        row = np.arange(view.start, view.start + len(values[0]))
        tags = {tag: numbers_of(found[tag]) for tag in part.tags}
        empty = empty_places(part, *values[:3])
        if empty.any():  # what else stands in a filled-up row does not count
            part.tally.empty += int(empty.sum())
            values = [value[~empty] for value in values]
            stored, row = [column[~empty] for column in stored], row[~empty]
            tags = {tag: column[~empty] for tag, column in tags.items()}
        shot = self._shots(stored, row)
        last = held.shot[-1] if held is not None and len(held.shot) else shot[:1].sum()
        back = np.diff(np.concatenate([[last], shot])) < 0
        if back.any():
            at = int(np.argmax(back))
            before = shot[at - 1] if at else last
            raise self._back(int(before), int(shot[at]), int(row[at]))
        return _Rows(row, shot, values, tags)

    def _shots(self, stored: Sequence[NDArray[Any]], row: IntArray) -> IntArray:
        """The numbers of the shots, of one column or of a pair."""
        names = self._part.columns.shots
        if len(names) == 1:
            return self._counted_on(whole_numbers(self._part, names[0], stored[0], row))
        train, pulse = (
            whole_numbers(self._part, name, column, row)
            for name, column in zip(names, stored, strict=True)
        )
        if self._pulses is None:
            self._pulses = self._all_pulses(names[1])
        if self._train is None and len(train):
            self._train = int(train[0])
        place = np.searchsorted(self._pulses, pulse)
        return (train - (self._train or 0)) * len(self._pulses) + place.astype(np.int64)

    def _all_pulses(self, name: str) -> IntArray:
        """The numbers of pulses that occur in the file, so that every train has as many shots."""
        part = self._part
        seen = np.empty(0, np.int64)
        for view in part.table.views(part.columns, [name], None):
            stored = np.asarray(view.numbers([name])[name])
            good = (stored >= 0) & (stored < 2**62)
            seen = np.union1d(seen, stored[good].astype(np.int64))
            if len(seen) > MOST_MISSING:
                raise self._fault(
                    f"column {name!r} has more than {MOST_MISSING} different numbers, which are "
                    "no pulses in a train"
                )
        return seen

    def _counted_on(self, shot: IntArray) -> IntArray:
        """Shot numbers after correction for overflows of a 32-bit counter."""
        if not len(shot):
            return shot
        before = shot[0] if self._last is None else self._last
        self._last = int(shot[-1])
        again = np.diff(np.concatenate([[before], shot])) < -(2**32 - 2 * MOST_MISSING)
        if again.any() and int(shot.max()) < 2**32 and before < 2**32:
            self._part.tally.restarts += int(again.sum())
            turns = self._turns + np.cumsum(again)
            self._turns = int(turns[-1])
            return shot + turns.astype(np.int64) * 2**32
        return shot + self._turns * 2**32

    def _back(self, before: int, shot: int, row: int) -> InputFileError:
        what = f"the number of the shot goes back to {shot} in row {row}"
        names = self._part.columns.shots
        if len(names) == 2:
            what = f"{names[0]!r} and {names[1]!r} go back in row {row}"
        for bits in (8, 10, 12, 15, 16, 24, 31):
            if (
                before >= 2**bits - 2 - 2**bits // 256
                and before < 2**bits
                and shot <= 2**bits // 256
            ):
                what += f" (after {before}: a counter of {bits} bits that began again?)"
        return self._fault(f"{what}; rows must be in the order of shots")

    def _chunks(self, rows: _Rows) -> Iterator[Hits]:
        """The hits of whole shots, in chunks of a bounded number of shots."""
        if self._next is None:  # the shots of a later file go on where those before it end
            begins = self._part.first_shot
            self._shift = begins if rows.shot[0] < begins else 0
            self._next = int(rows.shot[0]) + self._shift
            if begins and self._next - begins <= MOST_MISSING:
                self._next = begins
        if self.first is None:
            self.first = self._next
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
        offsets = offsets_of(dense)
        begin, self._next = self._next, self._next + n_shots
        yield hits_of(self._part, begin, offsets, rows.values, tags)

    def _fault(self, what: str) -> InputFileError:
        return InputFileError(
            what,
            where=self._part.path,
            do="Sort the table, or name the column of the shot as `shot` of `columns`; two, such "
            "as train and pulse, as `shot: [trainId, pulseId]`.",
        )
