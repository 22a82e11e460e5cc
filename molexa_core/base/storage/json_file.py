"""Reader of JSON files that checks size, depth, numbers, keys and characters."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, MolexaError, listing
from molexa_core.base.storage.files import require_file

LONGEST_NUMBER: Final = 64
"""Digits of a number; more are a damaged file."""


def read_json(
    path: Path | str,
    *,
    largest: int,
    what: str,
    do: str,
    error: type[MolexaError] = InputFileError,
) -> dict[str, Any]:
    """The keys and values of a JSON file.

    Numbers that are not finite (`NaN`, `Infinity`, `1e400`), a key that stands twice and text that
    is not Unicode are refused.

    Args:
        path: the file.
        largest: bytes; a longer file is refused unread.
        what: what it should be, for messages, such as `a description of weights`.
        do: what to do about a file that is not.
        error: what is raised.

    Raises:
        InputFileError: no such file, or no permission to read it.
        MolexaError: the file is too large or not readable, as `error`.
    """
    path = require_file(path)
    if path.stat().st_size > largest:
        raise error(f"too large for {what}", where=path, do=do)
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as fault:
        raise error(
            f"not {what}: byte {fault.start} is no text in UTF-8", where=path, do=do
        ) from fault
    except OSError as fault:
        raise error(f"cannot be read: {fault.strerror or fault}", where=path, do=do) from fault
    except ValueError as fault:
        raise error(f"not {what}: {fault}", where=path, do=do) from fault
    if not isinstance(values, dict):
        raise error(f"not {what}: no keys and values in it", where=path, do=do)
    return values


def parse_json(text: str) -> Any:
    """The values of a JSON text.

    Raises:
        ValueError: it is not JSON, or has what `read_json` refuses; one sentence.
    """
    try:
        values = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_not_finite,
            parse_float=_float,
            parse_int=_whole,
        )
    except RecursionError as fault:
        msg = "brackets within brackets without end"
        raise ValueError(msg) from fault
    except json.JSONDecodeError as fault:
        msg = f"line {fault.lineno}, column {fault.colno}: {fault.msg[:1].lower()}{fault.msg[1:]}"
        raise ValueError(msg) from fault
    if "\\u" in text:
        _require_unicode(values)
    return values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        msg = f"twice the same key: {listing(name[:80] for name in twice)}"
        raise ValueError(msg)
    return values


def _not_finite(text: str) -> Any:
    msg = f"{text} is not a number"
    raise ValueError(msg)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        msg = f"{text[:LONGEST_NUMBER]} is no finite number"
        raise ValueError(msg)
    return number


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        msg = f"a number of {len(text)} digits"
        raise ValueError(msg)
    return int(text)


def _require_unicode(values: Any) -> None:
    """Refuse halves of surrogate pairs, which nothing can print."""
    waiting = [values]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, str):
            try:
                item.encode()
            except UnicodeEncodeError as fault:
                msg = "a text with half a letter (an unpaired surrogate)"
                raise ValueError(msg) from fault
