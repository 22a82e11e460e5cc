"""Refinement: damped least squares until the simulated explosion gives the measured momenta.

The map from geometry to momenta is differentiable and has, up to translations, as many equations as
unknowns. A structure near a solution therefore converges to it with the method of Levenberg
(Q. Appl. Math. 2, 164 (1944)) and Marquardt (SIAM J. Appl. Math. 11, 431 (1963)), which minimizes

    chi2(x) = sum |(p(x) - p_measured) / sigma|^2  +  sum |(x - x_start) / width|^2

The second term is optional: it keeps coordinates that noisy momenta do not determine at their start
values. Many starts are refined together, each with its own damping. The forward model is an
argument: any function from positions to momenta.
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
"""Positions (n, N, 3) in bohr to momenta (n, N, 3) in a.u.; a momentum that is not a number counts
as an infinite misfit."""
Linearised = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Positions (n, N, 3) in bohr to momenta (n, N, 3) in a.u. and their derivatives (n, 3 N, 3 N) with
respect to the positions (rows: momenta)."""
DIFFERENCE: Final = 1e-4
"""Step of the finite differences, bohr: with it the errors from rounding of the forward model and
from curvature are both below 1e-5 of the derivative."""
LONGEST_STEP: Final = 0.5
"""Largest change of a coordinate in one step, bohr."""
CLOSEST: Final = 0.3
"""Smallest distance of two atoms after a step, bohr."""
ROUGH_STEP: Final = 0.01
"""Step, bohr, below which a start has converged on the rough model, whose error is as large."""
GIVE_UP_RESIDUAL: Final = 0.2
"""Misfit of the momenta over their rms above which a start that has not converged on the rough
model is given up ..."""
GIVE_UP_SIGMAS: Final = 10.0
"""... and the same in standard errors (rms), if the errors of the momenta are known."""


