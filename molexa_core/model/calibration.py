"""Intervals that hold what they promise: conformal calibration of the predicted errors.

The network predicts the expected absolute error e of every coordinate. On molecules that it was
not trained on, the ratio of true to predicted error has quantiles; multiplied by them, e becomes
the half-width of an interval that contains the true coordinate with the stated probability for
new molecules of the same kind, whatever the shape of the errors (split conformal prediction:
Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; by groups, "Mondrian").
Groups are the number of atoms and the size of the predicted error, so that neither large nor
uncertain molecules are served badly by an average over all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.tables import FloatArray

LEVELS: Final = (0.68, 0.95)
"""Probabilities of the intervals."""
GROUPS: Final = 4
"""Groups of equal size by predicted error, for each number of atoms."""


@dataclass(frozen=True)
class Calibration:
    """Factors from predicted errors to half-widths of intervals.

    Attributes:
        floor: least predicted error, bohr: the resolution of the bins of the estimate.
        edges: for each number of atoms, (groups - 1) limits of the predicted error, bohr.
        factors: for each number of atoms, (groups, levels).
        molecules: how many it was fitted on.
        data: what they were, for people.
    """

    floor: float
    edges: Mapping[int, FloatArray]
    factors: Mapping[int, FloatArray]
    molecules: int
    data: str

    def half_widths(self, expected: FloatArray, level: float = LEVELS[0]) -> FloatArray:
        """Half-widths of the intervals of one or several molecules of one size.

        Args:
            expected: (..., N, 3) predicted errors, bohr.
            level: one of `LEVELS`.

        Returns:
            (..., N, 3) bohr. Numbers of atoms that were not calibrated take the nearest.
        """
        atoms = min(self.edges, key=lambda n: (abs(n - expected.shape[-2]), n))
        raised = np.maximum(expected, self.floor)
        group = np.searchsorted(self.edges[atoms], raised)
        widths: FloatArray = self.factors[atoms][group, LEVELS.index(level)] * raised
        return widths

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model card."""
        return {
            "levels": list(LEVELS),
            "floor_bohr": self.floor,
            "molecules": self.molecules,
            "data": self.data,
            "edges_bohr": {str(n): values.tolist() for n, values in self.edges.items()},
            "factors": {str(n): values.tolist() for n, values in self.factors.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The calibration of a model card.

        Raises:
            KeyError, TypeError, ValueError: it is not of this form.
        """
        if tuple(values["levels"]) != LEVELS:
            msg = f"levels {values['levels']}"
            raise ValueError(msg)
        return cls(
            floor=float(values["floor_bohr"]),
            edges={int(n): np.array(one, dtype=float) for n, one in values["edges_bohr"].items()},
            factors={int(n): np.array(one, dtype=float) for n, one in values["factors"].items()},
            molecules=int(values["molecules"]),
            data=str(values["data"]),
        )


def fit_calibration(
    errors: Mapping[int, FloatArray],
    expected: Mapping[int, FloatArray],
    *,
    bin_width: float,
    data: str,
) -> Calibration:
    """Fit the factors on molecules that the network was not trained on.

    Args:
        errors: for each number of atoms N, (n, N, 3) true absolute errors, bohr.
        expected: the same of the predicted errors.
        bin_width: of the network's estimate, bohr.
        data: what the molecules were, for people.

    Returns:
        Factors by number of atoms and group. Coordinates of one molecule count each; groups of
        fewer than a hundred coordinates are joined to one.
    """
    floor = bin_width / math.sqrt(12.0)
    edges, factors = {}, {}
    for atoms in sorted(errors):
        raised = np.maximum(expected[atoms].ravel(), floor)
        true = errors[atoms].ravel()
        groups = GROUPS if len(true) >= 100 * GROUPS else 1
        inner = np.quantile(raised, np.arange(1, groups) / groups)
        # Many predictions lie at the floor: limits that coincide would leave a group empty.
        inner = np.unique(inner[inner < raised.max()])
        group = np.searchsorted(inner, raised)
        edges[atoms] = inner
        factors[atoms] = np.array(
            [_quantiles(true[group == k] / raised[group == k]) for k in range(len(inner) + 1)]
        )
    return Calibration(floor, edges, factors, sum(len(one) for one in errors.values()), data)


def _quantiles(ratios: FloatArray) -> list[float]:
    """Conformal quantiles: the (n + 1) level-th smallest of n ratios, rounded up."""
    ordered = np.sort(ratios)
    count = len(ordered)
    return [
        float(ordered[min(math.ceil((count + 1) * level), count) - 1]) if count else 1.0
        for level in LEVELS
    ]
