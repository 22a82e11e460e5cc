"""A family with the misfit that a calibration on molecules of known geometry left.

What no parameter removes is a relative error of the momenta of any molecule: the calibration
estimates its size, and every later reconstruction adds it to the error of the family.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.error_size import ErrorSize, size_of, yield_size_of
from molexa_core.physics.family.family import Family, Fragments, Linearised, WithYields


def relative_error(fragments: Fragments, momenta: FloatArray) -> FloatArray:
    """Covariance of momenta with a relative error of one, free of a momentum of the whole.

    Each component of the momentum of atom i has the variance (p_i^2 + 2 m_i T q_i / sum q) / 2,
    independent of the others, where T is the kinetic energy of all: half of it is the momentum of
    the atom itself, half what its charge would give it, so that an atom that other ions hold in
    their middle has an error too. The momentum of the whole is then taken out in proportion to
    the masses and the size restored, by N / (N - 1).

    Args:
        fragments: N ions.
        momenta: (n, N, 3) a.u.

    Returns:
        (n, 3 N, 3 N) a.u.; times the square of a relative error.
    """
    atoms = len(fragments)
    mass, share = fragments.masses, fragments.charges / fragments.charges.sum()
    square = np.square(momenta).sum(axis=2)
    energy = (square / (2.0 * mass)).sum(axis=1, keepdims=True)
    variance = 0.5 * (square + 2.0 * mass * share * energy)
    centred = np.eye(atoms) - np.outer(mass / mass.sum(), np.ones(atoms))
    of_atoms = np.einsum("ij,nj,kj->nik", centred, variance, centred) * atoms / (atoms - 1)
    both = np.einsum("nik,ab->niakb", of_atoms, np.eye(3))
    return np.asarray(both.reshape(len(momenta), 3 * atoms, 3 * atoms))


@dataclass(frozen=True)
class CalibratedFamily:
    """A family whose error contains the misfit of its references.

    Attributes:
        family: the family as it was calibrated.
        misfit: relative error of momenta, such as 0.01, added to the error of the family.

    Raises:
        UsageError: a misfit that is negative or no number.
    """

    family: Family
    misfit: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.misfit < np.inf:
            raise UsageError(f"the misfit of a calibration is {self.misfit}")

    @property
    def name(self) -> str:
        """That of the family."""
        return self.family.name

    @property
    def costly(self) -> bool:
        """Whether the family takes long."""
        return bool(getattr(self.family, "costly", False))

    @property
    def error_size(self) -> ErrorSize:
        """How well the size of the family's error is known; the misfit is taken as it."""
        return size_of(self.family)

    @property
    def weights(self) -> tuple[str, str] | None:
        """Name and SHA-256 of the numbers that the family computes with, if any."""
        return getattr(self.family, "weights", None)

    def held(self) -> Family:
        """The family without derivatives by parameters, where it can leave them out."""
        held = getattr(self.family, "held", None)
        return self.family if held is None else held()

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Those of the family."""
        return self.family.coordinates

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """See `Family.explode`."""
        return self.family.explode(fragments, positions, parameters)

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        """See `Family.linearise`."""
        return self.family.linearise(fragments, positions, parameters)

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """See `Family.error`: that of the family and the misfit."""
        momenta = self.family.explode(fragments, positions, parameters)
        own = self.family.error(fragments, positions, parameters)
        return np.asarray(own + self.misfit**2 * relative_error(fragments, momenta))


@dataclass(frozen=True)
class CalibratedYields(CalibratedFamily):
    """The same for a family that knows how often explosions end in given charges."""

    @property
    def yield_error_size(self) -> ErrorSize:
        """The same of the errors of yields."""
        return yield_size_of(self.family)

    def log_yield(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """See `WithYields.log_yield`."""
        if not isinstance(self.family, WithYields):
            raise UsageError(f"{self.name}: no yields are known")
        return self.family.log_yield(fragments, positions, parameters)


def calibrated(family: Family, misfit: float) -> CalibratedFamily:
    """The family with this relative error; with yields where it has them."""
    kind = CalibratedYields if isinstance(family, WithYields) else CalibratedFamily
    return kind(family, misfit)
