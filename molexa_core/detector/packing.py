"""Compiled selection of hits among candidates: the set packing of greatest weight.

Each edge belongs to one hit at most. Candidates that compete for edges form clusters; within each,
branch and bound finds the selection of greatest total weight. The selection includes trimmed
versions of the candidates, which leave a disputed edge to a competitor: two pulses that arrive at a
wire end together give only one edge.

Arguments have the shapes and meanings that `fit` and `candidates` say. Beside them:

* `candidates` (candidates, 7 or more): edges of each candidate, -1 for a missing signal; `values`
  (candidates, 4): their weights stand in the last column; `c`: a candidate.
* `members` (n): the candidates of a cluster, the weightiest first.
* `used` (edges): 1 for an edge that is taken; `share` (edges): the most that an edge can
  contribute, the greatest weight per edge of the candidates that have it.
* `edges` (`n_edges`): the edges of a cluster, one for each level of the search; `taken` (levels):
  the candidate that the level chose, -1 for none; `dropped` (levels): whether the level leaves its
  edge unused.
* `parent` (edges): an edge of the same cluster, its own number at the root.
* `masks` (`MOST_TRIMMED`): sets of signals, bit s for signal s; `seen` (128): whether a set is
  among them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import bare, inner
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.detector.anode_arrays import MAX_METHOD
from molexa_core.detector.candidates import (
    COUNT,
    HEAD,
    NEXT,
    WEIGHT,
    Lists,
    Trial,
    enter,
    key_of,
    known,
)
from molexa_core.detector.fit import judge, method_of, refine

MOST_NODES: Final = 20_000
"""Steps of the search in a cluster; the best selection until then is taken, and counted."""
TINY: Final = 1e-9
MOST_TRIMMED: Final = 24
"""Most trimmed versions of a candidate that are considered."""


@inner
def trim(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    tally: IntArray,
    lists: Lists,
    trial: Trial,
    heads: IntArray,
) -> None:
    """Add the versions of competing candidates that leave disputed edges to others.

    Args:
        anode: see `fit`, as `time` and `first_edge`.
        time: likewise.
        first_edge: likewise.
        tally: (3) of the shot, see `candidates.COUNT`.
        lists: its candidates; added to.
        trial: scratch.
        heads: (edges) scratch: the last whole candidate of each edge.
    """
    candidates, values = lists.candidates, lists.values
    chosen, hit = trial.chosen, trial.hit
    masks, seen = np.zeros(MOST_TRIMMED, np.int64), np.zeros(1 << 7, np.bool_)
    for e in range(first_edge[7]):
        heads[e] = lists.marks[e, HEAD]
    for c in range(tally[COUNT]):
        for i in range(disputed(candidates, c, heads, masks, seen)):
            n = 0
            for k in range(7):
                chosen[k] = -1 if masks[i] >> k & 1 else candidates[c, k]
                n += chosen[k] >= 0
            if n < 3 or not 0 <= method_of(anode, chosen) <= anode[MAX_METHOD]:
                continue
            key = key_of(chosen)
            if known(lists, chosen, key):
                continue
            for k in range(3):
                hit[k] = values[c, k]
            chi2 = refine(anode, time, chosen, hit)
            if chi2 >= 0:
                chi2 = refine(anode, time, chosen, hit)
            if chi2 >= 0:
                value = judge(anode, time, first_edge, chosen, hit, chi2)
                if value > 0:
                    enter(lists, tally, chosen, key, hit, value)


@bare
def disputed(
    candidates: IntArray, c: int, heads: IntArray, masks: IntArray, seen: BoolArray
) -> int:
    """Sets of signals that a candidate shares with one or two others, as bits; how many.

    Args:
        candidates: edges of the candidates.
        c: the candidate.
        heads: (edges) the last candidate of each edge.
        masks: receives the sets.
        seen: (128) all false, and left so.
    """
    signals = 0
    for s in range(7):
        signals += candidates[c, s] >= 0
    if signals <= 3:
        return 0  # what is left would be no hit
    n = shared_with_one(candidates, c, heads, masks, seen, signals == 4)
    single = n if signals > 4 else 0
    for i in range(single):
        for j in range(i):
            n = add_mask(masks, n, masks[i] | masks[j], seen)
    for i in range(n):
        seen[masks[i]] = False
    return n


@bare
def shared_with_one(
    candidates: IntArray, c: int, heads: IntArray, masks: IntArray, seen: BoolArray, one: bool
) -> int:
    """Sets of signals that a candidate shares with another; sets of one signal alone if `one`."""
    n = 0
    for s in range(7):
        at = heads[candidates[c, s]] if candidates[c, s] >= 0 else -1
        while at >= 0:
            other = at // 7
            if other != c:
                mask = 0
                for k in range(7):
                    if candidates[c, k] >= 0 and candidates[c, k] == candidates[other, k]:
                        mask |= 1 << k
                if not one or mask == 1 << s:
                    n = add_mask(masks, n, mask, seen)
                    if n == len(masks):
                        return n
            at = candidates[other, NEXT + at % 7]
    return n


@bare
def add_mask(masks: IntArray, n: int, mask: int, seen: BoolArray) -> int:
    """Enter a mask that is not there yet; the new number of masks."""
    if n == len(masks) or seen[mask]:
        return n
    seen[mask] = True
    masks[n] = mask
    return n + 1


@bare
def root(parent: IntArray, e: int) -> int:
    """The representative of an edge's cluster."""
    while parent[e] != e:
        parent[e] = parent[parent[e]]
        e = parent[e]
    return e


