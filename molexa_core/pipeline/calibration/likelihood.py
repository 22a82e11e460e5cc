"""How well a set of parameters of a family explains the references.

The measured values of each reference are normal about the prediction with the covariance
M + s A + e^2 B: M is that of the measurement, A the family's own error, B that of a relative error
of one in all momenta. The factor s says by how much more or less than claimed the family is off for
this molecule and these charges; the likelihood is averaged over it (`error_size`).

The size e of the misfit is not known. Its prior is exponential with the mean `MISFIT` (the prior
that penalises a deviation from the simpler model: D. Simpson et al., Statistical Science 32, 1
(2017)): it may be zero, and one misfit of many errors is enough to outvote its tail. The likelihood
is the mean over this prior, so that the posterior of the parameters is as wide as it must be when
their misfit is estimated from a few numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.special import logsumexp

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.error_size import Block, ErrorSize
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
        known: (n, n) M + A.
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


def log_densities(
    residuals: FloatArray,
    fixed: FloatArray,
    own: FloatArray,
    relative: FloatArray,
    size: ErrorSize,
) -> FloatArray:
    """(s, levels) ln of the density of the residuals of one reference at each of `MISFITS`.

    Args:
        residuals: (s, n); minus infinity is returned for those that are not numbers.
        fixed: (n, n) M.
        own: (s, n, n) A of each.
        relative: (s, n, n) B of each.
        size: distribution of the factor of A.
    """
    count, n = residuals.shape
    found = np.full((count, len(MISFITS)), -np.inf)
    usable = np.isfinite(residuals).all(axis=1)
    usable &= np.isfinite(own).all(axis=(1, 2)) & np.isfinite(relative).all(axis=(1, 2))
    # Far out in a prior errors may be so large that the rest is lost in rounding.
    usable &= np.trace(own, axis1=1, axis2=2) < _LARGEST
    rows, levels = int(usable.sum()), len(size.squares)
    known = fixed + size.squares[:, None, None, None] * own[usable]
    trace = np.trace(known, axis1=2, axis2=3)
    factor = np.linalg.cholesky(known + _ROUNDING * trace[:, :, None, None] * np.eye(n))
    inverse = np.linalg.inv(factor)
    values, vectors = np.linalg.eigh(inverse @ relative[usable] @ np.swapaxes(inverse, 2, 3))
    away = np.einsum("ksij,sj->ksi", inverse, residuals[usable])
    square = np.square(np.einsum("ksji,ksj->ksi", vectors, away))
    volume = np.log(np.diagonal(factor, axis1=2, axis2=3)).sum(axis=2)
    density = np.zeros((levels, rows, len(MISFITS)))
    for i in range(n):
        scale = 1.0 + np.square(MISFITS) * np.maximum(values[:, :, i, None], 0.0)
        density -= 0.5 * (square[:, :, i, None] / scale + np.log(scale))
    density += (size.log_shares[:, None] - volume)[:, :, None] - 0.5 * n * np.log(2.0 * np.pi)
    found[usable] = logsumexp(density, axis=0)
    return found


@dataclass(frozen=True)
class Evaluated:
    """Predictions and how uncertain they are.

    Attributes:
        values: (s, n) predictions.
        measurement: (n, n) M.
        own: (s, n, n) A.
        relative: (s, n, n) B.
    """

    values: FloatArray
    measurement: FloatArray
    own: FloatArray
    relative: FloatArray

    @property
    def known(self) -> FloatArray:
        """(s, n, n) M + A: with the family's own error as it is claimed."""
        return self.measurement + self.own


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

    def evaluate(self, u: FloatArray) -> Evaluated:
        """Predictions and covariances for (s, K) numbers of the prior."""
        at = self.prior.coordinates(u)
        size = len(self.offset)
        values = np.empty((len(u), size))
        own, relative = np.zeros((2, len(u), size, size))
        for part, reference in zip(self.parts, self.references, strict=True):
            found = reference.evaluate(self.family, at[:, reference.condition])
            values[:, part] = found[0]
            own[:, part, part] = found[1]
            relative[:, part, part] = found[2]
        return Evaluated(values + self.offset, self.measurement, own, relative)

    @property
    def measurement(self) -> FloatArray:
        """(n, n) M: of the measurement, and of what is added to predictions."""
        found = self.further.copy()
        for part, reference in zip(self.parts, self.references, strict=True):
            found[part, part] += reference.observed.covariance
        return found

    def predict(self, u: FloatArray) -> FloatArray:
        """(s, n) predictions for (s, K) numbers of the prior."""
        return self.evaluate(u).values

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
        """The covariance of the residuals at (K) u, the family's own error being as claimed.

        Raises:
            ComputationError: the family cannot explode a reference there.
        """
        found = self.evaluate(u[None])
        if not np.isfinite(found.own + found.relative).all():
            raise ComputationError(
                f"{self.family.name}: the explosion of a reference cannot be computed",
                do="Check the geometries of the references.",
            )
        return Noise(found.known[0], found.relative[0])

    def blocks(self, u: FloatArray, whiten: FloatArray) -> list[Block]:
        """What the family's own error is of residuals at (K) u that are divided by their errors,
        for p-values.

        Args:
            u: numbers of the prior.
            whiten: (n, n) W so that W r has unit covariance.
        """
        own = self.evaluate(u[None]).own[0]
        share = whiten @ own @ whiten.T
        return [
            Block(part, share[part, part], reference.tested_error_size(self.family))
            for part, reference in zip(self.parts, self.references, strict=True)
        ]

    def log_likelihood(self, u: FloatArray) -> FloatArray:
        """(s, levels) of (s, K) numbers of the prior: ln of the joint density of the measured
        values and each of `MISFITS`.
        """
        found = self.evaluate(u)
        left = self.measured - found.values
        total = np.repeat(LOG_SHARES[None], len(u), axis=0)
        for part, reference in zip(self.parts, self.references, strict=True):
            own, relative = found.own[:, part, part], found.relative[:, part, part]
            total += log_densities(
                *(left[:, part], found.measurement[part, part], own, relative),
                reference.error_size(self.family),
            )
        return total

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
