"""Compiled sorting of the edges of each shot into hits."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.detector.candidates import (
    COLUMNS,
    COUNT,
    LIMITED,
    MOST_CANDIDATES,
    WEIGHT,
)
from molexa_core.detector.fit import MCP, method_of
from molexa_core.detector.packing import best_packing, clusters, is_free, mark, root, trim
from molexa_core.detector.seeds import find_candidates

SHOTS, NO_TRIGGER, LIMITED_SHOTS, CUT_CLUSTERS, CLUSTERS, OTHER = range(6)
"""Places in the counts: what happened to shots, clusters and edges."""
N_COUNTS: Final = 6


@compiled
def gather(
    signal_of: Any, trigger: int, channel: Any, times: Any, low: int, high: int,
    t: Any, first: Any, place: Any, counts: Any,
) -> Any:  # fmt: skip
    """The edges of a shot by signal, ascending in time; the time of the trigger.

    Returns:
        whether there is a time zero, and the time zero.
    """
    first[:] = 0
    found, zero = trigger < 0, 0.0
    for e in range(low, high):
        c = channel[e]
        if c == trigger:
            if not found or times[e] < zero:
                zero = times[e]
            found = True
        s = signal_of[c] if 0 <= c < len(signal_of) else -1
        if s >= 0:
            first[s + 1] += 1
        elif c != trigger:
            counts[OTHER] += 1
    for s in range(7):
        first[s + 1] += first[s]
        place[s] = first[s]
    for e in range(low, high):
        c = channel[e]
        s = signal_of[c] if 0 <= c < len(signal_of) else -1
        if s < 0:
            continue
        at = place[s]
        while at > first[s] and t[at - 1] > times[e]:
            t[at] = t[at - 1]
            at -= 1
        t[at] = times[e]
        place[s] += 1
    return found, zero


@compiled
def select(
    state: Any, lists: Any, n_edges: int, used: Any, share: Any, parent: Any, picked: Any,
    counts: Any,
) -> Any:  # fmt: skip
    """The candidates that are hits; how many."""
    candidates, values = lists[0], lists[1]
    n = state[COUNT]
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


@compiled
def alone(state: Any, lists: Any, used: Any, n_edges: int) -> Any:
    """Whether no edge is in two candidates."""
    candidates = lists[0]
    used[:n_edges] = 0
    for c in range(state[COUNT]):
        if not is_free(candidates, c, used):
            return False
        mark(candidates, c, used, 1)
    return True


@compiled
def sort_shots(
    m: Any, signal_of: Any, trigger: int, offsets: Any, channel: Any, times: Any,
    n_hits: Any, x: Any, y: Any, t_hit: Any, method: Any, counts: Any, used_signals: Any,
    all_signals: Any,
) -> Any:  # fmt: skip
    """Sort all shots of a chunk.

    Args:
        m: array of `model.model_of`.
        signal_of: (256) signal of each channel, -1 for none.
        trigger: channel of the trigger, -1 for none.
        offsets: (shots + 1) as in `base.tables.Edges`.
        channel: (edges) likewise.
        times: (edges) in ns.
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
    t, first, place = np.empty(most), np.empty(8, np.int64), np.empty(7, np.int64)
    used, share = np.zeros(most, np.int64), np.empty(most)
    parent = np.empty(most, np.int64)
    state = np.zeros(3, np.int64)
    lists = (
        np.empty((MOST_CANDIDATES, COLUMNS), np.int64),
        np.empty((MOST_CANDIDATES, 4)),
        np.empty((most, 2), np.int64),
    )
    work = (
        np.empty(7, np.int64),
        np.empty(3),
        np.empty((3, 3)),
        np.empty(3),
    )
    spare = (
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
        known, zero = gather(signal_of, trigger, channel, times, low, high, t, first, place, counts)
        for s in range(7):
            all_signals[s] += first[s + 1] - first[s]
        n_hits[shot] = 0
        if not known:
            counts[NO_TRIGGER] += first[7] > 0
            continue
        find_candidates(m, t, first, state, lists, work, spare)
        if alone(state, lists, used, first[7]):
            n_picked = state[COUNT]
            for c in range(n_picked):
                picked[c] = c
        else:
            trim(m, t, first, state, lists, work)
            n_picked = select(state, lists, first[7], used, share, parent, picked, counts)
        counts[LIMITED_SHOTS] += state[LIMITED]
        begin = total
        for i in range(n_picked):
            total = write_hit(
                m, t, lists[0], lists[1], picked[i], zero, begin, total, x, y, t_hit, method,
                used_signals,
            )  # fmt: skip
        n_hits[shot] = total - begin
    return total


@compiled
def write_hit(
    m: Any, t: Any, candidates: Any, values: Any, c: int, zero: float, begin: int, total: int,
    x: Any, y: Any, t_hit: Any, method: Any, used_signals: Any,
) -> Any:  # fmt: skip
    """Put a hit into its place by time; the new number of hits.

    The time is that of the MCP where there is one: times from the wires can be off by what the
    correction of the time sum leaves.
    """
    edges = candidates[c]
    when = (t[edges[MCP]] if edges[MCP] >= 0 else values[c, 2]) - zero
    at = total
    while at > begin and t_hit[at - 1] > when:
        x[at], y[at], t_hit[at], method[at] = x[at - 1], y[at - 1], t_hit[at - 1], method[at - 1]
        at -= 1
    x[at], y[at], t_hit[at] = values[c, 0], values[c, 1], when
    method[at] = method_of(m, edges)
    for s in range(7):
        used_signals[s] += edges[s] >= 0
    return total + 1
