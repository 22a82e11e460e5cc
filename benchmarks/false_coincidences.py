"""Are yields, energies and mean momenta right after false coincidences were subtracted?

Virtual runs of water, CF4 and ethanol (as O+ C+ C+), with 0.2, 1 and 4 exploding molecules per shot
at 30 % detection efficiency, residual gas and dark counts. Every run is reduced with event mixing
and with gating alone; both are compared with the coincidences whose ions really came from one
molecule. A pull is (found - expected) / claimed error; what is expected is the mean over the true
coincidences of all other runs. Every run is a line of JSON in the output, so that a run that was
cut off counts and is continued by the same command.

    python benchmarks/false_coincidences.py --runs 200 --workers 16 --out false.jsonl
    python benchmarks/false_coincidences.py --summary --out false.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np

from molexa_core.base.fields import TAG_SHOT
from molexa_core.base.settings import Channel, Setup, load_channel, parse_settings
from molexa_core.base.subtraction import true_mean
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.base.units import HARTREE_EV
from molexa_core.frame.align import align_events, heaviest_frame
from molexa_core.frame.centroid import centroids
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.virtual.experiment import run_blocks, target_of
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import default_setup

EFFICIENCY = 0.3
RATES = (0.2, 1.0, 4.0)
COINCIDENCES = 2000
"""Coincidences per run, at least; true ones but for CF4 at 4 molecules per shot (see `CASES`)."""
CASES: dict[str, dict[str, Any]] = {
    "water": {"gate": [5.5, 6.0, 3.3], "ions": 3, "accepted": [0.66, 0.56, 0.38]},
    "cf4": {"gate": [12.5, 14.0, 4.5], "ions": 5, "accepted": [0.43, 0.34, 0.4]},
    "ethanol": {"gate": [60.0, 60.0, 60.0], "ions": 3, "accepted": [0.92, 0.88, 0.68]},
}
"""Gate of each channel, number of its ions, and about the share of complete molecules, at each of
`RATES`, that pass dead time, detector and gates; for CF4 at the highest rate it is that of all
coincidences, of which four tenths are true."""
SECONDS: dict[str, list[float]] = {
    "water": [6.0, 6.0, 8.0], "cf4": [180.0, 180.0, 180.0], "ethanol": [8.0, 8.0, 20.0]
}  # fmt: skip
"""A run takes about as long at each of `RATES`, at most; for CF4 with time for the others after."""


@dataclass(frozen=True)
class Job:
    """One virtual run."""

    case: str
    rate: float
    seed: int
    coincidences: int
    gated: bool = True
    """Whether to reduce it with gating alone as well."""

    @property
    def name(self) -> str:
        """Under which it stands in the output."""
        return f"{self.case} {self.rate:g} {self.seed} {self.coincidences}"


def channel_of(case: str) -> Channel:
    """The channel, with a gate that is the same in all runs."""
    if case == "ethanol":  # protons are there, but not asked for: they take a part of the sum
        ions = [{"ion": "O+"}, {"ion": "C+", "count": 2}]
        frame = {"reference": "O+", "second": "C+", "plane": "xy", "like": "distinct"}
        gates = {"max_momentum": 250, "sum_half_width": CASES[case]["gate"]}
        values = {"name": case, "ions": ions, "frame": frame}
        values["gates"] = gates | {"sum_centre": [0.0, 0.0, 0.0]}
        return parse_settings(Channel, values, where=case)
    channel = load_channel(case)
    gates = channel.gates.model_copy(
        update={"sum_half_width": tuple(CASES[case]["gate"]), "sum_centre": (0.0, 0.0, 0.0)}
    )
    return channel.model_copy(update={"gates": gates})


def setup_of(rate: float) -> Setup:
    """The virtual reaction microscope, with about eight hits per shot at the highest rate."""
    values = default_setup().model_dump(mode="json")
    values["detection_efficiency"] = EFFICIENCY
    values["detector"]["slots"] = 64
    values["virtual"] |= {
        "molecules_per_shot": rate,
        "explosion": "instant",
        "dark_counts_per_shot": 0.3 + 0.7 * rate,
        "residual_gas": [
            {"ion": "H2O+", "per_shot": 0.3 * rate},
            {"ion": "H+", "per_shot": 0.1 * rate},
            {"ion": "O+", "per_shot": 0.05 * rate},
            {"ion": "C+", "per_shot": 0.05 * rate},
            {"ion": "(N2)+", "per_shot": 0.2 * rate},
        ],
    }
    return parse_settings(Setup, values, where="benchmark")


def quantities(table: Coincidences, rows: np.ndarray | None) -> dict[str, tuple[float, float]]:
    """Mean energy and mean momenta of aligned coincidences, with errors.

    Args:
        table: aligned; false coincidences are subtracted if it has them.
        rows: those to take.
    """
    if rows is not None:
        table = replace(table.select(rows), false=None)
    energy = table.kinetic_energy().sum(axis=1) * HARTREE_EV
    if table.false is not None:
        of_false = table.false.kinetic_energy().sum(axis=1) * HARTREE_EV
        found = true_mean(table, energy, of_false)
        result = {"KER": (float(found.mean[0]), float(found.error[0]))}
    else:
        mean = float(np.average(energy, weights=table.weight))
        events = max(float(table.weight.sum()), 1.0)
        spread = float(np.average((energy - mean) ** 2, weights=table.weight))
        result = {"KER": (mean, float(np.sqrt(spread / events)))}
    means = centroids(table)
    for ion, label in enumerate(means["label"]):
        for axis in "xyz":
            value, error = float(means[f"p{axis}"][ion]), float(means[f"p{axis}_err"][ion])
            if error > 1e-9:
                result[f"p{axis} {label}"] = (value, error)
    return result


def true_rows(table: Coincidences, hits: Hits, molecule_of: np.ndarray) -> np.ndarray:
    """(n) whether all ions of a coincidence came from one molecule."""
    if table.detector is None:
        raise SystemExit("the coincidences have no detector values")
    shot = table.tags[TAG_SHOT].astype(np.int64)
    key = hits.shot * 1e5 + hits.t_ns
    found = np.searchsorted(key, shot[:, None] * 1e5 + table.detector.tof_ns - 1e-3)
    if np.abs(hits.t_ns[found] - table.detector.tof_ns).max(initial=0.0) > 2e-3:
        raise SystemExit("the hits of the coincidences were not found")
    of = molecule_of[found]
    same: np.ndarray = (of[:, 0] >= 0) & (of == of[:, :1]).all(axis=1)
    return same


def measure(job: Job) -> dict[str, Any]:
    """Simulate, reduce and compare one run."""
    start = time.perf_counter()
    setup, channel = setup_of(job.rate), channel_of(job.case)
    target = target_of(load_channel(job.case), molecule(job.case))
    about = CASES[job.case]
    accepted = float(np.interp(job.rate, RATES, about["accepted"]))
    wanted = job.rate * EFFICIENCY ** about["ions"] * accepted
    blocks = list(run_blocks(target, setup, job.seed, int(job.coincidences / wanted)))
    hits = Hits.concatenate([block.hits for block in blocks])
    origin = np.concatenate([block.truth.hit_molecule for block in blocks])
    made = time.perf_counter()
    answer: dict[str, Any] = {
        "name": job.name, "case": job.case, "rate": job.rate, "seed": job.seed,
        "shots": hits.n_shots, "hits_per_shot": hits.n_hits / hits.n_shots,
    }  # fmt: skip
    chunks = list(hits.in_chunks(32768))
    recoil: Any = "keep" if job.case == "ethanol" else "remove"
    for kind, mixing in (("mixed", True), ("gated", False))[: 1 + job.gated]:
        began = time.perf_counter()
        result = reduce(chunks, channel, setup, mixing=mixing)
        answer[f"{kind}_seconds"] = time.perf_counter() - began
        frame = channel.frame or heaviest_frame(result.table.ions)
        aligned = align_events(result.table, frame, recoil=recoil).table
        found = {}
        if mixing:
            false = result.summary.false
            if false is None:
                raise SystemExit("nothing was mixed")
            true = true_rows(result.table, hits, origin)
            kept = np.isin(aligned.event_id, result.table.event_id[true])
            found["yield"] = (false.per_shot, false.per_shot_error)
            truth = {"yield": float(true.sum()) / hits.n_shots}
            truth |= {name: value for name, (value, _) in quantities(aligned, kept).items()}
            answer |= {
                "true": int(true.sum()), "truth": truth, "found": false.found,
                "false_rows": false.rows, "side_band": false.side_band,
                "side_band_error": false.side_band_error, "scale": false.scale,
            }  # fmt: skip
        else:
            n = len(result.table)
            found["yield"] = (n / hits.n_shots, float(np.sqrt(n)) / hits.n_shots)
        try:
            found |= quantities(aligned, None)
        except Exception as error:  # noqa: BLE001  # counted below: a refusal is an answer
            answer[f"{kind}_refused"] = str(error)
        answer[kind] = found
    answer["mock_seconds"] = made - start
    return answer


def measured_before(job: Job, last: float) -> dict[str, Any] | None:
    """The run, unless it would not end before `last` (seconds since 1970)."""
    lasts = float(np.interp(job.rate, RATES, SECONDS[job.case]))
    return measure(job) if time.time() + lasts < last else None


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The runs in an output."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def pulls(runs: list[dict[str, Any]], kind: str, name: str) -> np.ndarray:
    """(runs) deviation from the truth of the other runs, in claimed errors."""
    known = [run for run in runs if name in run["truth"]]
    truth = np.array([run["truth"][name] for run in known])
    weight = np.array([run["shots"] if name == "yield" else run["true"] for run in known], float)
    others = ((truth * weight).sum() - truth * weight) / (weight.sum() - weight)
    usable = np.array([name in run.get(kind, {}) for run in known])
    others = others[usable]
    found = np.array([run[kind][name] for run, has in zip(known, usable, strict=True) if has])
    result: np.ndarray = (found[:, 0] - others) / found[:, 1]
    return result


def summarise(path: Path) -> None:
    """Print mean and width of the pulls of every case."""
    everything = list(lines(path))
    for case in CASES:
        for rate in sorted({run["rate"] for run in everything if run["case"] == case}):
            runs = [run for run in everything if run["case"] == case and run["rate"] == rate]
            n = len(runs)
            if n < 3:
                continue
            hits = np.mean([run["hits_per_shot"] for run in runs])
            purity = np.mean([run["true"] / run["found"] for run in runs])
            true = np.mean([run["true"] for run in runs])
            cost = [
                np.mean([run[key] for run in runs if (key := f"{kind}_seconds") in run])
                for kind in ("mixed", "gated")
            ]
            print(
                f"\n{case}, {rate:g} molecules per shot, {n} runs: {hits:.1f} hits per shot, "
                f"{true:.0f} true coincidences, purity {purity:.2f}; reduce {cost[0]:.1f} s with "
                f"mixing, {cost[1]:.1f} s without; refused "
                f"{sum('mixed_refused' in run for run in runs)}; limit of the mean {3 / n**0.5:.2f}"
            )
            print(f"{'':34s}{'mixing: mean':>14s}{'width':>8s}{'gating: mean':>16s}{'width':>8s}")
            names = [name for name in runs[0]["mixed"] if all(name in run["mixed"] for run in runs)]
            pooled = []
            for name in names:
                of = {kind: pulls(runs, kind, name) for kind in ("mixed", "gated")}
                pooled.append(of["mixed"])
                print(
                    f"{name:34s}{of['mixed'].mean():14.2f}{of['mixed'].std(ddof=1):8.2f}"
                    f"{of['gated'].mean():16.2f}{of['gated'].std(ddof=1):8.2f}"
                )
            widths = [np.square(one - one.mean()).sum() / (len(one) - 1) for one in pooled]
            print(f"{'pooled width':34s}{'':14s}{np.sqrt(np.mean(widths)):8.2f}")


def stored(path: Path) -> dict[str, Any]:
    """The pulls of all runs, and what they were made from, for the stored results."""
    everything = list(lines(path))
    cases = []
    for case in CASES:
        for rate in sorted({run["rate"] for run in everything if run["case"] == case}):
            runs = [run for run in everything if run["case"] == case and run["rate"] == rate]
            runs.sort(key=lambda run: run["seed"])
            gated = [run for run in runs if "gated" in run]
            names = [name for name in runs[0]["mixed"] if all(name in run["mixed"] for run in runs)]
            cases.append(
                {
                    "case": case,
                    "molecules_per_shot": rate,
                    "runs": len(runs),
                    "seeds": [run["seed"] for run in runs],
                    "shots": runs[0]["shots"],
                    "hits_per_shot": round(
                        float(np.mean([run["hits_per_shot"] for run in runs])), 3
                    ),
                    "true": [run["true"] for run in runs],
                    "found": [run["found"] for run in runs],
                    "refused": sum("mixed_refused" in run for run in runs),
                    "seconds_with_mixing": round(
                        float(np.mean([run["mixed_seconds"] for run in gated])), 2
                    ),
                    "seconds_without": round(
                        float(np.mean([run["gated_seconds"] for run in gated])), 2
                    ),
                    "relative_error_of_the_yield": round(
                        float(np.median([np.divide(*run["mixed"]["yield"][::-1]) for run in runs])),
                        4,
                    ),
                    "pulls": {
                        name: np.round(pulls(runs, "mixed", name), 3).tolist() for name in names
                    },
                    "gating_alone": {
                        name: [round(float(one), 3) for one in (of.mean(), of.std(ddof=1))]
                        for name in names
                        for of in [pulls(runs, "gated", name)]
                    },
                }
            )
    return {"cases": cases}


def main() -> None:
    """Run what is missing, then print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run")
    parser.add_argument("--gated", type=int, default=60, help="runs with gating alone beside it")
    parser.add_argument("--minutes", type=float, default=1e9, help="no run is to end later")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rates", default=",".join(f"{rate:g}" for rate in RATES))
    parser.add_argument("--coincidences", type=int, default=COINCIDENCES)
    parser.add_argument("--out", type=Path, default=Path("false_coincidences.jsonl"))
    parser.add_argument("--in-turn", action="store_true", help="all runs of one case first")
    parser.add_argument("--store", type=Path, help="JSON file with the pulls of all runs")
    parser.add_argument("--summary", action="store_true", help="only print what is there")
    asked = parser.parse_args()
    jobs = [
        Job(case, float(rate), seed, asked.coincidences, seed - asked.first < asked.gated)
        for seed in range(asked.first, asked.first + asked.runs)
        for case in asked.cases.split(",")
        for rate in asked.rates.split(",")
    ]
    if asked.in_turn:
        jobs.sort(key=lambda job: asked.cases.split(",").index(job.case))
    done = {run["name"] for run in lines(asked.out)}
    jobs = [] if asked.summary else [job for job in jobs if job.name not in done]
    last = time.time() + 60.0 * asked.minutes
    with ProcessPoolExecutor(asked.workers) as pool, asked.out.open("a", encoding="utf-8") as out:
        for future in as_completed([pool.submit(measured_before, job, last) for job in jobs]):
            if (answer := future.result()) is not None:
                out.write(json.dumps(answer) + "\n")
                out.flush()
    summarise(asked.out)
    if asked.store is not None:
        asked.store.write_text(json.dumps(stored(asked.out)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
