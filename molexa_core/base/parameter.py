"""Parameters stated once: one class field gives argument, settings key, option and help text.

A field of such a class is annotated with a `Parameter`: its meaning, unit, range and name on the
command line. The class checks its values; settings files use the class as a block, the command
line makes its options from it (`molexa_cli.parameters`), and the reference pages are written from
it.

Example:
    >>> @dataclass(frozen=True)
    ... class Beam(Parameters):
    ...     width_mm: Annotated[float, Parameter("width of the beam", unit="mm", low=0.0)] = 1.0
    >>> parameters(Beam)["width_mm"].default
    1.0
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from molexa_core.base.errors import SettingsError, UsageError, listing, near_matches
from molexa_core.base.uncertain import Uncertain

T = TypeVar("T")


@dataclass(frozen=True)
class Parameter:
    """Meaning, unit and range of one number, name or switch.

    Attributes:
        meaning: in words that fit into "the ... is 3 mm".
        unit: unit as printed; empty if there is none.
        low, high: smallest and largest value; None for no limit.
        note: further explanation, a clause without a full stop.
        option: how the command line calls it, such as `--pulse-fs`; None for no option.
    """

    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    note: str = ""
    option: str | None = None

    __is_annotated_types_grouped_metadata__: ClassVar[Literal[True]] = True

    def __iter__(self) -> Iterator[object]:
        """The bounds as the schemas of settings files take them."""
        from annotated_types import Ge, Le  # noqa: PLC0415  # needed for settings files alone

        if self.low is not None:
            yield Ge(self.low)
        if self.high is not None:
            yield Le(self.high)

    @property
    def range_text(self) -> str:
        """The range in words, such as `0.01 to 2000 fs`; empty without limits."""
        unit = f" {self.unit}" if self.unit else ""
        if self.low is None and self.high is None:
            return ""
        if self.high is None:
            return f"{self.low:g}{unit} or more"
        if self.low is None:
            return f"up to {self.high:g}{unit}"
        return f"{self.low:g} to {self.high:g}{unit}"


SEED: Final = Parameter("seed of every random draw", "", 0, 2**63 - 1, option="--seed")
"""The seed of every command that draws."""


@dataclass(frozen=True)
class Stated:
    """One field of a class of parameters.

    Attributes:
        name: of the field, which is the argument and the key in settings files.
        kind: its type without annotations and without None.
        default: its default value.
        parameter: what it means.
        may_be_none: whether None is a value.
    """

    name: str
    kind: Any
    default: Any
    parameter: Parameter
    may_be_none: bool = False

    @property
    def choices(self) -> tuple[str, ...]:
        """The names there are, where the value is one of several; else empty."""
        return tuple(get_args(self.kind)) if get_origin(self.kind) is Literal else ()


@cache
def parameters(of: type) -> Mapping[str, Stated]:
    """The fields of a dataclass that are annotated with a `Parameter`, by name, in order."""
    hints = get_type_hints(of, include_extras=True)
    stated: dict[str, Stated] = {}
    for field in fields(of):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            continue
        kind, *notes = get_args(hint)
        parameter = next((note for note in notes if isinstance(note, Parameter)), None)
        if parameter is None:
            continue
        others = [part for part in get_args(kind) if part is not type(None)]
        may_be_none = type(None) in get_args(kind)
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        plain = others[0] if may_be_none else kind
        stated[field.name] = Stated(field.name, plain, default, parameter, may_be_none)
    return stated


def check(values: object) -> None:
    """Check every parameter of an instance against its range or its names.

    Raises:
        UsageError: the first that is out of range, not a number, or an unknown name.
    """
    of: Any = type(values)
    for name, stated in parameters(of).items():
        value = getattr(values, name)
        if value is None and stated.may_be_none:
            continue
        if stated.choices:
            require_name(name, value, stated.choices)
        elif stated.kind in (int, float):
            require_range(name, value, stated.parameter, whole=stated.kind is int)
        elif stated.kind is Uncertain:
            require_range(name, Uncertain.of(value).value, stated.parameter)
        elif stated.kind is bool and not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}", setting=name, do="Write true or false.")


class Parameters:
    """The base of a frozen dataclass whose fields are stated as parameters.

    Raises:
        UsageError: a value that is out of range, not a number, or an unknown name.
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        """Check the values; a class with further conditions calls this first."""
        check(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any, /) -> Any:
        """As strict in settings files as their other blocks."""
        from molexa_core.base.settings.schema import strict  # noqa: PLC0415  # settings files alone

        return strict(handler(source))


def of_plain(
    of: type[T], values: object, *, where: object, key: str, optional: Collection[str] = ()
) -> T:
    """An instance from plain values, as JSON holds them; every key must be there.

    Args:
        of: a dataclass of parameters.
        values: what should be keys and values.
        where: the file, for messages.
        key: its key in the file, for messages.
        optional: keys that may be missing.

    Raises:
        SettingsError: a key is missing or unknown, or a value is out of range.
    """
    require_keys(values, [field.name for field in fields(of)], where, key, optional=optional)  # type: ignore[arg-type]
    try:
        return of(**values)  # type: ignore[arg-type]  # its keys were checked
    except UsageError as error:
        raise SettingsError(
            f"{key} -> {error.where or ''}: {error.what}", where=where, do=error.do
        ) from error


def require_keys(
    values: object,
    known: Sequence[str],
    where: object,
    key: str,
    *,
    optional: Collection[str] = (),
) -> None:
    """Refuse plain values that do not have exactly these keys.

    Raises:
        SettingsError: no keys and values, or a key is missing or unknown.
    """
    if not isinstance(values, dict):
        raise SettingsError(
            f"{key or 'file'}: expected keys and values, found {type(values).__name__}", where=where
        )
    unknown = sorted(set(values) - set(known))
    missing = sorted(set(known) - set(values) - set(optional))
    if unknown or missing:
        what = f"unknown key {listing(unknown)}" if unknown else f"missing {listing(missing)}"
        prefix = f"{key} -> " if key else ""
        raise SettingsError(f"{prefix}{what}", where=where, do=f"Allowed: {listing(known)}.")


def require_name(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse an unknown name.

    Raises:
        UsageError: the name is unknown; names near matches and all known names.
    """
    if value not in known:
        near = near_matches(str(value), known)
        hint = f"Did you mean {listing(near)}? " if near else ""
        raise UsageError(
            f"unknown {name} {value!r}", setting=name, do=f"{hint}There are: {listing(known)}."
        )


def require_range(name: str, value: object, parameter: Parameter, *, whole: bool = False) -> None:
    """Refuse a number that is out of range, or no number.

    Raises:
        UsageError: with the range.
    """
    unit = f" {parameter.unit}" if parameter.unit else ""
    good = isinstance(value, int) if whole else isinstance(value, int | float)
    if not good or isinstance(value, bool):
        what = "a whole number" if whole else "a number"
        raise UsageError(f"the {parameter.meaning} is {value!r}", setting=name, do=f"Give {what}.")
    number: Any = value
    low = -math.inf if parameter.low is None else parameter.low
    high = math.inf if parameter.high is None else parameter.high
    if not low <= number <= high:  # false for nan too
        raise UsageError(
            f"the {parameter.meaning} is {number:g}{unit}, which is out of range",
            setting=name,
            do=f"Choose {parameter.range_text}.",
        )
    if not math.isfinite(number):
        raise UsageError(
            f"the {parameter.meaning} is {number:g}", setting=name, do="Give a number."
        )