@bare
def clusters(n_edges: int, n: int, candidates: IntArray, parent: IntArray) -> None:
    """Join the edges that candidates have in common into clusters."""
    for e in range(n_edges):
        parent[e] = e
    for c in range(n):
        anchor = -1
        for s in range(7):
            if candidates[c, s] >= 0:
                r = root(parent, candidates[c, s])
                if anchor < 0:
                    anchor = r
                else:
                    parent[r] = anchor


@bare
def is_free(candidates: IntArray, c: int, used: IntArray) -> bool:
    """Whether no edge of a candidate is used."""
    free = True
    for s in range(7):
        free &= candidates[c, s] < 0 or not used[candidates[c, s]]
    return free


@bare
def mark(candidates: IntArray, c: int, used: IntArray, value: int) -> None:
    """Mark the edges of a candidate."""
    for s in range(7):
        if candidates[c, s] >= 0:
            used[candidates[c, s]] = value


@bare
def greedy(
    members: IntArray, candidates: IntArray, values: FloatArray, used: IntArray, chosen: IntArray
) -> tuple[int, float]:
    """The first solution: the weightiest candidate, then the next that is free, and so on."""
    n, total = 0, 0.0
    for c in members:
        if is_free(candidates, c, used):
            mark(candidates, c, used, 1)
            chosen[n] = c
            n += 1
            total += values[c, WEIGHT]
    for i in range(n):
        mark(candidates, chosen[i], used, 0)
    return n, total


@bare
def step_back(
    level: int,
    edges: IntArray,
    taken: IntArray,
    dropped: BoolArray,
    candidates: IntArray,
    used: IntArray,
) -> None:
    """Free what a level of the search has used."""
    if taken[level] >= 0:
        mark(candidates, taken[level], used, 0)
        taken[level] = -1
    if dropped[level]:
        used[edges[level]] = 0
        dropped[level] = False


@inner
def members_of_edges(
    members: IntArray, candidates: IntArray, edges: IntArray, n_edges: int, used: IntArray
) -> tuple[IntArray, IntArray]:
    """The members that have each edge, in their order: where each edge begins, and the list.

    `used` serves to find the place of an edge in `edges`, and is left as zeros.
    """
    begin = np.zeros(n_edges + 2, np.int64)  # the level behind the last edge has none
    those = np.empty(7 * len(members), np.int64)
    for level in range(n_edges):
        used[edges[level]] = level
    for c in members:
        for s in range(7):
            if candidates[c, s] >= 0:
                begin[used[candidates[c, s]] + 2] += 1
    for level in range(n_edges):
        begin[level + 2] += begin[level + 1]
    for c in members:
        for s in range(7):
            if candidates[c, s] >= 0:
                level = used[candidates[c, s]]
                those[begin[level + 1]] = c
                begin[level + 1] += 1
    for level in range(n_edges):
        used[edges[level]] = 0
    return begin, those


