"""Columns of an HDF5 file that grow: rows are gathered until a chunk is full, and packed here.

HDF5 packs a chunk again whenever a dataset is closed between two blocks of rows, and runs the
search for repetitions over all bytes of floating-point numbers, of which most are noise. Here a
chunk is packed once. Its bytes are sorted by their place in the number (the filter `shuffle`); the
places that are noise are stored as they are, the others packed (RFC 1951, section 3.2), those of
floating-point numbers without a search for repetitions where there can be few. Any HDF5 library
reads the result as shuffled and deflated. Rows are put together in the threads that pack, so that
whoever appends only hands them over.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
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
_VARIED_BITS: Final = 1.0
"""Information of a byte of floating-point numbers from which repetitions are not searched for: it
takes half the time, and what they would spare is little."""
_SAMPLE: Final = 4096
"""Bytes of a place that are looked at."""
_MOST_STORED: Final = 2**16 - 1
"""Bytes of a stored block."""
_MOST_WAITING: Final = 64
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

    def put(self, dataset: h5py.Dataset, start: int, chunk: Callable[[], NDArray[Any]]) -> None:
        """Pack a chunk and write it in its turn.

        Args:
            dataset: long enough.
            start: row with which the chunk begins.
            chunk: makes it, of the shape of a chunk; called by the thread that packs.
        """
        if self._pool is None:
            _write(dataset, start, packed(chunk()))
            return
        self._waiting.append((dataset, start, self._pool.submit(_made_and_packed, chunk)))
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
            self._put(start, partial(_scaled, content, self._shape, self._dtype, factor))
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

    def _taken(self) -> Callable[[], NDArray[Any]]:
        """What puts the rows that wait together."""
        rows, self._rows, self._waiting = self._rows, [], 0
        return partial(_together, rows, self._shape, self._dtype)

    def _place(self, start: int) -> tuple[int, ...]:
        return _place(start, self._shape)

    def _put(self, start: int, chunk: Callable[[], NDArray[Any]]) -> None:
        """Pack and write the chunk that begins at a row."""
        end = start + self._shape[0]
        if self._length < end:
            self._length = end + _ROOM * self._shape[0]
            self._dataset.resize(self._length, axis=0)
        self._packers.put(self._dataset, start, chunk)
        check_disk(self._file)


def _together(
    rows: Sequence[NDArray[Any]], shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """A chunk of these rows; zeros behind them."""
    chunk, end = np.empty(shape, dtype), 0
    for part in rows:
        chunk[end : end + len(part)] = part
        end += len(part)
    chunk[end:] = 0
    return chunk


def _scaled(
    content: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], factor: float
) -> NDArray[Any]:
    """A packed chunk as it was before, times a factor."""
    places = np.frombuffer(zlib.decompress(content), np.uint8).reshape(dtype.itemsize, -1)
    chunk = np.ascontiguousarray(places.T).reshape(-1).view(dtype).reshape(shape)
    chunk *= factor
    return chunk


def _made_and_packed(chunk: Callable[[], NDArray[Any]]) -> bytes:
    return packed(chunk())


def _place(start: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return (start,) + (0,) * (len(shape) - 1)


def _write(dataset: h5py.Dataset, start: int, content: bytes) -> None:
    """Write a packed chunk that begins at a row."""
    dataset.id.write_direct_chunk(_place(start, dataset.chunks), content)


def packed(chunk: NDArray[Any]) -> bytes:
    """The bytes of a chunk as the filters `shuffle` and `deflate` of HDF5 read them.

    Args:
        chunk: of any shape; numbers of one size.
    """
    size = chunk.dtype.itemsize
    places = np.ascontiguousarray(chunk).view(np.uint8).reshape(-1, size).T.copy()
    bits = _information(places) if chunk.dtype.kind == "f" else np.zeros(size)
    parts: list[bytes | memoryview] = [_HEAD]
    for place, known in zip(places, bits.tolist(), strict=True):
        if known > _NOISE_BITS:
            parts += _stored(place.data)
            continue
        strategy = zlib.Z_HUFFMAN_ONLY if known > _VARIED_BITS else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy
        )
        parts += [packer.compress(place.data), packer.flush(zlib.Z_FULL_FLUSH)]
    return b"".join([*parts, _LAST, zlib.adler32(places.data).to_bytes(4, "big")])


def _information(places: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(places) information of the bytes of each place in bits, by a sample."""
    number = len(places)
    sample = places[:, :: max(1, places.shape[1] // _SAMPLE)]
    values = sample + 256 * np.arange(number, dtype=np.int64)[:, None]
    seen = np.bincount(values.reshape(-1), minlength=256 * number).reshape(number, 256)
    share = seen / max(sample.shape[1], 1)
    bits: NDArray[np.float64] = -(share * np.log2(np.where(seen > 0, share, 1.0))).sum(axis=1)
    return bits


def _stored(place: memoryview) -> list[bytes | memoryview]:
    """Bytes in blocks that are not packed."""
    parts: list[bytes | memoryview] = []
    for start in range(0, len(place), _MOST_STORED):
        block = place[start : start + _MOST_STORED]
        size = len(block)
        parts.append(b"\0" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little"))
        parts.append(block)
    return parts
