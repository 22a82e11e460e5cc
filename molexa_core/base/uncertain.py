"""A number with its uncertainty, as people write it: `15 +- 3`.

In settings files and on the command line: `15`, `15 +- 3`, `15 ± 3`, `15 +- 20 %`, or as a block
`{value: 15, uncertainty: 3}`. A number alone is exact.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from molexa_core.base.errors import UsageError

FORMS: Final = "15, 15 +- 3, 15 +- 20 %, or {value: 15, uncertainty: 3}"
"""How a number with its uncertainty is written."""
UNKNOWN_WORD: Final = "unknown"
"""Stands for a number that is not known."""
MOST_RELATIVE: Final = 3.0
"""Largest uncertainty in units of the value; what is known less well is unknown."""
_NUMBER: Final = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT: Final = re.compile(rf"({_NUMBER})(?:\s*(?:\+-|\+/-|±)\s*({_NUMBER})\s*(%)?)?")


class Uncertain:
    """A number and its standard uncertainty, both in the same unit; it does not change.

    Args:
        value: the number.
        uncertainty: one standard deviation; 0 if the number is exact.

    Raises:
        UsageError: not finite, a negative uncertainty, or one of more than `MOST_RELATIVE` values.
    """

    __slots__ = ("_uncertainty", "_value")

    def __init__(self, value: float, uncertainty: float = 0.0) -> None:
        self._value, self._uncertainty = float(value), float(uncertainty)
        if not (math.isfinite(self.value) and math.isfinite(self.uncertainty)):
            raise UsageError(f"{self} is not a number", do=f"Write it like {FORMS}.")
        if self.uncertainty < 0.0:
            raise UsageError(f"the uncertainty {self.uncertainty:g} is negative")
        if self.value and self.uncertainty > MOST_RELATIVE * abs(self.value):
            raise UsageError(
                f"an uncertainty of {self.uncertainty:g} is more than {MOST_RELATIVE:g} times "
                f"{self.value:g}",
                do=f"Write {UNKNOWN_WORD}.",
            )

    @property
    def value(self) -> float:
        """The number."""
        return self._value

    @property
    def uncertainty(self) -> float:
        """One standard deviation."""
        return self._uncertainty

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Uncertain):
            return NotImplemented
        return (self.value, self.uncertainty) == (other.value, other.uncertainty)

    def __hash__(self) -> int:
        return hash((self.value, self.uncertainty))

    def __repr__(self) -> str:
        return f"Uncertain({self.value!r}, {self.uncertainty!r})"

    def __str__(self) -> str:
        if not self.uncertainty:
            return f"{self.value:g}"
        return f"{self.value:g} +- {self.uncertainty:g}"

    def __ge__(self, low: float) -> bool:
        """Whether the number itself is not below a bound."""
        return self.value >= low

    def __le__(self, high: float) -> bool:
        """Whether the number itself is not above a bound."""
        return self.value <= high

    @property
    def is_exact(self) -> bool:
        """Whether there is no uncertainty."""
        return self.uncertainty == 0.0

    @property
    def relative(self) -> float:
        """The uncertainty over the value: the standard deviation of its logarithm.

        Raises:
            UsageError: the value is zero, but not exactly.
        """
        if self.is_exact:
            return 0.0
        if not self.value:
            raise UsageError(f"0 +- {self.uncertainty:g} has no relative uncertainty")
        return self.uncertainty / abs(self.value)

    @classmethod
    def of(cls, given: object) -> Uncertain:
        """From a number, a text or a block, as in settings files.

        Raises:
            UsageError: it is none of these.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, bool):
            raise UsageError(f"{str(given).lower()} is not a number", do=f"Write {FORMS}.")
        if isinstance(given, int | float):
            return cls(float(given))
        if isinstance(given, str):
            return cls._of_text(given)
        if isinstance(given, Mapping):
            return cls._of_block(given)
        found = "nothing" if given is None else "a list"
        raise UsageError(f"expected a number, found {found}", do=f"Write {FORMS}.")

    @classmethod
    def _of_text(cls, text: str) -> Uncertain:
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise UsageError(f"{text!r} is not a number", do=f"Write {FORMS}.")
        value, uncertainty = float(found[1]), float(found[2] or 0.0)
        return cls(value, uncertainty * abs(value) / 100.0 if found[3] else uncertainty)

    @classmethod
    def _of_block(cls, given: Mapping[Any, Any]) -> Uncertain:
        keys = {"value", "uncertainty"}
        if "value" not in given or not set(given) <= keys:
            names = ", ".join(map(str, given)) or "no key"
            raise UsageError(f"a block with {names} is not a number", do=f"Write {FORMS}.")
        parts = {name: cls.of(part) for name, part in given.items()}
        if not all(part.is_exact for part in parts.values()):
            raise UsageError("an uncertainty within an uncertainty", do=f"Write {FORMS}.")
        return cls(**{name: part.value for name, part in parts.items()})

    def plain(self) -> Any:
        """As it is written to files; `of` reads it."""
        if self.is_exact:
            return self.value
        return {"value": self.value, "uncertainty": self.uncertainty}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any, /) -> Any:
        """Read and written in settings files."""
        from pydantic_core import core_schema  # noqa: PLC0415  # needed for settings files alone

        def read(given: object) -> Uncertain:
            try:
                return cls.of(given)
            except UsageError as error:
                raise ValueError(f"{error.what}; write {FORMS}") from error

        return core_schema.no_info_plain_validator_function(
            read,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.plain),
        )
