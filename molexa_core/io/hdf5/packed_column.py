"""Columns of an HDF5 file that grow: rows are gathered until a chunk is full, and packed here.

HDF5 packs a chunk again whenever a dataset is closed between two blocks of rows, and runs the
search for repetitions over all bytes of floating-point numbers, of which most are noise. Here a
chunk is packed once. Its bytes are sorted by their place in the number (the filter `shuffle`); the
places that are noise are stored as they are, the others packed (RFC 1951, section 3.2). Any HDF5
library reads the result as shuffled and deflated.
"""

from __future__ import annotations

import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.io.hdf5.sink import check_disk

_LEVEL: Final = 1
_NOISE_BITS: Final = 7.5
"""Information of a byte from which it is stored: packing would spare less than 6 %."""
_SAMPLE: Final = 4096
"""Bytes of a place that are looked at."""
_MOST_STORED: Final = 2**16 - 1
"""Bytes of a stored block."""
_MOST_WAITING: Final = 32
"""Chunks that are packed, or wait for it."""
_ROOM: Final = 63
"""Chunks by which a dataset is made longer than it is, since to do so takes longer than to write a
chunk; at the end it has its length."""
_HEAD: Final = b"\x78\x01"
_LAST: Final = b"\x01\x00\x00\xff\xff"
"""An empty stored block, which is the last."""


class Packers:
    """Threads that pack chunks while others are gathered; chunks are written in their order.

    Args:
        threads: how many; 0 packs each chunk at once.
    """

    def __init__(self, threads: int = 0) -> None:
        self._pool = ThreadPoolExecutor(threads, "molexa-pack") if threads else None
        self._waiting: deque[tuple[h5py.Dataset, int, Future[bytes]]] = deque()

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

    def put(self, dataset: h5py.Dataset, start: int, chunk: NDArray[Any]) -> None:
        """Pack a chunk and write it in its turn; nobody may change it any more.

        Args:
            dataset: long enough.
            start: row with which the chunk begins.
            chunk: of the shape of a chunk.
        """
        if self._pool is None:
            _write(dataset, start, packed(chunk))
            return
        self._waiting.append((dataset, start, self._pool.submit(packed, chunk)))
        if len(self._waiting) > _MOST_WAITING:
            self._write_first()

    def drain(self) -> None:
        """Write all chunks that wait."""
        while self._waiting:
            self._write_first()

    def _write_first(self) -> None:
        dataset, start, content = self._waiting.popleft()
        _write(dataset, start, content.result())


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
        self._chunk: NDArray[Any] = np.zeros(dataset.chunks, dataset.dtype)
        self._waiting = self._written = 0
        self._length = len(dataset)

    def __len__(self) -> int:
        return self._written + self._waiting

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows behind those before.

        Raises:
            OSError: the disk is full or has another fault; `new_hdf5` makes it a sentence.
            Interruption: a signal asked to stop.
        """
        interruption.check()
        start = 0
        while start < len(rows):
            taken = rows[start : start + len(self._chunk) - self._waiting]
            self._chunk[self._waiting : self._waiting + len(taken)] = taken
            self._waiting += len(taken)
            start += len(taken)
            if self._waiting == len(self._chunk):
                self._put(self._written)
                self._chunk = np.empty_like(self._chunk)
                self._written, self._waiting = len(self), 0
        check_disk(self._file)

    def scale(self, factor: float) -> None:
        """Multiply all rows so far.

        Raises:
            OSError, Interruption: as `append`.
        """
        self._packers.drain()
        self._chunk[: self._waiting] *= factor
        waiting = self._chunk
        for start in range(0, self._written, len(waiting)):
            interruption.check()
            self._chunk = np.empty_like(waiting)
            self._dataset.read_direct(self._chunk, np.s_[start : start + len(waiting)])
            self._chunk *= factor
            self._put(start)
        self._packers.drain()
        self._chunk = waiting

    def finish(self) -> None:
        """Write the rows that wait; the last call.

        Raises:
            OSError: as `append`.
        """
        if self._waiting:
            self._chunk[self._waiting :] = 0
            self._put(self._written)
        self._packers.drain()
        if self._length != len(self):
            self._dataset.resize(len(self), axis=0)

    def _put(self, start: int) -> None:
        """Pack and write the chunk that begins at a row."""
        end = start + len(self._chunk)
        if self._length < end:
            self._length = end + _ROOM * len(self._chunk)
            self._dataset.resize(self._length, axis=0)
        self._packers.put(self._dataset, start, self._chunk)
        check_disk(self._file)


def _write(dataset: h5py.Dataset, start: int, content: bytes) -> None:
    """Write a packed chunk that begins at a row."""
    place = (start,) + (0,) * (len(dataset.chunks) - 1)
    dataset.id.write_direct_chunk(place, content)


def packed(chunk: NDArray[Any]) -> bytes:
    """The bytes of a chunk as the filters `shuffle` and `deflate` of HDF5 read them.

    Args:
        chunk: of any shape; numbers of one size.
    """
    size = chunk.dtype.itemsize
    places = np.ascontiguousarray(chunk).view(np.uint8).reshape(-1, size).T.copy()
    may_be_noise = chunk.dtype.kind == "f"
    parts: list[bytes | memoryview] = [_HEAD]
    for place in places:
        if may_be_noise and _is_noise(place):
            parts += _stored(place.data)
        else:
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL)
            parts += [packer.compress(place.data), packer.flush(zlib.Z_FULL_FLUSH)]
    return b"".join([*parts, _LAST, zlib.adler32(places.data).to_bytes(4, "big")])


def _is_noise(place: NDArray[np.uint8]) -> bool:
    """Whether bytes are so evenly spread over their values that packing spares little."""
    seen = np.bincount(place[:: max(1, len(place) // _SAMPLE)], minlength=256)
    share = seen[seen > 0] / seen.sum()
    return bool(-(share * np.log2(share)).sum() > _NOISE_BITS)


def _stored(place: memoryview) -> list[bytes | memoryview]:
    """Bytes in blocks that are not packed."""
    parts: list[bytes | memoryview] = []
    for start in range(0, len(place), _MOST_STORED):
        block = place[start : start + _MOST_STORED]
        size = len(block)
        parts.append(b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little"))
        parts.append(block)
    return parts
