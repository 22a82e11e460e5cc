"""Tests whether draws from posteriors are what they claim to be, on cases of known truth.

If the draws of a case are from its posterior, the truth is one more draw: it cannot be told from
the others. Every test here takes the truth and L draws of each case together, ranks the truth among
all L + 1 by a rule that treats them alike, and compares the ranks of many cases with a uniform
distribution. So the rate of false alarms is known, however the posterior looks.

* Simulation-based calibration (SBC): ranks of single quantities (S. Talts et al.,
  arXiv:1804.06788).
* Expected coverage: how often the truth is within central intervals, for every level; jointly, how
  often it is among those of the L + 1 that lie nearest to the others.
* TARP: the share of draws nearer to a random reference point than the truth (P. Lemos et al., ICML
  2023, arXiv:2302.03026). With reference points that may lie anywhere it is sufficient as well:
  only the posterior passes in the limit of many cases.
* Local test: whether ranks depend on what was measured. A posterior too wide for some inputs and
  too narrow for others may pass all of the above. The statistic is that of a kernel (A. Gretton et
  al., NIPS 2007) between observables and deviations of ranks from uniform; its distribution is
  simulated with ranks that are uniform, so that its false-alarm rate is exact. It asks what L-C2ST
  asks (J. Linhart et al., NeurIPS 2023), without a classifier to be trained.

The level of several tests together is kept by Holm's correction (Scand. J. Stat. 6, 65 (1979)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import chi2, kstest, rankdata

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray, IntArray

LEVELS: Final = np.linspace(0.02, 0.98, 49)
"""Levels of coverage curves."""
LEAST_PER_BIN: Final = 12.0
"""Expected number of ranks in a bin of the chi-square test."""
MOST_BINS: Final = 20
SIMULATIONS: Final = 999
"""Simulated sets of ranks for the distribution of the local statistic."""
MOST_LOCAL: Final = 2000
"""Cases of the local test, which compares all pairs."""


@dataclass(frozen=True)
class Test:
    """Outcome of one test.

    Attributes:
        name: of the test and its quantity.
        statistic: its value.
        p_value: probability of a larger one if the draws are from the posterior.
        cases: number of cases.
    """

    __test__ = False  # pytest would collect it

    name: str
    statistic: float
    p_value: float
    cases: int


@dataclass(frozen=True)
class Curve:
    """Share of cases inside regions of each level.

    Attributes:
        name: of the regions.
        levels: (n) claimed.
        covered: (n) found.
        low, high: (n) 95 % interval of `covered`, bootstrapped over cases.
        deviation: largest |covered - levels|.
    """

    name: str
    levels: FloatArray
    covered: FloatArray
    low: FloatArray
    high: FloatArray
    deviation: float


def rank_among(truth: FloatArray, draws: FloatArray, random: np.random.Generator) -> FloatArray:
    """Place of the truth among the draws, uniform in 0 to 1 if it is one of them.

    The rank of L + 1 possible ones, spread evenly over its cell; ties are broken at random.

    Args:
        truth: (...).
        draws: (L, ...).
        random: source of random numbers.
    """
    below = (draws < truth).sum(axis=0)
    equal = (draws == truth).sum(axis=0)
    within = random.integers(0, equal + 1)
    return np.asarray((below + within + random.random(truth.shape)) / (len(draws) + 1.0))


def nearness_ranks(truth: FloatArray, draws: FloatArray, random: np.random.Generator) -> FloatArray:
    """(B) ranks by distance from the others: low in the middle, high at the outskirts.

    Each of the L + 1 points has its mean distance from all others; components count in units of
    their standard deviation over the L + 1.

    Args:
        truth: (B, K).
        draws: (L, B, K).
        random: source of random numbers.
    """
    everything = _scaled(np.concatenate([truth[None], draws]))
    found = np.empty(len(truth))
    for case in range(len(truth)):
        x = everything[:, case]
        square = (x**2).sum(axis=1)
        apart = np.sqrt(np.maximum(square[:, None] + square[None] - 2.0 * x @ x.T, 0.0))
        mean = apart.sum(axis=1)
        # Rounding must not order points that lie in one place.
        mean = np.round(mean / max(float(mean.max()), 1e-300), 9)
        found[case] = rank_among(mean[:1], mean[1:, None], random)[0]
    return found


def tarp_ranks(
    truth: FloatArray, draws: FloatArray, references: FloatArray, random: np.random.Generator
) -> FloatArray:
    """(B) ranks by distance from a reference point of each case.

    Args:
        truth: (B, K).
        draws: (L, B, K).
        references: (B, K) chosen without knowledge of the truth; see `reference_points`.
        random: source of random numbers.
    """
    everything = np.concatenate([truth[None], draws])
    scale = _scale(everything)
    apart = np.sqrt((((everything - references) / scale) ** 2).sum(axis=2))
    return rank_among(apart[0], apart[1:], random)


def reference_points(
    own: FloatArray, others: FloatArray, random: np.random.Generator
) -> FloatArray:
    """(B, K) reference points for TARP: near a draw at any distance, or a case of the population.

    Half lie in a random direction from one draw of the case (which must not be among those ranked),
    at a distance log-uniform from 0.1 to 3 times its deviation from another draw; half are the draw
    of another case. So they reach into the bulk of each posterior and far outside.

    Args:
        own: (2, B, K) two draws of each case, not among those ranked.
        others: (M, K) draws of other cases, M at least 1.
        random: source of random numbers.
    """
    one, two = own
    spread = np.abs(one - two)
    spread = spread.mean(axis=1, keepdims=True)
    way = random.standard_normal(one.shape)
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-300)
    length = np.exp(random.uniform(np.log(0.1), np.log(3.0), (len(one), 1)))
    near = one + way * length * spread * np.sqrt(one.shape[1])
    far = others[random.integers(0, len(others), len(one))]
    return np.where(random.random((len(one), 1)) < 0.5, near, far)


def uniformity(name: str, ranks: FloatArray) -> Test:
    """Chi-square test of ranks in 0 to 1 against a uniform distribution.

    Raises:
        UsageError: fewer cases than two bins need.
    """
    bins = int(min(MOST_BINS, len(ranks) // LEAST_PER_BIN))
    if bins < 2:
        raise UsageError(
            f"{len(ranks)} cases are too few to test ranks",
            do=f"Take at least {2 * LEAST_PER_BIN:.0f}; 1000 show deviations of a few per cent.",
        )
    counts = np.bincount((ranks * bins).astype(int).clip(0, bins - 1), minlength=bins)
    expected = len(ranks) / bins
    statistic = float(((counts - expected) ** 2).sum() / expected)
    return Test(name, statistic, float(chi2.sf(statistic, bins - 1)), len(ranks))


def evenness(name: str, ranks: FloatArray) -> Test:
    """Kolmogorov-Smirnov test of the same: more sensitive to a shift of all ranks."""
    found = kstest(ranks, "uniform")
    return Test(name, float(found.statistic), float(found.pvalue), len(ranks))


def local_test(
    name: str, ranks: FloatArray, observables: FloatArray, random: np.random.Generator
) -> Test:
    """Whether ranks are uniform wherever one looks in the space of what was measured.

    Args:
        name: of the quantity.
        ranks: (B) in 0 to 1.
        observables: (B, M), any scales; columns that do not vary are left out.
        random: source of random numbers.
    """
    if len(ranks) > MOST_LOCAL:
        rows = random.permutation(len(ranks))[:MOST_LOCAL]
        ranks, observables = ranks[rows], observables[rows]
    kernel = _kernel(observables)

    def statistics(columns: FloatArray) -> FloatArray:
        middle = (columns - 0.5) * np.sqrt(12.0)
        width = ((columns - 0.5) ** 2 - 1.0 / 12.0) * np.sqrt(180.0)
        return np.stack(
            [np.einsum("bs,bs->s", one, kernel @ one) / len(columns) for one in (middle, width)]
        )

    simulated = statistics(random.random((len(ranks), SIMULATIONS)))
    mine = statistics(ranks[:, None])
    everything = np.concatenate([mine, simulated], axis=1)
    # Of the two statistics the one that is rarer, and how rare that is among simulations.
    rare = np.stack([rankdata(-one, method="max") for one in everything]).min(axis=0)
    p_value = float((rare <= rare[0]).mean())
    typical = np.median(simulated, axis=1)
    return Test(name, float((mine[:, 0] / typical).max()), p_value, len(ranks))


def _kernel(observables: FloatArray) -> FloatArray:
    """(B, B) of a Gaussian kernel in normal scores of the observables.

    The median distance is its width: functions that vary slowly over all observables count most.
    """
    varying = observables[:, np.ptp(observables, axis=0) > 0.0]
    if not varying.shape[1]:
        return np.ones((len(observables), len(observables)))
    scores = rankdata(varying, axis=0) / len(varying) - 0.5
    square = ((scores[:, None] - scores[None]) ** 2).sum(axis=2)
    width = np.median(square[np.triu_indices(len(scores), k=1)])
    return np.asarray(np.exp(-square / max(float(width), 1e-12)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values after Holm's correction: below a only if a family-wise test at level a rejects."""
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given)
    raised = np.maximum.accumulate(given[order] * (len(given) - np.arange(len(given))))
    found = np.empty(len(given))
    found[order] = np.minimum(raised, 1.0)
    return [float(one) for one in found]


