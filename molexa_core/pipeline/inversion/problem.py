"""One family of explosions, the channels and the priors as a problem of least squares.

The unknowns z are the positions, 3 N - 3 coordinates without translations in the frame of the first
channel, and k standard normal numbers u from which the uncertain parameters follow. Up to constants

    -2 ln posterior(z) = sum over channels (r' C^-1 r + ln det C) + u'u - 2 ln rho(x),

with residuals r(z) and their covariance C(z) (`residuals`), and the density of geometries rho
(`geometry_prior`). Where it is not known how large the error of the family is in this explosion,
the likelihood of each channel is averaged over that (`error_size`), and C is the covariance that is
claimed. With C at a fixed point and the bonds of rho fixed the same is a sum of squares
|F(z)|^2: its Jacobian is exact, and Gauss-Newton methods apply. Whatever is fixed this way only
guides the search; weights of draws contain the full expression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.belief import Belief
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.physics.family.error_size import log_density, size_of
from molexa_core.physics.family.family import Family
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.residuals import (
    ChannelData,
    Residuals,
    turns_onto,
    whitening,
    without_translations,
)

SOFTENING: Final = (0.3, 0.1, 0.03, 0.01, 0.0)
"""Errors added to momenta in the stages of a search, shares of their rms: broad ones at first, so
that a start follows the valley that exact momenta make narrow."""
APART: Final = 0.05
"""Points that differ by less, bohr and standard deviations of parameters, are followed as one."""
MOST_KEPT: Final = 32
"""Largest number of points that are followed to the end; of aimed ones, all."""
MOST_COSTLY: Final = 12
"""The same for families that take long, with several channels."""
TIGHT: Final = 0.01
"""Softening from which on derivatives contain how covariances change."""
ROUGH: Final = 0.03
"""Softening from which on errors of a family that takes long, all smaller, are not computed."""
STEPS: Final = (8, 5, 5, 5, 20)
"""Largest number of steps in each stage."""
LONGEST_STEP: Final = 0.5
"""Largest change of a coordinate in one step, bohr."""
WIDEST_STEP: Final = 1.0
"""Largest change of a parameter in one step, standard deviations."""
DIFFERENCE: Final = 5e-3
"""Step of differences of covariances, bohr and standard deviations of parameters."""
MUCH: Final = 0.03
"""Relative error of the momenta from which on it matters how it changes with the geometry:
residuals change with it about as much as with the momenta themselves, times this."""
_STEEPEST: Final = 1e12
"""Largest derivative; where a model fails there are larger ones."""
SETTLED: Final = 1e-3
"""A start has settled when |F|^2 is expected to fall by less than this."""


@dataclass(frozen=True)
class Guide:
    """What is held fixed to make the problem of n rows one of least squares.

    Attributes:
        whiteners: of each channel, (n, d, d): residuals times this have unit variance.
        tree: (N - 1) pairs that count as bonds.
    """

    whiteners: tuple[FloatArray, ...]
    tree: IntArray


class Problem:
    """The problem for one family.

    Args:
        family: forward models.
        belief: what is known of their parameters.
        channels: the first gives the frame.
        prior: of the geometry.
    """

    def __init__(
        self,
        family: Family,
        belief: Belief,
        channels: Sequence[ChannelData],
        prior: GeometryPrior,
    ) -> None:
        self.family, self.belief, self.channels, self.prior = family, belief, channels, prior
        self.atoms = len(channels[0].measured)
        self.basis = without_translations(self.atoms)
        self.factor = belief.factor()
        self.coordinates = self.basis.shape[1]
        self.free = self.factor.shape[1]
        self.size = self.coordinates + self.free
        self.costly = bool(getattr(family, "costly", False))
        self.error_size = size_of(family)

    @cached_property
    def identity(self) -> FloatArray:
        """(k, size) derivatives of u."""
        return np.concatenate([np.zeros((self.free, self.coordinates)), np.eye(self.free)], axis=1)

    def join(self, positions: FloatArray, u: FloatArray) -> FloatArray:
        """(n, size) unknowns of (n, N, 3) positions and (n, k) u."""
        return np.concatenate([positions.reshape(len(positions), -1) @ self.basis, u], axis=1)

    def split(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, N, 3) positions in bohr, and (n, P) coordinates of the parameters."""
        x = (z[:, : self.coordinates] @ self.basis.T).reshape(len(z), self.atoms, 3)
        return x, self.belief.mean + z[:, self.coordinates :] @ self.factor.T

    def turned_onto_data(self, positions: FloatArray, u: FloatArray) -> FloatArray:
        """(n, N, 3) positions, turned so that momenta point as those of the first channel do."""
        parameters = self.belief.mean + u @ self.factor.T
        with np.errstate(all="ignore"):
            momenta = self.family.explode(self.channels[0].fragments, positions, parameters)
        turns = turns_onto(self.channels[0].measured, momenta)
        return np.asarray(positions @ np.swapaxes(turns, 1, 2))

    def compare(self, z: FloatArray) -> list[Residuals]:
        """Residuals of each channel."""
        x, parameters = self.split(z)
        return [one.compare(self.family, x, parameters) for one in self.channels]

    def linearise(self, z: FloatArray) -> list[Residuals]:
        """Residuals of each channel with derivatives."""
        x, parameters = self.split(z)
        return [one.linearise(self.family, x, parameters) for one in self.channels]

    def covariances(self, z: FloatArray, found: Sequence[Residuals]) -> list[FloatArray]:
        """(n, d, d) covariance of the residuals of each channel."""
        x, parameters = self.split(z)
        return [
            channel.covariance(self.family, x, parameters, one.turns)
            for channel, one in zip(self.channels, found, strict=True)
        ]

    def whiteners(
        self, z: FloatArray, found: Sequence[Residuals], softening: float = 0.0
    ) -> tuple[tuple[FloatArray, ...], FloatArray]:
        """(n, d, d) of each channel, and (n) ln det of all covariances.

        Args:
            z: (n, size).
            found: residuals there.
            softening: additional error of the momenta, share of their rms.
        """
        result, total = [], np.zeros(len(z))
        if self.costly and softening >= ROUGH:
            covariances = [np.repeat(one.noise[None], len(z), axis=0) for one in self.channels]
        else:
            covariances = self.covariances(z, found)
        for channel, covariance in zip(self.channels, covariances, strict=True):
            extra = (softening * channel.scale) ** 2 * np.eye(channel.count)
            whiten, logarithm = whitening(covariance + extra)
            result.append(whiten)
            total = total + logarithm
        return tuple(result), total

    def guide(self, z: FloatArray, found: Sequence[Residuals], tree: IntArray) -> Guide:
        """Whiteners of n rows at z, with the same bonds for all."""
        return Guide(self.whiteners(z, found)[0], tree)

    def values(
        self, z: FloatArray, found: Sequence[Residuals], guide: Guide, *, cores: bool = False
    ) -> FloatArray:
        """(n, m) F(z)."""
        x, _ = self.split(z)
        parts = [
            whitened(whiten, one.values) for whiten, one in zip(guide.whiteners, found, strict=True)
        ]
        parts += [z[:, self.coordinates :], self.prior.bond_residuals(x, guide.tree)[0]]
        if cores:
            parts.append(self.prior.core_residuals(x)[0])
        return np.concatenate(parts, axis=1)

    def jacobian(
        self, z: FloatArray, found: Sequence[Residuals], guide: Guide, *, cores: bool = False
    ) -> FloatArray:
        """(n, m, size) derivatives of F."""
        x, _ = self.split(z)
        parts = []
        for whiten, one in zip(guide.whiteners, found, strict=True):
            change = np.concatenate(
                [one.by_positions @ self.basis, one.by_parameters @ self.factor], axis=2
            )
            parts.append(whiten @ change)
        parts.append(np.broadcast_to(self.identity, (len(z), *self.identity.shape)))
        bonds = [self.prior.bond_residuals(x, guide.tree)[1]]
        if cores:
            bonds.append(self.prior.core_residuals(x)[1])
        for by_positions in bonds:
            none = np.zeros((*by_positions.shape[:2], self.free))
            parts.append(np.concatenate([by_positions @ self.basis, none], axis=2))
        return np.concatenate(parts, axis=1)

    def by_whiteners(
        self,
        z: FloatArray,
        found: Sequence[Residuals],
        guide: Guide,
        softening: float = 0.0,
        *,
        everywhere: bool = False,
    ) -> FloatArray:
        """(n, m, size) derivatives of F because covariances change with z, by differences.

        They matter where the family leaves much open, and other things in other geometries; only
        there they are taken, unless `everywhere`: where residuals are many standard deviations.
        """
        data = sum(one.count for one in self.channels)
        rest = self.free + len(guide.tree)
        change = np.zeros((len(z), data + rest, self.size))
        rows = np.flatnonzero(everywhere | self._leaves_much(guide.whiteners))
        if not len(rows) or not self.family_leaves_something(z[rows]):
            return change
        moved = (z[rows, None, :] + DIFFERENCE * np.eye(self.size)).reshape(-1, self.size)
        x, parameters = self.split(moved)
        first = 0
        for channel, one, whiten in zip(self.channels, found, guide.whiteners, strict=True):
            turns = np.repeat(one.turns[rows], self.size, axis=0)
            covariance = channel.covariance(self.family, x, parameters, turns)
            extra = (softening * channel.scale) ** 2 * np.eye(channel.count)
            root, _ = whitening(covariance + extra)
            root = root.reshape(len(rows), self.size, channel.count, channel.count)
            there = np.einsum("nzij,nj->niz", root, one.values[rows])
            here = whitened(whiten[rows], one.values[rows])
            change[rows, first : first + channel.count] = (there - here[:, :, None]) / DIFFERENCE
            first += channel.count
        return np.nan_to_num(change, posinf=0.0, neginf=0.0)

    def _leaves_much(self, whiteners: Sequence[FloatArray]) -> BoolArray:
        """(n) whether momenta of some channel have a relative error above `MUCH`."""
        large: BoolArray = np.zeros(len(whiteners[0]), dtype=bool)
        for channel, whiten in zip(self.channels, whiteners, strict=True):
            root = np.linalg.inv(whiten)
            error = np.sqrt((root**2).sum(axis=(1, 2)) / channel.count)
            large |= error > MUCH * channel.scale
        return large

    def family_leaves_something(self, z: FloatArray) -> bool:
        """Whether the family has an error of its own at the first of these points."""
        x, parameters = self.split(z[:1])
        with np.errstate(all="ignore"):
            return bool(self.family.error(self.channels[0].fragments, x, parameters).any())

    def log_posterior(
        self, z: FloatArray, found: Sequence[Residuals]
    ) -> tuple[FloatArray, FloatArray]:
        """(n) ln of likelihood times priors, and (n) chi-square of the momenta and parameters.

        Normalised such that hypotheses with other parameters can be compared.
        """
        x, _ = self.split(z)
        u = z[:, self.coordinates :]
        chi_square = (u**2).sum(axis=1)
        total = self.prior.log_density(x) - 0.5 * self.free * np.log(2.0 * np.pi)
        total = total - 0.5 * chi_square
        known = np.isinf(self.error_size.freedom)
        for channel, one, covariance in zip(
            self.channels, found, self.covariances(z, found), strict=True
        ):
            whiten, logarithm = whitening(covariance)
            square = (whitened(whiten, one.values) ** 2).sum(axis=1)
            chi_square = chi_square + square
            if known:
                total = total - 0.5 * (square + logarithm + channel.count * np.log(2.0 * np.pi))
            else:
                own = covariance - channel.noise
                total = total + log_density(one.values, channel.noise, own, self.error_size)
        return np.where(np.isfinite(total), total, -np.inf), chi_square


