"""Compiled: which ion of an event has which role, given the mean momenta of the roles.

For one event the orientation is not known. It is found from two of its ions laid on the mean
momenta of two roles (`anchors`), in every possible way; then the best one-to-one assignment in this
orientation and the best superposition of this assignment follow each other until nothing changes.
Around each such solution all assignments are listed that are not much worse (branch and bound),
each is superposed anew, and weighed by the normal distribution of what is left.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled, inner
from molexa_core.base.tables import FloatArray, IntArray

SLACK: Final = 9.0
"""Assignments whose exponent is worse than the best one by more are left out."""
_ROUNDS: Final = 5
_NODES: Final = 20_000
_SWEEPS: Final = 12
_HOPELESS: Final = 4.0
_FAR: Final = 60.0
"""Starts whose sum of costs is larger than so many times the least one, and so much more, end."""


@inner
def turn_onto(  # noqa: C901, PLR0912  # one compiled loop
    event: FloatArray,
    order: IntArray,
    mean: FloatArray,
    weight: FloatArray,
    work: FloatArray,
    rotation: FloatArray,
) -> None:
    """Rotation that brings ion `order[a]` of the event closest to `mean[a]` (Horn's quaternion).

    Args:
        event: (N, 3).
        order: (N) the ion of each role; -1 where a role does not count.
        mean: (N, 3).
        weight: (N).
        work: (2, 4, 4), overwritten.
        rotation: (3, 3), overwritten.
    """
    s = np.zeros((3, 3))
    for a in range(len(order)):
        i = order[a]
        if i < 0:
            continue
        for c in range(3):
            for d in range(3):
                s[c, d] += weight[a] * event[i, c] * mean[a, d]
    k, v = work[0], work[1]
    k[0, 0] = s[0, 0] + s[1, 1] + s[2, 2]
    k[1, 1] = s[0, 0] - s[1, 1] - s[2, 2]
    k[2, 2] = -s[0, 0] + s[1, 1] - s[2, 2]
    k[3, 3] = -s[0, 0] - s[1, 1] + s[2, 2]
    k[0, 1] = k[1, 0] = s[1, 2] - s[2, 1]
    k[0, 2] = k[2, 0] = s[2, 0] - s[0, 2]
    k[0, 3] = k[3, 0] = s[0, 1] - s[1, 0]
    k[1, 2] = k[2, 1] = s[0, 1] + s[1, 0]
    k[1, 3] = k[3, 1] = s[2, 0] + s[0, 2]
    k[2, 3] = k[3, 2] = s[1, 2] + s[2, 1]
    size = 0.0
    for c in range(4):
        size += abs(k[c, c])
        for d in range(4):
            v[c, d] = 1.0 if c == d else 0.0
    for _ in range(_SWEEPS):
        off = 0.0
        for c in range(3):
            for d in range(c + 1, 4):
                off += abs(k[c, d])
        if off <= 1e-15 * size:
            break
        for c in range(3):
            for d in range(c + 1, 4):
                if k[c, d] == 0.0:
                    continue
                theta = 0.5 * (k[d, d] - k[c, c]) / k[c, d]
                t = 1.0 / (abs(theta) + np.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    t = -t
                co = 1.0 / np.sqrt(t * t + 1.0)
                si = t * co
                for e in range(4):
                    one, other = k[e, c], k[e, d]
                    k[e, c], k[e, d] = co * one - si * other, si * one + co * other
                for e in range(4):
                    one, other = k[c, e], k[d, e]
                    k[c, e], k[d, e] = co * one - si * other, si * one + co * other
                for e in range(4):
                    one, other = v[e, c], v[e, d]
                    v[e, c], v[e, d] = co * one - si * other, si * one + co * other
    best = 0
    for c in range(1, 4):
        if k[c, c] > k[best, best]:
            best = c
    w, x, y, z = v[0, best], v[1, best], v[2, best], v[3, best]
    rotation[0, 0] = w * w + x * x - y * y - z * z
    rotation[1, 1] = w * w - x * x + y * y - z * z
    rotation[2, 2] = w * w - x * x - y * y + z * z
    rotation[0, 1], rotation[1, 0] = 2.0 * (x * y - w * z), 2.0 * (x * y + w * z)
    rotation[0, 2], rotation[2, 0] = 2.0 * (x * z + w * y), 2.0 * (x * z - w * y)
    rotation[1, 2], rotation[2, 1] = 2.0 * (y * z - w * x), 2.0 * (y * z + w * x)


@inner
def costs(
    event: FloatArray,
    rotation: FloatArray,
    kind: IntArray,
    mean: FloatArray,
    weight: FloatArray,
    into: FloatArray,
) -> None:
    """(roles, ions) half the weighted squared distance; infinite for ions of another kind."""
    n = len(kind)
    for i in range(n):
        x = rotation[0, 0] * event[i, 0] + rotation[0, 1] * event[i, 1]
        x += rotation[0, 2] * event[i, 2]
        y = rotation[1, 0] * event[i, 0] + rotation[1, 1] * event[i, 1]
        y += rotation[1, 2] * event[i, 2]
        z = rotation[2, 0] * event[i, 0] + rotation[2, 1] * event[i, 1]
        z += rotation[2, 2] * event[i, 2]
        for a in range(n):
            if kind[a] != kind[i]:
                into[a, i] = np.inf
                continue
            away = (x - mean[a, 0]) ** 2 + (y - mean[a, 1]) ** 2 + (z - mean[a, 2]) ** 2
            into[a, i] = 0.5 * weight[a] * away


@inner
def assignments(  # noqa: C901, PLR0912  # one compiled loop
    cost: FloatArray, slack: float, known: float, orders: IntArray, sums: FloatArray
) -> int:
    """One-to-one assignments with the least sums of costs.

    Args:
        cost: (roles, ions).
        slack: those are listed that are worse than the best by no more.
        known: a sum that can be reached, or infinite.
        orders: (most, N) the ion of each role, overwritten; of too many, the best.
        sums: (most) their sums.

    Returns:
        How many were found.
    """
    n = len(cost)
    rest = np.zeros(n + 1)
    for a in range(n - 1, -1, -1):
        rest[a] = rest[a + 1] + cost[a].min()
    best, count, nodes = known, 0, 0
    chosen = np.full(n, -1, np.int64)
    sofar = np.zeros(n + 1)
    used = np.zeros(n, np.bool_)
    a = 0
    limit = best + slack
    while a >= 0 and nodes < _NODES:
        nodes += 1
        i = chosen[a]
        if i >= 0:
            used[i] = False
        i += 1
        while i < n and (used[i] or sofar[a] + cost[a, i] + rest[a + 1] > limit):
            i += 1
        if i == n:
            chosen[a] = -1
            a -= 1
            continue
        chosen[a] = i
        used[i] = True
        sofar[a + 1] = sofar[a] + cost[a, i]
        if a + 1 < n:
            a += 1
            chosen[a] = -1
            continue
        total = sofar[n]
        place = count
        if count == len(sums):
            place = 0
            for m in range(1, count):
                if sums[m] > sums[place]:
                    place = m
            if sums[place] <= total:
                continue
        else:
            count += 1
        sums[place] = total
        for b in range(n):
            orders[place, b] = chosen[b]
        if total < best:
            best = total
            limit = min(limit, best + slack)
    kept = 0
    for m in range(count):
        if sums[m] <= best + slack + 1e-9:
            sums[kept] = sums[m]
            for b in range(n):
                orders[kept, b] = orders[m, b]
            kept += 1
    return kept


@inner
def representative(order: IntArray, group: IntArray) -> int:
    """The smallest number of all assignments that are equivalent by symmetry."""
    least = -1
    for m in range(len(group)):
        code = 0
        for a in range(len(order)):
            code = code * 16 + order[group[m, a]]
        if least < 0 or code < least:
            least = code
    return least


@inner
def one_event(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    event: FloatArray,
    kind: IntArray,
    mean: FloatArray,
    weight: FloatArray,
    precision: FloatArray,
    anchors: IntArray,
    group: IntArray,
    slack: float,
    orders: NDArray[np.int8],
    exponent: FloatArray,
    rotations: FloatArray,
) -> int:
    """Assignments of one event.

    Args:
        event: (N, 3).
        kind: (N) kind of each role, which is that of the ion with the same number.
        mean: (N, 3) of the roles.
        weight: (N) of the roles in superpositions: inverse variances of a component.
        precision: (3 N, 3 N) inverse covariance of what a superposition leaves.
        anchors: (3) two roles that give the first orientations; 1 if the symmetry carries the first
            of them to all of its kind, so that one ion need be tried for it.
        group: (operations, N) assignments that are equivalent by symmetry; of those one is listed.
        slack: as in `assignments`.
        orders: (most, N) the ion of each role, overwritten.
        exponent: (most) minus half the Mahalanobis distance squared.
        rotations: (most, 3, 3) from the event to the frame of the means.

    Returns:
        Number of assignments.
    """
    n, most = len(kind), len(exponent)
    work, rotation, cost = np.zeros((2, 4, 4)), np.zeros((3, 3)), np.zeros((n, n))
    one, total = np.zeros((1, n), np.int64), np.zeros(1)
    first, second, pinned = anchors[0], anchors[1], anchors[2] > 0
    order = np.empty(n, np.int64)
    begun, begun_sums = np.zeros((n * n, n), np.int64), np.zeros(n * n)
    starts = 0
    for i in range(n):
        if kind[i] != kind[first] or (pinned and starts > 0):
            continue
        for j in range(n):
            if j == i or kind[j] != kind[second]:
                continue
            order[:] = -1
            order[first], order[second] = i, j
            turn_onto(event, order, mean, weight, work, rotation)
            costs(event, rotation, kind, mean, weight, cost)
            if assignments(cost, 0.0, np.inf, one, total) > 0:
                begun[starts], begun_sums[starts] = one[0], total[0]
                starts += 1
    if starts == 0:
        return 0
    hopeless = _HOPELESS * begun_sums[:starts].min() + _FAR
    ended, ended_sums = np.zeros((starts, n), np.int64), np.zeros(starts)
    seen, visited, found = np.zeros(_ROUNDS * starts, np.int64), 0, 0
    for start in range(starts):
        if begun_sums[start] > hopeless:
            continue
        order[:] = begun[start]
        total[0] = begun_sums[start]
        own, known = visited, -1
        for step in range(_ROUNDS):
            code = representative(order, group)
            for m in range(visited):
                if seen[m] == code:
                    known = m
            if known >= 0:
                break
            seen[visited] = code
            visited += 1
            turn_onto(event, order, mean, weight, work, rotation)
            costs(event, rotation, kind, mean, weight, cost)
            if assignments(cost, 0.0, np.inf, one, total) == 0:
                break
            if step + 1 < _ROUNDS:
                order[:] = one[0]
        if known < 0 or known >= own:  # else it leads where another start has led
            ended[found], ended_sums[found] = order, total[0]
            found += 1
    least = ended_sums[:found].min()
    near, near_sums = np.zeros((most, n), np.int64), np.zeros(most)
    codes = np.zeros(most, np.int64)
    count = 0
    left = np.empty(3 * n)
    for m in range(found):
        if ended_sums[m] > least + slack:
            continue
        turn_onto(event, ended[m], mean, weight, work, rotation)
        costs(event, rotation, kind, mean, weight, cost)
        listed = assignments(cost, slack, ended_sums[m] + 1e-9, near, near_sums)
        for number in range(listed):
            code = representative(near[number], group)
            new = True
            for other in range(count):
                if codes[other] == code:
                    new = False
            if not new:
                continue
            turn_onto(event, near[number], mean, weight, work, rotation)
            for a in range(n):
                i = near[number, a]
                for c in range(3):
                    value = -mean[a, c]
                    for d in range(3):
                        value += rotation[c, d] * event[i, d]
                    left[3 * a + c] = value
            quadratic = 0.0
            for c in range(3 * n):
                row = 0.0
                for d in range(3 * n):
                    row += precision[c, d] * left[d]
                quadratic += left[c] * row
            quadratic *= -0.5
            place = count
            if count == most:
                place = 0
                for other in range(1, count):
                    if exponent[other] < exponent[place]:
                        place = other
                if exponent[place] >= quadratic:
                    continue
            else:
                count += 1
            codes[place], exponent[place] = code, quadratic
            for a in range(n):
                orders[place, a] = near[number, a]
            rotations[place] = rotation
    return count


@compiled
def all_events(
    momentum: FloatArray,
    kind: IntArray,
    mean: FloatArray,
    weight: FloatArray,
    precision: FloatArray,
    anchors: IntArray,
    group: IntArray,
    slack: float,
    orders: NDArray[np.int8],
    exponent: FloatArray,
    rotations: FloatArray,
    counts: IntArray,
) -> None:
    """`one_event` for (n, N, 3) momenta; a first axis for events in all that is overwritten."""
    for e in range(len(momentum)):
        counts[e] = one_event(
            momentum[e],
            kind,
            mean,
            weight,
            precision,
            anchors,
            group,
            slack,
            orders[e],
            exponent[e],
            rotations[e],
        )
