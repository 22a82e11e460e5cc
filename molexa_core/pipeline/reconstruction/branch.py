"""Inversion of many events along one branch: the structures that belong together.

Momenta often fit several structures. Those of the events of one run lie near one structure, the
reference, of which they are displacements. An event is therefore turned onto the momenta of the
reference, its like ions in the order that fits them best, and the structure follows from that of
the reference by the derivative of the explosion; damped least squares (Levenberg, Q. Appl. Math. 2,
164 (1944)) then solves it exactly. An event that finds no solution so, or one far from those of the
others, is tried again from the structures of its neighbours and along the straight path from the
momenta of the reference to its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod
from typing import Final, TypeVar

import numpy as np

from molexa_core.base import interruption
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.physics.family.family import Family, Fragments

MOST_ORDERS: Final = 5040
"""Largest number of orders of like ions that are all tried."""
BEST_ORDERS: Final = 4
"""Orders of like ions, best by the differences of the momenta, that are turned onto the reference.
"""
ALIKE: Final = 1e-3
"""Orders whose misfits differ by less than this share fit equally well."""
ITERATIONS: Final = 40
LED: Final = 6
"""Largest number of steps at each of the momenta on the way to others."""
TOLERANCE: Final = 2e-5
"""Steps below this, bohr, end the search for a solution."""
SAME_SLOPE: Final = 0.02
"""Derivatives are kept until a coordinate has moved this far, bohr."""
LONGEST_STEP: Final = 0.5
CLOSEST: Final = 0.3
"""Longest step of a coordinate and smallest distance of two atoms, bohr."""
SIGMAS: Final = 3.0
"""Misfit in standard errors (rms over the components) up to which a structure explains an event."""
EXACT: Final = 1e-3
"""The same as a share of the rms momentum, where the resolution is better or not known."""
Part = TypeVar("Part")
Result = TypeVar("Result")
BLOCK: Final = 1024
"""Events solved together by one thread."""
Descent = tuple[FloatArray, FloatArray, FloatArray]
"""Positions (n, N, 3), their momenta, and derivatives near there (n, 3 N, 3 N)."""


@dataclass(frozen=True)
class Member:
    """One member of a family of forward models, for the ions of a run.

    Attributes:
        family: the forward models.
        fragments: the N ions.
        parameters: (P) coordinates of the member.
    """

    family: Family
    fragments: Fragments
    parameters: FloatArray

    def momenta(self, positions: FloatArray) -> FloatArray:
        """(n, N, 3) a.u. of positions (n, N, 3) in bohr; not numbers where the model fails."""
        with np.errstate(all="ignore"):
            return self.family.explode(self.fragments, positions, self._of(len(positions)))

    def linearised(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The same with (n, 3 N, 3 N) derivatives by the positions (rows: momenta)."""
        with np.errstate(all="ignore"):
            found = self.family.linearise(self.fragments, positions, self._of(len(positions)))
        return found.momenta, found.by_positions

    def _of(self, count: int) -> FloatArray:
        return np.broadcast_to(self.parameters, (count, len(self.parameters)))


@dataclass(frozen=True)
class Reference:
    """The structure that those of the events are displacements of.

    Attributes:
        positions: (N, 3) bohr, centred.
        momenta: (N, 3) a.u., of its explosion.
        slope: (3 N, 3 N) derivatives of the momenta by the positions.
    """

    positions: FloatArray
    momenta: FloatArray
    slope: FloatArray

    @classmethod
    def of(cls, explosion: Member, positions: FloatArray) -> Reference:
        """The reference with these (N, 3) positions."""
        centred = positions - positions.mean(axis=0)
        momenta, slope = explosion.linearised(centred[None])
        return cls(centred, momenta[0], slope[0])

    @property
    def usable(self) -> bool:
        """Whether momenta and derivatives are numbers."""
        return bool(np.isfinite(self.momenta).all() and np.isfinite(self.slope).all())


