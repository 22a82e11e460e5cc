"""Reconstruct: from the posterior of geometry and explosion to what a record holds.

The answer is the draw in the middle of the best solution: the one whose interatomic distances are
nearest to their medians there. So it is a structure that explains the momenta, which a mean of
structures need not be. Every ± is half of the central 68 % interval of the weighted draws, all
solutions included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.errors import listing
from molexa_core.base.matter.ions import Ion
from molexa_core.base.matter.release import release_of
from molexa_core.base.numbers import percent
from molexa_core.base.settings import Calibrated
from molexa_core.base.tables import FloatArray, Geometry, ion_labels
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.geometry.plausibility import plausibility
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments, Hypothesis
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.misspecification import Misfit, misfit_at
from molexa_core.pipeline.inversion.posterior import CONTRADICTED, Mode, Posterior
from molexa_core.pipeline.inversion.problem import Problem
from molexa_core.pipeline.inversion.residuals import ChannelData, turns_onto
from molexa_core.pipeline.inversion.weighted_draws import (
    LEVEL,
    Summary,
    credible_intervals,
    summary,
)
from molexa_core.pipeline.reconstruction.channels import ChannelMomenta

SUSPECT: Final = 0.01
"""p-value below which what is assumed is said not to explain the momenta."""
FEW: Final = 20.0
"""Effective number of draws below which half-widths are not reliable: their own error is then
more than a quarter."""
OUTSIDE: Final = 2.0
"""Half-widths beyond which another structure lies outside the error bars."""
BEYOND: Final = 0.05
"""Share that normal errors leave beyond them; above it, others are a warning."""
LISTED: Final = 0.01
"""Share of the evidence from which on another solution is listed."""
KEPT: Final = 500
"""Number of draws that a record keeps."""
WEAK: Final = 0.03
"""Share of molecules of these atoms that would release as little energy as measured."""
_MOLECULES: Final = 300


@dataclass(frozen=True)
class Answer:
    """The structure, and what is known about it.

    Attributes:
        positions: (N, 3) bohr, centred, in the frame of the first channel.
        uncertainty: (N, 3) half-widths of 68 % intervals; None if there are too few draws.
        reason: why there are none.
        contradicted: whether it is that the momenta contradict the explosion.
        spread: (N, 3) standard deviation of the draws.
        samples: (n, N, 3) draws, each as likely as any other.
        mode: the solution that it belongs to.
        alternatives: the others, as they are recorded.
    """

    positions: FloatArray
    uncertainty: FloatArray | None
    reason: str | None
    contradicted: bool
    spread: FloatArray
    samples: FloatArray
    mode: Mode
    alternatives: tuple[dict[str, Any], ...]


def answer_of(posterior: Posterior, symbols: Sequence[str], *, seed: int) -> Answer:
    """The structure in the middle of the best solution."""
    inside = posterior.mode == 0
    weights = posterior.weights * inside
    distances = pair_distances(posterior.positions)
    middle = summary(distances[inside], weights[inside]).median
    far = np.where(weights > 0.0, np.square(distances - middle).sum(axis=1), np.inf)
    positions = posterior.positions[int(np.argmin(far))]
    positions = positions - positions.mean(axis=0)
    turned = posterior.positions @ np.swapaxes(turns_onto(positions, posterior.positions), 1, 2)
    turned = turned - turned.mean(axis=1, keepdims=True)
    flat = turned.reshape(len(turned), -1)
    mean = posterior.weights @ flat
    spread = np.sqrt(posterior.weights @ np.square(flat - mean)).reshape(positions.shape)
    half = summary(flat, posterior.weights).half_width.reshape(positions.shape)
    reason = unreliable(posterior)
    random = np.random.default_rng([seed, 3])
    drawn = random.choice(len(turned), size=min(KEPT, len(turned)), p=posterior.weights)
    return Answer(
        positions=positions,
        uncertainty=half if reason is None else None,
        reason=reason,
        contradicted=posterior.p_value < CONTRADICTED,
        spread=spread,
        samples=turned[drawn],
        mode=posterior.modes[0],
        alternatives=tuple(
            _alternative(mode, positions, symbols)
            for mode in posterior.modes[1:]
            if mode.share >= LISTED
        ),
    )


def unreliable(posterior: Posterior) -> str | None:
    """The reason why half-widths are not reliable, as a sentence; None if they are."""
    if posterior.p_value < CONTRADICTED:
        return (
            "no error bars: the explosion that is assumed does not explain the momenta (p-value "
            f"{posterior.p_value:.1g}); this is the structure that comes nearest"
        )
    if posterior.effective_samples >= FEW:
        return None
    return (
        f"no error bars: only {posterior.effective_samples:.0f} of the structures drawn count; "
        "what is not known about the explosion is too much to draw from reliably"
    )


def _alternative(mode: Mode, answer: FloatArray, symbols: Sequence[str]) -> dict[str, Any]:
    positions = mode.positions - mode.positions.mean(axis=0)
    positions = positions @ turns_onto(answer, positions[None])[0].T
    return {
        "positions_bohr": positions.tolist(),
        "residual": mode.closure,
        "explains_momenta": True,
        "evidence_share": mode.share,
        "chi_square": mode.chi_square,
        "objections": list(plausibility(Geometry(tuple(symbols), positions)).objections),
        "distance_from_answer_bohr": float(np.abs(positions - answer).mean()),
    }


def lengths_and_angles(
    posterior: Posterior, ions: Sequence[Ion]
) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """All distances (bohr) and angles (degrees) with their 68 % intervals, as they are recorded.

    `region` is the shortest set that holds 68 %: several intervals where there are twins, between
    which the middle of the central interval may be a value that nothing speaks for.
    """
    pairs, triplets = names_of(ions)
    reliable = unreliable(posterior) is None
    regions = posterior.distance_intervals() if reliable else None
    distances = _rows(pairs, posterior.distances(), regions)
    if not triplets:
        return distances, ()
    angles = summary(triplet_angles(posterior.positions), posterior.weights)
    return distances, _rows(triplets, angles, posterior.angle_intervals() if reliable else None)


def rows_of_draws(
    positions: FloatArray, weights: FloatArray, ions: Sequence[Ion], *, reliable: bool
) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """Distances and angles as `lengths_and_angles` gives them, from weighted draws alone.

    Args:
        positions: (n, N, 3) bohr.
        weights: (n) with sum one.
        ions: of the atoms.
        reliable: whether there are error bars.
    """
    pairs, triplets = names_of(ions)
    found = []
    for names, values, end in (
        (pairs, pair_distances(positions), np.inf),
        (triplets, triplet_angles(positions) if triplets else np.empty((len(positions), 0)), 180.0),
    ):
        regions = None
        if reliable:
            regions = [credible_intervals(one, weights, LEVEL, (0.0, end)) for one in values.T]
        found.append(_rows(names, summary(values, weights), regions) if names else ())
    return found[0], found[1]


def names_of(ions: Sequence[Ion]) -> tuple[list[str], list[str]]:
    """Pairs and triplets of the ions in words, in the order of `geometry.measures`."""
    labels = ion_labels(list(ions))
    count = len(labels)
    pairs = [f"{labels[i]}-{labels[j]}" for i, j in zip(*np.triu_indices(count, k=1), strict=True)]
    triplets = [
        f"{labels[i]}-{labels[vertex]}-{labels[j]}"
        for vertex in range(count)
        for i in range(count)
        for j in range(i + 1, count)
        if vertex not in (i, j)
    ]
    return pairs, triplets


def _rows(
    names: Sequence[str], found: Summary, regions: Sequence[Sequence[tuple[float, float]]] | None
) -> tuple[dict[str, Any], ...]:
    """Rows of a record; without regions there are no error bars."""
    reliable = regions is not None
    return tuple(
        {
            "of": name,
            "median": float(found.median[row]),
            "half_width": float(found.half_width[row]) if reliable else None,
            "low": float(found.low[row]) if reliable else None,
            "high": float(found.high[row]) if reliable else None,
            "region": None if regions is None else [list(part) for part in regions[row]],
        }
        for row, name in enumerate(names)
    )


def agreement(
    posterior: Posterior, knowledge: ExplosionKnowledge, channels: Sequence[ChannelMomenta]
) -> dict[str, Any]:
    """Whether the explosion that is assumed can give these momenta, as it is recorded."""
    count = len(knowledge.hypotheses)
    return _entry(posterior.misfit, channels) | {
        "effective_samples": posterior.effective_samples,
        "log_evidence": posterior.log_evidence,
        "hypotheses": [_hypothesis(posterior, knowledge, number) for number in range(count)],
    }


def agreement_of(
    positions: FloatArray, hypothesis: Hypothesis, channel: ChannelMomenta
) -> dict[str, Any]:
    """The same for (N, 3) positions in bohr that explain the momenta, without draws."""
    prior = GeometryPrior.of(channel.symbols)
    data = ChannelData(channel.measured(), gives_frame=True)
    problem = Problem(hypothesis.family, hypothesis.belief, [data], prior)
    none = np.zeros((1, problem.free))
    z = problem.join(problem.turned_onto_data(positions[None], none), none)[0]
    return _entry(misfit_at(problem, z), [channel])


def _entry(misfit: Misfit, channels: Sequence[ChannelMomenta]) -> dict[str, Any]:
    channel = channels[misfit.channel]
    length = float(np.linalg.norm(misfit.offset))
    return {
        "chi_square": misfit.chi_square,
        "degrees": misfit.degrees,
        "p_value": misfit.p_value,
        "worst": {
            "channel": channel.name,
            "ion": ion_labels(list(channel.ions))[misfit.ion],
            "direction": (misfit.offset / length).tolist() if length else [0.0, 0.0, 0.0],
            "excess_au": length,
            "sigma": misfit.significance,
        },
        "residuals_sigma": [residual.tolist() for residual in misfit.residuals],
    }


def _hypothesis(posterior: Posterior, knowledge: ExplosionKnowledge, number: int) -> dict[str, Any]:
    """One family: how probable it is, and its parameters before and after."""
    hypothesis = knowledge.hypotheses[number]
    rows = posterior.hypothesis == number
    share = float(posterior.weights[rows].sum())
    total = sum(one.weight for one in knowledge.hypotheses)
    drawn = share > 0.0 and posterior.effective_samples > 0.0
    after = posterior.parameter_summary(number) if drawn else None
    parameters = []
    for place, coordinate in enumerate(hypothesis.family.coordinates):
        before = _interval(
            coordinate,
            float(hypothesis.belief.mean[place]),
            float(hypothesis.belief.width[place]),
        )
        one: dict[str, Any] = {
            "name": coordinate.name,
            "meaning": coordinate.meaning,
            "unit": coordinate.unit,
            "before": before,
        }
        if after is not None:
            values = [after.low[place], after.median[place], after.high[place]]
            one["after"] = [float(value) for value in coordinate.values(np.array(values))]
        parameters.append(one)
    return {
        "family": hypothesis.family.name,
        "weight": hypothesis.weight / total,
        "probability": share,
        "parameters": parameters,
    }


def _interval(coordinate: Coordinate, mean: float, width: float) -> list[float]:
    """Lower limit, middle and upper limit of 68 %."""
    return [
        float(value) for value in coordinate.values(np.array([mean - width, mean, mean + width]))
    ]


def doubts_of_explosion(found: dict[str, Any]) -> list[str]:
    """A warning if what is assumed cannot give these momenta."""
    if found["p_value"] >= SUSPECT:
        return []
    worst = found["worst"]
    x, y, z = worst["direction"]
    so = "the structure and its error bars may not hold"
    if found["p_value"] < CONTRADICTED:
        so = "the structure does not hold"
    sentence = (
        "the explosion that is assumed does not explain these momenta (p-value "
        f"{found['p_value']:.1g}, chi-square {found['chi_square']:.1f} for {found['degrees']}): "
        f"{so}; {worst['ion']} in {worst['channel']} fits least: {worst['excess_au']:.3g} a.u. of "
        f"its momentum, along ({x:.2f}, {y:.2f}, {z:.2f}), are too much"
    )
    return [sentence]


def doubts_of_choice(
    positions: FloatArray,
    symbols: Sequence[str],
    alternatives: Sequence[dict[str, Any]],
    distances: Sequence[dict[str, Any]],
    *,
    chemistry: bool,
) -> list[str]:
    """Warnings if the answer is no usual molecule, or others lie outside its error bars.

    Args:
        positions: (N, 3) bohr, the answer.
        symbols: of the atoms.
        alternatives: the other solutions, as they are recorded.
        distances: interatomic distances with their half-widths, as they are recorded.
        chemistry: whether a structure like a molecule at rest is preferred.
    """
    own = pair_distances(positions[None])[0]
    half = np.array(
        [np.nan if row["half_width"] is None else row["half_width"] for row in distances]
    )
    apart = []
    for one in alternatives:
        other = pair_distances(np.array(one["positions_bohr"])[None])[0]
        if (np.abs(other - own) > OUTSIDE * half).any():
            apart.append(one)
    share = sum(one["evidence_share"] for one in apart)
    usual = [one for one in apart if not one["objections"]] if chemistry else []
    objections = plausibility(Geometry(tuple(symbols), positions)).objections if chemistry else ()
    found = []
    if objections:
        found.append(
            f"as a molecule at rest the structure is unusual: {listing(objections, limit=3)}"
        )
    if objections and usual:
        found.append(
            "this structure is unusual, and a usual one that lies outside its error bars explains "
            f"the momenta too, with {percent(sum(one['evidence_share'] for one in usual))} % of "
            "the evidence: a second channel, or what is known of the molecule, must decide"
        )
    elif share > BEYOND:
        count = f"{len(apart)} other structures" if len(apart) > 1 else "another structure"
        found.append(
            f"{count} outside the error bars of this one explain{'s' * (len(apart) == 1)} the "
            f"momenta too, with {percent(share)} % of the evidence: a second channel, or what "
            "is known of the molecule, must decide"
        )
    return found


def doubts_of_calibration(calibrated: Calibrated | None) -> list[str]:
    """A warning if the references of a calibration contradict its families."""
    if calibrated is None or calibrated.p_value is None or calibrated.p_value >= SUSPECT:
        return []
    sentence = (
        "the reference molecules of the calibration are not explained by its models (p-value "
        f"{calibrated.p_value:.1g}): error bars may be too small"
    )
    return [sentence]


def doubts_of_charges(channel: ChannelMomenta, knowledge: ExplosionKnowledge) -> list[str]:
    """A warning if the break-up of a channel is not one of point charges.

    Singly charged ions still feel the bonds that they leave: with a low energy, their momenta say
    more about these than about the geometry. Low is what hardly any molecule of these atoms, intact
    or stretched, would release in the explosion that is assumed.
    """
    if any(ion.charge > 1 for ion in channel.ions):
        return []
    release = release_of(channel.ions, channel.momenta)
    expected = _releases(channel, knowledge)
    if float((expected < release).mean()) > WEAK:
        return []
    sentence = (
        f"{channel.name} is not a Coulomb explosion: all charges are 1+, and {release:.3g} eV is "
        f"less than these charges would release (about {np.median(expected):.3g} eV); what is left "
        "of the bonds, which no model here contains, changes the momenta"
    )
    return [sentence]


def _releases(channel: ChannelMomenta, knowledge: ExplosionKnowledge) -> FloatArray:
    """Energies in eV that molecules of these atoms release, by all that is known beforehand."""
    random = np.random.default_rng(0)
    fragments, prior = Fragments.of(channel.ions), GeometryPrior.of(channel.symbols)
    total = sum(one.weight for one in knowledge.hypotheses)
    found = []
    for one in knowledge.hypotheses:
        count = round(_MOLECULES * one.weight / total)
        momenta = one.family.explode(
            fragments, prior.draw(random, count), one.belief.draw(random, count)
        )
        found += [release_of(channel.ions, each) for each in momenta if np.isfinite(each).all()]
    return np.array(found)