def search(
    problem: Problem,
    z: FloatArray,
    aims: FloatArray | None = None,
    *,
    stages: int = len(SOFTENING),
) -> tuple[FloatArray, FloatArray]:
    """Descend from all starts at once to maxima of the posterior (Levenberg-Marquardt).

    Args:
        problem: for one family.
        z: (n, size) starts.
        aims: (n, k) parameters u towards which each is drawn instead of to what is believed. So
            branches are found that have no maximum of their own, such as those beyond a fold
            (randomized maximum likelihood: D. S. Oliver, N. He, A. C. Reynolds, ECMOR V (1996)).
        stages: how many of the stages of `SOFTENING`, the last ones; 1 where starts are near
            solutions already: errors of momenta are then as they are from the beginning. Broad
            ones make one maximum of twins on both sides of a fold.

    Returns:
        (n, size) where they settled, one of those that agree, and (n) their ln posterior.
    """
    few = problem.costly and len(problem.channels) > 1
    most = (MOST_COSTLY if few else MOST_KEPT) if aims is None else len(z)
    aims = np.zeros((len(z), problem.free)) if aims is None else aims
    for softening, steps in zip(SOFTENING[-stages:], STEPS[-stages:], strict=True):
        trees: IntArray = np.array([problem.prior.tree(x) for x in problem.split(z)[0]])
        if softening <= TIGHT:
            z, trees, aims = _different(problem, z, trees, aims, most)
        z = _descend(problem, z, trees, aims, softening, steps)
    found = problem.compare(z)
    return z, problem.log_posterior(z, found)[0]


