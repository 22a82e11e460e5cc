"""Sequential reading, with checked lengths, and writing of packed little-endian values.

Strings are those of MFC's `CArchive`: a length of 1 byte, or 0xFF and 2 bytes, or 0xFFFF and 4.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any, BinaryIO, Final

from molexa_core.base.errors import InputFileError, UsageError

LONGEST: Final = 64 * 2**20
"""No text or table in a header is longer, in bytes."""
MOST_ITEMS: Final = 65536
_MARK16: Final = 0xFF
_MARK32: Final = 0xFFFF
_UNICODE: Final = 0xFFFE


class Cursor:
    """Reads values from the start of a file on, never more bytes than there are.

    Args:
        stream: an open binary file.
        path: its name, for messages.
        size: its length in bytes.
    """

    def __init__(self, stream: BinaryIO, path: Path, size: int) -> None:
        self._stream, self.path, self.size = stream, path, size
        self.position = 0

    def seek(self, position: int) -> None:
        """Go on at this byte."""
        self.position = position

    def take(self, length: int, what: str) -> bytes:
        """The next bytes.

        Raises:
            InputFileError: the file ends before, or the length cannot be true.
        """
        if length > LONGEST:
            raise self.fault(f"{what} claims a length of {length} bytes")
        if length > self.size - self.position:
            raise InputFileError(
                f"the file is cut off in its header: {what} needs {length} bytes at byte "
                f"{self.position}, but the file ends at byte {self.size}",
                where=self.path,
                do="Copy the file again.",
            )
        self._stream.seek(self.position)
        data = self._stream.read(length)
        if len(data) != length:
            raise self.fault(f"{what} cannot be read")
        self.position += length
        return data

    def number(self, kind: str, what: str) -> Any:
        """One number; `kind` is a letter of `struct`."""
        return struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}"), what))[0]

    def numbers(self, kind: str, count: int, what: str) -> tuple[Any, ...]:
        """Several numbers of one kind."""
        layout = f"<{count}{kind}"
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def count(self, what: str) -> int:
        """A number of items that follow.

        Raises:
            InputFileError: it is negative or absurd.
        """
        value = int(self.number("i", what))
        if not 0 <= value <= MOST_ITEMS:
            raise self.fault(f"{what} claims {value} items")
        return value

    def block(self, what: str) -> bytes:
        """Bytes behind a length of 4 bytes."""
        return self.take(int(self.number("I", what)), what)

    def text(self, what: str) -> str:
        """Text behind a length of 4 bytes."""
        return self.block(what).decode("latin-1")

    def blocks(self, what: str) -> tuple[bytes, ...]:
        """A number and as many blocks."""
        return tuple(self.block(what) for _ in range(self.count(what)))

    def string(self, what: str) -> str:
        """A string as MFC stores it."""
        width, encoding = 1, "latin-1"
        length = int(self.number("B", what))
        if length == _MARK16:
            length = int(self.number("H", what))
            if length == _UNICODE:
                width, encoding = 2, "utf-16-le"
                length = int(self.number("B", what))
                if length == _MARK16:
                    length = int(self.number("H", what))
            if length == _MARK32:
                length = int(self.number("I", what))
        return self.take(length * width, what).decode(encoding, errors="replace")

    def fault(self, what: str) -> InputFileError:
        """The error of a damaged header at the current place."""
        return InputFileError(
            f"the LMF header is damaged at byte {self.position}: {what}",
            where=self.path,
            do="Copy the file again.",
        )


class Packer:
    """Collects packed values."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()

    def packed(self) -> bytes:
        """Everything packed so far."""
        return self._stream.getvalue()

    @property
    def position(self) -> int:
        """Number of bytes packed so far."""
        return self._stream.tell()

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._stream.write(data)

    def number(self, kind: str, *values: Any) -> None:
        """Numbers of one kind; `kind` is a letter of `struct`.

        Raises:
            UsageError: a value does not fit.
        """
        try:
            self._stream.write(struct.pack(f"<{len(values)}{kind}", *values))
        except struct.error as error:
            raise UsageError(f"cannot store {values!r} in an LMF header: {error}") from error

    def block(self, data: bytes) -> None:
        """Bytes behind their length in 4 bytes."""
        self.number("I", len(data))
        self.raw(data)

    def text(self, text: str) -> None:
        """Text behind its length in 4 bytes."""
        self.block(encoded(text))

    def blocks(self, items: tuple[bytes, ...]) -> None:
        """A number and as many blocks."""
        self.number("i", len(items))
        for item in items:
            self.block(item)

    def string(self, text: str) -> None:
        """A string as MFC stores it."""
        data = encoded(text)
        if len(data) < _MARK16:
            self.number("B", len(data))
        elif len(data) < _UNICODE:
            self.number("B", _MARK16)
            self.number("H", len(data))
        else:
            self.number("B", _MARK16)
            self.number("H", _MARK32)
            self.number("I", len(data))
        self.raw(data)


def encoded(text: str) -> bytes:
    """Text in the one-byte characters of these files.

    Raises:
        UsageError: it has others.
    """
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"text in an LMF file cannot hold {text[error.start]!r}", do="Use Latin letters."
        ) from error
