"""Damage to files: bits, stretches, lengths, blocks, ends; in texts numbers, lines, letters.

Everything is drawn from one seed: a fault is known by the name of its kind of input and a number.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np

Damage = Callable[[bytes, np.random.Generator], bytes]
HUGE: Final = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**53 + 1,
               2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
"""Lengths that no small file has."""
WORDS: Final = (
    "NaN", "nan", "inf", "-inf", "1e400", "-1e400", "1e-400", "-0.0", "9" * 400, "1e308", "0x10",
    "1_000", "٣", "½", "1,5", "", " ", "null", "true", "None", "[]", "{}", "'", '"', "-1", "1e9",
    "99999999999999999999", "4.9e-324", "=1+1", "\ufeff", "😀" * 3, "a" * 5000, "\u202e",
    "\x1b[31m",
    "../../etc/passwd", "*a", "&a", "!!python/object:os.system", "<<: *a", "? -", "1:50", "0110",
)  # fmt: skip
"""What a number or a word of a text is replaced by."""

STRANGE: Final = (
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\r", "\u2028".encode(), b"\xef\xbb\xbf",
    b"{", b"}", b"[" * 3000, b":", b",", b"#", b"%", b"\\", b"\\ud800", b"'", b'"',
)  # fmt: skip
"""Bytes that are no letters, or that structure a text."""


def place(size: int, rng: np.random.Generator) -> int:
    """A place in a file, half of them near its start or end, where headers and indices stand."""
    where = rng.integers(4)
    near = max(1, min(size, max(64, size // 20)))
    if where == 0:
        return int(rng.integers(near))
    if where == 1:
        return size - 1 - int(rng.integers(near))
    return int(rng.integers(size))


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight bits."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        changed[place(len(data), rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def stretch(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of zeros, of ones, or of anything."""
    at, size = place(len(data), rng), int(2 ** rng.uniform(0, 12))
    size = min(size, len(data) - at)
    new = (bytes(size), b"\xff" * size, rng.bytes(size))[int(rng.integers(3))]
    return data[:at] + new + data[at + size :]


def end(data: bytes, rng: np.random.Generator) -> bytes:
    """A file that was cut off."""
    return data[: place(len(data), rng)]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes that do not belong there."""
    at = place(len(data), rng)
    return data[:at] + rng.bytes(int(2 ** rng.uniform(0, 10))) + data[at:]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch that is missing."""
    at = place(len(data), rng)
    return data[:at] + data[at + int(2 ** rng.uniform(0, 12)) :]


def swap(data: bytes, rng: np.random.Generator) -> bytes:
    """Two blocks in each other's place."""
    size = int(min(2 ** rng.uniform(3, 12), len(data) // 2))
    one, two = sorted(int(rng.integers(len(data) - size + 1)) for _ in range(2))
    if two < one + size:
        return flip(data, rng)
    first, second = data[one : one + size], data[two : two + size]
    return data[:one] + second + data[one + size : two] + first + data[two + size :]


def double(data: bytes, rng: np.random.Generator) -> bytes:
    """A block that stands there twice."""
    at = place(len(data), rng)
    return data[:at] + data[at : at + int(2 ** rng.uniform(0, 12))] + data[at:]


def length(data: bytes, rng: np.random.Generator) -> bytes:
    """Whole numbers replaced by absurd ones, where small numbers stand."""
    width = (1, 2, 4, 8)[int(rng.integers(4))]
    order = ("little", "big")[int(rng.integers(2))]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at = place(len(data), rng)
        for _ in range(50):
            number = int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]
            if 0 < number < 2**20:
                break
            at = place(len(data), rng)
        value = HUGE[int(rng.integers(len(HUGE)))] % 256**width
        changed[at : at + width] = value.to_bytes(width, order)  # type: ignore[arg-type]
    return bytes(changed)


def number(data: bytes, rng: np.random.Generator) -> bytes:
    """A number of a text replaced by what is none, or is too large."""
    return _replaced(data, rng, rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")


def word(data: bytes, rng: np.random.Generator) -> bytes:
    """A word of a text replaced by another, by a number, or by nothing."""
    return _replaced(data, rng, rb"[A-Za-z_]\w*\+?")


def digit(data: bytes, rng: np.random.Generator) -> bytes:
    """Another digit."""
    places = [match.start() for match in re.finditer(rb"\d", data)]
    if not places:
        return flip(data, rng)
    at = places[int(rng.integers(len(places)))]
    return data[:at] + str(int(rng.integers(10))).encode() + data[at + 1 :]


def lines(data: bytes, rng: np.random.Generator) -> bytes:
    """A line left out, doubled, moved, indented, joined with the next, or made endless."""
    rows = data.split(b"\n")
    at = int(rng.integers(len(rows)))
    what = int(rng.integers(7))
    if what == 0:
        del rows[at]
    elif what == 1:
        rows.insert(at, rows[at])
    elif what == 2:
        rows.insert(int(rng.integers(len(rows))), rows.pop(at))
    elif what == 3:
        rows[at] = b"\t " + rows[at]
    elif what == 4:
        rows[at : at + 2] = [b"".join(rows[at : at + 2])]
    elif what == 5:
        rows[at] += b"x" * 1_000_000
    else:
        rows[at] = rows[at] * 2000
    return b"\n".join(rows)


def letters(data: bytes, rng: np.random.Generator) -> bytes:
    """Letters that are none, or that structure a text."""
    at = place(len(data), rng)
    return data[:at] + STRANGE[int(rng.integers(len(STRANGE)))] + data[at:]


def _replaced(data: bytes, rng: np.random.Generator, pattern: bytes) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return flip(data, rng)
    one = found[int(rng.integers(len(found)))]
    new = WORDS[int(rng.integers(len(WORDS)))].encode()
    return data[: one.start()] + new + data[one.end() :]


BINARY: Final[tuple[Damage, ...]] = (flip, stretch, end, insert, cut, swap, double, length, length)
TEXT: Final[tuple[Damage, ...]] = (
    flip, stretch, end, cut, swap, double, number, number, word, word, digit, lines, letters,
)  # fmt: skip


def damaged(good: bytes, kind: str, seed: int, *, text: bool) -> tuple[bytes, str]:
    """A damaged copy, different from the good one, and the name of the damage.

    Args:
        good: content of the healthy file.
        kind: name of the kind of input.
        seed: number of the fault.
        text: whether the damages of texts are drawn from.
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    choices = TEXT if text else BINARY
    while True:
        one = choices[int(rng.integers(len(choices)))]
        data = one(good, rng)
        if data != good:
            return data, one.__name__
