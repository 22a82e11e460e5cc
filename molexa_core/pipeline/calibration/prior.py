"""What is known before: parameters of the experiment and of references of other conditions.

A family has one set of parameters for each condition (duration, intensity, ...). Its own law says
how their expectation changes with the condition. That law is a belief too: what is not known about
the parameters at one condition is, at another, known to be alike only as far as the conditions are.
Deviations from the law are therefore a Gaussian process of the logarithm of the condition with the
Matern kernel of smoothness 3/2 (C. E. Rasmussen, C. K. I. Williams, Gaussian Processes for Machine
Learning, eq. 4.17), whose variance at every condition is that of the belief there. Close by, a
difference grows in proportion to |ln ratio|, as with an uncertain exponent of a power law (standard
deviation sqrt(3) / `REACH` of that of the parameter per unit of ln); far away nothing is carried
over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.belief import Belief
from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray

REACH: Final = 3.0
"""Length of the kernel in units of ln; an exponent is uncertain by 0.6 of the width of the
parameter, so +- 0.3 where the parameter itself is known to half an e-fold."""


_LEAST: Final = 1e-9
"""A direction in which no coordinate moves by more than this is known."""


def alikeness(distance: FloatArray | float) -> FloatArray:
    """Correlation of deviations from the law at a distance in ln of the condition."""
    x = np.sqrt(3.0) * np.asarray(distance, dtype=np.float64) / REACH
    return np.asarray((1.0 + x) * np.exp(-x))


@dataclass(frozen=True)
class JointPrior:
    """The parameters at all conditions as a function of independent standard normal numbers.

    Attributes:
        mean: (C, P) coordinates at each condition; the first one is the experiment.
        factor: (C, P, K) the coordinates are mean + factor @ u with u (K) standard normal.
    """

    mean: FloatArray
    factor: FloatArray

    @property
    def size(self) -> int:
        """K, the number of directions in which something is uncertain."""
        return int(self.factor.shape[2])

    def coordinates(self, u: FloatArray) -> FloatArray:
        """(s, C, P) coordinates of (s, K) standard normal numbers."""
        return np.asarray(self.mean + np.einsum("cpk,sk->scp", self.factor, u))


def joint_prior(
    beliefs: Sequence[Belief], distances: FloatArray, common: Sequence[str] = ()
) -> JointPrior:
    """The prior of the parameters at several conditions.

    Args:
        beliefs: (C) what is known at each condition; the first one is the experiment.
        distances: (C, C) distances of the conditions in ln.
        common: parameters that are the same number at all conditions, such as a time of the
            molecule's own physics.

    Raises:
        UsageError: beliefs of different parameters.
    """
    names = beliefs[0].names
    if any(belief.names != names for belief in beliefs):
        raise UsageError("the parameters of the family are not the same at all conditions")
    count, size = len(beliefs), len(names)
    shared = np.array([name in common for name in names], dtype=bool)
    own = ~shared
    mean = np.stack([belief.mean for belief in beliefs])
    mean[:, shared] = mean[0, shared]
    root = _root(beliefs[0].covariance[np.ix_(shared, shared)])
    inverse = np.linalg.pinv(root, rcond=1e-9)
    values, vectors = np.linalg.eigh(alikeness(distances))
    mixed = vectors * np.sqrt(np.maximum(values, 0.0))
    factor = np.zeros((count, size, int(shared.sum()) + count * int(own.sum())))
    for at, belief in enumerate(beliefs):
        # What the common ones say about the others holds at every condition; the rest varies.
        told = belief.covariance[np.ix_(own, shared)] @ inverse
        rest = _root(belief.covariance[np.ix_(own, own)] - told @ told.T)
        factor[at, shared, : len(root)] = root
        factor[at, own, : len(root)] = told
        factor[at, own, len(root) :] = np.einsum("pq,c->pcq", rest, mixed[at]).reshape(
            len(rest), -1
        )
    used = np.abs(factor).max(axis=(0, 1), initial=0.0) > _LEAST
    return JointPrior(mean, factor[:, :, used])


def _root(covariance: FloatArray) -> FloatArray:
    """The symmetric square root."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


@dataclass(frozen=True)
class Carried:
    """How parameters at conditions that a calibration did not have follow from those that it had.

    Attributes:
        mean: (P) where all is as the family expects.
        expected: (C P) what it expects at the points of the calibration.
        gain: (P, C P) change with what was found there.
        rest: (P, P) covariance of what is left open.
    """

    mean: FloatArray
    expected: FloatArray
    gain: FloatArray
    rest: FloatArray

    @classmethod
    def unchanged(cls, known: Belief, size: int, point: int) -> Carried:
        """At one of the points itself, of `size` parameters."""
        gain = np.zeros((size, len(known.names)))
        gain[:, point * size : (point + 1) * size] = np.eye(size)
        return cls(gain @ known.mean, known.mean, gain, np.zeros((size, size)))

    def belief(self, names: Sequence[str], known: Belief) -> Belief:
        """The distribution of the parameters, from that at the points."""
        mean = self.mean + self.gain @ (known.mean - self.expected)
        covariance = self.rest + self.gain @ known.covariance @ self.gain.T
        return Belief(tuple(names), mean, 0.5 * (covariance + covariance.T))


def carried_to(
    beliefs: Sequence[Belief], distances: FloatArray, common: Sequence[str], known: Belief
) -> Carried:
    """What a calibration says about the parameters at conditions that it did not have.

    The deviations from the law of the family are interpolated between the points of the
    calibration; far from all of them the belief of the family is all that is left.

    Args:
        beliefs: (1 + C) what the family says at the wanted conditions and at the C points.
        distances: (1 + C, 1 + C) of the conditions in ln.
        common: as in `joint_prior`.
        known: (C P) what the calibration found at its points, point by point.

    Raises:
        UsageError: numbers of parameters that do not fit.
    """
    size = len(beliefs[0].names)
    if len(known.names) != size * (len(beliefs) - 1):
        raise UsageError(f"a calibration of {len(known.names)} numbers for {size} parameters")
    prior = joint_prior(beliefs, distances, common)
    wanted, points = prior.factor[0], prior.factor[1:].reshape(len(known.names), -1)
    inverse = np.linalg.pinv(points @ points.T, rcond=1e-10, hermitian=True)
    gain = wanted @ points.T @ inverse
    rest = wanted - gain @ points
    return Carried(prior.mean[0], prior.mean[1:].reshape(-1), gain, rest @ rest.T)


def belief_at(
    beliefs: Sequence[Belief], distances: FloatArray, common: Sequence[str], known: Belief
) -> Belief:
    """The distribution of the parameters at conditions without references; see `carried_to`."""
    return carried_to(beliefs, distances, common, known).belief(beliefs[0].names, known)
