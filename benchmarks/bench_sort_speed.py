"""How many hexanode hits per second are made of edges? Compared with undisturbed single hits.

Three hits per shot anywhere within 5 us, 10 % of the signals missing, 15 ns of dead time, noise,
pile-up; on one core, edges in memory. The baseline is a run of undisturbed single hits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from _record import store

from molexa_core.base.settings import Anode, parse_settings
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.base.tables import Edges
from molexa_core.detector.sorter import Sorter
from molexa_core.physics.virtual.wires import record

SHOTS = 50_000
PER_SHOT = 3
WINDOW_NS = 5000.0
MISSING = 0.1
SEED = 5
REPEATS = 7
ANODE = {
    "kind": "hexanode",
    "channels": {"u1": 0, "u2": 1, "v1": 2, "v2": 3, "w1": 4, "w2": 5, "mcp": 6},
    "u": {"scale_mm_per_ns": 0.340, "run_time_ns": 128, "time_sum_ns": 145},
    "v": {"scale_mm_per_ns": 0.331, "run_time_ns": 131, "time_sum_ns": 147.5},
    "w": {"scale_mm_per_ns": 0.336, "run_time_ns": 130, "time_sum_ns": 141, "offset_mm": 1.3},
    "mcp_radius_mm": 40,
}


def run(anode: Anode, signals: WireSignals, shots: int, per_shot: int) -> Edges:
    """Edges of hits spread evenly over plate and window."""
    random = np.random.default_rng(SEED)
    n = shots * per_shot
    radius = 0.97 * anode.mcp_radius_mm * np.sqrt(random.uniform(size=n))
    angle = random.uniform(0.0, 2.0 * np.pi, size=n)
    hits = (radius * np.cos(angle), radius * np.sin(angle), random.uniform(50, WINDOW_NS, size=n))
    shot = np.repeat(np.arange(shots), per_shot)
    edges = record(anode, signals, shot, hits, shots, WINDOW_NS, random)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(edges.shot, minlength=shots))])
    return Edges(0, offsets, edges.channel, edges.bins * signals.bin_ns)


def processor_runs(work: Callable[[], object]) -> list[float]:
    """Processor seconds of each run after a warm one: the machine may have other users."""
    work()
    runs = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        runs.append(time.process_time() - start)
    return runs


if __name__ == "__main__":
    anode = parse_settings(Anode, ANODE, where="benchmark")
    hard = run(anode, WireSignals(missing=MISSING), SHOTS, PER_SHOT)
    lossless = WireSignals(missing=0.0, noise_per_shot=0.0)
    easy = run(anode, lossless, SHOTS * PER_SHOT, 1)
    sorter = Sorter(anode)
    found = sorter.sort(hard).n_hits
    store(
        "sort_speed",
        "How many hexanode hits per second are made of edges?",
        processor_runs(lambda: Sorter(anode).sort(hard)),
        amount=found,
        unit="hits",
        sizes={
            "shots": SHOTS,
            "true_hits": SHOTS * PER_SHOT,
            "hits": found,
            "edges": hard.n_edges,
            "window_ns": WINDOW_NS,
            "missing": MISSING,
            "competing_clusters": sorter.counts.clusters,
        },
        baseline=(
            "as many true hits, one per shot, no signal missing, no noise",
            processor_runs(lambda: Sorter(anode).sort(easy)),
        ),
        notes="processor time of one thread, on a machine in use; the bar is 3e5 hits/s",
    )
