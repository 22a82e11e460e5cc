"""How well do single events give the mean bond lengths, and are their errors honest?

Virtual runs (zero-point motion, resolution and losses of the detector, jet, accidental
coincidences) of five molecules are reduced and reconstructed event by event, once with the
explosion told exactly (`exact`: instant and classical runs in turn) and once with a window of the
build-up that is wrong by as much as is declared (`uncertain`). Mean bond lengths are compared with
those of the molecules that exploded. `means` are the distances from mean momenta.

    python benchmarks/single_events.py [--runs 50] [--workers 16] [--molecules water ocs]
        [--kinds exact uncertain] [--means] [--speed] [--out single_events.json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.errors import MolexaError
from molexa_core.base.known_explosion import ClassicalExplosion, InstantExplosion
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.settings import Channel, Explosion, parse_settings
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.base.truth import VirtualTruth
from molexa_core.base.uncertain import Uncertain
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.measures import pair_distances
from molexa_core.geometry.superposition import superpose
from molexa_core.network.weights import default_weights, load_network
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from molexa_core.pipeline.reconstruction.single_events import reconstruct_events
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual

IONS = {
    "ocs": ("O+", "C+", "S+"),
    "formaldehyde": ("O+", "C+", "H+", "H+"),
    "methanol": ("O+", "C+", "H+", "H+", "H+", "H+"),
    "water": ("O+", "H+", "H+"),
    "ethanol": ("O+", "C+", "C+", *["H+"] * 6),
}
SETTINGS = {
    "ocs": (0.3, 0.7, 40_000),
    "formaldehyde": (0.3, 0.8, 24_000),
    "methanol": (0.1, 0.95, 36_000),
    "water": (0.3, 0.6, 40_000),
    "ethanol": (0.05, 0.95, 90_000),
}
"""Molecules per shot, detection efficiency and shots, for some 2000 coincidences each."""
TAU_FS = 45.0
WIDTH = 0.2
"""Standard deviation of ln tau of the uncertain runs."""
BAR_ANGSTROM = 0.01


def virtual_run(
    name: str, kind: str, number: int, shots: int
) -> tuple[Coincidences, VirtualTruth, Explosion]:
    """Coincidences of a run, what exploded, and what is told about the explosion."""
    random = np.random.default_rng([number, sum(map(ord, name + kind))])
    per_shot, efficiency, _ = SETTINGS[name]
    instant = kind == "exact" and number % 2 == 0
    tau = TAU_FS * math.exp(WIDTH * random.standard_normal()) if kind == "uncertain" else TAU_FS
    changes = {
        "explosion": "instant" if instant else "classical",
        "tau_fs": tau,
        "molecules_per_shot": per_shot,
    }
    setup = with_virtual(default_setup(), changes)
    setup = setup.model_copy(update={"detection_efficiency": efficiency})
    counted = Counter(IONS[name])
    values = {
        "name": name,
        "molecule": name,
        "ions": [{"ion": ion, "count": count} for ion, count in counted.items()],
        "gates": {"max_momentum": 400},
    }
    channel = parse_settings(Channel, values, where="channel")
    run = mock(channel, shots, setup=setup, seed=int(random.integers(2**31)))
    events = reduce([run.hits], channel, setup).table
    told = Explosion.of(InstantExplosion() if instant else ClassicalExplosion(Uncertain(TAU_FS)))
    if kind == "uncertain":
        # All atoms rise alike and are not screened: only the window is uncertain.
        told = Explosion.of(ClassicalExplosion(Uncertain(TAU_FS, WIDTH * TAU_FS)))
    return events, run.truth, told


def _one_thread() -> None:
    """Let a worker keep to one core."""
    import torch  # noqa: PLC0415

    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})


def one_run(task: tuple[str, str, int, int, bool]) -> dict[str, Any]:
    """One run as plain values; lengths in angstrom."""
    name, kind, number, shots, means = task
    try:
        return _one_run(name, kind, number, shots, means=means)
    except MolexaError as error:
        return {"molecule": name, "kind": kind, "number": number, "failed": str(error)}


def _one_run(name: str, kind: str, number: int, shots: int, *, means: bool) -> dict[str, Any]:
    events, truth, told = virtual_run(name, kind, number, shots)
    weights = load_network(default_weights(), "cpu")
    start = time.perf_counter()
    found = reconstruct_events(
        events, options=ReconstructOptions(seed=number), explosion=told, network=weights
    )
    seconds = time.perf_counter() - start
    rows = _bonds(found.mean.geometry.positions, truth)
    values = []
    for row in found.distances:
        i, j = row["atoms"]
        true = rows.get((i, j))
        if true is None:
            continue
        error = math.hypot(row["error_of_mean"], row["systematic"] or 0.0)
        values.append(
            {
                "of": row["of"],
                "true": true * BOHR_ANGSTROM,
                "off": (row["mean"] - true) * BOHR_ANGSTROM,
                "statistical": row["error_of_mean"] * BOHR_ANGSTROM,
                "systematic": (row["systematic"] or 0.0) * BOHR_ANGSTROM,
                "shift": (row["resolution_shift"] or 0.0) * BOHR_ANGSTROM,
                "pull": (row["mean"] - true) / error,
            }
        )
    result: dict[str, Any] = {
        "molecule": name,
        "kind": kind,
        "number": number,
        "events": len(found.structures),
        "left_out": found.left_out,
        "seconds": seconds,
        "explosion": found.explosion,
        "plausible": not any("unusual" in text for text in found.warnings),
        "bonds": values,
    }
    if means:
        table = centroid(align(events).table)
        record = reconstruct(
            table, options=ReconstructOptions(seed=number), network=weights, explosion=told
        )
        known = _bonds(record.positions_bohr, truth)
        length = _matrix(pair_distances(record.positions_bohr[None])[0], len(truth.ions))
        result["means"] = [(length[pair] - true) * BOHR_ANGSTROM for pair, true in known.items()]
    return result


def _bonds(positions: FloatArray, truth: VirtualTruth) -> dict[tuple[int, int], float]:
    """Mean length in bohr, over all that exploded, of each bond, by atoms of the answer."""
    symbols = truth.equilibrium.symbols
    fitted = superpose(positions, truth.equilibrium.positions, symbols)
    mean = _matrix(pair_distances(truth.position).mean(axis=0), len(symbols))
    found = {}
    joined = {frozenset(pair) for pair in bonds(truth.equilibrium)}
    for i in range(len(symbols)):
        for j in range(i + 1, len(symbols)):
            a, b = int(fitted.assignment[i]), int(fitted.assignment[j])
            if frozenset((a, b)) in joined:
                found[i, j] = float(mean[a, b])
    return found


def _matrix(pairs: FloatArray, atoms: int) -> FloatArray:
    whole = np.zeros((atoms, atoms))
    whole[np.triu_indices(atoms, 1)] = pairs
    return np.asarray(whole + whole.T)


def summary(runs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Bias, largest error, share within the bar and width of the pulls of some runs."""
    runs = list(runs)
    good = [run for run in runs if "failed" not in run]
    rows = [row for run in good for row in run["bonds"]]
    if not rows:
        return {"runs": len(runs), "failed": len(runs)}
    off = np.array([row["off"] for row in rows])
    pull = np.array([row["pull"] for row in rows])
    means = [value for run in good for value in run.get("means", ())]
    per_run = [max(abs(row["off"]) for row in run["bonds"]) for run in good]
    by_bond: dict[str, list[float]] = {}
    for row in rows:
        by_bond.setdefault(f"{row['true']:.2f}", []).append(row["off"])
    return {
        "runs": len(runs),
        "failed": len(runs) - len(good),
        "unusual": sum(not run["plausible"] for run in good),
        "events": float(np.mean([run["events"] for run in good])),
        "seconds": float(np.median([run["seconds"] for run in good])),
        "mean_off": float(off.mean()),
        "worst_mean_off_of_a_bond": max(abs(float(np.mean(one))) for one in by_bond.values()),
        "rms_off": float(np.sqrt(np.square(off).mean())),
        "largest_off": float(np.abs(off).max()),
        "bonds_within_bar": float((np.abs(off) <= BAR_ANGSTROM).mean()),
        "runs_within_bar": float(np.mean([one <= BAR_ANGSTROM for one in per_run])),
        "statistical": float(np.mean([row["statistical"] for row in rows])),
        "systematic": float(np.mean([row["systematic"] for row in rows])),
        "resolution_shift": float(np.mean([row["shift"] for row in rows])),
        "pull_mean": float(pull.mean()),
        "pull_width": float(np.sqrt(np.square(pull).mean())),
        "inside_68": float((np.abs(pull) <= 1.0).mean()),
        "means_rms_off": float(np.sqrt(np.square(means).mean())) if means else None,
        "means_largest_off": float(np.abs(means).max()) if means else None,
    }


