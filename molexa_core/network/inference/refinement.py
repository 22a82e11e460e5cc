"""Refining structures: damped least squares until their explosion gives the measured momenta.

The map from a geometry to its momenta is square up to translation, and differentiable, so a
structure near a solution can be brought onto it (Levenberg, Q. Appl. Math. 2, 164 (1944);
Marquardt, SIAM J. Appl. Math. 11, 431 (1963)). Minimized is

    chi2(x) = sum |(p(x) - p_measured) / sigma|^2  +  sum |(x - x_start) / width|^2

where the second term, if asked for, keeps what noisy momenta do not determine at its start.
Many starts are refined together; each has its own damping. The forward model is a parameter: this
room knows nothing of explosions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from molexa_core.base import interruption
from molexa_core.base.tables import BoolArray, FloatArray
from molexa_core.network.inference.threads import threads_for

Forward = Callable[[FloatArray], FloatArray]
"""Positions (n, N, 3) in bohr to momenta (n, N, 3) in a.u.; what is not a number counts as far off.
"""
Linearised = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Positions (n, N, 3) in bohr to momenta (n, N, 3) in a.u. and their derivatives (n, 3 N, 3 N) by
the positions (rows: momenta)."""
DIFFERENCE: Final = 1e-4
"""Step of the finite differences, bohr: rounding of the forward model and curvature are both
below 1e-5 of the derivative there."""
LONGEST_STEP: Final = 0.5
"""No coordinate moves further in one step, bohr."""
CLOSEST: Final = 0.3
"""No step may bring two atoms nearer than this, bohr."""
ROUGH_STEP: Final = 0.01
"""With steps below this, bohr, a start is done on the rough model, whose own error is as large."""
HOPELESS: Final = 0.2
"""A start that has not converged on the rough model, with a larger misfit of the momenta over their
rms, is left there,"""
HOPELESS_SIGMAS: Final = 10.0
"""and where the errors of the momenta are known, with more than so many of them (rms)."""


@dataclass(frozen=True)
class Refined:
    """Where the starts ended. n starts, N atoms.

    Attributes:
        positions: (n, N, 3) bohr, centred.
        momenta: (n, N, 3) a.u., of the forward model there.
        residual: (n) root of sum |p - p_measured|^2 over sum |p_measured|^2.
        covariance: (n, 3 N, 3 N) of the positions in bohr^2, from sigma and width, in the linear
            approximation at the end; None where neither was given.
        converged: (n) whether the last accepted step was below the tolerance.
        iterations: how many were done, on the rough model and on the forward model.
    """

    positions: FloatArray
    momenta: FloatArray
    residual: FloatArray
    covariance: FloatArray | None
    converged: BoolArray
    iterations: int


def refine(
    forward: Forward,
    starts: FloatArray,
    momenta: FloatArray,
    *,
    sigma: FloatArray | None = None,
    width: FloatArray | float | None = None,
    rough: Forward | None = None,
    linearised: Linearised | None = None,
    iterations: int = 25,
    polish: int = 6,
    tolerance: float = 1e-6,
) -> Refined:
    """Bring structures to where their explosion gives the measured momenta.

    Args:
        forward: the forward model.
        starts: (n, N, 3) bohr.
        momenta: (N, 3) a.u., measured, with sum zero.
        sigma: (N, 3) standard errors of the momenta; without them all count alike.
        width: standard deviation of the positions about their start, bohr, a number or
            (n, N, 3); without it the momenta alone decide.
        rough: a cheaper forward model, for derivatives: their error slows the end of the way but
            does not move it. The forward model itself by default.
        linearised: a rough model that knows its derivatives, in place of `rough`: starts are
            first refined on it alone, down to steps of `ROUGH_STEP`.
        iterations: at most so many; with `linearised` on that.
        polish: with `linearised`, at most so many on the forward model behind it.
        tolerance: largest coordinate step at which a start has converged, bohr.

    Returns:
        `Refined`; a start that gets nowhere comes back where it was.
    """
    x = starts - starts.mean(axis=1, keepdims=True)
    none = np.zeros(len(x), dtype=bool)
    way = _Way(x, np.full(len(x), 1e-3), none, none, np.full(len(x), np.inf))
    problem = _Problem(forward, rough or forward, starts, momenta, sigma, width)
    before = 0
    if linearised is not None:
        problem.linearised, problem.on_it = linearised, True
        before, _ = _descend(problem, way, iterations, max(ROUGH_STEP, tolerance))
        far = HOPELESS if sigma is None else HOPELESS_SIGMAS
        way.given_up = ~way.converged & (way.cost > starts[0].size * far**2)
        problem.on_it, iterations = False, polish
    done, value = _descend(problem, way, iterations, tolerance)
    x, converged, done = way.x, way.converged, done + before
    residual = np.sqrt(((value - momenta) ** 2).sum(axis=(1, 2)) / (momenta**2).sum())
    residual[~np.isfinite(residual)] = np.inf
    return Refined(x, value, residual, problem.covariance(x, value), converged, done)


