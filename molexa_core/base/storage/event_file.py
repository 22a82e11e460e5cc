"""Scalars of a training in the file format that TensorBoard reads.

An event file is a row of TFRecords: length (8 bytes, little endian), its masked CRC-32C, the data,
their masked CRC-32C. The data are protocol buffers of the message `Event` (tensorflow/core/util/
event.proto): 1 wall time (double), 2 step (int64), 3 file version (string), 5 summary, which holds
values (1) of a tag (1, string) and a number (2, float). They are written by hand, so that no
training needs TensorBoard or TensorFlow.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from molexa_core.base.storage.files import cannot_write

NAME: Final = "events.out.tfevents.molexa"
"""Name of the file in the folder of a training; TensorBoard looks for `tfevents`."""
VERSION: Final = b"brain.Event:2"
_POLYNOMIAL: Final = 0x82F63B78
_MASK: Final = 0xA282EAD8
_DOUBLE, _VARINT, _BYTES, _FLOAT = 1, 0, 2, 5


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_ROWS: Final = _table()


def crc32c(data: bytes) -> int:
    """The CRC-32C of data (RFC 3720, appendix B.4)."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _ROWS[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def append_scalars(path: Path, step: int, values: Mapping[str, float]) -> None:
    """Append the values of a step; the file is begun if it does not exist.

    Args:
        path: the file.
        step: of the training.
        values: by tag; numbers that are not finite are written as they are.

    Raises:
        OutputError: the file cannot be written.
    """
    now = _field(1, _DOUBLE, struct.pack("<d", time.time()))
    summary = b"".join(
        _field(1, _BYTES, _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, _single(value)))
        for tag, value in values.items()
    )
    event = now + _field(2, _VARINT, _varint(step)) + _field(5, _BYTES, summary)
    begin = b"" if path.exists() else _record(now + _field(3, _BYTES, VERSION))
    try:
        with path.open("ab") as stream:
            stream.write(begin + _record(event))
    except OSError as error:
        raise cannot_write(path, error) from error


def is_event_file(head: bytes) -> bool:
    """Whether a file that begins like this is one of scalars."""
    return VERSION in head[:64]


def _single(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return struct.pack("<f", float("inf") if value > 0 else float("-inf"))


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    value = crc32c(data)
    turned = ((value >> 15) | (value << 17)) & 0xFFFFFFFF
    return struct.pack("<I", (turned + _MASK) & 0xFFFFFFFF)


def _field(number: int, kind: int, data: bytes) -> bytes:
    length = _varint(len(data)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + length + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
