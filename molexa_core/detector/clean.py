"""Compiled search for time sums and clean hits, for the calibration.

A clean hit is one edge of the MCP with exactly one pair of edges in every layer whose time sum is
near the expected one. It is unambiguous, so that no choice among edges biases the calibration.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled, inner
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.detector.fit import MCP, first_from
from molexa_core.detector.shots import N_COUNTS, gather


@inner
def longest_shot(offsets: IntArray) -> int:
    """Edges of the shot that has most, at least 1."""
    most = 1
    for shot in range(len(offsets) - 1):
        most = max(most, offsets[shot + 1] - offsets[shot])
    return most


@compiled
def count_sums(
    signal_of: IntArray,
    offsets: IntArray,
    channel: NDArray[np.int16],
    t_ns: FloatArray,
    run_time: FloatArray,
    low: float,
    bin_ns: float,
    counts: IntArray,
) -> int:
    """Histogram t1 + t2 - 2 t_mcp of all combinations of a shot's edges.

    Args:
        signal_of: (256) signal of each channel.
        offsets: (shots + 1) as in `base.tables.Edges`.
        channel: (edges) likewise.
        t_ns: (edges) in ns.
        run_time: (layers) largest |t1 - t2| looked at.
        low: lower edge of the histograms.
        bin_ns: width of a bin.
        counts: (layers, bins) added to.

    Returns:
        the number of edges of the MCP.
    """
    most = longest_shot(offsets)
    time, first_edge, place = np.empty(most), np.empty(8, np.int64), np.empty(7, np.int64)
    ignored = np.zeros(N_COUNTS, np.int64)
    bins = counts.shape[1]
    starts = 0
    for shot in range(len(offsets) - 1):
        gather(
            signal_of, -1, channel, t_ns, offsets[shot], offsets[shot + 1], time, first_edge, place,
            ignored,
        )  # fmt: skip
        starts += first_edge[MCP + 1] - first_edge[MCP]
        for e in range(first_edge[MCP], first_edge[MCP + 1]):
            for layer in range(len(counts)):
                s = 2 * layer
                earliest = time[e] + 0.5 * (low - run_time[layer])
                latest = time[e] + 0.5 * (low + bin_ns * bins + run_time[layer])
                for e1 in range(
                    first_from(time, first_edge[s], first_edge[s + 1], earliest), first_edge[s + 1]
                ):
                    if time[e1] > latest:
                        break
                    begin = first_from(
                        time, first_edge[s + 1], first_edge[s + 2], time[e1] - run_time[layer]
                    )
                    for e2 in range(begin, first_edge[s + 2]):
                        if time[e2] > time[e1] + run_time[layer]:
                            break
                        k = int(np.floor((time[e1] + time[e2] - 2.0 * time[e] - low) / bin_ns))
                        if 0 <= k < bins:
                            counts[layer, k] += 1
    return starts


@inner
def only_pair(
    time: FloatArray,
    first_edge: IntArray,
    layer: int,
    start: float,
    total: float,
    width: float,
    longest: float,
    pair: IntArray,
) -> int:
    """Pairs of edges of a layer with a time sum near the expected one; how many, at most 2.

    Args:
        time: (edges) times of a shot's edges in ns, signal by signal.
        first_edge: (8) where each signal begins in `time`.
        layer: 0 to 2 for u, v, w.
        start: time of the MCP in ns.
        total: expected time sum t1 + t2 - 2 t_mcp in ns.
        width: accepted deviation of it.
        longest: largest |t1 - t2|.
        pair: (2) receives the edges of the last pair found.
    """
    found = 0
    s = 2 * layer
    for e1 in range(
        first_from(time, first_edge[s], first_edge[s + 1], start + 0.5 * (total - longest) - width),
        first_edge[s + 1],
    ):
        if time[e1] > start + 0.5 * (total + longest) + width:
            break
        other = 2.0 * start + total - time[e1]
        for e2 in range(
            first_from(time, first_edge[s + 1], first_edge[s + 2], other - width), first_edge[s + 2]
        ):
            if time[e2] > other + width:
                break
            if abs(time[e1] - time[e2]) <= longest:
                found += 1
                pair[0], pair[1] = e1, e2
                if found > 1:
                    return found
    return found


@compiled
def clean_hits(
    signal_of: IntArray,
    offsets: IntArray,
    channel: NDArray[np.int16],
    t_ns: FloatArray,
    sums: FloatArray,
    width: float,
    run_time: FloatArray,
    total: FloatArray,
    difference: FloatArray,
) -> int:
    """Time sums and differences of clean hits.

    Args:
        signal_of: (256) signal of each channel.
        offsets: (shots + 1) as in `base.tables.Edges`.
        channel: (edges) likewise.
        t_ns: (edges) in ns.
        sums: (layers) expected time sums.
        width: accepted deviation.
        run_time: (layers) largest |t1 - t2|.
        total: (room, layers) receives t1 + t2 - 2 t_mcp.
        difference: (room, layers) receives t1 - t2.

    Returns:
        the number of clean hits; no more than there is room for.
    """
    most = longest_shot(offsets)
    time, first_edge, place = np.empty(most), np.empty(8, np.int64), np.empty(7, np.int64)
    ignored = np.zeros(N_COUNTS, np.int64)
    pair = np.zeros(2, np.int64)
    n = 0
    for shot in range(len(offsets) - 1):
        gather(
            signal_of, -1, channel, t_ns, offsets[shot], offsets[shot + 1], time, first_edge, place,
            ignored,
        )  # fmt: skip
        for e in range(first_edge[MCP], first_edge[MCP + 1]):
            if n == len(total):
                return n
            clean = True
            for layer in range(len(sums)):
                found = only_pair(
                    time, first_edge, layer, time[e], sums[layer], width, run_time[layer], pair
                )
                clean &= found == 1
                if not clean:
                    break
                total[n, layer] = time[pair[0]] + time[pair[1]] - 2.0 * time[e]
                difference[n, layer] = time[pair[0]] - time[pair[1]]
            n += clean
    return n