@dataclass(frozen=True)
class Solved:
    """Structures of n events in the frame and the order of a reference.

    Attributes:
        positions: (n, N, 3) bohr, centred.
        momenta: (n, N, 3) the measured momenta in that frame and order, a.u.
        misfit: (n) rms of the misfit over the smallest error that counts, see `Solver`.
        closure: (n) rms misfit of the momenta over their rms.
        slope: (n, 3 N, 3 N) derivatives of the momenta by the positions near the solution.
        turn: (n, 3, 3) rotation of the event onto the reference: p_reference = turn p_event.
        order: (n, N) the column of the event that each ion of the reference is.
    """

    positions: FloatArray
    momenta: FloatArray
    misfit: FloatArray
    closure: FloatArray
    slope: FloatArray
    turn: FloatArray
    order: IntArray

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def explained(self) -> BoolArray:
        """(n) whether the structure gives the measured momenta within `SIGMAS` errors."""
        return self.misfit <= SIGMAS

    def rows(self, chosen: IntArray | BoolArray) -> Solved:
        """These events alone."""
        return Solved(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def with_rows(self, chosen: IntArray, other: Solved) -> Solved:
        """The same with other solutions of these events."""
        columns = {}
        for name in self.__dataclass_fields__:
            column = getattr(self, name).copy()
            column[chosen] = getattr(other, name)
            columns[name] = column
        return Solved(**columns)


class Solver:
    """Solves events of one kind of ions.

    Args:
        explosion: the forward model.
        sigma: (N) standard error of a momentum component of each ion, a.u.; zeros if not known.
        like: for each ion, a number that like ions share.

    Attributes:
        iterations: largest number of steps.
        spread: computes long descents elsewhere, see `Solver.descend`: receives the solver, starts
            and target; None for those that are computed here.

    Raises:
        UsageError: more orders of like ions than can be tried.
    """

    def __init__(self, explosion: Member, sigma: FloatArray, like: Sequence[int]) -> None:
        self.explosion = explosion
        self.sigma = sigma
        self.orders = orders_of(like)
        self.iterations = ITERATIONS
        self.spread: Callable[[Solver, FloatArray, FloatArray], Descent | None] | None = None

    def alike(self, *, explosion: Member | None = None, iterations: int | None = None) -> Solver:
        """The same with another forward model, or another largest number of iterations."""
        other = copy(self)
        other.explosion = explosion or self.explosion
        other.iterations = iterations or self.iterations
        return other

    def solve(self, momenta: FloatArray, reference: Reference) -> Solved:
        """The structures of events (n, N, 3), momenta in a.u. with sum zero, in any frame."""
        turn, order = turned_onto(momenta, reference.momenta, self.orders)
        target = np.take_along_axis(momenta, order[:, :, None], axis=1)
        target = np.einsum("nxk,nik->nix", turn, target)
        n, size = len(target), target[0].size
        # The step that the derivative at the reference gives; where it is large, half-way.
        step = _least_squares(reference.slope, (target - reference.momenta).reshape(n, size))
        longest = np.abs(step).max(axis=1, keepdims=True)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300))
        starts = reference.positions + step.reshape(target.shape)
        starts = np.where((closest(starts) > CLOSEST)[:, None, None], starts, reference.positions)
        return self.descend(starts, target, turn, order)

    def again(self, solved: Solved, rows: IntArray, starts: FloatArray) -> Solved:
        """These events solved from other starts (rows, N, 3) in the frame of the reference."""
        part = solved.rows(rows)
        return self.descend(starts, part.momenta, part.turn, part.order)

    def along(self, solved: Solved, rows: IntArray, reference: Reference, steps: int = 6) -> Solved:
        """These events solved step by step on the straight path from the reference."""
        part = solved.rows(rows)
        at = np.repeat(reference.positions[None], len(rows), axis=0)
        found = part
        for number in range(1, steps + 1):
            share = number / steps
            target = reference.momenta + share * (part.momenta - reference.momenta)
            found = self.descend(at, target, part.turn, part.order)
            at = found.positions
        return found

    def led(self, starts: FloatArray, target: FloatArray, steps: int = 12) -> Solved:
        """Structures led from (n, N, 3) starts to (n, N, 3) momenta in the same frame.

        The momenta of each start are moved to those wanted in steps, so that the structure stays on
        its branch as long as that goes on; least squares alone may leap to another one.
        """
        n, atoms = starts.shape[:2]
        turn = np.broadcast_to(np.eye(3), (n, 3, 3))
        order = np.broadcast_to(np.arange(atoms), (n, atoms))
        at = starts - starts.mean(axis=1, keepdims=True)
        own = self.explosion.momenta(at)
        usable = np.isfinite(own).all(axis=(1, 2))
        own[~usable] = target[~usable]
        quick = self.alike(iterations=LED)
        for number in range(1, steps):
            share = number / steps
            found = quick.descend(at, own + share * (target - own), turn, order)
            at = found.positions
        return self.descend(at, target, turn, order)

    def descend(
        self, starts: FloatArray, target: FloatArray, turn: FloatArray, order: IntArray
    ) -> Solved:
        """Damped least squares from starts (n, N, 3) to momenta (n, N, 3), both in one frame."""
        found = None if self.spread is None else self.spread(self, starts, target)
        x, value, slope = self.in_blocks(starts, target) if found is None else found
        away = value - target
        scale = np.sqrt(np.square(target).mean(axis=(1, 2)))
        least = np.maximum(self.sigma[None, :], EXACT / SIGMAS * scale[:, None])[:, :, None]
        misfit = np.sqrt(np.square(away / least).mean(axis=(1, 2)))
        closure = np.sqrt(np.square(away).mean(axis=(1, 2))) / scale
        possible = np.isfinite(misfit) & (closest(x) >= CLOSEST)
        misfit, closure = (np.where(possible, one, np.inf) for one in (misfit, closure))
        return Solved(x, target, misfit, closure, slope, turn, order)

    def in_blocks(self, starts: FloatArray, target: FloatArray) -> Descent:
        """The descent in blocks of `BLOCK` events, by the threads of this process."""
        blocks = [slice(at, at + BLOCK) for at in range(0, len(starts), BLOCK)]
        found = in_threads(lambda block: self._descend(starts[block], target[block]), blocks)
        if not found:
            found = [self._descend(starts, target)]
        x, value, slope = (np.concatenate(one) for one in zip(*found, strict=True))
        return x, value, slope

    def _descend(self, starts: FloatArray, target: FloatArray) -> Descent:
        """Positions (n, N, 3), their momenta, and derivatives near there (n, 3 N, 3 N)."""
        n, atoms = target.shape[:2]
        size = 3 * atoms
        x = starts - starts.mean(axis=1, keepdims=True)
        if not n:
            return x, target.copy(), np.zeros((0, size, size))
        weight = 1.0 / np.repeat(_relative(self.sigma, self.explosion.fragments), 3)
        value, slope = self.explosion.linearised(x)
        slope_at = x.copy()
        cost = _cost(value, target, weight)
        damping = np.full(n, 1e-6)
        failures = np.zeros(n, dtype=np.int64)
        done = ~np.isfinite(cost)
        for _ in range(self.iterations):
            interruption.check()
            active = np.flatnonzero(~done & (failures < 10))
            if not len(active):
                break
            moved = np.abs(x[active] - slope_at[active]).max(axis=(1, 2))
            stale = active[(moved > SAME_SLOPE) | ((failures[active] > 0) & (moved > 0.0))]
            if len(stale):
                slope[stale] = self.explosion.linearised(x[stale])[1]
                slope_at[stale] = x[stale]
            step = _damped(slope[active], target[active] - value[active], weight, damping[active])
            trial = x[active] + step
            apart = closest(trial) > CLOSEST
            new = self.explosion.momenta(trial)
            new_cost = np.where(apart, _cost(new, target[active], weight), np.inf)
            better = new_cost <= cost[active]
            short = np.abs(step).max(axis=(1, 2)) < TOLERANCE
            taken, refused = active[better], active[~better]
            x[taken], value[taken], cost[taken] = trial[better], new[better], new_cost[better]
            damping[taken] = np.maximum(damping[taken] * 0.1, 1e-12)
            damping[refused] = np.minimum(damping[refused] * 10.0, 1e6)
            failures[taken] = 0
            failures[refused] += 1
            # Close to the solution rounding decides whether the misfit decreases.
            done[active] = short
        return x, value, slope


