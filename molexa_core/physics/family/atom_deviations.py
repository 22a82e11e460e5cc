"""A family for a molecule whose atoms are known from other explosions to deviate from it.

A family of point charges says how the charges of all atoms rise; how each atom deviates is left
open in `between_atoms`, as standard normal numbers of each atom. In references of known geometry
some of it is seen. Atoms of one element cannot be told apart in another explosion, so what is
carried on are their sums: of the numbers e_i of the n atoms of an element the standard normal
number sum e_i / sqrt(n). What is left of each atom stays open.

Deviations are alike in another explosion as far as its pulse and charges are. To first order they
move the momenta by B v, where B are the derivatives along `between_atoms` and v the numbers, with

    v | parameters = mean + gain (parameters - centre) +- covariance,

since the references see parameters and deviations together. So `explode` gains B v, and the
covariance of `error` B B' becomes that of what is still open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.tables import FloatArray
from molexa_core.physics.coulomb.follow import Directions
from molexa_core.physics.family.family import Family, Fragments, Linearised

CHARGE_REACH: Final = 1.0
"""Length, in ln of the charge, of the kernel of deviations in other charges: believed, not fitted.
0.85 between charges of 2 and 3, 0.66 between 2 and 4."""
LARGEST: Final = 3.0
"""Largest deviation that is followed, standard deviations."""
_STEP: Final = 0.02
"""Step of differences, bohr and units of the coordinates: far above the rounding of explosions."""


@runtime_checkable
class Deviating(Family, Protocol):
    """A family that says how atoms may deviate from it."""

    def between_atoms(self, fragments: Fragments, parameters: FloatArray) -> Directions:
        """The same number of directions for each atom, atom by atom."""

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
        """Momenta with derivatives, see `PointCharges`."""


def kinds_of(symbols: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The elements of a molecule in alphabetical order, and how many atoms each has."""
    elements = tuple(sorted(set(symbols)))
    return elements, tuple(list(symbols).count(one) for one in elements)


def charges_of_kinds(fragments: Fragments) -> FloatArray:
    """(E) mean charge of the atoms of each element, in the order of `kinds_of`."""
    symbols = np.array(fragments.symbols)
    return np.array([fragments.charges[symbols == one].mean() for one in sorted(set(symbols))])


def charge_alikeness(charges: FloatArray) -> FloatArray:
    """(L, L) correlation of deviations in L channels with mean charges (L, E) of the elements.

    The Matern kernel of smoothness 3/2 in the rms difference of ln charge.
    """
    logarithm = np.log(charges) / np.sqrt(charges.shape[1])
    away = np.linalg.norm(logarithm[:, None] - logarithm[None], axis=2)
    x = np.sqrt(3.0) * away / CHARGE_REACH
    return np.asarray((1.0 + x) * np.exp(-x))


