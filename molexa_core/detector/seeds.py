"""Compiled search for seeds of hits, the most reliable kinds of seed first.

1. The MCP and both ends of two layers, with the right time sums,
2. the MCP and one end each of two layers,
3. both ends of a layer and one of another, without the MCP,
4. one end each of three layers, without the MCP.

Seeds that are part of a hit already found, or made of edges of well-checked hits, are left out.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from molexa_core.base.compiled import compiled
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
"""Seeds of a shot; more are not looked at, and the shot is counted."""


@compiled
def start_from(m: Any, one: int, p_one: float, other: int, p_other: float, hit: Any) -> None:
    """X and y from the positions on two layers."""
    a, b = m[AXIS_X + one], m[AXIS_Y + one]
    c, d = m[AXIS_X + other], m[AXIS_Y + other]
    determinant = a * d - b * c
    hit[0] = (d * p_one - b * p_other) / determinant
    hit[1] = (a * p_other - c * p_one) / determinant


@compiled
def pairs_of(m: Any, t: Any, span: Any, layer: int, start: float, pairs: Any) -> Any:
    """Pairs of edges of a layer whose time sum fits a time of the MCP; how many."""
    n = 0
    low, high = span[2 * layer + 1, 0], span[2 * layer + 1, 1]
    for e1 in range(span[2 * layer, 0], span[2 * layer, 1]):
        guess = 2.0 * start + m[SUM_MIDDLE + layer] - t[e1]
        d = t[e1] - guess
        guess = 2.0 * start + sum_at(m, layer, d) - t[e1]
        e2 = nearest(t, low, high, guess, m[HALF_WIDTH + layer])
        if e2 >= 0 and n < pairs.shape[1] and abs(t[e1] - t[e2]) <= m[RUN_TIME + layer]:
            pairs[layer, n, 0], pairs[layer, n, 1] = e1, e2
            n += 1
    return n


@compiled
def spans(m: Any, t: Any, first: Any, start: float, span: Any, hint: Any) -> None:
    """The edges of each wire end that can belong to a time of the MCP; times ascend by calls."""
    for layer in range(int(m[N_LAYERS])):
        for end in range(2):
            s = 2 * layer + end
            low = max(hint[s], first[s])
            while low < first[s + 1] and t[low] < start + m[EARLY + layer]:
                low += 1
            high = low
            while high < first[s + 1] and t[high] <= start + m[LATE + layer]:
                high += 1
            span[s, 0], span[s, 1], hint[s] = low, high, low


@compiled
def seed(m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any) -> None:
    """Grow the seed in the work space and keep what comes of it."""
    chosen, hit = work[0], work[1]
    state[SEEDS] += 1
    value = grow(m, t, first, chosen, hit, work[2], work[3])
    if value > 0:
        keep(lists, state, chosen, hit, value)


@compiled
def too_many(state: Any) -> Any:
    """Whether the limit of seeds is reached; then the shot is marked."""
    if state[SEEDS] >= MOST_SEEDS:
        state[LIMITED] = 1
    return state[SEEDS] >= MOST_SEEDS


@compiled
def seeds_of_pairs(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, spare: Any
) -> None:
    """Seeds of the MCP and both ends of two layers."""
    span, hint, pairs, counts = spare
    hint[:] = 0
    for e in range(first[MCP], first[MCP + 1]):
        spans(m, t, first, t[e], span, hint)
        for layer in range(int(m[N_LAYERS])):
            counts[layer] = pairs_of(m, t, span, layer, t[e], pairs)
        for one in range(int(m[N_LAYERS])):
            for other in range(one + 1, int(m[N_LAYERS])):
                for i in range(counts[one]):
                    for j in range(counts[other]):
                        if not inside(lists, e, pairs[one, i, 0], pairs[other, j, 0]):
                            seed_of_pairs(
                                m, t, first, state, lists, work, e, one, pairs[one, i], other,
                                pairs[other, j],
                            )  # fmt: skip


@compiled
def seed_of_pairs(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, e: int, one: int, pair: Any,
    other: int, pair_other: Any,
) -> None:  # fmt: skip
    """The seed of one edge of the MCP and a pair each of two layers."""
    chosen, hit = work[0], work[1]
    chosen[:] = -1
    chosen[2 * one], chosen[2 * one + 1] = pair[0], pair[1]
    chosen[2 * other], chosen[2 * other + 1] = pair_other[0], pair_other[1]
    chosen[MCP] = e
    hit[2] = t[e]
    p = place_at(m, one, t[pair[0]] - t[pair[1]])
    q = place_at(m, other, t[pair_other[0]] - t[pair_other[1]])
    start_from(m, one, p, other, q, hit)
    seed(m, t, first, state, lists, work)


@compiled
def seeds_of_ends(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, spare: Any
) -> None:
    """Seeds of the MCP and one end each of two layers."""
    span, hint = spare[0], spare[1]
    ends = 2 * int(m[N_LAYERS])
    hint[:] = 0
    for e in range(first[MCP], first[MCP + 1]):
        spans(m, t, first, t[e], span, hint)
        for s1 in range(ends - 2):
            for e1 in range(span[s1, 0], span[s1, 1]):
                taken = claimed(lists, e) + claimed(lists, e1)
                if taken > 1:
                    continue
                d = difference_of_one(m, s1 // 2, s1 % 2, t[e1] - t[e])
                p = place_at(m, s1 // 2, d)
                for s2 in range(2 * (s1 // 2) + 2, ends):
                    if too_many(state):
                        return
                    other_end(m, t, first, state, lists, work, span, e, s1, e1, s2, taken, p)


@compiled
def other_end(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, span: Any, e: int, s1: int,
    e1: int, s2: int, taken: int, p: float,
) -> None:  # fmt: skip
    """The seeds of an edge of the MCP, a wire end, and all edges of a second wire end."""
    chosen, hit = work[0], work[1]
    for e2 in range(span[s2, 0], span[s2, 1]):
        if taken + claimed(lists, e2) > 1 or inside(lists, e, e1, e2):
            continue
        chosen[:] = -1
        chosen[s1], chosen[s2], chosen[MCP] = e1, e2, e
        hit[2] = t[e]
        q = place_at(m, s2 // 2, difference_of_one(m, s2 // 2, s2 % 2, t[e2] - t[e]))
        start_from(m, s1 // 2, p, s2 // 2, q, hit)
        seed(m, t, first, state, lists, work)


@compiled
def seeds_without_mcp(m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any) -> None:
    """Seeds of both ends of a layer and one of another."""
    for one in range(int(m[N_LAYERS])):
        longest, end = m[RUN_TIME + one], first[2 * one + 2]
        for e1 in range(first[2 * one], first[2 * one + 1]):
            for e2 in range(first_from(t, first[2 * one + 1], end, t[e1] - longest), end):
                if t[e2] > t[e1] + longest:
                    break
                taken = claimed(lists, e1) + claimed(lists, e2)
                if taken > 1:
                    continue
                for s in range(2 * int(m[N_LAYERS])):
                    if too_many(state):
                        return
                    if s // 2 != one:
                        third_end(m, t, first, state, lists, work, one, e1, e2, s, taken)


@compiled
def third_end(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, one: int, e1: int, e2: int,
    s: int, taken: int,
) -> None:  # fmt: skip
    """The seeds of both ends of a layer and all edges of a third wire end."""
    chosen, hit = work[0], work[1]
    other = s // 2
    d = t[e1] - t[e2]
    start = 0.5 * (t[e1] + t[e2] - sum_at(m, one, d))
    p = place_at(m, one, d)
    earliest = start + m[EARLY + other]
    for e3 in range(first_from(t, first[s], first[s + 1], earliest), first[s + 1]):
        if t[e3] > start + m[LATE + other]:
            return
        if taken + claimed(lists, e3) > 1 or inside(lists, e1, e2, e3):
            continue
        chosen[:] = -1
        chosen[2 * one], chosen[2 * one + 1], chosen[s] = e1, e2, e3
        hit[2] = start
        q = place_at(m, other, difference_of_one(m, other, s % 2, t[e3] - start))
        start_from(m, one, p, other, q, hit)
        seed(m, t, first, state, lists, work)


@compiled
def start_of_three(m: Any, t: Any, edges: Any, ends: Any) -> Any:
    """Time of the MCP from one end of each layer, where u - v - w = 0.

    Each position is `scale * (+-2 (t - T) -+ S) + offset`: one linear equation for T.
    """
    factor, constant = 0.0, 0.0
    for layer in range(3):
        turn = 1.0 if layer == 0 else -1.0
        sign = turn * m[SCALE + layer] * (1.0 - 2.0 * ends[layer])
        factor += 2.0 * sign
        constant += sign * (2.0 * t[edges[layer]] - m[SUM_MIDDLE + layer])
        constant += turn * m[PLACE_MIDDLE + layer]
    return constant / factor


@compiled
def seeds_of_three(m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any) -> None:
    """Seeds of one end each of the three layers of a hexanode."""
    edges, ends = np.zeros(3, np.int64), np.zeros(3, np.int64)
    reach = max(m[LATE], m[LATE + 1], m[LATE + 2]) - min(m[EARLY], m[EARLY + 1], m[EARLY + 2])
    for combination in range(8):
        ends[0], ends[1], ends[2] = combination // 4, (combination // 2) % 2, combination % 2
        s2 = 2 + ends[1]
        for e1 in range(first[ends[0]], first[ends[0] + 1]):
            begin = first_from(t, first[s2], first[s2 + 1], t[e1] - reach)
            for e2 in range(begin, first[s2 + 1]):
                if t[e2] > t[e1] + reach:
                    break
                if claimed(lists, e1) + claimed(lists, e2) > 1:
                    continue
                if too_many(state):
                    return
                edges[0], edges[1] = e1, e2
                third_layer(m, t, first, state, lists, work, edges, ends, reach)


@compiled
def third_layer(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, edges: Any, ends: Any,
    reach: float,
) -> None:  # fmt: skip
    """The seeds of one end each of u and v and all edges of an end of w."""
    chosen, hit = work[0], work[1]
    e1, e2, s = edges[0], edges[1], 4 + ends[2]
    taken = claimed(lists, e1) + claimed(lists, e2)
    for e3 in range(first_from(t, first[s], first[s + 1], t[e1] - reach), first[s + 1]):
        if t[e3] > t[e1] + reach:
            return
        if taken + claimed(lists, e3) > 1 or inside(lists, e1, e2, e3):
            continue
        edges[2] = e3
        start = start_of_three(m, t, edges, ends)
        chosen[:] = -1
        possible = True
        for layer in range(3):
            chosen[2 * layer + ends[layer]] = edges[layer]
            after = t[edges[layer]] - start
            possible &= m[EARLY + layer] <= after <= m[LATE + layer]
        if not possible:
            continue
        hit[2] = start
        p = place_at(m, 1, difference_of_one(m, 1, ends[1], t[e2] - start))
        q = place_at(m, 2, difference_of_one(m, 2, ends[2], t[e3] - start))
        start_from(m, 1, p, 2, q, hit)
        seed(m, t, first, state, lists, work)


@compiled
def find_candidates(
    m: Any, t: Any, first: Any, state: Any, lists: Any, work: Any, spare: Any
) -> None:
    """Fill the lists with the candidates of a shot; `state` and the heads of lists are reset."""
    marks = lists[2]
    state[:] = 0
    marks[: first[7], HEAD] = -1
    marks[: first[7], CLAIMS] = 0
    seeds_of_pairs(m, t, first, state, lists, work, spare)
    free = 0
    for e in range(first[7]):
        free += marks[e, CLAIMS] != 1
    if free == 0:
        return
    seeds_of_ends(m, t, first, state, lists, work, spare)
    seeds_without_mcp(m, t, first, state, lists, work)
    if int(m[N_LAYERS]) == 3:
        seeds_of_three(m, t, first, state, lists, work)
