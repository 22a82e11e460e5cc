"""Interface of a table in a file, independent of its format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ColumnError, listing, near_matches
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, IntArray

CHUNK_BYTES: Final = 24 * 2**20
"""Aim for the columns of one chunk as stored; working copies stay a few times this."""
MOST_ROWS: Final = 100_000
"""Most rows of one chunk."""

Held = Literal["number", "list", "other"]


@dataclass(frozen=True)
class Kind:
    """The kind of values in a column: a number, a list of numbers, or something else.

    Attributes:
        held: the kind.
        type: name of the type in the format, for messages.
        unit: the unit that the file states for the column, as written.
        filled: whether lists are padded to one length for all rows, so that slots can be empty.
        empty: the number that the file states for a missing value.
        digits: number of digits, if a text file writes the numbers with an exponent.
        times: number of columns with this name.
        example: value in the first row of a column without numbers.
    """

    held: Held
    type: str
    unit: str | None = None
    filled: bool = False
    empty: float | None = None
    digits: int | None = None
    times: int = 1
    example: str | None = None


class View(Protocol):
    """Consecutive rows of a table: those from `start` to before `stop`."""

    @property
    def start(self) -> int:
        """The first row."""
        ...

    @property
    def stop(self) -> int:
        """The row behind the last."""
        ...

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Columns of numbers, each (rows)."""
        ...

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        """Columns of lists: the number of values in each row, and the values of all rows."""
        ...


class Table(Protocol):
    """A table in an open file.

    Attributes:
        path: the file.
        label: the table in words, such as `tree 'Data'`.
        kinds: kind of values of each column, by name.
        n_rows: number of rows; None if only known after reading.
    """

    path: Path
    label: str
    kinds: Mapping[str, Kind]
    n_rows: int | None

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """All rows in order, in views that keep memory low.

        Args:
            columns: the layout.
            names: the columns that will be read.
            rows: rows per view; chosen by the size of a row where not given.
        """
        ...

    def metadata(self) -> dict[str, Any]:
        """Metadata stored by molexa; empty for files of other programs."""
        ...


@runtime_checkable
class LimitedTable(Table, Protocol):
    """A table that can be read from any row on without those before."""

    def limited(self, first: int, last: int) -> Table:
        """The same table, whose views are of the rows from `first` to before `last`."""
        ...


@runtime_checkable
class MarkedTable(LimitedTable, Protocol):
    """A table whose rows are found by places that were passed in a reading of all of them.

    Attributes:
        seekable: whether it can be read from such places.
        marks: byte, line and row of each, after a reading of all rows.
    """

    seekable: bool
    marks: Sequence[tuple[int, int, int]]


def require_columns(table: Table, names: Sequence[str], *, setting: str = "columns") -> None:
    """Check that the table has these columns.

    Args:
        table: the table.
        names: the columns.
        setting: key of the setup that names columns.

    Raises:
        ColumnError: some are missing or occur several times; names near matches of the first.
    """
    twice = next(
        (name for name in names if name in table.kinds and table.kinds[name].times > 1), ""
    )
    if twice:
        raise ColumnError(
            f"{table.label} has {table.kinds[twice].times} columns named {twice!r}",
            where=table.path,
            do="Rename all but one.",
        )
    missing = list(dict.fromkeys(name for name in names if name not in table.kinds))
    if not missing:
        return
    near = near_matches(missing[0], table.kinds)
    hint = f"Did you mean {listing(near)}?" if near else f"It has: {listing(sorted(table.kinds))}."
    noun = "column" if len(missing) == 1 else "columns"
    raise ColumnError(
        f"{table.label} lacks the {noun} {listing(missing, limit=4)}",
        where=table.path,
        do=f"{hint} Other names go into `{setting}` of the setup.",
    )


def require_kind(table: Table, names: Sequence[str], held: Held) -> None:
    """Check that these columns hold a number per row, or a list of numbers per row.

    Raises:
        ColumnError: one does not.
    """
    wanted = "a list of numbers per shot" if held == "list" else "one number per shot"
    for name in names:
        if table.kinds[name].held != held:
            kind = table.kinds[name]
            shown = "" if kind.example is None else f" (such as {kind.example!r})"
            raise ColumnError(
                f"column {name!r} of {table.label} is of type {kind.type}{shown}, "
                f"expected {wanted}",
                where=table.path,
                do=no_number(kind.example),
            )


def no_number(text: str | None) -> str | None:
    """Advice about a text found instead of a number; None without an example."""
    if text is None or not any(letter.isdigit() for letter in text):
        return None
    digits = text.strip()
    if re.fullmatch(r"[+-]?\d{1,3}(?:[.,' \u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?", digits):
        return "Write numbers without separators of thousands, and with a decimal point."
    if re.fullmatch(r"[+-]?\d*,\d+", digits):
        return "Write all numbers with a decimal point, or all with a decimal comma."
    return None


def even_ranges(n_rows: int, row_bytes: int, rows: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of rows of equal length, by number or by size."""
    step = rows or int(min(MOST_ROWS, max(1, CHUNK_BYTES // max(1, row_bytes))))
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def numbers_of(array: Any) -> FloatArray:
    """An array as float64 in the byte order of this machine."""
    return np.ascontiguousarray(array, dtype=np.float64)
