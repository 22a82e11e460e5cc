"""What the families of point charges have in common: compiled explosions, a molecule in each lane.

Every geometry has parameters of its own. Momenta and derivatives come from one integration in
single precision, mean relative error 5e-6 and less.

Screening. Two close ions still share what is left of the electrons of their bond, and feel each
other less than two points do: a pair at distance r has the potential
q_i q_j / sqrt(r^2 + s (R_i + R_j)^2), R being covalent radii. With s = 0.1, two ions at the
distance of a single bond feel 5 per cent less, and at twice that 1 per cent. Negative s means that
they feel more: their remaining electrons no longer screen the nuclei.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.matter.elements import element
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.coulomb.batches import with_last_atom
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.coulomb.follow import Charging, Directions, follow
from molexa_core.physics.family.family import Fragments, Linearised

SCREENING: Final = Coordinate("screening", "screening of close pairs", scale="linear")
ACCURACY: Final = Accuracy(400, 0.38)
"""Most explosions end after 50 to 100 steps."""


@dataclass(frozen=True)
class PointCharges(ABC):
    """A family of explosions of point charges.

    Attributes:
        single: whether to compute in single precision; else in double, at half the rate.
        accuracy: of the integration.
    """

    single: bool = True
    accuracy: Accuracy = ACCURACY

    @property
    @abstractmethod
    def name(self) -> str:
        """In words, for results."""

    @property
    @abstractmethod
    def coordinates(self) -> tuple[Coordinate, ...]:
        """The P parameters."""

    @abstractmethod
    def charging(self, fragments: Fragments, parameters: FloatArray) -> Charging:
        """How the charges rise at coordinates (n, P)."""

    @abstractmethod
    def along_parameters(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """How the charging changes with each of the P coordinates."""

    @abstractmethod
    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance, in a.u., of what the parameters leave open; see `Family`."""

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, N, 3) momenta in a.u. of positions (n, N, 3) in bohr, coordinates (n, P)."""
        return self.follow(fragments, positions, parameters)[0]

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        """The same with derivatives; see `Family`."""
        along = self.along_parameters(fragments, parameters)
        momenta, changes = self.follow(
            fragments, positions, parameters, by_positions=True, directions=along
        )
        moved = 3 * (len(fragments) - 1)
        return Linearised(momenta, with_last_atom(changes[:, :, :moved]), changes[:, :, moved:])

    def follow(
        self,
        fragments: Fragments,
        positions: FloatArray,
        parameters: FloatArray,
        *,
        by_positions: bool = False,
        by_kicks: bool = False,
        directions: Directions | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Momenta with derivatives as `coulomb.follow.follow` gives them."""
        charging = self.charging(fragments, parameters)
        return follow(
            *(positions, fragments.charges, fragments.masses, charging, self.accuracy),
            single=self.single,
            by_positions=by_positions,
            by_kicks=by_kicks,
            directions=directions,
        )


def least_error(momenta: FloatArray, share: float) -> FloatArray:
    """Covariance of the same error in each momentum component, without one of their sum.

    Args:
        momenta: (n, N, 3) a.u.
        share: standard deviation of a component over the rms component of the explosion.

    Returns:
        (n, 3 N, 3 N) a.u.
    """
    atoms = momenta.shape[1]
    variance = share**2 * np.square(momenta).mean(axis=(1, 2)) * atoms / (atoms - 1)
    still = np.kron(np.eye(atoms) - 1.0 / atoms, np.eye(3))
    return np.asarray(variance[:, None, None] * still)


def bare(fragments: Fragments, screening: FloatArray) -> Charging:
    """Charges that are whole at once, of ions that screen each other so much, (n or 1)."""
    radii = np.array(
        [element(symbol).covalent_radius_angstrom / BOHR_ANGSTROM for symbol in fragments.symbols]
    )
    one, other = np.tril_indices(len(fragments), -1)
    found = Charging.at_once(len(fragments))
    return replace(found, screening=screening, reach=(radii[one] + radii[other]) ** 2)
