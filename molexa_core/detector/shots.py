"""Compiled sorting of the edges of each shot into hits."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled, inner
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.detector.candidates import (
    COLUMNS,
    COUNT,
    LIMITED,
    MOST_CANDIDATES,
    WEIGHT,
    Lists,
    Trial,
)
from molexa_core.detector.fit import MCP, method_of
from molexa_core.detector.packing import best_packing, clusters, is_free, mark, root, trim
from molexa_core.detector.seeds import Near, find_candidates

SHOTS, NO_TRIGGER, LIMITED_SHOTS, CUT_CLUSTERS, CLUSTERS, OTHER = range(6)
"""Places in the counts: what happened to shots, clusters and edges."""
N_COUNTS: Final = 6


@inner
def gather(
    signal_of: IntArray,
    trigger: int,
    channel: NDArray[np.int16],
    t_ns: FloatArray,
    low: int,
    high: int,
    time: FloatArray,
    first_edge: IntArray,
    place: IntArray,
    counts: IntArray,
) -> tuple[bool, float]:
    """The edges of a shot by signal, ascending in time; the time of the trigger.

    Args:
        signal_of: (256) signal of each channel, -1 for none.
        trigger: channel of the trigger, -1 for none.
        channel: (edges of the run) as in `base.tables.Edges`.
        t_ns: (edges of the run) likewise.
        low: first edge of the shot.
        high: the edge behind its last.
        time: (edges) receives the times in ns, signal by signal.
        first_edge: (8) receives where each signal begins in `time`.
        place: (7) scratch.
        counts: (`N_COUNTS`) added to.

    Returns:
        whether there is a time zero, and the time zero.
    """
    first_edge[:] = 0
    found, zero = trigger < 0, 0.0
    for e in range(low, high):
        c = channel[e]
        if c == trigger:
            if not found or t_ns[e] < zero:
                zero = t_ns[e]
            found = True
        s = signal_of[c] if 0 <= c < len(signal_of) else -1
        if s >= 0:
            first_edge[s + 1] += 1
        elif c != trigger:
            counts[OTHER] += 1
    for s in range(7):
        first_edge[s + 1] += first_edge[s]
        place[s] = first_edge[s]
    for e in range(low, high):
        c = channel[e]
        s = signal_of[c] if 0 <= c < len(signal_of) else -1
        if s < 0:
            continue
        at = place[s]
        while at > first_edge[s] and time[at - 1] > t_ns[e]:
            time[at] = time[at - 1]
            at -= 1
        time[at] = t_ns[e]
        place[s] += 1
    return found, zero


@inner
def select(
    tally: IntArray,
    lists: Lists,
    n_edges: int,
    used: IntArray,
    share: FloatArray,
    parent: IntArray,
    picked: IntArray,
    counts: IntArray,
) -> int:
    """The candidates that are hits; how many.

    Args:
        tally: (3) of the shot, see `candidates.COUNT`.
        lists: its candidates.
        n_edges: its edges.
        used: (edges) scratch, left as zeros.
        share: (edges) scratch.
        parent: (edges) scratch.
        picked: (`MOST_CANDIDATES`) receives the numbers of the candidates.
        counts: (`N_COUNTS`) added to.
    """
    candidates, values = lists.candidates, lists.values
    n = tally[COUNT]
    used[:n_edges] = 0
    clusters(n_edges, n, candidates, parent)
    cluster = np.empty(n, np.int64)
    for c in range(n):
        for s in range(7):
            if candidates[c, s] >= 0:
                cluster[c] = root(parent, candidates[c, s])
                break
    order = np.argsort(-values[:n, WEIGHT])
    done = np.zeros(n, np.bool_)
    members = np.empty(n, np.int64)
    n_picked = 0
    for i in range(n):
        c = order[i]
        if done[c]:
            continue
        n_members = 0
        for j in range(i, n):
            if cluster[order[j]] == cluster[c]:
                members[n_members] = order[j]
                done[order[j]] = True
                n_members += 1
        if n_members == 1:
            picked[n_picked] = c
            n_picked += 1
            continue
        counts[CLUSTERS] += 1
        more, cut = best_packing(
            members[:n_members], candidates, values, used, share, picked[n_picked:]
        )
        n_picked += more
        counts[CUT_CLUSTERS] += cut
    return n_picked


@inner
def alone(tally: IntArray, lists: Lists, used: IntArray, n_edges: int) -> bool:
    """Whether no edge is in two candidates."""
    candidates = lists.candidates
    used[:n_edges] = 0
    for c in range(tally[COUNT]):
        if not is_free(candidates, c, used):
            return False
        mark(candidates, c, used, 1)
    return True


@compiled
def sort_shots(
    anode: FloatArray,
    signal_of: IntArray,
    trigger: int,
    offsets: IntArray,
    channel: NDArray[np.int16],
    t_ns: FloatArray,
    n_hits: IntArray,
    x: FloatArray,
    y: FloatArray,
    t_hit: FloatArray,
    method: NDArray[np.int16],
    counts: IntArray,
    used_signals: IntArray,
    all_signals: IntArray,
) -> int:
    """Sort all shots of a chunk.

    Args:
        anode: array of `anode_arrays.model_of`.
        signal_of: (256) signal of each channel, -1 for none.
        trigger: channel of the trigger, -1 for none.
        offsets: (shots + 1) as in `base.tables.Edges`.
        channel: (edges) likewise.
        t_ns: (edges) in ns.
        n_hits: (shots) receives the number of hits of each shot.
        x: receives the hits, by time within a shot; large enough for a third of the edges.
        y: likewise.
        t_hit: likewise.
        method: likewise.
        counts: (N_COUNTS) added to.
        used_signals: (7) edges in hits by signal, added to.
        all_signals: (7) edges by signal, added to.

    Returns:
        the number of hits.
    """
    most = 1
    for shot in range(len(offsets) - 1):
        most = max(most, offsets[shot + 1] - offsets[shot])
    time, first_edge, place = np.empty(most), np.empty(8, np.int64), np.empty(7, np.int64)
    used, share = np.zeros(most, np.int64), np.empty(most)
    parent = np.empty(most, np.int64)
    tally = np.zeros(3, np.int64)
    lists = Lists(
        np.empty((MOST_CANDIDATES, COLUMNS), np.int64),
        np.empty((MOST_CANDIDATES, 4)),
        np.empty((most, 2), np.int64),
    )
    trial = Trial(np.empty(7, np.int64), np.empty(3))
    near = Near(
        np.empty((6, 2), np.int64),
        np.empty(6, np.int64),
        np.empty((3, 64, 2), np.int64),
        np.empty(3, np.int64),
    )
    picked = np.empty(MOST_CANDIDATES, np.int64)
    total = 0
    for shot in range(len(offsets) - 1):
        counts[SHOTS] += 1
        low, high = offsets[shot], offsets[shot + 1]
        known, zero = gather(
            signal_of, trigger, channel, t_ns, low, high, time, first_edge, place, counts
        )
        for s in range(7):
            all_signals[s] += first_edge[s + 1] - first_edge[s]
        n_hits[shot] = 0
        if not known:
            counts[NO_TRIGGER] += first_edge[7] > 0
            continue
        find_candidates(anode, time, first_edge, tally, lists, trial, near)
        if alone(tally, lists, used, first_edge[7]):
            n_picked = tally[COUNT]
            for c in range(n_picked):
                picked[c] = c
        else:
            trim(anode, time, first_edge, tally, lists, trial, parent)
            n_picked = select(tally, lists, first_edge[7], used, share, parent, picked, counts)
        counts[LIMITED_SHOTS] += tally[LIMITED]
        begin = total
        for i in range(n_picked):
            total = write_hit(
                anode, time, lists.candidates, lists.values, picked[i], zero, begin, total, x, y,
                t_hit, method, used_signals,
            )  # fmt: skip
        n_hits[shot] = total - begin
    return total


@inner
def write_hit(
    anode: FloatArray,
    time: FloatArray,
    candidates: IntArray,
    values: FloatArray,
    c: int,
    zero: float,
    begin: int,
    total: int,
    x: FloatArray,
    y: FloatArray,
    t_hit: FloatArray,
    method: NDArray[np.int16],
    used_signals: IntArray,
) -> int:
    """Put a hit into its place by time; the new number of hits.

    The time is that of the MCP where there is one: times from the wires can be off by what the
    correction of the time sum leaves.

    Args:
        anode: array of `anode_arrays.model_of`.
        time: (edges) times of the shot's edges in ns.
        candidates: edges of the candidates, see `candidates.Lists`.
        values: their places, times and weights.
        c: the candidate that is the hit.
        zero: time of the trigger in ns.
        begin: number of the first hit of the shot.
        total: hits of the run so far.
        x: (hits) in mm, receives the hit, as do `y`, `t_hit` in ns and `method`.
        y: likewise.
        t_hit: likewise.
        method: likewise.
        used_signals: (7) edges in hits by signal, added to.
    """
    edges = candidates[c]
    when = (time[edges[MCP]] if edges[MCP] >= 0 else values[c, 2]) - zero
    at = total
    while at > begin and t_hit[at - 1] > when:
        x[at], y[at], t_hit[at], method[at] = x[at - 1], y[at - 1], t_hit[at - 1], method[at - 1]
        at -= 1
    x[at], y[at], t_hit[at] = values[c, 0], values[c, 1], when
    method[at] = method_of(anode, edges)
    for s in range(7):
        used_signals[s] += edges[s] >= 0
    return total + 1
