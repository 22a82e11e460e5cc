"""Draws from the posterior by adaptive importance sampling with many small distributions.

Where the family leaves much open, and other things in other geometries, the posterior is a sheet:
thin where momenta are exact, long where the explosion is not known, curved, folded, and in several
parts. One distribution about each maximum misses what lies beyond a bend, and the weights do not
show it. So each point that the search found begins a distribution of its own, as wide and as
inclined as the posterior is there in linear approximation, and in each round new ones are set on
draws of large weight (O. Cappé, A. Guillin, J.-M. Marin, C. P. Robert, J. Comput. Graph. Stat. 13,
907 (2004)): the whole of what is linear about them, or no further than a share of the width of all,
and one for each maximum as a whole. Of which kind most are follows from the weights. Every draw is
weighed against the mixture of all distributions that were used (J.-M. Cornuet, J.-M. Marin,
A. Mira, C. P. Robert, Scand. J. Stat. 39, 798 (2012)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaln

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.problem import Problem, curvature
from molexa_core.pipeline.inversion.sampling import Draws

FREEDOM: Final = 5.0
"""Degrees of freedom of the t distributions."""
PER_ROUND: Final = 1500
"""Draws in each round; twice as many in the first."""
PER_COSTLY_ROUND: Final = 500
"""The same for families that take long."""
CENTRES: Final = 48
"""Draws of large weight that are centres in each round."""
REACH: Final = (1e3, 0.7, 0.3)
"""Largest width about a centre, shares of the width of its maximum as a whole."""
LEAST_KIND: Final = 0.05
"""Smallest share of the draws of each kind of distribution."""
LEAST_MODE: Final = 0.03
"""Smallest share of the draws of a maximum."""
LEAST_ROUNDS: Final = 4
"""Rounds that follow in any case, so that what no draw has reached at first is found."""
_FIRM: Final = 12.0
"""Effective draws per unknown that a fitted covariance needs; weights are levelled until then."""
_CHUNK: Final = 4_000_000
"""Numbers in one table of deviations."""


@dataclass(frozen=True)
class _Mixture:
    """K distributions.

    Attributes:
        middles: (K, size).
        roots: (K, size, size) lower triangular roots of their matrices.
        shares: (K) of the draws, of sum 1.
        modes: (K) to which maximum each belongs.
        kinds: (K) 0 for a maximum as a whole, then those of `REACH`.
    """

    middles: FloatArray
    roots: FloatArray
    shares: FloatArray
    modes: IntArray
    kinds: IntArray

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        """(count, size), as evenly over the distributions as can be."""
        places = (np.arange(count) + random.random()) / count
        of = np.searchsorted(np.cumsum(self.shares), places).clip(max=len(self.shares) - 1)
        normal = random.standard_normal((count, self.middles.shape[1]))
        scale = np.sqrt(FREEDOM / random.chisquare(FREEDOM, (count, 1)))
        return np.asarray(
            self.middles[of] + scale * np.einsum("nij,nj->ni", self.roots[of], normal)
        )

    def log_densities(self, z: FloatArray) -> FloatArray:
        """(K, n) of each with its share."""
        size = z.shape[1]
        inverse = np.linalg.inv(self.roots)
        constant = (
            gammaln(0.5 * (FREEDOM + size))
            - gammaln(0.5 * FREEDOM)
            - 0.5 * size * np.log(FREEDOM * np.pi)
            - np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(axis=1)
            + np.log(self.shares)
        )
        offset = np.einsum("kij,kj->ki", inverse, self.middles)
        flat = inverse.reshape(-1, size)
        square = np.empty((len(flat) // size, len(z)))
        step = max(1, _CHUNK // len(flat))
        for first in range(0, len(z), step):
            part = slice(first, first + step)
            apart = (flat @ z[part].T).reshape(-1, size, len(z[part])) - offset[:, :, None]
            square[:, part] = np.einsum("kin,kin->kn", apart, apart)
        return np.asarray(constant[:, None] - 0.5 * (FREEDOM + size) * np.log1p(square / FREEDOM))


def adapt(
    problem: Problem,
    points: FloatArray,
    modes: IntArray,
    random: np.random.Generator,
    *,
    enough: float,
    rounds: int,
) -> Draws:
    """Weighted draws.

    Args:
        problem: for one family.
        points: (k, size) about which draws begin: maxima and other points of the posterior.
        modes: (k) number of the maximum to which each belongs, all numbers from 0 on.
        random: source of random numbers.
        enough: effective draws at which it ends.
        rounds: largest number of rounds.
    """
    count = int(modes.max()) + 1
    per_round = PER_COSTLY_ROUND if problem.costly else PER_ROUND
    mixture = _first(problem, points, modes)
    z, height = np.empty((0, problem.size)), np.empty(0)
    drawn: list[int] = []
    mixtures: list[_Mixture] = []
    densities: list[FloatArray] = []
    for number in range(rounds):
        interruption.check()
        fresh = mixture.draw(random, per_round * (2 if number == 0 else 1))
        height = np.concatenate([height, problem.log_posterior(fresh, problem.compare(fresh))[0]])
        drawn.append(len(fresh))
        # Each draw is weighed against all mixtures, also against those of other rounds.
        for place, one in enumerate(mixtures):
            there = _gathered(one.log_densities(fresh), one.modes, count)
            densities[place] = np.concatenate([densities[place], there], axis=1)
        z = np.concatenate([z, fresh])
        mixtures.append(mixture)
        of_each = mixture.log_densities(z)
        densities.append(_gathered(of_each, mixture.modes, count))
        amount = np.array(drawn)[:, None, None]
        by_mode = np.logaddexp.reduce(np.stack(densities) + np.log(amount / amount.sum()), axis=0)
        log_weights = height - np.logaddexp.reduce(by_mode, axis=0) - np.log(len(z))
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        origin: IntArray = by_mode.argmax(axis=0)
        if not np.isfinite(log_weights).any() or number == rounds - 1:
            continue
        weights = np.exp(log_weights - log_weights.max())
        if number >= LEAST_ROUNDS and weights.sum() ** 2 / (weights**2).sum() >= enough:
            break
        kinds = _gathered(of_each, mixture.kinds, len(REACH) + 1)
        with np.errstate(divide="ignore"):
            useful = np.exp(kinds - np.logaddexp.reduce(kinds, axis=0)) @ weights / weights.sum()
        mixture = _following(
            problem, mixture, z, log_weights, origin, _shares(useful, LEAST_KIND), random
        )
    return Draws(z, log_weights, origin)


def _gathered(log_densities: FloatArray, group: IntArray, count: int) -> FloatArray:
    """(count, n) ln of the sums of (K, n) densities of each group."""
    found = np.full((count, log_densities.shape[1]), -np.inf)
    for number in np.unique(group):
        rows = log_densities[group == number]
        top = rows.max(axis=0)
        found[number] = top + np.log(np.exp(rows - top).sum(axis=0))
    return found


def _first(problem: Problem, points: FloatArray, modes: IntArray) -> _Mixture:
    """About each point as in linear approximation; half of the draws with less reach."""
    matrix = curvature(problem, points)
    wide = _roots(matrix)
    largest = (wide**2).sum(axis=2).max(axis=0)
    narrow = _roots(matrix + np.diag(1.0 / largest) / REACH[1] ** 2)
    share = np.full(2 * len(points), 0.5 / len(points))
    kinds = np.repeat([1, 2], len(points))
    return _Mixture(
        np.concatenate([points, points]),
        np.concatenate([wide, narrow]),
        share,
        np.concatenate([modes, modes]),
        kinds,
    )


def _roots(matrix: FloatArray) -> FloatArray:
    """(K, size, size) lower triangular roots of the inverses of (K, size, size) matrices.

    Eigenvalues that rounding makes zero or negative are raised.
    """
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-13 * np.maximum(values[:, -1:], 1e-100))
    columns = vectors / np.sqrt(values)[:, None, :]
    triangle = np.linalg.qr(columns.transpose(0, 2, 1))[1]
    sign = np.where(np.diagonal(triangle, axis1=1, axis2=2) < 0.0, -1.0, 1.0)
    return np.asarray((sign[:, :, None] * triangle).transpose(0, 2, 1))


def _following(
    problem: Problem,
    last: _Mixture,
    z: FloatArray,
    log_weights: FloatArray,
    origin: IntArray,
    kinds: FloatArray,
    random: np.random.Generator,
) -> _Mixture:
    """The mixture of the next round."""
    size = problem.size
    present = [n for n in np.unique(last.modes) if np.isfinite(log_weights[origin == n]).any()]
    logs = np.array([np.logaddexp.reduce(log_weights[origin == n]) for n in present])
    shares = _shares(np.exp(logs - logs.max()), LEAST_MODE)
    middles, roots, weights, modes, which = [], [], [], [], []
    for number, share in zip(present, shares, strict=True):
        rows = np.flatnonzero((origin == number) & np.isfinite(log_weights))
        level, effective = levelled(log_weights[rows], _FIRM * size)
        middle = level @ z[rows]
        apart = z[rows] - middle
        covariance = (apart * level[:, None]).T @ apart
        many = max(4, round(CENTRES * share))
        places = (np.arange(many) + random.random()) / many
        chosen = rows[np.searchsorted(np.cumsum(level), places).clip(max=len(rows) - 1)]
        centres = z[np.unique(chosen)]
        matrix = curvature(problem, centres)
        firm = min(1.0, effective / (_FIRM * size))
        wide = _roots(matrix)
        linear = (wide @ wide.transpose(0, 2, 1)).mean(axis=0)
        covariance = firm * covariance + (1.0 - firm) * linear
        covariance += 1e-12 * np.trace(covariance) * np.eye(size)
        inverse = np.linalg.inv(covariance)
        parts = [(middle[None], _roots(inverse[None] / _NARROWER))]
        parts += [(centres, _roots(matrix + inverse / reach**2)) for reach in REACH]
        for kind, ((where, root), use) in enumerate(zip(parts, kinds, strict=True)):
            middles.append(where)
            roots.append(root)
            weights.append(np.full(len(where), share * use / len(where)))
            modes.append(np.full(len(where), number))
            which.append(np.full(len(where), kind))
    share_of = np.concatenate(weights)
    return _Mixture(
        np.concatenate(middles),
        np.concatenate(roots),
        share_of / share_of.sum(),
        np.concatenate(modes),
        np.concatenate(which),
    )


_NARROWER: Final = (FREEDOM - 2.0) / FREEDOM * 1.2
"""A t distribution is wider than its matrix."""


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


def _shares(given: FloatArray, least: float) -> FloatArray:
    raised = np.maximum(given / given.sum(), least)
    return np.asarray(raised / raised.sum())
