"""Geometry and parameters of the explosion from mean momenta of one or several channels.

`infer` searches all structures that explain the momenta for some parameters (`problem.search`),
draws from the posterior around each (`sampling`), weighs hypotheses by their evidence, and tests
whether the model can give these momenta at all (`misspecification`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.physics.coulomb.batches import far_shape
from molexa_core.physics.family.family import ExplosionKnowledge
from molexa_core.pipeline.inversion.adaptive import adapt
from molexa_core.pipeline.inversion.ensemble import settle
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.misspecification import Misfit, misfit_at
from molexa_core.pipeline.inversion.problem import Problem, search, search_roughly
from molexa_core.pipeline.inversion.residuals import ChannelData, MeasuredChannel, turns_onto
from molexa_core.pipeline.inversion.sample_shares import with_samples
from molexa_core.pipeline.inversion.sampling import Anchor, Draws, anchor_at, branches, draw
from molexa_core.pipeline.inversion.weighted_draws import Summary, credible_intervals, summary

__all__ = ["MeasuredChannel", "Mode", "Posterior", "infer"]

STARTS: Final = (25, 15)
"""Number of starts per atom that the search makes itself, for each hypothesis: with one channel,
and with several, which few twins fit."""
COSTLY_STARTS: Final = (10, 8)
"""The same for families that say that they are `costly`."""
MOST_FOLLOWED: Final = 8
"""Number of points from which such families are followed to other parameters or hypotheses."""
NEAR_STAGES: Final = 3
"""Stages of the search from there."""
FOLLOWING: Final = 0.4
"""Share of these starts where the solutions of another hypothesis about the same parameters are
starts as well: what explains the momenta in one nearly does in the other."""
MOST_BRANCHES: Final = 10
"""Largest number of branches of one hypothesis."""
LEAST_SHARE: Final = 1e-3
"""Branches with less of the evidence than this, in normal approximation, get no draws."""
LEAST_DRAWS: Final = 40
"""Smallest number of draws of a branch."""
EFFECTIVE: Final = 0.6
"""Effective samples per wanted draw at which adaptive sampling ends."""
LEAST_EFFECTIVE: Final = 0.2
"""Effective samples per wanted draw below which another way of sampling follows."""
ROUNDS: Final = 12
"""Largest number of rounds of adaptive sampling."""
CONTRADICTED: Final = 1e-4
"""p-value below which nothing is drawn: the draws would be of a model that the momenta refute."""
NEAR: Final = 30.0
"""ln of the posterior below the largest down to which a maximum is kept."""
NEAR_POINTS: Final = 12.0
"""The same for the other points of the search, about which draws begin as well."""
FOLD_WAYS: Final = 2
FOLD_REACH: Final = (0.1, 0.25, 0.5)
"""Directions from a maximum in which twins beside a fold are looked for, and how far, bohr."""
MOST_POINTS: Final = 150
"""Largest number of them."""
HEAVIEST: Final = 50
"""Draws of a maximum, of largest weight, among which a more probable point is looked for."""
HIGHER: Final = 1.0
"""ln of the posterior by which it must be more probable than the maximum."""


@dataclass(frozen=True)
class Mode:
    """One solution: a branch of the posterior.

    Attributes:
        positions: (N, 3) bohr at its maximum, in the frame of the first channel, centred.
        parameters: (P) coordinates of the parameters there.
        hypothesis: number of the hypothesis.
        share: of the evidence of all modes and hypotheses, or of evidence and samples.
        chi_square: of momenta and parameters.
        closure: rms misfit of the momenta of all channels over their rms; how far the search
            converged, and nothing about accuracy.
    """

    positions: FloatArray
    parameters: FloatArray
    hypothesis: int
    share: float
    chi_square: float
    closure: float


@dataclass(frozen=True)
class Posterior:
    """Weighted draws of geometry and parameters.

    Attributes:
        positions: (n, N, 3) bohr, in the frame of the first channel, centred.
        weights: (n), of sum 1.
        hypothesis: (n) number of the hypothesis of each draw.
        mode: (n) number of the mode of each draw.
        parameters: of each hypothesis, (n_h, P) coordinates, in the order of its draws.
        modes: solutions, that with the largest share first.
        effective_samples: (sum of weights)^2 / sum of their squares; 0 where nothing was drawn,
            because the momenta contradict the model or no draw explains them. The maxima are then
            in place of draws, and say nothing about errors.
        log_evidence: ln of the probability density of the momenta, averaged over hypotheses.
        log_evidences: the same of each hypothesis.
        misfit: whether the model can give these momenta.
    """

    positions: FloatArray
    weights: FloatArray
    hypothesis: IntArray
    mode: IntArray
    parameters: tuple[FloatArray, ...]
    modes: tuple[Mode, ...]
    effective_samples: float
    log_evidence: float
    log_evidences: tuple[float, ...]
    misfit: Misfit

    @property
    def chi_square(self) -> float:
        """Least sum of squares of momenta, parameters and bond lengths, see `misspecification`."""
        return self.misfit.chi_square

    @property
    def degrees(self) -> int:
        """Degrees of freedom of `chi_square`."""
        return self.misfit.degrees

    @property
    def p_value(self) -> float:
        """Probability of a larger chi-square if everything is as believed."""
        return self.misfit.p_value

    @property
    def residuals(self) -> tuple[FloatArray, ...]:
        """Of each channel, (N, 3) measured less model, standard deviations."""
        return self.misfit.residuals

    def distances(self) -> Summary:
        """Interatomic distances in bohr, pairs i < j with i slowest."""
        return summary(pair_distances(self.positions), self.weights)

    def angles(self) -> Summary:
        """Angles in degrees, in the order of `geometry.measures.triplet_angles`."""
        return summary(triplet_angles(self.positions), self.weights)

    def distance_intervals(self, level: float = 0.6827) -> list[list[tuple[float, float]]]:
        """Of each distance the shortest set of this probability: several intervals with twins."""
        return [
            credible_intervals(values, self.weights, level, (0.0, np.inf))
            for values in pair_distances(self.positions).T
        ]

    def angle_intervals(self, level: float = 0.6827) -> list[list[tuple[float, float]]]:
        """The same of each angle, degrees."""
        return [
            credible_intervals(values, self.weights, level, (0.0, 180.0))
            for values in triplet_angles(self.positions).T
        ]

    def superposed(self) -> FloatArray:
        """(n, N, 3) draws turned onto the positions of the first mode."""
        turns = turns_onto(self.modes[0].positions, self.positions)
        return np.asarray(self.positions @ np.swapaxes(turns, 1, 2))

    def covariance(self) -> FloatArray:
        """(3 N, 3 N) covariance of the superposed positions about their mean, bohr^2."""
        flat = self.superposed().reshape(len(self.positions), -1)
        flat = flat - self.weights @ flat
        return np.asarray(flat.T @ (self.weights[:, None] * flat))

    def parameter_summary(self, hypothesis: int) -> Summary:
        """The parameters of one hypothesis, in their coordinates."""
        rows = self.hypothesis == hypothesis
        return summary(self.parameters[hypothesis], self.weights[rows])


def infer(
    channels: Sequence[MeasuredChannel],
    knowledge: ExplosionKnowledge,
    *,
    geometry: GeometryPrior,
    starts: FloatArray | None = None,
    samples: FloatArray | None = None,
    draws: int = 1000,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Posterior:
    """The posterior of geometry and parameters of the explosion.

    Args:
        channels: mean momenta of one molecule in one or several charge combinations; atoms in the
            same order. The first gives the frame of the positions.
        knowledge: families of explosions with what is known of their parameters.
        geometry: what is known of the geometry.
        starts: (n, N, 3) bohr, structures to begin from besides those of the search itself, such
            as samples of a network; in any orientation.
        samples: (m, N, 3) bohr, structures drawn by a network that was told the same: how many are
            like a draw counts beside its evidence (`sample_shares`); in any orientation.
        draws: about how many draws are made, and made again up to twice if few of them count.
        seed: of all random numbers.
        progress: receiver of the progress.

    Returns:
        The posterior.

    Raises:
        UsageError: channels of different molecules, no hypothesis, or starts of another size.
        ComputationError: no structure was found that the families can explode.
    """
    _check(channels, knowledge, geometry, starts)
    _check(channels, knowledge, geometry, samples)
    data = [ChannelData(one, gives_frame=number == 0) for number, one in enumerate(channels)]
    found: list[_Found] = []
    with progress.task("geometry and explosion", len(knowledge.hypotheses), "hypotheses") as task:
        for number, hypothesis in enumerate(knowledge.hypotheses):
            problem = Problem(hypothesis.family, hypothesis.belief, data, geometry)
            random = np.random.default_rng([seed, number])
            known = [one.points for one in found if problem.costly and _alike(one.problem, problem)]
            anchors, points, of_points = _modes(problem, starts, known, random)
            if anchors and hypothesis.weight > 0.0:
                weight = float(np.log(hypothesis.weight))
                found.append(_Found(number, weight, problem, anchors, points, of_points))
            task.advance()
    if not found:
        raise ComputationError(
            "no geometry was found whose explosion gives momenta like the measured ones",
            do="Check charges and momenta, and what is said about the explosion.",
        )
    return _posterior(found, knowledge, draws, seed, samples)


@dataclass
class _Found:
    """What the search found for one hypothesis: maxima, and points with the number of theirs."""

    number: int
    log_weight: float
    problem: Problem
    anchors: list[Anchor]
    points: FloatArray
    of_points: IntArray
    drawn: Draws | None = None
    effective: float = 0.0
    misfits: dict[int, Misfit] = field(default_factory=dict)

    def misfit(self, number: int) -> Misfit:
        """Of the maximum with this number."""
        if number not in self.misfits:
            self.misfits[number] = misfit_at(self.problem, self._best(number))
        return self.misfits[number]

    def _best(self, number: int) -> FloatArray:
        """The maximum, or a draw that is more probable than where the search ended."""
        anchor = self.anchors[number]
        if self.drawn is None:
            return anchor.z
        rows = np.flatnonzero((self.drawn.anchor == number) & np.isfinite(self.drawn.log_weights))
        rows = rows[np.argsort(-self.drawn.log_weights[rows])[:HEAVIEST]]
        if not len(rows):
            return anchor.z
        z = self.drawn.z[rows]
        height = self.problem.log_posterior(z, self.problem.compare(z))[0]
        best = int(height.argmax())
        return z[best] if height[best] > anchor.log_posterior + HIGHER else anchor.z


def _check(
    channels: Sequence[MeasuredChannel],
    knowledge: ExplosionKnowledge,
    geometry: GeometryPrior,
    starts: FloatArray | None,
) -> None:
    if not channels:
        raise UsageError("no channel is given")
    symbols = channels[0].fragments.symbols
    for one in channels:
        if one.fragments.symbols != symbols:
            raise UsageError(
                "the channels are of different molecules: "
                f"{' '.join(symbols)} and {' '.join(one.fragments.symbols)}",
                do="Give channels with the same atoms in the same order.",
            )
    if geometry.symbols != symbols:
        raise UsageError(
            f"the prior is for {' '.join(geometry.symbols)}, not for {' '.join(symbols)}"
        )
    if not any(one.weight > 0.0 for one in knowledge.hypotheses):
        raise UsageError("no hypothesis about the explosion is given")
    for hypothesis in knowledge.hypotheses:
        family, belief = hypothesis.family, hypothesis.belief
        names = tuple(coordinate.name for coordinate in family.coordinates)
        if belief.names != names:
            raise UsageError(
                f"the belief is about {', '.join(belief.names)}, the parameters of "
                f"{family.name} are {', '.join(names)}"
            )
    if starts is not None and (starts.ndim != 3 or starts.shape[1:] != (len(symbols), 3)):
        raise UsageError(f"starts of shape {starts.shape} for {len(symbols)} atoms")


def _alike(one: Problem, other: Problem) -> bool:
    """Whether the unknowns are the same quantities."""
    return one.size == other.size and one.belief.names == other.belief.names


def _modes(
    problem: Problem,
    starts: FloatArray | None,
    known: Sequence[FloatArray],
    random: np.random.Generator,
) -> tuple[list[Anchor], FloatArray, IntArray]:
    """Anchors of the branches that count, best first; all points that count, anchors first, and to
    which anchor each belongs.

    Args:
        problem: of one hypothesis.
        starts: see `infer`.
        known: (n, size) points that other hypotheses about the same parameters found, where the
            family takes long.
        random: source of random numbers.
    """
    positions = _starts(problem, starts, FOLLOWING if known else 1.0, random)
    u = random.standard_normal((len(positions), problem.free))
    begin = problem.join(problem.turned_onto_data(positions, u), u)
    if problem.costly:
        z, height = _searched_sparingly(problem, begin, known, random)
    else:
        z, height = search(problem, begin)
        if problem.free and len(problem.channels) == 1:
            # Several channels leave no long branches without a maximum.
            aimed, there = search(problem, begin, u)
            z, height = np.concatenate([z, aimed]), np.concatenate([height, there])
    if len(problem.channels) == 1 and not problem.family_leaves_something(z[:1]):
        # Where momenta are matched exactly, broad errors have hidden twins beside a fold.
        best = z[np.argsort(-height)[:MOST_BRANCHES]]
        beside = [across(problem, one) for one in best]
        if starts is not None:
            beside.append(begin[: len(starts)])
        close, there = search(problem, np.concatenate(beside), stages=1)
        z, height = np.concatenate([z, close]), np.concatenate([height, there])
    order = np.argsort(-height)
    order = order[np.isfinite(height[order]) & (height[order] > height.max() - NEAR)]
    every = branches(problem, z[order], MOST_BRANCHES)
    if not every:
        return [], z[:0], np.empty(0, dtype=np.int64)
    evidence = np.array([one.log_evidence for one in every])
    kept = evidence > evidence.max() + np.log(LEAST_SHARE)
    anchors = [one for one, keep in zip(every, kept, strict=True) if keep]
    near = order[height[order] > height.max() - NEAR_POINTS][:MOST_POINTS]
    points = np.concatenate([np.stack([one.z for one in anchors]), z[near]])
    apart = np.stack(
        [(((points - a.z) @ np.linalg.inv(a.root).T) ** 2).sum(axis=1) for a in anchors]
    )
    return anchors, points, np.asarray(apart.argmin(axis=0))


def across(problem: Problem, z: FloatArray) -> FloatArray:
    """(n, size) starts on both sides of one point (size), along what momenta leave most open."""
    anchor = anchor_at(problem, z)
    if anchor is None:
        return z[None]
    ways, _, _ = np.linalg.svd(anchor.root)
    found = [z]
    for way in ways[:, :FOLD_WAYS].T:
        unit = way / max(float(np.abs(way[: problem.coordinates]).max()), 0.1)
        found += [z + sign * length * unit for length in FOLD_REACH for sign in (-1.0, 1.0)]
    return np.stack(found)


def _searched_sparingly(
    problem: Problem, begin: FloatArray, known: Sequence[FloatArray], random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """What `search` finds, for families that take long.

    The first, rough stages see one channel and leave the parameters where they are. What other
    hypotheses found needs the last stages only, and so does what is looked for at other parameters.
    """
    rough = search_roughly(problem, begin)
    near = [one[:MOST_FOLLOWED] for one in known]
    z, height = search(problem, np.concatenate([rough, *near]), stages=NEAR_STAGES)
    if not (problem.free and len(problem.channels) == 1 and len(z)):
        return z, height
    best = z[np.argsort(-height)[np.arange(len(begin)) % min(len(z), MOST_FOLLOWED)]]
    aims = random.standard_normal((len(best), problem.free))
    aimed, there = search(problem, best, aims, stages=NEAR_STAGES)
    return np.concatenate([z, aimed]), np.concatenate([height, there])


def _starts(
    problem: Problem, given: FloatArray | None, share: float, random: np.random.Generator
) -> FloatArray:
    """(n, N, 3) starts: those given, geometries of the prior, and shapes along the velocities."""
    channel = problem.channels[0]
    per_atom = COSTLY_STARTS if problem.costly else STARTS
    count = per_atom[len(problem.channels) > 1] * problem.atoms
    drawn = problem.prior.draw(random, max(3, round(share * count)))
    away = far_shape(channel.measured, channel.fragments.masses)
    size = np.sqrt((drawn**2).sum(axis=2).mean(axis=1))
    third = len(drawn) // 3
    noise = 0.3 * size[:third, None, None] * random.standard_normal(drawn[:third].shape)
    drawn[:third] = size[:third, None, None] * away + noise
    parts = [drawn] if given is None else [given, drawn]
    x = np.concatenate(parts)
    return np.asarray(x - x.mean(axis=1, keepdims=True))


def _posterior(
    found: list[_Found],
    knowledge: ExplosionKnowledge,
    draws: int,
    seed: int,
    samples: FloatArray | None,
) -> Posterior:
    """Draws from all branches of all hypotheses."""
    evidence = np.array([max(a.log_evidence for a in one.anchors) for one in found])
    evidence += [one.log_weight for one in found]
    if _contradicted(found):
        return _gathered(_maxima(found), knowledge, draws, None, np.random.default_rng([seed, 2]))
    if any(one.problem.costly for one in found):
        likely = evidence > evidence.max() + np.log(LEAST_SHARE)
        found = [one for one, keep in zip(found, likely, strict=True) if keep]
        evidence = evidence[likely]
    share = np.sqrt(np.exp(evidence - evidence.max()))
    for one, part in zip(found, share / share.sum(), strict=True):
        wanted = max(LEAST_DRAWS * len(one.anchors), int(draws * part))
        random = np.random.default_rng([seed, one.number, 1])
        one.drawn, one.effective = _draws(one, wanted, random)
        # Draws may know a better point than the search.
        one.misfits.clear()
    if not any(one.drawn is not None and np.isfinite(one.drawn.log_weights).any() for one in found):
        found, samples = _maxima(found), None
    return _gathered(found, knowledge, draws, samples, np.random.default_rng([seed, 2]))


def _contradicted(found: list[_Found]) -> bool:
    """Whether no maximum that counts explains the momenta, of whatever hypothesis."""
    every = _every(found)
    logs = np.array([one.anchors[n].log_evidence + one.log_weight for one, n in every])
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    return all(
        every[row][0].misfit(every[row][1]).p_value < CONTRADICTED
        for row in np.argsort(-shares)
        if shares[row] > LEAST_SHARE
    )


def _every(found: list[_Found]) -> list[tuple[_Found, int]]:
    """All maxima, by their hypothesis and number."""
    return [(one, number) for one in found for number in range(len(one.anchors))]


def _maxima(found: list[_Found]) -> list[_Found]:
    """The same with the maxima in place of draws, weighed in normal approximation."""
    for one in found:
        height = np.array([anchor.log_evidence for anchor in one.anchors])
        z = np.stack([anchor.z for anchor in one.anchors])
        one.drawn, one.effective = Draws(z, height, np.arange(len(z))), 0.0
    return found


def _draws(one: _Found, wanted: int, random: np.random.Generator) -> tuple[Draws, float]:
    """About this many draws or more, and how many of them count."""
    problem, anchors = one.problem, one.anchors
    enough = EFFECTIVE * wanted
    best: tuple[Draws, float] | None = None
    if not problem.family_leaves_something(anchors[0].z[None]):
        height = np.array([anchor.log_evidence for anchor in anchors])
        share = np.exp(0.5 * (height - height.max()))
        drawn = draw(problem, anchors, _counts(share / share.sum(), wanted), random)
        best = drawn, _effective(drawn.log_weights)
        if best[1] >= LEAST_EFFECTIVE * wanted:
            return best
    drawn = adapt(problem, one.points, one.of_points, random, enough=enough, rounds=ROUNDS)
    if best is None or _effective(drawn.log_weights) > best[1]:
        best = drawn, _effective(drawn.log_weights)
    if best[1] < LEAST_EFFECTIVE * wanted and np.isfinite(best[0].log_weights).any():
        chains = settle(problem, best[0], random)
        best = chains.draws, chains.effective
    return best


def _counts(share: FloatArray, total: int) -> list[int]:
    counts = np.maximum(np.ceil(total * share), min(LEAST_DRAWS, total))
    return [int(one) for one in counts]


def _effective(log_weights: FloatArray) -> float:
    """How many draws of equal weight say as much."""
    if not np.isfinite(log_weights).any():
        return 0.0
    weights = np.exp(log_weights - log_weights.max())
    return float(weights.sum() ** 2 / (weights**2).sum())


def _gathered(
    found: list[_Found],
    knowledge: ExplosionKnowledge,
    draws: int,
    samples: FloatArray | None,
    random: np.random.Generator,
) -> Posterior:
    logs, origin, hypothesis, positions = [], [], [], []
    parameters = [np.empty((0, len(one.belief.names))) for one in knowledge.hypotheses]
    evidences = np.full(len(knowledge.hypotheses), -np.inf)
    first = 0
    for one in found:
        drawn = one.drawn
        if drawn is None:
            continue
        keep = np.isfinite(drawn.log_weights)
        x, values = one.problem.split(drawn.z[keep])
        logs.append(drawn.log_weights[keep] + one.log_weight)
        origin.append(drawn.anchor[keep] + first)
        hypothesis.append(np.full(len(x), one.number))
        positions.append(x)
        parameters[one.number] = values
        evidences[one.number] = np.logaddexp.reduce(drawn.log_weights[keep], initial=-np.inf)
        first += len(one.anchors)
    log_weights = np.concatenate(logs)
    total = float(np.logaddexp.reduce(log_weights))
    weights = np.exp(log_weights - total)
    weights /= weights.sum()
    drawn_at, solution = np.concatenate(positions), np.concatenate(origin)
    effective = _effective_of_all(found, evidences)
    if samples is not None:
        by_evidence = weights
        weights = with_samples(drawn_at, by_evidence, samples)
        effective *= float((by_evidence**2).sum() / (weights**2).sum())
    shares: FloatArray = np.zeros(first)
    np.add.at(shares, solution, weights)
    order = np.argsort(-shares, kind="stable")
    every = _every(found)
    modes = tuple(
        _mode(one, one.anchors[number], float(shares[row]))
        for row, (one, number) in ((row, every[row]) for row in order)
    )
    rank = np.argsort(order)
    prior_total = np.logaddexp.reduce([one.log_weight for one in found])
    kept, weights = _thinned(weights, draws, random)
    of = np.concatenate(hypothesis)
    chosen = np.zeros(len(of), dtype=bool)
    chosen[kept] = True
    return Posterior(
        positions=drawn_at[kept],
        weights=weights,
        hypothesis=of[kept],
        mode=rank[solution][kept],
        parameters=tuple(values[chosen[of == number]] for number, values in enumerate(parameters)),
        modes=modes,
        effective_samples=effective,
        log_evidence=float(total - prior_total),
        log_evidences=tuple(float(value) for value in evidences),
        misfit=_least_misfit(every, shares),
    )


def _effective_of_all(found: list[_Found], evidences: FloatArray) -> float:
    """Effective samples of the mixture of hypotheses: weights p with variances p^2 / n each."""
    if not any(one.effective > 0.0 for one in found):
        return 0.0
    logs = np.array([one.log_weight + evidences[one.number] for one in found])
    share = np.exp(logs - logs.max())
    share /= share.sum()
    return float(
        1.0 / sum(s**2 / max(o.effective, 1e-300) for s, o in zip(share, found, strict=True) if s)
    )


def _thinned(
    weights: FloatArray, draws: int, random: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Rows that represent many more draws, in their order, and new weights of sum 1."""
    if len(weights) <= 1.5 * draws:
        return np.arange(len(weights)), weights
    places = (np.arange(draws) + random.random()) / draws
    rows = np.searchsorted(np.cumsum(weights), places).clip(max=len(weights) - 1)
    kept, counts = np.unique(rows, return_counts=True)
    return kept, counts / draws


def _mode(one: _Found, anchor: Anchor, share: float) -> Mode:
    row = anchor.z[None]
    x, parameters = one.problem.split(row)
    misfit = sum(float((residual.values**2).sum()) for residual in one.problem.compare(row))
    size = sum(float((channel.measured**2).sum()) for channel in one.problem.channels)
    closure = float(np.sqrt(misfit / size))
    return Mode(x[0], parameters[0], one.number, share, anchor.chi_square, closure)


def _least_misfit(every: list[tuple[_Found, int]], shares: FloatArray) -> Misfit:
    """That of the mode that fits best: if one explains the momenta, they are explained."""
    some = [pair for pair, share in zip(every, shares, strict=True) if share > LEAST_SHARE]
    return min((one.misfit(number) for one, number in some), key=lambda each: each.chi_square)