@dataclass(frozen=True)
class Refined:
    """The result of a refinement. n starts, N atoms.

    Attributes:
        positions: (n, N, 3) bohr, centred.
        momenta: (n, N, 3) a.u., from the forward model at these positions.
        residual: (n) root of sum |p - p_measured|^2 over sum |p_measured|^2.
        covariance: (n, 3 N, 3 N) of the positions in bohr^2, from sigma and width in linear
            approximation; None if neither was given.
        converged: (n) whether the last accepted step was below the tolerance.
        iterations: their number, on the rough model and on the forward model together.
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
    """Refine structures until their explosion gives the measured momenta.

    Args:
        forward: the forward model.
        starts: (n, N, 3) bohr.
        momenta: (N, 3) a.u., measured, with sum zero.
        sigma: (N, 3) standard errors of the momenta; without them all have the same weight.
        width: standard deviation of the positions about their start, bohr, a number or
            (n, N, 3); without it the momenta alone determine the positions.
        rough: a cheaper forward model for the derivatives: their error slows convergence but does
            not change the solution. The forward model itself by default.
        linearised: a rough model with its derivatives, instead of `rough`: starts are first refined
            on it alone, down to steps of `ROUGH_STEP`.
        iterations: largest number of iterations; with `linearised`, of those on that model.
        polish: with `linearised`, largest number of iterations on the forward model afterwards.
        tolerance: a start has converged when no coordinate changes by more than this, bohr.

    Returns:
        `Refined`; a start that cannot be improved is returned unchanged.
    """
    x = starts - starts.mean(axis=1, keepdims=True)
    all_false = np.zeros(len(x), dtype=bool)
    state = _Starts(x, np.full(len(x), 1e-3), all_false, all_false, np.full(len(x), np.inf))
    problem = _Problem(forward, rough or forward, starts, momenta, sigma, width)
    rough_steps = 0
    if linearised is not None:
        problem.linearised, problem.on_rough_model = linearised, True
        rough_steps, _ = _descend(problem, state, iterations, max(ROUGH_STEP, tolerance))
        limit = GIVE_UP_RESIDUAL if sigma is None else GIVE_UP_SIGMAS
        state.given_up = ~state.converged & (state.cost > starts[0].size * limit**2)
        problem.on_rough_model, iterations = False, polish
    steps, value = _descend(problem, state, iterations, tolerance)
    x, converged, steps = state.x, state.converged, steps + rough_steps
    residual = np.sqrt(((value - momenta) ** 2).sum(axis=(1, 2)) / (momenta**2).sum())
    residual[~np.isfinite(residual)] = np.inf
    return Refined(x, value, residual, problem.covariance(x, value), converged, steps)


@dataclass
class _Starts:
    """The state of n starts: positions (n, N, 3), damping, convergence and cost (n)."""

    x: FloatArray
    damping: FloatArray
    converged: BoolArray
    given_up: BoolArray
    cost: FloatArray


def _descend(
    problem: _Problem, state: _Starts, iterations: int, tolerance: float
) -> tuple[int, FloatArray]:
    """Take damped steps with all starts; returns their number and the final momenta (n, N, 3)."""
    x, damping = state.x, state.damping
    value, cost = problem.evaluate(x, np.arange(len(x)))
    state.cost = cost
    converged = state.converged = np.zeros(len(x), dtype=bool)
    failures = np.zeros(len(x), dtype=np.int64)
    steps = 0
    while steps < iterations:
        interruption.check()
        active = np.flatnonzero(~(converged | state.given_up) & (failures < 8) & np.isfinite(cost))
        if not len(active):
            break
        steps += 1
        step = problem.step(x[active], value[active], damping[active], active)
        trial = x[active] + step
        trial -= trial.mean(axis=1, keepdims=True)
        far_enough = _closest(trial) > CLOSEST
        new_value, new_cost = problem.evaluate(trial, active)
        better = far_enough & (new_cost <= cost[active])
        accepted, refused = active[better], active[~better]
        x[accepted], value[accepted] = trial[better], new_value[better]
        longest = np.abs(step).max(axis=(1, 2))
        converged[accepted] = longest[better] < tolerance
        # Close to the solution rounding decides whether the cost decreases: a start whose refused
        # step is tiny has converged, too.
        converged[refused] = longest[~better] < tolerance
        cost[accepted] = new_cost[better]
        damping[accepted] = np.maximum(damping[accepted] * 0.2, 1e-12)
        damping[refused] = np.minimum(damping[refused] * 6.0, 1e6)
        failures[accepted] = 0
        failures[refused] += 1
    return steps, value


class _Problem:
    """The weighted least-squares problem of `refine`; `rows` are indices of starts."""

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
        self.on_rough_model = False
        scale = float(np.sqrt((momenta**2).mean()))
        self.has_errors = sigma is not None or width is not None
        # A standard error of zero would give one component all the weight.
        self.sigma = (
            np.full_like(momenta, scale) if sigma is None else np.maximum(sigma, 1e-6 * scale)
        )
        self.start = starts - starts.mean(axis=1, keepdims=True)
        self.width = None if width is None else np.broadcast_to(np.asarray(width), starts.shape)

    def forward_safely(self, positions: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            return self.forward(positions)

    def evaluate(self, x: FloatArray, rows: np.ndarray) -> tuple[FloatArray, FloatArray]:
        """Momenta (k, N, 3) and cost (k), which is infinite where the forward model fails."""
        if self.linearised is not None and self.on_rough_model:
            value = self._linearise(self.linearised, x, rows)
        else:
            value = self.forward_safely(x)
        cost = (((value - self.momenta) / self.sigma) ** 2).sum(axis=(1, 2))
        if self.width is not None:
            cost = cost + (((x - self.start[rows]) / self.width[rows]) ** 2).sum(axis=(1, 2))
        return value, np.where(np.isfinite(cost), cost, np.inf)

    def jacobian(self, x: FloatArray, rows: np.ndarray) -> FloatArray:
        """(k, 3 N, 3 N) derivatives of momenta over sigma with respect to the positions.

        They are kept until the start moves: after a refused step they are the same, and over less
        than `ROUGH_STEP` they change by less than the error of a rough model.
        """
        # With `linearised` the forward model is used only close to the solution.
        polishing = self.linearised is not None and not self.on_rough_model
        reuse_within = ROUGH_STEP if polishing else 0.0
        outdated = ~(np.abs(x - self._kept_at[rows]).max(axis=(1, 2)) <= reuse_within)
        if outdated.any():
            changed, at = rows[outdated], x[outdated]
            if self.linearised is None:
                self._kept[changed] = self._differences(at)
            else:
                unknown = (at != self._tried_at[changed]).any(axis=(1, 2))
                if unknown.any():
                    self._linearise(self.linearised, at[unknown], changed[unknown])
                self._kept[changed] = self._tried[changed]
            self._kept_at[changed] = at
        return np.asarray(self._kept[rows])

    def _linearise(self, model: Linearised, x: FloatArray, rows: np.ndarray) -> FloatArray:
        """(k, N, 3) momenta of the rough model; its derivatives are stored."""
        with np.errstate(all="ignore"):
            value, change = model(x)
            change = change / self.sigma.reshape(-1, 1)
        self._tried[rows] = np.nan_to_num(change, posinf=0.0, neginf=0.0)
        self._tried_at[rows] = x
        return value

    def _differences(self, x: FloatArray) -> FloatArray:
        """(k, 3 N, 3 N) derivatives as in `jacobian`, by forward differences."""
        count, size = len(x), x[0].size
        # A translation of the molecule does not change the momenta, which gives the derivatives
        # with respect to the last atom.
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
        """The normal equations (k, 3 N, 3 N + 1): matrix, and right-hand side as last column."""
        count, size = len(x), x[0].size
        jacobian = self.jacobian(x, rows)
        misfit = ((self.momenta - value) / self.sigma).reshape(count, size, 1)
        matrix = jacobian.transpose(0, 2, 1) @ jacobian
        right_side = jacobian.transpose(0, 2, 1) @ misfit
        if self.width is not None:
            weight = 1.0 / self.width[rows].reshape(count, size) ** 2
            matrix = matrix + weight[:, :, None] * np.eye(size)
            offset = (self.start[rows] - x).reshape(count, size)
            right_side = right_side + (weight * offset)[:, :, None]
        return np.concatenate([matrix, right_side], axis=2)

    def step(
        self, x: FloatArray, value: FloatArray, damping: FloatArray, rows: np.ndarray
    ) -> FloatArray:
        """(k, N, 3) damped step, shortened where it is longer than `LONGEST_STEP`."""
        size = x[0].size
        system = self.normal(x, value, rows)
        matrix, right_side = system[:, :, :size], system[:, :, size:]
        # Damping relative to the mean of the diagonal: translations have zero curvature.
        mean_diagonal = np.trace(matrix, axis1=1, axis2=2) / size
        identity, tiny = np.eye(size), np.finfo(float).tiny
        ridge = (damping * mean_diagonal + tiny)[:, None, None] * identity
        floor = 1e-13 * mean_diagonal[:, None, None] * identity + tiny * identity
        step = np.linalg.solve(matrix + ridge + floor, right_side).reshape(x.shape)
        longest = np.abs(step).max(axis=(1, 2), keepdims=True)
        shortened: FloatArray = step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300))
        return shortened

    def covariance(self, x: FloatArray, value: FloatArray) -> FloatArray | None:
        if not self.has_errors:
            return None
        size = x[0].size
        matrix = self.normal(x, value, np.arange(len(x)))[:, :, :size]
        # Translations are undetermined: the pseudo-inverse leaves them out.
        bad = ~np.isfinite(matrix).all(axis=(1, 2))
        matrix[bad] = np.eye(size)
        # numpy's eigenvalue solver starts threads that wait for each other: on two busy cores 40
        # such matrices took up to 2.7 s, on one thread 3 ms.
        with threads_for(0), torch.no_grad():
            inverse = torch.linalg.pinv(torch.from_numpy(matrix), rtol=1e-12, hermitian=True)
        return np.asarray(inverse.numpy(), dtype=np.float64)


def _closest(positions: FloatArray) -> FloatArray:
    """(n) smallest distance of two atoms, bohr."""
    atoms = positions.shape[1]
    first, second = np.triu_indices(atoms, k=1)
    separation = positions[:, first] - positions[:, second]
    distance: FloatArray = np.linalg.norm(separation, axis=2).min(axis=1)
    return distance
