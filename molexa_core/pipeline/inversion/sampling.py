"""Draws from the posterior of geometry and parameters, by randomize-then-optimize.

With the problem as a sum of squares |F(z)|^2 of m terms in n unknowns, and the orthonormal columns
Q of its Jacobian at a maximum, a draw is the solution z of

    Q' F(z) = e,   e standard normal (n),

and its density is q(z) = N(Q' F(z)) |det Q' J(z)| (J. M. Bardsley, A. Solonen, H. Haario, M. Laine,
SIAM J. Sci. Comput. 36, A1895 (2014)). So draws lie on the curved sheet of all geometries and
parameters that give the measured momenta, however narrow it is; where the problem is linear, they
are exact. Importance weights posterior / q make them exact elsewhere. Covariances of momenta are
those at z, and J contains how they change. If they change much, few draws count: see `adaptive`.

The map may have several branches: twins, geometries that give the same momenta. Each maximum gives
draws of its own branch. Where a draw can be reached from several maxima, the densities add up
(balance heuristic: E. Veach, L. J. Guibas, SIGGRAPH 419 (1995)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.pipeline.inversion.problem import Guide, Problem, shortening
from molexa_core.pipeline.inversion.residuals import Residuals

SOLVED: Final = 0.01
"""Largest component of Q' F - e of a solution, standard deviations."""
ITERATIONS: Final = 40
_CHORD: Final = 0.3
"""Contraction up to which derivatives are kept."""
_LEAST_STEP: Final = 1.0 / 64.0
HEAVY: Final = 1.0
"""Ln of a weight over the evidence from which on a point is not well covered by draws."""
SAME: Final = 0.03
"""Largest difference, bohr and standard deviations of parameters, of two points that are one."""
UNSETTLED: Final = 2.0
"""Most by which momenta are believed to fit better than where a search ended. Searches end where
nothing rises any more: beside a fold, squares of large residuals promise hundreds, and where the
size of the family's error is not known, the posterior does not follow them."""


@dataclass(frozen=True)
class Anchor:
    """A point on a branch of the posterior with what fixes the map of draws.

    Attributes:
        z: (n) unknowns.
        tree: (N - 1) pairs that are bonds there.
        range: (m, n) orthonormal columns Q.
        value: (n) Q' F(z).
        inverse: (n, n) of Q' J.
        root: (n, n) lower triangular root of the covariance of a normal distribution.
        log_evidence: ln of the integral of the posterior as of a normal distribution. Where the
            point is no maximum, what linear terms promise in beliefs counts, and little of what
            they promise in momenta (`UNSETTLED`).
        log_posterior: at the maximum.
        chi_square: of momenta and parameters there.
    """

    z: FloatArray
    tree: IntArray
    range: FloatArray
    value: FloatArray
    inverse: FloatArray
    root: FloatArray
    log_evidence: float
    log_posterior: float
    chi_square: float


@dataclass(frozen=True)
class Draws:
    """Weighted draws.

    Attributes:
        z: (n, size).
        log_weights: (n) ln of posterior over density of draws over their number: the sum of the
            weights is the evidence.
        anchor: (n) number of the maximum that each comes from.
    """

    z: FloatArray
    log_weights: FloatArray
    anchor: IntArray


def anchor_at(problem: Problem, z: FloatArray) -> Anchor | None:
    """The anchor at one point (size); None where the problem is singular."""
    row = z[None]
    found = problem.linearise(row)
    guide = problem.guide(row, found, problem.prior.tree(problem.split(row)[0][0]))
    value = problem.values(row, found, guide)[0]
    slope = (problem.jacobian(row, found, guide) + problem.by_whiteners(row, found, guide))[0]
    if not (np.isfinite(value).all() and np.isfinite(slope).all()):
        return None
    columns, triangle = np.linalg.qr(slope)
    diagonal = np.abs(np.diag(triangle))
    if diagonal.min() < 1e-10 * diagonal.max():
        return None
    inverse = np.linalg.inv(triangle)
    if not np.isfinite(inverse).all():
        return None
    log_posterior, chi_square = problem.log_posterior(row, found)
    gauss = 0.5 * len(z) * np.log(2.0 * np.pi) - np.log(diagonal).sum()
    promised = 0.5 * float(((columns.T @ value) ** 2).sum())
    momenta = sum(one.count for one in problem.channels)
    most = UNSETTLED + 0.5 * float((value[momenta:] ** 2).sum())
    return Anchor(
        z=z,
        tree=guide.tree,
        range=columns,
        value=columns.T @ value,
        inverse=inverse,
        root=root_of_square(inverse),
        log_evidence=float(log_posterior[0] + min(promised, most) + gauss),
        log_posterior=float(log_posterior[0]),
        chi_square=float(chi_square[0]),
    )


