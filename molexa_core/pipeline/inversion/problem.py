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
STEPS: Final = (8, 5, 5, 5, 40)
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
PROBE: Final = 0.1
"""Share of a step at which the way is looked at."""
MOST_BENT: Final = 0.7
"""Largest share of a step by which it is bent."""
PATIENCE: Final = 8
HOPELESS: Final = 100.0
"""A start is not followed further that after so many of the last steps is so much worse than the
best one, in twice the logarithm of the posterior."""
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


@dataclass(frozen=True)
class Changing:
    """How the covariances of n rows change with the unknowns.

    Attributes:
        turning: of each channel, (n, size, d, d) derivatives of the whitener times its inverse.
        logarithm: (n, size) derivatives of the sum of ln det of the covariances.
    """

    turning: tuple[FloatArray, ...]
    logarithm: FloatArray

    def of_rows(self, rows: IntArray) -> Changing:
        """Those of some of the rows."""
        return Changing(tuple(one[rows] for one in self.turning), self.logarithm[rows])


@dataclass(frozen=True)
class Parts:
    """What the posterior at n points is made of.

    Attributes:
        whiteners: of each channel, (n, d, d) of the claimed covariance.
        whitened: of each channel, (n, d) residuals times that.
        own: of each channel, (n, d, d) covariance by the error of the family.
        logarithms: (n) sum of ln det of the claimed covariances.
    """

    whiteners: tuple[FloatArray, ...]
    whitened: tuple[FloatArray, ...]
    own: tuple[FloatArray, ...]
    logarithms: FloatArray

    def of_rows(self, chosen: BoolArray) -> Parts:
        """Those of some of the points."""
        return Parts(
            tuple(one[chosen] for one in self.whiteners),
            tuple(one[chosen] for one in self.whitened),
            tuple(one[chosen] for one in self.own),
            self.logarithms[chosen],
        )

    def with_further(self, other: Parts) -> Parts:
        """Those of these points and of others."""
        return Parts(
            _together(self.whiteners, other.whiteners),
            _together(self.whitened, other.whitened),
            _together(self.own, other.own),
            np.concatenate([self.logarithms, other.logarithms]),
        )


