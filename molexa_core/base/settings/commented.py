"""A settings file as text with a comment on every key, made from the schema.

Keys that are not given stand behind a `#` with the value that they have then, so that a user sees
what there is and changes it in place.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import yaml

from molexa_core.base.settings.reference import Key, keys_of, plain

_WIDTH: Final = 96
_FLOW: Final = 10**6


def commented(
    schema: type,
    values: Mapping[str, Any],
    *,
    head: str = "",
    without: Collection[str] = (),
    notes: Mapping[str, str] | None = None,
) -> str:
    """The text of a settings file.

    Args:
        schema: of the file.
        values: plain values of the keys that are given; blocks as mappings.
        head: comment at the beginning.
        without: paths of keys that are not mentioned if they are not given, such as `virtual`.
        notes: further comments by the path of a key, such as `detector.radius_mm`.
    """
    lines = [*_comment(head, 0)] if head else []
    lines += _block(schema, values, "", 0, frozenset(without), dict(notes or {}))
    return "\n".join(lines) + "\n"


def in_line(value: Any) -> str:
    """A value as it is written in a YAML file, on one line."""
    text = yaml.safe_dump(plain(value), default_flow_style=True, width=_FLOW, sort_keys=False)
    return text.strip().removesuffix("...").strip()


def _block(
    schema: type,
    values: Mapping[str, Any],
    path: str,
    depth: int,
    without: frozenset[str],
    notes: Mapping[str, str],
) -> Iterator[str]:
    for key in keys_of(schema):
        inner = f"{path}.{key.name}" if path else key.name
        given = key.name in values
        if not given and (inner in without or key.default is None or key.block is not None):
            continue
        yield from _comment(_meaning(key, notes.get(inner)), depth)
        indent = "  " * depth
        if not given:
            yield f"{indent}# {key.name}: {in_line(key.default)}"
            continue
        value = plain(values[key.name])
        if key.block is None or not value:
            yield f"{indent}{key.name}: {in_line(value)}"
        elif key.listed:
            yield f"{indent}{key.name}:"
            yield from (f"{indent}  - {in_line(item)}" for item in value)
        else:
            yield f"{indent}{key.name}:"
            yield from _block(key.block, value, inner, depth + 1, without, notes)


def _meaning(key: Key, note: str | None) -> str:
    unit = f"{key.unit}: " if key.unit else ""
    words = f"{unit}{key.meaning}".rstrip(".")
    if not note:
        return words
    return f"{words}{note}" if note.startswith("\n") else f"{words}. {note}"


def _comment(text: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for paragraph in text.split("\n"):
        for line in textwrap.wrap(paragraph, _WIDTH - len(indent) - 2) or [""]:
            yield f"{indent}# {line}".rstrip()
