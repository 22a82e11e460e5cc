"""Draws from the posterior by adaptive importance sampling.

Where the family leaves much open, and other things in other geometries, the posterior is broad but
no image of a sum of squares. Many cheap draws from heavy-tailed distributions about each maximum
are then better than few costly ones. Their means and covariances are fitted to the draws so far,
and every draw is weighed against the mixture of all distributions that were used (J.-M. Cornuet,
J.-M. Marin, A. Mira, C. P. Robert, Scand. J. Stat. 39, 798 (2012)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaln

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.problem import Problem
from molexa_core.pipeline.inversion.sampling import Anchor, Draws

FREEDOM: Final = 5.0
"""Degrees of freedom of the t distributions."""
PER_ROUND: Final = 1500
"""Draws in each round."""
WIDER: Final = (1.0, 2.0)
"""Each maximum has these multiples of the fitted width ..."""
SHARES: Final = (0.85, 0.15)
"""... with these shares: the second for tails."""
LEAST_MODE: Final = 0.03
"""Smallest share of the draws of a maximum."""
_FIRM: Final = 12.0
"""Effective draws per unknown that a fitted covariance needs; weights are levelled until then."""


@dataclass(frozen=True)
class _Shape:
    """A t distribution: its middle, and a lower triangular root of its covariance matrix."""

    middle: FloatArray
    root: FloatArray

    def draw(self, random: np.random.Generator, count: int, wider: float) -> FloatArray:
        normal = random.standard_normal((count, len(self.middle)))
        scale = np.sqrt(FREEDOM / random.chisquare(FREEDOM, (count, 1)))
        return np.asarray(self.middle + wider * scale * normal @ self.root.T)

    def log_densities(self, z: FloatArray) -> list[FloatArray]:
        """(n) for each of `WIDER`."""
        size = len(self.middle)
        inverse = np.linalg.inv(self.root)
        square = (((z - self.middle) @ inverse.T) ** 2).sum(axis=1)
        constant = (
            gammaln(0.5 * (FREEDOM + size))
            - gammaln(0.5 * FREEDOM)
            - 0.5 * size * np.log(FREEDOM * np.pi)
            - np.log(np.diag(self.root)).sum()
        )
        return [
            constant
            - size * np.log(wider)
            - 0.5 * (FREEDOM + size) * np.log1p(square / (FREEDOM * wider**2))
            for wider in WIDER
        ]


@dataclass(frozen=True)
class _Mixture:
    """One distribution per maximum, with shares."""

    shapes: tuple[_Shape, ...]
    shares: FloatArray

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        parts = []
        for shape, share in zip(self.shapes, self.shares, strict=True):
            for wider, part in zip(WIDER, SHARES, strict=True):
                parts.append(shape.draw(random, max(1, round(count * share * part)), wider))
        return np.concatenate(parts)

    def log_density(self, z: FloatArray) -> FloatArray:
        """(maxima, n) parts of the density."""
        return np.stack(
            [
                np.logaddexp.reduce(
                    [
                        one + np.log(part)
                        for one, part in zip(shape.log_densities(z), SHARES, strict=True)
                    ],
                    axis=0,
                )
                + np.log(share)
                for shape, share in zip(self.shapes, self.shares, strict=True)
            ]
        )


def adapt(
    problem: Problem,
    anchors: Sequence[Anchor],
    random: np.random.Generator,
    *,
    enough: float,
    rounds: int,
) -> Draws:
    """Weighted draws.

    Args:
        problem: for one family.
        anchors: maxima.
        random: source of random numbers.
        enough: effective draws at which it ends.
        rounds: largest number of rounds.
    """
    shapes = tuple(_Shape(one.z, one.root) for one in anchors)
    evidence = np.array([one.log_evidence for one in anchors])
    mixtures = [_Mixture(shapes, _shares(np.exp(0.5 * (evidence - evidence.max()))))]
    z, height = np.empty((0, problem.size)), np.empty(0)
    drawn: list[int] = []
    densities: list[FloatArray] = []
    for number in range(rounds):
        interruption.check()
        fresh = mixtures[-1].draw(random, PER_ROUND)
        found = problem.compare(fresh)
        height = np.concatenate([height, problem.log_posterior(fresh, found)[0]])
        drawn.append(len(fresh))
        # Each draw is weighed against all mixtures, also against those of other rounds.
        for place, mixture in enumerate(mixtures[:-1]):
            densities[place] = np.concatenate([densities[place], mixture.log_density(fresh)], 1)
        z = np.concatenate([z, fresh])
        densities.append(mixtures[-1].log_density(z))
        amount = np.array(drawn)[:, None, None]
        parts = np.stack(densities) + np.log(amount / amount.sum())
        by_mode = np.logaddexp.reduce(parts, axis=0)
        log_weights = height - np.logaddexp.reduce(by_mode, axis=0) - np.log(len(z))
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        origin: IntArray = by_mode.argmax(axis=0)
        if not np.isfinite(log_weights).any():
            continue
        weights = np.exp(log_weights - log_weights.max())
        if weights.sum() ** 2 / (weights**2).sum() >= enough or number == rounds - 1:
            break
        mixtures.append(_fitted(mixtures[0], z, log_weights, by_mode))
    return Draws(z, log_weights, origin)


def _fitted(
    first: _Mixture, z: FloatArray, log_weights: FloatArray, by_mode: FloatArray
) -> _Mixture:
    """The mixture with means and covariances of the draws of each maximum."""
    shapes, shares = [], []
    belonging = np.exp(by_mode - np.logaddexp.reduce(by_mode, axis=0))
    for shape, mine in zip(first.shapes, belonging, strict=True):
        with np.errstate(divide="ignore"):
            logs = log_weights + np.log(mine)
        shares.append(float(np.exp(np.logaddexp.reduce(logs) - np.logaddexp.reduce(log_weights))))
        if not np.isfinite(logs).any():
            shapes.append(shape)
            continue
        weights, effective = levelled(logs, _FIRM * z.shape[1])
        middle = weights @ z
        apart = z - middle
        covariance = (apart * weights[:, None]).T @ apart
        firm = min(1.0, effective / (_FIRM * z.shape[1]))
        covariance = firm * covariance + (1.0 - firm) * shape.root @ shape.root.T
        # A t distribution is wider than its matrix.
        covariance *= (FREEDOM - 2.0) / FREEDOM * 1.2
        try:
            shapes.append(_Shape(middle, np.linalg.cholesky(covariance)))
        except np.linalg.LinAlgError:
            shapes.append(shape)
    return _Mixture(tuple(shapes), _shares(np.array(shares)))


def levelled(logs: FloatArray, wanted: float) -> tuple[FloatArray, float]:
    """Weights to a power up to 1 with which this many count, and how many do."""
    power = 1.0
    for _ in range(12):
        weights = np.exp(power * (logs - logs.max()))
        weights /= weights.sum()
        effective = float(1.0 / (weights**2).sum())
        if effective >= wanted:
            break
        power *= 0.75
    return weights, effective


def _shares(given: FloatArray) -> FloatArray:
    raised = np.maximum(given / given.sum(), LEAST_MODE)
    return np.asarray(raised / raised.sum())
