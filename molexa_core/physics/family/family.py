"""What a family of forward models is: momenta as a function of geometry and parameters.

Reconstruction and calibration know families by this protocol alone. Members: point charges that
build up (`build_up_family`), a strong laser pulse (`laser_family`), ion impact, and the Monte-Carlo
model of an X-ray pulse through its surrogate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray


@dataclass(frozen=True)
class Fragments:
    """The ions that a molecule explodes into, without their positions.

    Attributes:
        symbols: element of each atom.
        charges: (N) elementary charges.
        masses: (N) of the ions, electron masses.
    """

    symbols: tuple[str, ...]
    charges: FloatArray
    masses: FloatArray

    @classmethod
    def of(cls, ions: Sequence[Ion]) -> Fragments:
        """The fragments that these atomic ions are."""
        return cls(
            tuple(ion.element.symbol for ion in ions),
            np.array([float(ion.charge) for ion in ions]),
            np.array([ion.mass for ion in ions]),
        )

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.symbols)


@dataclass(frozen=True)
class Linearised:
    """Momenta and their derivatives. n geometries, N atoms, P parameters.

    Attributes:
        momenta: (n, N, 3) a.u.
        by_positions: (n, 3 N, 3 N) a.u. per bohr (rows: momenta).
        by_parameters: (n, 3 N, P) a.u. per unit of the coordinate.
    """

    momenta: FloatArray
    by_positions: FloatArray
    by_parameters: FloatArray


class Family(Protocol):
    """Forward models with parameters.

    Momenta are the means over many explosions of one geometry at rest, in its frame, with sum
    zero. They turn with the geometry. Where a model fails (two atoms in one place), they are not
    numbers; nothing is raised.
    """

    @property
    def name(self) -> str:
        """In words, for results: "charges that rise together"."""

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """The P parameters."""

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, N, 3) momenta in a.u. of positions (n, N, 3) in bohr, coordinates (n, P)."""

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        """The same with derivatives."""

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance, in a.u., of what the family leaves open at these parameters.

        Differences between atoms that no parameter describes, error of a surrogate, and the misfit
        that a calibration found.
        """


@runtime_checkable
class WithYields(Protocol):
    """A family that knows how often explosions end in these charges."""

    def log_yield(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(n) natural logarithm of the share of explosions, and (n) its standard error."""


@dataclass(frozen=True)
class Hypothesis:
    """One family with what is known about its parameters.

    Attributes:
        family: the forward models.
        belief: distribution of their parameters, named as `family.coordinates`.
        weight: probability among the hypotheses of an `ExplosionKnowledge`.
    """

    family: Family
    belief: Belief
    weight: float = 1.0


@dataclass(frozen=True)
class ExplosionKnowledge:
    """What is known about the explosion before momenta are looked at.

    Attributes:
        hypotheses: families with their parameters; one suffices, several where a rule of the model
            is not known.
        statement: one sentence for results, such as "X-ray pulse of 2000 eV, 15 +- 3 fs".
        origin: `told`, `calibrated` (on reference molecules) or `unknown` (broad prior).
    """

    hypotheses: tuple[Hypothesis, ...]
    statement: str
    origin: str
