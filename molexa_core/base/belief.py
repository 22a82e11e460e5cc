"""What is known about parameters: a normal distribution in coordinates where that makes sense.

Positive quantities are described by their logarithm, shares by their logit. A parameter that is
known exactly has variance zero, and stays in the list.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray

Scale = Literal["linear", "log", "logit"]
_LEAST: Final = 1e-12
"""Variances below this share of the largest count as zero."""


@dataclass(frozen=True)
class Coordinate:
    """One parameter, and the coordinate in which its uncertainty is normal.

    Attributes:
        name: as in settings files, such as `duration_fs`.
        meaning: in words that fit into "the ... is 3 fs".
        unit: as printed; empty if there is none.
        scale: whether the coordinate is the value, its logarithm, or ln(v / (1 - v)).
    """

    name: str
    meaning: str
    unit: str = ""
    scale: Scale = "log"

    def of_value(self, value: float) -> float:
        """The coordinate of a value.

        Raises:
            UsageError: a value without a logarithm or logit.
        """
        if self.scale == "linear":
            return value
        if not 0.0 < value < (1.0 if self.scale == "logit" else math.inf):
            raise UsageError(f"the {self.meaning} is {value:g} {self.unit}".rstrip())
        return math.log(value) if self.scale == "log" else math.log(value / (1.0 - value))

    def values(self, coordinate: FloatArray | float) -> FloatArray:
        """The values of coordinates."""
        c: FloatArray = np.asarray(coordinate, dtype=np.float64)
        if self.scale == "linear":
            return c
        return np.exp(c) if self.scale == "log" else np.asarray(1.0 / (1.0 + np.exp(-c)))


@dataclass(frozen=True)
class Belief:
    """A normal distribution of the coordinates of parameters.

    Attributes:
        names: of the parameters.
        mean: (P) coordinates.
        covariance: (P, P); zero rows and columns for what is known exactly.

    Raises:
        UsageError: shapes that do not fit, or a matrix that is no covariance.
    """

    names: tuple[str, ...]
    mean: FloatArray
    covariance: FloatArray

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.mean.shape != (count,) or self.covariance.shape != (count, count):
            raise UsageError(
                f"{count} parameters with a mean {self.mean.shape} and a covariance "
                f"{self.covariance.shape}"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise UsageError("a mean or covariance of parameters is not a number")
        if count and np.linalg.eigvalsh(self.covariance).min() < -1e-9 * max(
            float(np.trace(self.covariance)), 1e-300
        ):
            raise UsageError("the covariance of the parameters has a negative eigenvalue")

    @classmethod
    def independent(
        cls, names: Sequence[str], mean: Sequence[float], width: Sequence[float]
    ) -> Belief:
        """Uncorrelated parameters with these standard deviations."""
        return cls(tuple(names), np.array(mean, float), np.diag(np.array(width, float) ** 2))

    @property
    def width(self) -> FloatArray:
        """(P) standard deviations."""
        return np.sqrt(np.diag(self.covariance))

    def factor(self) -> FloatArray:
        """(P, k) matrix F: mean + F u has this distribution if u is k standard normal numbers.

        k is the number of directions in which something is uncertain.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        free = values > _LEAST * max(float(values.max(initial=0.0)), 1e-300)
        return np.asarray(vectors[:, free] * np.sqrt(values[free]))

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        """(count, P) random coordinates."""
        factor = self.factor()
        return np.asarray(self.mean + random.standard_normal((count, factor.shape[1])) @ factor.T)

    def only(self, names: Sequence[str]) -> Belief:
        """The marginal distribution of these parameters, in this order."""
        rows = [self.names.index(name) for name in names]
        return Belief(tuple(names), self.mean[rows], self.covariance[np.ix_(rows, rows)])
