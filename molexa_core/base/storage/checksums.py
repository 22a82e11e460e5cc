"""Checksums of molexa's files: damage to a value is detected when the file is read.

Three forms, one for each kind of file:

- JSON: the key `checksum` holds the digest of everything else in the file (`sealed`, `unsealed`).
- HDF5: a trailer behind the end of the file holds the digest of every byte before it
  (`append_trailer`, `check_trailer`). HDF5 itself ignores bytes behind its end.
- containers of named arrays that tolerate neither: one digest over all names and contents
  (`digest_of_parts`), kept in the header of the container.

All are SHA-256 and written as `sha256:` and 64 hexadecimal digits. They guard against damage, not
against forgery.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError

CHECKSUM: Final = "checksum"
"""Key of JSON files that holds the digest of everything else in the file."""
_PREFIX: Final = "sha256:"
_MARK: Final = b"\nmolexa checksum sha256:"
_HEX: Final = 64
TRAILER_BYTES: Final = len(_MARK) + _HEX + 1
"""Length of the trailer behind an HDF5 file: a mark, the digest in hexadecimal, an end of line."""
CHANGED_HDF5: Final = f"delete the attribute {CHECKSUM!r} of the file with h5py (mode 'r+')"
"""How to declare that an HDF5 file was changed on purpose; h5py drops the trailer as it writes."""
_BLOCK: Final = 2**20
_TAIL: Final = 1024
_SETTLED_S: Final = 3.0
_sound: set[tuple[str, int, int, int]] = set()
"""Files whose trailer fitted."""


def digest_of(values: Any) -> str:
    """A digest of plain values, independent of the order of their keys."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return f"{_PREFIX}{hashlib.sha256(text.encode()).hexdigest()}"


def digest_of_parts(parts: Iterable[tuple[str, bytes | bytearray | memoryview]]) -> str:
    """A digest of named contents in the order given; names and lengths count too.

    Args:
        parts: a name and its content, such as a description of a tensor and its bytes.
    """
    state = hashlib.sha256()
    for name, content in parts:
        view = memoryview(content).cast("B")
        state.update(f"{name}\0{len(view)}\0".encode())
        state.update(view)
    return f"{_PREFIX}{state.hexdigest()}"


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as JSON gives them back, with their digest as the last key."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(values)))
    plain.pop(CHECKSUM, None)
    return {**plain, CHECKSUM: digest_of(plain)}


def unsealed(
    values: Mapping[str, Any], *, where: object, required: bool = False
) -> tuple[dict[str, Any], bool]:
    """The values without their checksum, and whether there was one.

    Args:
        values: the content of a JSON file.
        where: the file, for the message.
        required: whether the file says of itself that it has a checksum.

    Raises:
        InputFileError: the values are not those of the checksum, or it is missing.
    """
    rest = {name: value for name, value in values.items() if name != CHECKSUM}
    there = CHECKSUM in values
    if there or required:
        _compare(values.get(CHECKSUM), digest_of(rest), where, f"delete its key {CHECKSUM!r}")
    return rest, there


def append_trailer(path: Path | str) -> None:
    """Put the digest of a finished file behind its end."""
    path = Path(path)
    with path.open("rb+") as stream:
        found = _digest_of_stream(stream, path.stat().st_size)
        stream.seek(0, os.SEEK_END)
        stream.write(_MARK + found.encode() + b"\n")


def require_trailer(path: Path | str) -> None:
    """Refuse a file that says of itself that it ends with a trailer, and does not.

    Raises:
        InputFileError: always.
    """
    _compare(None, "", path, CHANGED_HDF5)


def check_trailer(path: Path | str) -> bool:
    """Whether a file ends with a trailer, after its digest was compared with the file.

    Raises:
        InputFileError: the file is not what it was when the trailer was written.
    """
    path = Path(path)
    state = settled_state(path)
    if state in _sound:
        return True
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size - TRAILER_BYTES
        if size < 0:
            return False
        stream.seek(size)
        trailer = stream.read(TRAILER_BYTES)
        if not trailer.startswith(_MARK):
            return False
        stream.seek(0)
        found = _digest_of_stream(stream, size)
    stated = trailer[len(_MARK) :].decode("ascii", "replace").removesuffix("\n")
    _compare(_PREFIX + stated, _PREFIX + found, path, CHANGED_HDF5)
    if state is not None:
        _sound.add(state)
    return True


def states_checksum(path: Path | str) -> bool:
    """Whether a result of molexa carries a checksum, in whichever of the forms; none is computed.

    Args:
        path: HDF5, JSON, or a table with the checksum in a comment at its beginning.
    """
    with Path(path).open("rb") as stream:
        head = stream.read(_BLOCK)
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - _TAIL))
        tail = stream.read()
    if _MARK in tail:
        return True
    if head.lstrip().startswith(b"{"):
        return f'"{CHECKSUM}"'.encode() in tail
    return any(line.startswith(f"# {CHECKSUM}: ".encode()) for line in head.split(b"\n"))


def settled_state(path: Path | str) -> tuple[str, int, int, int] | None:
    """The properties that change when a file changes: name, place on the disk, size, time.

    None for a file that was changed a moment ago: clocks of file systems are coarse, and what
    changes it once more may leave the same time. What was checked of a file need not be checked
    again while this stays the same.
    """
    stat = Path(path).stat()
    if abs(time.time() - stat.st_mtime) < _SETTLED_S:
        return None
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns


def _compare(stated: Any, found: str, where: object, remedy: str) -> None:
    if stated == found:
        return
    what = "its checksum is missing" if stated is None else "its checksum does not fit"
    raise InputFileError(
        f"the file has changed since molexa wrote it: {what}",
        where=where,
        do=f"Copy it or make it again; if you changed it on purpose, {remedy}.",
    )


def _digest_of_stream(stream: BinaryIO, size: int) -> str:
    """Hexadecimal SHA-256 of the next `size` bytes."""
    state = hashlib.sha256()
    left = size
    while left > 0:
        interruption.check()
        block = stream.read(min(_BLOCK, left))
        if not block:
            break
        state.update(block)
        left -= len(block)
    return state.hexdigest()
