"""Whether the model of the explosion, with everything that is believed, can give these momenta.

The least sum of squares over geometries and parameters,

    chi2 = min over z of  sum r' C^-1 r + u'u + sum of (ln bond / radii - centre)^2 / width^2,

has the chi-square distribution if momenta, parameters and bond lengths are as believed and the
error of the family is exactly known; exactly so where the model is nearly linear over its
uncertainties. Where the size of that error is not known, C is the one claimed, and chi2 has the
distribution of a sum of squares whose terms have the covariance of C for another size, averaged
over the sizes (`error_size.SumOfSquares`). Its degrees of freedom are terms less
unknowns: with one channel the N - 1 bond lengths are all that can disagree, and each further
channel adds 3 N - 6. Where it is too large, the ion is named whose momentum, changed by no more
than its own size, would remove most of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.error_size import Block, SumOfSquares
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.problem import Guide, Problem, whitened
from molexa_core.pipeline.inversion.residuals import Residuals, whitening

_STEPS: Final = 40
LEAST_MOMENTUM: Final = 0.1
"""Share of the rms momentum of the ions by which any momentum may be changed, also that of an ion
that hardly moves."""


@dataclass(frozen=True)
class Misfit:
    """How well momenta and beliefs agree at the best point.

    Attributes:
        chi_square: least sum of squares.
        degrees: of freedom.
        p_value: probability of a larger one if all is as believed.
        residuals: of each channel, (N, 3) measured less model in its frame, standard deviations.
        pulls: (P) parameters less what was believed, standard deviations; 0 for exact ones.
        channel, ion: where the largest single disagreement is, numbered from 0.
        offset: (3) momentum in a.u., in the frame of the channel, that this ion was measured to
            have in addition to one that fits best, if all else follows linearly. Of all changes no
            longer than the momentum itself (`LEAST_MOMENTUM`), the one with the least chi-square;
            along what the geometry follows, no change says anything.
        significance: root of the fall of chi-square by this change; so never more than the root of
            chi-square.
    """

    chi_square: float
    degrees: int
    p_value: float
    residuals: tuple[FloatArray, ...]
    pulls: FloatArray
    channel: int
    ion: int
    offset: FloatArray
    significance: float


def misfit_at(problem: Problem, z: FloatArray, prior: GeometryPrior | None = None) -> Misfit:
    """The misfit at the minimum next to one point.

    Args:
        problem: for one family.
        z: (size) start.
        prior: of bond lengths; that of the problem where not given.
    """
    prior = prior or problem.prior
    z, value, slope, found, covariances = _minimum(problem, z, prior)
    degrees = len(value) - problem.size
    chi_square = float((value**2).sum())
    residuals = []
    for channel, one, covariance in zip(problem.channels, found, covariances, strict=True):
        spread = np.sqrt(np.diag(channel.basis @ covariance[0] @ channel.basis.T))
        momenta = -channel.in_space(one.values)[0]
        residuals.append(momenta / np.maximum(spread.reshape(-1, 3), 1e-300))
    u = z[problem.coordinates :]
    width = np.maximum(problem.belief.width, 1e-300)
    channel_number, ion, offset, significance = _worst(problem, value, slope, covariances)
    return Misfit(
        chi_square=chi_square,
        degrees=degrees,
        p_value=_p_value(problem, chi_square, slope, covariances) if degrees else 1.0,
        residuals=tuple(residuals),
        pulls=np.where(problem.belief.width > 0.0, problem.factor @ u / width, 0.0),
        channel=channel_number,
        ion=ion,
        offset=offset,
        significance=significance,
    )


def _p_value(
    problem: Problem, chi_square: float, slope: FloatArray, covariances: list[FloatArray]
) -> float:
    """Probability of a larger least sum of squares: of the terms that no unknown follows."""
    columns = np.linalg.qr(slope, mode="complete")[0]
    blocks, first = [], 0
    for channel, covariance in zip(problem.channels, covariances, strict=True):
        white = whitening(covariance)[0][0]
        share = white @ (covariance[0] - channel.noise) @ white.T
        blocks.append(Block(slice(first, first + channel.count), share, problem.error_size))
        first += channel.count
    left = columns[:, problem.size :].T
    return float(SumOfSquares(left, blocks).exceeded(chi_square))


def _minimum(
    problem: Problem, z: FloatArray, prior: GeometryPrior
) -> tuple[FloatArray, FloatArray, FloatArray, list[Residuals], list[FloatArray]]:
    """The minimum (size), F (m), its derivatives (m, size), residuals and covariances there."""
    damping = 1e-6
    best = _terms(problem, z, prior)
    for _ in range(_STEPS):
        value, slope = best[0], best[1]
        normal = slope.T @ slope
        ridge = damping * np.diag(np.diag(normal)) + 1e-13 * np.trace(normal) * np.eye(len(z))
        step = -np.linalg.solve(normal + ridge, slope.T @ value)
        step *= min(1.0, 1.0 / max(float(np.abs(step).max()), 1e-300))
        expected = float(value @ value - ((value + slope @ step) ** 2).sum())
        trial = _terms(problem, z + step, prior)
        if trial[0] @ trial[0] <= value @ value:
            z, best, damping = z + step, trial, damping * 0.1
            if expected < 1e-4:
                break
        else:
            damping = max(damping * 30.0, 1e-6)
            if damping > 1e6:
                break
    return z, *best


def _terms(
    problem: Problem, z: FloatArray, prior: GeometryPrior
) -> tuple[FloatArray, FloatArray, list[Residuals], list[FloatArray]]:
    row = z[None]
    found = problem.linearise(row)
    covariances = problem.covariances(row, found)
    x = problem.split(row)[0]
    guide = Guide(tuple(whitening(one)[0] for one in covariances), prior.tree(x[0]))
    moving = problem.by_whiteners(row, found, guide, everywhere=True)
    slope = (problem.jacobian(row, found, guide) + moving)[0]
    value = np.concatenate(
        [whitened(white, one.values)[0] for white, one in zip(guide.whiteners, found, strict=True)]
        + [z[problem.coordinates :], prior.bond_residuals(x, guide.tree)[0][0]]
    )
    bonds = prior.bond_residuals(x, guide.tree)[1][0] @ problem.basis
    slope[len(slope) - len(bonds) :, : problem.coordinates] = bonds
    return np.nan_to_num(value, nan=1e150, posinf=1e150), np.nan_to_num(slope), found, covariances


def _worst(
    problem: Problem, value: FloatArray, slope: FloatArray, covariances: list[FloatArray]
) -> tuple[int, int, FloatArray, float]:
    """Channel, ion, its excess momentum, and the root of the fall of chi-square without it."""
    columns = np.linalg.qr(slope)[0]
    # What no geometry and parameters can follow: all of the value, at the very minimum.
    left = value - columns @ (columns.T @ value)
    best: tuple[int, int, FloatArray, float] = (0, 0, np.zeros(3), 0.0)
    first = 0
    for number, (channel, covariance) in enumerate(zip(problem.channels, covariances, strict=True)):
        rows = slice(first, first + channel.count)
        first += channel.count
        white = whitening(covariance)[0][0]
        lengths = np.linalg.norm(channel.measured, axis=1)
        lengths = np.maximum(lengths, LEAST_MOMENTUM * float(np.sqrt((lengths**2).mean())))
        for ion, length in enumerate(lengths):
            moved = white @ channel.basis[3 * ion : 3 * ion + 3].T
            change = -columns @ (columns[rows].T @ moved)
            change[rows] += moved
            offset = _within(change, left, float(length))
            after = left - change @ offset
            fall = float(left @ left - after @ after)
            if fall > best[3] ** 2:
                best = (number, ion, -offset, float(np.sqrt(fall)))
    return best


def _within(change: FloatArray, left: FloatArray, longest: float) -> FloatArray:
    """(K) x no longer than `longest` with the least |left - change x|, from (m, K) and (m).

    x = (A'A + c)^-1 A'b, where c gives the length on the boundary (J. J. Moré, D. C. Sorensen,
    SIAM J. Sci. Stat. Comput. 4, 553 (1983)). It is never below one over `longest` squared: along
    what changes the residuals by less than one standard deviation, nothing is said.
    """
    ways, sizes, turn = np.linalg.svd(change, full_matrices=False)
    along = ways.T @ left * sizes

    def at(added: float) -> FloatArray:
        return np.asarray(turn.T @ (along / (sizes**2 + added)))

    low = 1.0 / longest**2
    if float(np.linalg.norm(at(low))) <= longest:
        return at(low)
    high = max(float(np.linalg.norm(along)) / longest, low)
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if np.linalg.norm(at(middle)) > longest else (low, middle)
    return at(high)
