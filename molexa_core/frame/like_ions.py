"""Roles of like ions: which of them is which atom, found once for all events together.

Model. The molecule has a mean momentum for each role (each ion of the break-up) and a normal
distribution of all momenta about them, correlations included; its orientation is any, and like ions
come in any order. An event belongs to every assignment of its ions to the roles with a probability,
after the rotation that superposes it best. Means and covariance follow from the probabilities and
these from them (expectation maximisation), from several starts: real events.

Why probabilities. The mean over all events, each with all its assignments at their probabilities,
is the mean over the unknown true assignments, if the probabilities are right. Taking the best
assignment of each event is not: where lobes overlap, it sorts the ions and pushes the means apart.

Symmetry. Where a rotation exchanges like ions and leaves the means as they are, its assignments are
equally likely in every event, to the last digit. A free fit would use the chance scatter of the
events to move such means apart, and so would any distribution that is not normal. So an exchange
that too many events leave open is imposed as a symmetry (`SYMMETRIC`).

The mirror image is not tried: where both hands of a chiral molecule are in the gas, they are not
told apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.frame.like_ions_kernel import SLACK, all_events

STARTS: Final = 12
FEW: Final = 200
"""Events on which starts are compared."""
PART: Final = 512
"""Events on which symmetries are found first."""
SAMPLE: Final = 2048
"""Events from which the roles are found."""
MOST: Final = 64
"""Assignments of an event that are kept."""
START_WIDTH: Final = 0.15
"""Standard deviation of a component at the start, share of the rms momentum."""
LEAST_WIDTH: Final = 0.003
"""Smallest standard deviation of a component, share of the rms momentum."""
RIDGE: Final = 0.02
"""Smallest variance in any direction, share of the mean one."""
NEGLIGIBLE: Final = 1e-3
"""Assignments that are less likely than the best one by this factor are left out."""
ODDS: Final = 9.0
SYMMETRIC: Final = 0.12
"""An exchange of like ions is taken for a symmetry if so many events do not decide it by `ODDS`: of
two normal distributions 2 standard deviations apart, which just show two maxima, a quarter is
undecided; of 3.5 an eighth."""
NEAR: Final = 0.35
"""It must leave the means as they are within this share of their size."""
TAILS: Final = 4.0
"""Degrees of freedom of the distribution that weighs events in the fit."""
MOST_OPERATIONS: Final = 60
UNDECIDED: Final = 0.9
"""An event whose best assignment is less likely is undecided."""
MANY: Final = 0.2
"""Share of undecided events from which a warning is due."""
_FREE_ROUNDS: Final = 12
_START_ROUNDS: Final = 6
_LAST_ROUNDS: Final = 6
_REFINED: Final = 4
_CHUNK: Final = 2048
_STILL: Final = 1e-3
"""Means that move by less, in standard deviations, have settled."""


@dataclass(frozen=True)
class Choices:
    """Assignments of events.

    Attributes:
        event: (rows) number of the event, ascending.
        order: (rows, N) the ion of each role.
        share: (rows) probability; of one event they add up to 1.
        rotation: (rows, 3, 3) onto the means.
        likelihood: (events) logarithm, up to a constant of the roles; -inf without an assignment.
    """

    event: IntArray
    order: IntArray
    share: FloatArray
    rotation: FloatArray
    likelihood: FloatArray

    def trust(self, roles: Roles) -> FloatArray:
        """(events) 1, less where the momenta are far from all that the roles expect.

        The weight of an event in a Student distribution with `TAILS` degrees of freedom: false
        coincidences must not widen the scatter, nor look like events that leave roles open.
        """
        free = max(3 * len(roles.kind) - 6, 1)
        with np.errstate(invalid="ignore"):
            away = np.maximum(-2.0 * (self.likelihood - roles.constant), 0.0)
        found = np.minimum((TAILS + free) / (TAILS + away), 1.0)
        return np.asarray(np.where(np.isfinite(self.likelihood), found, 0.0))

    def turned(self, momentum: FloatArray) -> FloatArray:
        """(rows, N, 3) the momenta of the roles, superposed on the means."""
        own = np.take_along_axis(momentum[self.event], self.order[:, :, None], axis=1)
        return np.asarray(np.einsum("rij,raj->rai", self.rotation, own))


@dataclass(frozen=True)
class Decided:
    """How clearly the events decide between assignments that are not symmetric.

    Attributes:
        second_best: mean probability of all assignments but the best one and those that are
            equivalent to it by symmetry.
        undecided: share of the events in which the best one has less than `UNDECIDED`.
        equivalent: number of assignments that are equivalent by symmetry.
    """

    second_best: float
    undecided: float
    equivalent: int

    def to_dict(self) -> dict[str, float]:
        """Plain values by name."""
        return {
            "second_best": self.second_best,
            "undecided": self.undecided,
            "equivalent_by_symmetry": self.equivalent,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What many undecided events mean."""
        if self.undecided <= MANY:
            return ()
        text = (
            f"like ions overlap: {100.0 * self.undecided:.0f} % of the events do not tell which of "
            "them is which; they enter with every possibility at its probability, which is right "
            "only as far as the momenta scatter normally"
        )
        return (text,)