def search_roughly(problem: Problem, z: FloatArray) -> FloatArray:
    """(n, size) where (n, size) starts come in the first stages, at their parameters.

    With the first channel alone and without derivatives by the parameters: what the other channels
    and parameters add is small beside the softening.
    """
    held = getattr(problem.family, "held", None)
    family = problem.family if held is None else held()
    rough = Problem(family, problem.belief, problem.channels[:1], problem.prior)
    aims = z[:, problem.coordinates :]
    for softening, steps in zip(SOFTENING, STEPS, strict=True):
        if softening > ROUGH:
            trees: IntArray = np.array([rough.prior.tree(x) for x in rough.split(z)[0]])
            z = _descend(rough, z, trees, aims, softening, steps)
    return z


def curvature(problem: Problem, z: FloatArray) -> FloatArray:
    """(n, size, size) J'J at each of (n, size) points: the inverse of a local covariance."""
    trees: IntArray = np.array([problem.prior.tree(x) for x in problem.split(z)[0]])
    _, slope = _terms(problem, z, trees, np.zeros((len(z), problem.free)), 0.0)
    slope = slope.clip(-_STEEPEST, _STEEPEST)
    return np.asarray(np.swapaxes(slope, 1, 2) @ slope)


def _different(
    problem: Problem, z: FloatArray, trees: IntArray, aims: FloatArray, most: int
) -> tuple[FloatArray, IntArray, FloatArray]:
    """The best of the points so far, one of each group, with their trees and aims."""
    value, _ = _terms(problem, z, trees, aims, 2.0 * TIGHT)
    with np.errstate(all="ignore"):
        cost = (value**2).sum(axis=1)
    kept: list[int] = []
    for row in np.argsort(cost):
        apart = [np.abs(z[row] - z[other]).max() for other in kept]
        if np.isfinite(cost[row]) and min(apart, default=np.inf) > APART:
            kept.append(int(row))
        if len(kept) == most:
            break
    return z[kept], trees[kept], aims[kept]


