"""Explosions after the impact of a fast or highly charged ion.

The projectile passes in less than a femtosecond and takes the electrons with it: all charges are
there at once, and the molecule has its geometry at rest. What is left of bonds screens close pairs.

The recoil. An ion of charge Z that passes at speed v an atom of charge q at distance b pushes it by
2 Z q / (b v) (J. D. Jackson, Classical Electrodynamics, energy loss in collisions): 2 to 10 a.u.
both for MeV per mass number and close passage (Z = 20 to 50, v = 10 to 20, b = 1 to 2) and, as a
difference between atoms, for slow ions of high charge that pass at 10 bohr. Its direction has
nothing to do with the molecule, so that in means over many explosions little of it is left; how
much depends on how events were selected. So the parameter is the push of one atom that is left in
the means, and it moves no momentum in a known direction: it is part of the family's error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.follow import Charging, Directions
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.family.point_charges import SCREENING, PointCharges, bare

RECOIL: Final = Coordinate(
    "recoil_au", "push of one atom by the projectile that is left in the means", "a.u."
)


@dataclass(frozen=True)
class IonImpactFamily(PointCharges):
    """Charges at once, and a push of one atom. Coordinates: ln recoil in a.u., screening."""

    @property
    def name(self) -> str:
        """In words, for results."""
        return "impact of an ion: charges at once"

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Recoil, screening."""
        return (RECOIL, SCREENING)

    def charging(self, fragments: Fragments, parameters: FloatArray) -> Charging:
        """How the charges rise at coordinates (n, P)."""
        return bare(fragments, parameters[:, 1])

    def along_parameters(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """How the charging changes with each of the P coordinates."""
        del parameters
        return Directions(np.zeros((1, 2, len(fragments), 0)), np.array([[0.0, 1.0]]))

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """(n, 3 N, 3 N) covariance, in a.u.: one atom, any with like probability, was pushed.

        The molecule as a whole does not move: momenta have the sum zero.
        """
        n, atoms = positions.shape[:2]
        _, changes = self.follow(fragments, positions, parameters, by_kicks=True)
        share = fragments.masses / fragments.masses.sum()
        pushed = changes.reshape(n, atoms, 3, 3 * atoms)
        pushed = pushed - share[:, None, None] * pushed.sum(axis=1, keepdims=True)
        each = pushed.reshape(n, 3 * atoms, 3 * atoms)
        variance = np.exp(2.0 * parameters[:, 0]) / (3.0 * atoms)
        return np.asarray(variance[:, None, None] * (each @ each.transpose(0, 2, 1)))


ION_IMPACT_PRIOR: Final = Belief.independent(
    (RECOIL.name, SCREENING.name), (math.log(1.0), 0.05), (math.log(3.0), 0.1)
)
"""A tenth to half of the push of a single collision is left in the means."""
