"""Compiled least-squares fit of a hit to its signals, with checks and the weight of the hit.

The arguments of all these functions:

* `anode` (`anode_arrays`): geometry, tables and limits of the anode, see the names of its places.
* `time` (edges): times of a shot's edges in ns, signal by signal, ascending within each.
* `first_edge` (8): the edges of signal s are `first_edge[s]:first_edge[s + 1]`; the last is the
  number of edges.
* `chosen` (7): index of the edge of each signal of a hit, -1 where missing, in the order u1,
  u2, v1, v2, w1, w2, mcp.
* `hit` (3): x and y in mm, T in ns.
* `layer`: 0 to 2 for u, v, w; `end`: 0 or 1; `d`: difference t1 - t2 of a layer in ns; `low:high`:
  edges of one signal; `when`, `tolerance`, `dead`: ns.

With the position p of a layer, its time difference d(p) and time sum S(d), the times are
t1 = T + (S + d) / 2, t2 = T + (S - d) / 2 and t_mcp = T. All signals of a hit together determine
x, y and T by least squares, so that every set of signals is treated alike.
"""

from __future__ import annotations

from typing import Final

from molexa_core.base.compiled import bare
from molexa_core.base.tables import FloatArray, IntArray
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
    SIGMA,
    SLOPE_X,
    SLOPE_Y,
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


@bare
def lookup(anode: FloatArray, table: int, low: float, per_unit: float, x: float) -> float:
    """A table on a uniform grid that begins at a place of the array; straight between points."""
    place = (x - low) * per_unit
    k = min(max(int(place), 0), GRID - 2)
    part = place - k
    value: float = anode[table + k] + part * (anode[table + k + 1] - anode[table + k])
    return value


@bare
def sum_at(anode: FloatArray, layer: int, d: float) -> float:
    """Time sum at a difference of times."""
    return lookup(anode, SUMS + GRID * layer, anode[LOW_NS + layer], anode[PER_NS + layer], d)


@bare
def place_at(anode: FloatArray, layer: int, d: float) -> float:
    """Position on a layer at a difference of times."""
    return lookup(anode, FORWARD + GRID * layer, anode[LOW_NS + layer], anode[PER_NS + layer], d)


@bare
def difference_at(anode: FloatArray, layer: int, x: float, y: float) -> float:
    """Difference of times of a layer for a hit at x, y."""
    p = anode[AXIS_X + layer] * x + anode[AXIS_Y + layer] * y
    return lookup(anode, INVERSE + GRID * layer, anode[LOW_MM + layer], anode[PER_MM + layer], p)


@bare
def difference_of_one(anode: FloatArray, layer: int, end: int, after: float) -> float:
    """Difference of times where one end comes `after` ns behind the MCP."""
    sign = 1.0 - 2.0 * end
    d: float = sign * (2.0 * after - anode[SUM_MIDDLE + layer])
    for _ in range(2):
        d = sign * (2.0 * after - sum_at(anode, layer, d))
    return d


@bare
def solve(
    a00: float, a01: float, a02: float, a11: float, a12: float, a22: float,
    b0: float, b1: float, b2: float,
) -> tuple[bool, float, float, float]:  # fmt: skip
    """Solve the symmetric 3 x 3 system `a . x = b`: whether it is regular, and x.

    Numbers and no arrays: the compiler keeps them in registers.
    """
    c00 = a11 * a22 - a12 * a12
    c01 = a02 * a12 - a01 * a22
    c02 = a01 * a12 - a02 * a11
    determinant = a00 * c00 + a01 * c01 + a02 * c02
    if abs(determinant) < 1e-9:
        return False, 0.0, 0.0, 0.0
    c11 = a00 * a22 - a02 * a02
    c12 = a01 * a02 - a00 * a12
    c22 = a00 * a11 - a01 * a01
    x = (c00 * b0 + c01 * b1 + c02 * b2) / determinant
    y = (c01 * b0 + c11 * b1 + c12 * b2) / determinant
    z = (c02 * b0 + c12 * b1 + c22 * b2) / determinant
    return True, x, y, z


