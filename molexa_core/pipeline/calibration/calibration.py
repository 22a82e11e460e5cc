"""Calibration of the explosion: the posterior of a family's parameters from reference molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import logsumexp

from molexa_core.base.belief import Belief, Coordinate
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.progress import SILENT, Progress, Task
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.family import ExplosionKnowledge, Family, Hypothesis
from molexa_core.pipeline.calibration.deviations import AtomDeviations, deviations_of
from molexa_core.pipeline.calibration.information import Information, information_of
from molexa_core.pipeline.calibration.likelihood import MISFIT, AnyReference, Noise, Problem
from molexa_core.pipeline.calibration.parameter_search import (
    WORSE,
    Minimum,
    Samples,
    height_of,
    minimise,
    sample,
    starts_of,
)
from molexa_core.pipeline.calibration.prior import JointPrior, joint_prior
from molexa_core.pipeline.calibration.tension import LinearModel, linear_model

LEAST_WEIGHT: Final = 1e-3
"""Hypotheses of a smaller posterior probability are dropped."""
FEW_SAMPLES: Final = 100.0
"""Below this effective number of samples the widths of the posterior are not reliable."""
NOT_EXPLAINED: Final = 0.01
"""p-value below which the references contradict the family."""
BETTER: Final = 3.0
"""ln of the density by which a sample must exceed the minimum of squares to take its place."""
HOPELESS: Final = 12.0
"""ln of the probability, below the largest, at the best parameters, of hypotheses that are left
out before they are sampled."""


@dataclass(frozen=True)
class Pull:
    """One measured value beside what the calibrated family gives.

    Attributes:
        reference: label of the reference.
        name: of the value, such as `O2+ - H+`.
        measured, predicted: a.u., or the logarithm of a ratio of yields.
        error: of the measurement and the family together, misfit included.
        is_yield: whether it is the logarithm of a ratio.
    """

    reference: str
    name: str
    measured: float
    predicted: float
    error: float
    is_yield: bool = False

    @property
    def pull(self) -> float:
        """Measured less predicted in units of the error."""
        return (self.measured - self.predicted) / self.error


@dataclass(frozen=True)
class Fit:
    """One hypothesis after the references. C conditions, P parameters.

    Attributes:
        family: the forward models, as they were before.
        coordinates: the parameters.
        prior: distribution of the parameters of the experiment before.
        belief: (C P) distribution after, condition by condition; the first one is the experiment.
        common: parameters that are the same number at all conditions.
        weight: probability among the hypotheses, before and after.
        log_evidence: logarithm of the mean likelihood.
        misfit: size of the relative error of momenta that no parameter removes.
        chi_square: of the best parameters without a misfit, deviations from the prior included.
        values: number of measured values, the degrees of freedom of `chi_square`.
        residual: chi-square of the residuals alone, and its degrees of freedom.
        p_value: probability of a misfit as large as found, if the family is right (`tension`).
        linear: the references near the best parameters.
        effective: effective number of samples of the posterior.
        pulls: the measured values.
        information: what each reference tells.
        deviations: of the atoms of the references from the family.
    """

    family: Family
    coordinates: tuple[Coordinate, ...]
    prior: Belief
    belief: Belief
    common: tuple[str, ...]
    weight: tuple[float, float]
    log_evidence: float
    misfit: float
    chi_square: float
    values: int
    residual: tuple[float, float]
    p_value: float
    linear: LinearModel
    effective: float
    pulls: tuple[Pull, ...]
    information: Information
    deviations: tuple[AtomDeviations, ...]

    @property
    def here(self) -> Belief:
        """The parameters of the experiment."""
        size = len(self.coordinates)
        names = tuple(one.name for one in self.coordinates)
        return Belief(names, self.belief.mean[:size], self.belief.covariance[:size, :size])


@dataclass(frozen=True)
class Calibration:
    """What references of known geometry say about the explosion.

    Attributes:
        fits: the hypotheses, most probable first.
        misfit: size of the relative error of momenta, over all hypotheses.
        p_value: of the most probable hypothesis.
        notes: what the references cannot fix, and which further reference would.
        warnings: reasons why the calibration may be poor.
    """

    fits: tuple[Fit, ...]
    misfit: float
    p_value: float
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def best(self) -> Fit:
        """The most probable hypothesis."""
        return self.fits[0]


def calibrate_on(
    references: Sequence[AnyReference],
    knowledge: Sequence[ExplosionKnowledge],
    *,
    distances: FloatArray | None = None,
    common: Sequence[Sequence[str]] | None = None,
    advise: bool = True,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Calibration:
    """The posterior of the parameters of the explosion.

    Args:
        references: measured channels of molecules of known geometry.
        knowledge: what is known before, at each condition; the first one is the experiment.
        distances: (C, C) distances of the conditions in ln; zeros if not given.
        common: for each hypothesis, the parameters that are the same number at all conditions.
        advise: whether to look for further references.
        seed: of the draws.
        progress: display of the progress.

    Raises:
        UsageError: no reference, or nothing to calibrate.
        ComputationError: no hypothesis can be computed for the references.
    """
    if not references:
        raise UsageError("no references are given", setting="references")
    count = len(knowledge)
    apart = np.zeros((count, count)) if distances is None else distances
    number = len(knowledge[0].hypotheses)
    if any(len(one.hypotheses) != number for one in knowledge):
        raise UsageError("the hypotheses are not the same at all conditions")
    with progress.task("calibration", None, "steps") as task:
        begun = [
            _begin(
                [one.hypotheses[row] for one in knowledge],
                references,
                apart,
                tuple(common[row]) if common else (),
                seed,
                task,
            )
            for row in range(number)
        ]
        found = [_sampled(one, seed, task) for one in _possible(begun)]
    total = sum(one.weight for one in knowledge[0].hypotheses)
    return _together(found, total, references, apart, advise, seed)


@dataclass(frozen=True)
class _Begun:
    """A hypothesis with its best parameters."""

    hypotheses: list[Hypothesis]
    problem: Problem
    noise: Noise
    minima: list[Minimum]
    common: tuple[str, ...]

    @property
    def minimum(self) -> Minimum:
        """The best parameters."""
        return self.minima[0]

    def log_evidence(self) -> float:
        """As if the family were linear near the best parameters (Laplace)."""
        tilted = self.noise.whitening(MISFIT) @ self.minimum.slope
        square = np.eye(tilted.shape[1]) + tilted.T @ tilted
        likely = float(logsumexp(self.problem.log_likelihood(self.minimum.u[None])[0]))
        prior = 0.5 * float(np.square(self.minimum.u).sum())
        return likely - prior - 0.5 * float(np.linalg.slogdet(square)[1])


@dataclass(frozen=True)
class _Found(_Begun):
    """A hypothesis, fitted."""

    best: Minimum
    samples: Samples


def _begin(
    hypotheses: list[Hypothesis],
    references: Sequence[AnyReference],
    distances: FloatArray,
    common: tuple[str, ...],
    seed: int,
    task: Task,
) -> _Begun:
    prior = joint_prior([one.belief for one in hypotheses], distances, common)
    problem = Problem.of(hypotheses[0].family, prior, references)
    # First as if the family were known only roughly: the way to the minimum is then smooth.
    rough = minimise(problem, starts_of(prior.size, seed), 10.0 * MISFIT, task)
    problem = problem.corrected(rough[0].u)
    near = [one for one in rough if one.objective - rough[0].objective < WORSE]
    minima = minimise(problem, np.stack([one.u for one in near]), MISFIT, task)
    problem = problem.corrected(minima[0].u)
    return _Begun(hypotheses, problem, problem.noise(minima[0].u), minima, common)


def _possible(begun: list[_Begun]) -> list[_Begun]:
    """Without hypotheses that are far less probable than others."""
    if len(begun) == 1:
        return begun
    logs = np.array([one.log_evidence() + np.log(one.hypotheses[0].weight) for one in begun])
    return [one for one, log in zip(begun, logs, strict=True) if log > logs.max() - HOPELESS]


def _sampled(begun: _Begun, seed: int, task: Task) -> _Found:
    problem, noise, minima = begun.problem, begun.noise, begun.minima
    samples = sample(problem, noise, minima, MISFIT, seed=seed, task=task)
    best, noise = _best(problem, noise, minima[0], samples)
    return _Found(begun.hypotheses, problem, noise, minima, begun.common, best, samples)


def _best(
    problem: Problem, noise: Noise, minimum: Minimum, samples: Samples
) -> tuple[Minimum, Noise]:
    """The best parameters, and the covariance of the residuals there.

    The search minimises squares. Where something is far off that the tails of the family's own
    error allow, it runs away to where hardly anything is claimed; samples know better.
    """
    if samples.height < height_of(problem, minimum.u) + BETTER:
        return minimum, noise
    values, slope = problem.with_derivatives(samples.best[None])
    left = problem.measured - values[0]
    return Minimum(samples.best, -2.0 * samples.height, slope[0], left), problem.noise(samples.best)


def _together(
    found: list[_Found],
    total: float,
    references: Sequence[AnyReference],
    distances: FloatArray,
    advise: bool,
    seed: int,
) -> Calibration:
    before = np.array([one.hypotheses[0].weight for one in found]) / total
    evidence = np.array([one.samples.log_evidence for one in found])
    log_after = np.log(before) + evidence
    after = np.exp(log_after - logsumexp(log_after))
    kept = [row for row in np.argsort(-after) if after[row] >= LEAST_WEIGHT]
    after = after / after[kept].sum()
    fits = tuple(
        _result(found[row], references, (float(before[row]), float(after[row])), distances, seed)
        for row in kept
    )
    misfit = float(np.exp(sum(fit.weight[1] * np.log(fit.misfit) for fit in fits)))
    best = found[kept[0]]
    notes = fits[0].information.notes(
        best.problem, best.best, fits[0].misfit, fits[0].coordinates, advise=advise
    )
    if molecules := listing(one.molecule for one in fits[0].deviations):
        notes += (f"what the atoms of {molecules} do is carried on to the same molecules",)
    return Calibration(fits, misfit, fits[0].p_value, notes, _warnings(fits))


def _result(
    found: _Found,
    references: Sequence[AnyReference],
    weight: tuple[float, float],
    distances: FloatArray,
    seed: int,
) -> Fit:
    problem, samples = found.problem, found.samples
    coordinates = found.problem.family.coordinates
    misfit = samples.likely_misfit
    deviations, u, share = deviations_of(problem, samples, misfit, references, distances, seed=seed)
    belief = _moments(problem.prior, u, share, [one.name for one in coordinates])
    chi_square, residual, model = _tension(problem, found.noise, found.best)
    return Fit(
        family=problem.family,
        coordinates=coordinates,
        prior=found.hypotheses[0].belief,
        belief=belief,
        common=found.common,
        weight=weight,
        log_evidence=samples.log_evidence,
        misfit=misfit,
        chi_square=chi_square,
        values=len(problem.offset),
        residual=residual,
        p_value=model.p_value(),
        linear=model,
        effective=samples.effective,
        pulls=_pulls(problem, found.noise.covariance(misfit), found.best, references),
        information=information_of(problem, found.noise, found.best, misfit),
        deviations=deviations,
    )


def _moments(prior: JointPrior, u: FloatArray, weight: FloatArray, names: Sequence[str]) -> Belief:
    """Mean and covariance of the coordinates at all conditions."""
    mean_u = weight @ u
    away = u - mean_u
    covariance_u = (weight[:, None] * away).T @ away
    factor = prior.factor.reshape(-1, prior.size)
    called = [f"{name} @ {at}" for at in range(len(prior.mean)) for name in names]
    covariance = factor @ covariance_u @ factor.T
    mean = prior.mean.reshape(-1) + factor @ mean_u
    return Belief(tuple(called), mean, 0.5 * (covariance + covariance.T))


def _tension(
    problem: Problem, noise: Noise, best: Minimum
) -> tuple[float, tuple[float, float], LinearModel]:
    """Chi-square in all, that of the residuals with its degrees of freedom, and the linear model.

    For a linear model the smallest sum of squares of residuals and deviations from the prior is
    r' (1 + J J')^-1 r, r being the residuals at the middle of the prior. The residuals that are
    left have the covariance (1 + J J')^-1, whose trace are their degrees of freedom.
    """
    whiten = noise.whitening(0.0)
    left = best.residuals + best.slope @ best.u
    model = linear_model(left, best.slope, whiten, problem.blocks(best.u, whiten), best.u)
    values = len(model.data)
    rest = np.linalg.solve(np.eye(values) + model.slope @ model.slope.T, np.eye(values))
    at_minimum = rest @ model.data
    squares = float(np.square(at_minimum).sum())
    return float(model.data @ at_minimum), (squares, float(np.trace(rest))), model


def _pulls(
    problem: Problem,
    covariance: FloatArray,
    minimum: Minimum,
    references: Sequence[AnyReference],
) -> tuple[Pull, ...]:
    error = np.sqrt(np.diag(covariance))
    measured = problem.measured
    rows = []
    for part, reference in zip(problem.parts, references, strict=True):
        for name, row in zip(reference.observed.names, range(part.start, part.stop), strict=True):
            rows.append(
                Pull(
                    reference.label,
                    name,
                    float(measured[row]),
                    float(measured[row] - minimum.residuals[row]),
                    float(error[row]),
                    not hasattr(reference, "ions"),
                )
            )
    return tuple(rows)


def _warnings(fits: tuple[Fit, ...]) -> tuple[str, ...]:
    best = fits[0]
    found = []
    if best.p_value < NOT_EXPLAINED:
        worst = max(best.pulls, key=lambda one: abs(one.pull))
        found.append(
            f"the references contradict every model of the family {best.family.name!r} "
            f"(p = {best.p_value:.2g}); the largest misfit is that of {worst.name} of "
            f"{worst.reference} ({worst.pull:+.1f} sigma): a geometry, a channel or the kind of "
            "explosion may be wrong"
        )
    few = [fit for fit in fits if fit.effective < FEW_SAMPLES and fit.weight[1] > 0.05]
    if few and best.prior.factor().shape[1]:
        found.append(
            f"only {few[0].effective:.0f} effective samples of the parameters of "
            f"{listing(fit.family.name for fit in few)}: their widths are rough"
        )
    return tuple(found)
