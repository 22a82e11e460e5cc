"""How the atoms of references deviate from the family, for explosions of the same molecules.

Predictions move by C v with the deviations v of the elements of a molecule
(`physics.family.atom_deviations`), which are standard normal numbers in each channel, alike in two
channels as far as their pulses and charges are. The covariance A of residuals r contains them; at
fixed parameters they are

    v = K C' A^-1 r  +-  K - K C' A^-1 C K,

K being what is known of them before. Over the samples of the parameters this is a line, whose slope
says how deviations and parameters go together, and a scatter about it. References that deviate
alike tell less about the parameters than as many others: samples are weighed anew with the
correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.atom_deviations import (
    Deviating,
    charge_alikeness,
    charges_of_kinds,
    kinds_of,
    moved_by_kinds,
)
from molexa_core.physics.family.laser_family import LaserFamily, laser_correlation
from molexa_core.pipeline.calibration.likelihood import AnyReference, Problem
from molexa_core.pipeline.calibration.parameter_search import Samples
from molexa_core.pipeline.calibration.prior import alikeness
from molexa_core.pipeline.calibration.references import Reference

SAMPLES: Final = 800
"""Samples of the parameters at which deviations are computed."""


@dataclass(frozen=True)
class AtomDeviations:
    """What L channels of one molecule say of its atoms. E elements, M numbers of each channel.

    Attributes:
        molecule: its name.
        elements, counts: (E) of the molecule.
        conditions: (L) number of the condition of each channel.
        charges: (L, E) mean charges of the elements.
        mean: (L M) of the deviations, standard deviations of the family.
        along: (L M, C P) change with the parameters at all conditions.
        covariance: (L M, L M) at fixed parameters.
    """

    molecule: str
    elements: tuple[str, ...]
    counts: tuple[int, ...]
    conditions: tuple[int, ...]
    charges: FloatArray
    mean: FloatArray
    along: FloatArray
    covariance: FloatArray


def pulse_alikeness(family: object, distances: FloatArray) -> FloatArray:
    """Correlation of deviations in pulses at distances in ln of their conditions.

    In lasers that of the energies of one molecule (`laser_family.laser_correlation`).
    """
    if isinstance(family, LaserFamily):
        return laser_correlation(np.exp(distances), 1.0)
    return alikeness(distances)


def deviations_of(
    problem: Problem,
    samples: Samples,
    misfit: float,
    references: Sequence[AnyReference],
    distances: FloatArray,
    *,
    seed: int,
) -> tuple[tuple[AtomDeviations, ...], FloatArray, FloatArray]:
    """The deviations of the atoms of all molecules, and samples of the parameters with them.

    Args:
        problem: references and family.
        samples: of the parameters.
        misfit: size of the misfit.
        references: measured channels.
        distances: (C, C) of the conditions in ln.
        seed: of the choice of samples.

    Returns:
        Of each molecule; (s, K) samples, and their (s) weights. Nothing and the samples as they
        were if the family says nothing of single atoms.
    """
    family = problem.family
    groups = _groups(references) if isinstance(family, Deviating) else {}
    if not groups or not isinstance(family, Deviating):
        return (), samples.u, samples.weight
    random = np.random.default_rng([seed, 3])
    places = (np.arange(SAMPLES) + random.random()) / SAMPLES
    rows, times = np.unique(
        np.searchsorted(np.cumsum(samples.weight), places).clip(max=len(samples.u) - 1),
        return_counts=True,
    )
    u = samples.u[rows]
    evaluated = problem.evaluate(u)
    known, relative = evaluated.known, evaluated.relative
    left = problem.measured - evaluated.values
    usable = np.isfinite(left).all(axis=1) & np.isfinite(known + relative).all(axis=(1, 2))
    u, times, left = u[usable], times[usable], left[usable]
    known, relative = known[usable], misfit**2 * relative[usable]
    parameters = problem.prior.coordinates(u)
    slopes: dict[int, FloatArray] = {}
    for number, one in enumerate(references):
        if isinstance(one, Reference):
            at = parameters[:, one.condition]
            rest = np.repeat(one.target.positions[None], len(at), axis=0)
            moves = moved_by_kinds(family, one.fragments, rest, at)
            slopes[number] = one.by_moves(family, at, moves)[1]
    priors = {
        key: pulse_alikeness(
            family, distances[np.ix_(*[[references[n].condition for n in group]] * 2)]
        )
        * charge_alikeness(_charges(references, group))
        for key, group in groups.items()
    }
    whole = _together(problem, known, slopes, groups, priors) + relative
    changed = _log_normal(left, whole) - _log_normal(left, known + relative)
    weight = times * np.exp(changed - changed.max())
    weight = weight / weight.sum()
    solved = np.linalg.solve(whole, left[:, :, None])[:, :, 0]
    flat = parameters.reshape(len(u), -1)
    found = []
    for key, group in groups.items():
        c = _of_group(problem, slopes, group)
        prior = np.kron(priors[key], np.eye(c.shape[2] // len(group)))
        expected = np.einsum("km,snm,sn->sk", prior, c, solved)
        through = c @ prior
        inside = prior - through.transpose(0, 2, 1) @ np.linalg.solve(whole, through)
        mean = weight @ expected
        away, moved = expected - mean, flat - weight @ flat
        spread = (weight[:, None] * moved).T @ moved
        along = (weight[:, None] * away).T @ moved @ np.linalg.pinv(spread, 1e-9, hermitian=True)
        off = away - moved @ along.T
        covariance = np.einsum("s,sij->ij", weight, inside) + (weight[:, None] * off).T @ off
        elements, counts = kinds_of(key[1])
        conditions = tuple(references[n].condition for n in group)
        found.append(
            AtomDeviations(
                *(key[0], elements, counts, conditions, _charges(references, group)),
                *(mean, along, 0.5 * (covariance + covariance.T)),
            )
        )
    return tuple(found), u, weight


def _groups(references: Sequence[AnyReference]) -> dict[tuple[str, tuple[str, ...]], list[int]]:
    """Numbers of the references of each molecule with more than one element."""
    found: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for number, one in enumerate(references):
        if isinstance(one, Reference) and len(set(one.fragments.symbols)) > 1:
            key = one.molecule, tuple(sorted(one.fragments.symbols))
            found.setdefault(key, []).append(number)
    return found


def _charges(references: Sequence[AnyReference], group: Sequence[int]) -> FloatArray:
    every = [references[number] for number in group]
    return np.stack(
        [charges_of_kinds(one.fragments) for one in every if isinstance(one, Reference)]
    )


def _of_group(problem: Problem, slopes: dict[int, FloatArray], group: Sequence[int]) -> FloatArray:
    """(s, n, L M) change of all predictions with the deviations of one molecule."""
    first = slopes[group[0]]
    size = first.shape[2]
    found = np.zeros((len(first), len(problem.offset), len(group) * size))
    for column, number in enumerate(group):
        found[:, problem.parts[number], column * size : (column + 1) * size] = slopes[number]
    return found


def _together(
    problem: Problem,
    known: FloatArray,
    slopes: dict[int, FloatArray],
    groups: dict[tuple[str, tuple[str, ...]], list[int]],
    priors: dict[tuple[str, tuple[str, ...]], FloatArray],
) -> FloatArray:
    """(s, n, n) covariance with deviations that are alike in the channels of a molecule."""
    whole = known.copy()
    for key, group in groups.items():
        if len(group) == 1:
            continue
        for number in group:
            part = problem.parts[number]
            own = known[:, part, part] - slopes[number] @ slopes[number].transpose(0, 2, 1)
            size, ways = np.linalg.eigh(own)
            size = np.maximum(
                size, 1e-9 * np.trace(known[:, part, part], axis1=1, axis2=2)[:, None]
            )
            whole[:, part, part] = ways * size[:, None, :] @ ways.transpose(0, 2, 1)
        c = _of_group(problem, slopes, group)
        prior = np.kron(priors[key], np.eye(c.shape[2] // len(group)))
        whole += c @ prior @ c.transpose(0, 2, 1)
    return whole


def _log_normal(left: FloatArray, covariance: FloatArray) -> FloatArray:
    """(s) ln of normal densities, up to a constant."""
    solved = np.linalg.solve(covariance, left[:, :, None])[:, :, 0]
    return np.asarray(-0.5 * (left * solved).sum(axis=1) - 0.5 * np.linalg.slogdet(covariance)[1])