def orders_of(like: Sequence[int]) -> IntArray:
    """(orders, N) all orders of the ions that exchange like ones only, the given one first.

    Raises:
        UsageError: there are more than `MOST_ORDERS`.
    """
    groups = [[i for i, kind in enumerate(like) if kind == one] for one in dict.fromkeys(like)]
    count = prod(factorial(len(group)) for group in groups)
    if count > MOST_ORDERS:
        raise UsageError(
            f"groups of {listing(len(group) for group in groups)} like ions have {count} orders",
            do=f"Single events are reconstructed with up to {MOST_ORDERS}; use the mean momenta.",
        )
    rows = np.tile(np.arange(len(like)), (count, 1))
    for row, choice in enumerate(product(*(permutations(group) for group in groups))):
        for group, chosen in zip(groups, choice, strict=True):
            rows[row, group] = chosen
    return rows


def turned_onto(
    vectors: FloatArray, wanted: FloatArray, orders: IntArray
) -> tuple[FloatArray, IntArray]:
    """(n, 3, 3) rotations and (n, N) orders that fit (n, N, 3) vectors onto (N, 3) wanted ones.

    The orders whose differences, ion by ion, are most like those wanted are turned onto them
    (Kabsch, Acta Cryst. A 32, 922 (1976)); the best of them is taken, of equally good ones the
    first. Vectors and wanted ones have the mean zero.
    """
    first = candidates(vectors, wanted, orders)
    best = np.full(len(vectors), np.inf)
    order = np.repeat(orders[:1], len(vectors), axis=0)
    turn = np.empty((len(vectors), 3, 3))
    for column in range(first.shape[1]):
        trial = orders[first[:, column]]
        ordered = np.take_along_axis(vectors, trial[:, :, None], axis=1)
        rotation = rotations_onto(ordered, wanted)
        away = np.einsum("nxk,nik->nix", rotation, ordered) - wanted
        cost = np.square(away).sum(axis=(1, 2))
        better = cost < best * (1.0 - ALIKE)
        best = np.where(better, cost, best)
        turn = np.where(better[:, None, None], rotation, turn)
        order = np.where(better[:, None], trial, order)
    return turn, order


