"""Calibrated error bars: half-widths of intervals from the predicted errors.

The network predicts the expected absolute error e of every coordinate. On molecules that it was
not trained on, the quantiles of the ratio of true to predicted error are measured. Multiplied by
such a quantile, e becomes the half-width of an interval that contains the true coordinate with the
stated probability for new molecules of the same kind, for any distribution of the errors (split
conformal prediction:
Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005; by groups, "Mondrian").
Groups are formed by number of atoms and by size of the predicted error, so that the intervals hold
for large molecules and for uncertain predictions as well as on average.

A network that was trained on a data set is more accurate for the molecules in it than for others.
Its card therefore holds two calibrations, and the sum formula of an input decides which is used.
`interval_fit` fits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from molexa_core.base.matter.elements import BY_NUMBER, sum_formula
from molexa_core.base.storage.bounded import from_values
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.network.config import SamplerSettings

LEVELS: Final = (0.68, 0.95)
"""Probabilities of the intervals."""
Kind = Literal["all", "known", "new"]
KINDS: Final[tuple[Kind, ...]] = ("all", "known", "new")
"""The molecules that a calibration is for: all; those whose sum formula was in the training; all
others."""


@dataclass(frozen=True)
class Calibration:
    """Factors from predicted errors to half-widths of intervals.

    Attributes:
        floor: smallest predicted error, bohr: the resolution of the bins of the estimate.
        edges: for each number of atoms, (groups - 1) limits of the predicted error, bohr.
        factors: for each number of atoms, (groups, levels).
        molecules: number of molecules that it was fitted on.
        data: description of these molecules for the reader.
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
            (..., N, 3) bohr. For a number of atoms without calibration the nearest one is used.
        """
        return self.scaled(expected, expected.shape[-2], level)

    def scaled(self, expected: FloatArray, atoms: int, level: float) -> FloatArray:
        """Half-widths (any shape) from predicted errors of molecules with `atoms` atoms."""
        nearest = min(self.edges, key=lambda n: (abs(n - atoms), n))
        group = np.searchsorted(self.edges[nearest], expected)
        factors: FloatArray = self.factors[nearest][group, LEVELS.index(level)]
        return factors * np.maximum(expected, self.floor)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model card."""
        return {
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
            KeyError, TypeError, ValueError: the values do not have this form.
        """
        edges = {int(n): np.array(one, dtype=float) for n, one in values["edges_bohr"].items()}
        factors = {int(n): np.array(one, dtype=float) for n, one in values["factors"].items()}
        if not edges or edges.keys() != factors.keys():
            msg = f"edges for {sorted(edges)} and factors for {sorted(factors)} atoms"
            raise ValueError(msg)
        for atoms, one in factors.items():
            fits = one.shape == (len(edges[atoms]) + 1, len(LEVELS)) and edges[atoms].ndim == 1
            if not fits or not (np.isfinite(one).all() and (one >= 0).all()):
                msg = f"factors of shape {one.shape} for {atoms} atoms"
                raise ValueError(msg)
            if not np.isfinite(edges[atoms]).all() or (np.diff(edges[atoms]) < 0).any():
                msg = f"edges for {atoms} atoms that do not rise"
                raise ValueError(msg)
        floor = float(values["floor_bohr"])
        if not 0.0 <= floor < np.inf:
            msg = f"a least error of {floor} bohr"
            raise ValueError(msg)
        return cls(
            floor=floor,
            edges=edges,
            factors=factors,
            molecules=int(values["molecules"]),
            data=str(values["data"]),
        )


@dataclass(frozen=True)
class Calibrations:
    """The calibrations of a set of weights, and the choice between them.

    Attributes:
        parts: by kind; `all` alone, or `known` and `new`.
        formulas: sum formulas of the training; empty if there is only one calibration.
        sampler: settings of the sampler with which the errors were measured; None if unknown.
    """

    parts: Mapping[Kind, Calibration]
    formulas: frozenset[str] = frozenset()
    sampler: SamplerSettings | None = None

    def kind(self, formula: str) -> Kind:
        """The calibration that is used for molecules of this sum formula."""
        if len(self.parts) == 1:
            return next(iter(self.parts))
        return "known" if formula in self.formulas else "new"

    def half_widths(
        self, expected: FloatArray, numbers: IntArray, level: float = LEVELS[0]
    ) -> FloatArray:
        """Half-widths of the intervals of one or several molecules of one size.

        Args:
            expected: (N, 3) or (B, N, 3) predicted errors, bohr.
            numbers: (N), or (B, N) where molecules differ: atomic numbers.
            level: one of `LEVELS`.

        Returns:
            Bohr, in the shape of `expected`.
        """
        if numbers.ndim == 1 or len(self.parts) == 1:
            first = numbers.reshape(-1, numbers.shape[-1])[0]
            return self.parts[self.kind(formula_of(first))].half_widths(expected, level)
        widths = np.empty(expected.shape)
        found, place = np.unique(np.sort(numbers, axis=1), axis=0, return_inverse=True)
        kinds = np.array([self.kind(formula_of(row)) for row in found])[place.ravel()]
        for kind in np.unique(kinds):
            rows = kinds == kind
            widths[rows] = self.parts[kind].half_widths(expected[rows], level)
        return widths

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model card."""
        return {
            "levels": list(LEVELS),
            "sampler": None if self.sampler is None else asdict(self.sampler),
            "formulas": " ".join(sorted(self.formulas)),
            "parts": {kind: part.to_dict() for kind, part in self.parts.items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibrations:
        """The calibrations of a model card; a card of version 1 has only one, for all molecules.

        Raises:
            KeyError, TypeError, ValueError: the values do not have this form.
        """
        if tuple(values["levels"]) != LEVELS:
            msg = f"levels {values['levels']}"
            raise ValueError(msg)
        if "parts" not in values:
            return cls({"all": Calibration.from_dict(values)})
        parts: dict[Kind, Calibration] = {
            kind: Calibration.from_dict(values["parts"][kind])
            for kind in KINDS
            if kind in values["parts"]
        }
        if not parts or ("all" in parts and len(parts) > 1):
            msg = f"calibrations for {sorted(values['parts'])}"
            raise ValueError(msg)
        stored = values["sampler"]
        sampler = None if stored is None else from_values(SamplerSettings, stored, name="sampler")
        return cls(parts, frozenset(values["formulas"].split()), sampler)


def formula_of(numbers: IntArray) -> str:
    """Sum formula of atomic numbers (N), such as `C2H6O`."""
    return sum_formula([BY_NUMBER[int(number)].symbol for number in numbers])
