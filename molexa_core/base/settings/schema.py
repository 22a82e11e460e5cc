"""Base class of all settings blocks: unknown keys refused, values immutable and checked."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.matter.ions import parse_ion

_STRICT: Final = {"float", "int", "bool", "str"}


def _whole(value: Any) -> Any:
    """A number such as 1e5 or 3.0 as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _make_strict(node: Any) -> None:
    """Make plain types strict in a schema of pydantic; keys stay lax, JSON has only text there."""
    if isinstance(node, dict):
        if node.get("type") in _STRICT and not node.get("strict"):
            node["strict"] = True
            if node["type"] == "int":
                inner = dict(node)
                node.clear()
                node.update(core_schema.no_info_before_validator_function(_whole, inner))
                return
        for name, part in node.items():
            if name not in {"keys_schema", "metadata"}:
                _make_strict(part)
    elif isinstance(node, list):
        for part in node:
            _make_strict(part)


def strict(schema: CoreSchema) -> CoreSchema:
    """A schema of pydantic in which true is no number and "5" none either."""
    _make_strict(schema)
    return schema


class Schema(BaseModel):
    """A settings block: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler, /
    ) -> CoreSchema:
        """The schema of pydantic, except that true is no number and "5" none either."""
        return strict(handler(source))

    def _repr_html_(self) -> str:
        """What differs from the defaults, as in a file, for a notebook."""
        import yaml  # noqa: PLC0415

        values = self.model_dump(mode="json", exclude_defaults=True)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        return f"<b>{type(self).__name__}</b><pre>{escape(text)}</pre>"


@dataclass(frozen=True)
class Means:
    """The meaning of a settings type in words, such as `an ion such as O2+`."""

    what: str


def _ion(text: str) -> str:
    try:
        return str(parse_ion(text))
    except UnknownIonError as error:
        raise ValueError(str(error)) from error


IonName = Annotated[str, AfterValidator(_ion), Means("an ion such as H+ or O2+")]
"""A string in ion notation, normalised (`O1+` becomes `O+`)."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
