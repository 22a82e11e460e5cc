"""Compiled search for seeds of hits, the most reliable kinds of seed first.

1. The MCP and both ends of two layers, with the right time sums,
2. the MCP and one end each of two layers,
3. both ends of a layer and one of another, without the MCP,
4. one end each of three layers, without the MCP.

Seeds that are part of a hit already found, or made of edges of well-checked hits, are left out.

Arguments have the shapes and meanings that `fit` and `candidates` say. Beside them, `e` is an edge
of the MCP; `e1`, `e2`, `e3` are edges of wire ends; `s`, `s1`, `s2` numbers of wire ends (2 layer +
end); `one`, `other` numbers of layers with the positions `p_one`, `p_other` (p, q) in mm; `taken`
counts the edges chosen so far that are claimed by a well-checked hit.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from molexa_core.base.compiled import bare, inner
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.detector.anode_arrays import (
    AXIS_X,
    AXIS_Y,
    EARLY,
    HALF_WIDTH,
    LATE,
    N_LAYERS,
    PLACE_MIDDLE,
    RUN_TIME,
    SCALE,
    SUM_MIDDLE,
)
from molexa_core.detector.candidates import (
    CLAIMS,
    HEAD,
    LIMITED,
    SEEDS,
    Lists,
    Trial,
    claimed,
    grow,
    inside,
    keep,
)
from molexa_core.detector.fit import (
    MCP,
    difference_of_one,
    first_from,
    nearest,
    place_at,
    sum_at,
)

MOST_SEEDS: Final = 400_000
"""Most seeds of a shot; if there are more, the rest is ignored and the shot is counted."""


class Near(NamedTuple):
    """The edges near a time of the MCP.

    Attributes:
        span: (6, 2) first edge of each wire end that can belong to it, and the one behind the last.
        hint: (6) where the search for the first one goes on at the next time.
        pairs: (3, pairs, 2) edges of both ends of a layer with the right time sum.
        counts: (3) how many pairs each layer has.
    """

    span: IntArray
    hint: IntArray
    pairs: IntArray
    counts: IntArray


@bare
def start_from(
    anode: FloatArray, one: int, p_one: float, other: int, p_other: float, hit: FloatArray
) -> None:
    """X and y from the positions on two layers."""
    a, b = anode[AXIS_X + one], anode[AXIS_Y + one]
    c, d = anode[AXIS_X + other], anode[AXIS_Y + other]
    determinant = a * d - b * c
    hit[0] = (d * p_one - b * p_other) / determinant
    hit[1] = (a * p_other - c * p_one) / determinant


@bare
def pairs_of(
    anode: FloatArray, time: FloatArray, span: IntArray, layer: int, start: float, pairs: IntArray
) -> int:
    """Pairs of edges of a layer whose time sum fits a time of the MCP; how many."""
    n = 0
    low, high = span[2 * layer + 1, 0], span[2 * layer + 1, 1]
    for e1 in range(span[2 * layer, 0], span[2 * layer, 1]):
        guess = 2.0 * start + anode[SUM_MIDDLE + layer] - time[e1]
        d = time[e1] - guess
        guess = 2.0 * start + sum_at(anode, layer, d) - time[e1]
        e2 = nearest(time, low, high, guess, anode[HALF_WIDTH + layer])
        if e2 >= 0 and n < pairs.shape[1] and abs(time[e1] - time[e2]) <= anode[RUN_TIME + layer]:
            pairs[layer, n, 0], pairs[layer, n, 1] = e1, e2
            n += 1
    return n


@bare
def spans(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    start: float,
    span: IntArray,
    hint: IntArray,
) -> None:
    """The edges of each wire end that can belong to a time of the MCP; times ascend by calls."""
    for layer in range(int(anode[N_LAYERS])):
        for end in range(2):
            s = 2 * layer + end
            low = max(hint[s], first_edge[s])
            while low < first_edge[s + 1] and time[low] < start + anode[EARLY + layer]:
                low += 1
            high = low
            while high < first_edge[s + 1] and time[high] <= start + anode[LATE + layer]:
                high += 1
            span[s, 0], span[s, 1], hint[s] = low, high, low


@bare
def seed(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
) -> None:
    """Grow the seed in `trial` and keep what comes of it."""
    chosen, hit = trial.chosen, trial.hit
    tally[SEEDS] += 1
    value = grow(anode, time, first_edge, chosen, hit)
    if value > 0:
        keep(lists, tally, chosen, hit, value)


@bare
def too_many(tally: IntArray) -> bool:
    """Whether the limit of seeds is reached; then the shot is marked."""
    reached: bool = tally[SEEDS] >= MOST_SEEDS
    if reached:
        tally[LIMITED] = 1
    return reached


@bare
def seeds_of_pairs(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    near: Near,
) -> None:
    """Seeds of the MCP and both ends of two layers."""
    span, hint, pairs, counts = near
    hint[:] = 0
    for e in range(first_edge[MCP], first_edge[MCP + 1]):
        spans(anode, time, first_edge, time[e], span, hint)
        for layer in range(int(anode[N_LAYERS])):
            counts[layer] = pairs_of(anode, time, span, layer, time[e], pairs)
        for one in range(int(anode[N_LAYERS])):
            for other in range(one + 1, int(anode[N_LAYERS])):
                for i in range(counts[one]):
                    for j in range(counts[other]):
                        if not inside(lists, e, pairs[one, i, 0], pairs[other, j, 0]):
                            seed_of_pairs(
                                anode, time, first_edge, tally, lists, trial, e, one, pairs[one, i],
                                other, pairs[other, j],
                            )  # fmt: skip


@bare
def seed_of_pairs(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    e: int,
    one: int,
    pair: IntArray,
    other: int,
    pair_other: IntArray,
) -> None:
    """The seed of one edge of the MCP and a pair each of two layers."""
    chosen, hit = trial.chosen, trial.hit
    chosen[:] = -1
    chosen[2 * one], chosen[2 * one + 1] = pair[0], pair[1]
    chosen[2 * other], chosen[2 * other + 1] = pair_other[0], pair_other[1]
    chosen[MCP] = e
    hit[2] = time[e]
    p = place_at(anode, one, time[pair[0]] - time[pair[1]])
    q = place_at(anode, other, time[pair_other[0]] - time[pair_other[1]])
    start_from(anode, one, p, other, q, hit)
    seed(anode, time, first_edge, tally, lists, trial)


@bare
def seeds_of_ends(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    near: Near,
) -> None:
    """Seeds of the MCP and one end each of two layers."""
    span, hint = near.span, near.hint
    ends = 2 * int(anode[N_LAYERS])
    hint[:] = 0
    for e in range(first_edge[MCP], first_edge[MCP + 1]):
        spans(anode, time, first_edge, time[e], span, hint)
        for s1 in range(ends - 2):
            for e1 in range(span[s1, 0], span[s1, 1]):
                taken = claimed(lists, e) + claimed(lists, e1)
                if taken > 1:
                    continue
                d = difference_of_one(anode, s1 // 2, s1 % 2, time[e1] - time[e])
                p = place_at(anode, s1 // 2, d)
                for s2 in range(2 * (s1 // 2) + 2, ends):
                    if too_many(tally):
                        return
                    other_end(
                        anode, time, first_edge, tally, lists, trial, span, e, s1, e1, s2, taken, p
                    )


@bare
def other_end(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    span: IntArray,
    e: int,
    s1: int,
    e1: int,
    s2: int,
    taken: int,
    p: float,
) -> None:
    """The seeds of an edge of the MCP, a wire end, and all edges of a second wire end."""
    chosen, hit = trial.chosen, trial.hit
    for e2 in range(span[s2, 0], span[s2, 1]):
        if taken + claimed(lists, e2) > 1 or inside(lists, e, e1, e2):
            continue
        chosen[:] = -1
        chosen[s1], chosen[s2], chosen[MCP] = e1, e2, e
        hit[2] = time[e]
        q = place_at(anode, s2 // 2, difference_of_one(anode, s2 // 2, s2 % 2, time[e2] - time[e]))
        start_from(anode, s1 // 2, p, s2 // 2, q, hit)
        seed(anode, time, first_edge, tally, lists, trial)


@bare
def seeds_without_mcp(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
) -> None:
    """Seeds of both ends of a layer and one of another."""
    for one in range(int(anode[N_LAYERS])):
        longest, end = anode[RUN_TIME + one], first_edge[2 * one + 2]
        for e1 in range(first_edge[2 * one], first_edge[2 * one + 1]):
            for e2 in range(
                first_from(time, first_edge[2 * one + 1], end, time[e1] - longest), end
            ):
                if time[e2] > time[e1] + longest:
                    break
                taken = claimed(lists, e1) + claimed(lists, e2)
                if taken > 1:
                    continue
                for s in range(2 * int(anode[N_LAYERS])):
                    if too_many(tally):
                        return
                    if s // 2 != one:
                        third_end(
                            anode, time, first_edge, tally, lists, trial, one, e1, e2, s, taken
                        )


@bare
def third_end(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    one: int,
    e1: int,
    e2: int,
    s: int,
    taken: int,
) -> None:
    """The seeds of both ends of a layer and all edges of a third wire end."""
    chosen, hit = trial.chosen, trial.hit
    other = s // 2
    d = time[e1] - time[e2]
    start = 0.5 * (time[e1] + time[e2] - sum_at(anode, one, d))
    p = place_at(anode, one, d)
    earliest = start + anode[EARLY + other]
    for e3 in range(
        first_from(time, first_edge[s], first_edge[s + 1], earliest), first_edge[s + 1]
    ):
        if time[e3] > start + anode[LATE + other]:
            return
        if taken + claimed(lists, e3) > 1 or inside(lists, e1, e2, e3):
            continue
        chosen[:] = -1
        chosen[2 * one], chosen[2 * one + 1], chosen[s] = e1, e2, e3
        hit[2] = start
        q = place_at(anode, other, difference_of_one(anode, other, s % 2, time[e3] - start))
        start_from(anode, one, p, other, q, hit)
        seed(anode, time, first_edge, tally, lists, trial)


@bare
def start_of_three(anode: FloatArray, time: FloatArray, edges: IntArray, ends: IntArray) -> float:
    """Time of the MCP from one end of each layer, where u - v - w = 0.

    Each position is `scale * (+-2 (t - T) -+ S) + offset`: one linear equation for T.
    """
    factor, constant = 0.0, 0.0
    for layer in range(3):
        turn = 1.0 if layer == 0 else -1.0
        sign = turn * anode[SCALE + layer] * (1.0 - 2.0 * ends[layer])
        factor += 2.0 * sign
        constant += sign * (2.0 * time[edges[layer]] - anode[SUM_MIDDLE + layer])
        constant += turn * anode[PLACE_MIDDLE + layer]
    return constant / factor


@inner
def seeds_of_three(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
) -> None:
    """Seeds of one end each of the three layers of a hexanode."""
    edges, ends = np.zeros(3, np.int64), np.zeros(3, np.int64)
    reach = max(anode[LATE], anode[LATE + 1], anode[LATE + 2]) - min(
        anode[EARLY], anode[EARLY + 1], anode[EARLY + 2]
    )
    for combination in range(8):
        ends[0], ends[1], ends[2] = combination // 4, (combination // 2) % 2, combination % 2
        s2 = 2 + ends[1]
        for e1 in range(first_edge[ends[0]], first_edge[ends[0] + 1]):
            begin = first_from(time, first_edge[s2], first_edge[s2 + 1], time[e1] - reach)
            for e2 in range(begin, first_edge[s2 + 1]):
                if time[e2] > time[e1] + reach:
                    break
                if claimed(lists, e1) + claimed(lists, e2) > 1:
                    continue
                if too_many(tally):
                    return
                edges[0], edges[1] = e1, e2
                third_layer(anode, time, first_edge, tally, lists, trial, edges, ends, reach)


@bare
def third_layer(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    edges: IntArray,
    ends: IntArray,
    reach: float,
) -> None:
    """The seeds of one end each of u and v and all edges of an end of w."""
    chosen, hit = trial.chosen, trial.hit
    e1, e2, s = edges[0], edges[1], 4 + ends[2]
    taken = claimed(lists, e1) + claimed(lists, e2)
    for e3 in range(
        first_from(time, first_edge[s], first_edge[s + 1], time[e1] - reach), first_edge[s + 1]
    ):
        if time[e3] > time[e1] + reach:
            return
        if taken + claimed(lists, e3) > 1 or inside(lists, e1, e2, e3):
            continue
        edges[2] = e3
        start = start_of_three(anode, time, edges, ends)
        chosen[:] = -1
        possible = True
        for layer in range(3):
            chosen[2 * layer + ends[layer]] = edges[layer]
            after = time[edges[layer]] - start
            possible &= anode[EARLY + layer] <= after <= anode[LATE + layer]
        if not possible:
            continue
        hit[2] = start
        p = place_at(anode, 1, difference_of_one(anode, 1, ends[1], time[e2] - start))
        q = place_at(anode, 2, difference_of_one(anode, 2, ends[2], time[e3] - start))
        start_from(anode, 1, p, 2, q, hit)
        seed(anode, time, first_edge, tally, lists, trial)


@inner
def find_candidates(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    near: Near,
) -> None:
    """Fill the lists with the candidates of a shot; `state` and the heads of lists are reset."""
    marks = lists.marks
    tally[:] = 0
    marks[: first_edge[7], HEAD] = -1
    marks[: first_edge[7], CLAIMS] = 0
    seeds_of_pairs(anode, time, first_edge, tally, lists, trial, near)
    free = 0
    for e in range(first_edge[7]):
        free += marks[e, CLAIMS] != 1
    if free == 0:
        return
    seeds_of_ends(anode, time, first_edge, tally, lists, trial, near)
    seeds_without_mcp(anode, time, first_edge, tally, lists, trial)
    if int(anode[N_LAYERS]) == 3:
        seeds_of_three(anode, time, first_edge, tally, lists, trial)
