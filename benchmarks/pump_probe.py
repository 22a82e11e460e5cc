"""Pump and probe: OCS stretched along a known path, under 60 % static background.

A virtual run (zero-point motion, resolution and losses of the detector, jet, residual gas, dark
counts) has 20 delays. In each, OCS that is stretched by as much as the path says, and OCS at rest
(the static background), explode in the same shots; further shots without the pump hold the
background alone. Three commands follow:

    molexa reduce run.h5 --channel ocs.yaml
    molexa reconstruct run.events.h5 --by delay_fs --background "pump_laser == 0"
    molexa report

The 40 lengths of the bonds are compared with the mean lengths of the stretched molecules that
exploded. The explosion is told exactly. Bar: pulls of width 1.0 +- 0.25, claimed errors of at most
0.05 angstrom.

    python benchmarks/pump_probe.py [--runs 10] [--workers 5] [--shots 24000] [--delays 20]
        [--share 0.6] [--out pump_probe.json]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.settings import Channel, parse_settings
from molexa_core.base.settings.setup import Detector
from molexa_core.base.tables import FloatArray, Geometry, Hits, offsets_of
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.io.formats import hit_writers
from molexa_core.io.run_format import Places
from molexa_core.physics.molecules.library import Molecule, molecule
from molexa_core.physics.virtual.ion_flight import Arrivals, survives_dead_time
from molexa_core.pipeline.runs.mock import default_setup, mock, telling, with_virtual

IONS = ("O+", "C+", "S+")
BONDS = (("O+-C+", 0, 1), ("C+-S+", 1, 2))
PER_SHOT = 0.35
"""Exploding molecules of both kinds in a shot."""
EFFICIENCY = 0.6
STRETCH = (0.25, 0.9)
"""Most that the bonds C-O and C-S get longer along the path, angstrom."""
WITHOUT_PUMP = 0.5
"""Shots without the pump, over those with it."""


def path(delays: int) -> FloatArray:
    """(delays, 2) lengths by which the bonds are stretched, angstrom: C-S runs off, C-O swings."""
    time_of = np.linspace(0.0, 1.0, delays)
    stretch_cs = STRETCH[1] * time_of**1.5
    stretch_co = 0.5 * STRETCH[0] * (1.0 - np.cos(2.0 * np.pi * 1.5 * time_of))
    return np.stack([stretch_co, stretch_cs], axis=1)


def stretched(rest: Molecule, by: FloatArray) -> Molecule:
    """OCS with longer bonds, and the normal modes of OCS at rest."""
    positions = rest.geometry.positions.copy()
    symbols = rest.geometry.symbols
    o, c, s = (symbols.index(name) for name in "OCS")
    for atom, length in ((o, by[0]), (s, by[1])):
        along = positions[atom] - positions[c]
        positions[atom] += along / np.linalg.norm(along) * length / BOHR_ANGSTROM
    return dataclasses.replace(rest, geometry=Geometry(symbols, positions))


def together(
    one: Hits, other: Hits, tags: dict[str, FloatArray], first_shot: int, detector: Detector
) -> Hits:
    """The hits of both in the same shots, in the order of time, less those that another hides."""
    shot = np.concatenate([one.shot, other.shot])
    times = np.concatenate([one.t_ns, other.t_ns])
    order = np.lexsort([times, shot])
    columns = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])[order]
        for name in Hits.VALUES
    }
    shot = shot[order]
    arrivals = Arrivals(shot, columns["x_mm"], columns["y_mm"], columns["t_ns"], shot, shot)
    seen = survives_dead_time(arrivals, detector.dead_time_ns, detector.dead_radius_mm)
    columns = {name: column[seen] for name, column in columns.items()}
    counts = np.bincount(shot[seen], minlength=len(one.counts))
    return Hits(first_shot=first_shot, offsets=offsets_of(counts), tags=tags, **columns)


def virtual_run(folder: Path, number: int, delays: int, shots: int, share: float) -> FloatArray:
    """Write `run.h5` and `ocs.yaml`; (delays, 2) mean lengths of the molecules that exploded."""
    values = {
        "name": "ocs",
        "ions": [{"ion": ion} for ion in IONS],
        "gates": {"max_momentum": 400},
        "frame": {"reference": "O+", "second": "C+"},
    }
    channel = parse_settings(Channel, values, where="channel")
    (folder / "ocs.yaml").write_text(json.dumps(values))
    base = telling(with_virtual(default_setup(), {"explosion": "instant"}))
    base = base.model_copy(update={"detection_efficiency": EFFICIENCY})
    clean = {"residual_gas": (), "dark_counts_per_shot": 0.0}
    static = with_virtual(base, {"molecules_per_shot": share * PER_SHOT})
    pumped = with_virtual(base, {"molecules_per_shot": (1.0 - share) * PER_SHOT, **clean})
    rest = molecule("ocs")
    chunks, truth, first = [], [], 0
    seeds = np.random.SeedSequence([number, 14]).generate_state(2 * delays + 1)
    for step, by in enumerate(path(delays)):
        background = mock(channel, shots, setup=static, structure=rest, seed=int(seeds[2 * step]))
        signal = mock(
            channel, shots, setup=pumped, structure=stretched(rest, by),
            seed=int(seeds[2 * step + 1]),
        )  # fmt: skip
        tags = {"delay_fs": np.full(shots, 20.0 * step), "pump_laser": np.ones(shots)}
        chunks.append(together(background.hits, signal.hits, tags, first, base.detector))
        first += shots
        symbols = [ion.element.symbol for ion in signal.truth.ions]
        of = [symbols.index(name) for name in "OCS"]
        positions = signal.truth.position[:, of]
        lengths = [
            np.linalg.norm(positions[:, i] - positions[:, j], axis=1).mean() for _, i, j in BONDS
        ]
        truth.append(np.array(lengths) * BOHR_ANGSTROM)
    count = int(WITHOUT_PUMP * shots * delays)
    alone = mock(channel, count, setup=static, structure=rest, seed=int(seeds[-1])).hits
    tags = {"delay_fs": np.resize(20.0 * np.arange(delays), count), "pump_laser": np.zeros(count)}
    chunks.append(
        Hits(first, alone.offsets, *(getattr(alone, name) for name in Hits.VALUES), tags=tags)
    )
    meta = {"setup": base.model_dump(mode="json")}
    places = Places(slots=base.detector.slots)
    hit_writers()["hdf5"].write(folder / "run.h5", iter(chunks), places, meta)
    return np.stack(truth)


COMMANDS = (
    ("reduce", "run.h5", "--channel", "ocs.yaml"),
    ("reconstruct", "run.events.h5", "--by", "delay_fs", "--background", "pump_laser == 0"),
    ("report",),
)


def one_run(task: tuple[int, int, int, float]) -> dict[str, Any]:
    """One run as plain values: truth, value and error of every bond length in angstrom."""
    number, delays, shots, share = task
    began = time.time()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = virtual_run(folder, number, delays, shots, share)
        made = time.time()
        for words in COMMANDS:
            line = [sys.executable, "-m", "molexa_cli.main", *words, "--quiet"]
            done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                return {"number": number, "failed": done.stderr[-2000:]}
        series = json.loads((folder / "series.json").read_text())
        page = (folder / "report.html").read_text()
    rows = []
    for step, row in enumerate(series["bins"]):
        found = {one["of"]: one for one in row["quantities"]}
        for bond, (name, _, _) in enumerate(BONDS):
            one = found[name]
            rows.append(
                {
                    "delay": row["value"],
                    "bond": name,
                    "truth": float(truth[step, bond]),
                    "value": None if one["mean"] is None else one["mean"] * BOHR_ANGSTROM,
                    "error": None
                    if one["statistical"] is None
                    else one["statistical"] * BOHR_ANGSTROM,
                    "events": row["events"],
                    "signal": row["signal"],
                }
            )
    return {
        "number": number,
        "rows": rows,
        "left_out": series["left_out"],
        "background_events": series["background_events"],
        "warnings": series["warnings"],
        "in_report": "delay_fs" in page,
        "seconds": {"run": made - began, "analysis": time.time() - made},
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Pulls and errors of all runs."""
    good = [run for run in runs if "rows" in run]
    rows = [row for run in good for row in run["rows"]]
    known = [row for row in rows if row["value"] is not None]
    pulls = np.array([(row["value"] - row["truth"]) / row["error"] for row in known])
    errors = np.array([row["error"] for row in known])
    by_run = [
        float(np.std([(r["value"] - r["truth"]) / r["error"] for r in run["rows"] if r["value"]]))
        for run in good
    ]
    return {
        "runs": len(good),
        "failed": [run["failed"] for run in runs if "failed" in run],
        "lengths": len(rows),
        "without_signal": len(rows) - len(known),
        "pull_mean": float(pulls.mean()),
        "pull_width": float(pulls.std()),
        "pull_width_of_runs": by_run,
        "largest_pull": float(np.abs(pulls).max()),
        "largest_error_angstrom": float(errors.max()),
        "median_error_angstrom": float(np.median(errors)),
        "mean_signal": float(np.mean([row["signal"] for row in rows])),
        "seconds_per_run": float(np.mean([sum(run["seconds"].values()) for run in good])),
    }


def main() -> None:
    """Run the benchmark and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    parser.add_argument("--shots", type=int, default=24_000, help="of each delay")
    parser.add_argument("--delays", type=int, default=20)
    parser.add_argument("--share", type=float, default=0.6, help="of static background")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    numbers = range(given.first, given.first + given.runs)
    tasks = [(number, given.delays, given.shots, given.share) for number in numbers]
    with ProcessPoolExecutor(given.workers) as pool:
        runs = list(pool.map(one_run, tasks))
    found = summary(runs)
    print(json.dumps(found, indent=1))
    if given.out is not None:
        given.out.write_text(json.dumps({"summary": found, "runs": runs}, indent=1))


if __name__ == "__main__":
    main()
