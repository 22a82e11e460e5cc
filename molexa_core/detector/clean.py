"""Compiled search for time sums and clean hits, for the calibration.

A clean hit is one edge of the MCP with exactly one pair of edges in every layer whose time sum is
near the expected one. It is unambiguous, so that no choice among edges biases the calibration.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.detector.fit import MCP, first_from
from molexa_core.detector.shots import N_COUNTS, gather


@compiled
def longest_shot(offsets: Any) -> Any:
    """Edges of the shot that has most, at least 1."""
    most = 1
    for shot in range(len(offsets) - 1):
        most = max(most, offsets[shot + 1] - offsets[shot])
    return most


@compiled
def count_sums(
    signal_of: Any, offsets: Any, channel: Any, times: Any, run_time: Any, low: float,
    bin_ns: float, counts: Any,
) -> Any:  # fmt: skip
    """Histogram t1 + t2 - 2 t_mcp of all combinations of a shot's edges.

    Args:
        signal_of: (256) signal of each channel.
        offsets: (shots + 1) as in `base.tables.Edges`.
        channel: (edges) likewise.
        times: (edges) in ns.
        run_time: (layers) largest |t1 - t2| looked at.
        low: lower edge of the histograms.
        bin_ns: width of a bin.
        counts: (layers, bins) added to.

    Returns:
        the number of edges of the MCP.
    """
    most = longest_shot(offsets)
    t, first, place = np.empty(most), np.empty(8, np.int64), np.empty(7, np.int64)
    ignored = np.zeros(N_COUNTS, np.int64)
    bins = counts.shape[1]
    starts = 0
    for shot in range(len(offsets) - 1):
        gather(
            signal_of, -1, channel, times, offsets[shot], offsets[shot + 1], t, first, place,
            ignored,
        )  # fmt: skip
        starts += first[MCP + 1] - first[MCP]
        for e in range(first[MCP], first[MCP + 1]):
            for layer in range(len(counts)):
                s = 2 * layer
                earliest = t[e] + 0.5 * (low - run_time[layer])
                latest = t[e] + 0.5 * (low + bin_ns * bins + run_time[layer])
                for e1 in range(first_from(t, first[s], first[s + 1], earliest), first[s + 1]):
                    if t[e1] > latest:
                        break
                    begin = first_from(t, first[s + 1], first[s + 2], t[e1] - run_time[layer])
                    for e2 in range(begin, first[s + 2]):
                        if t[e2] > t[e1] + run_time[layer]:
                            break
                        k = int(np.floor((t[e1] + t[e2] - 2.0 * t[e] - low) / bin_ns))
                        if 0 <= k < bins:
                            counts[layer, k] += 1
    return starts


@compiled
def only_pair(
    t: Any, first: Any, layer: int, start: float, total: float, width: float, longest: float,
    pair: Any,
) -> Any:  # fmt: skip
    """Pairs of edges of a layer with a time sum near the expected one; how many, at most 2."""
    found = 0
    s = 2 * layer
    for e1 in range(
        first_from(t, first[s], first[s + 1], start + 0.5 * (total - longest) - width),
        first[s + 1],
    ):
        if t[e1] > start + 0.5 * (total + longest) + width:
            break
        other = 2.0 * start + total - t[e1]
        for e2 in range(first_from(t, first[s + 1], first[s + 2], other - width), first[s + 2]):
            if t[e2] > other + width:
                break
            if abs(t[e1] - t[e2]) <= longest:
                found += 1
                pair[0], pair[1] = e1, e2
                if found > 1:
                    return found
    return found


@compiled
def clean_hits(
    signal_of: Any, offsets: Any, channel: Any, times: Any, sums: Any, width: float, run_time: Any,
    total: Any, difference: Any,
) -> Any:  # fmt: skip
    """Time sums and differences of clean hits.

    Args:
        signal_of: (256) signal of each channel.
        offsets: (shots + 1) as in `base.tables.Edges`.
        channel: (edges) likewise.
        times: (edges) in ns.
        sums: (layers) expected time sums.
        width: accepted deviation.
        run_time: (layers) largest |t1 - t2|.
        total: (room, layers) receives t1 + t2 - 2 t_mcp.
        difference: (room, layers) receives t1 - t2.

    Returns:
        the number of clean hits; no more than there is room for.
    """
    most = longest_shot(offsets)
    t, first, place = np.empty(most), np.empty(8, np.int64), np.empty(7, np.int64)
    ignored = np.zeros(N_COUNTS, np.int64)
    pair = np.zeros(2, np.int64)
    n = 0
    for shot in range(len(offsets) - 1):
        gather(
            signal_of, -1, channel, times, offsets[shot], offsets[shot + 1], t, first, place,
            ignored,
        )  # fmt: skip
        for e in range(first[MCP], first[MCP + 1]):
            if n == len(total):
                return n
            clean = True
            for layer in range(len(sums)):
                found = only_pair(t, first, layer, t[e], sums[layer], width, run_time[layer], pair)
                clean &= found == 1
                if not clean:
                    break
                total[n, layer] = t[pair[0]] + t[pair[1]] - 2.0 * t[e]
                difference[n, layer] = t[pair[0]] - t[pair[1]]
            n += clean
    return n