@dataclass(frozen=True)
class Roles:
    """Mean momenta of the roles, and how momenta scatter about them.

    Attributes:
        kind: (N) number of the kind of ion.
        mean: (N, 3) a.u.
        covariance: (3 N, 3 N) a.u.
        group: (operations, N) assignments that are equivalent by symmetry, the identity first.
    """

    kind: IntArray
    mean: FloatArray
    covariance: FloatArray
    group: IntArray
    precision: FloatArray = field(init=False, repr=False)
    weight: FloatArray = field(init=False, repr=False)
    anchors: IntArray = field(init=False, repr=False)
    rotations: FloatArray = field(init=False, repr=False)
    constant: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n = len(self.kind)
        rms = float(np.sqrt(np.square(self.mean).sum(axis=1).mean()))
        least = (LEAST_WIDTH * rms) ** 2
        own = np.diagonal(self.covariance).reshape(n, 3).mean(axis=1)
        floor = max(RIDGE * float(own.mean()), least)
        values, vectors = np.linalg.eigh(self.covariance)
        values = np.maximum(values, floor)
        object.__setattr__(self, "precision", (vectors / values) @ vectors.T)
        object.__setattr__(self, "weight", 1.0 / np.maximum(own, max(0.1 * own.mean(), least)))
        # Of the directions, three are those of turning, and three those of the momentum sum.
        used = np.sort(values)[min(6, 3 * n - 1) :]
        object.__setattr__(self, "constant", -0.5 * float(np.log(used).sum()))
        object.__setattr__(self, "anchors", self._anchors())
        turns = [_rotation(self.mean[order], self.mean, self.weight) for order in self.group]
        object.__setattr__(self, "rotations", np.array(turns))

    def _anchors(self) -> IntArray:
        """Two roles that hold the orientation well and leave few possibilities.

        Third, whether the symmetry carries the first one to all of its kind.
        """
        n = len(self.kind)
        count = np.bincount(self.kind)[self.kind]
        size = np.linalg.norm(self.mean, axis=1)
        best, chosen = -np.inf, (0, 1)
        for a in range(n):
            for b in range(n):
                if a == b:
                    continue
                area = float(np.linalg.norm(np.cross(self.mean[a], self.mean[b])))
                scale = max(float(size.max()) ** 2, 1e-300)
                ways = count[a] * (count[b] - (self.kind[a] == self.kind[b]))
                value = np.log(area / scale + 1e-6) - 0.7 * np.log(ways)
                if value > best + 1e-9:
                    best, chosen = value, (a, b)
        alike = set(np.flatnonzero(self.kind == self.kind[chosen[0]]).tolist())
        pinned = set(self.group[:, chosen[0]].tolist()) == alike
        return np.array([*chosen, pinned], np.int64)

    def choices(self, momentum: FloatArray, slack: float = SLACK) -> Choices:
        """The assignments of events (n, N, 3), those that are negligible left out."""
        parts = list(self._chunks(momentum, slack))
        first, events = 0, []
        for part in parts:
            events.append(part.event + first)
            first += len(part.likelihood)
        n = len(self.kind)
        if not parts:
            nothing = np.empty(0)
            return Choices(
                np.empty(0, np.int64),
                np.empty((0, n), np.int64),
                nothing,
                np.empty((0, 3, 3)),
                nothing,
            )
        return Choices(
            np.concatenate(events),
            np.concatenate([part.order for part in parts]),
            np.concatenate([part.share for part in parts]),
            np.concatenate([part.rotation for part in parts]),
            np.concatenate([part.likelihood for part in parts]),
        )

    def _chunks(self, momentum: FloatArray, slack: float) -> Iterator[Choices]:
        n = len(self.kind)
        for start in range(0, len(momentum), _CHUNK):
            some = np.ascontiguousarray(momentum[start : start + _CHUNK], np.float64)
            m = len(some)
            order = np.zeros((m, MOST, n), np.int8)
            exponent = np.full((m, MOST), -np.inf)
            rotation = np.zeros((m, MOST, 3, 3))
            count = np.zeros(m, np.int64)
            all_events(
                some,
                self.kind,
                self.mean,
                self.weight,
                self.precision,
                self.anchors,
                self.group,
                float(slack),
                order,
                exponent,
                rotation,
                count,
            )
            exponent[np.arange(MOST)[None] >= count[:, None]] = -np.inf
            top = exponent.max(axis=1)
            with np.errstate(invalid="ignore"):
                share = np.exp(exponent - top[:, None])
            share[~np.isfinite(share)] = 0.0
            total = share.sum(axis=1)
            likelihood = np.where(
                total > 0.0, top + np.log(np.maximum(total, 1e-300)) + self.constant, -np.inf
            )
            share[share < NEGLIGIBLE] = 0.0
            share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-300)
            event, place = np.nonzero(share)
            each = len(self.group)
            orders = order[event, place].astype(np.int64)[:, self.group].reshape(-1, n)
            rotations = np.einsum("gij,rjk->rgik", self.rotations, rotation[event, place])
            yield Choices(
                np.repeat(event, each),
                orders,
                np.repeat(share[event, place] / each, each),
                rotations.reshape(-1, 3, 3),
                likelihood,
            )

    def decided(self, found: Choices, weight: FloatArray) -> Decided:
        """How clearly events decide.

        Args:
            found: their assignments.
            weight: (events).
        """
        n = len(self.kind)
        powers = 16 ** np.arange(n, dtype=np.int64)
        codes = (found.order[:, self.group] * powers).sum(axis=2).min(axis=1)
        _, code = np.unique(codes, return_inverse=True)
        code = code.reshape(-1)
        key = found.event * (int(code.max(initial=0)) + 1) + code
        _, place = np.unique(key, return_inverse=True)
        together = np.bincount(place.reshape(-1), found.share)
        best = np.zeros(len(found.likelihood))
        np.maximum.at(best, found.event, together[place.reshape(-1)])
        weight = weight * found.trust(self)
        counts = (best > 0.0) & (weight > 0.0)
        if not counts.any():
            return Decided(0.0, 0.0, len(self.group))
        other = np.clip(1.0 - best[counts], 0.0, 1.0)
        mean = float(np.average(other, weights=weight[counts]))
        undecided = float(np.average(other > 1.0 - UNDECIDED, weights=weight[counts]))
        return Decided(mean, undecided, len(self.group))


