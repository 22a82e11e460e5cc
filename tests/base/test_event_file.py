"""The log for TensorBoard: checksums of the standard, and what a reader of the format finds."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from molexa_core.base.storage.event_file import append_scalars, crc32c, is_event_file
from molexa_core.base.storage.outputs import FileKind
from molexa_core.io.results.kinds import kind_of_result


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4, and the check value of the catalogues
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_of_the_standard(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def _unmasked(value: int) -> int:
    turned = (value - 0xA282EAD8) & 0xFFFFFFFF
    return ((turned >> 17) | (turned << 15)) & 0xFFFFFFFF


def _records(data: bytes) -> list[bytes]:
    found = []
    while data:
        length = data[:8]
        size = struct.unpack("<Q", length)[0]
        assert _unmasked(struct.unpack("<I", data[8:12])[0]) == crc32c(length)
        body = data[12 : 12 + size]
        assert _unmasked(struct.unpack("<I", data[12 + size : 16 + size])[0]) == crc32c(body)
        found.append(body)
        data = data[16 + size :]
    return found


def _message(data: bytes) -> list[tuple[int, object]]:
    """The fields of a protocol buffer: number and value."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                return value, at

    found: list[tuple[int, object]] = []
    at = 0
    while at < len(data):
        key, at = varint(at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(at)
            found.append((number, value))
        elif kind == 1:
            found.append((number, struct.unpack("<d", data[at : at + 8])[0]))
            at += 8
        elif kind == 5:
            found.append((number, struct.unpack("<f", data[at : at + 4])[0]))
            at += 4
        else:
            size, at = varint(at)
            found.append((number, data[at : at + size]))
            at += size
    return found


def test_scalars_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.molexa"
    append_scalars(path, 1, {"loss": 0.5})
    append_scalars(path, 70000, {"loss": 1e300, "rate": -2.25})
    first, *events = _records(path.read_bytes())
    assert dict(_message(first))[3] == b"brain.Event:2"
    read = []
    for event in events:
        fields = dict(_message(event))
        values = [dict(_message(v)) for _, v in _message(fields[5])]  # type: ignore[arg-type]
        read.append((fields[2], {value[1]: value[2] for value in values}))
    assert read == [(1, {b"loss": 0.5}), (70000, {b"loss": float("inf"), b"rate": -2.25})]


def test_the_kind_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.molexa"
    append_scalars(path, 1, {"loss": 0.5})
    assert is_event_file(path.read_bytes())
    assert kind_of_result(path) is FileKind.TRAINING_EVENTS