def central_curve(name: str, ranks: FloatArray, cases: IntArray, *, seed: int = 0) -> Curve:
    """Coverage of central intervals from ranks (n) of quantities that belong to `cases` (n)."""
    return _curve(name, 2.0 * np.abs(ranks - 0.5), cases, seed)


def region_curve(name: str, ranks: FloatArray, cases: IntArray, *, seed: int = 0) -> Curve:
    """Coverage of regions that hold the lowest ranks."""
    return _curve(name, ranks, cases, seed)


def _curve(name: str, reached: FloatArray, cases: IntArray, seed: int) -> Curve:
    """Share of `reached` (n) below each level, with whole cases resampled."""
    _, place = np.unique(cases, return_inverse=True)
    size = np.bincount(place).astype(np.float64)
    inside = np.stack(
        [np.bincount(place, weights=(reached <= level).astype(float)) for level in LEVELS]
    )
    covered = inside.sum(axis=1) / size.sum()
    random = np.random.default_rng(seed)
    share = random.multinomial(len(size), np.full(len(size), 1.0 / len(size)), size=400)
    resampled = (share @ inside.T) / (share @ size)[:, None]
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return Curve(name, LEVELS, covered, low, high, float(np.abs(covered - LEVELS).max()))


def _scale(everything: FloatArray) -> FloatArray:
    """(B, K) standard deviations over the first axis, at least a little of the largest."""
    spread = everything.std(axis=0)
    least = 1e-9 * np.maximum(spread.max(axis=1, keepdims=True), 1e-300)
    return np.asarray(np.maximum(spread, least))


def _scaled(everything: FloatArray) -> FloatArray:
    return np.asarray((everything - everything.mean(axis=0)) / _scale(everything))
