"""Numbers as programs write them in text."""

from __future__ import annotations

import re
from typing import Final

MISSING: Final = frozenset({"", "nan", "-nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf"})
"""What stands where there is no number, in small letters."""
_POINT: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?")
_COMMA: Final = re.compile(r"[+-]?(?:\d+,?\d*|,\d+)(?:[eEdD][+-]?\d+)?")


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a text is a number with this decimal sign; Fortran's `1.0D+00` is one.

    Example:
        >>> is_number("-1,5", ","), is_number("1.0D+00"), is_number("1,103.5")
        (True, True, False)
    """
    return (_POINT if decimal == "." else _COMMA).fullmatch(text.strip()) is not None
