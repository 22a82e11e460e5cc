"""What each reference tells about each parameter, what stays open, and what would fix it.

By linear propagation at the best parameters: a reference adds J' S^-1 J to the precision of the
numbers of the prior, where J are the derivatives of its values and S is their covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.belief import Coordinate
from molexa_core.base.errors import MolexaError, listing
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import target_of_ions
from molexa_core.pipeline.calibration.likelihood import Noise, Problem
from molexa_core.pipeline.calibration.pairs import Observed, Pairs
from molexa_core.pipeline.calibration.parameter_search import Minimum
from molexa_core.pipeline.calibration.references import Reference

OPEN: Final = 0.7
"""A parameter whose width is at least this share of its prior is not determined."""
TIED: Final = 0.9
"""Parameters with a larger correlation are known only together."""
GASES: Final = (
    "nitrogen",
    "carbon monoxide",
    "oxygen",
    "water",
    "carbon dioxide",
    "methane",
    "ammonia",
    "nitrous oxide",
    "carbonyl sulfide",
    "sulfur dioxide",
    "acetylene",
    "ethylene",
    "carbon tetrafluoride",
    "methyl fluoride",
    "hydrogen chloride",
    "formaldehyde",
)
"""Molecules that are easily brought into a jet and of well-known geometry."""
EVENTS: Final = 2000
"""Coincidences of a further reference."""
SPREAD: Final = 0.05
"""Relative spread of the relative momenta of its events."""
WORTH: Final = 0.8
"""A further reference is named if it narrows a parameter at least to this share."""
_CHARGES: Final = {"H": 1.0}


@dataclass(frozen=True)
class Information:
    """What references tell. P parameters, R references.

    Attributes:
        prior: (P) standard deviations before, in coordinates.
        posterior: (P) after all references.
        alone: (R, P) after one reference alone.
        correlation: (P, P) of the parameters after all references; 0 for those known exactly.
    """

    prior: FloatArray
    posterior: FloatArray
    alone: FloatArray
    correlation: FloatArray

    def told(self) -> FloatArray:
        """(R, P) share of the variance of the prior that a reference alone takes away."""
        before = np.square(np.where(self.prior > 0, self.prior, 1.0))
        return np.asarray(np.where(self.prior > 0, 1.0 - np.square(self.alone) / before, 0.0))

    def undetermined(self) -> list[int]:
        """The parameters whose width hardly changed."""
        return [
            row
            for row, (before, after) in enumerate(zip(self.prior, self.posterior, strict=True))
            if before > 0 and after >= OPEN * before
        ]

    def notes(
        self,
        problem: Problem,
        minimum: Minimum,
        misfit: float,
        coordinates: Sequence[Coordinate],
        *,
        advise: bool = True,
    ) -> tuple[str, ...]:
        """Sentences on what the references cannot fix, and on what would.

        Args:
            problem: references and family.
            minimum: the best parameters.
            misfit: size of the misfit.
            coordinates: the parameters.
            advise: whether to look for further references.
        """
        found = []
        left = self.undetermined()
        if left:
            open_ones = listing(coordinates[i].meaning for i in left)
            found.append(f"not determined by these references: {open_ones}")
        tied = [
            (i, j)
            for i in range(len(self.prior))
            for j in range(i)
            if abs(self.correlation[i, j]) > TIED
        ]
        found += [
            f"{coordinates[j].meaning} and {coordinates[i].meaning} are known only together "
            f"(correlation {self.correlation[i, j]:+.2f})"
            for i, j in tied
        ]
        wanted = sorted({*left, *(i for pair in tied for i in pair)})
        if advise and wanted:
            found += self._advice(problem, minimum, misfit, coordinates, wanted)
        return tuple(found)

    def _advice(
        self,
        problem: Problem,
        minimum: Minimum,
        misfit: float,
        coordinates: Sequence[Coordinate],
        wanted: list[int],
    ) -> list[str]:
        """The further reference that narrows each of some parameters most, if any does."""
        noise = problem.noise(minimum.u)
        precision = _precision(minimum.slope, noise.covariance(misfit), problem.prior.size)
        factor = problem.prior.factor[0]
        best: dict[int, tuple[float, str]] = {}
        for name, ions in _candidates(problem):
            try:
                more = _expected(problem, minimum, misfit, name, ions)
            except MolexaError:
                continue
            width = _widths(factor, precision + more)
            for row in wanted:
                share = float(width[row] / self.posterior[row])
                if share < best.get(row, (WORTH, ""))[0]:
                    best[row] = (share, f"{name} ({listing(ions)})")
        by_name: dict[str, list[str]] = {}
        for row, (share, name) in best.items():
            text = f"{coordinates[row].meaning} to {100 * share:.0f} %"
            by_name.setdefault(name, []).append(text)
        return [
            f"{EVENTS} coincidences of {name} would narrow {listing(texts)} of the present width"
            for name, texts in by_name.items()
        ]


def information_of(problem: Problem, noise: Noise, minimum: Minimum, misfit: float) -> Information:
    """What each reference tells about the parameters of the experiment.

    Args:
        problem: references and family.
        noise: covariance of the residuals.
        minimum: the best parameters.
        misfit: size of the misfit.
    """
    size, factor = problem.prior.size, problem.prior.factor[0]
    whole = noise.covariance(misfit)
    alone = [
        _widths(factor, _precision(minimum.slope[part], whole[part, part], size))
        for part in problem.parts
    ]
    precision = _precision(minimum.slope, whole, size)
    covariance = factor @ np.linalg.inv(precision) @ factor.T
    width = np.sqrt(np.diag(covariance))
    scale = np.where(width > 0, width, 1.0)
    return Information(
        np.sqrt(np.square(factor).sum(axis=1)),
        width,
        np.array(alone),
        covariance / np.outer(scale, scale),
    )


def _precision(slope: FloatArray, covariance: FloatArray, size: int) -> FloatArray:
    return np.asarray(slope.T @ np.linalg.solve(covariance, slope) + np.eye(size))


def _widths(factor: FloatArray, precision: FloatArray) -> FloatArray:
    covariance = factor @ np.linalg.inv(precision) @ factor.T
    return np.sqrt(np.maximum(np.diag(covariance), 0.0))


def _candidates(problem: Problem) -> list[tuple[str, tuple[Ion, ...]]]:
    """Molecules that are no references yet, with charges like those of the references."""
    seen: dict[str, list[int]] = {}
    used = {reference.molecule for reference in problem.references}
    for reference in problem.references:
        for ion in reference.ions if isinstance(reference, Reference) else ():
            seen.setdefault(ion.element.symbol, []).append(ion.charge)
    heavy = [q for symbol, charges in seen.items() if symbol != "H" for q in charges]
    usual = float(np.mean(heavy)) if heavy else 2.0
    found = []
    for name in GASES:
        try:
            known = molecule(name)
        except MolexaError:
            continue
        if known.name in used:
            continue
        charges = [
            round(float(np.mean(seen[s])) if s in seen else _CHARGES.get(s, usual))
            for s in known.geometry.symbols
        ]
        ions = [
            parse_ion(f"{s}{max(q, 1)}+")
            for s, q in zip(known.geometry.symbols, charges, strict=True)
        ]
        found.append((known.name, tuple(ions)))
    return found


def _expected(
    problem: Problem, minimum: Minimum, misfit: float, name: str, ions: tuple[Ion, ...]
) -> FloatArray:
    """What a further reference under the conditions of the experiment would add to the precision.

    Raises:
        MolexaError: the family cannot explode it.
    """
    target = target_of_ions(ions, molecule(name), where=name)
    names = Pairs(ions).names
    nothing = Observed(names, np.zeros(len(names)), np.zeros((len(names), len(names))))
    further = Reference(name, name, ions, target, nothing)
    one = Problem.of(problem.family, problem.prior, [further])
    predicted, slope = one.with_derivatives(minimum.u[None])
    if not np.isfinite(slope).all():
        raise MolexaError(f"{name} cannot be exploded")
    found = one.evaluate(minimum.u[None])
    statistics = np.diag(np.square(SPREAD * predicted[0]) / EVENTS)
    covariance = statistics + found.known[0] + misfit**2 * found.relative[0]
    return np.asarray(slope[0].T @ np.linalg.solve(covariance, slope[0]))
