"""Reading of numbers in the notations of Fortran and Mathematica."""

from __future__ import annotations

import math
import re
from typing import Final

_NUMBER: Final = re.compile(
    r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:(?:[eEdD]|\*\^)([-+]?[0-9]{1,4})|([-+][0-9]{3}))?"
)
_COMMA: Final = re.compile(r"[-+]?[0-9]*,[0-9]+(?:[eEdD][-+]?[0-9]+)?")


def read_number(text: str) -> float:
    """The number that a word stands for; NaN where the word is not a number.

    Read are Fortran's exponents (`1.0D+00`, `1.0-100`) and Mathematica's (`1.0*^-6`); words such as
    `inf` and `nan` are no numbers, nor is anything that overflows.

    Example:
        >>> read_number("-4.692D-01"), read_number("1.5*^-6"), read_number("nan")
        (-0.4692, 1.5e-06, nan)
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return math.nan
    exponent = match[2] or match[3]
    value = float(match[1] if exponent is None else f"{match[1]}e{exponent}")
    return value if math.isfinite(value) else math.nan


def number_hint(text: str) -> str:
    """Advice for a word that is not a number.

    Example:
        >>> number_hint("0,117")
        'Write the number with a decimal point.'
    """
    if _COMMA.fullmatch(text.strip()):
        return "Write the number with a decimal point."
    return "Write a number."


def percent(share: float) -> str:
    """A share in per cent with two digits, without the sign; above 99 % with three or four.

    Example:
        >>> percent(0.0768), percent(0.997), percent(1.0), percent(12.5)
        ('7.7', '99.7', '100', '1250')
    """
    value = 100.0 * share
    digits = 2 if abs(value) < 99.0 else 3 if abs(value) < 999.5 else 4
    return f"{value:.{digits}g}"
