"""Every key of a settings file with its meaning, unit, values and default, from the schema itself.

The meaning of a key stands in the docstring of its block (`Attributes:`), or in its `Parameter`.
The reference pages are written from this, and `molexa new` takes its comments from it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from molexa_core.base.parameter import Parameter, parameters
from molexa_core.base.settings.faults import allowed, fields_of, unit_of

_NEEDED: Final = object()


@dataclass(frozen=True)
class Key:
    """One key of a block.

    Attributes:
        name: as written in the file.
        meaning: in words.
        unit: empty if there is none.
        values: what may be written, in words.
        needed: whether it must be given.
        default: plain value if it is left out; None where nothing takes its place.
        block: the schema of its value, or of the items of its value, where that is a block.
        listed: whether the value is a list of such blocks.
        named: whether the value is such blocks by name.
    """

    name: str
    meaning: str
    unit: str
    values: str
    needed: bool
    default: Any
    block: type | None
    listed: bool
    named: bool = False


def keys_of(block: type) -> tuple[Key, ...]:
    """The keys of a block in the order of its schema."""
    meanings = meanings_of(block)
    stated = parameters(block) if dataclasses.is_dataclass(block) else {}
    defaults = _defaults(block)
    found = []
    for name, info in fields_of(block).items():
        inner, listed, named = block_in(info.annotation)
        parameter = stated[name].parameter if name in stated else None
        meaning = meanings.get(name, "")
        if parameter is not None:
            meaning = (
                f"{parameter.meaning} ({parameter.note})" if parameter.note else (parameter.meaning)
            )
        default = defaults.get(name, _NEEDED)
        found.append(
            Key(
                name=name,
                meaning=meaning,
                unit=(parameter.unit if parameter is not None else "") or unit_of(name),
                values=_words(inner, listed=listed, named=named) or _values(info, parameter),
                needed=default is _NEEDED,
                default=None if default is _NEEDED else plain(default),
                block=inner,
                listed=listed,
                named=named,
            )
        )
    return tuple(found)


def blocks_in(schema: type) -> dict[str, type]:
    """The blocks of a settings file by the path of keys that leads to each, the file itself first.

    Example:
        >>> from molexa_core.base.settings import Setup
        >>> list(blocks_in(Setup))[:3]
        ['', 'spectrometer', 'spectrometer.regions[]']
    """
    found: dict[str, type] = {}
    _collect(schema, "", found, ())
    return found


def _collect(block: type, path: str, found: dict[str, type], above: tuple[type, ...]) -> None:
    found[path] = block
    for key in keys_of(block):
        if key.block is None or key.block in above:
            continue
        inner = f"{path}.{key.name}" if path else key.name
        end = "[]" if key.listed else ".NAME" if key.named else ""
        _collect(key.block, f"{inner}{end}", found, (*above, block))


def meanings_of(block: type) -> Mapping[str, str]:
    """The sentences on each attribute in the docstring of a class; several names may share one."""
    found: dict[str, str] = {}
    for of in reversed(block.__mro__):
        text = inspect.cleandoc(of.__doc__ or "")
        match = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", text, re.MULTILINE)
        if match is None:
            continue
        for names, words in _entries(match[1]):
            found |= dict.fromkeys(names, words)
    return found


def _entries(section: str) -> Iterator[tuple[tuple[str, ...], str]]:
    lines = inspect.cleandoc(section).splitlines()
    entry = ""
    for line in [*lines, "end:"]:
        if line and not line[0].isspace():
            if entry:
                names, _, words = entry.partition(":")
                yield tuple(name.strip() for name in names.split(",")), words.strip()
            entry = line
        else:
            entry += f" {line.strip()}"


def summary_of(block: type) -> str:
    """What a block is for: the docstring of its class before the attributes."""
    text = inspect.cleandoc(block.__doc__ or "")
    head = re.split(r"\n(?:Attributes|Raises|Example):\n", text)[0]
    return re.sub(r"\s*\n\s*(?!\n)", " ", head.replace("\n\n", "\0")).replace("\0", "\n\n").strip()


def block_in(annotation: Any) -> tuple[type | None, bool, bool]:
    """The schema of a value that is a block; whether of a list of them, or of them by name."""
    if isinstance(annotation, type):
        if issubclass(annotation, BaseModel):
            return annotation, False, False
        with_keys = dataclasses.is_dataclass(annotation) and bool(parameters(annotation))
        return annotation if with_keys else None, False, False
    origin = get_origin(annotation)
    for part in get_args(annotation):
        inner, listed, named = block_in(part)
        if inner is not None:
            return inner, listed or origin in {tuple, list}, named or origin is dict
    return None, False, False


def plain(value: Any) -> Any:
    """A default as plain values of a YAML file; blocks become what they hold."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    return value


def _defaults(block: type) -> dict[str, Any]:
    """The default of every key that need not be given."""
    found: dict[str, Any] = {}
    if issubclass(block, BaseModel):
        for name, info in block.model_fields.items():
            if not info.is_required():
                found[name] = info.get_default(call_default_factory=True)
        return {name: value for name, value in found.items() if value is not PydanticUndefined}
    members: Any = block
    for one in dataclasses.fields(members):
        if one.default is not dataclasses.MISSING:
            found[one.name] = one.default
        elif one.default_factory is not dataclasses.MISSING:
            found[one.name] = one.default_factory()
    return found


def _words(inner: type | None, *, listed: bool, named: bool) -> str:
    """What is to be written where a value is made of blocks; empty where it is not."""
    if inner is None:
        return ""
    return "a list of blocks" if listed else "blocks by name" if named else "a block"


def _values(info: FieldInfo, parameter: Parameter | None) -> str:
    words = allowed(info.annotation, info.metadata)
    if parameter is None or (parameter.low is None and parameter.high is None):
        return words
    return f"{words}; {parameter.range_text}"
