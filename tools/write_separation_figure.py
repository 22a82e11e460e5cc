"""Write docs/figures/separation.svg: probability to find both of two hits, by distance.

Simulated hexanode of 80 mm with 15 ns of dead time at every wire end and at the MCP. Usage:
python tools/write_separation_figure.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from molexa_core.base.settings import Anode, parse_settings
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.base.tables import Edges, FloatArray
from molexa_core.detector.sorter import Sorter
from molexa_core.physics.virtual.wires import record
from molexa_core.report.detector_figures import separation_svg

ROOT = Path(__file__).resolve().parent.parent
FIGURE = ROOT / "docs" / "figures" / "separation.svg"
TABLE = ROOT / "docs" / "figures" / "separation.csv"
PAIRS = 4000
SEED = 11
WINDOW_NS = 5000.0
NEAR_MM, NEAR_NS = 1.5, 3.0
"""A hit counts as found within these of the true one."""
DISTANCES = np.arange(0.0, 30.5, 1.0)
DELAYS = (0.0, 5.0, 10.0, 15.0)
ANODE = {
    "kind": "hexanode",
    "channels": {"u1": 0, "u2": 1, "v1": 2, "v2": 3, "w1": 4, "w2": 5, "mcp": 6},
    "u": {"scale_mm_per_ns": 0.340, "run_time_ns": 128, "time_sum_ns": 145},
    "v": {"scale_mm_per_ns": 0.331, "run_time_ns": 131, "time_sum_ns": 147.5},
    "w": {"scale_mm_per_ns": 0.336, "run_time_ns": 130, "time_sum_ns": 141, "offset_mm": 1.3},
    "mcp_radius_mm": 40,
}


def pairs(distance: float, radius: float, random: np.random.Generator) -> FloatArray:
    """(pairs, 2, 2) positions of two hits, anywhere on the plate and in any direction."""
    found: list[FloatArray] = []
    while sum(map(len, found)) < PAIRS:
        centre = random.uniform(-radius, radius, size=(PAIRS, 2))
        angle = random.uniform(0.0, 2.0 * np.pi, size=PAIRS)
        step = 0.5 * distance * np.column_stack([np.cos(angle), np.sin(angle)])
        both = np.stack([centre - step, centre + step], axis=1)
        found.append(both[(np.hypot(both[..., 0], both[..., 1]) < radius).all(axis=1)])
    return np.concatenate(found)[:PAIRS]


def resolved(anode: Anode, signals: WireSignals, distance: float, delay: float) -> float:
    """The share of pairs of which both hits are found."""
    random = np.random.default_rng([SEED, round(10 * distance), round(10 * delay)])
    place = pairs(distance, 0.97 * anode.mcp_radius_mm, random)
    start = random.uniform(300.0, WINDOW_NS - 500.0, size=PAIRS)
    x, y = place[..., 0], place[..., 1]
    t = np.stack([start, start + delay], axis=1)
    shot = np.repeat(np.arange(PAIRS), 2)
    hits = (x.ravel(), y.ravel(), t.ravel())
    edges = record(anode, signals, shot, hits, PAIRS, WINDOW_NS, random)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(edges.shot, minlength=PAIRS))])
    run = Edges(0, offsets, edges.channel, edges.bins * signals.bin_ns)
    found = Sorter(anode).sort(run)
    good = np.zeros(PAIRS, np.bool_)
    for n in np.flatnonzero(np.diff(found.offsets) == 2):
        part = slice(found.offsets[n], found.offsets[n + 1])
        hit = np.column_stack([found.x_mm[part], found.y_mm[part], found.t_ns[part]])
        true = np.column_stack([x[n], y[n], t[n]])
        for order in ([0, 1], [1, 0]):
            off = np.abs(hit[order] - true)
            near = (np.hypot(off[:, 0], off[:, 1]) < NEAR_MM) & (off[:, 2] < NEAR_NS)
            good[n] |= near.all()
    return float(good.mean())


def main() -> None:
    """Compute the curves and write figure and table."""
    anode = parse_settings(Anode, ANODE, where="figure")
    curves = []
    for missing in (0.0, 0.1):
        signals = WireSignals(missing=missing)
        for delay in DELAYS if missing == 0.0 else (10.0,):
            share = np.array([resolved(anode, signals, d, delay) for d in DISTANCES])
            more = "" if missing == 0.0 else f", {100 * missing:.0f} % of signals missing"
            curves.append((f"{delay:.0f} ns apart{more}", share))
    FIGURE.parent.mkdir(exist_ok=True)
    separation_svg(FIGURE, DISTANCES, curves)
    names = [label.replace(",", ";") for label, _ in curves]
    lines = [",".join(["distance_mm", *names])]
    for row, distance in enumerate(DISTANCES):
        lines.append(",".join(f"{v:.4g}" for v in (distance, *(share[row] for _, share in curves))))
    TABLE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {FIGURE.relative_to(ROOT)} and {TABLE.name}")


if __name__ == "__main__":
    main()
