"""The base of every settings schema: closed, immutable, checked."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from molexa_core.base.errors import UnknownIonError
from molexa_core.base.ions import parse_ion


class Schema(BaseModel):
    """A settings block: unknown keys are errors, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _ion(text: str) -> str:
    try:
        return str(parse_ion(text))
    except UnknownIonError as error:
        raise ValueError(str(error)) from error


IonName = Annotated[str, AfterValidator(_ion)]
"""A string in ion notation, normalised (`O1+` becomes `O+`)."""
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
