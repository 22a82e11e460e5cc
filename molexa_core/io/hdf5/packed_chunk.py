"""Packing of a chunk of numbers as the filters `shuffle` and `deflate` of HDF5 read it.

The bytes of a chunk are sorted by their place in the number (the filter `shuffle`); the places that
are noise are stored as they are, the others packed (RFC 1951, section 3.2), those of floating-point
numbers without a search for repetitions where there can be few.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

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
_HEAD: Final = b"\x78\x01"
_LAST: Final = b"\x01\x00\x00\xff\xff"
"""An empty stored block, which is the last."""


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


def scaled(content: bytes, factor: float, into: NDArray[Any]) -> None:
    """A packed chunk as it was before, times a factor.

    Args:
        content: what `packed` gave.
        factor: on all values.
        into: receives it; of the shape and type of the chunk.
    """
    places = np.frombuffer(zlib.decompress(content), np.uint8).reshape(into.dtype.itemsize, -1)
    into.reshape(-1).view(np.uint8).reshape(-1, into.dtype.itemsize)[:] = places.T
    into *= factor