@bare
def refine(anode: FloatArray, time: FloatArray, chosen: IntArray, hit: FloatArray) -> float:
    """One step of least squares from `hit` (x, y, T), in place; chi square, -1 if undetermined."""
    x, y, start = hit[0], hit[1], hit[2]
    a00, a01, a02, a11, a12, a22 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    b0, b1, b2 = 0.0, 0.0, 0.0
    total = 0.0
    for layer in range(int(anode[N_LAYERS])):
        e1, e2 = chosen[2 * layer], chosen[2 * layer + 1]
        if e1 < 0 and e2 < 0:
            continue
        d = difference_at(anode, layer, x, y)
        s = sum_at(anode, layer, d)
        gx, gy = anode[SLOPE_X + layer], anode[SLOPE_Y + layer]
        n = tilt = up = across = 0.0
        if e1 >= 0:
            r = time[e1] - start - 0.5 * (s + d)
            n += 1.0
            tilt += 1.0
            up += r
            across += r
            total += r * r
        if e2 >= 0:
            r = time[e2] - start - 0.5 * (s - d)
            n += 1.0
            tilt -= 1.0
            up += r
            across -= r
            total += r * r
        a00 += n * gx * gx
        a01 += n * gx * gy
        a11 += n * gy * gy
        a02 += tilt * gx
        a12 += tilt * gy
        a22 += n
        b0 += gx * across
        b1 += gy * across
        b2 += up
    if chosen[MCP] >= 0:
        r = time[chosen[MCP]] - start
        a22 += MCP_WEIGHT
        b2 += MCP_WEIGHT * r
        total += MCP_WEIGHT * r * r
    regular, x0, x1, x2 = solve(a00, a01, a02, a11, a12, a22, b0, b1, b2)
    if not regular:
        return -1.0
    hit[0] += x0
    hit[1] += x1
    hit[2] += x2
    left = total - (b0 * x0 + b1 * x1 + b2 * x2)
    chi2: float = max(left, 0.0) / (anode[SIGMA] * anode[SIGMA])
    return chi2


@bare
def nearest(time: FloatArray, low: int, high: int, when: float, tolerance: float) -> int:
    """The edge among `low:high` nearest to a time, -1 where none is within the tolerance."""
    left, right = low, high
    while left < right:
        middle = (left + right) // 2
        if time[middle] < when:
            left = middle + 1
        else:
            right = middle
    best = -1
    distance = tolerance
    if left < high and time[left] - when <= distance:
        best, distance = left, time[left] - when
    if left > low and when - time[left - 1] <= distance:
        best = left - 1
    return best


@bare
def first_from(time: FloatArray, low: int, high: int, when: float) -> int:
    """The first edge among `low:high` that is not before a time."""
    while low < high:
        middle = (low + high) // 2
        if time[middle] < when:
            low = middle + 1
        else:
            high = middle
    return low


@bare
def fill(
    anode: FloatArray, time: FloatArray, first_edge: IntArray, chosen: IntArray, hit: FloatArray
) -> int:
    """Add the edges that stand where the hit predicts its missing signals; how many."""
    added = 0
    for layer in range(int(anode[N_LAYERS])):
        if chosen[2 * layer] >= 0 and chosen[2 * layer + 1] >= 0:
            continue
        d = difference_at(anode, layer, hit[0], hit[1])
        s = sum_at(anode, layer, d)
        for end in range(2):
            signal = 2 * layer + end
            if chosen[signal] < 0:
                when = hit[2] + 0.5 * (s + (1.0 - 2.0 * end) * d)
                chosen[signal] = nearest(
                    time,
                    first_edge[signal],
                    first_edge[signal + 1],
                    when,
                    anode[HALF_WIDTH + layer],
                )
                added += chosen[signal] >= 0
    if chosen[MCP] < 0:
        chosen[MCP] = nearest(time, first_edge[MCP], first_edge[MCP + 1], hit[2], anode[HALF_WIDTH])
        added += chosen[MCP] >= 0
    return added


@bare
def worst_signal(anode: FloatArray, time: FloatArray, chosen: IntArray, hit: FloatArray) -> int:
    """The signal that lies farthest from where the hit predicts it."""
    worst, largest = -1, -1.0
    for layer in range(int(anode[N_LAYERS])):
        d = difference_at(anode, layer, hit[0], hit[1])
        s = sum_at(anode, layer, d)
        for end in range(2):
            edge = chosen[2 * layer + end]
            if edge >= 0:
                r = abs(time[edge] - hit[2] - 0.5 * (s + (1.0 - 2.0 * end) * d))
                if r > largest:
                    worst, largest = 2 * layer + end, r
    if chosen[MCP] >= 0 and abs(time[chosen[MCP]] - hit[2]) > largest:
        worst = MCP
    return worst