def candidates(momenta: FloatArray, wanted: FloatArray, orders: IntArray) -> IntArray:
    """(n, up to `BEST_ORDERS`) the orders that fit best, ascending, by pair differences alone.

    The sum over pairs of (|p_a - p_b| - |w_a - w_b|)^2 is, up to a constant, minus twice a product
    of two vectors, one of the event and one of the order.
    """
    n, atoms = momenta.shape[:2]
    if len(orders) <= BEST_ORDERS:
        return np.tile(np.arange(len(orders)), (n, 1))
    one, other = np.triu_indices(atoms, 1)
    apart = np.linalg.norm(wanted[one] - wanted[other], axis=1)
    table = np.zeros((len(orders), atoms, atoms))
    rows = np.arange(len(orders))[:, None]
    ends = np.sort(np.stack([orders[:, one], orders[:, other]]), axis=0)
    table[rows, ends[0], ends[1]] = apart
    between = np.linalg.norm(momenta[:, one] - momenta[:, other], axis=2)
    found = np.empty((n, BEST_ORDERS), dtype=np.int64)
    for at in range(0, n, BLOCK):
        score = between[at : at + BLOCK] @ table[:, one, other].T
        found[at : at + BLOCK] = np.argpartition(-score, BEST_ORDERS - 1, axis=1)[:, :BEST_ORDERS]
    return np.sort(found, axis=1)