def find_roles(momentum: FloatArray, weight: FloatArray, names: Sequence[str]) -> Roles:
    """The roles of the ions of events.

    Args:
        momentum: (n, N, 3) a.u., recoil removed, all of them numbers; any orientation, like ions in
            any order, which decides only the numbers of the roles.
        weight: (n) not negative.
        names: (N) of the ions.
    """
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    kind = np.array([numbers[name] for name in names], np.int64)
    energy = np.square(momentum).sum(axis=(1, 2))
    ranked = np.argsort(energy, kind="stable")
    some = {
        count: ranked[spread_ranks(len(ranked), count)] for count in (STARTS, FEW, PART, SAMPLE)
    }
    best, most = _first(momentum[some[STARTS][0]], kind), -np.inf
    if len(numbers) < len(names):
        few, weights = momentum[some[FEW]], weight[some[FEW]]
        for start in some[STARTS]:
            roles, value = _first(momentum[start], kind), -np.inf
            for _ in range(_START_ROUNDS):
                roles, value = _round(roles, few, weights, slack=0.0, alone=True)
            if value > most + 1e-9 * abs(most):
                best, most = roles, value
    roles = best
    for count, rounds in ((PART, _FREE_ROUNDS), (SAMPLE, _LAST_ROUNDS)):
        part, weights = momentum[some[count]], weight[some[count]]
        for _ in range(_REFINED):
            roles = _settled(roles, part, weights, rounds)
            group = _closed([*roles.group, *_undecided(roles, part, weights)])
            if len(group) <= len(roles.group):
                break
            roles = _imposed(roles, group)
    return roles