@dataclass
class _Way:
    """Where n starts are, how strongly each is damped, and how far it has come."""

    x: FloatArray
    damping: FloatArray
    converged: BoolArray
    given_up: BoolArray
    cost: FloatArray


def _descend(
    problem: _Problem, way: _Way, iterations: int, tolerance: float
) -> tuple[int, FloatArray]:
    """Damped steps of all starts; how many were done, and the momenta (n, N, 3) at the end."""
    x, damping = way.x, way.damping
    value, cost = problem.evaluate(x, np.arange(len(x)))
    way.cost = cost
    converged = way.converged = np.zeros(len(x), dtype=bool)
    failures = np.zeros(len(x), dtype=np.int64)
    done = 0
    while done < iterations:
        interruption.check()
        active = np.flatnonzero(~(converged | way.given_up) & (failures < 8) & np.isfinite(cost))
        if not len(active):
            break
        done += 1
        step = problem.step(x[active], value[active], damping[active], active)
        trial = x[active] + step
        trial -= trial.mean(axis=1, keepdims=True)
        apart = _closest(trial) > CLOSEST
        new_value, new_cost = problem.evaluate(trial, active)
        better = apart & (new_cost <= cost[active])
        accepted, refused = active[better], active[~better]
        x[accepted], value[accepted] = trial[better], new_value[better]
        size = np.abs(step).max(axis=(1, 2))
        converged[accepted] = size[better] < tolerance
        # At the end rounding decides whether the cost still falls: a refused step that is tiny
        # has converged too.
        converged[refused] = size[~better] < tolerance
        cost[accepted] = new_cost[better]
        damping[accepted] = np.maximum(damping[accepted] * 0.2, 1e-12)
        damping[refused] = np.minimum(damping[refused] * 6.0, 1e6)
        failures[accepted] = 0
        failures[refused] += 1
    return done, value