@bare
def fits(anode: FloatArray, time: FloatArray, chosen: IntArray, hit: FloatArray) -> bool:
    """Whether time sums, run times, positions of the layers and the radius are as they must be."""
    if hit[0] * hit[0] + hit[1] * hit[1] > anode[RADIUS] * anode[RADIUS]:
        return False
    start = time[chosen[MCP]] if chosen[MCP] >= 0 else hit[2]
    for layer in range(int(anode[N_LAYERS])):
        e1, e2 = chosen[2 * layer], chosen[2 * layer + 1]
        if e1 < 0 and e2 < 0:
            continue
        if e1 >= 0 and e2 >= 0:
            d = time[e1] - time[e2]
            if (
                abs(time[e1] + time[e2] - 2.0 * start - sum_at(anode, layer, d))
                > anode[HALF_WIDTH + layer]
            ):
                return False
        elif e1 >= 0:
            d = difference_of_one(anode, layer, 0, time[e1] - start)
        else:
            d = difference_of_one(anode, layer, 1, time[e2] - start)
        if abs(d) > anode[RUN_TIME + layer]:
            return False
        p = anode[AXIS_X + layer] * hit[0] + anode[AXIS_Y + layer] * hit[1]
        if abs(place_at(anode, layer, d) - p) > anode[CONSISTENCY]:
            return False
    return True


@bare
def method_of(anode: FloatArray, chosen: IntArray) -> int:
    """Number of the method, -1 where the signals give no hit."""
    u = (chosen[0] >= 0) + (chosen[1] >= 0)
    v = (chosen[2] >= 0) + (chosen[3] >= 0)
    w = (chosen[4] >= 0) + (chosen[5] >= 0)
    return int(anode[METHOD + ((u * 3 + v) * 3 + w) * 2 + (1 if chosen[MCP] >= 0 else 0)])


@bare
def hidden(
    time: FloatArray, low: int, high: int, when: float, dead: float, tolerance: float
) -> bool:
    """Whether an edge of the signal is there that can have hidden one at this time."""
    k = first_from(time, low, high, when - dead - tolerance)
    return k < high and time[k] <= when + tolerance


@bare
def unexplained(
    anode: FloatArray, time: FloatArray, first_edge: IntArray, chosen: IntArray, hit: FloatArray
) -> int:
    """How many signals are missing that no earlier edge can have hidden."""
    count = 0
    for layer in range(int(anode[N_LAYERS])):
        if chosen[2 * layer] >= 0 and chosen[2 * layer + 1] >= 0:
            continue
        d = difference_at(anode, layer, hit[0], hit[1])
        s = sum_at(anode, layer, d)
        for end in range(2):
            signal = 2 * layer + end
            if chosen[signal] < 0:
                when = hit[2] + 0.5 * (s + (1.0 - 2.0 * end) * d)
                count += not hidden(
                    time,
                    first_edge[signal],
                    first_edge[signal + 1],
                    when,
                    anode[DEAD_ANODE],
                    anode[HALF_WIDTH + layer],
                )
    if chosen[MCP] < 0:
        count += not hidden(
            time, first_edge[MCP], first_edge[MCP + 1], hit[2], anode[DEAD_MCP], anode[HALF_WIDTH]
        )
    return count


@bare
def judge(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    chosen: IntArray,
    hit: FloatArray,
    chi2: float,
) -> float:
    """The weight of a hit: how much likelier it is than its edges by chance; 0 for no hit."""
    method = method_of(anode, chosen)
    if method < 0 or method > anode[MAX_METHOD] or not fits(anode, time, chosen, hit):
        return 0.0
    n = 0
    for s in range(7):
        n += chosen[s] >= 0
    missing = unexplained(anode, time, first_edge, chosen, hit)
    if n < 5 and missing > MOST_UNEXPLAINED[n - 3]:
        return 0.0
    return EDGE_GAIN * n - HIT_COST - MISSING_COST * missing - min(0.5 * chi2, 0.5 * EDGE_GAIN * n)
