"""Means over the structures of single events, free of the bias of the resolution, with errors.

The structure of an event is a non-linear function x(p) of its measured momenta, so that errors e of
the momenta with covariance C shift its mean by half the trace of (d2x/dp2 C), in lowest order. The
shift is found by adding further errors of the same size to measured momenta and solving again
(SIMEX: J. R. Cook, L. A. Stefanski, J. Am. Stat. Assoc. 89, 1314 (1994)): the mean as a function of
the share lambda of added variance (0, 1 and 2) is a parabola, and lambda = -1 is the mean without
any errors. Errors are added with both signs, so that their first order cancels exactly.

What is uncertain in the explosion itself is common to all events and does not average out. Events
are solved again with members of the family drawn from what is known, and with momenta moved by the
error that the family states; the scatter of the means is the systematic error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypedDict

import numpy as np

from molexa_core.base.mathematics.circular import around, wrapped
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import BoolArray, FloatArray, Geometry
from molexa_core.geometry.bonds import dihedral_chains
from molexa_core.geometry.measures import dihedral_angles, pair_distances, triplet_angles
from molexa_core.physics.family.family import ExplosionKnowledge, Fragments
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.reconstruction.branch import (
    Member,
    Reference,
    Solved,
    Solver,
    superposed,
)
from molexa_core.reduction.resolution import Resolution

NOISY: Final = 600
"""Events that are solved again with added errors."""
MOVED: Final = 100
"""Events that are solved again with other members of the family."""
DRAWS: Final = 48
"""Members of the family."""
STEPS: Final = 4
"""Steps from one member of the family to the other."""
NO_ERROR: Final = 1e-9
"""Errors of a family below this share of the momenta are none."""
FEWER: Final = 15
"""Largest number of iterations for each of these steps."""
LEAST_FOLLOWED: Final = 0.5
"""Share of the events that a member of the family must explain to count."""
QUANTILES: Final = (0.16, 0.5, 0.84)


class Distribution(TypedDict):
    """The distribution of one distance (bohr), angle or dihedral (degrees) over the events."""

    of: str
    atoms: list[int]
    bond: bool
    mean: float
    error_of_mean: float
    systematic: float | None
    standard_deviation: float
    standard_deviation_measured: float
    resolution_shift: float | None
    quantile_16: float
    median: float
    quantile_84: float


@dataclass(frozen=True)
class Quantities:
    """Distances, angles, dihedrals and positions of n structures, as columns.

    Attributes:
        distances: (n, pairs) bohr.
        angles: (n, triplets) degrees.
        dihedrals: (n, chains) degrees, within 180 degrees of those of the reference.
        positions: (n, 3 N) bohr, superposed on the reference.
    """

    distances: FloatArray
    angles: FloatArray
    dihedrals: FloatArray
    positions: FloatArray

    @classmethod
    def of(cls, positions: FloatArray, onto: FloatArray, fragments: Fragments) -> Quantities:
        """Those of structures (n, N, 3); dihedrals are those of the bonds of the reference.

        Args:
            positions: (n, N, 3) bohr.
            onto: (N, 3) bohr, the reference.
            fragments: the atoms.
        """
        moved = superposed(positions, onto, fragments.masses)
        chains = dihedral_chains(Geometry(fragments.symbols, onto))
        turned = around(dihedral_angles(onto, chains), dihedral_angles(positions, chains))
        flat = moved.reshape(len(moved), -1)
        angles = triplet_angles(positions) if positions.shape[1] > 2 else flat[:, :0]
        return cls(pair_distances(positions), angles, turned, flat)

    @property
    def columns(self) -> FloatArray:
        """(n, all) distances, angles, dihedrals, positions."""
        parts = [self.distances, self.angles, self.dihedrals, self.positions]
        return np.concatenate(parts, axis=1)

    def split(self, row: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """A row of `columns` as distances, angles and positions (N, 3)."""
        a = self.distances.shape[1]
        b = a + self.angles.shape[1]
        return row[:a], row[a:b], row[b + self.dihedrals.shape[1] :].reshape(-1, 3)


@dataclass(frozen=True)
class NoiseShift:
    """What the resolution does to each quantity of `Quantities.columns`.

    Attributes:
        shift: (all) by which the mean of the measured events is off.
        error: (all) standard error of that.
        variance: (all) variance of single events that comes from the resolution.
        events: number of events solved again.
    """

    shift: FloatArray
    error: FloatArray
    variance: FloatArray
    events: int


@dataclass(frozen=True)
class Systematic:
    """What the uncertainty of the explosion does to the means.

    Attributes:
        moved: (draws, all) means with each member of the family, minus that of the central one.
        weight: (draws) probability of each member, sum 1.
        refused: number of members that do not explain the events.
        members: number of all.
    """

    moved: FloatArray
    weight: FloatArray
    refused: int
    members: int

    @property
    def effective(self) -> float:
        """Effective number of members."""
        return float(1.0 / np.square(self.weight).sum())

    @property
    def shift(self) -> FloatArray:
        """(all) median of the members relative to the central one."""
        return np.asarray(self._quantiles((0.5,))[0])

    @property
    def error(self) -> FloatArray:
        """(all) half the width of the central 68 % of the members."""
        low, high = self._quantiles((0.1587, 0.8413))
        return np.asarray(0.5 * (high - low))

    def _quantiles(self, shares: Sequence[float]) -> FloatArray:
        order = np.argsort(self.moved, axis=0)
        values = np.take_along_axis(self.moved, order, axis=0)
        weight = self.weight[order]
        below = np.cumsum(weight, axis=0) - 0.5 * weight
        columns = zip(below.T, values.T, strict=True)
        return np.array([np.interp(shares, at, value) for at, value in columns]).T


def inverse_slopes(slope: FloatArray) -> FloatArray:
    """(n, 3 N, 3 N) derivatives of the positions by the momenta, centred; zero for the sum.

    Momenta do not change when all atoms move alike, and their sum is zero: along these three
    directions a number is added before the inversion and taken out after it.
    """
    size = slope.shape[1]
    unit = np.tile(np.eye(3), (size // 3, 1)) / np.sqrt(size / 3.0)
    rigid = unit @ unit.T
    scale = np.abs(slope).mean(axis=(1, 2))[:, None, None] + np.finfo(float).tiny
    regular = slope + scale * (rigid + 1e-9 * np.eye(size))
    inverse = np.linalg.inv(regular)
    centre = np.eye(size) - rigid
    return np.asarray(centre @ inverse @ centre)


def in_reference_frame(solved: Solved, errors: FloatArray) -> FloatArray:
    """(n, N, 3) vectors of the laboratory frame in the frame and the order of the reference."""
    ordered = np.take_along_axis(errors, solved.order[:, :, None], axis=1)
    return np.asarray(np.einsum("nxk,nik->nix", solved.turn, ordered))


def uncertainty_of_events(solved: Solved, resolution: Resolution) -> FloatArray:
    """(n, N, 3) standard errors of the coordinates from the resolution, bohr.

    In the frame of the events; atoms in the order of the reference.
    """
    n, atoms = solved.positions.shape[:2]
    found = np.empty(solved.positions.shape)
    for at in range(0, n, 1024):
        part = solved.rows(np.arange(at, min(at + 1024, n)))
        inverse = inverse_slopes(part.slope).reshape(len(part), atoms, 3, atoms, 3)
        # Both sides in the laboratory frame: rows of the rotation are axes of the reference.
        inverse = np.einsum("nxk,nixjy,nyl->nikjl", part.turn, inverse, part.turn)
        place = part.order[:, :, None] * np.ones((1, 1, atoms), dtype=np.int64)
        variance = np.zeros((len(part), atoms, 3))
        for axis in range(3):
            covariance = resolution.covariance[axis][place, place.transpose(0, 2, 1)]
            column = inverse[..., axis]
            variance += np.einsum("nikj,njl,nikl->nik", column, covariance, column)
        found[at : at + len(part)] = np.sqrt(np.maximum(variance, 0.0))
    return found


def noise_shift(
    solver: Solver,
    solved: Solved,
    resolution: Resolution,
    reference: Reference,
    keeps: Callable[[Solved], BoolArray],
    random: np.random.Generator,
    *,
    events: int = NOISY,
) -> NoiseShift | None:
    """The shift of the means by the resolution.

    Args:
        solver: of the events.
        solved: events that count.
        resolution: errors of the momenta in the laboratory frame.
        reference: of the solver.
        keeps: which solutions count, for the same choice as of the measured ones.
        random: for the events and the errors.
        events: largest number of events to solve again.

    Returns:
        None where fewer than two events can be solved again.
    """
    chosen = random.permutation(len(solved))[:events]
    base = solved.rows(np.sort(chosen))
    added = in_reference_frame(base, resolution.draw(random, len(base)))
    size = 3 * added.shape[1]
    step = np.einsum("nij,nj->ni", inverse_slopes(base.slope), added.reshape(-1, size))
    step = step.reshape(added.shape)
    fragments = solver.explosion.fragments
    good = np.ones(len(base), dtype=bool)
    found = {}
    for share in (1.0, 2.0):
        for sign in (1.0, -1.0):
            by = sign * np.sqrt(share)
            moved = solver.descend(
                base.positions + by * np.clip(step, -0.5, 0.5),
                base.momenta + by * added,
                base.turn,
                base.order,
            )
            good &= moved.explained & keeps(moved)
            columns = Quantities.of(moved.positions, reference.positions, fragments).columns
            found[share, sign] = columns
    count = int(good.sum())
    if count < 2:
        return None
    zero = Quantities.of(base.positions, reference.positions, fragments).columns[good]
    middle = zero.mean(axis=0)

    def extrapolated(power: int) -> FloatArray:
        """(events, all) what the errors add to the quantities or to their squares."""
        once, twice = (
            0.5 * sum((found[share, sign][good] - middle) ** power for sign in (1.0, -1.0))
            - (zero - middle) ** power
            for share in (1.0, 2.0)
        )
        return np.asarray(3.0 * once - twice)

    each = extrapolated(1)
    return NoiseShift(
        shift=each.mean(axis=0),
        error=each.std(axis=0, ddof=1) / np.sqrt(count),
        variance=extrapolated(2).mean(axis=0),
        events=count,
    )


def systematic(
    solver: Solver,
    solved: Solved,
    knowledge: ExplosionKnowledge,
    reference: Reference,
    prior: GeometryPrior,
    random: np.random.Generator,
    *,
    draws: int = DRAWS,
    events: int = MOVED,
    progress: Progress = SILENT,
) -> Systematic | None:
    """How the means move with what is not known about the explosion.

    A member with parameters theta, which gives the mean structure x(theta), has the probability of
    theta times that of x(theta) before momenta are looked at, times |det dx/dp|, as for mean
    momenta (`pipeline.inversion`).

    Args:
        solver: of the events, with the central member.
        solved: events that count.
        knowledge: families and distributions of their parameters.
        reference: of the solver.
        prior: of the geometry.
        random: for events, members and errors of the family.
        draws: number of members.
        events: largest number of events to solve again with each.
        progress: display of the progress.

    Returns:
        None where the explosion is known exactly: one family, no uncertain parameter, no error.
    """
    central = solver.explosion
    fragments = central.fragments
    members = members_of(knowledge, fragments, random, draws)
    errors = _family_errors(members, reference, random)
    same = all(
        member.family is central.family and np.array_equal(member.parameters, central.parameters)
        for member in members
    )
    largest = max(float(np.abs(error).max()) for error in errors)
    if same and largest < NO_ERROR * float(np.abs(reference.momenta).max()):
        return None
    base = solved.rows(np.sort(random.permutation(len(solved))[:events]))
    zero = Quantities.of(base.positions, reference.positions, fragments)
    quick = solver.alike(iterations=FEWER)
    moved, chance = [], []
    with progress.task("uncertain explosion", len(members), "members") as task:
        for member, error in zip(members, errors, strict=True):
            found = _moved(quick, base, central, member, error)
            good = found.explained
            task.advance()
            if good.mean() < LEAST_FOLLOWED:
                continue
            of = Quantities.of(found.positions, reference.positions, fragments)
            moved.append((of.columns - zero.columns)[good].mean(axis=0))
            middle = of.split(of.columns[good].mean(axis=0))[2]
            chance.append(
                float(prior.log_density(middle[None])[0]) - float(np.median(_volumes(found)[good]))
            )
    refused = len(members) - len(moved)
    size = np.array(chance)
    if len(moved) < 2 or not np.isfinite(size).any():
        nothing = np.full((2, zero.columns.shape[1]), np.nan)
        return Systematic(nothing, np.full(2, 0.5), refused, len(members))
    weight = np.exp(size - size[np.isfinite(size)].max())
    weight[~np.isfinite(size)] = 0.0
    return Systematic(np.stack(moved), weight / weight.sum(), refused, len(members))


def _volumes(solved: Solved) -> FloatArray:
    """(n) ln |det dp/dx| without the motion of the whole."""
    size = solved.slope.shape[1]
    unit = np.tile(np.eye(3), (size // 3, 1)) / np.sqrt(size / 3.0)
    return np.asarray(np.linalg.slogdet(solved.slope + unit @ unit.T)[1])


def members_of(
    knowledge: ExplosionKnowledge,
    fragments: Fragments,
    random: np.random.Generator,
    count: int,
) -> list[Member]:
    """Members of the families, drawn by weight.

    Coordinates are stratified: of each standard normal number one value in each of `count` slices
    of equal probability (M. D. McKay et al., Technometrics 21, 239 (1979)).
    """
    from scipy.stats import norm  # noqa: PLC0415  # takes a third of a second

    weights = np.array([one.weight for one in knowledge.hypotheses])
    ends = np.round(count * np.cumsum(weights) / weights.sum()).astype(np.int64)
    found = []
    for hypothesis, number in zip(knowledge.hypotheses, np.diff(ends, prepend=0), strict=True):
        factor = hypothesis.belief.factor()
        slices = np.argsort(random.random((factor.shape[1], number)), axis=1).T
        normal = norm.ppf((slices + random.random(slices.shape)) / max(number, 1))
        coordinates = hypothesis.belief.mean + normal @ factor.T
        found += [Member(hypothesis.family, fragments, one) for one in coordinates]
    return found


def _family_errors(
    members: Sequence[Member], reference: Reference, random: np.random.Generator
) -> list[FloatArray]:
    """(N, 3) momenta in a.u. by which each member may be wrong, in the frame of the reference."""
    found = []
    for member in members:
        covariance = member.family.error(
            member.fragments, reference.positions[None], member.parameters[None]
        )[0]
        values, vectors = np.linalg.eigh(covariance)
        normal = random.standard_normal(len(values)) * np.sqrt(np.maximum(values, 0.0))
        error = (vectors @ normal).reshape(reference.positions.shape)
        found.append(np.nan_to_num(error - error.mean(axis=0)))
    return found


def _moved(
    solver: Solver, base: Solved, central: Member, member: Member, error: FloatArray
) -> Solved:
    """The events solved with another member, step by step from the central one."""
    found = base
    steps = STEPS if member.family is central.family else 1
    for number in range(1, steps + 1):
        share = number / steps
        parameters = member.parameters
        if steps > 1:
            parameters = central.parameters + share * (member.parameters - central.parameters)
        at = solver.alike(explosion=replace(member, parameters=parameters))
        target = base.momenta - share * error
        found = at.descend(found.positions, target, base.turn, base.order)
    return found


def direction(row: Distribution) -> Distribution:
    """The distribution of a dihedral: mean and median from -180 to 180 degrees, no jump beside."""
    turn = float(wrapped(row["median"])) - row["median"]
    return {
        **row,
        "mean": float(wrapped(row["mean"])),
        "median": row["median"] + turn,
        "quantile_16": row["quantile_16"] + turn,
        "quantile_84": row["quantile_84"] + turn,
    }


def statistics(
    name: str,
    atoms: Sequence[int],
    values: FloatArray,
    weight: FloatArray,
    *,
    bond: bool = False,
    shift: tuple[float, float, float] | None = None,
    common: tuple[float, float] | None = None,
) -> Distribution:
    """The distribution of a quantity over the events, without what the resolution does to it.

    Args:
        name: of the quantity.
        atoms: that it is measured between.
        values: (n) of the events.
        weight: (n) of the events.
        bond: whether it is the length of a bond.
        shift: shift of the mean by the resolution, its error, and the variance from the resolution.
        common: shift of the mean that all events share, and its standard error.
    """
    mean = float(np.average(values, weights=weight))
    measured = float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))
    count = float(weight.sum() ** 2 / (weight**2).sum())
    by, by_error, noise = (float(one) for one in shift or (0.0, 0.0, 0.0))
    by -= 0.0 if common is None else common[0]
    deviation = float(np.sqrt(max(measured**2 - noise, 0.0)))
    order = np.argsort(values)
    share = (np.cumsum(weight[order]) - 0.5 * weight[order]) / weight.sum()
    quantiles = np.interp(QUANTILES, share, values[order])
    narrower = deviation / measured if measured > 0.0 else 1.0
    low, median, high = mean - by + narrower * (quantiles - mean)
    return {
        "of": name,
        "atoms": list(atoms),
        "bond": bond,
        "mean": mean - by,
        "error_of_mean": float(np.hypot(measured / np.sqrt(count), by_error)),
        "systematic": None if common is None else common[1],
        "standard_deviation": deviation,
        "standard_deviation_measured": measured,
        "resolution_shift": None if shift is None else float(shift[0]),
        "quantile_16": float(low),
        "median": float(median),
        "quantile_84": float(high),
    }