class _Problem:
    """The weighted least-squares problem of `refine`; rows of starts are given by index."""

    def __init__(
        self,
        forward: Forward,
        rough: Forward,
        starts: FloatArray,
        momenta: FloatArray,
        sigma: FloatArray | None,
        width: FloatArray | float | None,
    ) -> None:
        self.forward, self.rough, self.momenta = forward, rough, momenta
        self._kept = np.zeros((len(starts), starts[0].size, starts[0].size))
        self._kept_at = np.full(starts.shape, np.nan)
        self._tried = np.zeros_like(self._kept)
        self._tried_at = np.full(starts.shape, np.nan)
        self.linearised: Linearised | None = None
        self.on_it = False
        scale = float(np.sqrt((momenta**2).mean()))
        self.known = sigma is not None or width is not None
        # A standard error of zero would make one number decide everything.
        self.sigma = (
            np.full_like(momenta, scale) if sigma is None else np.maximum(sigma, 1e-6 * scale)
        )
        self.start = starts - starts.mean(axis=1, keepdims=True)
        self.width = None if width is None else np.broadcast_to(np.asarray(width), starts.shape)

    def forward_safely(self, positions: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return self.forward(positions)

    def evaluate(self, x: FloatArray, rows: np.ndarray) -> tuple[FloatArray, FloatArray]:
        """Momenta (k, N, 3) and cost (k); infinite where the forward model fails."""
        if self.linearised is not None and self.on_it:
            value = self._linearise(self.linearised, x, rows)
        else:
            value = self.forward_safely(x)
        cost = (((value - self.momenta) / self.sigma) ** 2).sum(axis=(1, 2))
        if self.width is not None:
            cost = cost + (((x - self.start[rows]) / self.width[rows]) ** 2).sum(axis=(1, 2))
        return value, np.where(np.isfinite(cost), cost, np.inf)

    def jacobian(self, x: FloatArray, rows: np.ndarray) -> FloatArray:
        """(k, 3 N, 3 N) derivatives of momenta over sigma by positions.

        Kept until the start moves: after a refused step they are the same, and over less than
        `ROUGH_STEP` they change no more than a rough model is wrong.
        """
        # With `linearised` the forward model is at work only near the end of the way.
        near = ROUGH_STEP if self.linearised is not None and not self.on_it else 0.0
        new = ~(np.abs(x - self._kept_at[rows]).max(axis=(1, 2)) <= near)
        if new.any():
            moved, at = rows[new], x[new]
            if self.linearised is None:
                self._kept[moved] = self._differences(at)
            else:
                unknown = (at != self._tried_at[moved]).any(axis=(1, 2))
                if unknown.any():
                    self._linearise(self.linearised, at[unknown], moved[unknown])
                self._kept[moved] = self._tried[moved]
            self._kept_at[moved] = at
        return np.asarray(self._kept[rows])

    def _linearise(self, model: Linearised, x: FloatArray, rows: np.ndarray) -> FloatArray:
        """(k, N, 3) momenta of the rough model, its derivatives kept as those tried last."""
        with np.errstate(all="ignore"):
            value, change = model(x)
            change = change / self.sigma.reshape(-1, 1)
        self._tried[rows] = np.nan_to_num(change, posinf=0.0, neginf=0.0)
        self._tried_at[rows] = x
        return value

    def _differences(self, x: FloatArray) -> FloatArray:
        """(k, 3 N, 3 N) the same by forward differences."""
        count, size = len(x), x[0].size
        # Momenta do not change if all atoms move alike: the last atom's derivatives follow.
        free = size - 3
        steps = np.concatenate([np.zeros((1, size)), DIFFERENCE * np.eye(size)[:free]])
        moved = x.reshape(count, 1, size) + steps
        with np.errstate(all="ignore"):
            values = self.rough(moved.reshape(count * (free + 1), *x.shape[1:]))
            values = values.reshape(count, free + 1, size)
            change = (values[:, 1:] - values[:, :1]) / DIFFERENCE / self.sigma.reshape(size)
        last = -change.reshape(count, -1, 3, size).sum(axis=1)
        jacobian = np.concatenate([change, last], axis=1)
        return np.asarray(np.nan_to_num(jacobian.transpose(0, 2, 1), posinf=0.0, neginf=0.0))

    def normal(self, x: FloatArray, value: FloatArray, rows: np.ndarray) -> FloatArray:
        """(k, 3 N, 3 N) matrix of the normal equations, and (k, 3 N) their right-hand side."""
        count, size = len(x), x[0].size
        jacobian = self.jacobian(x, rows)
        rest = ((self.momenta - value) / self.sigma).reshape(count, size, 1)
        matrix = jacobian.transpose(0, 2, 1) @ jacobian
        right = jacobian.transpose(0, 2, 1) @ rest
        if self.width is not None:
            weight = 1.0 / self.width[rows].reshape(count, size) ** 2
            matrix = matrix + weight[:, :, None] * np.eye(size)
            pull = (self.start[rows] - x).reshape(count, size)
            right = right + (weight * pull)[:, :, None]
        return np.concatenate([matrix, right], axis=2)

    def step(
        self, x: FloatArray, value: FloatArray, damping: FloatArray, rows: np.ndarray
    ) -> FloatArray:
        """(k, N, 3) damped step, shortened where it is longer than `LONGEST_STEP`."""
        size = x[0].size
        system = self.normal(x, value, rows)
        matrix, right = system[:, :, :size], system[:, :, size:]
        # Relative to the mean of the diagonal: translations have no curvature of their own.
        level = np.trace(matrix, axis1=1, axis2=2) / size
        ridge = (damping * level + np.finfo(float).tiny)[:, None, None] * np.eye(size)
        floor = 1e-13 * level[:, None, None] * np.eye(size) + np.finfo(float).tiny * np.eye(size)
        step = np.linalg.solve(matrix + ridge + floor, right).reshape(x.shape)
        longest = np.abs(step).max(axis=(1, 2), keepdims=True)
        shortened: FloatArray = step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300))
        return shortened

    def covariance(self, x: FloatArray, value: FloatArray) -> FloatArray | None:
        if not self.known:
            return None
        size = x[0].size
        matrix = self.normal(x, value, np.arange(len(x)))[:, :, :size]
        # Translations are not determined and not wanted: the pseudo-inverse leaves them out.
        bad = ~np.isfinite(matrix).all(axis=(1, 2))
        matrix[bad] = np.eye(size)
        # numpy's eigenvalues start threads that wait for each other: on two cores that other jobs
        # used as well 40 such matrices took up to 2.7 s, on one thread 3 ms.
        with threads_for(0), torch.no_grad():
            inverse = torch.linalg.pinv(torch.from_numpy(matrix), rtol=1e-12, hermitian=True)
        return np.asarray(inverse.numpy(), dtype=np.float64)


def _closest(positions: FloatArray) -> FloatArray:
    """(n) smallest distance of two atoms."""
    atoms = positions.shape[1]
    one, two = np.triu_indices(atoms, k=1)
    distance: FloatArray = np.linalg.norm(positions[:, one] - positions[:, two], axis=2).min(axis=1)
    return distance
