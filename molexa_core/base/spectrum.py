"""Histograms: filled by one stage, stored with its result, drawn by the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.shown import Shown
from molexa_core.base.tables import FloatArray


@dataclass(frozen=True, repr=False)
class Spectrum(Shown):
    """A histogram in one or two dimensions.

    Attributes:
        counts: (bins) or (bins of axis 0, bins of axis 1).
        edges: bin edges of each axis, ascending, one more than its bins.
        labels: name of the quantity on each axis.
        units: unit of each axis, such as `ns`, `mm`, `a.u.`, `eV`.
        marks: values worth showing, by name: gate limits, fitted centre and width, in the unit of
            axis 0.
        outside: values beyond the edges, which are in no bin.
        errors: standard error of each bin, where it is not the square root of the counts: after a
            subtraction, which can leave negative counts.
    """

    counts: NDArray[Any]
    edges: tuple[FloatArray, ...]
    labels: tuple[str, ...]
    units: tuple[str, ...]
    marks: Mapping[str, float] = field(default_factory=dict)
    outside: float = 0.0
    errors: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.counts.ndim not in {1, 2}:
            raise UsageError(f"a spectrum has 1 or 2 axes, not {self.counts.ndim}")
        if not len(self.edges) == len(self.labels) == len(self.units) == self.counts.ndim:
            raise UsageError(
                f"{self.counts.ndim} axes, but {len(self.edges)} sets of edges, "
                f"{len(self.labels)} labels and {len(self.units)} units"
            )
        if self.errors is not None and self.errors.shape != self.counts.shape:
            raise UsageError(f"{self.counts.shape} bins, but errors of shape {self.errors.shape}")
        for axis, edges in enumerate(self.edges):
            if edges.shape != (self.counts.shape[axis] + 1,):
                raise UsageError(
                    f"axis {axis} has {self.counts.shape[axis]} bins, but edges of shape "
                    f"{edges.shape}"
                )
            if not np.all(np.diff(edges) > 0):
                raise UsageError(f"the edges of axis {axis} do not ascend")

    @property
    def centres(self) -> tuple[FloatArray, ...]:
        """Middle of each bin, by axis."""
        return tuple(0.5 * (edges[1:] + edges[:-1]) for edges in self.edges)

    @property
    def total(self) -> float:
        """Sum of all bins and of what lies outside."""
        return float(self.counts.sum()) + self.outside
