"""How well does `molexa calibrate spectrometer` recover a wrong setup, and are its errors right?

Virtual runs of water with 1e5 coincidences are calibrated from a setup that is wrong by: time zero
5 ns, field 2 %, centre 1 mm, rotation 3 degrees, jet 20 % of 1 km/s, each with a random sign. Of
every quantity: root mean square of the error against the limit, and mean and width of the pulls
(error over stated error), which should be 0 and 1.

    python benchmarks/spectrometer_calibration.py --runs 100 --workers 2
    python benchmarks/spectrometer_calibration.py --runs 100 --workers 2 --case lengths
    python benchmarks/spectrometer_calibration.py --runs 100 --workers 2 --case dark --out dark.json

Cases: `known` (lengths known), `lengths` (free too), `channels` (half the shots are nitrogen, and
both channels are used), `dark` (no residual gas, so no line shows the light), `alive` (a detector
without dead time). A run of 1e5 coincidences takes about a minute and a half on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from _record import commit, machine, versions

from molexa_core.base.settings import Setup, load_channel, parse_settings
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Hits
from molexa_core.pipeline.runs.mock import mock
from molexa_core.reduction.calibration.quantities import QUANTITIES, changed, value_of
from molexa_core.reduction.calibration.spectrometer import calibrate_spectrometer

WRONG = {
    "time_zero": 5.0,
    "field": 0.02,
    "centre_x": 1.0,
    "centre_y": 1.0,
    "rotation": 3.0,
    "jet": 200.0,
}
LIMITS = {
    "time_zero": 0.1,
    "field": 0.0005,
    "centre_x": 0.05,
    "centre_y": 0.05,
    "rotation": 0.1,
    "jet": 20.0,
    "length over field": 0.0005,
}
"""Root mean square errors allowed: ns, relative, mm, degrees, m/s."""
PER_SHOT = 0.365
"""Water coincidences in a shot of the virtual experiment below."""
CASES = ("known", "lengths", "channels", "dark", "alive")


def truth_of(case: str) -> Setup:
    """The true setup: one molecule per shot on average, four ions of five are detected."""
    virtual: dict[str, object] = {"molecules_per_shot": 1.0}
    if case == "dark":
        virtual["residual_gas"] = []
    detector = {"dead_time_ns": 0} if case == "alive" else {}
    values = {
        "detector": detector,
        "spectrometer": {"regions": [{"length_mm": 110.0, "field_v_per_cm": 250.0}]},
        "jet": {"velocity_m_per_s": 1000.0},
        "detection_efficiency": 0.8,
        "virtual": virtual,
    }
    return parse_settings(Setup, values, where="setup")


def one_run(case: str, coincidences: int, seed: int) -> dict[str, tuple[float, float]]:
    """Error and stated error of every quantity of one run; fields and lengths relative."""
    truth = truth_of(case)
    water, nitrogen = (load_channel(find("channels", n, ".yaml")) for n in ("water", "nitrogen"))
    shots = round(coincidences / PER_SHOT)
    random = np.random.default_rng(seed)
    wrong = {name: size * random.choice([-1.0, 1.0]) for name, size in WRONG.items()}
    channels = [water]
    if case == "channels":
        channels = [water, nitrogen]
        hits = Hits.concatenate(
            [
                mock(water, shots // 2, setup=truth, seed=seed).hits,
                mock(nitrogen, shots // 2, setup=truth, seed=seed + 10**6).hits,
            ]
        )
    else:
        hits = mock(water, shots, setup=truth, seed=seed).hits
    free = ("lengths",) if case == "lengths" else ()
    if free:
        wrong["lengths"] = 0.01 * random.choice([-1.0, 1.0])
    found = calibrate_spectrometer([hits], channels, changed(truth, wrong), free=free)
    results = {}
    for one in found.findings:
        if one.error is None:
            continue
        true = value_of(truth, one.name)
        scale = true if QUANTITIES[one.name].relative else 1.0
        results[one.name] = ((one.after - true) / scale, one.error / scale)
    if free:
        region = found.setup.spectrometer.regions[0]
        place = {name: number for number, name in enumerate(found.free)}
        correlation = found.correlations[place["field"], place["lengths"]]
        field, length = results["field"], results["lengths"]
        variance = field[1] ** 2 + length[1] ** 2 - 2.0 * correlation * field[1] * length[1]
        error = float(np.log(region.length_mm / region.field_v_per_cm / (110.0 / 250.0)))
        results["length over field"] = (error, float(np.sqrt(max(variance, 1e-18))))
    return results


def main(arguments: list[str] | None = None) -> int:
    """Print the table; the exit code is 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--coincidences", type=int, default=100_000)
    parser.add_argument("--case", choices=CASES, default="known")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file with the table and its conditions")
    chosen = parser.parse_args(arguments)
    seeds = range(chosen.seed, chosen.seed + chosen.runs)
    rows: list[dict[str, tuple[float, float]]] = []
    with ProcessPoolExecutor(chosen.workers) as pool:
        work = partial(one_run, chosen.case, chosen.coincidences)
        for row in pool.map(work, seeds):
            rows.append(row)
            sys.stderr.write(f"\r{len(rows)} of {chosen.runs} runs")
            sys.stderr.flush()
    sys.stderr.write("\n")
    write = sys.stdout.write
    faults = 0
    table: dict[str, dict[str, float]] = {}
    write(f"{chosen.case}: {chosen.runs} runs of about {chosen.coincidences} coincidences\n")
    heads = ("quantity", "rms error", "limit", "stated", "pull", "width")
    write("{:18} {:>10} {:>8} {:>10} {:>14} {:>14}\n".format(*heads))
    allowed = max(0.2, 3.0 / np.sqrt(2.0 * chosen.runs))  # of few runs the width scatters more
    for name in dict.fromkeys(name for row in rows for name in row):
        errors = np.array([row[name] for row in rows if name in row])
        pulls = errors[:, 0] / errors[:, 1]
        rms = float(np.sqrt((errors[:, 0] ** 2).mean()))
        limit = LIMITS.get(name, np.nan)
        width, mean = float(pulls.std()), float(pulls.mean())
        off = rms > limit or abs(width - 1.0) > allowed
        off |= abs(mean) > 3.0 / np.sqrt(len(pulls)) or len(pulls) < len(rows)
        faults += bool(off)
        table[name] = {
            "rms_error": rms,
            "limit": limit,
            "median_stated_error": float(np.median(errors[:, 1])),
            "mean_pull": mean,
            "width_of_pulls": width,
            "runs": len(pulls),
        }
        write(
            f"{name:18} {rms:10.3g} {limit:8.3g} {np.median(errors[:, 1]):10.3g} "
            f"{mean:6.2f} +- {1 / np.sqrt(len(pulls)):4.2f} "
            f"{width:6.2f} +- {1 / np.sqrt(2 * len(pulls)):4.2f}{'  <--' if off else ''}\n"
        )
    if chosen.out is not None:
        conditions = {name: value for name, value in vars(chosen).items() if name != "out"}
        result = {"conditions": conditions, "wrong": WRONG, "quantities": table}
        result |= {"machine": machine(), "commit": commit(), "versions": versions()}
        chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
