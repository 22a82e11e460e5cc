"""One family of explosions, the channels and the priors as a problem of least squares.

The unknowns z are the positions, 3 N - 3 coordinates without translations in the frame of the first
channel, and k standard normal numbers u from which the uncertain parameters follow. Up to constants

    -2 ln posterior(z) = sum over channels (r' C^-1 r + ln det C) + u'u - 2 ln rho(x),

with residuals r(z) and their covariance C(z) (`residuals`), and the density of geometries rho
(`geometry_prior`). With C at a fixed point and the bonds of rho fixed the same is a sum of squares
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
from molexa_core.physics.family.family import Family
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.residuals import (
    ChannelData,
    Residuals,
    turns_onto,
    without_translations,
)

SOFTENING: Final = (0.3, 0.05, 0.005, 0.0)
"""Errors added to momenta in the stages of a search, shares of their rms: broad ones at first, so
that a start follows the valley that exact momenta make narrow."""
STEPS: Final = (12, 8, 8, 12)
"""Largest number of steps in each stage."""
LONGEST_STEP: Final = 0.5
"""Largest change of a coordinate in one step, bohr."""
WIDEST_STEP: Final = 1.0
"""Largest change of a parameter in one step, standard deviations."""
SETTLED: Final = 1e-3
"""A start has settled when |F|^2 is expected to fall by less than this."""


@dataclass(frozen=True)
class Guide:
    """What is held fixed to make the problem one of least squares. One for all rows, or n.

    Attributes:
        whiteners: of each channel, (d, d) or (n, d, d): residuals times this have unit variance.
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
    ) -> tuple[FloatArray, ...]:
        """(n, d, d) of each channel, with an additional error of momenta, share of their rms."""
        result = []
        for channel, covariance in zip(self.channels, self.covariances(z, found), strict=True):
            extra = (softening * channel.scale) ** 2 * np.eye(channel.count)
            result.append(np.linalg.inv(np.linalg.cholesky(covariance + extra)))
        return tuple(result)

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
        for one, covariance in zip(found, self.covariances(z, found), strict=True):
            with np.errstate(all="ignore"):
                factor = np.linalg.cholesky(covariance)
                white = np.linalg.solve(factor, one.values[:, :, None])[:, :, 0]
                logarithm = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
            chi_square = chi_square + (white**2).sum(axis=1)
            total = total - logarithm - 0.5 * one.values.shape[1] * np.log(2.0 * np.pi)
        total = total - 0.5 * chi_square
        return np.where(np.isfinite(total), total, -np.inf), chi_square


def search(problem: Problem, z: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Descend from all starts at once to maxima of the posterior (Levenberg-Marquardt).

    Args:
        problem: for one family.
        z: (n, size) starts.

    Returns:
        (n, size) where they settled, and (n) their ln posterior.
    """
    trees: IntArray = np.array([problem.prior.tree(x) for x in problem.split(z)[0]])
    for stage, softening in enumerate(SOFTENING):
        if stage:
            trees = np.array([problem.prior.tree(x) for x in problem.split(z)[0]])
        z = _descend(problem, z, trees, softening, STEPS[stage])
    found = problem.compare(z)
    return z, problem.log_posterior(z, found)[0]


def _descend(
    problem: Problem, z: FloatArray, trees: IntArray, softening: float, steps: int
) -> FloatArray:
    """(n, size) after damped steps with fixed covariances."""
    z = z.copy()
    n = len(z)
    found = problem.linearise(z)
    whiteners = problem.whiteners(z, found, softening)
    value, slope, cost = _squares(problem, z, found, whiteners, trees)
    damping, failures = np.full(n, 1e-2), np.zeros(n, dtype=np.int64)
    active: BoolArray = np.isfinite(cost)
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
        trial_found = problem.linearise(trial)
        trial_value, trial_slope, trial_cost = _squares(
            problem, trial, trial_found, tuple(one[rows] for one in whiteners), trees[rows]
        )
        better = trial_cost <= cost[rows]
        good, bad = rows[better], rows[~better]
        z[good], value[good], slope[good] = trial[better], trial_value[better], trial_slope[better]
        cost[good] = trial_cost[better]
        damping[good], damping[bad] = damping[good] * 0.2, damping[bad] * 6.0
        failures[good], failures[bad] = 0, failures[bad] + 1
        active[rows] = (expected > SETTLED) & (failures[rows] < 8)
    return z


def _squares(
    problem: Problem,
    z: FloatArray,
    found: Sequence[Residuals],
    whiteners: tuple[FloatArray, ...],
    trees: IntArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """F (n, m), its derivatives (n, m, size) and |F|^2 (n), infinite where the model fails."""
    m = sum(one.count for one in problem.channels) + problem.free
    m += trees.shape[1] + problem.prior.pairs.shape[1]
    value, slope = np.empty((len(z), m)), np.empty((len(z), m, problem.size))
    # Rows with the same bonds are treated together.
    _, kind = np.unique(trees, axis=0, return_inverse=True)
    for number in range(int(kind.max(initial=-1)) + 1):
        rows = np.flatnonzero(kind == number)
        part = [
            Residuals(one.values[rows], one.turns[rows], one.by_positions[rows],
                      one.by_parameters[rows])
            for one in found
        ]  # fmt: skip
        guide = Guide(tuple(one[rows] for one in whiteners), trees[rows[0]])
        value[rows] = problem.values(z[rows], part, guide, cores=True)
        slope[rows] = problem.jacobian(z[rows], part, guide, cores=True)
    with np.errstate(all="ignore"):
        cost = (value**2).sum(axis=1)
    bad = ~np.isfinite(cost)
    value[bad], cost[bad] = 0.0, np.inf
    return value, np.nan_to_num(slope), cost


def shortening(problem: Problem, step: FloatArray) -> FloatArray:
    """(n, 1) factors that keep steps below `LONGEST_STEP` and `WIDEST_STEP`."""
    moved = np.abs(step[:, : problem.coordinates]).max(axis=1)
    changed = np.abs(step[:, problem.coordinates :]).max(axis=1, initial=0.0)
    longest = np.maximum(moved / LONGEST_STEP, changed / WIDEST_STEP)
    return np.asarray(1.0 / np.maximum(longest, 1.0)[:, None])


def whitened(whiten: FloatArray, values: FloatArray) -> FloatArray:
    """(n, d) whitened values for one whitener (d, d) or n of them."""
    if whiten.ndim == 2:
        return np.asarray(values @ whiten.T)
    return np.asarray(np.einsum("nij,nj->ni", whiten, values))
