"""Text files as tables: comma, semicolon, tab or blanks between the columns, names in line 1."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molexa_core.base.errors import ColumnError, InputFileError
from molexa_core.base.files import require_file
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.table import MOST_ROWS, Kind, View

COMMENT: Final = "#"
METADATA_LINE: Final = "# molexa "
"""Begins the line that holds what molexa knows about the run, as JSON."""
LONGEST_LINE: Final = 4 * 2**20
_HEAD_ROWS: Final = 200
_SEPARATORS: Final = (",", ";", "\t")


class TextTable:
    """A text file; see `table.Table`.

    Comments begin with `#`. Without a line of names the columns are called `0`, `1`, ...

    Raises:
        InputFileError: missing, empty, not text, or without columns.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        self.label = "the text table"
        self._metadata, first = _head(path)
        separator = max(_SEPARATORS, key=first.count)
        self._separator = separator if separator in first else r"\s+"
        fields = first.split(separator) if separator in first else first.split()
        self._names = not any(_is_number(field) for field in fields)
        self.n_rows: int | None = None
        head = next(self._frames(_HEAD_ROWS), None)
        if head is None or not len(head.columns):
            head = pd.DataFrame(columns=pd.Index(fields))
            self.n_rows = 0
        self.kinds: Mapping[str, Kind] = {
            str(name): Kind("number" if _numeric(column) else "other", str(column.dtype))
            for name, column in head.items()
        }
        if len(head) == 0:
            self.n_rows = 0
            self.kinds = {name: Kind("number", "empty") for name in self.kinds}

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Lines of the file, a number at a time."""
        del columns
        if self.n_rows == 0:
            return
        start = 0
        for frame in self._frames(rows or MOST_ROWS, list(dict.fromkeys(names))):
            yield _TextView(self, frame, start)
            start += len(frame)

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the file."""
        return dict(self._metadata)

    def _frames(self, rows: int, names: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """The columns of the file in pieces, names as strings."""
        if not self._names and names is not None:
            wanted: Any = [int(name) for name in names]
        else:
            wanted = names
        try:
            with pd.read_csv(
                self.path,
                sep=self._separator,
                header=0 if self._names else None,
                comment=COMMENT,
                usecols=wanted,
                chunksize=rows,
                skipinitialspace=True,
                on_bad_lines="error",
            ) as frames:
                for frame in frames:
                    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
                    yield frame
        except pd.errors.EmptyDataError:
            return
        except (pd.errors.ParserError, UnicodeDecodeError, ValueError, OverflowError) as error:
            detail = " ".join(str(error).split())[:160]
            raise InputFileError(
                f"not readable as a table of text ({detail})",
                where=self.path,
                do="Every line needs as many values as the first.",
            ) from error


class _TextView:
    def __init__(self, table: TextTable, frame: pd.DataFrame, start: int) -> None:
        self._table, self._frame = table, frame
        self.start, self.stop = start, start + len(frame)

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        found = {}
        for name in names:
            column = self._frame[name]
            if not _numeric(column):
                bad = pd.to_numeric(column, errors="coerce").isna() & column.notna()
                row = int(np.argmax(bad.to_numpy()))
                raise ColumnError(
                    f"column {name!r} holds {column.iloc[row]!r} in row {self.start + row}, "
                    "which is not a number",
                    where=self._table.path,
                    do="Correct the line.",
                )
            found[name] = column.to_numpy()
        return found

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        raise InputFileError(
            f"a text table has no lists ({', '.join(names)})", where=self._table.path
        )


def _head(path: Path) -> tuple[dict[str, Any], str]:
    """The metadata of molexa and the first line that is neither empty nor a comment."""
    metadata: dict[str, Any] = {}
    with path.open("rb") as stream:
        while line := stream.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise InputFileError(
                    f"a line is longer than {LONGEST_LINE} bytes", where=path, do="Is it a table?"
                )
            try:
                text = line.decode("utf-8").strip().removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                raise InputFileError(
                    "the text is not UTF-8", where=path, do="Save it as UTF-8."
                ) from error
            if text.startswith(METADATA_LINE):
                try:
                    values = json.loads(text.removeprefix(METADATA_LINE))
                except ValueError as error:
                    raise InputFileError(
                        "the line of molexa's metadata is not readable as JSON",
                        where=path,
                        do="Take the line away, or make the run again.",
                    ) from error
                metadata = values if isinstance(values, dict) else {}
            elif text and not text.startswith(COMMENT):
                return metadata, text
    raise InputFileError("the file holds no table", where=path, do="Check how it was written.")


def _numeric(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
