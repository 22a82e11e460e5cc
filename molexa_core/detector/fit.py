"""Compiled least-squares fit of a hit to its signals, with checks and the weight of the hit.

A signal set is an array of seven edge indices in the order u1, u2, v1, v2, w1, w2, mcp, with -1 for
a missing signal. The times of a shot's edges are in one array `t`, those of signal s at
`first[s]:first[s + 1]`, ascending.

With the position p of a layer, its time difference d(p) and time sum S(d), the times are
t1 = T + (S + d) / 2, t2 = T + (S - d) / 2 and t_mcp = T. All signals of a hit together determine
x, y and T by least squares, so that every set of signals is treated alike.
"""

from __future__ import annotations

from typing import Any, Final

from molexa_core.base.compiled import compiled
from molexa_core.detector.anode_arrays import (
    AXIS_X,
    AXIS_Y,
    CONSISTENCY,
    DEAD_ANODE,
    DEAD_MCP,
    FORWARD,
    GRID,
    HALF_WIDTH,
    INVERSE,
    LOW_MM,
    LOW_NS,
    MAX_METHOD,
    METHOD,
    N_LAYERS,
    PER_MM,
    PER_NS,
    RADIUS,
    RUN_TIME,
    SCALE,
    SIGMA,
    SUM_MIDDLE,
    SUMS,
)

MCP: Final = 6
MCP_WEIGHT: Final = 2.0
"""Weight of the MCP signal in the fit; a wire end has 1: it jitters more."""
EDGE_GAIN: Final = 10.0
"""Logarithm of how much likelier an edge is where a hit predicts it than by chance."""
HIT_COST: Final = 12.0
"""Logarithm of how much likelier no hit is than a hit at a given place and time."""
MISSING_COST: Final = 2.3
"""-log of the probability that a signal is missing for no known reason (1 in 10)."""
MOST_UNEXPLAINED: Final = (2, 3)
"""Signals that may be missing for no known reason in hits with no check and with one."""


@compiled
def lookup(m: Any, table: int, low: float, per_unit: float, x: float) -> Any:
    """A table on a uniform grid that begins at a place of the array; straight between points."""
    place = (x - low) * per_unit
    k = min(max(int(place), 0), GRID - 2)
    part = place - k
    return m[table + k] + part * (m[table + k + 1] - m[table + k])


@compiled
def sum_at(m: Any, layer: int, d: float) -> Any:
    """Time sum at a difference of times."""
    return lookup(m, SUMS + GRID * layer, m[LOW_NS + layer], m[PER_NS + layer], d)


@compiled
def place_at(m: Any, layer: int, d: float) -> Any:
    """Position on a layer at a difference of times."""
    return lookup(m, FORWARD + GRID * layer, m[LOW_NS + layer], m[PER_NS + layer], d)


@compiled
def difference_at(m: Any, layer: int, x: float, y: float) -> Any:
    """Difference of times of a layer for a hit at x, y."""
    p = m[AXIS_X + layer] * x + m[AXIS_Y + layer] * y
    return lookup(m, INVERSE + GRID * layer, m[LOW_MM + layer], m[PER_MM + layer], p)


@compiled
def difference_of_one(m: Any, layer: int, end: int, after: float) -> Any:
    """Difference of times where one end comes `after` ns behind the MCP."""
    sign = 1.0 - 2.0 * end
    d = sign * (2.0 * after - m[SUM_MIDDLE + layer])
    for _ in range(2):
        d = sign * (2.0 * after - sum_at(m, layer, d))
    return d


@compiled
def solve(a: Any, b: Any) -> Any:
    """Solve the symmetric 3 x 3 system `a . x = b` in place of b; whether it is regular."""
    c00 = a[1, 1] * a[2, 2] - a[1, 2] * a[1, 2]
    c01 = a[0, 2] * a[1, 2] - a[0, 1] * a[2, 2]
    c02 = a[0, 1] * a[1, 2] - a[0, 2] * a[1, 1]
    determinant = a[0, 0] * c00 + a[0, 1] * c01 + a[0, 2] * c02
    if abs(determinant) < 1e-9:
        return False
    c11 = a[0, 0] * a[2, 2] - a[0, 2] * a[0, 2]
    c12 = a[0, 1] * a[0, 2] - a[0, 0] * a[1, 2]
    c22 = a[0, 0] * a[1, 1] - a[0, 1] * a[0, 1]
    x = (c00 * b[0] + c01 * b[1] + c02 * b[2]) / determinant
    y = (c01 * b[0] + c11 * b[1] + c12 * b[2]) / determinant
    z = (c02 * b[0] + c12 * b[1] + c22 * b[2]) / determinant
    b[0], b[1], b[2] = x, y, z
    return True