def speed(events: int = 10_000) -> list[dict[str, Any]]:
    """Seconds for so many events, with all that `molexa reconstruct` computes of them."""
    found = []
    for name in ("water", "ethanol"):
        _, truth, told = virtual_run(name, "exact", 0, 4096 if name == "water" else 24_000)
        rows = np.arange(events) % len(truth)
        member = knowledge_of(told).hypotheses[0]
        table = Coincidences.of(truth.ions, truth.momentum[rows])
        device = take_device("auto")
        weights = load_network(default_weights(), device)
        for turn in range(2):  # the first one compiles
            start = time.perf_counter()
            answer = reconstruct_events(
                table, options=ReconstructOptions(seed=turn), explosion=told, network=weights
            )
            seconds = time.perf_counter() - start
        found.append(
            {
                "molecule": name,
                "family": member.family.name,
                "events": events,
                "used": len(answer.structures),
                "seconds": seconds,
                "device": str(device),
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    return found


def _told(run: dict[str, Any]) -> dict[str, Any]:
    """Print the largest error of a run; the run itself."""
    rows = run.get("bonds", ())
    worst = max(rows, key=lambda row: abs(row["off"]), default=None)
    text = run.get("failed", "")
    if worst is not None:
        text = f"{worst['of']} {worst['off']:+.4f} Å, pull {worst['pull']:+.1f}"
        text += f", {run['events']} events, {run['seconds']:.0f} s"
    print(f"{run['kind']} {run['molecule']} {run['number']}: {text}", flush=True)
    return run


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--molecules", nargs="+", choices=list(IONS), default=list(IONS))
    parser.add_argument("--kinds", nargs="+", default=["exact"], choices=["exact", "uncertain"])
    parser.add_argument("--first", type=int, default=0, help="number of the first run: its seed")
    parser.add_argument("--shots", type=float, default=1.0, help="factor on the number of shots")
    parser.add_argument("--means", action="store_true", help="reconstruct the mean momenta too")
    parser.add_argument("--speed", action="store_true", help="time 10 000 events")
    parser.add_argument("--out", type=Path, default=Path("single_events.json"))
    given = parser.parse_args(arguments)
    tasks = [
        (name, kind, given.first + run, int(given.shots * SETTINGS[name][2]), given.means)
        for run in range(given.runs)
        for kind in given.kinds
        for name in given.molecules
    ]
    runs, log = [], given.out.with_suffix(".runs.jsonl")
    with ProcessPoolExecutor(given.workers, initializer=_one_thread) as pool, log.open("a") as to:
        for future in as_completed([pool.submit(one_run, task) for task in tasks]):
            runs.append(_told(future.result()))
            to.write(json.dumps(runs[-1]) + "\n")
            to.flush()
    summaries = {
        kind: {
            name: summary(r for r in runs if r["molecule"] == name and r["kind"] == kind)
            for name in given.molecules
        }
        for kind in given.kinds
        if given.runs
    }
    timed = speed() if given.speed else []
    given.out.write_text(
        json.dumps({"summary": summaries, "speed": timed, "runs": runs}, indent=1) + "\n",
        encoding="utf-8",
    )
    for kind, by_name in summaries.items():
        for name, values in by_name.items():
            numbers = ", ".join(
                f"{key} {value:.4g}" for key, value in values.items() if value is not None
            )
            print(f"{kind} {name}: {numbers}")
    for run in runs:
        if "failed" in run:
            print(f"failed: {run['molecule']} {run['kind']} {run['number']}: {run['failed']}")
    for row in timed:
        print(f"{row['events']} events of {row['molecule']}: {row['seconds']:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