@bare
def can_exceed(
    now: float, best: float, edges: IntArray, n_edges: int, level: int, used: IntArray,
    share: FloatArray,
) -> bool:  # fmt: skip
    """Whether the most that the free edges from a level on contribute to `now` is above `best`."""
    total = 0.0
    for k in range(level, n_edges):
        if not used[edges[k]]:
            total += share[edges[k]]
            if now + total > best:
                return True  # no share is negative
    return now + total > best


@inner
def best_packing(
    members: IntArray,
    candidates: IntArray,
    values: FloatArray,
    used: IntArray,
    share: FloatArray,
    chosen: IntArray,
) -> tuple[int, bool]:
    """The selection of greatest weight among the members of a cluster.

    Branches over edges: an edge goes to one of the candidates that have it, or stays unused. The
    bound gives every free edge the greatest weight per edge of its candidates.

    Args:
        members: candidates in order of descending weight.
        candidates: (candidates, 7) their edges.
        values: (candidates, 4) their weights stand in the last column.
        used: (edges) zeros; left as zeros.
        share: (edges) scratch.
        chosen: receives the candidates selected.

    Returns:
        number selected, and whether the search was cut off.
    """
    edges, n_edges = cluster_edges(members, candidates, values, share)
    n_best, best = greedy(members, candidates, values, used, chosen)
    begin, those = members_of_edges(members, candidates, edges, n_edges, used)
    option = np.full(n_edges + 1, -1, np.int64)
    taken = np.full(n_edges + 1, -1, np.int64)
    dropped = np.zeros(n_edges + 1, np.bool_)
    now = np.zeros(n_edges + 1)
    level, nodes = 0, 0
    while level >= 0:
        if nodes > MOST_NODES:
            for k in range(level + 1):
                step_back(k, edges, taken, dropped, candidates, used)
            return n_best, True
        nodes += 1
        last = option[level] >= begin[level + 1] - begin[level]  # that without this edge
        step_back(level, edges, taken, dropped, candidates, used)
        if option[level] < 0 and now[level] > best + TINY:
            best, n_best = now[level], 0
            for k in range(level):
                if taken[k] >= 0:
                    chosen[n_best] = taken[k]
                    n_best += 1
        if (
            last
            or level == n_edges
            or not can_exceed(now[level], best + TINY, edges, n_edges, level, used, share)
        ):
            option[level] = -1
            level -= 1
            continue
        now[level + 1] = now[level]
        at, end = begin[level] + option[level] + 1, begin[level + 1]
        while at < end and not is_free(candidates, those[at], used):
            at += 1
        option[level] = at - begin[level]
        if at < end:
            c = those[at]
            taken[level] = c
            mark(candidates, c, used, 1)
            now[level + 1] += values[c, WEIGHT]
        elif not used[edges[level]]:
            dropped[level] = True
            used[edges[level]] = 1
        level += 1
    return n_best, False


@inner
def cluster_edges(
    members: IntArray, candidates: IntArray, values: FloatArray, share: FloatArray
) -> tuple[IntArray, int]:
    """The edges of a cluster, those of the weightiest members first, and their shares."""
    edges = np.empty(7 * len(members), np.int64)
    n_edges = 0
    for c in members:
        for s in range(7):
            if candidates[c, s] >= 0:
                share[candidates[c, s]] = -1.0
    for c in members:
        n = 0
        for s in range(7):
            n += candidates[c, s] >= 0
        for s in range(7):
            edge = candidates[c, s]
            if edge >= 0:
                if share[edge] < 0:
                    edges[n_edges] = edge
                    n_edges += 1
                share[edge] = max(share[edge], values[c, WEIGHT] / n)
    return edges, n_edges