@compiled
def refine(m: Any, t: Any, chosen: Any, hit: Any, a: Any, b: Any) -> Any:
    """One step of least squares from `hit` (x, y, T), in place; chi square, -1 if undetermined."""
    for i in range(3):
        b[i] = 0.0
        for j in range(3):
            a[i, j] = 0.0
    total = 0.0
    for layer in range(int(m[N_LAYERS])):
        e1, e2 = chosen[2 * layer], chosen[2 * layer + 1]
        if e1 < 0 and e2 < 0:
            continue
        d = difference_at(m, layer, hit[0], hit[1])
        s = sum_at(m, layer, d)
        gx = 0.5 * m[AXIS_X + layer] / m[SCALE + layer]
        gy = 0.5 * m[AXIS_Y + layer] / m[SCALE + layer]
        n = 0.0
        tilt = 0.0
        up = 0.0
        across = 0.0
        if e1 >= 0:
            r = t[e1] - hit[2] - 0.5 * (s + d)
            n += 1.0
            tilt += 1.0
            up += r
            across += r
            total += r * r
        if e2 >= 0:
            r = t[e2] - hit[2] - 0.5 * (s - d)
            n += 1.0
            tilt -= 1.0
            up += r
            across -= r
            total += r * r
        a[0, 0] += n * gx * gx
        a[0, 1] += n * gx * gy
        a[1, 1] += n * gy * gy
        a[0, 2] += tilt * gx
        a[1, 2] += tilt * gy
        a[2, 2] += n
        b[0] += gx * across
        b[1] += gy * across
        b[2] += up
    if chosen[MCP] >= 0:
        r = t[chosen[MCP]] - hit[2]
        a[2, 2] += MCP_WEIGHT
        b[2] += MCP_WEIGHT * r
        total += MCP_WEIGHT * r * r
    bx, by, bt = b[0], b[1], b[2]
    if not solve(a, b):
        return -1.0
    hit[0] += b[0]
    hit[1] += b[1]
    hit[2] += b[2]
    left = total - (bx * b[0] + by * b[1] + bt * b[2])
    return max(left, 0.0) / (m[SIGMA] * m[SIGMA])


@compiled
def nearest(t: Any, low: int, high: int, when: float, tolerance: float) -> Any:
    """The edge among `low:high` nearest to a time, -1 where none is within the tolerance."""
    left, right = low, high
    while left < right:
        middle = (left + right) // 2
        if t[middle] < when:
            left = middle + 1
        else:
            right = middle
    best = -1
    distance = tolerance
    if left < high and t[left] - when <= distance:
        best, distance = left, t[left] - when
    if left > low and when - t[left - 1] <= distance:
        best = left - 1
    return best


@compiled
def first_from(t: Any, low: int, high: int, when: float) -> Any:
    """The first edge among `low:high` that is not before a time."""
    while low < high:
        middle = (low + high) // 2
        if t[middle] < when:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def fill(m: Any, t: Any, first: Any, chosen: Any, hit: Any) -> Any:
    """Add the edges that stand where the hit predicts its missing signals; how many."""
    added = 0
    for layer in range(int(m[N_LAYERS])):
        if chosen[2 * layer] >= 0 and chosen[2 * layer + 1] >= 0:
            continue
        d = difference_at(m, layer, hit[0], hit[1])
        s = sum_at(m, layer, d)
        for end in range(2):
            signal = 2 * layer + end
            if chosen[signal] < 0:
                when = hit[2] + 0.5 * (s + (1.0 - 2.0 * end) * d)
                chosen[signal] = nearest(
                    t, first[signal], first[signal + 1], when, m[HALF_WIDTH + layer]
                )
                added += chosen[signal] >= 0
    if chosen[MCP] < 0:
        chosen[MCP] = nearest(t, first[MCP], first[MCP + 1], hit[2], m[HALF_WIDTH])
        added += chosen[MCP] >= 0
    return added


