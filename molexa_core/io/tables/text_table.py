"""Text files as tables; `text_head` recognises their form."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molexa_core.base.errors import ColumnError, InputFileError, MolexaError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.storage.bounded import shown
from molexa_core.base.storage.files import require_file
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.marks import METADATA_LINE
from molexa_core.io.tables.interface import MOST_ROWS, Kind, View, no_number
from molexa_core.io.tables.text_head import TextForm, read_form
from molexa_core.io.tables.text_numbers import MISSING, digits_of, is_number
from molexa_core.io.text_lines import CheckedLines, LinePlace, can_be_sought, column_of, split

__all__ = ["METADATA_LINE", "TextTable"]

_FORTRAN: Final = re.compile(r"(?<=[\d.])[dD](?=[+-]?\d)")


class TextTable:
    """A text file; see `table.Table`.

    Comments begin with `#`, `%`, `//` or `!`. Without names the columns are called `0`, `1`, ...

    Args:
        path: the file.
        known: column names given in the setup; a comment with them is a line of names.

    Raises:
        InputFileError: missing, empty, not text, or without columns.
    """

    def __init__(self, path: Path, known: Collection[str] = ()) -> None:
        self.path = require_file(path)
        self.label = "the text table"
        try:
            self._form = read_form(path, known)
        except (OSError, EOFError) as error:
            raise _unreadable(path, error) from error
        form = self._form
        self.n_rows: int | None = None if form.sample else 0
        lines = [split(line, form.separator) for line in form.sample]
        fields = [line for line in lines if len(line) == form.width]
        self._places: dict[str, int] = {}
        kinds: dict[str, Kind] = {}
        for place, name in enumerate(form.names):
            if not name:
                continue
            kind = _kind(form, place, column_of(fields, place))
            if name in kinds:
                kind = Kind(kind.held, kind.type, times=kinds[name].times + 1)
            self._places[name] = place
            kinds[name] = kind
        self.kinds: Mapping[str, Kind] = kinds
        self.seekable = can_be_sought(path, form.encoding)
        self.marks: Sequence[tuple[int, int, int]] = ()
        self._limits: tuple[int, int] | None = None

    def limited(self, first: int, last: int) -> TextTable:
        """See `table.LimitedTable`; read from the mark before the first row."""
        part = copy(self)
        part._limits = first, last  # noqa: SLF001  (its own class)
        return part

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Lines of the file, a number at a time."""
        del columns
        if self.n_rows == 0:
            return
        first, last = self._limits or (0, None)
        place = None
        for byte, line, row in self.marks if self._limits else ():
            place = LinePlace(byte, line, row) if row <= first else place
        start = 0 if place is None else place.row
        passed: list[tuple[int, int, int]] = []
        for frame in self._frames(rows or MOST_ROWS, list(dict.fromkeys(names)), place, passed):
            begin, start = start, start + len(frame)
            low = max(first - begin, 0)
            high = len(frame) if last is None else min(last - begin, len(frame))
            if low < high:
                yield _TextView(self, frame.iloc[low:high], begin + low)
            if last is not None and start >= last:
                return
        if self._limits is None:
            self.marks = tuple(passed)

    def metadata(self) -> dict[str, Any]:
        """Metadata stored by molexa in the file."""
        return dict(self._form.metadata)

    @property
    def doubts(self) -> list[str]:
        """Warnings about uncertain choices of the form."""
        return list(self._form.doubts)

    @property
    def decimal(self) -> str:
        """The decimal sign."""
        return self._form.decimal

    def _frames(
        self,
        rows: int,
        names: list[str],
        place: LinePlace | None,
        passed: list[tuple[int, int, int]],
    ) -> Iterator[pd.DataFrame]:
        """Some columns of the file in pieces, from a place on; places that are passed are noted."""
        form = self._form
        places = [self._places[name] for name in names]
        lines = CheckedLines(
            self.path,
            form.encoding,
            form.skip,
            form.separator,
            form.width,
            place=place,
            note=lambda at: passed.append((at.byte, at.line, at.row)),
        )
        try:
            with pd.read_csv(
                io.BufferedReader(lines),
                sep=form.separator or r"\s+",
                decimal="." if form.separator == "," else form.decimal,
                header=None,
                names=list(range(form.width)),
                usecols=sorted(set(places)),
                index_col=False,
                chunksize=rows,
                skipinitialspace=True,
                encoding_errors="replace",
                on_bad_lines="error",
            ) as frames:
                for frame in frames:
                    chosen = frame[places]
                    chosen.columns = pd.Index(names)
                    yield chosen
        except pd.errors.EmptyDataError:
            return
        except MolexaError:
            raise
        except (ValueError, OverflowError, OSError, EOFError) as error:
            raise _unreadable(self.path, error) from error


class _TextView:
    def __init__(self, table: TextTable, frame: pd.DataFrame, start: int) -> None:
        self._table, self._frame = table, frame
        self.start, self.stop = start, start + len(frame)

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        return {name: self._numbers(name) for name in names}

    def _numbers(self, name: str) -> NDArray[Any]:
        column = self._frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            return column.to_numpy()
        words = column.astype("string").str.strip("\"' ")
        plain = words.str.replace(_FORTRAN, "E", regex=True)
        if self._table.decimal == ",":
            plain = plain.str.replace(".", "?", regex=False).str.replace(",", ".", regex=False)
        found = pd.to_numeric(plain, errors="coerce")
        known = words.notna() & ~words.str.lower().isin(MISSING).fillna(value=True)
        bad = (found.isna() & known).to_numpy(dtype=bool)
        if bad.any():
            row = int(np.argmax(bad))
            text = str(column.iloc[row])
            at = f"in row {self.start + row}"
            raise ColumnError(
                f"column {name!r} holds {shown(text)} {at}, which is not a number",
                where=self._table.path,
                do=no_number(text) or "Correct the line.",
            )
        return found.to_numpy(dtype=np.float64, na_value=np.nan)

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        raise InputFileError(
            f"a text table has no lists ({', '.join(names)})", where=self._table.path
        )


def _kind(form: TextForm, place: int, texts: Sequence[str]) -> Kind:
    """A column of numbers if the first lines hold some and nothing else."""
    unit = form.units.get(place)
    known = [text for text in texts if text.lower() not in MISSING]
    word = next((text for text in known if not is_number(text, form.decimal)), None)
    if word is None:
        digits = digits_of(known)
        return Kind("number", "number" if texts else "empty", unit=unit, digits=digits)
    if sum(is_number(text, form.decimal) for text in known) * 2 > len(known):
        return Kind("number", "number", unit=unit)  # a wrong line is told when it is read
    return Kind("other", "text", unit=unit, example=word)


def _unreadable(path: Path, error: Exception) -> InputFileError:
    detail = " ".join(str(error).split())[:160]
    return InputFileError(
        f"not readable as a table of text ({detail})",
        where=path,
        do="Every line needs as many values as the first.",
    )