def root_of_square(matrix: FloatArray) -> FloatArray:
    """Lower triangular root, with a positive diagonal, of M M' and a little of its trace.

    From the triangle of M' itself: M M', whose eigenvalues may span more than rounding leaves of
    them, need not be positive definite in numbers.
    """
    ridge = 1e-7 * np.linalg.norm(matrix) * np.eye(len(matrix))
    triangle = np.linalg.qr(np.concatenate([matrix.T, ridge]))[1]
    sign = np.where(np.diag(triangle) < 0.0, -1.0, 1.0)
    return np.asarray((sign[:, None] * triangle).T)


def transport(
    problem: Problem, anchor: Anchor, targets: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Solve Q' F(z) = e from the anchor (damped Newton steps, natural monotonicity test).

    The test compares steps, not residuals, which any curvature makes large where errors are small
    (P. Deuflhard, Newton Methods for Nonlinear Problems, Springer (2004), section 3.3).

    Args:
        problem: for one family.
        anchor: a maximum.
        targets: (n, size) e.

    Returns:
        (n, size) solutions, and (n) whether one was found.
    """
    n = len(targets)
    z = np.repeat(anchor.z[None], n, axis=0)
    inverse = np.repeat(anchor.inverse[None], n, axis=0)
    step = (targets - anchor.value) @ anchor.inverse.T
    damping, fresh = np.ones(n), np.ones(n, dtype=bool)
    solved, failed = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    misfit = anchor.value - targets
    for _ in range(ITERATIONS):
        interruption.check()
        rows = np.flatnonzero(~(solved | failed))
        if not len(rows):
            break
        length = shortening(problem, step[rows])[:, 0] * damping[rows]
        trial = z[rows] + length[:, None] * step[rows]
        left = projected(problem, anchor, trial, problem.compare(trial)) - targets[rows]
        following = -np.einsum("nij,nj->ni", inverse[rows], left)
        with np.errstate(all="ignore"):
            ratio = np.linalg.norm(following, axis=1) / np.linalg.norm(step[rows], axis=1)
            small = np.abs(left).max(axis=1) < SOLVED
            good = small | (ratio <= 1.0 - 0.25 * length)
        accepted = rows[good]
        z[accepted], misfit[accepted] = trial[good], left[good]
        solved[rows[small]] = True
        keep = good & ~small & (ratio < _CHORD) & (length == 1.0)
        step[rows[keep]], fresh[rows[keep]] = following[keep], False
        renew = good & ~small & ~keep
        damping[rows[renew]] = np.minimum(1.0, 2.0 * damping[rows[renew]])
        stale = ~good & ~fresh[rows]
        damping[rows[stale]] = 1.0
        shorter = ~good & fresh[rows]
        damping[rows[shorter]] *= 0.25
        failed[rows] |= damping[rows] < _LEAST_STEP
        again = rows[renew | stale]
        if len(again):
            moved = problem.linearise(z[again])
            guide = problem.guide(z[again], moved, anchor.tree)
            matrix = anchor.range.T @ problem.jacobian(z[again], moved, guide)
            usable = np.isfinite(np.linalg.slogdet(matrix)[1])
            failed[again[~usable]] = True
            again, matrix = again[usable], matrix[usable]
            inverse[again] = np.linalg.inv(matrix)
            step[again] = -np.einsum("nij,nj->ni", inverse[again], misfit[again])
            fresh[again] = True
    return z, solved


def draw(
    problem: Problem, anchors: Sequence[Anchor], counts: Sequence[int], random: np.random.Generator
) -> Draws:
    """Weighted draws from all anchors; those without a solution count with weight zero.

    Args:
        problem: for one family.
        anchors: maxima, of different branches.
        counts: number of draws from each.
        random: source of random numbers.
    """
    total = sum(counts)
    z, origin = np.empty((0, problem.size)), np.empty(0, dtype=np.int64)
    for number, (anchor, count) in enumerate(zip(anchors, counts, strict=True)):
        solution, solved = transport(problem, anchor, random.standard_normal((count, problem.size)))
        z = np.concatenate([z, solution[solved]])
        origin = np.concatenate([origin, np.full(int(solved.sum()), number)])
    if not len(z):
        return Draws(z, np.empty(0), origin)
    found = problem.linearise(z)
    whiteners, _ = problem.whiteners(z, found)
    change: FloatArray | None = None
    density = np.full((len(z), len(anchors)), -np.inf)
    for number, (anchor, count) in enumerate(zip(anchors, counts, strict=True)):
        if not count:
            continue
        guide = Guide(whiteners, anchor.tree)
        if change is None:
            change = problem.by_whiteners(z, found, guide)
        target = problem.values(z, found, guide) @ anchor.range
        slope = anchor.range.T @ (problem.jacobian(z, found, guide) + change)
        with np.errstate(all="ignore"):
            density[:, number] = np.log(count / total) + _log_density(target, slope)
        others = np.flatnonzero(origin != number)
        if len(others):
            back, solved = transport(problem, anchor, target[others])
            same = solved & (np.abs(back - z[others]).max(axis=1) < SAME)
            density[others[~same], number] = -np.inf
    with np.errstate(all="ignore"):
        log_weights = (
            problem.log_posterior(z, found)[0]
            - np.logaddexp.reduce(density, axis=1)
            - np.log(total)
        )
    return Draws(z, np.where(np.isfinite(log_weights), log_weights, -np.inf), origin)


def branches(problem: Problem, points: FloatArray, most: int) -> list[Anchor]:
    """Anchors of different branches, best first.

    A point that can be reached from a better one belongs to its branch; it is kept nevertheless
    where the draws from there would be too rare.

    Args:
        problem: for one family.
        points: (n, size), best first.
        most: largest number of anchors.
    """
    anchors: list[Anchor] = []
    left = points
    while len(left) and len(anchors) < most:
        anchor = anchor_at(problem, left[0])
        left = left[1:]
        if anchor is None:
            continue
        anchors.append(anchor)
        if not len(left):
            break
        found = problem.linearise(left)
        guide = problem.guide(left, found, anchor.tree)
        targets = problem.values(left, found, guide) @ anchor.range
        usable: BoolArray = np.asarray(np.isfinite(targets).all(axis=1))
        reached, solved = transport(problem, anchor, np.where(usable[:, None], targets, 0.0))
        same = usable & solved & (np.abs(reached - left).max(axis=1) < SAME)
        slope = anchor.range.T @ np.nan_to_num(problem.jacobian(left, found, guide))
        with np.errstate(all="ignore"):
            weight = problem.log_posterior(left, found)[0] - _log_density(targets, slope)
        covered: BoolArray = np.asarray(same & ~(weight > anchor.log_evidence + HEAVY))
        left = left[usable & ~covered]
    return anchors


def _log_density(targets: FloatArray, slopes: FloatArray) -> FloatArray:
    """(n) ln of N(Q' F) |det Q' J|."""
    size = targets.shape[1]
    volume = np.linalg.slogdet(slopes)[1]
    return np.asarray(volume - 0.5 * ((targets**2).sum(axis=1) + size * np.log(2.0 * np.pi)))


def projected(
    problem: Problem, anchor: Anchor, z: FloatArray, found: Sequence[Residuals]
) -> FloatArray:
    """(n, size) Q' F(z)."""
    guide = problem.guide(z, found, anchor.tree)
    return np.asarray(problem.values(z, found, guide) @ anchor.range)