@compiled
def worst_signal(m: Any, t: Any, chosen: Any, hit: Any) -> Any:
    """The signal that lies farthest from where the hit predicts it."""
    worst, largest = -1, -1.0
    for layer in range(int(m[N_LAYERS])):
        d = difference_at(m, layer, hit[0], hit[1])
        s = sum_at(m, layer, d)
        for end in range(2):
            edge = chosen[2 * layer + end]
            if edge >= 0:
                r = abs(t[edge] - hit[2] - 0.5 * (s + (1.0 - 2.0 * end) * d))
                if r > largest:
                    worst, largest = 2 * layer + end, r
    if chosen[MCP] >= 0 and abs(t[chosen[MCP]] - hit[2]) > largest:
        worst = MCP
    return worst


@compiled
def fits(m: Any, t: Any, chosen: Any, hit: Any) -> Any:
    """Whether time sums, run times, positions of the layers and the radius are as they must be."""
    if hit[0] * hit[0] + hit[1] * hit[1] > m[RADIUS] * m[RADIUS]:
        return False
    start = t[chosen[MCP]] if chosen[MCP] >= 0 else hit[2]
    for layer in range(int(m[N_LAYERS])):
        e1, e2 = chosen[2 * layer], chosen[2 * layer + 1]
        if e1 < 0 and e2 < 0:
            continue
        if e1 >= 0 and e2 >= 0:
            d = t[e1] - t[e2]
            if abs(t[e1] + t[e2] - 2.0 * start - sum_at(m, layer, d)) > m[HALF_WIDTH + layer]:
                return False
        elif e1 >= 0:
            d = difference_of_one(m, layer, 0, t[e1] - start)
        else:
            d = difference_of_one(m, layer, 1, t[e2] - start)
        if abs(d) > m[RUN_TIME + layer]:
            return False
        p = m[AXIS_X + layer] * hit[0] + m[AXIS_Y + layer] * hit[1]
        if abs(place_at(m, layer, d) - p) > m[CONSISTENCY]:
            return False
    return True


@compiled
def method_of(m: Any, chosen: Any) -> Any:
    """Number of the method, -1 where the signals give no hit."""
    u = (chosen[0] >= 0) + (chosen[1] >= 0)
    v = (chosen[2] >= 0) + (chosen[3] >= 0)
    w = (chosen[4] >= 0) + (chosen[5] >= 0)
    return int(m[METHOD + ((u * 3 + v) * 3 + w) * 2 + (1 if chosen[MCP] >= 0 else 0)])


@compiled
def hidden(t: Any, low: int, high: int, when: float, dead: float, tolerance: float) -> Any:
    """Whether an edge of the signal is there that can have hidden one at this time."""
    k = first_from(t, low, high, when - dead - tolerance)
    return k < high and t[k] <= when + tolerance


@compiled
def unexplained(m: Any, t: Any, first: Any, chosen: Any, hit: Any) -> Any:
    """How many signals are missing that no earlier edge can have hidden."""
    count = 0
    for layer in range(int(m[N_LAYERS])):
        if chosen[2 * layer] >= 0 and chosen[2 * layer + 1] >= 0:
            continue
        d = difference_at(m, layer, hit[0], hit[1])
        s = sum_at(m, layer, d)
        for end in range(2):
            signal = 2 * layer + end
            if chosen[signal] < 0:
                when = hit[2] + 0.5 * (s + (1.0 - 2.0 * end) * d)
                count += not hidden(
                    t, first[signal], first[signal + 1], when, m[DEAD_ANODE], m[HALF_WIDTH + layer]
                )
    if chosen[MCP] < 0:
        count += not hidden(t, first[MCP], first[MCP + 1], hit[2], m[DEAD_MCP], m[HALF_WIDTH])
    return count


@compiled
def judge(m: Any, t: Any, first: Any, chosen: Any, hit: Any, chi2: float) -> Any:
    """The weight of a hit: how much likelier it is than its edges by chance; 0 for no hit."""
    method = method_of(m, chosen)
    if method < 0 or method > m[MAX_METHOD] or not fits(m, t, chosen, hit):
        return 0.0
    n = 0
    for s in range(7):
        n += chosen[s] >= 0
    missing = unexplained(m, t, first, chosen, hit)
    if n < 5 and missing > MOST_UNEXPLAINED[n - 3]:
        return 0.0
    return EDGE_GAIN * n - HIT_COST - MISSING_COST * missing - min(0.5 * chi2, 0.5 * EDGE_GAIN * n)
