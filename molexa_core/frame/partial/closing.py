"""Momentum conservation: the momenta of all ions of a molecule add up to zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from molexa_core.base.tables import FloatArray


@dataclass(frozen=True)
class Closed:
    """Momenta that add up to zero.

    Attributes:
        momentum: (ions, 3) a.u.
        covariance: (ions, 3, 3) of each, after the adjustment.
        sum_before: (3) their sum before.
        sum_share: size of that sum over the sum of the sizes.
        largest: largest change of a momentum, a.u.
        sigmas: how far the sum was from zero, in standard deviations of one normal variable with
            the same probability as chi-square of three.
        scale: factor by which the errors were too small to explain the sum, 1 if they were not; the
            covariances include it.
    """

    momentum: FloatArray
    covariance: FloatArray
    sum_before: FloatArray
    sum_share: float
    largest: float
    sigmas: float
    scale: float


def close(momentum: FloatArray, covariance: FloatArray) -> Closed:
    """The smallest change of the momenta, in units of their errors, that makes their sum zero.

    Least squares under the constraint sum p = 0 with independent ions of covariance C_a:
    p_a -> p_a - C_a (sum C)^-1 sum p. Where the sum is off by more than its error, all errors are
    multiplied by the square root of chi-square per degree of freedom.

    Args:
        momentum: (ions, 3) a.u.
        covariance: (ions, 3, 3).
    """
    total = momentum.sum(axis=0)
    size = float(np.linalg.norm(momentum, axis=1).sum())
    whole = covariance.sum(axis=0)
    whole = whole + 1e-9 * max(float(np.trace(whole)), 1e-12) * np.eye(3)
    inverse = np.linalg.inv(whole)
    chi_square = float(total @ inverse @ total)
    scale = max(1.0, float(np.sqrt(chi_square / 3.0)))
    gain = covariance @ inverse
    change = gain @ total
    change += gain @ (total - change.sum(axis=0))  # what the regularisation left
    left = covariance - gain @ covariance
    from_tail = float(np.sqrt(chi2.isf(max(chi2.sf(chi_square, 3), 1e-300), 1)))
    return Closed(
        momentum=momentum - change,
        covariance=left * scale**2,
        sum_before=total,
        sum_share=float(np.linalg.norm(total)) / max(size, 1e-300),
        largest=float(np.linalg.norm(change, axis=1).max()),
        sigmas=from_tail,
        scale=scale,
    )
