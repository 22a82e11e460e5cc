"""Columns of an HDF5 file that grow: rows are gathered until a chunk is full, and packed here.

HDF5 packs a chunk again whenever a dataset is closed between two blocks of rows, and runs the
search for repetitions over all bytes of floating-point numbers, of which most are noise. Here a
chunk is packed once (`packed_chunk`); any HDF5 library reads the result as shuffled and deflated.
Rows are put together in the threads that pack, or for the processes that do: whoever appends only
hands them over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.io.hdf5 import packing_process
from molexa_core.io.hdf5.packed_chunk import packed, scaled
from molexa_core.io.hdf5.packing_process import PackingProcesses
from molexa_core.io.hdf5.sink import check_disk

_MOST_WAITING: Final = 64
"""Chunks that are packed, or wait for it."""
_ROOM: Final = 63
"""Chunks by which a dataset is made longer than it is, since to do so takes longer than to write a
chunk; at the end it has its length."""


Fill = Callable[[NDArray[Any]], None]
"""Fills a chunk."""


class Packers:
    """What packs chunks while others are gathered; chunks are written in their order.

    Args:
        threads: how many threads; 0 packs each chunk at once.
        processes: further processes that pack what is appended, where the system can; they are
            worth it where many others deliver the rows.
        chunk_bytes: of the largest chunk that goes to processes.
    """

    def __init__(self, threads: int = 0, *, processes: int = 0, chunk_bytes: int = 2**19) -> None:
        self._pool = ThreadPoolExecutor(threads, "molexa-pack") if threads else None
        self._processes: PackingProcesses | None = None
        if processes and packing_process.possible():
            with suppress(OSError):
                self._processes = PackingProcesses(processes, chunk_bytes)
        self._waiting: deque[tuple[h5py.Dataset, int, Future[bytes] | PackingProcesses]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._processes is not None:
            self._processes.close()

    def put(self, dataset: h5py.Dataset, start: int, chunk: Chunk, *, copied: bool) -> None:
        """Pack a chunk and write it in its turn.

        Args:
            dataset: long enough.
            start: row with which the chunk begins.
            chunk: what it is made of.
            copied: whether it is only put together; otherwise threads make it.
        """
        others = self._processes
        if copied and others is not None and others.holds(chunk.size):
            while others.full:
                self._write_first()
            place = others.slot(chunk.shape, chunk.dtype)
            chunk.fill(place)
            others.give(place)
            self._waiting.append((dataset, start, others))
        elif self._pool is None:
            _write(dataset, start, chunk.packed())
        else:
            self._waiting.append((dataset, start, self._pool.submit(chunk.packed)))
            if len(self._waiting) > _MOST_WAITING:
                self._write_first()

    def drain(self) -> None:
        """Write all chunks that wait."""
        while self._waiting:
            self._write_first()

    def _write_first(self) -> None:
        dataset, start, made = self._waiting.popleft()
        content = made.take() if isinstance(made, PackingProcesses) else made.result()
        _write(dataset, start, content)


@dataclass(frozen=True)
class Chunk:
    """A chunk that is not made yet.

    Attributes:
        shape, dtype: of it.
        fill: fills it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Fill

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def packed(self) -> bytes:
        """Its bytes as they are in the file."""
        made = np.empty(self.shape, self.dtype)
        self.fill(made)
        return packed(made)


class PackedColumn:
    """Appends rows to a dataset of `io.hdf5.file.new_column`.

    Args:
        dataset: without rows; nobody else may write to it.
        packers: what packs and writes the chunks.
    """

    def __init__(self, dataset: h5py.Dataset, packers: Packers | None = None) -> None:
        self._dataset = dataset
        self._packers = Packers() if packers is None else packers
        self._file: str = dataset.file.filename
        self._shape: tuple[int, ...] = dataset.chunks
        self._dtype: np.dtype[Any] = dataset.dtype
        self._rows: list[NDArray[Any]] = []
        self._waiting = self._written = 0
        self._length = len(dataset)

    def __len__(self) -> int:
        return self._written + self._waiting

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows behind those before; nobody may change them any more.

        Raises:
            OSError: the disk is full or has another fault; `new_hdf5` makes it a sentence.
            Interruption: a signal asked to stop.
        """
        interruption.check()
        full, start = self._shape[0], 0
        while start < len(rows):
            taken = rows[start : start + full - self._waiting]
            self._rows.append(taken)
            self._waiting += len(taken)
            start += len(taken)
            if self._waiting == full:
                self._put(self._written, self._taken())
                self._written += full
        check_disk(self._file)

    def scale(self, factor: float) -> None:
        """Multiply all rows so far.

        Raises:
            OSError, Interruption: as `append`.
        """
        self._packers.drain()
        if self._waiting:
            self._rows = [np.concatenate(self._rows, dtype=self._dtype) * factor]
        for start in range(0, self._written, self._shape[0]):
            interruption.check()
            _, content = self._dataset.id.read_direct_chunk(self._place(start))
            self._put(start, partial(scaled, content, factor), copied=False)
        self._packers.drain()

    def finish(self) -> None:
        """Write the rows that wait; the last call.

        Raises:
            OSError: as `append`.
        """
        length = len(self)
        if self._waiting:
            self._put(self._written, self._taken())
            self._written = length
        self._packers.drain()
        if self._length != length:
            self._dataset.resize(length, axis=0)

    def _taken(self) -> Fill:
        """What puts the rows that wait together."""
        rows, self._rows, self._waiting = self._rows, [], 0
        return partial(_together, rows)

    def _place(self, start: int) -> tuple[int, ...]:
        return _place(start, self._shape)

    def _put(self, start: int, fill: Fill, *, copied: bool = True) -> None:
        """Pack and write the chunk that begins at a row."""
        end = start + self._shape[0]
        if self._length < end:
            self._length = end + _ROOM * self._shape[0]
            self._dataset.resize(self._length, axis=0)
        chunk = Chunk(self._shape, self._dtype, fill)
        self._packers.put(self._dataset, start, chunk, copied=copied)
        check_disk(self._file)


def _together(rows: Sequence[NDArray[Any]], chunk: NDArray[Any]) -> None:
    """A chunk of these rows; zeros behind them."""
    end = 0
    for part in rows:
        chunk[end : end + len(part)] = part
        end += len(part)
    chunk[end:] = 0


def _place(start: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (start,) + (0,) * (len(shape) - 1)


def _write(dataset: h5py.Dataset, start: int, content: bytes) -> None:
    """Write a packed chunk that begins at a row."""
    dataset.id.write_direct_chunk(_place(start, dataset.chunks), content)