def _first(event: FloatArray, kind: IntArray) -> Roles:
    """Roles that are the ions of one event."""
    variance = START_WIDTH**2 * float(np.square(event).sum(axis=1).mean()) / 3.0
    n = len(kind)
    return Roles(kind, event.copy(), max(variance, 1e-12) * np.eye(3 * n), np.arange(n)[None])


def _settled(roles: Roles, momentum: FloatArray, weight: FloatArray, rounds: int) -> Roles:
    """Rounds until nothing moves, the symmetry imposed."""
    for _ in range(rounds):
        moved, _ = _round(roles, momentum, weight)
        if len(roles.group) > 1:
            moved = _imposed(moved, roles.group)
        own = float(np.sqrt(np.diagonal(moved.covariance).mean()))
        away = float(np.abs(moved.mean - roles.mean).max())
        roles = moved
        if away < _STILL * own:
            break
    return roles


def _value(found: Choices, weight: FloatArray) -> float:
    good = np.isfinite(found.likelihood) & (weight > 0.0)
    return float((weight[good] * found.likelihood[good]).sum() / max(weight[good].mean(), 1e-300))


def _round(
    roles: Roles,
    momentum: FloatArray,
    weight: FloatArray,
    *,
    slack: float = SLACK,
    alone: bool = False,
) -> tuple[Roles, float]:
    """Probabilities, then means and covariance from them; and the likelihood before.

    Args:
        roles: before.
        momentum: (n, N, 3).
        weight: (n).
        slack: as in `Roles.choices`.
        alone: whether every component scatters alone, all of a role by the same amount.
    """
    found = roles.choices(momentum, slack)
    own_weight = weight if alone else weight * found.trust(roles)
    share = found.share * own_weight[found.event]
    total = float(share.sum())
    if total <= 0.0:
        return roles, -np.inf
    n = len(roles.kind)
    turned = found.turned(momentum).reshape(len(share), 3 * n)
    mean = share @ turned / total
    away = turned - mean
    covariance = (away * share[:, None]).T @ away / total
    own = np.repeat(np.diagonal(covariance).reshape(n, 3).mean(axis=1), 3)
    if alone:
        covariance = np.diag(own)
    else:
        # Few events do not show 3 N (3 N + 1) / 2 numbers.
        events = float(weight.sum()) ** 2 / max(float(np.square(weight).sum()), 1e-300)
        part = 3.0 * n / (3.0 * n + events)
        covariance = (1.0 - part) * covariance + part * np.diag(own)
        # Means that follow few events make these look nearer than a new one would be.
        covariance *= 1.0 + 6.0 * n / events
    moved = Roles(roles.kind, mean.reshape(n, 3), covariance, roles.group)
    return moved, _value(found, weight)