def directions_of_kinds(
    family: Deviating, fragments: Fragments, parameters: FloatArray
) -> FloatArray:
    """(n, M, N, numbers) weights of `Directions`: element by element, by one standard deviation."""
    weights = family.between_atoms(fragments, parameters).weights
    n, all_, atoms, numbers = weights.shape
    each = weights.reshape(n, atoms, all_ // atoms, atoms, numbers)
    symbols = np.array(fragments.symbols)
    sums = [
        each[:, symbols == one].sum(axis=1) / np.sqrt((symbols == one).sum())
        for one in kinds_of(fragments.symbols)[0]
    ]
    return np.concatenate(sums, axis=1)


def moved_by_kinds(
    family: Deviating, fragments: Fragments, positions: FloatArray, parameters: FloatArray
) -> FloatArray:
    """(n, 3 N, M) B: how momenta change with the deviations of each element."""
    weights = directions_of_kinds(family, fragments, parameters)
    along = Directions(weights, np.zeros((1, weights.shape[1])))
    return family.follow(fragments, positions, parameters, directions=along)[1]


@dataclass(frozen=True)
class KnownDeviations:
    """What references say of the atoms of a molecule, for an explosion of another channel or pulse.

    L channels of the references, M numbers of each.

    Attributes:
        elements, counts: (E) of the molecule.
        charges: (L, E) mean charges of the elements in the channels.
        alike: (1 + L, 1 + L) correlation of deviations by their pulses; the first is that of the
            explosion asked for.
        mean: (L M) of the deviations.
        gain: (L M, P) their change with the parameters of the explosion asked for.
        covariance: (L M, L M) at fixed parameters.
        centre: (P) parameters at which the mean holds.
    """

    elements: tuple[str, ...]
    counts: tuple[int, ...]
    charges: FloatArray
    alike: FloatArray
    mean: FloatArray
    gain: FloatArray
    covariance: FloatArray
    centre: FloatArray

    def covers(self, fragments: Fragments) -> bool:
        """Whether these are the atoms of the molecule."""
        return kinds_of(fragments.symbols) == (self.elements, self.counts)

    def in_channel(self, fragments: Fragments) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Mean (M), gain (M, P) and covariance (M, M) of the deviations in one channel."""
        every = np.concatenate([charges_of_kinds(fragments)[None], self.charges])
        alike = self.alike * charge_alikeness(every)
        carried = alike[0, 1:] @ np.linalg.pinv(alike[1:, 1:], rcond=1e-10, hermitian=True)
        size = len(self.mean) // len(self.charges)
        root = np.kron(carried, np.eye(size))
        fresh = max(1.0 - float(carried @ alike[0, 1:]), 0.0)
        covariance = root @ self.covariance @ root.T + fresh * np.eye(size)
        return root @ self.mean, root @ self.gain, covariance


@dataclass(frozen=True)
class SameMolecule:
    """A family for a molecule of which references are known; others explode as in the family.

    Attributes:
        family: the family.
        known: of the atoms of the molecule.
    """

    family: Deviating
    known: KnownDeviations

    @property
    def name(self) -> str:
        """That of the family."""
        return self.family.name

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """Those of the family."""
        return self.family.coordinates

    def explode(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """See `Family.explode`."""
        if not self.known.covers(fragments):
            return self.family.explode(fragments, positions, parameters)
        momenta, moved = self._moved(fragments, positions, parameters)
        return momenta + moved

    def linearise(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> Linearised:
        """See `Family.linearise`; of what deviations add, by differences."""
        found = self.family.linearise(fragments, positions, parameters)
        if not self.known.covers(fragments):
            return found
        n, atoms = positions.shape[:2]
        moved = self._moved(fragments, positions, parameters)[1]
        places, count = 3 * atoms, parameters.shape[1]
        steps = np.zeros((places + count, places + count))
        np.fill_diagonal(steps, _STEP)
        flat = np.concatenate([positions.reshape(n, -1), parameters], axis=1)
        ends = []
        for sign in (1.0, -1.0):
            near = (flat[:, None] + sign * steps).reshape(-1, places + count)
            x, at = near[:, :places].reshape(-1, atoms, 3), near[:, places:]
            ends.append(self._moved(fragments, x, at)[1].reshape(n, places + count, -1))
        slope = ((ends[0] - ends[1]) / (2.0 * _STEP)).transpose(0, 2, 1)
        return Linearised(
            found.momenta + moved,
            found.by_positions + slope[:, :, :places],
            found.by_parameters + slope[:, :, places:],
        )

    def error(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> FloatArray:
        """See `Family.error`: with what is still open of the deviations of the elements."""
        own = self.family.error(fragments, positions, parameters)
        if not self.known.covers(fragments):
            return own
        by = moved_by_kinds(self.family, fragments, positions, parameters)
        covariance = self.known.in_channel(fragments)[2]
        return np.asarray(own + by @ (covariance - np.eye(len(covariance))) @ by.transpose(0, 2, 1))

    def _moved(
        self, fragments: Fragments, positions: FloatArray, parameters: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """(n, N, 3) momenta of the family, and what the deviations add."""
        mean, gain, _ = self.known.in_channel(fragments)
        deviation = mean + (parameters - self.known.centre) @ gain.T
        deviation = np.clip(deviation, -LARGEST, LARGEST)
        weights = directions_of_kinds(self.family, fragments, parameters)
        along = np.einsum("nm,nmak->nak", deviation, weights)[:, None]
        momenta, changes = self.family.follow(
            fragments, positions, parameters, directions=Directions(along, np.zeros((1, 1)))
        )
        return momenta, changes[:, :, 0].reshape(momenta.shape)
