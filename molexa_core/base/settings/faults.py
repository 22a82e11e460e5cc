"""Error messages for settings files: line, key, allowed values, and the value found.

The words come from the schema itself (types, bounds, units in the names of keys), so that every
key of every schema has them.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types
from annotated_types import GroupedMetadata
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from molexa_core.base.errors import listing, near_matches
from molexa_core.base.settings.schema import Means
from molexa_core.base.uncertain import Uncertain

UNITS: Final = {
    "_v_per_cm": "V/cm",
    "_m_per_s": "m/s",
    "_mm_per_ns": "mm/ns",
    "_mm": "mm",
    "_um": "µm",
    "_um2": "photons per µm²",
    "_bohr": "bohr",
    "_ns": "ns",
    "_fs": "fs",
    "_deg": "degrees",
    "_ev": "eV",
    "_mj": "mJ",
    "_k": "K",
    "_u": "u",
}
"""Units by the end of the key, the longest first where several fit."""
UNKNOWN: Final = ("extra_forbidden", "invalid_key", "unexpected_keyword_argument")
"""Types of pydantic's errors for a key that there is not."""
_SHOWN: Final = 60
_WRONG_OFTEN: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false"}


def sentences(schema: type, values: Any, errors: Sequence[Any]) -> str:
    """All errors that pydantic found, one clause each, without repetitions.

    Args:
        schema: of the whole file.
        values: that were checked.
        errors: `ValidationError.errors()`.
    """
    followed = [(item, *_followed(schema, item["loc"], item["type"])) for item in errors]
    inner = {tuple(path[:end]) for _, path, _, _ in followed for end in range(len(path))}
    clauses: dict[str, None] = {}
    for item, path, annotation, notes in followed:
        if item["type"] == "too_short" and tuple(path) in inner:
            continue  # pydantic counts the faulty entries as not there
        line = _line(values, path)
        prefix = "" if line is None else f"line {line}: "
        key = " -> ".join(_steps(values, path))
        what = _what(item, path, annotation, notes, values)
        clauses[f"{prefix}{key}: {what}" if key else f"{prefix}{what}"] = None
    return "; ".join(clauses)


def _followed(schema: type, location: Sequence[Any], kind: str) -> tuple[list[Any], Any, Any]:
    """How far a location leads: the path of keys, what is allowed there, and the field's notes.

    Parts of a location that are no key (pydantic's names of alternatives) end the path, so that
    an error is reported at the key that allows several alternatives.
    """
    if location and location[-1] == "[key]":
        before, around, noted = _followed(schema, location[:-2], kind)
        return [*before, location[-2]], around, noted
    path: list[Any] = []
    current: Any = schema
    notes: list[Any] = []
    for part in location:
        model = _model(current)
        if model is not None and part in fields_of(model):
            info = fields_of(model)[part]
            current, notes = info.annotation, list(_notes(info))
        elif model is not None:
            if kind in UNKNOWN:
                return [*path, part], current, notes
            break
        else:
            inner = _inside(current, part)
            last = len(path) == len(location) - 1
            if inner is None or (last and kind == "missing"):
                break
            current, notes = inner, []
        path.append(part)
    return path, current, notes


def _inside(annotation: Any, part: Any) -> Any:
    """The type of an item of a list, or of a value of a block with free keys."""
    for option in _alternatives(annotation):
        origin, arguments = get_origin(option), get_args(option)
        if origin is Annotated:
            return _inside(arguments[0], part)
        if origin is tuple and isinstance(part, int):
            return (
                arguments[0] if part >= len(arguments) or Ellipsis in arguments else arguments[part]
            )
        if origin is dict:
            return arguments[1]
    return None


