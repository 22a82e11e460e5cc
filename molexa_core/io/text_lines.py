"""Lines of a text table, stripped of comments and checked for their number of values."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np

from molexa_core.base.errors import InputFileError
from molexa_core.io.marks import GZIP

COMMENTS: Final = ("#", "%", "//", "!")
"""What begins a comment; behind values only the first does."""
LONGEST_LINE: Final = 4 * 2**20
_BLOCK: Final = 2**20
_COMMENT: Final = re.compile(rb"#|^[ \t]*(?:%|//|!)", re.MULTILINE)
_FIRST_LETTERS: Final = tuple(sign[:1].encode() for sign in COMMENTS[1:])
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_BLANKS: Final = re.compile(r'"[^"]*"|\'[^\']*\'|\S+')


def open_text(path: Path) -> BinaryIO:
    """The bytes of a text file, unpacked where it is packed with gzip."""
    with path.open("rb") as stream:
        packed = stream.read(2) == GZIP
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def can_be_sought(path: Path, encoding: str) -> bool:
    """Whether lines of a text can be read from any of them on: its bytes are those of the code."""
    with path.open("rb") as stream:
        return stream.read(2) != GZIP and encoding in {"utf-8", "utf-8-sig"}


def encoding_of(head: bytes) -> str:
    """The code of a text by its first bytes; Latin-1 where it cannot be UTF-8."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if head.startswith(mark):
            return name
    pairs = head[: len(head) // 2 * 2]
    if len(pairs) >= 8 and 0 not in pairs[::2] and not any(pairs[1::2]):
        return "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=False)
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def lines_of(content: bytes) -> list[str] | None:
    r"""The lines of a short text in any code; None where it is no text.

    Only ends of lines part lines: `str.splitlines` also takes the ellipsis of Windows, which is
    next line in Latin-1, and form feeds in comments.

    Example:
        >>> lines_of(b"3\r\nwater\x85 at rest\n")
        ['3', 'water\x85 at rest']
    """
    code = encoding_of(content)
    text = content.decode(code, errors="replace").removeprefix("\ufeff")
    if "\0" in text or (code.startswith("utf-16") and _LINE_END.search(text) is None):
        return None
    lines = _LINE_END.split(text)
    return lines[:-1] if not lines[-1] else lines


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are those of text."""
    if encoding_of(head).startswith("utf-16"):
        return True
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)


def split(text: str, separator: str | None) -> list[str]:
    """The values of a line; blanks separate them where there is no separator."""
    if separator is None:
        return [field.strip("\"'") for field in _BLANKS.findall(text)]
    if '"' not in text:
        return [field.strip() for field in text.split(separator)]
    try:
        row = next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a field longer than the reader takes: quotes do not count then
        row = text.split(separator)
    return [field.strip() for field in row]


def comment_in(text: str) -> str | None:
    """What stands behind the sign of a comment, where a line is one; else None."""
    bare = text.lstrip()
    for sign in COMMENTS:
        if bare.startswith(sign):
            return bare.lstrip(sign[0]).strip()
    return None


@dataclass(frozen=True)
class LinePlace:
    """A place in a text table from which its lines can be read.

    Attributes:
        byte: at which a line begins.
        line: lines before it.
        row: rows of data before it.
    """

    byte: int
    line: int
    row: int


class CheckedLines(io.RawIOBase):
    """The data lines of a text table as UTF-8, without comments and empty lines.

    Args:
        path: the file.
        encoding: its code.
        skip: lines before the data.
        separator: what stands between values; None for blanks.
        width: values in each line.
        place: where to begin; at the first line if not given.
        note: receives places that were passed, where the file can be read from them.

    Raises:
        InputFileError: while reading, a line with another number of values.
    """

    def __init__(
        self,
        path: Path,
        encoding: str,
        skip: int,
        separator: str | None,
        width: int,
        *,
        place: LinePlace | None = None,
        note: Callable[[LinePlace], None] | None = None,
    ) -> None:
        super().__init__()
        self._path, self._separator, self._width = path, separator, width
        self._stream = open_text(path)
        self._skip = skip
        self._decode = None
        if encoding not in {"utf-8", "utf-8-sig"}:
            self._decode = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._rest = b""
        self._line = self._row = self._byte = 0
        self._note = note
        if place is not None:
            self._stream.seek(place.byte)
            self._byte, self._line, self._row = place.byte, place.line, place.row
            self._skip = 0
        self._out = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """It is."""
        return True

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self._stream.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """Clean bytes; see `io.RawIOBase.readinto`."""
        while not self._out and not self._ended:
            self._out = memoryview(self._next_block())
        part = self._out[: len(buffer)]
        buffer[: len(part)] = part
        self._out = self._out[len(part) :]
        return len(part)

    def _next_block(self) -> bytes:
        raw = self._stream.read(_BLOCK)
        self._ended = not raw
        self._byte += len(raw)
        if self._decode is not None:
            raw = self._decode.decode(raw, final=not raw).encode()
        data = self._rest + raw
        if self._ended:
            self._rest = b""
        else:
            end = data.rfind(b"\n") + 1 or data[:-1].rfind(b"\r") + 1
            data, self._rest = data[:end], data[end:]
            if len(self._rest) > LONGEST_LINE:
                raise InputFileError(
                    f"a line is longer than {LONGEST_LINE} bytes",
                    where=self._path,
                    do="Is it a table?",
                )
        clean = self._checked(data)
        self._row += clean.count(b"\n")
        if self._note is not None and not self._skip and not self._ended:
            self._note(LinePlace(self._byte - len(self._rest), self._line, self._row))
        return clean

    def _checked(self, data: bytes) -> bytes:
        """Whole lines without comments, after their values were counted."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._ended and data and not data.endswith(b"\n"):
            data += b"\n"
        while self._skip and data:
            _, _, data = data.partition(b"\n")
            self._skip -= 1
            self._line += 1
        if b"#" in data or _begins_comment(data):
            data = _without_comments(data)
        if not data:
            return b""
        regular = 0 if b'"' in data else self._regular(data)
        if regular:
            self._line += regular
            return data
        counts, empty = self._counts(data)
        bad = (counts != self._width) & ~empty
        if bad.any():
            lines = data.split(b"\n")
            for at in np.flatnonzero(bad):
                text = lines[at].decode("utf-8", "replace")
                found = len(split(text, self._separator))
                if found != self._width:
                    raise self._ragged(int(at), found)
        self._line += len(counts)
        if empty.any():
            lines = data.split(b"\n")
            data = b"".join(lines[at] + b"\n" for at in np.flatnonzero(~empty))
        return data

    def _regular(self, data: bytes) -> int:
        """The number of lines, where each has as many separators as it must; else 0.

        It is a quick look that the slower one need not follow for most blocks.
        """
        if self._separator is None or self._width == 1:
            return 0
        codes = np.frombuffer(data, np.uint8)
        end, between = ord("\n"), ord(self._separator)
        signs = codes[np.flatnonzero((codes == end) | (codes == between))]
        if len(signs) % self._width:
            return 0
        lines = signs.reshape(-1, self._width)
        even = (lines[:, -1] == end).all() and (lines[:, :-1] == between).all()
        return len(lines) if even else 0

    def _counts(self, data: bytes) -> tuple[Any, Any]:
        """The number of values in each line, and whether nothing stands in it."""
        codes = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero(codes == ord("\n"))
        blank = (codes == ord(" ")) | (codes == ord("\t")) | (codes == ord("\n"))
        if self._separator is None:
            begins = ~blank
            begins[1:] &= blank[:-1]
            counts = np.diff(np.cumsum(begins)[ends], prepend=0)
            return counts, counts == 0
        separators = codes == ord(self._separator)
        counts = np.diff(np.cumsum(separators)[ends], prepend=0) + 1
        filled = np.diff(np.cumsum(separators | ~blank)[ends], prepend=0)
        quotes = np.flatnonzero(codes == ord('"'))
        if len(quotes):  # a separator between quotes is none
            lines = data.split(b"\n")
            for at in np.unique(np.searchsorted(ends, quotes)):
                counts[at] = len(split(lines[at].decode("utf-8", "replace"), self._separator))
        return counts, filled == 0

    def _ragged(self, at: int, found: int) -> InputFileError:
        line = self._line + at + 1
        values = "1 value" if found == 1 else f"{found} values"
        return InputFileError(
            f"not readable as a table of text (line {line} has {values}, those before it have "
            f"{self._width})",
            where=self._path,
            do="Every line needs as many values as the first.",
        )


def _begins_comment(data: bytes) -> bool:
    """Whether a line begins with a sign of a comment other than the first."""
    return any(letter in data for letter in _FIRST_LETTERS) and _COMMENT.search(data) is not None


def _without_comments(data: bytes) -> bytes:
    kept = []
    for line in data.split(b"\n"):
        bare = line.lstrip()
        if any(bare.startswith(sign.encode()) for sign in COMMENTS):
            kept.append(b"")
        else:
            kept.append(line.partition(b"#")[0])
    return b"\n".join(kept)


def column_of(fields: Sequence[Sequence[str]], place: int) -> list[str]:
    """A column of lines that were split."""
    return [line[place] for line in fields if len(line) > place]
