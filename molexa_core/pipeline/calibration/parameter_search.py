"""The best parameters of a family for references, and samples of their posterior.

The best ones by Gauss-Newton steps with the damping of Levenberg and Marquardt, from the middle
of the prior and from draws of it. The samples by adaptive importance sampling with a mixture of
Student distributions (O. Cappe et al., Statistics and Computing 18, 447 (2008)): every round draws
from the mixture so far, and all rounds are weighted together by the mixture of all (J.-M. Cornuet
et al., Scandinavian Journal of Statistics 39, 798 (2012)). The prior itself is part of the mixture,
so that nothing it allows is left out, and the mean of the weights is the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import gammaln, logsumexp

from molexa_core.base.errors import ComputationError
from molexa_core.base.progress import Task
from molexa_core.base.tables import FloatArray
from molexa_core.pipeline.calibration.likelihood import MISFIT, MISFITS, Noise, Problem

STARTS: Final = 6
"""Starts of the search besides the middle of the prior."""
STEPS: Final = 40
ROUND: Final = 500
"""Parameters tried in one round of the sampling."""
ROUNDS: Final = 10
ENOUGH: Final = 800.0
"""Effective number of samples at which the sampling stops."""
_FREEDOM: Final = 5.0
_CONVERGED: Final = 1e-3
_DISTINCT: Final = 0.5
WORSE: Final = 20.0
"""Minima whose objective is worse by more than this are no starts of the sampling."""


@dataclass(frozen=True)
class Minimum:
    """The best parameters near a start.

    Attributes:
        u: (K) numbers of the prior.
        objective: sum of squares of the whitened residuals and of u.
        slope: (n, K) derivatives of the prediction.
        residuals: (n) measured less predicted.
    """

    u: FloatArray
    objective: float
    slope: FloatArray
    residuals: FloatArray


@dataclass(frozen=True)
class Samples:
    """Weighted samples of the posterior.

    Attributes:
        u: (s, K) numbers of the prior.
        weight: (s) sum 1.
        misfit: (levels) probability of each of `likelihood.MISFITS`.
        log_evidence: logarithm of the mean likelihood over the prior.
        effective: effective number of samples.
        best: (K) the sample of the largest density of the posterior.
        height: ln of that density, up to the evidence.
    """

    u: FloatArray
    weight: FloatArray
    misfit: FloatArray
    log_evidence: float
    effective: float
    best: FloatArray
    height: float

    @property
    def likely_misfit(self) -> float:
        """The median of the size of the misfit."""
        reached = np.cumsum(self.misfit) - 0.5 * self.misfit
        return float(np.exp(np.interp(0.5, reached, np.log(MISFITS))))


def height_of(problem: Problem, u: FloatArray) -> float:
    """Ln of the density of the posterior at (K) u, up to the evidence."""
    likely = float(logsumexp(problem.log_likelihood(u[None])[0]))
    prior = -0.5 * float(np.square(u).sum()) - 0.5 * len(u) * np.log(2.0 * np.pi)
    return likely + prior if np.isfinite(likely) else -np.inf


def minimise(problem: Problem, starts: FloatArray, misfit: float, task: Task) -> list[Minimum]:
    """The minima that are reached from starts (s, K), best first, each once.

    Args:
        problem: references and family.
        starts: numbers of the prior.
        misfit: size of the misfit in the weights of the residuals.
        task: receives one unit for each step.

    Raises:
        ComputationError: the model fails at every start.
    """
    u = np.array(starts, dtype=np.float64)
    count, size = u.shape
    weights = np.stack([_whitening(problem, one, misfit) for one in u])
    measured = problem.measured
    predicted, slope = problem.with_derivatives(u)
    objective = _objective(weights, measured - predicted, u)
    damping = np.full(count, 1e-2)
    active = np.isfinite(objective)
    if not active.any():
        raise ComputationError(
            f"{problem.family.name}: the explosions of the references cannot be computed",
            do="Check the geometries of the references and the `explosion` block of the setup.",
        )
    for _ in range(STEPS if size else 0):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        task.advance()
        trial = u.copy()
        for row in rows:
            tilted = weights[row] @ slope[row]
            right = tilted.T @ (weights[row] @ (measured - predicted[row])) - u[row]
            square = tilted.T @ tilted + np.eye(size)
            step = np.linalg.solve(square + damping[row] * np.diag(np.diag(square)), right)
            trial[row] += step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        new_predicted, new_slope = problem.with_derivatives(trial[rows])
        for number, row in enumerate(rows):
            value = _objective(
                weights[[row]], (measured - new_predicted[number])[None], trial[[row]]
            )[0]
            if (
                np.isfinite(value)
                and np.isfinite(new_slope[number]).all()
                and (value <= objective[row])
            ):
                gained = objective[row] - value
                u[row], objective[row] = trial[row], value
                predicted[row], slope[row] = new_predicted[number], new_slope[number]
                damping[row] = max(damping[row] / 5.0, 1e-8)
                active[row] = gained > _CONVERGED
            else:
                damping[row] *= 6.0
                active[row] = damping[row] < 1e6
    found: list[Minimum] = []
    for row in np.argsort(np.where(np.isfinite(objective), objective, np.inf)):
        if not np.isfinite(objective[row]):
            break
        far = all(np.abs(one.u - u[row]).max(initial=0.0) > _DISTINCT for one in found)
        if far:
            found.append(
                Minimum(u[row], float(objective[row]), slope[row], measured - predicted[row])
            )
    return found


def _whitening(problem: Problem, u: FloatArray, misfit: float) -> FloatArray:
    try:
        return problem.noise(u).whitening(misfit)
    except ComputationError:
        return np.full((len(problem.offset), len(problem.offset)), np.nan)


def _objective(weights: FloatArray, residuals: FloatArray, u: FloatArray) -> FloatArray:
    whitened = np.einsum("sij,sj->si", weights, residuals)
    return np.asarray(np.square(whitened).sum(axis=1) + np.square(u).sum(axis=1))


def starts_of(size: int, seed: int) -> FloatArray:
    """(s, K) the middle of the prior and draws of it, none of them far out."""
    random = np.random.default_rng([seed, 1])
    drawn = np.clip(random.standard_normal((STARTS if size else 0, size)), -2.0, 2.0)
    return np.concatenate([np.zeros((1, size)), drawn])


@dataclass(frozen=True)
class _Part:
    """A Student distribution, or the standard normal one of the prior."""

    centre: FloatArray
    factor: FloatArray
    is_prior: bool = False

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        normal = random.standard_normal((count, len(self.centre)))
        if not self.is_prior:
            normal /= np.sqrt(random.chisquare(_FREEDOM, (count, 1)) / _FREEDOM)
        return np.asarray(self.centre + normal @ self.factor.T)

    def log_density(self, u: FloatArray) -> FloatArray:
        size = len(self.centre)
        away = np.linalg.solve(self.factor, (u - self.centre).T)
        square = np.square(away).sum(axis=0)
        volume = float(np.linalg.slogdet(self.factor)[1])
        if self.is_prior:
            return np.asarray(-0.5 * square - volume - 0.5 * size * np.log(2.0 * np.pi))
        constant = gammaln(0.5 * (_FREEDOM + size)) - gammaln(0.5 * _FREEDOM)
        constant -= 0.5 * size * np.log(_FREEDOM * np.pi) + volume
        return np.asarray(constant - 0.5 * (_FREEDOM + size) * np.log1p(square / _FREEDOM))


def sample(
    problem: Problem, noise: Noise, minima: list[Minimum], misfit: float, *, seed: int, task: Task
) -> Samples:
    """Samples of the posterior.

    Args:
        problem: references and family.
        noise: covariance of the residuals at the best parameters, for the first proposals.
        minima: at least one.
        misfit: size of the misfit for the widths of the first proposals.
        seed: of the draws.
        task: receives one unit for each round.
    """
    size = problem.prior.size
    if not size:
        at = np.zeros((1, 0))
        by_level = problem.log_likelihood(at)[0]
        evidence = float(logsumexp(by_level))
        return Samples(at, np.ones(1), np.exp(by_level - evidence), evidence, 1.0, at[0], evidence)
    random = np.random.default_rng([seed, 2])
    whiten = noise.whitening(max(misfit, MISFIT))
    near = [one for one in minima if one.objective - minima[0].objective < WORSE]
    parts = [_Part(np.zeros(size), np.eye(size), is_prior=True)]
    shares = [0.1]
    for one in near:
        tilted = whiten @ one.slope
        parts.append(
            _Part(one.u, 1.2 * _root(np.asarray(np.linalg.inv(tilted.T @ tilted + np.eye(size)))))
        )
        shares.append(0.9 / len(near))
    rounds = [(parts, np.array(shares))]
    u = np.empty((0, size))
    by_level = np.empty((0, len(MISFITS)))
    for number in range(ROUNDS):
        task.advance()
        current, share = rounds[-1]
        drawn = _draw(current, share, random)
        u = np.concatenate([u, drawn])
        by_level = np.concatenate([by_level, problem.log_likelihood(drawn)])
        by_level[np.isnan(by_level)] = -np.inf
        target = logsumexp(by_level, axis=1) + parts[0].log_density(u)
        proposed = logsumexp([_log_mixture(u, *mixture) for mixture in rounds], axis=0) - np.log(
            len(rounds)
        )
        log_weight = target - proposed
        total = float(logsumexp(log_weight))
        if not np.isfinite(total):
            raise ComputationError(f"{problem.family.name}: no parameters explain the references")
        weight = np.exp(log_weight - total)
        effective = float(1.0 / np.square(weight).sum())
        if effective >= ENOUGH and number:
            break
        rounds.append(_adapted(u, log_weight, parts, size))
    level = np.exp(by_level - logsumexp(by_level, axis=1, keepdims=True).clip(-1e300))
    level = np.where(np.isfinite(level), level, 0.0)
    top = int(np.argmax(target))
    return Samples(
        *(u, weight, weight @ level, total - np.log(len(u)), effective),
        *(u[top], float(target[top])),
    )


def _draw(parts: list[_Part], share: FloatArray, random: np.random.Generator) -> FloatArray:
    count = random.multinomial(ROUND, share / share.sum())
    return np.concatenate([part.draw(random, int(n)) for part, n in zip(parts, count, strict=True)])


def _log_mixture(u: FloatArray, parts: list[_Part], share: FloatArray) -> FloatArray:
    density = [part.log_density(u) + np.log(s) for part, s in zip(parts, share, strict=True)]
    return np.asarray(logsumexp(density, axis=0))


def _adapted(
    u: FloatArray, log_weight: FloatArray, first: list[_Part], size: int
) -> tuple[list[_Part], FloatArray]:
    """A mixture like the weighted samples: the prior, the minima, and groups around samples.

    Weights are flattened until some tens of samples per direction count, so that a lucky one does
    not become the whole mixture.
    """
    power = 1.0
    wanted = min(10.0 * (size + 1), 0.25 * len(u))
    while True:
        weight = np.exp(power * (log_weight - log_weight.max()))
        weight /= weight.sum()
        if 1.0 / np.square(weight).sum() >= wanted or power < 0.02:
            break
        power *= 0.8
    mean = weight @ u
    away = u - mean
    covariance = (weight[:, None] * away).T @ away + 1e-6 * np.eye(size)
    whole = _Part(mean, _root(covariance))
    parts = [first[0], *first[1:], whole]
    share = np.array([0.1, *(0.3 / (len(first) - 1) for _ in first[1:]), 0.6])
    return parts, share


def _root(covariance: FloatArray) -> FloatArray:
    both: FloatArray = 0.5 * (covariance + covariance.T)
    return np.asarray(np.linalg.cholesky(both))