def _what(item: Any, path: Sequence[Any], annotation: Any, notes: Any, values: Any) -> str:
    kind = item["type"]
    given = item.get("input")
    found_text = _shown(given)
    if kind in UNKNOWN:
        model = _model(annotation)
        known_keys = sorted(() if model is None else fields_of(model))
        near = near_matches(str(path[-1]), known_keys)
        hint = (
            f"did you mean {listing(near)}?"
            if near
            else f"allowed: {listing(known_keys, limit=40)}"
        )
        what = f"unknown key ({hint})"
    elif kind == "missing" and isinstance(path[-1], str) and _at(values, path) is None:
        what = "missing"
    elif kind == "value_error":
        what = str(item["ctx"]["error"])
        named = isinstance(given, dict | list | tuple | BaseModel) or str(given) in what
        what = what if named else f"{what}{found_text}"
    elif item["loc"] and item["loc"][-1] == "[key]":
        keys = next((get_args(o)[0] for o in _alternatives(annotation) if get_args(o)), str)
        what = f"each key must be {allowed(keys)}{found_text}"
    elif isinstance(given, float) and not math.isfinite(given):
        what = f"must be a finite number{_unit(path)}{found_text}"
    else:
        whole = _at(values, path)
        shown = found_text if whole is None else _shown(whole) or found_text
        what = f"must be {allowed(annotation, notes)}{_unit(path)}{shown}{_hint(given, annotation)}"
    return what


def allowed(annotation: Any, notes: Sequence[Any] = ()) -> str:
    """The values that a type allows, in words, such as `a whole number from 1 to 512`."""
    options = _alternatives(annotation)
    if len(options) > 1:
        return " or ".join(allowed(option) for option in options)
    only = options[0]
    origin, arguments = get_origin(only), get_args(only)
    if origin is Annotated:
        inner = [note for part in arguments[1:] for note in _notes(part)]
        return allowed(arguments[0], [*inner, *notes])
    meaning = next((note.what for note in notes if isinstance(note, Means)), None)
    simple = {float: "a number", int: "a whole number", bool: "true or false"}
    if meaning is None and origin is tuple:
        meaning = _list(arguments, notes)
    elif only is Uncertain:
        meaning = f"a number{_bounds(notes)}, alone or with its uncertainty (15 +- 3)"
    elif meaning is None and origin is Literal:
        meaning = " or ".join(repr(value) for value in arguments)
    elif meaning is None and (model := _model(only)) is not None:
        meaning = f"a block with the keys {listing(fields_of(model), limit=40)}"
    elif meaning is None and only in {float, int, bool}:
        meaning = f"{simple[only]}{_bounds(notes)}"
    elif meaning is None:
        meaning = "a block of keys and values" if origin is dict else _text(only, notes)
    return meaning


def _text(annotation: Any, notes: Sequence[Any]) -> str:
    if annotation is Path:
        return "the name of a file"
    if any(getattr(note, "pattern", None) for note in notes):
        dots = any("." in str(getattr(note, "pattern", None) or "") for note in notes)
        return f"text of letters, digits{', dot, dash' if dots else ''} and underscore"
    return "text"


def _list(arguments: Sequence[Any], notes: Sequence[Any]) -> str:
    if Ellipsis not in arguments:
        return f"a list of {len(arguments)}, each {allowed(arguments[0])}"
    least = next((n.min_length for n in notes if isinstance(n, annotated_types.MinLen)), 0)
    most = next((n.max_length for n in notes if isinstance(n, annotated_types.MaxLen)), None)
    count = "" if not least else f" of {least} or more"
    if most is not None:
        count = f" of {least} to {most}" if least else f" of at most {most}"
    return f"a list{count}, each {allowed(arguments[0])}"


def _bounds(notes: Sequence[Any]) -> str:
    low = high = ""
    for note in notes:
        if isinstance(note, annotated_types.Ge):
            low = f"at least {note.ge}"
        elif isinstance(note, annotated_types.Gt):
            low = f"above {note.gt}"
        elif isinstance(note, annotated_types.Le):
            high = f"at most {note.le}"
        elif isinstance(note, annotated_types.Lt):
            high = f"below {note.lt}"
    if low.startswith("at least") and high.startswith("at most"):
        return f" from {low[9:]} to {high[8:]}"
    both = " and ".join(part for part in (low, high) if part)
    return f" {both}" if both else ""


