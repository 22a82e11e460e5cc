"""Parquet files as tables: numbers or lists of numbers per row, read by row groups."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, MolexaError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.storage.files import require_file
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.tables.column_names import also_called
from molexa_core.io.tables.column_units import stated
from molexa_core.io.tables.interface import CHUNK_BYTES, MOST_ROWS, Kind, Table, View, numbers_of

METADATA_KEY: Final = b"molexa"
"""Key of the file's metadata that holds what molexa knows about the run, as JSON."""


def arrow(what: str = "Parquet files") -> Any:
    """The modules of pyarrow.

    Args:
        what: needs them, for the message.

    Raises:
        InputFileError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise InputFileError(
            f"{what} need pyarrow, which is not installed",
            do="pip install 'molexa[parquet]'",
        ) from error
    return pa, pq


@contextmanager
def reading_parquet(path: Path, kind: str = "Parquet") -> Iterator[None]:
    """Whatever a damaged file makes pyarrow raise becomes one clear error."""
    try:
        yield
    except (MolexaError, KeyboardInterrupt):
        raise
    except Exception as error:
        detail = " ".join(str(error).split())[:160] or type(error).__name__
        raise InputFileError(
            f"the {kind} file is damaged or truncated ({detail})", where=path, do="Copy it again."
        ) from error


class ParquetTable:
    """A Parquet file; see `table.Table`.

    Raises:
        InputFileError: missing or damaged, or pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        self.label = "the Parquet table"
        self._arrow, parquet = arrow()
        with reading_parquet(path):
            self._file = parquet.ParquetFile(
                path, memory_map=False, page_checksum_verification=True
            )
            schema = self._file.schema_arrow
            self.n_rows: int | None = int(self._file.metadata.num_rows)
            self.kinds: Mapping[str, Kind] = arrow_kinds(self._arrow, schema)
            self._stored = dict(schema.metadata or {})
        groups = self._file.metadata.num_row_groups
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(groups)]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._limits = 0, self.n_rows or 0

    def limited(self, first: int, last: int) -> ParquetTable:
        """See `table.LimitedTable`; row groups in which none of the rows is are not read."""
        part = copy(self)
        part._limits = first, last  # noqa: SLF001  (its own class)
        return part

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Batches of the file; a batch does not cross row groups."""
        del columns
        size = self._file.metadata.num_row_groups and sum(
            self._file.metadata.row_group(i).total_byte_size
            for i in range(self._file.metadata.num_row_groups)
        )
        row = max(1, size // max(1, self.n_rows or 0))
        goal = rows or int(min(MOST_ROWS, max(1, CHUNK_BYTES // row)))
        first, last = self._limits
        low = int(np.searchsorted(self._ends, first, side="right"))
        high = int(np.searchsorted(self._ends, last, side="left"))
        if first >= last:
            return
        start = int(self._ends[low - 1]) if low else 0
        groups = list(range(low, high + 1))
        batches = self._file.iter_batches(
            goal, row_groups=groups, columns=list(names), use_threads=False
        )
        while start < last:
            with reading_parquet(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            begin, start = start, start + batch.num_rows
            cut = max(first - begin, 0)
            if cut < batch.num_rows:
                rows = min(last, start) - begin - cut
                yield ArrowView(self, batch.slice(cut, rows), begin + cut)

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the file."""
        stored = self._stored.get(METADATA_KEY)
        if stored is None:
            return {}
        try:
            values = json.loads(stored)
        except ValueError as error:
            raise InputFileError(
                "the metadata of molexa are not readable as JSON",
                where=self.path,
                do="The file is damaged; make the run again.",
            ) from error
        return values if isinstance(values, dict) else {}


class ArrowView:
    """Rows of a batch; see `table.View`.

    Args:
        table: the table, for its columns and for messages.
        batch: the rows.
        start: number of the first.
    """

    def __init__(self, table: Table, batch: Any, start: int) -> None:
        self._table, self._batch = table, batch
        self.start, self.stop = start, start + batch.num_rows

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """See `table.View`."""
        with reading_parquet(self._table.path):
            return {name: self._batch.column(name).to_numpy(zero_copy_only=False) for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        """See `table.View`."""
        found = {}
        with reading_parquet(self._table.path):
            for name in names:
                column = self._batch.column(name)
                if self._table.kinds[name].filled:
                    values = column.flatten().to_numpy(zero_copy_only=False)
                    width = len(values) // max(1, len(column) - column.null_count)
                    counts = np.where(_known(column), width, 0).astype(np.int64)
                    found[name] = counts, numbers_of(values)
                    continue
                counts = np.zeros(len(column), np.int64)
                lengths = column.value_lengths().to_numpy(zero_copy_only=False)
                np.copyto(counts, lengths, where=np.isfinite(lengths), casting="unsafe")
                values = column.flatten().to_numpy(zero_copy_only=False)
                found[name] = counts, numbers_of(values)
        return found


def _known(column: Any) -> NDArray[np.bool_]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def arrow_kinds(pa: Any, schema: Any) -> dict[str, Kind]:
    """What the columns of a schema hold, with the units that its metadata state."""
    around = _plain(schema.metadata)
    attributes = _json(around.pop("pandas_attrs", None))
    pandas = _json(around.pop("pandas", None))
    listed = {**attributes, **_map(pandas.get("attributes")), **around}
    found: dict[str, Kind] = {}
    for field in schema:
        unit = stated(field.name, _plain(field.metadata), listed, also_called(field.name))
        kind = replace(_kind(pa, field.type), unit=unit)
        before = found.get(field.name)
        found[field.name] = kind if before is None else replace(kind, times=before.times + 1)
    return found


def _plain(metadata: Any) -> dict[str, Any]:
    return {
        bytes(key).decode("utf-8", "replace").lower(): bytes(value)
        for key, value in (metadata or {}).items()
    }


def _json(text: Any) -> dict[str, Any]:
    """A map stored as JSON; empty where there is none."""
    try:
        return _map(json.loads(text)) if text is not None else {}
    except (ValueError, RecursionError):
        return {}


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _kind(pa: Any, type_: Any) -> Kind:
    fixed = pa.types.is_fixed_size_list(type_)
    is_list = pa.types.is_list(type_) or pa.types.is_large_list(type_) or fixed
    inner = type_.value_type if is_list else type_
    number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)
    if not number:
        return Kind("other", str(type_))
    return Kind("list" if is_list else "number", str(type_), filled=fixed)
