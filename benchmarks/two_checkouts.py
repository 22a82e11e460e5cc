"""Is this checkout slower than another one? Reduce, align and the start of the program, in turns.

    python benchmarks/two_checkouts.py BEFORE [--rounds 15]

BEFORE is the folder of another checkout (with `molexa_core` in it). Each has a process of its own
that is warm; runs alternate, so that whatever else the machine does meets both. Printed and stored
are the median of the ratios, after to before, of neighbouring runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
JOBS = ("reduce", "align", "help")
WORKER = """
import importlib, os, subprocess, sys, time

def load(name, *functions):
    for room in ("molexa_core.pipeline.chain.", "molexa_core.pipeline."):
        try:
            module = importlib.import_module(room + name)
        except ModuleNotFoundError:
            continue
        for function in functions:
            if hasattr(module, function):
                return getattr(module, function)
    raise SystemExit(f"no {name} here")

job, folder, own = sys.argv[1:4]
events = f"{folder}/{own}.events.h5"
if job == "reduce":
    reduce = load("reduce", "reduce_files", "reduce")
    work = lambda: reduce([f"{folder}/run.root"], out=events)
elif job == "align":
    load("reduce", "reduce_files", "reduce")([f"{folder}/run.root"], out=events)
    align = load("align", "align_file", "align")
    work = lambda: align(events, out=f"{folder}/{own}.aligned.h5", reference="O+", second="H+")
else:
    command = [sys.executable, "-m", "molexa_cli.main", "--help"]
    work = lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
work()
print("ready", flush=True)
for _ in sys.stdin:
    wall, used = time.perf_counter(), os.times()
    work()
    after = os.times()
    spent = sum(after[:4]) - sum(used[:4])
    print(time.perf_counter() - wall, spent, flush=True)
"""


class Worker:
    """A process that does one job of one checkout whenever it is asked to."""

    def __init__(self, checkout: Path, job: str, folder: Path, name: str) -> None:
        found = os.pathsep.join(filter(None, [str(checkout), os.environ.get("PYTHONPATH")]))
        one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
        self._process: Any = subprocess.Popen(
            [sys.executable, "-c", WORKER, job, str(folder), name],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": found} | one_thread,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            raise SystemExit(f"{job} does not work in {checkout}")

    def run(self) -> tuple[float, float]:
        """Wall seconds and seconds of processor time of one run."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall, used = self._line().split()
        return float(wall), float(used)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _line(self) -> str:
        return str(self._process.stdout.readline().strip())


def compare(before: Path, job: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Alternating runs of both checkouts."""
    workers = {"before": Worker(before, job, folder, "before")}
    workers["after"] = Worker(ROOT, job, folder, "after")
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    for number in range(rounds):
        names = list(workers) if number % 2 else list(workers)[::-1]
        for name in names:
            runs[name].append(workers[name].run())
    for worker in workers.values():
        worker.close()
    result: dict[str, Any] = {"runs": runs}
    for place, kind in enumerate(("wall", "processor")):
        pairs = zip(runs["after"], runs["before"], strict=True)
        result[f"ratio_{kind}"] = statistics.median(a[place] / b[place] for a, b in pairs)
        for name in workers:
            result[f"{name}_{kind}_s"] = statistics.median(run[place] for run in runs[name])
    return result


def main() -> None:
    """Compare, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("before", type=Path, help="folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--shots", type=int, default=400_000)
    parser.add_argument("--job", action="append", choices=JOBS)
    parser.add_argument("--json", type=Path, help="file for the results")
    chosen = parser.parse_args()
    results: dict[str, Any] = {"shots": chosen.shots, "rounds": chosen.rounds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mock = ["mock", "water", "--events", str(chosen.shots), "--seed", "5", "--out", "run.root"]
        # The older one makes the run, which both can read.
        first = str(chosen.before.resolve())
        found = os.pathsep.join(filter(None, [first, os.environ.get("PYTHONPATH")]))
        subprocess.run(
            [sys.executable, "-m", "molexa_cli.main", *mock, "-q"],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": found},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        for job in chosen.job or JOBS:
            results[job] = compare(chosen.before.resolve(), job, folder, chosen.rounds)
            line = results[job]
            print(
                f"{job:7} ratio {line['ratio_wall']:.3f} wall, {line['ratio_processor']:.3f} "
                f"processor time; after {line['after_wall_s']:.3f} s, "
                f"before {line['before_wall_s']:.3f} s"
            )
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
