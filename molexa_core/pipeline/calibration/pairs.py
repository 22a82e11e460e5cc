"""Relative momenta of pairs of ions: what is compared between a reference and its explosion.

The relative momentum of two ions, k = (m_j p_i - m_i p_j) / (m_i + m_j), depends neither on the
frame nor on the motion of the whole, and its size is never close to zero as that of an ion in the
middle of a molecule can be. Sizes are averaged over the pairs of a kind; like ions need not be told
apart. N (N - 1) / 2 pairs hold all that the 3 N - 6 mean momenta of N ions tell, and the kinetic
energy of the mean momenta is a sum of squares of k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray

FEWEST: Final = 10
"""Fewest events from which means and their covariance are taken."""
LEAST_ERROR: Final = 1e-4
"""Smallest relative error of a mean that is believed: no spectrometer is known better."""


@dataclass(frozen=True)
class Observed:
    """What was measured of a reference.

    Attributes:
        names: of the K values, such as `O2+ - H+`.
        values: (K) means in a.u.
        covariance: (K, K) of the means.
        events: number of coincidences; 0 if it is not known.
        scatter: mean squared distance of the events from their mean over the square of the mean;
            None where only means are known.
    """

    names: tuple[str, ...]
    values: FloatArray
    covariance: FloatArray
    events: float = 0.0
    scatter: float | None = None


class Pairs:
    """The kinds of pairs of some ions.

    Args:
        ions: N ions.

    Attributes:
        names: of the K kinds, such as `O2+ - H+`.
    """

    def __init__(self, ions: Sequence[Ion]) -> None:
        kinds: dict[str, list[tuple[int, int]]] = {}
        for i, j in combinations(range(len(ions)), 2):
            kinds.setdefault(f"{ions[i]} - {ions[j]}", []).append((i, j))
        # A - B and B - A are one kind.
        for name in list(kinds):
            first, _, second = name.partition(" - ")
            other = f"{second} - {first}"
            if name in kinds and other != name and other in kinds:
                kinds[name] += kinds.pop(other)
        self.names = tuple(kinds)
        pairs = [pair for members in kinds.values() for pair in members]
        self._first = np.array([i for i, _ in pairs])
        self._second = np.array([j for _, j in pairs])
        mass = np.array([ion.mass for ion in ions])
        total = mass[self._first] + mass[self._second]
        self._of_first = mass[self._second] / total
        self._of_second = mass[self._first] / total
        self._mean = np.zeros((len(kinds), len(pairs)))
        column = 0
        for row, members in enumerate(kinds.values()):
            self._mean[row, column : column + len(members)] = 1.0 / len(members)
            column += len(members)

    def sizes(self, momenta: FloatArray) -> FloatArray:
        """(n, K) size of the relative momentum, averaged over the pairs of each kind.

        Args:
            momenta: (n, N, 3) a.u.
        """
        return np.asarray(np.linalg.norm(self._relative(momenta), axis=2) @ self._mean.T)

    def squares(self, momenta: FloatArray) -> FloatArray:
        """(n, K) square of the relative momentum, averaged over the pairs of each kind."""
        return np.asarray(np.square(self._relative(momenta)).sum(axis=2) @ self._mean.T)

    def gradient(self, momenta: FloatArray) -> FloatArray:
        """(n, K, 3 N) derivatives of `sizes` with respect to the momenta."""
        relative = self._relative(momenta)
        unit = relative / np.maximum(np.linalg.norm(relative, axis=2, keepdims=True), 1e-300)
        count, ions = len(momenta), momenta.shape[1]
        found = np.zeros((count, len(self.names), ions, 3))
        for pair, (i, j) in enumerate(zip(self._first, self._second, strict=True)):
            share = self._mean[:, pair][None, :, None] * unit[:, pair][:, None, :]
            found[:, :, i] += share * self._of_first[pair]
            found[:, :, j] -= share * self._of_second[pair]
        return found.reshape(count, len(self.names), 3 * ions)

    def _relative(self, momenta: FloatArray) -> FloatArray:
        of_first = self._of_first[:, None] * momenta[:, self._first]
        return np.asarray(of_first - self._of_second[:, None] * momenta[:, self._second])

    def of_means(self, momenta: FloatArray, errors: FloatArray, events: float = 0.0) -> Observed:
        """The sizes of relative mean momenta (N, 3) with independent errors (N, 3)."""
        values = self.sizes(momenta[None])[0]
        gradient = self.gradient(momenta[None])[0]
        covariance = (gradient * np.square(errors).reshape(-1)) @ gradient.T
        return Observed(self.names, values, floored(covariance, values), events)


def floored(covariance: FloatArray, values: FloatArray) -> FloatArray:
    """A covariance of values with the error that every spectrometer has."""
    return np.asarray(covariance + np.diag(np.square(LEAST_ERROR * values)))
