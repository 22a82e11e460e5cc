"""Delay-line anodes and runs of wire-end signals with known hits, as code.

The hexanode is like those of 80 mm in use (fu 0.34 mm/ns of the full difference, that is 0.68 in
the convention of resort64c; time sums about 97 to 150 ns).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from molexa_core.base.settings import parse_settings
from molexa_core.base.settings.anode import Anode
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.base.tables import Edges, FloatArray, Hits, IntArray, offsets_of
from molexa_core.physics.virtual.wires import Recorded, record

HEXANODE: dict[str, Any] = {
    "kind": "hexanode",
    "channels": {"u1": 0, "u2": 1, "v1": 2, "v2": 3, "w1": 4, "w2": 5, "mcp": 6},
    "u": {"scale_mm_per_ns": 0.340, "run_time_ns": 128.0, "time_sum_ns": 145.0},
    "v": {"scale_mm_per_ns": 0.331, "run_time_ns": 131.0, "time_sum_ns": 147.5},
    "w": {
        "scale_mm_per_ns": 0.336,
        "run_time_ns": 130.0,
        "time_sum_ns": 141.0,
        "offset_mm": 1.3,
    },
    "mcp_radius_mm": 40.0,
}
QUAD: dict[str, Any] = {
    **{key: value for key, value in HEXANODE.items() if key != "w"},
    "kind": "quad",
    "channels": {"u1": 0, "u2": 1, "v1": 2, "v2": 3, "mcp": 6},
}
PERFECT = WireSignals(
    anode_jitter_ns=0.0,
    mcp_jitter_ns=0.0,
    missing=0.0,
    noise_per_shot=0.0,
    walk_ns=0.0,
    bend_mm=0.0,
    pile_up_ns=0.0,
    bin_ns=1e-6,
)
"""Signals without any imperfection."""


def anode(base: dict[str, Any] = HEXANODE, **changes: Any) -> Anode:
    """An anode with top-level settings replaced."""
    return parse_settings(Anode, base | changes, where="test")


@dataclass(frozen=True)
class Run:
    """Edges and the hits behind them."""

    edges: Edges
    hits: Hits
    recorded: Recorded


def run_of(
    known: Anode,
    signals: WireSignals,
    shot: IntArray,
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    *,
    shots: int,
    window_ns: float = 5000.0,
    seed: int = 0,
) -> Run:
    """The edges of given hits."""
    order = np.lexsort((t, shot))
    shot, x, y, t = shot[order], x[order], y[order], t[order]
    random = np.random.default_rng(seed)
    found = record(known, signals, shot, (x, y, t), shots, window_ns, random)
    offsets = offsets_of(np.bincount(found.shot, minlength=shots))
    edges = Edges(0, offsets.astype(np.int64), found.channel, found.bins * signals.bin_ns)
    counts = offsets_of(np.bincount(shot, minlength=shots))
    hits = Hits(0, counts.astype(np.int64), x, y, t, np.zeros(len(t), np.int16))
    return Run(edges, hits, found)


def random_run(
    known: Anode,
    signals: WireSignals,
    *,
    shots: int,
    per_shot: int = 3,
    window_ns: float = 5000.0,
    seed: int = 1,
    fill: float = 0.97,
) -> Run:
    """Hits spread evenly over the plate and the window."""
    random = np.random.default_rng(seed)
    n = shots * per_shot
    radius = fill * known.mcp_radius_mm * np.sqrt(random.uniform(size=n))
    angle = random.uniform(0, 2 * np.pi, size=n)
    t = random.uniform(50.0, window_ns, size=n)
    shot = np.repeat(np.arange(shots), per_shot)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return run_of(known, signals, shot, x, y, t, shots=shots, window_ns=window_ns, seed=seed + 1)


@dataclass(frozen=True)
class Score:
    """How found hits compare with true ones; a pair is at most 1.5 mm and 3 ns apart."""

    found: float
    false: float
    position_rms_mm: float
    time_rms_ns: float
    pairs: IntArray


def score(true: Hits, found: Hits, *, most_mm: float = 1.5, most_ns: float = 3.0) -> Score:
    """Pair found with true hits shot by shot, nearest in time first."""
    pairs = []
    for shot in range(true.n_shots):
        mine = range(true.offsets[shot], true.offsets[shot + 1])
        free = set(range(found.offsets[shot], found.offsets[shot + 1]))
        for i in mine:
            best, nearest = -1, 1.0
            for j in free:
                mm = np.hypot(found.x_mm[j] - true.x_mm[i], found.y_mm[j] - true.y_mm[i])
                distance = np.hypot(mm / most_mm, (found.t_ns[j] - true.t_ns[i]) / most_ns)
                if distance < nearest:
                    best, nearest = j, distance
            if best >= 0:
                free.remove(best)
                pairs.append((i, best))
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    dx = found.x_mm[rows[:, 1]] - true.x_mm[rows[:, 0]]
    dy = found.y_mm[rows[:, 1]] - true.y_mm[rows[:, 0]]
    dt = found.t_ns[rows[:, 1]] - true.t_ns[rows[:, 0]]
    return Score(
        found=len(rows) / max(true.n_hits, 1),
        false=1.0 - len(rows) / max(found.n_hits, 1),
        position_rms_mm=float(np.sqrt(np.mean(dx**2 + dy**2))) if len(rows) else 0.0,
        time_rms_ns=float(np.sqrt(np.mean(dt**2))) if len(rows) else 0.0,
        pairs=rows,
    )


def with_signals(**changes: Any) -> WireSignals:
    """Perfect signals but for these changes."""
    return PERFECT.model_copy(update=changes)


def shuffled(edges: Edges, seed: int) -> Edges:
    """The same edges in another order within each shot."""
    random = np.random.default_rng(seed)
    shot = edges.shot - edges.first_shot
    order = np.lexsort((random.uniform(size=edges.n_edges), shot))
    return replace(edges, channel=edges.channel[order], t_ns=edges.t_ns[order])
