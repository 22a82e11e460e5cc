"""What a table in a file is to those who make hits of it, whatever the format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

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
    """What a column holds in each row: a number, a list of numbers, or something else.

    Attributes:
        held: which of them.
        type: the type in words of the format, for messages.
    """

    held: Held
    type: str


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
        kinds: what each column holds, by name.
        n_rows: number of rows; None where only reading the file would tell.
    """

    path: Path
    label: str
    kinds: Mapping[str, Kind]
    n_rows: int | None

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """All rows in order, in views that keep memory low.

        Args:
            columns: the layout.
            names: the columns that will be asked for.
            rows: rows per view; chosen by the size of a row where not given.
        """
        ...

    def metadata(self) -> dict[str, Any]:
        """What molexa stored with the table; empty for files of other makers."""
        ...


def require_columns(table: Table, names: Sequence[str]) -> None:
    """Check that the table has these columns.

    Raises:
        ColumnError: some are missing; names near matches of the first.
    """
    missing = [name for name in names if name not in table.kinds]
    if not missing:
        return
    near = near_matches(missing[0], table.kinds)
    hint = f"Did you mean {listing(near)}?" if near else f"It has: {listing(sorted(table.kinds))}."
    noun = "column" if len(missing) == 1 else "columns"
    raise ColumnError(
        f"{table.label} lacks the {noun} {listing(missing, limit=4)}",
        where=table.path,
        do=f"{hint} Other names go into `columns` of the setup.",
    )


def require_kind(table: Table, names: Sequence[str], held: Held) -> None:
    """Check that these columns hold a number per row, or a list of numbers per row.

    Raises:
        ColumnError: one does not.
    """
    wanted = "a list of numbers per shot" if held == "list" else "one number per shot"
    for name in names:
        if table.kinds[name].held != held:
            raise ColumnError(
                f"column {name!r} of {table.label} is of type {table.kinds[name].type}, "
                f"expected {wanted}",
                where=table.path,
            )


def even_ranges(n_rows: int, row_bytes: int, rows: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of rows of equal length, by number or by size."""
    step = rows or int(min(MOST_ROWS, max(1, CHUNK_BYTES // max(1, row_bytes))))
    for start in range(0, n_rows, step):
        yield start, min(start + step, n_rows)


def numbers_of(array: Any) -> FloatArray:
    """An array as float64 in the byte order of this machine."""
    return np.ascontiguousarray(array, dtype=np.float64)