def _descend(
    problem: Problem,
    z: FloatArray,
    trees: IntArray,
    aims: FloatArray,
    softening: float,
    steps: int,
) -> FloatArray:
    """(n, size) after damped steps."""
    z = z.copy()
    value, slope = _terms(problem, z, trees, aims, softening)
    damping, failures = np.full(len(z), 1e-2), np.zeros(len(z), dtype=np.int64)
    active: BoolArray = np.asarray(np.isfinite(value).all(axis=1))
    value[~active] = 0.0
    for _ in range(steps):
        interruption.check()
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        normal = np.swapaxes(slope[rows], 1, 2) @ slope[rows]
        gradient = np.einsum("nmz,nm->nz", slope[rows], value[rows])
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        ridge = damping[rows, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True)
        step = -np.linalg.solve(
            normal + ridge[:, :, None] * np.eye(problem.size), gradient[:, :, None]
        )[:, :, 0]
        step *= shortening(problem, step)
        expected = -(2.0 * gradient * step).sum(axis=1) - np.einsum(
            "ni,nij,nj->n", step, normal, step
        )
        trial = z[rows] + step
        new_value, new_slope = _terms(problem, trial, trees[rows], aims[rows], softening)
        with np.errstate(all="ignore"):
            better = (new_value**2).sum(axis=1) <= (value[rows] ** 2).sum(axis=1)
        good, bad = rows[better], rows[~better]
        z[good], value[good], slope[good] = trial[better], new_value[better], new_slope[better]
        damping[good], damping[bad] = damping[good] * 0.2, damping[bad] * 6.0
        failures[good], failures[bad] = 0, failures[bad] + 1
        active[rows] = (expected > SETTLED) & (failures[rows] < 8)
    return z


def _terms(
    problem: Problem, z: FloatArray, trees: IntArray, aims: FloatArray, softening: float
) -> tuple[FloatArray, FloatArray]:
    """F (n, m) with cores, and its derivatives (n, m, size), each row with bonds of its own."""
    m = sum(one.count for one in problem.channels) + problem.free
    m += trees.shape[1] + problem.prior.pairs.shape[1]
    value, slope = np.empty((len(z), m)), np.empty((len(z), m, problem.size))
    found = problem.linearise(z)
    whiteners, _ = problem.whiteners(z, found, softening)
    _, kind = np.unique(trees, axis=0, return_inverse=True)
    for number in range(int(kind.max(initial=-1)) + 1):
        same: BoolArray = kind == number
        part = [one.of_rows(same) for one in found]
        guide = Guide(tuple(one[same] for one in whiteners), trees[same][0])
        value[same] = problem.values(z[same], part, guide, cores=True)
        slope[same] = problem.jacobian(z[same], part, guide, cores=True)
    if softening <= TIGHT and len(z):
        # Which pairs are bonds does not matter here.
        change = problem.by_whiteners(z, found, Guide(whiteners, trees[0]), softening)
        slope[:, : change.shape[1]] += change
    data = sum(one.count for one in problem.channels)
    value[:, data : data + problem.free] -= aims
    return value, np.nan_to_num(slope)


def shortening(problem: Problem, step: FloatArray) -> FloatArray:
    """(n, 1) factors that keep steps below `LONGEST_STEP` and `WIDEST_STEP`."""
    moved = np.abs(step[:, : problem.coordinates]).max(axis=1)
    changed = np.abs(step[:, problem.coordinates :]).max(axis=1, initial=0.0)
    longest = np.maximum(moved / LONGEST_STEP, changed / WIDEST_STEP)
    return np.asarray(1.0 / np.maximum(longest, 1.0)[:, None])


def whitened(whiten: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) values times (n, d, d) whiteners."""
    return np.asarray(np.einsum("nij,nj->ni", whiten, values))