def _notes(part: Any) -> Iterator[Any]:
    """The single notes in an annotation; a `Field(...)` holds several."""
    if isinstance(part, FieldInfo):
        for note in part.metadata:
            yield from _notes(note)
    elif isinstance(part, GroupedMetadata):
        yield from part
    else:
        yield part


def _alternatives(annotation: Any) -> list[Any]:
    if get_origin(annotation) in {Union, UnionType}:
        return [option for option in get_args(annotation) if option is not NoneType]
    return [annotation]


def fields_of(schema: type) -> dict[str, FieldInfo]:
    """The fields of a schema: a block, or a class of parameters (`base.parameter`)."""
    if issubclass(schema, BaseModel):
        return dict(schema.model_fields)
    hints = get_type_hints(schema, include_extras=True)
    members: Any = schema
    return {field.name: _field(hints[field.name], field) for field in dataclasses.fields(members)}


def _field(hint: Any, field: dataclasses.Field[Any]) -> FieldInfo:
    needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return (
        FieldInfo.from_annotation(hint)
        if needed
        else FieldInfo.from_annotated_attribute(hint, None)
    )


def _model(annotation: Any) -> type | None:
    for option in _alternatives(annotation):
        if get_origin(option) is Annotated:
            return _model(get_args(option)[0])
        if isinstance(option, type) and (
            issubclass(option, BaseModel) or dataclasses.is_dataclass(option)
        ):
            return option
    return None


def _unit(path: Sequence[Any]) -> str:
    """The unit that the last named key states."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    unit = unit_of(key)
    return f", in {unit}" if unit else ""


def unit_of(key: str) -> str:
    """The unit that the name of a key states, such as mm for `length_mm`; empty for none."""
    fitting = [end for end in UNITS if key.endswith(end)]
    return UNITS[max(fitting, key=len)] if fitting else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        kind = "a block" if isinstance(value, dict) else f"a list of {len(value)}"
        plain = isinstance(value, list) and not any(isinstance(v, dict | list) for v in value)
        text = str(list(value)) if plain else ""
        return f" (found {text if 0 < len(text) <= _SHOWN else kind})"
    words = {None: "nothing", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return f" (found {words[value]})"
    text = repr(value)
    return f" (found {text if len(text) <= _SHOWN else text[:_SHOWN] + ' ...'})"


def _hint(value: Any, annotation: Any) -> str:
    """Advice for a value of the wrong kind."""
    types = {get_args(o)[0] if get_origin(o) is Annotated else o for o in _alternatives(annotation)}
    if isinstance(value, str):
        word = value.strip()
        if bool in types and word.lower() in _WRONG_OFTEN:
            return f": write {_WRONG_OFTEN[word.lower()]}"
        if types & {int, float} and re.fullmatch(r"[-+]?\d+,\d+", word):
            return ": write the number with a point"
        if types & {int, float} and re.match(r"[-+]?[\d.]+\s*[^\d\s.:]", word):
            return ": write the number alone"
        if types & {int, float} and re.fullmatch(r"[-+.\deE]+", word):
            return ": write it without quotes"
    elif str in types and isinstance(value, int | float):
        return ": put it in quotes"
    return ""


def _at(values: Any, path: Sequence[Any]) -> Any:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _line(values: Any, path: Sequence[Any]) -> int | None:
    """The line of the file on which the value stands, or the nearest one above it."""
    line = None
    for part in path:
        lines = getattr(values, "lines", None)
        try:
            if lines is not None:
                line = lines[part]
            values = values[part]
        except (KeyError, IndexError, TypeError):
            break
    return line


def _steps(values: Any, path: Sequence[Any]) -> Iterator[str]:
    """The keys of a path as they are written; items of a list count from 1."""
    for part in path:
        listed = isinstance(part, int) and not isinstance(values, dict)
        yield f"entry {part + 1}" if listed else str(part)
        values = _at(values, [part])
