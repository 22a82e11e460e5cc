"""Whether a family can give what was measured of the references: the p-value of a calibration.

Near the best parameters predictions are linear in the numbers u of the prior. The statistic is how
unlikely measured values and prior are together at the best u, with the error of the family as it is
believed, tails included (`error_size`):

    T(y) = min over u of  sum over references of -2 ln p(y_b - J_b u)  +  u'u,

p being the density averaged over the factor of that reference. The residuals alone, without u'u,
see a misfit that hides in a broad prior; the better of the two looks counts. Its distribution is
that of draws of the same model, each minimised in the same way: p-values of a right model are
uniform whatever the tails. One reference that is far off, as the surrogate sometimes is, counts
little in T; all of them a little off, as they are where physics is missing, count much: a sum of
squares sees it the other way around.

How large an error the family claims changes with u, and T has the claims of the best u. Far out in
the prior, where next to nothing is claimed, everything fits: so T of what was measured is that at
the best u itself, with its u'u, and not at another u that the same claims would allow.

The minimum of a draw is found by expectation maximisation over the factors: with the precision
expected at the residuals so far, u follows from linear equations (K. Lange, R. Little, J. Taylor,
J. Am. Stat. Assoc. 84, 881 (1989)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import logsumexp

from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.error_size import Block, draws_of

DRAWS: Final = 4000
"""Draws of the statistic: the smallest p-value is one over their number."""
STEPS: Final = 25


@dataclass(frozen=True)
class LinearModel:
    """References near the best parameters. n values, K numbers of the prior.

    Attributes:
        data: (n) measured less predicted at u = 0, divided by the root of the claimed covariance.
        slope: (n, K) derivatives of the prediction by u, likewise.
        blocks: of each reference, the share of the family's own error.
        best: (K) the best parameters, at which all this was taken.
    """

    data: FloatArray
    slope: FloatArray
    blocks: tuple[Block, ...]
    best: FloatArray

    def p_value(self) -> float:
        """Probability that one of the two looks is as bad as found, if the family is right.

        T of the measured values is taken at the best parameters themselves: errors are those that
        the family claims there, and the way there from the middle of the prior is paid for.
        """
        best = self._at(self.data[None] - self.slope @ self.best, self.best[None])
        return float(self._p_values(best, DRAWS, 0)[0])

    def p_values(self, data: FloatArray, draws: int = DRAWS, seed: int = 0) -> FloatArray:
        """(s) the same of (s, n) data, as if all of it were linear.

        Args:
            data: as `LinearModel.data`.
            draws: number of draws of the statistic.
            seed: of them.
        """
        return self._p_values(self.statistics(data), draws, seed)

    def _p_values(self, values: FloatArray, draws: int, seed: int) -> FloatArray:
        """(s) of (s, 2) values of the statistic."""
        random = np.random.default_rng([seed, 5])
        u = random.standard_normal((draws, self.slope.shape[1]))
        drawn = draws_of(len(self.data), self.blocks, draws, seed) + u @ self.slope.T
        expected = self.statistics(drawn)
        least = _shares_above(expected, expected).min(axis=1)
        found = _shares_above(values, expected).min(axis=1)
        below = np.searchsorted(np.sort(least), found, side="right")
        return np.asarray(np.maximum(below, 1) / draws)

    def statistics(self, data: FloatArray) -> FloatArray:
        """(s, 2) T of (s, n) data, and its part without u'u."""
        slope, turned = self.slope.copy(), data.copy()
        variances = []
        for one in self.blocks:
            values, vectors = np.linalg.eigh(one.share)
            share = np.clip(values, 0.0, 1.0)
            slope[one.rows] = vectors.T @ slope[one.rows]
            turned[:, one.rows] = turned[:, one.rows] @ vectors
            variances.append(1.0 - share + one.size.squares[:, None] * share)
        precision = np.ones_like(turned)
        size = slope.shape[1]
        for _ in range(STEPS):
            square = np.einsum("ik,si,il->skl", slope, precision, slope, optimize=True)
            right = (turned * precision) @ slope
            u = np.linalg.solve(square + np.eye(size), right[:, :, None])[:, :, 0]
            left = turned - u @ slope.T
            of_residuals = np.zeros(len(data))
            for one, variance in zip(self.blocks, variances, strict=True):
                parts = _log_parts(left[:, one.rows], variance, one)
                whole = logsumexp(parts, axis=1)
                of_residuals -= 2.0 * whole
                likely = np.exp(parts - whole[:, None])
                precision[:, one.rows] = likely @ (1.0 / variance)
        return np.stack([of_residuals + np.square(u).sum(axis=1), of_residuals], axis=1)

    def _at(self, left: FloatArray, u: FloatArray) -> FloatArray:
        """(s, 2) T of (s, n) residuals and its part without u'u, at (s, K) parameters."""
        of_residuals = np.zeros(len(left))
        for one in self.blocks:
            values, vectors = np.linalg.eigh(one.share)
            share = np.clip(values, 0.0, 1.0)
            variance = 1.0 - share + one.size.squares[:, None] * share
            parts = _log_parts(left[:, one.rows] @ vectors, variance, one)
            of_residuals -= 2.0 * logsumexp(parts, axis=1)
        return np.stack([of_residuals + np.square(u).sum(axis=1), of_residuals], axis=1)


def _shares_above(values: FloatArray, drawn: FloatArray) -> FloatArray:
    """(s, L) shares of (d, L) draws that are at least as large as (s, L) values; one at least."""
    count = len(drawn)
    below = [
        np.searchsorted(np.sort(all_), one, side="left")
        for one, all_ in zip(values.T, drawn.T, strict=True)
    ]
    return np.asarray(np.maximum(count - np.stack(below, axis=1), 1) / count)


def _log_parts(left: FloatArray, variance: FloatArray, block: Block) -> FloatArray:
    """(s, levels) ln of the density of (s, d) residuals and of each factor."""
    each = np.square(left) @ (1.0 / variance).T + np.log(variance).sum(axis=1)
    return np.asarray(-0.5 * each + block.size.log_shares)


def linear_model(
    data: FloatArray,
    slope: FloatArray,
    whiten: FloatArray,
    blocks: Sequence[Block],
    best: FloatArray,
) -> LinearModel:
    """The model of residuals and derivatives in their own units.

    Args:
        data: (n) measured less predicted at u = 0.
        slope: (n, K).
        whiten: (n, n) W so that W r has unit covariance.
        blocks: of each reference.
        best: (K) the best parameters.
    """
    return LinearModel(whiten @ data, whiten @ slope, tuple(blocks), best)
