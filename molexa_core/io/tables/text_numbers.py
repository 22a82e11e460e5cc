"""Recognition of numbers in text, with decimal point or comma and Fortran exponents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MISSING: Final = frozenset({"", "nan", "-nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf"})
"""Texts that mean a missing number, in lower case."""
_POINT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eEdD][+-]?\d+)?")


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a text is a number with this decimal sign; Fortran's `1.0D+00` is one.

    Example:
        >>> is_number("-1,5", ","), is_number("1.0D+00"), is_number("1,103.5")
        (True, True, False)
    """
    return (_POINT if decimal == "." else _COMMA).fullmatch(text.strip()) is not None


def digits_of(texts: Sequence[str]) -> int | None:
    """The most digits before an exponent, where all numbers are written with one.

    Example:
        >>> digits_of(["1.70000e+09", "3.2e+01"])
        6
    """
    found: list[list[str]] = [re.split(r"[eEdD]", text, maxsplit=1) for text in texts]
    if not found or any(len(parts) == 1 for parts in found):
        return None
    return max(sum(letter.isdigit() for letter in parts[0]) for parts in found)
