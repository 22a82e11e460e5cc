"""Shares of solutions from their evidence and from how often a network draws them.

The evidence of a solution weighs likelihood and a prior that knows bonds, and nothing of angles or
of the compounds that elements form; twins differ there. A network that learned molecules draws
structures with all of that as its prior. Both are shares of the same solutions, and are put
together as counts: with evidence e_k, and n samples of which n_k belong to solution k, its share is

    p_k = (a e_k + n_k) / (a + n),

the mean of a Dirichlet distribution with a e_k counts before. So what the network never draws keeps
a / (a + n) of its evidence: where molecules are unlike those that it learned, nothing is excluded.
Inside a solution draws keep their weights. A sample belongs to the solutions in whose draws it
lies, normal in interatomic distances; one that lies in none does not count.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.geometry.measures import pair_distances

AGAINST: Final = 16.0
"""Counts that evidence stands for; see docs/error-bars-tested.md for what was measured."""
NEAR: Final = 0.1
"""Distances within this share of themselves are alike: samples are not refined."""
OUTSIDE: Final = 3.0
"""Root mean square of the deviations, standard deviations, from which on a sample does not lie in
a solution."""


def with_samples(
    positions: FloatArray,
    weights: FloatArray,
    solution: IntArray,
    samples: FloatArray,
    against: float = AGAINST,
) -> FloatArray:
    """(n) weights of draws with the shares of their solutions from evidence and samples, of sum 1.

    Args:
        positions: (n, N, 3) draws, bohr.
        weights: (n) by their evidence, of sum 1.
        solution: (n) number of the solution of each.
        samples: (m, N, 3) structures that the network draws, bohr.
        against: counts that the evidence stands for.
    """
    numbers = np.unique(solution[weights > 0.0])
    drawn, seen = pair_distances(positions), pair_distances(samples)
    share = np.array([weights[solution == number].sum() for number in numbers])
    logs = np.empty((len(samples), len(numbers)))
    apart = np.empty_like(logs)
    for column, number in enumerate(numbers):
        rows = solution == number
        own = weights[rows] / share[column]
        middle = own @ drawn[rows]
        offset = drawn[rows] - middle
        covariance = offset.T @ (own[:, None] * offset) + np.diag((NEAR * middle) ** 2)
        root = np.linalg.cholesky(covariance)
        deviates = np.linalg.solve(root, (seen - middle).T)
        apart[:, column] = np.sqrt((deviates**2).mean(axis=0))
        logs[:, column] = -0.5 * (deviates**2).sum(axis=0) - np.log(np.diag(root)).sum()
    logs += np.log(share)
    inside = apart.min(axis=1) < OUTSIDE
    logs = logs[inside] - logs[inside].max(axis=1, keepdims=True)
    counts = np.exp(logs)
    counts = (counts / counts.sum(axis=1, keepdims=True)).sum(axis=0)
    mixed = (against * share + counts) / (against + inside.sum())
    found = np.zeros(len(weights))
    for column, number in enumerate(numbers):
        rows = solution == number
        found[rows] = weights[rows] * (mixed[column] / share[column])
    return np.asarray(found / found.sum())