def _undecided(roles: Roles, momentum: FloatArray, weight: FloatArray) -> list[IntArray]:
    """Exchanges of like ions that many events do not tell from doing nothing."""
    found = roles.choices(momentum)
    if not len(found.event):
        return []
    best = np.full(len(momentum), -1)
    by_share = np.lexsort((-found.share, found.event))
    event, first = np.unique(found.event[by_share], return_index=True)
    best[event] = by_share[first]
    there = best[found.event]
    near = (found.share > found.share[there] / ODDS) & (there != np.arange(len(there)))
    back = np.argsort(found.order[there[near]], axis=1)
    exchange = np.take_along_axis(back, found.order[near], axis=1)
    listed, place = np.unique(exchange, axis=0, return_inverse=True)
    weight = weight * found.trust(roles)
    share = np.bincount(place.reshape(-1), weight[found.event[near]], len(listed))
    total = float(weight[event].sum())
    known = {tuple(order) for order in roles.group.tolist()}
    result = []
    for order, part in zip(listed, share, strict=True):
        if part > SYMMETRIC * total and tuple(order.tolist()) not in known:
            away = (_superposed(roles.mean[order], roles.mean, roles.weight) - roles.mean).ravel()
            if np.square(away).sum() < NEAR**2 * np.square(roles.mean).sum():
                result.append(order.astype(np.int64))
    return result


def _closed(orders: Sequence[IntArray]) -> IntArray:
    """All products of assignments, the identity first; none if there are too many."""
    if not orders:
        return np.empty((0, 0), np.int64)
    n = len(orders[0])
    known = {tuple(range(n))}
    todo = [tuple(range(n))]
    generators = [tuple(order.tolist()) for order in orders]
    while todo:
        one = todo.pop()
        for other in generators:
            product = tuple(one[i] for i in other)
            if product not in known:
                known.add(product)
                todo.append(product)
        if len(known) > MOST_OPERATIONS:
            return np.empty((0, n), np.int64)
    return np.array(sorted(known), np.int64)


def _imposed(roles: Roles, group: IntArray) -> Roles:
    """The means and the covariance averaged over the operations of a group."""
    mean, n = roles.mean, len(roles.kind)
    for _ in range(4):
        mean = np.mean([_superposed(mean[order], mean, roles.weight) for order in group], axis=0)
    covariance = np.zeros_like(roles.covariance)
    for order in group:
        rotation = _rotation(mean[order], mean, roles.weight)
        block = roles.covariance.reshape(n, 3, n, 3)[order][:, :, order]
        covariance += np.einsum("ij,ajbk,lk->aibl", rotation, block, rotation).reshape(3 * n, 3 * n)
    return Roles(roles.kind, mean, covariance / len(group), group)


def _superposed(moving: FloatArray, fixed: FloatArray, weight: FloatArray) -> FloatArray:
    return np.asarray(moving @ _rotation(moving, fixed, weight).T)


def _rotation(moving: FloatArray, fixed: FloatArray, weight: FloatArray) -> NDArray[np.float64]:
    """The proper rotation that brings vectors closest to others (Kabsch)."""
    u, _, vt = np.linalg.svd((moving * weight[:, None]).T @ fixed)
    sign = np.sign(np.linalg.det(u @ vt))
    found: FloatArray = (u * np.array([1.0, 1.0, sign]) @ vt).T
    return found


def spread_ranks(n: int, wanted: int) -> IntArray:
    """At most `wanted` evenly spread ranks out of n."""
    count = min(n, wanted)
    return (np.arange(count) * 2 + 1) * n // (2 * count)