def _together(one: Sequence[FloatArray], other: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
    return tuple(np.concatenate(pair) for pair in zip(one, other, strict=True))


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
        """(n, m, size) derivatives of F because covariances change with z, see `changing`."""
        changes = self.changing(z, found, guide.whiteners, softening, everywhere=everywhere)
        return self.through(changes, found, guide.whiteners, len(guide.tree))

    def changing(
        self,
        z: FloatArray,
        found: Sequence[Residuals],
        whiteners: Sequence[FloatArray],
        softening: float = 0.0,
        *,
        everywhere: bool = False,
    ) -> Changing:
        """How covariances change with z, by differences.

        It matters where the family leaves much open, and other things in other geometries; only
        there it is computed, unless `everywhere`: where residuals are many standard deviations.
        Elsewhere it is zero.
        """
        rows = np.flatnonzero(everywhere | self._leaves_much(whiteners))
        count = [one.count for one in self.channels]
        turning = tuple(np.zeros((len(z), self.size, d, d)) for d in count)
        logarithm = np.zeros((len(z), self.size))
        if not len(rows) or not self.family_leaves_something(z[rows]):
            return Changing(turning, logarithm)
        moved = (z[rows, None, :] + DIFFERENCE * np.eye(self.size)).reshape(-1, self.size)
        x, parameters = self.split(moved)
        for channel, one, whiten, turn in zip(
            self.channels, found, whiteners, turning, strict=True
        ):
            turns = np.repeat(one.turns[rows], self.size, axis=0)
            covariance = channel.covariance(self.family, x, parameters, turns)
            extra = (softening * channel.scale) ** 2 * np.eye(channel.count)
            root, log = whitening(covariance + extra)
            root = root.reshape(len(rows), self.size, channel.count, channel.count)
            here = np.linalg.inv(whiten[rows])[:, None]
            change = (root @ here - np.eye(channel.count)) / DIFFERENCE
            turn[rows] = np.nan_to_num(change, posinf=0.0, neginf=0.0)
            before = -2.0 * np.log(np.diagonal(whiten[rows], axis1=1, axis2=2)).sum(axis=1)
            with np.errstate(invalid="ignore"):
                slope = (log.reshape(len(rows), self.size) - before[:, None]) / DIFFERENCE
            logarithm[rows] += np.nan_to_num(slope, posinf=0.0, neginf=0.0)
        return Changing(turning, logarithm)

    def through(
        self,
        changes: Changing,
        found: Sequence[Residuals],
        whiteners: Sequence[FloatArray],
        bonds: int,
    ) -> FloatArray:
        """(n, m, size) derivatives of F by these changes of the covariances."""
        parts = [
            np.einsum("nzij,nj->niz", turn, whitened(whiten, one.values), optimize=True)
            for turn, whiten, one in zip(changes.turning, whiteners, found, strict=True)
        ]
        parts.append(np.zeros((len(changes.logarithm), self.free + bonds, self.size)))
        whole = np.concatenate(parts, axis=1)
        return np.asarray(np.nan_to_num(whole, posinf=0.0, neginf=0.0))

    def _leaves_much(self, whiteners: Sequence[FloatArray]) -> BoolArray:
        """(n) whether momenta of some channel have a relative error above `MUCH`."""
        large: BoolArray = np.zeros(len(whiteners[0]), dtype=bool)
        for channel, whiten in zip(self.channels, whiteners, strict=True):
            root = np.linalg.inv(whiten)
            error = np.sqrt((root**2).sum(axis=(1, 2)) / channel.count)
            large |= error > MUCH * channel.scale
        return large

    def sized(
        self, whiteners: Sequence[FloatArray], whitened_: Sequence[FloatArray]
    ) -> tuple[list[FloatArray], FloatArray]:
        """Weights of residuals, where it is not known how large the error of the family is.

        Where residuals are small or large, so is the error that they show; with these weights, held
        fixed, the sum of squares has the slope of the likelihood (iteratively weighted squares).

        Args:
            whiteners: of each channel, (n, d, d).
            whitened_: of each channel, (n, d) residuals times these.

        Returns:
            Of each channel (n, d, d) by which whitened residuals are multiplied, and (n) what is
            missing in their squares from minus twice the logarithm of the likelihood.
        """
        factors, missing = [], np.zeros(len(whitened_[0]))
        for channel, whiten, values in zip(self.channels, whiteners, whitened_, strict=True):
            share = np.eye(channel.count) - whiten @ channel.noise @ np.swapaxes(whiten, 1, 2)
            part, vectors = np.linalg.eigh(np.nan_to_num(share))
            part = np.clip(part, 0.0, 1.0)[:, None, :]
            scale = 1.0 - part + part * self.error_size.squares[:, None]
            turned = np.swapaxes(vectors, 1, 2)
            square = np.square(np.nan_to_num(whitened(turned, values)).clip(-1e100, 1e100))
            each = -0.5 * (square[:, None] / scale + np.log(scale)).sum(axis=2)
            each += self.error_size.log_shares
            total = np.logaddexp.reduce(each, axis=1)
            weight = np.einsum("nk,nkd->nd", np.exp(each - total[:, None]), 1.0 / scale)
            factors.append(np.sqrt(weight)[:, :, None] * turned)
            missing -= 2.0 * total + (weight * square).sum(axis=1)
        return factors, missing

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
        total, parts = self.in_parts(z, found)
        square = sum(np.square(one).sum(axis=1) for one in parts.whitened)
        return total, np.square(z[:, self.coordinates :]).sum(axis=1) + square

    def in_parts(self, z: FloatArray, found: Sequence[Residuals]) -> tuple[FloatArray, Parts]:
        """(n) ln of likelihood times priors, and what it is made of."""
        x, _ = self.split(z)
        u = z[:, self.coordinates :]
        total = self.prior.log_density(x) - 0.5 * self.free * np.log(2.0 * np.pi)
        total = total - 0.5 * np.square(u).sum(axis=1)
        known = np.isinf(self.error_size.freedom)
        whiteners, whitened_, own, logarithms = [], [], [], np.zeros(len(z))
        for channel, one, covariance in zip(
            self.channels, found, self.covariances(z, found), strict=True
        ):
            whiten, logarithm = whitening(covariance)
            values = whitened(whiten, one.values)
            if known:
                square = np.square(values).sum(axis=1)
                total = total - 0.5 * (square + logarithm + channel.count * np.log(2.0 * np.pi))
            else:
                left = covariance - channel.noise
                total = total + log_density(one.values, channel.noise, left, self.error_size)
            whiteners.append(whiten)
            whitened_.append(values)
            own.append(covariance - channel.noise)
            logarithms = logarithms + logarithm
        parts = Parts(tuple(whiteners), tuple(whitened_), tuple(own), logarithms)
        return np.where(np.isfinite(total), total, -np.inf), parts


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
    slope = _terms(problem, z, trees, np.zeros((len(z), problem.free)), 0.0).slope
    slope = slope.clip(-_STEEPEST, _STEEPEST)
    return np.asarray(np.swapaxes(slope, 1, 2) @ slope)


def _different(
    problem: Problem, z: FloatArray, trees: IntArray, aims: FloatArray, most: int
) -> tuple[FloatArray, IntArray, FloatArray]:
    """The best of the points so far, one of each group, with their trees and aims."""
    cost = _terms(problem, z, trees, aims, 2.0 * TIGHT).cost
    kept: list[int] = []
    for row in np.argsort(cost):
        apart = [np.abs(z[row] - z[other]).max() for other in kept]
        if np.isfinite(cost[row]) and min(apart, default=np.inf) > APART:
            kept.append(int(row))
        if len(kept) == most:
            break
    return z[kept], trees[kept], aims[kept]


@dataclass
class _Terms:
    """F at n points, its derivatives, and what is added to its square.

    Attributes:
        value: (n, m) F.
        slope: (n, m, size) its derivatives.
        logarithm: (n) sum of ln det of the covariances; 0 while errors are broadened.
        tilt: (n, size) its derivatives.
    """

    value: FloatArray
    slope: FloatArray
    logarithm: FloatArray
    tilt: FloatArray

    @property
    def cost(self) -> FloatArray:
        """(n) |F|^2 and the logarithm."""
        with np.errstate(all="ignore"):
            return np.asarray(np.square(self.value).sum(axis=1) + self.logarithm)

    def put(self, rows: IntArray, other: _Terms) -> None:
        """In place of some rows those of others."""
        self.value[rows], self.slope[rows] = other.value, other.slope
        self.logarithm[rows], self.tilt[rows] = other.logarithm, other.tilt


def _descend(
    problem: Problem,
    z: FloatArray,
    trees: IntArray,
    aims: FloatArray,
    softening: float,
    steps: int,
) -> FloatArray:
    """(n, size) after damped steps, with an acceleration where valleys are bent.

    The second derivative along a step, from one value of F on its way, bends the step along the
    valley (M. K. Transtrum, J. P. Sethna, arXiv:1201.5885). Derivatives are computed where a step
    was good.
    """
    z = z.copy()
    at = _terms(problem, z, trees, aims, softening)
    damping, failures = np.full(len(z), 1e-2), np.zeros(len(z), dtype=np.int64)
    active: BoolArray = np.isfinite(at.value).all(axis=1) & np.isfinite(at.logarithm)
    at.value[~active], at.logarithm[~active] = 0.0, 0.0
    valid = active.copy()
    for number in range(steps):
        interruption.check()
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        slope, value = at.slope[rows], at.value[rows]
        normal = np.swapaxes(slope, 1, 2) @ slope
        gradient = _along(slope, value) + 0.5 * at.tilt[rows]
        diagonal = np.diagonal(normal, axis1=1, axis2=2)
        ridge = damping[rows, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True)
        damped = normal + ridge[:, :, None] * np.eye(problem.size)
        step = -np.linalg.solve(damped, gradient[:, :, None])[:, :, 0]
        step *= shortening(problem, step)
        expected = -(2.0 * gradient * step).sum(axis=1) - np.einsum(
            "ni,nij,nj->n", step, normal, step
        )
        if softening == 0.0:
            near = z[rows] + PROBE * step
            there = _values(problem, near, trees[rows], aims[rows], softening)[0]
            straight = (slope @ step[:, :, None])[:, :, 0]
            bend = np.nan_to_num(2.0 / PROBE * ((there - value) / PROBE - straight))
            turn = -0.5 * np.linalg.solve(damped, _along(slope, bend)[:, :, None])[:, :, 0]
            scale = np.sqrt(diagonal)
            with np.errstate(all="ignore"):
                ratio = np.linalg.norm(scale * turn, axis=1) / np.linalg.norm(scale * step, axis=1)
            step = step + np.where(ratio < MOST_BENT, 1.0, 0.0)[:, None] * turn
        trial = z[rows] + step
        new_value, logarithm = _values(problem, trial, trees[rows], aims[rows], softening)
        with np.errstate(all="ignore"):
            cost = np.square(new_value).sum(axis=1) + logarithm
            better = cost <= at.cost[rows]
        good, bad = rows[better], rows[~better]
        z[good] = trial[better]
        going = expected > SETTLED
        go_on = good[going[better]]
        at.value[good], at.logarithm[good] = new_value[better], logarithm[better]
        if len(go_on) and number < steps - 1:
            at.put(go_on, _terms(problem, z[go_on], trees[go_on], aims[go_on], softening))
        damping[good], damping[bad] = damping[good] * 0.2, damping[bad] * 6.0
        failures[good], failures[bad] = 0, failures[bad] + 1
        active[rows] = going & (failures[rows] < 8)
        if softening == 0.0 and number >= PATIENCE and valid.any():
            active &= at.cost - np.nanmin(at.cost[valid]) < HOPELESS
    return z


def _along(slope: FloatArray, value: FloatArray) -> FloatArray:
    """(n, size) slopes (n, m, size) times values (n, m)."""
    return np.asarray((np.swapaxes(slope, 1, 2) @ value[:, :, None])[:, :, 0])


def _values(
    problem: Problem, z: FloatArray, trees: IntArray, aims: FloatArray, softening: float
) -> tuple[FloatArray, FloatArray]:
    """F (n, m) with cores, each row with bonds of its own, and the logarithm (n) of `_Terms`."""
    found = problem.compare(z)
    whiteners, logarithm = problem.whiteners(z, found, softening)
    white = [whitened(whiten, one.values) for whiten, one in zip(whiteners, found, strict=True)]
    if _by_size(problem, softening):
        factors, missing = problem.sized(whiteners, white)
        white = [whitened(factor, one) for factor, one in zip(factors, white, strict=True)]
        logarithm = logarithm + missing
    value = np.concatenate(
        [
            *white,
            z[:, problem.coordinates :] - aims,
            *_bonds_and_cores(problem, z, trees)[0],
        ],
        axis=1,
    )
    return value, logarithm if softening <= TIGHT else np.zeros(len(z))


def _by_size(problem: Problem, softening: float) -> bool:
    """Whether residuals are weighed by the size of the error that they show."""
    return softening == 0.0 and bool(np.isfinite(problem.error_size.freedom))


def _bonds_and_cores(
    problem: Problem, z: FloatArray, trees: IntArray
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Residuals (n, N - 1) of bonds and (n, pairs) of cores, and derivatives by positions."""
    x, _ = problem.split(z)
    value = np.empty(trees.shape)
    slope = np.empty((*trees.shape, x[0].size))
    different, kind = np.unique(trees, axis=0, return_inverse=True)
    for number, tree in enumerate(different):
        same: BoolArray = kind.reshape(-1) == number
        value[same], slope[same] = problem.prior.bond_residuals(x[same], tree)
    cores, core_slope = problem.prior.core_residuals(x)
    return [value, cores], [slope, core_slope]


def _terms(
    problem: Problem, z: FloatArray, trees: IntArray, aims: FloatArray, softening: float
) -> _Terms:
    """F with cores, each row with bonds of its own, and its derivatives."""
    found = problem.linearise(z)
    whiteners, logarithm = problem.whiteners(z, found, softening)
    (bonds, cores), slopes = _bonds_and_cores(problem, z, trees)
    values, parts = [], []
    for whiten, one in zip(whiteners, found, strict=True):
        values.append(whitened(whiten, one.values))
        change = [one.by_positions @ problem.basis, one.by_parameters @ problem.factor]
        parts.append(whiten @ np.concatenate(change, axis=2))
    values += [z[:, problem.coordinates :] - aims, bonds, cores]
    parts.append(np.broadcast_to(problem.identity, (len(z), *problem.identity.shape)))
    for one_slope in slopes:
        none = np.zeros((*one_slope.shape[:2], problem.free))
        parts.append(np.concatenate([one_slope @ problem.basis, none], axis=2))
    slope = np.concatenate(parts, axis=1)
    tilt = np.zeros((len(z), problem.size))
    if softening > TIGHT:
        logarithm = np.zeros(len(z))
    elif len(z):
        changes = problem.changing(z, found, whiteners, softening)
        by_changes = problem.through(changes, found, whiteners, trees.shape[1])
        slope[:, : by_changes.shape[1]] += by_changes
        tilt = changes.logarithm
    value, slope = np.concatenate(values, axis=1), np.nan_to_num(slope)
    if _by_size(problem, softening):
        white = values[: len(problem.channels)]
        factors, missing = problem.sized(whiteners, white)
        weigh(value, slope, factors)
        logarithm = logarithm + missing
    return _Terms(value, slope, logarithm, tilt)


def weigh(value: FloatArray, slope: FloatArray, factors: Sequence[FloatArray]) -> None:
    """Multiply F (n, m) and its derivatives (n, m, size) by factors of `sized`, in place."""
    first = 0
    for factor in factors:
        rows = slice(first, first + factor.shape[1])
        value[:, rows] = whitened(factor, value[:, rows])
        slope[:, rows] = factor @ slope[:, rows]
        first += factor.shape[1]


def shortening(problem: Problem, step: FloatArray) -> FloatArray:
    """(n, 1) factors that keep steps below `LONGEST_STEP` and `WIDEST_STEP`."""
    moved = np.abs(step[:, : problem.coordinates]).max(axis=1)
    changed = np.abs(step[:, problem.coordinates :]).max(axis=1, initial=0.0)
    longest = np.maximum(moved / LONGEST_STEP, changed / WIDEST_STEP)
    return np.asarray(1.0 / np.maximum(longest, 1.0)[:, None])


def whitened(whiten: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) values times (n, d, d) whiteners."""
    return np.asarray(np.einsum("nij,nj->ni", whiten, values))
