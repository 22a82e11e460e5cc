"""Which structures the events of a run have: branches of the inversion, and what is typical.

Structures of the network are refined on the momenta of their own events and sorted into branches:
those that follow from one of them by `branch.Solver` are one branch. Like ions that the reference
of a branch cannot tell apart must not be sorted by how long their bonds happen to be, so the
reference is made symmetric: an exchange of like atoms, a reflection or the axis of a linear
molecule counts as a symmetry if the image of the reference could be one of the events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from molexa_core.base.tables import BoolArray, FloatArray, Geometry, IntArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.geometry.plausibility import plausibility
from molexa_core.physics.molecules.vibrations import rigid_motions
from molexa_core.pipeline.reconstruction.branch import (
    Reference,
    Solved,
    Solver,
    superposed,
    turned_onto,
)

SAME: Final = 0.05
"""Structures whose distances differ by less than this, bohr, are one solution."""
MOST_BRANCHES: Final = 5
TRIAL: Final = 15
"""Largest number of steps while branches are compared."""
NEARBY: Final = 3
"""Branches around which plausible structures are searched, ..."""
DISPLACED: Final = (0.3, 1.0)
"""... and by how much their references are displaced for that, bohr."""
FOLLOWED: Final = 0.8
"""A branch that explains less than this share of what the best one explains comes last."""
SAME_IMAGE: Final = 11.3
"""Square of the distance, in standard deviations, within which an image of the reference is the
same; more in many dimensions. Bonds sorted by length are 2.7 apart."""
LOST: Final = 0.9
"""A reference on whose branch fewer than this share of the events remain is not taken."""
LEAST_SPREAD: Final = 1e-5
"""Smallest standard deviation of a displacement, bohr: that of rounding."""
CORE: Final = 0.75
"""Share of the events from which the typical spread is found."""
ROUNDS: Final = 8
UNLIKELY: Final = 1e-6
"""Events are unlike the others where a normal distribution has a share of this beyond them."""
FEWEST: Final = 30
"""Events below which none is called unlike the others."""


@dataclass(frozen=True)
class Crowd:
    """The displacements of events from a reference: their mean and covariance.

    Attributes:
        reference: what they are displaced from.
        masses: (N) electron masses.
        basis: (3 N, k) displacements that are neither translation nor rotation.
        mean: (k) bohr.
        inverse: (k, k) of the covariance.
        cut: square of the distance, in standard deviations, beyond which an event is unlike them.
        spread: rms displacement of an atom, bohr.
    """

    reference: FloatArray
    masses: FloatArray
    basis: FloatArray
    mean: FloatArray
    inverse: FloatArray
    cut: float
    spread: float

    @classmethod
    def of(cls, positions: FloatArray, reference: FloatArray, masses: FloatArray) -> Crowd:
        """The crowd of structures (n, N, 3).

        The covariance is that of the `CORE` of the events that are nearest to their mean, found in
        turns with the distances (P. J. Rousseeuw, K. van Driessen, Technometrics 41, 212 (1999))
        and scaled so that the median distance is that of a normal distribution.
        """
        from scipy.stats import chi2  # noqa: PLC0415  # takes a third of a second

        rigid = rigid_motions(reference, np.ones(len(reference)))
        basis = np.linalg.svd(rigid, full_matrices=True)[0][:, rigid.shape[1] :]
        moved = superposed(positions, reference, masses)
        moved = (moved - moved.mean(axis=1, keepdims=True)).reshape(len(moved), -1)
        away = (moved - reference.reshape(-1)) @ basis
        free = basis.shape[1]
        middle = np.median(away, axis=0)
        scale = np.median(np.abs(away - middle), axis=0) + 1e-9
        far = np.square((away - middle) / scale).mean(axis=1)
        count = max(int(CORE * len(away)), min(len(away), free + 2))
        mean, inverse = middle, np.diag(1.0 / (1.4826 * scale) ** 2)
        for _ in range(ROUNDS):
            core = away[np.argsort(far, kind="stable")[:count]]
            mean = core.mean(axis=0)
            covariance = (core - mean).T @ (core - mean) / max(len(core) - 1, 1)
            covariance += np.eye(free) * (1e-9 * np.trace(covariance) / free + LEAST_SPREAD**2)
            inverse = np.linalg.inv(covariance)
            far = np.einsum("ni,ij,nj->n", away - mean, inverse, away - mean)
            half = float(chi2.ppf(0.5, free))
            inverse *= half / max(float(np.median(far)), 1e-3 * half)
            far = np.einsum("ni,ij,nj->n", away - mean, inverse, away - mean)
        cut = np.inf if len(away) < FEWEST + free else float(chi2.isf(UNLIKELY, free))
        typical = away[far <= cut] if (far <= cut).any() else away
        spread = float(np.sqrt(np.square(typical - mean).sum(axis=1).mean() / len(reference)))
        return cls(reference, masses, basis, mean, inverse, cut, spread)

    def distance(self, positions: FloatArray) -> FloatArray:
        """(n) square of the distance of structures (n, N, 3) in standard deviations."""
        moved = superposed(positions, self.reference, self.masses)
        moved = (moved - moved.mean(axis=1, keepdims=True)).reshape(len(moved), -1)
        away = (moved - self.reference.reshape(-1)) @ self.basis - self.mean
        return np.asarray(np.einsum("ni,ij,nj->n", away, self.inverse, away))

    def holds(self, solved: Solved) -> BoolArray:
        """(n) whether events are explained and like the others."""
        return np.asarray(solved.explained & (self.distance(solved.positions) <= self.cut))

    def middle(self, positions: FloatArray) -> FloatArray:
        """(N, 3) mean of structures, superposed on the reference and centred."""
        mean = superposed(positions, self.reference, self.masses).mean(axis=0)
        return np.asarray(mean - mean.mean(axis=0))


@dataclass(frozen=True)
class Branch:
    """One branch.

    Attributes:
        reference: of the branch.
        share: share of the structures of the network that lie on it.
        explained: share of the events that it explains.
        closure: median closure of these events.
        objections: reasons why the reference is chemically implausible.
    """

    reference: Reference
    share: float
    explained: float
    closure: float
    objections: tuple[str, ...]


def symmetric(positions: FloatArray, orders: IntArray, crowd: Crowd) -> FloatArray:
    """(N, 3) a structure averaged over all its symmetries.

    Args:
        positions: (N, 3) bohr, centred.
        orders: (orders, N) of like atoms.
        crowd: the events; an image of the structure that is one of them by its distance is the
            same structure.
    """
    from scipy.stats import chi2  # noqa: PLC0415  # takes a third of a second

    limit = max(SAME_IMAGE, float(chi2.ppf(0.95, crowd.basis.shape[1])))
    masses = crowd.masses
    axis = np.linalg.svd(positions)[2][0]
    along = np.outer(positions @ axis, axis)
    if len(positions) > 2 and crowd.distance(along[None])[0] < limit:
        positions = along
    for _ in range(2):
        images = []
        for sign in (1.0, -1.0):
            moved = superposed(sign * positions[orders], positions, masses)
            moved -= moved.mean(axis=1, keepdims=True)
            images.append(moved[crowd.distance(moved) < limit])
        # The identity is among them, unless the structure itself is none of the events.
        found = np.concatenate(images)
        positions = found.mean(axis=0) if len(found) else positions
        positions = positions - positions.mean(axis=0)
    return positions


def settled(
    solver: Solver, momenta: FloatArray, reference: Reference, *, rounds: int = 2
) -> tuple[Reference, Solved, Crowd]:
    """The events solved on a branch, from a reference that is the symmetric mean of them."""
    masses = solver.explosion.fragments.masses
    solved = solver.solve(momenta, reference)
    crowd = _crowd(solved, reference, masses)
    for _ in range(rounds):
        holds = crowd.holds(solved)
        if not holds.any():
            break
        middle = crowd.middle(solved.positions[holds])
        new = Reference.of(solver.explosion, symmetric(middle, solver.orders, crowd))
        if not new.usable:
            break
        again = solver.solve(momenta, new)
        others = _crowd(again, new, masses)
        if others.holds(again).mean() < LOST * holds.mean():
            break
        reference, solved, crowd = new, again, others
    return reference, solved, crowd


def branches(
    solver: Solver,
    momenta: FloatArray,
    starts: FloatArray,
    of_starts: FloatArray,
    drawn: int,
    symbols: Sequence[str],
    *,
    preferred: int = 0,
    chemistry: bool,
) -> list[Branch]:
    """The branches of the inversion that starts lead to, the best first.

    Args:
        solver: of the events.
        momenta: (n, N, 3) some of the events.
        starts: (k, N, 3) structures in the frame of `of_starts`, bohr.
        of_starts: (k, N, 3) momenta that they belong to.
        drawn: the first `drawn` starts are of the network and count for the shares.
        symbols: (N) elements.
        preferred: the last `preferred` starts are tried first.
        chemistry: whether a chemically plausible branch comes first.

    Returns:
        Empty if no start leads to a structure that explains its momenta. Branches that explain
        most of the events come first; then, if wanted, chemically plausible ones; then those that
        most structures of the network lie on.
    """
    refined = _refined(solver, starts, of_starts)
    left = np.flatnonzero(refined.explained)
    quick = solver.alike(iterations=TRIAL)
    features = _features(refined.positions, symbols)
    found: list[Branch] = []
    while len(left) and len(found) < MOST_BRANCHES:
        middle = _next(left, features, drawn, preferred)
        first = Reference.of(solver.explosion, refined.positions[middle])
        if not first.usable:
            left = left[left != middle]
            continue
        reference, solved, crowd = settled(quick, momenta, first, rounds=1)
        again = quick.solve(of_starts[left], reference)
        near = _features(again.positions, symbols) - features[left]
        belongs = (np.abs(near).max(axis=1) < SAME) | (left == middle)
        geometry = Geometry(tuple(symbols), reference.positions)
        holds = crowd.holds(solved)
        found.append(
            Branch(
                reference,
                float((left[belongs] < drawn).sum()) / max(drawn, 1),
                float(holds.mean()),
                float(np.median(solved.closure[holds])) if holds.any() else np.inf,
                plausibility(geometry).objections,
            )
        )
        left = left[~belongs]
    return ranked(found, chemistry=chemistry)


def _refined(solver: Solver, starts: FloatArray, of_starts: FloatArray) -> Solved:
    """Starts refined to their momenta: led to them, or by least squares where that fails."""
    led = solver.led(starts, of_starts)
    bad = np.flatnonzero(~led.explained)
    if not len(bad):
        return led
    part = led.rows(bad)
    return led.with_rows(bad, solver.descend(starts[bad], of_starts[bad], part.turn, part.order))


def ranked(found: Sequence[Branch], *, chemistry: bool) -> list[Branch]:
    """Branches, best first; see `branches`."""
    most = max((one.explained for one in found), default=0.0)
    return sorted(
        found,
        key=lambda one: (
            one.explained < FOLLOWED * most,
            chemistry and bool(one.objections),
            -one.share,
            -one.explained,
        ),
    )


def plausible_nearby(
    solver: Solver,
    momenta: FloatArray,
    found: Sequence[Branch],
    symbols: Sequence[str],
    random: np.random.Generator,
    *,
    search: int,
) -> list[Branch]:
    """Further branches, whose references are chemically plausible, and the given ones, best first.

    They are searched from the references of the given branches, displaced at random, at the
    momenta of these references.

    Args:
        solver: of the events.
        momenta: (n, N, 3) some of the events.
        found: branches without objections or with them.
        symbols: (N) elements.
        random: for the displacements.
        search: number of starts.
    """
    near = found[:NEARBY]
    centres = [near[number % len(near)].reference for number in range(search)]
    shape = (len(centres), *centres[0].positions.shape)
    width = random.uniform(*DISPLACED, size=(len(centres), 1, 1))
    starts = np.stack([one.positions for one in centres]) + width * random.standard_normal(shape)
    owners = np.stack([one.momenta for one in centres])
    refined = _refined(solver, starts, owners)
    good = [
        row
        for row in np.flatnonzero(refined.explained)
        if not plausibility(Geometry(tuple(symbols), refined.positions[row])).objections
    ]
    if not good:
        return list(found)
    more = branches(
        solver,
        momenta,
        refined.positions[good],
        owners[good],
        0,
        symbols,
        preferred=len(good),
        chemistry=True,
    )
    return ranked([*found, *more], chemistry=True)


def _next(left: IntArray, features: FloatArray, drawn: int, preferred: int) -> int:
    """The next start: a preferred one, or one in the middle of those of the network, or of all."""
    first = left[left >= len(features) - preferred]
    if len(first):
        return int(first[0])
    own = left[left < drawn]
    among = own if len(own) else left
    apart = np.linalg.norm(features[among, None] - features[None, among], axis=2)
    return int(among[int(np.argmin(np.median(apart, axis=1)))])


def mean_momenta(
    momenta: FloatArray, orders: IntArray, parts: int, random: np.random.Generator
) -> FloatArray:
    """(1 + parts, N, 3) means of all events and of random parts of them, turned onto each other.

    Args:
        momenta: (n, N, 3) a.u.
        orders: (orders, N) of like ions.
        parts: number of further means, of a sixteenth of the events each (one event at least).
        random: for the parts.
    """
    one, other = np.triu_indices(momenta.shape[1], 1)
    apart = np.sort(np.linalg.norm(momenta[:, one] - momenta[:, other], axis=2), axis=1)
    away = np.linalg.norm(apart - np.median(apart, axis=0), axis=1)
    middle = momenta[int(np.argmin(away))]
    turned = momenta
    for _ in range(4):
        turn, order = turned_onto(momenta, middle, orders)
        ordered = np.take_along_axis(momenta, order[:, :, None], axis=1)
        turned = np.einsum("nxk,nik->nix", turn, ordered)
        middle = turned.mean(axis=0)
    size = max(1, len(momenta) // 16)
    chosen = [random.choice(len(momenta), size=size, replace=False) for _ in range(parts)]
    return np.stack([middle, *(turned[rows].mean(axis=0) for rows in chosen)])


def consensus(
    positions: FloatArray, momenta: FloatArray, orders: IntArray, symbols: Sequence[str]
) -> tuple[FloatArray, FloatArray]:
    """(N, 3) mean structure of several, and (N, 3) mean momenta in the same frame.

    The half of the structures (n, N, 3) that are nearest to the middle one are superposed on it
    with like atoms in the best order; their momenta (n, N, 3) are turned alike.
    """
    features = _features(positions, symbols)
    away = np.linalg.norm(features - np.median(features, axis=0), axis=1)
    near = np.argsort(away, kind="stable")[: max(1, (len(away) + 1) // 2)]
    centred = positions[near] - positions[near].mean(axis=1, keepdims=True)
    middle = centred[0]
    for _ in range(3):
        turn, order = turned_onto(centred, middle, orders)
        middle, mean = (
            np.einsum(
                "nxk,nik->nix", turn, np.take_along_axis(one, order[:, :, None], axis=1)
            ).mean(axis=0)
            for one in (centred, momenta[near])
        )
    return middle, mean


def rescued(solver: Solver, solved: Solved, reference: Reference, crowd: Crowd) -> Solved:
    """The events that are not like the others, solved again from neighbours and step by step.

    A new solution is taken where it explains the event and the old one does not, or where it is
    nearer to the crowd.
    """
    for attempt in ("neighbours", "path"):
        good = crowd.holds(solved)
        bad = np.flatnonzero(~good)
        if not len(bad) or not good.any():
            return solved
        if attempt == "neighbours":
            near = _nearest(solver, solved, bad, np.flatnonzero(good))
            away = (solved.momenta[bad] - solved.momenta[near]).reshape(len(bad), -1, 1)
            step = np.linalg.pinv(solved.slope[near], rcond=1e-4) @ away
            step = np.clip(step.reshape(len(bad), -1, 3), -0.5, 0.5)
            trial = solver.again(solved, bad, solved.positions[near] + step)
        else:
            trial = solver.along(solved, bad, reference)
        before, after = solved.rows(bad).explained, trial.explained
        nearer = crowd.distance(trial.positions) < crowd.distance(solved.positions[bad])
        better = (after & ~before) | ((after | ~before) & nearer)
        solved = solved.with_rows(bad[better], trial.rows(better))
    return solved


def _nearest(solver: Solver, solved: Solved, rows: IntArray, among: IntArray) -> IntArray:
    """For each row the event whose momenta are most like its own, in errors of the ions."""
    weight = 1.0 / np.where(solver.sigma > 0.0, solver.sigma, 1.0)
    scaled = (solved.momenta * weight[:, None]).reshape(len(solved), -1)
    near = np.empty(len(rows), dtype=np.int64)
    squares = np.square(scaled[among]).sum(axis=1)
    for at in range(0, len(rows), 256):
        part = rows[at : at + 256]
        near[at : at + 256] = among[
            np.argmin(squares - 2.0 * scaled[part] @ scaled[among].T, axis=1)
        ]
    return near


def _crowd(solved: Solved, reference: Reference, masses: FloatArray) -> Crowd:
    rows = solved.explained
    positions = solved.positions[rows] if rows.any() else solved.positions
    return Crowd.of(positions, reference.positions, masses)


def _features(positions: FloatArray, symbols: Sequence[str]) -> FloatArray:
    """(n, pairs) distances, those of pairs of like elements in ascending order."""
    kinds = [tuple(sorted(pair)) for pair in combinations(symbols, 2)]
    distances = pair_distances(positions)
    for kind in set(kinds):
        columns = [column for column, this in enumerate(kinds) if this == kind]
        distances[:, columns] = np.sort(distances[:, columns], axis=1)
    return distances


def _rms(vectors: FloatArray) -> float:
    return float(np.sqrt(np.square(vectors).sum(axis=1).mean()))