def rotations_onto(moved: FloatArray, fixed: FloatArray) -> FloatArray:
    """(n, 3, 3) proper rotations R for which sum |R a_i - b_i|^2 is smallest, a of (n, N, 3)."""
    product_of = np.einsum("nik,...ix->nxk", moved, fixed)
    left, _, right = np.linalg.svd(product_of)
    sign = np.sign(np.linalg.det(left) * np.linalg.det(right))
    left[:, :, 2] *= np.where(sign == 0.0, 1.0, sign)[:, None]
    return np.asarray(left @ right)


def superposed(positions: FloatArray, onto: FloatArray, masses: FloatArray) -> FloatArray:
    """(n, N, 3) positions turned onto (N, 3), by mass, both with the centre of mass at the origin.

    C. Eckart, Phys. Rev. 47, 552 (1935), for displacements that are not infinitely small.
    """
    share = (masses / masses.sum())[:, None]
    moved = positions - (share * positions).sum(axis=1, keepdims=True)
    fixed = onto - (share * onto).sum(axis=0)
    rotation = rotations_onto(moved * share, fixed)
    return np.asarray(np.einsum("nxk,nik->nix", rotation, moved))


def closest(positions: FloatArray) -> FloatArray:
    """(n) smallest distance of two atoms, bohr."""
    one, other = np.triu_indices(positions.shape[1], 1)
    return np.asarray(np.linalg.norm(positions[:, one] - positions[:, other], axis=2).min(axis=1))


def in_threads(work: Callable[[Part], Result], parts: Sequence[Part]) -> list[Result]:
    """The results of independent parts, worked on by as many threads as there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if len(parts) < 2 or not cores or cores < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(min(cores, len(parts))) as pool:
        return list(pool.map(work, parts))


def _relative(sigma: FloatArray, fragments: Fragments) -> FloatArray:
    """(N) errors of the ions relative to each other; as sqrt(mass * charge) if not known."""
    if (sigma > 0.0).all():
        return np.asarray(sigma / sigma.mean())
    kind = np.sqrt(fragments.masses * fragments.charges)
    return np.asarray(kind / kind.mean())


def _cost(value: FloatArray, target: FloatArray, weight: FloatArray) -> FloatArray:
    with np.errstate(all="ignore"):
        away = (value - target).reshape(len(value), -1) * weight
        cost = np.square(away).sum(axis=1)
    return np.where(np.isfinite(cost), cost, np.inf)


def _damped(
    slope: FloatArray, away: FloatArray, weight: FloatArray, damping: FloatArray
) -> FloatArray:
    """(n, N, 3) steps of damped least squares, none longer than `LONGEST_STEP`."""
    n, size = slope.shape[:2]
    scaled = np.nan_to_num(slope * weight[:, None], posinf=0.0, neginf=0.0)
    across = scaled.transpose(0, 2, 1)
    matrix = across @ scaled
    right = across @ (away.reshape(n, size, 1) * weight[:, None])
    mean = np.trace(matrix, axis1=1, axis2=2) / size
    ridge = ((damping + 1e-13) * mean + np.finfo(float).tiny)[:, None, None] * np.eye(size)
    step = np.linalg.solve(matrix + ridge, right).reshape(away.shape)
    step -= step.mean(axis=1, keepdims=True)
    longest = np.abs(step).max(axis=(1, 2), keepdims=True)
    return np.asarray(step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300)))


def _least_squares(slope: FloatArray, away: FloatArray) -> FloatArray:
    """(n, 3 N) shortest displacements with this change of the momenta (n, 3 N)."""
    return np.asarray(away @ np.linalg.pinv(slope, rcond=1e-6).T)
