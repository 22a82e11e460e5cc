"""Files of numpy (`.npy`) as tables: a structured array, or columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.storage.files import require_file
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.tables.interface import Kind, View, even_ranges


class NpyTable:
    """An array of records, or of two axes with columns `0`, `1`, ...; see `table.Table`.

    Raises:
        InputFileError: missing, damaged, or of another shape.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        self.label = "the numpy array"
        try:
            self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # numpy reads the header as Python: whatever can be wrong there
            detail = " ".join(str(error).split())[:160]
            raise InputFileError(
                f"the numpy file is damaged, cut off or holds Python objects ({detail})",
                where=path,
                do="Save it again with numpy.save as an array of numbers.",
            ) from error
        array = self._array
        if not isinstance(array, np.ndarray) or array.ndim != (1 if array.dtype.names else 2):
            raise InputFileError(
                f"the array has shape {getattr(array, 'shape', ())}",
                where=path,
                do="Give an array of records, or one with a row per hit or shot.",
            )
        self.n_rows: int | None = len(array)
        self._limits = 0, len(array)
        if array.dtype.names:
            fields = {name: array.dtype[name] for name in array.dtype.names}
        else:
            fields = {str(i): array.dtype for i in range(array.shape[1])}
        self.kinds: Mapping[str, Kind] = {name: _kind(dtype) for name, dtype in fields.items()}

    def limited(self, first: int, last: int) -> NpyTable:
        """See `table.LimitedTable`."""
        part = copy(self)
        part._limits = first, last  # noqa: SLF001  (its own class)
        return part

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Ranges of equal length."""
        del columns, names
        row = self._array[:1].nbytes if len(self._array) else 1
        first, last = self._limits
        for start, stop in even_ranges(last - first, row, rows):
            yield _NpyView(self, first + start, first + stop)

    def metadata(self) -> dict[str, Any]:
        """Empty: the format cannot store metadata."""
        return {}

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows of a column, not bound to the file."""
        rows = self._array[start:stop]
        return np.array(rows[name] if self._array.dtype.names else rows[:, int(name)])


class _NpyView:
    def __init__(self, table: NpyTable, start: int, stop: int) -> None:
        self._table, self.start, self.stop = table, start, stop

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        return {name: self._table.read(name, self.start, self.stop) for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        found = {}
        for name in names:
            rows = np.asarray(self._table.read(name, self.start, self.stop), np.float64)
            found[name] = np.full(len(rows), rows.shape[1], np.int64), rows.ravel()
        return found


def _kind(dtype: np.dtype[Any]) -> Kind:
    base, shape = dtype.subdtype or (dtype, ())
    if base.kind not in "iufb" or len(shape) > 1:
        return Kind("other", str(dtype))
    return Kind("list" if shape else "number", str(dtype), filled=bool(shape))
