"""How large the error of a model is in one explosion: a hidden factor with heavy tails.

A model that claims its own error claims it on average over molecules and pulses. In one molecule
and pulse all momenta are off for one cause, by more or by less than that. So the claimed covariance
E of one set of momenta is multiplied by one factor s that nobody knows, with

    s = f / chi^2_f,

f being degrees of freedom: residuals have a Student distribution of several variables (S. Kotz,
S. Nadarajah, Multivariate t Distributions, Cambridge (2004)), to which the errors of a
measurement are added. A normal distribution is the limit of large f. Calibration, inversion and the
test whether a model can give some momenta take the factor from here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from scipy.special import logsumexp
from scipy.stats import chi2, qmc

from molexa_core.base.tables import FloatArray

_NODES: Final = 14
_LOWEST, _HIGHEST = 1e-3, 1.0 - 3e-4
"""Probabilities between which the logarithm of the factor is divided into steps."""
_DRAWS: Final = 1024
"""Sets of factors over which the distribution of a sum of squares is averaged."""


@dataclass(frozen=True)
class ErrorSize:
    """The distribution of the factor.

    Attributes:
        freedom: degrees of freedom f; infinite where the claimed error is exact.
        share: by which the factor is multiplied, where a model claims too much or too little.
    """

    freedom: float = math.inf
    share: float = 1.0

    @cached_property
    def squares(self) -> FloatArray:
        """(K) values of the factor s, in equal steps of its logarithm; 1 alone if it is known."""
        if math.isinf(self.freedom):
            return np.full(1, self.share)
        low, high = (float(chi2.ppf(1.0 - p, self.freedom)) for p in (_LOWEST, _HIGHEST))
        return self.share * np.geomspace(self.freedom / low, self.freedom / high, _NODES)

    @cached_property
    def log_shares(self) -> FloatArray:
        """(K) logarithms of their probabilities, whose sum is 1."""
        half = 0.5 * self.freedom
        if math.isinf(half):
            return np.zeros(1)
        factor = self.squares / self.share
        density = -half * (np.log(factor) + 1.0 / factor)
        return np.asarray(density - logsumexp(density))

    def of_uniform(self, uniform: FloatArray) -> FloatArray:
        """Factors with these probabilities of a smaller one."""
        if math.isinf(self.freedom):
            return np.full_like(uniform, self.share)
        return np.asarray(self.share * self.freedom / chi2.isf(uniform, self.freedom))


KNOWN: Final = ErrorSize()
"""Of models whose claimed error is that of a normal distribution."""


def size_of(family: object) -> ErrorSize:
    """The distribution of the factor of a family's error of momenta."""
    found: ErrorSize = getattr(family, "error_size", KNOWN)
    return found


def reference_size_of(family: object, symbols: Sequence[str]) -> ErrorSize:
    """The distribution of the factor for one molecule, where it was measured for this very one."""
    measured: Mapping[tuple[str, ...], ErrorSize] = getattr(family, "measured_error_sizes", {})
    return measured.get(tuple(sorted(symbols)), size_of(family))


def yield_size_of(family: object) -> ErrorSize:
    """The same of its errors of yields, which the yields of one molecule share."""
    found: ErrorSize = getattr(family, "yield_error_size", KNOWN)
    return found


def log_density(
    residuals: FloatArray, fixed: FloatArray, own: FloatArray, size: ErrorSize
) -> FloatArray:
    """(n) ln of the density of residuals, averaged over the factor.

    Args:
        residuals: (n, d).
        fixed: (d, d) covariance of the measurement, positive definite.
        own: (n, d, d) claimed covariance of the model.
        size: distribution of the factor.

    Returns:
        Minus infinity where residuals or covariances are not numbers.
    """
    n, d = residuals.shape
    found = np.full(n, -np.inf)
    usable = np.isfinite(residuals).all(axis=1) & np.isfinite(own).all(axis=(1, 2))
    root = np.linalg.cholesky(fixed)
    inverse = np.linalg.inv(root)
    values, vectors = np.linalg.eigh(inverse @ own[usable] @ inverse.T)
    square = np.square(np.einsum("nji,jk,nk->ni", vectors, inverse, residuals[usable]))
    scale = 1.0 + size.squares[:, None] * np.maximum(values, 0.0)[:, None, :]
    each = -0.5 * (square[:, None, :] / scale + np.log(scale)).sum(axis=2)
    constant = np.log(np.diag(root)).sum() + 0.5 * d * np.log(2.0 * np.pi)
    found[usable] = logsumexp(each + size.log_shares, axis=1) - constant
    return found


