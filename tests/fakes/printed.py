"""Compare what a page shows of a session with what a command printed."""

from __future__ import annotations

import re

import pytest

_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?![\w+])")


def numbers(line: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(line)]


def says(printed: str, line: str) -> bool:
    """Whether a line was printed, numbers within 5 % or 0.02."""
    words = re.sub(r"\s+", " ", _NUMBER.sub("#", line)).strip()
    return any(
        re.sub(r"\s+", " ", _NUMBER.sub("#", one)).strip() == words
        and numbers(one) == pytest.approx(numbers(line), rel=0.05, abs=0.02)
        for one in printed.splitlines()
    )
