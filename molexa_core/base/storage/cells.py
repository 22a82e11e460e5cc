"""Protection of texts in CSV files that a spreadsheet would compute as formulas.

A cell that begins with `=`, `+`, `-` or `@` is computed by spreadsheets when the file is opened. It
is written with an apostrophe in front, which `as_written` takes away again. In a line of comment a
spreadsheet sees cells too, wherever a comma stands; in JSON the comma is escaped there, which every
reader of JSON undoes. Numbers are left alone.
"""

from __future__ import annotations

import re
from typing import Final

_FORMULA: Final = re.compile(r"\s*'*[=+\-@]")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_CELL: Final = re.compile(r"[,;](?=\s*'*[=+\-@])")


def harmless(text: str) -> str:
    """A text that no spreadsheet takes for a formula.

    Example:
        >>> harmless("=1+1")
        "'=1+1"
        >>> as_written(harmless("=1+1"))
        '=1+1'
    """
    return f"'{text}" if _FORMULA.match(text) else text


def as_written(text: str) -> str:
    """The text that `harmless` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text[1:]) else text


def harmless_json(text: str) -> str:
    r"""JSON on one line in which no text begins a cell that a spreadsheet takes for a formula.

    Example:
        >>> harmless_json('{"file": "a,=1+1"}')
        '{"file": "a\\u002c=1+1"}'
    """

    def escaped(found: re.Match[str]) -> str:
        return _CELL.sub(lambda sign: f"\\u{ord(sign.group()):04x}", found.group())

    return _STRING.sub(escaped, text)