@dataclass(frozen=True)
class Block:
    """Residuals of one set of momenta among the terms of a sum of squares.

    Attributes:
        rows: their places.
        share: (d, d) covariance by the model's own error at a factor of one, of residuals that are
            divided by the root of their whole covariance.
        size: distribution of the factor.
    """

    rows: slice
    share: FloatArray
    size: ErrorSize


class SumOfSquares:
    """The distribution of |R e|^2, where e has unit covariance but for the factors of some blocks.

    For given factors it is a sum of chi-squares with the eigenvalues of R C R' as weights, replaced
    by one of the same mean and variance (F. E. Satterthwaite, Biometrics Bulletin 2, 110 (1946));
    these are averaged over the factors.

    Args:
        projection: (k, m) R.
        blocks: of e; its other terms are standard normal.
    """

    def __init__(self, projection: FloatArray, blocks: Sequence[Block]) -> None:
        self._factors = factors_of([one.size for one in blocks])
        away = self._factors - 1.0
        whole = projection @ projection.T
        parts = [projection[:, one.rows] @ one.share @ projection[:, one.rows].T for one in blocks]
        mean = np.full(len(away), float(np.trace(whole)))
        square = np.full(len(away), float(np.square(whole).sum()))
        for i, one in enumerate(parts):
            mean += away[:, i] * float(np.trace(one))
            square += 2.0 * away[:, i] * float((whole * one).sum())
            for j, other in enumerate(parts):
                square += away[:, i] * away[:, j] * float((one * other).sum())
        self._mean, self._square = mean, np.maximum(square, 1e-300)

    def exceeded(self, value: float | FloatArray) -> FloatArray:
        """Probability of a larger sum, of each value."""
        one = np.asarray(value, dtype=np.float64)[..., None]
        degrees = self._mean**2 / self._square
        return np.asarray(chi2.sf(one * self._mean / self._square, degrees).mean(axis=-1))


def factors_of(sizes: Sequence[ErrorSize], count: int = _DRAWS, seed: int = 0) -> FloatArray:
    """(s, B) factors of B blocks, spread evenly; one row of 1 if all are known."""
    if not any(math.isfinite(one.freedom) for one in sizes):
        return np.array([[one.share for one in sizes]]).reshape(1, len(sizes))
    exponent = int(np.ceil(np.log2(count)))
    uniform = qmc.Sobol(len(sizes), rng=np.random.default_rng(seed)).random_base2(exponent)
    uniform = np.clip(uniform, 1e-6, 1.0 - 1e-6)
    return np.stack([one.of_uniform(uniform[:, i]) for i, one in enumerate(sizes)], axis=1)


def draws_of(terms: int, blocks: Sequence[Block], count: int, seed: int = 0) -> FloatArray:
    """(count, terms) draws of e, see `SumOfSquares`."""
    random = np.random.default_rng(seed)
    found = random.standard_normal((count, terms))
    for one in blocks:
        factor = one.size.of_uniform(random.random(count))
        # Unit covariance at a factor of one: what is not the model's own is the measurement's.
        values, vectors = np.linalg.eigh(one.share)
        values = np.clip(values, 0.0, 1.0)
        width = np.sqrt(1.0 - values + factor[:, None] * values)
        found[:, one.rows] = (found[:, one.rows] * width) @ vectors.T
    return found
