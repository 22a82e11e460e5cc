"""Draws from the posterior by Markov chains that learn from each other.

Where importance weights leave few draws, those draws, levelled, begin as many chains. Each proposes
to move by the difference of two others of the same maximum, scaled by 2.38 / sqrt(2 n), which
adapts to any scale and direction (differential evolution: C. J. F. ter Braak, Stat. Comput. 16, 239
(2006)). Halves of the chains move in turns, so that the target is kept exactly. How much of the
posterior belongs to each maximum is known from the weights and stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.pipeline.inversion.adaptive import levelled
from molexa_core.pipeline.inversion.problem import Problem
from molexa_core.pipeline.inversion.sampling import Draws

CHAINS: Final = 240
"""Number of chains."""
SETTLING: Final = 60
"""Steps before draws are kept ..."""
KEPT: Final = 5
"""... number of states of each chain that are kept ..."""
APART: Final = 12
"""... and steps from one to the next."""
_LEAST: Final = 40
"""Smallest number of chains of a maximum."""


@dataclass(frozen=True)
class Chains:
    """States of chains.

    Attributes:
        draws: the states with equal weights within each maximum.
        effective: number of independent draws that say as much.
    """

    draws: Draws
    effective: float


def settle(problem: Problem, given: Draws, random: np.random.Generator) -> Chains:
    """Move weighted draws to the posterior.

    Args:
        problem: for one family.
        given: weighted draws, few of which count.
        random: source of random numbers.
    """
    logs = given.log_weights
    total = float(np.logaddexp.reduce(logs))
    z, mode, weight = _begin(given, random)
    height = problem.log_posterior(z, problem.compare(z))[0]
    kept: list[FloatArray] = []
    scale = 2.38 / np.sqrt(2.0 * problem.size)
    for step in range(SETTLING + KEPT * APART):
        interruption.check()
        factor = 1.0 if step % 10 == 9 else scale
        for half in (0, 1):
            moving = np.arange(half, len(z), 2)
            trial = z[moving] + factor * _differences(z, mode, moving, half, random)
            trial += 1e-5 * random.standard_normal(trial.shape) * np.abs(trial - z[moving])
            there = problem.log_posterior(trial, problem.compare(trial))[0]
            with np.errstate(all="ignore"):
                accept = np.log(random.random(len(moving))) < there - height[moving]
            z[moving[accept]], height[moving[accept]] = trial[accept], there[accept]
        if step >= SETTLING and (step - SETTLING) % APART == APART - 1:
            kept.append(z.copy())
    states = np.stack(kept)
    log_weights = np.tile(np.log(weight / len(kept)) + total, len(kept))
    return Chains(
        Draws(states.reshape(-1, problem.size), log_weights, np.tile(mode, len(kept))),
        _independent(states, weight),
    )


def _begin(given: Draws, random: np.random.Generator) -> tuple[FloatArray, IntArray, FloatArray]:
    """Where chains begin, to which maximum they belong, and their weights of sum 1."""
    total = np.logaddexp.reduce(given.log_weights)
    starts, modes, weights = [], [], []
    for number in range(int(given.anchor.max()) + 1):
        rows = np.flatnonzero((given.anchor == number) & np.isfinite(given.log_weights))
        if not len(rows):
            continue
        share = float(np.exp(np.logaddexp.reduce(given.log_weights[rows]) - total))
        if share < 1e-3:
            continue
        count = 2 * (max(_LEAST, int(CHAINS * share)) // 2)
        level, _ = levelled(given.log_weights[rows], max(4.0 * given.z.shape[1], 0.5 * count))
        chosen = random.choice(rows, size=count, p=level)
        starts.append(given.z[chosen])
        modes.append(np.full(count, number))
        weights.append(np.full(count, share / count))
    weight = np.concatenate(weights)
    return np.concatenate(starts), np.concatenate(modes), weight / weight.sum()


def _differences(
    z: FloatArray, mode: IntArray, moving: IntArray, half: int, random: np.random.Generator
) -> FloatArray:
    """(moving, size) differences of two chains of the other half, of the same maximum."""
    result = np.empty((len(moving), z.shape[1]))
    others = np.arange(1 - half, len(z), 2)
    for number in np.unique(mode):
        mine = np.flatnonzero(mode[moving] == number)
        pool = others[mode[others] == number]
        one, other = random.choice(pool, size=(2, len(mine)))
        result[mine] = z[one] - z[other]
    return result


def _independent(states: FloatArray, weight: FloatArray) -> float:
    """Effective number of draws: that of the chains, times what the later states add."""
    chains = float(1.0 / (weight**2).sum())
    apart = states - np.einsum("c,kcz->z", weight, states) / len(states)
    variance = np.einsum("c,kcz->z", weight, apart**2) / len(states)
    inside = np.einsum("c,kcz->z", weight, (states - states.mean(axis=0)) ** 2) / len(states)
    # Without correlation the spread within a chain is (1 - 1 / kept) of all.
    free = np.clip(inside / np.maximum(variance, 1e-300) / (1.0 - 1.0 / len(states)), 0.0, 1.0)
    return chains * (1.0 + (len(states) - 1) * float(free.mean()))
