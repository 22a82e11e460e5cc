"""Solutions: all structures found whose explosion gives the measured momenta.

The map from geometry to momenta is not one-to-one: half of all random molecules share their momenta
with another geometry. The samples of the network are grouped and refined on the classical model;
they converge to such solutions. The momenta alone cannot distinguish between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import BoolArray, FloatArray, Geometry
from molexa_core.geometry.plausibility import plausibility
from molexa_core.network.inference.refinement import refine
from molexa_core.physics.coulomb.batches import far_shape, linearised_map, momentum_map
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import ROUGH

SAME_START: Final = 0.15
"""Samples that differ by less than this in every coordinate, bohr, are refined as one."""
SAME_SOLUTION: Final = 0.05
"""Refined structures that differ by less than this in every coordinate, bohr, are one solution."""
EXACT: Final = 1e-3
"""Closure residual up to which momenta without errors count as explained. This share of the rms
momentum is also the smallest error of a component: some components are zero by the choice of frame,
without any error, and would prevent the others from converging."""
SIGMAS: Final = 3.0
"""Largest misfit in standard errors (rms) up to which momenta with errors count as explained."""
LEAST_WIDTH: Final = 0.05
"""Smallest width, bohr, within which a structure may move from its sample if momenta are noisy."""


@dataclass(frozen=True)
class Solution:
    """One structure to which a group of samples converged.

    Attributes:
        positions: (N, 3) bohr, centred.
        residual: closure: rms misfit of the momenta over their rms.
        explains: whether the momenta are explained within their errors (or to `EXACT`).
        share: share of the samples that converged to it.
        sample: the sample from which it was refined; None if the search found it.
        objections: reasons why it is chemically implausible (`geometry.plausibility`).
        scatter: (N, 3) standard errors from those of the momenta, bohr; zero without errors.
    """

    positions: FloatArray
    residual: float
    explains: bool
    share: float
    sample: int | None
    objections: tuple[str, ...]
    scatter: FloatArray

    @property
    def plausible(self) -> bool:
        """Whether the structure is chemically plausible."""
        return not self.objections

    def to_dict(self, answer: FloatArray) -> dict[str, Any]:
        """Plain values by name, with the distance from the answer."""
        return {
            "positions_bohr": self.positions.tolist(),
            "residual": self.residual,
            "explains_momenta": self.explains,
            "share_of_samples": self.share,
            "objections": list(self.objections),
            "distance_from_answer_bohr": float(np.abs(self.positions - answer).mean()),
        }


def solutions(
    samples: FloatArray,
    ions: Sequence[Ion],
    momenta: FloatArray,
    *,
    errors: FloatArray | None = None,
    width: FloatArray | None = None,
    tau_fs: float,
    refined: bool = True,
    search: int = 0,
    seed: int = 0,
    chemistry: bool = True,
) -> list[Solution]:
    """Group and refine samples to solutions, best first.

    Args:
        samples: (samples, N, 3) bohr in the frame of the momenta.
        ions: (N) atomic ions.
        momenta: (N, 3) a.u. with sum zero.
        errors: (N, 3) standard errors of the momenta, None if not known.
        width: (samples, N, 3) expected errors of the samples, bohr: with noisy momenta they
            determine the weight of the sample relative to the momenta.
        tau_fs: window of the charge build-up of the classical model.
        refined: whether to refine; otherwise samples are only grouped.
        search: number of further starts, for structures that the network does not draw; only
            solutions that explain the momenta are kept.
        seed: of those starts.
        chemistry: whether chemically plausible solutions come first.

    Returns:
        Sorted: solutions that explain the momenta first; then, if requested, chemically plausible
        ones first; then by share of the samples; then by residual.

    Raises:
        UsageError: no samples.
    """
    if not len(samples):
        raise UsageError("no samples to gather", do="Ask for at least one.")
    errors = None if errors is None else _with_smallest_error(errors, momenta)
    charges = np.array([float(ion.charge) for ion in ions])
    masses = np.array([ion.mass for ion in ions])
    centred = samples - samples.mean(axis=1, keepdims=True)
    groups = _groups(centred, SAME_START)
    starts = centred[[group[0] for group in groups]]
    if refined and search:
        starts = np.concatenate([starts, further_starts(starts, momenta, masses, search, seed)])
        groups += [[] for _ in range(search)]
    rise = ErrorFunctionRise(tau_fs)
    forward = momentum_map(charges, masses, build_up=rise, accuracy="draft")
    positions, scatter = starts, np.zeros_like(starts)
    if not refined:
        exploded = forward(positions)
    else:
        spread = None if errors is None or width is None else _widths(width, groups)
        rough = linearised_map(charges, masses, build_up=rise, accuracy=ROUGH)
        result = refine(forward, starts, momenta, sigma=errors, width=spread, linearised=rough)
        positions, exploded = result.positions, result.momenta
        if result.covariance is not None:
            variance = np.diagonal(result.covariance, axis1=1, axis2=2)
            scatter = np.sqrt(np.maximum(variance, 0.0)).reshape(starts.shape)
    residual, explains = _closure(exploded - momenta, momenta, errors)
    candidates = []
    for same in _groups(positions, SAME_SOLUTION):
        best = min(same, key=lambda index: (not groups[index], residual[index]))
        if not groups[best] and not explains[best]:
            continue
        members = sum(len(groups[index]) for index in same)
        geometry = Geometry(tuple(ion.element.symbol for ion in ions), positions[best])
        candidates.append(
            Solution(
                positions=positions[best],
                residual=float(residual[best]),
                explains=bool(explains[best]),
                share=members / len(samples),
                sample=groups[best][0] if groups[best] else None,
                objections=plausibility(geometry).objections,
                scatter=scatter[best],
            )
        )
    return ranked(candidates, chemistry=chemistry)


def ranked(found: Sequence[Solution], *, chemistry: bool) -> list[Solution]:
    """Solutions sorted as in `solutions`, best first."""
    return sorted(
        found,
        key=lambda solution: (
            not solution.explains,
            chemistry and not solution.plausible,
            -solution.share,
            solution.residual,
        ),
    )


def _widths(width: FloatArray, groups: list[list[int]]) -> FloatArray:
    """(groups, N, 3) widths within which starts may move, from the error estimate."""
    spread = np.maximum(width[[group[0] if group else 0 for group in groups]], LEAST_WIDTH)
    # Starts that do not come from a sample must not restrict their solution.
    spread[[not group for group in groups]] = np.inf
    return np.asarray(spread)


def further_starts(
    centres: FloatArray, momenta: FloatArray, masses: FloatArray, count: int, seed: int
) -> FloatArray:
    """Starts for structures that the network does not draw.

    In turns near a sample, far from one, and along the momenta.

    Args:
        centres: (n, N, 3) bohr, samples of the network.
        momenta: (N, 3) a.u.
        masses: (N) electron masses.
        count: their number.
        seed: of the draws.

    Returns:
        (count, N, 3) bohr, centred.
    """
    generator = np.random.default_rng([seed, 2])
    size = float(np.sqrt((centres**2).sum(axis=2).mean()))
    away = far_shape(momenta, masses)
    starts = []
    for number in range(count):
        noise = generator.standard_normal(momenta.shape)
        centre = centres[generator.integers(len(centres))]
        stretch = np.exp(0.3 * generator.standard_normal())
        kind = number % 3
        if kind == 0:
            starts.append(centre + 0.7 * noise)
        elif kind == 1:
            starts.append(centre + 1.5 * noise)
        else:
            starts.append(size * stretch * away + 0.5 * noise)
    all_starts = np.stack(starts)
    return np.asarray(all_starts - all_starts.mean(axis=1, keepdims=True))


def _with_smallest_error(errors: FloatArray, momenta: FloatArray) -> FloatArray:
    """Errors of the momenta, with `EXACT` times the rms momentum added in quadrature."""
    return np.asarray(np.hypot(errors, EXACT * np.sqrt((momenta**2).mean())))


def _closure(
    misfit: FloatArray, momenta: FloatArray, errors: FloatArray | None
) -> tuple[FloatArray, BoolArray]:
    """(n) closure residuals, and (n) whether the momenta are explained."""
    residual = np.sqrt((misfit**2).sum(axis=(1, 2)) / (momenta**2).sum())
    residual[~np.isfinite(residual)] = np.inf
    explains = residual <= EXACT
    if errors is not None:
        explains |= np.sqrt(((misfit / errors) ** 2).mean(axis=(1, 2))) <= SIGMAS
    return residual, explains


def _groups(positions: FloatArray, distance: float) -> list[list[int]]:
    """Groups of indices: each centre is the first that is not within `distance` of earlier ones."""
    groups: list[list[int]] = []
    for index, position in enumerate(positions):
        for group in groups:
            if np.abs(positions[group[0]] - position).max() < distance:
                group.append(index)
                break
        else:
            groups.append([index])
    return groups
