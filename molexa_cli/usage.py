"""What is wrong with a command line, in plain words.

The parser checks values with a library for data models, whose words are those of its schemas.
"""

from __future__ import annotations

import re
from typing import Any, Final

_PLAIN: Final[tuple[tuple[str, str], ...]] = (
    (r"Input should be a valid integer, got a number with a fractional part", "a whole number"),
    (
        r"Input should be a valid integer.*|.*is not a valid int(eger)?( range)?\.?",
        "a whole number",
    ),
    (r"Input should be a valid number.*|.*is not a valid float( range)?\.?", "a number"),
    (r"Input should be a finite number", "a finite number"),
    (r"Input should be a valid boolean.*|.*is not a valid bool(ean)?\.?", "yes or no"),
    (r"Input should be greater than or equal to (.+)", r"at least \1"),
    (r"Input should be greater than (.+)", r"above \1"),
    (r"Input should be less than or equal to (.+)", r"at most \1"),
    (r"Input should be less than (.+)", r"below \1"),
)
"""Words of the parser, and what is wanted instead."""
_LONGEST: Final = 60


def plain_words(error: Any) -> str:
    """What is wrong with a value, as a sentence without words of schemas.

    Args:
        error: what the parser raised for a value, with its `message`.
    """
    said = str(error.message).removeprefix("Value error, ")
    for pattern, wanted in _PLAIN:
        match = re.fullmatch(pattern, said)
        if match is not None:
            value = _value(error)
            found = "" if value is None else f", not {value}"
            return f"it must be {match.expand(wanted)}{found}"
    return said.removeprefix("Input should be ")


def _value(error: Any) -> str | None:
    """What was typed, where the parser tells."""
    try:
        value = str(error.__cause__.errors()[0]["input"])
    except (AttributeError, IndexError, KeyError, TypeError):
        match = re.match(r"'(.*)' is not a valid", str(error.message))
        if match is None:
            return None
        value = match[1]
    value = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}..."
    return value if re.fullmatch(r"[-+\d.]+", value) else repr(value)
