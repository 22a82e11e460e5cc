"""Draws of the posterior weighed by their evidence and by how often a network draws their like.

The evidence of a solution weighs likelihood and a prior that knows bonds, and nothing of angles or
of the compounds that elements form; twins differ there. A network that learned molecules draws
structures with all of that as its prior. Both are put together as counts: with weights e_i of the
draws by evidence, and n samples of the network, the weight of a draw is

    p_i = (a e_i + sum over samples of r_is) / (a + n),    r_is = e_i K_is / sum over j of e_j K_js,

a sample being spread over the draws that are like it: K is normal in the interatomic distances. For
solutions that lie apart this is the mean of a Dirichlet distribution with a counts by the evidence
before. What the network never draws keeps a / (a + n) of its evidence: where molecules are unlike
those that it learned, nothing is excluded. A sample that is like no draw explains no momenta, and
does not count.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.geometry.measures import pair_distances

AGAINST: Final = 8.0
"""Counts that evidence stands for; see docs/error-bars-tested.md for what was measured."""
SAMPLES: Final = 64
"""Samples of the network that count."""
LIKE_WIDTH: Final = 0.05
"""Standard deviation of K, share of each distance: samples are not refined."""
LEAST: Final = 20.0
"""Effective number of draws over which a sample is spread; K is wider where they are fewer."""
OUTSIDE: Final = 3.0
"""Root mean square deviation from the nearest draw, standard deviations of K, from which on a
sample is like no draw."""
_WIDTHS: Final = 4
"""Number of widths of K, each of twice the variance: at most 14 % of the distances, so that no
sample is taken for a twin where few draws are like it."""


def with_samples(
    positions: FloatArray, weights: FloatArray, samples: FloatArray, against: float = AGAINST
) -> FloatArray:
    """(n) weights of draws by evidence and samples, of sum 1.

    Args:
        positions: (n, N, 3) draws, bohr.
        weights: (n) by their evidence, of sum 1.
        samples: (m, N, 3) structures that the network draws, bohr.
        against: counts that the evidence stands for.
    """
    drawn, seen = pair_distances(positions), pair_distances(samples)
    scale = LIKE_WIDTH * (weights @ drawn)
    atoms = positions.shape[1]
    # Of N atoms only 3 N - 6 distances are independent.
    independent = min(1.0, max(3 * atoms - 6, 1) / drawn.shape[1])
    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    found, count = against * weights, 0
    for one in seen:
        square = (((drawn - one) / scale) ** 2).mean(axis=1)
        square[weights <= 0.0] = np.inf
        if square.min() > OUTSIDE**2:
            continue
        count += 1
        found = found + _spread(logs, square * drawn.shape[1] * independent)
    return np.asarray(found / (against + count))


def _spread(logs: FloatArray, square: FloatArray) -> FloatArray:
    """(n) shares of one sample in the draws, of sum 1."""
    share: FloatArray = np.empty(0)
    for times in range(_WIDTHS):
        log_share = logs - 0.5 * square / 2.0**times
        share = np.exp(log_share - log_share.max())
        share /= share.sum()
        if (share**2).sum() * LEAST <= 1.0:
            break
    return share
