"""How well a set of parameters of a family explains the references.

The measured values are normal about the prediction with the covariance A + e^2 B: A is that of the
measurement and of the family's own error, B that of a relative error of one in all momenta. The
size e of the misfit is not known. Its prior is exponential with the mean `MISFIT` (the prior that
penalises a deviation from the simpler model: D. Simpson et al., Statistical Science 32, 1 (2017)):
it may be zero, and one misfit of many errors is enough to outvote its tail. The likelihood is the
mean over this prior, so that the posterior of the parameters is as wide as it must be when their
misfit is estimated from a few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.family import Family
from molexa_core.pipeline.calibration.prior import JointPrior
from molexa_core.pipeline.calibration.references import Reference, YieldReference

MISFIT: Final = 0.002
"""Mean of the prior of the relative error of momenta that a family does not know of itself."""
_ROUNDING: Final = 1e-11
_LARGEST: Final = 1e16
"""Sum of variances, a.u., of a prediction that says nothing."""
_STEP: Final = 0.02
"""Step of derivatives, in standard deviations of the prior: far above the rounding of a momentum,
far below what bends it."""

AnyReference = Reference | YieldReference
MISFITS: Final[FloatArray] = np.geomspace(0.02, 150.0, 48) * MISFIT
"""Sizes of misfit over which the likelihood is averaged."""
_LOG_SIZE: Final[FloatArray] = np.log(MISFITS) - MISFITS / MISFIT
LOG_SHARES: Final[FloatArray] = _LOG_SIZE - np.log(np.exp(_LOG_SIZE).sum())
"""Logarithms of their probabilities before: exponential, in steps of ln."""


@dataclass(frozen=True)
class Noise:
    """The covariance of measured values about a prediction, as a function of the misfit.

    Attributes:
        known: (n, n) A.
        relative: (n, n) B.
    """

    known: FloatArray
    relative: FloatArray

    def covariance(self, misfit: float) -> FloatArray:
        """(n, n) at this size of the misfit."""
        return np.asarray(self.known + misfit**2 * self.relative)

    def whitening(self, misfit: float) -> FloatArray:
        """(n, n) W so that W r has unit covariance at this size of the misfit."""
        return np.asarray(np.linalg.inv(np.linalg.cholesky(self.covariance(misfit))))


def log_densities(residuals: FloatArray, known: FloatArray, relative: FloatArray) -> FloatArray:
    """(s, levels) logarithm of the joint density of residuals and each of `MISFITS`.

    Args:
        residuals: (s, n); minus infinity is returned for those that are not numbers.
        known: (s, n, n) A of each.
        relative: (s, n, n) B of each.
    """
    count, size = residuals.shape
    found = np.full((count, len(MISFITS)), -np.inf)
    usable = np.isfinite(residuals).all(axis=1)
    usable &= np.isfinite(known).all(axis=(1, 2)) & np.isfinite(relative).all(axis=(1, 2))
    # Far out in a prior errors may be so large that the rest is lost in rounding.
    size_of = np.trace(known, axis1=1, axis2=2)
    usable &= size_of < _LARGEST
    some = known[usable] + _ROUNDING * size_of[usable, None, None] * np.eye(size)
    factor = np.linalg.cholesky(some)
    inverse = np.linalg.inv(factor)
    values, vectors = np.linalg.eigh(inverse @ relative[usable] @ inverse.transpose(0, 2, 1))
    square = np.square(
        np.einsum("sji,sjk,sk->si", vectors, inverse, residuals[usable], optimize=True)
    )
    scale = 1.0 + np.square(MISFITS)[:, None] * np.maximum(values, 0.0)[:, None, :]
    chi_square = (square[:, None, :] / scale).sum(axis=2)
    volume = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    constant = volume + 0.5 * size * np.log(2.0 * np.pi)
    density = -0.5 * (chi_square + np.log(scale).sum(axis=2)) - constant[:, None]
    found[usable] = density + LOG_SHARES
    return found


@dataclass(frozen=True)
class Problem:
    """References and one family with what is known about its parameters.

    Attributes:
        family: the forward models.
        prior: of their parameters at all conditions.
        references: what was measured.
        offset: (n) added to predictions, see `Reference.correction`.
        further: (n, n) covariance of what is added.
    """

    family: Family
    prior: JointPrior
    references: Sequence[AnyReference]
    offset: FloatArray
    further: FloatArray

    @classmethod
    def of(cls, family: Family, prior: JointPrior, references: Sequence[AnyReference]) -> Problem:
        """The problem without a correction of the predictions."""
        size = sum(len(reference.observed.values) for reference in references)
        return cls(family, prior, references, np.zeros(size), np.zeros((size, size)))

    @property
    def measured(self) -> FloatArray:
        """(n) the values of all references, one after the other."""
        return np.concatenate([reference.observed.values for reference in self.references])

    @property
    def parts(self) -> list[slice]:
        """The places of each reference among the values."""
        edges = np.cumsum([0, *(len(reference.observed.values) for reference in self.references)])
        return [slice(int(a), int(b)) for a, b in pairwise(edges)]

    def evaluate(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Predictions (s, n) for (s, K) numbers of the prior, and covariances A and B (s, n, n)."""
        at = self.prior.coordinates(u)
        size = len(self.offset)
        values = np.empty((len(u), size))
        known, relative = np.zeros((2, len(u), size, size))
        for part, reference in zip(self.parts, self.references, strict=True):
            found = reference.evaluate(self.family, at[:, reference.condition])
            values[:, part] = found[0]
            known[:, part, part] = reference.observed.covariance + found[1]
            relative[:, part, part] = found[2]
        return values + self.offset, known + self.further, relative

    def predict(self, u: FloatArray) -> FloatArray:
        """(s, n) predictions for (s, K) numbers of the prior."""
        return self.evaluate(u)[0]

    def with_derivatives(self, u: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Predictions (s, n) and their derivatives (s, n, K).

        By differences of the whole prediction, since averaging and turning belong to it.
        """
        sets, size = u.shape
        steps = _STEP * np.eye(size)
        near = np.concatenate([u[:, None], u[:, None] + steps, u[:, None] - steps], axis=1)
        found = self.predict(near.reshape(-1, size)).reshape(sets, 2 * size + 1, -1)
        ahead, behind = found[:, 1 : size + 1], found[:, size + 1 :]
        slope = (ahead - behind) / (2.0 * _STEP)
        return found[:, 0], np.asarray(slope.transpose(0, 2, 1))

    def noise(self, u: FloatArray) -> Noise:
        """The covariance of the residuals at (K) u.

        Raises:
            ComputationError: the family cannot explode a reference there.
        """
        _, known, relative = self.evaluate(u[None])
        if not np.isfinite(known + relative).all():
            raise ComputationError(
                f"{self.family.name}: the explosion of a reference cannot be computed",
                do="Check the geometries of the references.",
            )
        return Noise(known[0], relative[0])

    def log_likelihood(self, u: FloatArray) -> FloatArray:
        """(s, levels) of (s, K) numbers of the prior, see `log_densities`."""
        values, known, relative = self.evaluate(u)
        return log_densities(self.measured - values, known, relative)

    def corrected(self, u: FloatArray) -> Problem:
        """The same with predictions corrected at (K) u, see `Reference.correction`."""
        at = self.prior.coordinates(u[None])[0]
        corrections = [
            reference.correction(self.family, at[reference.condition])
            for reference in self.references
        ]
        further = np.zeros_like(self.further)
        for part, (_, covariance) in zip(self.parts, corrections, strict=True):
            further[part, part] = covariance
        offset = np.concatenate([added for added, _ in corrections])
        return replace(self, offset=offset, further=further)
