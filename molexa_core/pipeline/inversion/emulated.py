"""Draws from the posterior of families that take long, with a quadratic model of what was computed.

Near each maximum the error-weighted residuals are smooth: a polynomial of second order in all
unknowns, fitted to the draws that were weighed so far, gives them to a tenth of their error. With
it chains (`ensemble`) cost nothing. After some tens of steps the last state of each is computed; it
replaces the one before with the probability min(1, w'/w), w being the ratio of the true to the
modelled posterior, so that the true one is kept exactly (delayed acceptance: J. A. Christen,
C. Fox, J. Comput. Graph. Stat. 14, 795 (2005)). These points improve the model where it matters.
How much of the posterior belongs to each maximum is known from the weights before and stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.adaptive import levelled
from molexa_core.pipeline.inversion.ensemble import independent
from molexa_core.pipeline.inversion.problem import Problem
from molexa_core.pipeline.inversion.sampling import Draws

CHAINS: Final = 160
"""Chains of a maximum, and points that are computed in a round, if it is the only one."""
LEAST_CHAINS: Final = 40
SETTLING: Final = 3
"""Rounds in which the model improves: states are drawn anew by w, levelled."""
PASSING: Final = 1
"""Rounds after them whose states are not kept."""
ROUNDS: Final = 14
"""Largest number of rounds."""
STEPS: Final = (200, 100)
"""Steps of the chains in the first round and in each further one."""
ACCEPTED: Final = 0.15
"""Share of the states that must be replaced in the kept rounds for the chains to be used."""
NEAR: Final = 3.0
"""ln of the posterior below its maximum, per unknown, down to which points fix the model."""
_FADES: Final = 2.0
"""ln of the posterior in which the weight of a point in the fit falls by e, from one per unknown
below the maximum on."""
_RIDGE: Final = 1e-3
_SMALL: Final = 1e-3


@dataclass(frozen=True)
class Quadratic:
    """A polynomial of second order.

    Attributes:
        middle: (size).
        inverse: (size, size): y = inverse (z - middle) is of the order of one.
        factors: (features, outputs).
    """

    middle: FloatArray
    inverse: FloatArray
    factors: FloatArray

    @classmethod
    def fitted(cls, z: FloatArray, outputs: FloatArray, weight: FloatArray) -> Quadratic:
        """Least squares with (n) weights, of (n, outputs) at (n, size)."""
        share = weight / weight.sum()
        middle = share @ z
        away = z - middle
        covariance = (share[:, None] * away).T @ away
        covariance += 1e-10 * np.trace(covariance) * np.eye(len(middle))
        inverse = np.linalg.inv(np.linalg.cholesky(covariance))
        features = _features(away @ inverse.T)
        normal = (share[:, None] * features).T @ features
        ridge = np.full(len(normal), _RIDGE)
        ridge[: 1 + z.shape[1]] = 1e-9
        factors = np.linalg.solve(
            normal + np.diag(ridge * len(ridge) / len(z)), (share[:, None] * features).T @ outputs
        )
        return cls(middle, inverse, factors)

    def __call__(self, z: FloatArray) -> FloatArray:
        """(n, outputs) at (n, size)."""
        return np.asarray(_features((z - self.middle) @ self.inverse.T) @ self.factors)


def _features(y: FloatArray) -> FloatArray:
    """(n, features): one, all coordinates, all products of two."""
    one, other = np.triu_indices(y.shape[1])
    return np.concatenate([np.ones((len(y), 1)), y, y[:, one] * y[:, other]], axis=1)


def settle_emulated(
    problem: Problem, given: Draws, terms: FloatArray, random: np.random.Generator, enough: float
) -> tuple[Draws, float] | None:
    """Move weighted draws to the posterior.

    Args:
        problem: for one family.
        given: weighted draws, few of which count.
        terms: of these draws, see `Problem.terms`.
        random: source of random numbers.
        enough: effective draws at which it ends.

    Returns:
        Draws, of the same total weight, and how many of them count; None if the model is no use.
    """
    total = float(np.logaddexp.reduce(given.log_weights))
    drawn, logs, origin, counts = [], [], [], []
    for number, share in _shares(given, total).items():
        mine = np.flatnonzero((given.anchor == number) & np.isfinite(given.log_weights))
        count = 2 * (max(LEAST_CHAINS, int(CHAINS * share)) // 2)
        states = _one(problem, given, terms, mine, count, enough * share, random)
        if states is None:
            return None
        z = states.reshape(-1, problem.size)
        drawn.append(z)
        logs.append(np.full(len(z), np.log(share / len(z)) + total))
        origin.append(np.full(len(z), number))
        counts.append(share**2 / independent(states, np.full(count, 1.0 / count)))
    found = Draws(np.concatenate(drawn), np.concatenate(logs), np.concatenate(origin))
    return found, 1.0 / sum(counts)


def _shares(given: Draws, total: float) -> dict[int, float]:
    """Of each maximum the share of the posterior, of sum 1, without those that hold nothing."""
    found = {}
    for number in range(int(given.anchor.max()) + 1):
        logs = given.log_weights[given.anchor == number]
        share = float(np.exp(np.logaddexp.reduce(logs, initial=-np.inf) - total))
        if share > _SMALL:
            found[number] = share
    whole = sum(found.values())
    return {number: share / whole for number, share in found.items()}


def _one(
    problem: Problem,
    given: Draws,
    terms: FloatArray,
    rows: IntArray,
    count: int,
    enough: float,
    random: np.random.Generator,
) -> FloatArray | None:
    """(rounds, count, size) states of chains at one maximum; None if the model is no use."""
    size = problem.size
    known, values = given.z[rows], terms[rows]
    height = problem.height_of(known, values)
    level, _ = levelled(given.log_weights[rows], max(4.0 * size, 0.5 * count))
    chosen = random.choice(len(rows), size=count, p=level)
    states, there = known[chosen], height[chosen]
    kept: list[FloatArray] = []
    replaced: list[float] = []
    for number in range(ROUNDS):
        interruption.check()
        below = height.max() - height
        near = below < NEAR * size
        if near.sum() < 4 * size:
            return None
        weight = np.exp(-np.maximum(below[near] - size, 0.0) / _FADES)
        model = Quadratic.fitted(known[near], values[near], weight)

        def modelled(z: FloatArray, model: Quadratic = model) -> FloatArray:
            return problem.height_of(z, model(z))

        before = there - modelled(states)
        trial, believed = _walk(modelled, states, STEPS[number > 0], random)
        new = problem.terms(trial, problem.compare(trial))
        new_height = problem.height_of(trial, new)
        known, values = np.concatenate([known, trial]), np.concatenate([values, new])
        height = np.concatenate([height, new_height])
        ratio = np.where(np.isfinite(new_height), new_height - believed, -np.inf)
        if number < SETTLING:
            if not np.isfinite(ratio).any():
                return None
            power, _ = levelled(ratio, 0.3 * count)
            chosen = random.choice(count, size=count, p=power)
            states, there = trial[chosen], new_height[chosen]
            continue
        with np.errstate(all="ignore"):
            better = np.log(random.random(count)) < ratio - before
        states, there = states.copy(), there.copy()
        states[better], there[better] = trial[better], new_height[better]
        if number < SETTLING + PASSING:
            continue
        kept.append(states)
        replaced.append(float(better.mean()))
        if len(kept) > 1:
            found = independent(np.stack(kept), np.full(count, 1.0 / count))
            if found >= enough:
                break
    return np.stack(kept) if np.mean(replaced) >= ACCEPTED else None


def _walk(
    height_at: Callable[[FloatArray], FloatArray],
    z: FloatArray,
    steps: int,
    random: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Chains that move by differences of others, as in `ensemble.settle`, and their heights."""
    z, height = z.copy(), height_at(z)
    scale = 2.38 / np.sqrt(2.0 * z.shape[1])
    for step in range(steps):
        factor = 1.0 if step % 10 == 9 else scale
        for half in (0, 1):
            moving, pool = np.arange(half, len(z), 2), np.arange(1 - half, len(z), 2)
            one, other = random.choice(pool, size=(2, len(moving)))
            away = factor * (z[one] - z[other])
            trial = z[moving] + away * (1.0 + 1e-5 * random.standard_normal(away.shape))
            there = height_at(trial)
            with np.errstate(all="ignore"):
                accept = np.log(random.random(len(moving))) < there - height[moving]
            z[moving[accept]], height[moving[accept]] = trial[accept], there[accept]
    return z, height
