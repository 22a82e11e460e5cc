"""Raw records without a header as tables, described by `columns: {record: ...}` of the setup."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns, Record
from molexa_core.base.storage.files import require_file
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.tables.interface import Kind, View, even_ranges, numbers_of

_DO: Final = "Correct `record` in `columns` of the setup, or copy the file again."


def record_dtype(fields: Mapping[str, str], byte_order: Literal["little", "big"]) -> np.dtype[Any]:
    """The numpy type of a record; fields `skipN` are skipped."""
    names, kinds, offsets, at = [], [], [], 0
    for name, text in fields.items():
        skipped = re.fullmatch(r"skip(\d+)", text)
        if skipped is not None:
            at += int(skipped[1])
            continue
        kind = np.dtype(text).newbyteorder(byte_order)
        names.append(name)
        kinds.append(kind)
        offsets.append(at)
        at += kind.itemsize
    return np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": at})


class RecordTable:
    """Records of one size, or shots that begin with a head that states their number of hits.

    Args:
        path: the file.
        record: layout of the records.

    Raises:
        InputFileError: missing, or its length does not fit the records.
    """

    def __init__(self, path: Path, record: Record) -> None:
        self.path = require_file(path)
        self.label = "the file of raw records"
        self._hit = record_dtype(record.fields, record.byte_order)
        self._head = record_dtype(record.heads, record.byte_order)
        size = path.stat().st_size
        if size < record.skip_bytes:
            raise InputFileError(
                f"the file has {size} bytes, fewer than the {record.skip_bytes} to skip",
                where=path,
                do=_DO,
            )
        self._bytes: NDArray[np.uint8] = (
            np.memmap(path, np.uint8, "r") if size else np.empty(0, np.uint8)
        )
        self._skip = record.skip_bytes
        kinds: dict[str, Kind] = {}
        if record.heads:
            self._starts, self._counts = self._walk()
            self.n_rows: int | None = len(self._counts)
            kinds |= {
                name: Kind("number", str(self._head[name])) for name in self._head.names or ()
            }
            held = "list"
        else:
            rest = size - self._skip
            if rest % self._hit.itemsize:
                raise InputFileError(
                    f"the file has {rest} bytes of records, which is no multiple of the "
                    f"{self._hit.itemsize} of one",
                    where=path,
                    do=_DO,
                )
            self.n_rows = rest // self._hit.itemsize
            held = "number"
        kinds |= {
            name: Kind("list" if held == "list" else "number", str(self._hit[name]))
            for name in self._hit.names or ()
        }
        self.kinds: Mapping[str, Kind] = kinds

    def _walk(self) -> tuple[IntArray, IntArray]:
        """The start and the checked number of hits of every shot."""
        dtype = self._head["count"]
        place = int(self._head.fields["count"][1]) if self._head.fields else 0
        width, order = dtype.itemsize, "little" if dtype.str[0] in "<|" else "big"
        signed = dtype.kind == "i"
        data = memoryview(self._bytes)  # type: ignore[arg-type]
        starts, counts = array("q"), array("q")
        at, end, head, hit = self._skip, len(data), self._head.itemsize, self._hit.itemsize
        while at < end:
            if at + head > end:
                raise InputFileError(
                    f"shot {len(starts)} at byte {at} is cut off", where=self.path, do=_DO
                )
            value = bytes(data[at + place : at + place + width])
            count = int.from_bytes(value, order, signed=signed)  # type: ignore[arg-type]
            behind = at + head + count * hit
            if count < 0 or behind > end:
                raise InputFileError(
                    f"shot {len(starts)} at byte {at} says {count} hits, but {end - at - head} "
                    "bytes are left in the file",
                    where=self.path,
                    do=_DO,
                )
            starts.append(at)
            counts.append(count)
            at = behind
        return np.array(starts, np.int64), np.array(counts, np.int64)

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Ranges of equal length."""
        del columns, names
        n_rows = self.n_rows or 0
        row = len(self._bytes) // max(1, n_rows)
        for start, stop in even_ranges(n_rows, row, rows):
            yield _RecordView(self, start, stop)

    def metadata(self) -> dict[str, Any]:
        """Empty: the format cannot store metadata."""
        return {}

    def heads(self, start: int, stop: int) -> NDArray[Any]:
        """The heads of shots."""
        return self._at(self._starts[start:stop], self._head)

    def hits(self, start: int, stop: int) -> tuple[IntArray, NDArray[Any]]:
        """The number of hits of each shot, and the hits of all."""
        counts = self._counts[start:stop]
        place = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        first = self._starts[start:stop] + self._head.itemsize
        return counts, self._at(np.repeat(first, counts) + place * self._hit.itemsize, self._hit)

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Records of one size."""
        size = self._hit.itemsize
        part = self._bytes[self._skip + start * size : self._skip + stop * size]
        return np.array(part).view(self._hit)

    @property
    def in_shots(self) -> bool:
        """Whether shots have heads."""
        return self._head.itemsize > 0

    def _at(self, places: IntArray, dtype: np.dtype[Any]) -> NDArray[Any]:
        taken = self._bytes[places[:, None] + np.arange(dtype.itemsize)]
        return np.ascontiguousarray(taken).view(dtype).reshape(len(places))


class _RecordView:
    def __init__(self, table: RecordTable, start: int, stop: int) -> None:
        self._table, self.start, self.stop = table, start, stop

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        table = self._table
        rows = (table.heads if table.in_shots else table.rows)(self.start, self.stop)
        return {name: _native(rows[name]) for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        counts, hits = self._table.hits(self.start, self.stop)
        return {name: (counts, numbers_of(hits[name])) for name in names}


def _native(values: NDArray[Any]) -> NDArray[Any]:
    """Values in the byte order of this machine, next to each other."""
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("=")))
