"""Draws from the posterior of families that take long, with several channels: broad distributions.

After the first rounds of `adaptive`, whose many narrow distributions each cost derivatives, few
broad ones follow: of each maximum a t distribution with the mean and the covariance of the draws so
far, their weights levelled until enough count, and a wider one. They need no derivatives. In each
round they are fitted anew to all draws, and every draw is weighed against the mixture of all rounds
(J.-M. Cornuet, J.-M. Marin, A. Mira, C. P. Robert, Scand. J. Stat. 39, 798 (2012)), so that the
evidence follows as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaln

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.adaptive import levelled
from molexa_core.pipeline.inversion.problem import Problem
from molexa_core.pipeline.inversion.sampling import Draws

FREEDOM: Final = 6.0
PER_ROUND: Final = 800
"""Draws of a round."""
ROUNDS: Final = 5
"""Largest number of rounds."""
WIDTHS: Final = (0.9, 1.8)
"""Variances of the distributions, over the fitted ones ..."""
SHARES: Final = (0.65, 0.35)
"""... and their shares."""
FIRM: Final = 8.0
"""Effective draws per unknown that fix a covariance; weights are levelled until then."""
LEAST_MODE: Final = 0.05
"""Smallest share of the draws of a maximum that counts."""
SMALL: Final = 1e-4
"""Shares of the evidence below which a maximum gets no further draws."""


@dataclass(frozen=True)
class _Broad:
    """t distributions with their maxima and shares."""

    middles: FloatArray
    roots: FloatArray
    shares: FloatArray
    modes: IntArray

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        places = (np.arange(count) + random.random()) / count
        of = np.searchsorted(np.cumsum(self.shares), places).clip(max=len(self.shares) - 1)
        normal = random.standard_normal((count, self.middles.shape[1]))
        scale = np.sqrt(FREEDOM / random.chisquare(FREEDOM, (count, 1)))
        return np.asarray(
            self.middles[of] + scale * np.einsum("nij,nj->ni", self.roots[of], normal)
        )

    def log_densities(self, z: FloatArray, count: int) -> FloatArray:
        """(count, n) of the distributions of each of `count` maxima."""
        size = z.shape[1]
        found = np.full((count, len(z)), -np.inf)
        constant = gammaln(0.5 * (FREEDOM + size)) - gammaln(0.5 * FREEDOM)
        constant -= 0.5 * size * np.log(FREEDOM * np.pi)
        for middle, root, share, mode in zip(
            self.middles, self.roots, self.shares, self.modes, strict=True
        ):
            square = np.square((z - middle) @ np.linalg.inv(root).T).sum(axis=1)
            density = constant - np.log(np.diag(root)).sum() + np.log(share)
            density = density - 0.5 * (FREEDOM + size) * np.log1p(square / FREEDOM)
            found[mode] = np.logaddexp(found[mode], density)
        return found


def broaden(
    problem: Problem, given: Draws, random: np.random.Generator, enough: float
) -> tuple[Draws, float]:
    """Weighted draws, from those of `adaptive`.

    Args:
        problem: for one family.
        given: weighted draws, few of which count.
        random: source of random numbers.
        enough: effective draws at which it ends.

    Returns:
        New draws, and how many of them count.
    """
    count = int(given.anchor.max()) + 1
    usable = np.isfinite(given.log_weights)
    first = given.z[usable], given.log_weights[usable], given.anchor[usable]
    mixtures = [_fitted(*first, problem.size)]
    z, height = np.empty((0, problem.size)), np.empty(0)
    for number in range(ROUNDS):
        interruption.check()
        fresh = mixtures[-1].draw(random, PER_ROUND)
        z = np.concatenate([z, fresh])
        there = problem.log_posterior(fresh, problem.compare(fresh))[0]
        height = np.concatenate([height, there])
        by_mode = np.logaddexp.reduce([one.log_densities(z, count) for one in mixtures], axis=0)
        log_weights = height - np.logaddexp.reduce(by_mode, axis=0) - np.log(PER_ROUND)
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        origin: IntArray = by_mode.argmax(axis=0)
        if not np.isfinite(log_weights).any():
            break
        weights = np.exp(log_weights - log_weights.max())
        effective = float(weights.sum() ** 2 / (weights**2).sum())
        if (number and effective >= enough) or number == ROUNDS - 1:
            return Draws(z, log_weights, origin), effective
        # The first draws were good enough to begin with: later ones take their place.
        kept = np.isfinite(log_weights)
        mixtures.append(_fitted(z[kept], log_weights[kept], origin[kept], problem.size))
    return given, 0.0


def _fitted(z: FloatArray, log_weights: FloatArray, origin: IntArray, size: int) -> _Broad:
    """The distributions of the next round."""
    whole = np.logaddexp.reduce(log_weights)
    middles, roots, shares, modes = [], [], [], []
    for number in np.unique(origin):
        rows = np.flatnonzero(origin == number)
        share = float(np.exp(np.logaddexp.reduce(log_weights[rows]) - whole))
        if share < SMALL or len(rows) < size + 2:
            continue
        level, _ = levelled(log_weights[rows], min(FIRM * size, 0.5 * len(rows)))
        middle = level @ z[rows]
        away = z[rows] - middle
        covariance = (level[:, None] * away).T @ away
        covariance += 1e-9 * np.trace(covariance) * np.eye(size)
        for width, part in zip(WIDTHS, SHARES, strict=True):
            middles.append(middle)
            roots.append(np.linalg.cholesky(width * covariance))
            shares.append(max(share, LEAST_MODE) * part)
            modes.append(number)
    total = np.array(shares)
    return _Broad(np.stack(middles), np.stack(roots), total / total.sum(), np.array(modes))
