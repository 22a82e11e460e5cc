"""Conversion of plain JSON values to dataclasses whose fields state their bounds.

A field is `Annotated[int, Within(1, 64)]`. Values are checked before they are used: exact types (a
truth value is not a number), numbers within their bounds, texts within a length, names among those
that are allowed.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from molexa_core.base.errors import listing

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """Bounds of a number, of the length of a text, or of the number of items of a list.

    Attributes:
        low, high: both are allowed.
    """

    low: float
    high: float


class MisfitError(ValueError):
    """A value that a field does not allow; the text names the field, the value and what fits."""


def from_values(kind: type[T], values: Any, *, name: str = "") -> T:
    """A dataclass from plain values; lists become tuples where its fields are tuples.

    Args:
        kind: the dataclass.
        values: keys and values; keys with a default may be absent.
        name: of the whole, before the names of its fields in messages.

    Raises:
        MisfitError: a key is unknown or missing, or a value does not fit.
    """
    label = name or "the file"
    if not isinstance(values, Mapping):
        raise MisfitError(f"{label}: expected keys and values, found {shown(values)}")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := [key for key in values if key not in known]:
        raise MisfitError(f"{label}: unknown key {listing(shown(key) for key in sorted(unknown))}")
    needed = [
        key
        for key, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    ]
    if missing := [key for key in needed if key not in values]:
        raise MisfitError(f"{label}: missing {listing(missing)}")
    prefix = f"{name} -> " if name else ""
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{key: fitting(hints[key], values[key], prefix + key) for key in values})


def fitting(hint: Any, value: Any, name: str) -> Any:
    """A value converted to the type of its field.

    Raises:
        MisfitError: it does not fit.
    """
    bounds: Within | None = None
    if get_origin(hint) is Annotated:
        hint, *others = get_args(hint)
        bounds = next((item for item in others if isinstance(item, Within)), None)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return from_values(hint, value, name=name)  # type: ignore[arg-type]
    check = _CHECKS.get(get_origin(hint))
    if check is None:
        return _simple(hint, bounds, value, name)
    return check(get_args(hint), bounds, value, name)


def shown(value: Any) -> str:
    """A short text of any value, for messages."""
    if isinstance(value, Mapping):
        return "keys and values"
    if isinstance(value, list | tuple):
        return "a list"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _one_of(hints: tuple[Any, ...], bounds: Within | None, value: Any, name: str) -> Any:
    if value is None and types.NoneType in hints:
        return None
    (hint,) = (one for one in hints if one is not types.NoneType)
    return fitting(Annotated[hint, bounds] if bounds else hint, value, name)


def _items(hints: tuple[Any, ...], bounds: Within | None, value: Any, name: str) -> Any:
    if not isinstance(value, list | tuple):
        raise MisfitError(f"{name}: expected a list, found {shown(value)}")
    _require(len(value), bounds, f"{name}: {len(value)} items, expected")
    return tuple(fitting(hints[0], item, f"{name}[{i}]") for i, item in enumerate(value))


def _mapping(hints: tuple[Any, ...], bounds: Within | None, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise MisfitError(f"{name}: expected keys and values, found {shown(value)}")
    _require(len(value), bounds, f"{name}: {len(value)} keys, expected")
    return {key: fitting(hints[1], item, f"{name} -> {key[:80]}") for key, item in value.items()}


def _literal(allowed: tuple[Any, ...], bounds: Within | None, value: Any, name: str) -> Any:
    del bounds
    if not any(type(value) is type(one) and value == one for one in allowed):
        raise MisfitError(f"{name}: expected {listing(allowed)}, found {shown(value)}")
    return value


_CHECKS: Final[dict[Any, Callable[[tuple[Any, ...], Within | None, Any, str], Any]]] = {
    Union: _one_of,
    types.UnionType: _one_of,
    Literal: _literal,
    tuple: _items,
    dict: _mapping,
    Mapping: _mapping,
}
"""How types with arguments are checked."""


def _simple(hint: Any, bounds: Within | None, value: Any, name: str) -> Any:
    found = shown(value)
    if hint is bool or hint is str:
        if type(value) is not hint:
            word = "true or false" if hint is bool else "a text"
            raise MisfitError(f"{name}: expected {word}, found {found}")
        if isinstance(value, str):
            _require(len(value), bounds, f"{name}: {len(value)} letters, expected")
        return value
    whole = hint is int
    good = type(value) is int or (not whole and type(value) is float and math.isfinite(value))
    if not good:
        word = "a whole number" if whole else "a finite number"
        raise MisfitError(f"{name}: expected {word}, found {found}")
    _require(value, bounds, f"{name}: found {found}, expected")
    return value if whole else float(value)


def _require(number: float, bounds: Within | None, text: str) -> None:
    if bounds is not None and not bounds.low <= number <= bounds.high:
        raise MisfitError(f"{text} {bounds.low:.12g} to {bounds.high:.12g}")
