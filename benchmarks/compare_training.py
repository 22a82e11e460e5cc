"""Which network learns more in the same time on the same device, and do two stages pay?

Trainings of both presets, each given the same time on one device (compilation not counted): on
simulated molecules (stage 1), on a data set after that (stage 2), on the data set alone, and with
plain skip connections instead of memory blocks. All are measured on the same entries. The data
set is split by molecule. Error estimates are not trained, so no time goes there.

    python benchmarks/compare_training.py DATA --seconds 150 --gpus 2 --minutes 9

A run starts when the run that it continues is finished, one per GPU. After `--minutes` all runs are
stopped with a checkpoint; the same command continues them. A run that fails is reported and does
not stop the others. Results: `benchmarks/results/accuracy/compare-training.json`, also copied to
`--out`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from _compare import BETTER, measure, ratios, table
from _record import RESULTS, commit, machine, versions

from molexa_core.pipeline.evaluation.evaluate import FIRST, MEAN
from molexa_core.pipeline.evaluation.evaluate_weights import read_evaluation

ROOT = Path(__file__).resolve().parent.parent
SPARE_S = 15.0
"""Time at the end of `--minutes` for stopping and writing."""
START_S = {"cuda": 90.0, "cpu": 35.0}
"""Time from the start of a training to its first counted step, at most: imports, compilation,
rehearsal."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        what: in words.
        preset: network and recipe.
        stage: 1 or 2.
        after: run whose weights it starts from.
        memory: memory blocks, or plain skip connections.
        times: its time in units of `--seconds`.
        rate: learning rate; the preset's for this comparison where not given.
    """

    what: str
    preset: str
    stage: int
    after: str | None = None
    memory: bool = True
    times: float = 1.0
    rate: float | None = None


RUNS = {
    "P1": Run("paper, stage 1", "paper", 1),
    "M1": Run("molexa, stage 1", "molexa", 1),
    "P12": Run("paper, stage 1, then stage 2", "paper", 2, after="P1"),
    "M12": Run("molexa, stage 1, then stage 2", "molexa", 2, after="M1"),
    "P2": Run("paper, stage 2 alone", "paper", 2),
    "P2s": Run("paper with skip connections, stage 2 alone", "paper", 2, memory=False),
    "M2": Run("molexa, stage 2 alone", "molexa", 2),
    "P2-twice": Run("paper, stage 2 alone, time of two stages", "paper", 2, times=2.0),
    "M2-twice": Run("molexa, stage 2 alone, time of two stages", "molexa", 2, times=2.0),
}
TRIALS = {
    f"P1@{rate:g}": Run(f"paper, stage 1, trial of rate {rate:g}", "paper", 1, rate=rate)
    for rate in (3e-4, 6e-4, 1e-3)
}
"""Short trainings (`--trial-seconds`) that choose the learning rate of all `paper` runs."""
USUAL = "P1,M1,P12,M12,P2,P2s,M2"
RATES = {"paper": 6e-4, "molexa": 8e-4}
CONTINUED = 0.5
"""Learning rate of a stage that continues another, relative to that of a new network."""
RECIPES = {
    # The published recipe is for days on many GPUs. For minutes on one: larger batches, cosine
    # decay after a warm-up, averaged weights, as the other network has them.
    "paper": ("batch=512", "draws=4", "schedule=cosine", "warm_up=200", "clip=1000", "ema=0.999"),
    "molexa": (),
}
BOTH = ("uncertainty_weight=0",)
QUESTIONS = (
    # what, run, relative to, what the comparison should give
    ("molexa to paper, two stages", "M12", "P12", "at most 0.6"),
    ("molexa to paper, stage 1", "M1", "P1", "at most 0.6"),
    ("molexa to paper, stage 2 alone", "M2", "P2", "at most 0.6"),
    ("two stages to stage 2 alone, paper", "P12", "P2", "published: about 0.5"),
    ("two stages to stage 2 alone, molexa", "M12", "M2", "published: about 0.5"),
    ("two stages to stage 2 alone of the same total time, paper", "P12", "P2-twice", ""),
    ("two stages to stage 2 alone of the same total time, molexa", "M12", "M2-twice", ""),
    ("memory blocks to skip connections, paper", "P2", "P2s", "published, mean DE: 0.964"),
)


@dataclass
class Job:
    """A process of a run: its training, or its measurement."""

    name: str
    part: str
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)


class Comparison:
    """Runs, their files under the work folder, and what they found."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.given = arguments
        self.work: Path = arguments.work
        self.end = time.monotonic() + 60.0 * arguments.minutes - SPARE_S
        self.trials = TRIALS if arguments.trial_seconds else {}
        self.runs = {**self.trials, **{name: RUNS[name] for name in arguments.runs.split(",")}}
        self.failed: dict[str, str] = {}
        self.stopped: set[str] = set()

    def weights(self, name: str) -> Path:
        """Card of the finished weights of a run."""
        return self.work / name / f"{name}.json"

    def measured(self, name: str) -> Path:
        """Result of a run."""
        return self.work / f"{name}-errors.json"

    def done(self, name: str) -> bool:
        """Whether a run is complete."""
        return (self.weights if name in self.trials else self.measured)(name).exists()

    def next_job(self, busy: set[str]) -> tuple[str, str] | None:
        """The next run and its next part; None if none can start now."""
        for name, run in self.runs.items():
            if name in busy | set(self.failed) | self.stopped or self.done(name):
                continue
            if self.weights(name).exists():
                return name, "measure"
            waits = [] if run.after is None else [run.after]
            if run.preset == "paper" and name not in self.trials:
                waits += list(self.trials)
            lost = [one for one in waits if one in self.failed]
            if lost:
                self.failed[name] = f"not begun, since {lost[0]} failed"
                continue
            if all(self.weights(one).exists() for one in waits):
                return name, "train"
        return None

    def rate(self, name: str) -> float:
        """Learning rate of a run: of the best trial, if there were any."""
        run = self.runs[name]
        rate = run.rate or RATES[run.preset]
        if run.preset == "paper" and self.trials and name not in self.trials:
            errors = {one: _card(self.weights(one))["mae_mean"] for one in self.trials}
            rate = self.trials[min(errors, key=lambda one: errors[one])].rate or rate
        return rate * (CONTINUED if run.after else 1.0)

    def start(self, name: str, part: str, gpu: int) -> Job:
        """Start a process of a run on a GPU."""
        command = self._training(name) if part == "train" else self._measurement(name)
        cores = len(os.sched_getaffinity(0))
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TORCHINDUCTOR_CACHE_DIR": str(self.work / "inductor"),
            "TRITON_CACHE_DIR": str(self.work / "triton"),
            "OMP_NUM_THREADS": str(max(1, min(8, cores // (2 * self.given.gpus)))),
            "PYTHONUNBUFFERED": "1",
        }
        if self.given.device == "cuda":
            environment["CUDA_VISIBLE_DEVICES"] = str(gpu)
        with (self.work / f"{name}-{part}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *command], stdout=log, stderr=log, env=environment, cwd=ROOT
            )
        print(f"{name}: {part} on device {gpu}", flush=True)
        return Job(name, part, process)

    def _training(self, name: str) -> list[str]:
        run, given = self.runs[name], self.given
        seconds = given.trial_seconds if name in self.trials else given.seconds * run.times
        left = max(1.0, self.end - time.monotonic() - START_S[given.device])
        command = ["-m", "molexa_cli.main", "train", "--stage", str(run.stage)]
        command += ["--preset", run.preset, "--seconds", f"{seconds:g}"]
        command += ["--learning-rate", f"{self.rate(name):g}", "--validation", str(given.entries)]
        for change in (*RECIPES[run.preset], *BOTH, *given.recipe):
            command += ["--recipe", change]
        if run.stage == 2:
            command += ["--data", str(given.data), "--split-by", "molecule"]
        if run.after is not None:
            command += ["--init", str(self.weights(run.after))]
        if not run.memory:
            command.append("--no-memory")
        # Continue a training that was stopped.
        command += ["--resume", "--minutes", f"{left / 60.0:.3f}", "--seed", str(given.seed)]
        command += ["--device", given.device, "--out", str(self.work / name), "--name", name]
        return [*command, "--json", "--quiet"]

    def _measurement(self, name: str) -> list[str]:
        here, given = str(Path(__file__).resolve()), self.given
        command = [here, str(given.data), "--work", str(self.work), "--measure", name]
        command += ["--entries", str(given.entries), "--samples", str(given.samples)]
        return [*command, "--device", given.device]

    def finish(self, job: Job) -> None:
        """Take note of how a process ended."""
        code, seconds = job.process.returncode, time.monotonic() - job.began
        file = self.weights(job.name) if job.part == "train" else self.measured(job.name)
        if file.exists():
            print(f"{job.name}: {job.part} done in {seconds:.0f} s", flush=True)
            return
        if code == 0 or time.monotonic() > self.end:
            self.stopped.add(job.name)
            print(f"{job.name}: {job.part} stopped after {seconds:.0f} s", flush=True)
            return
        log = (self.work / f"{job.name}-{job.part}.log").read_text(errors="replace")
        self.failed[job.name] = f"{job.part}, exit code {code}: {log.strip()[-600:]}"
        print(f"{job.name} FAILED: {self.failed[job.name]}", flush=True)

    def work_off(self) -> None:
        """Run everything that fits into the time."""
        jobs: dict[int, Job] = {}
        while True:
            for gpu, job in list(jobs.items()):
                if job.process.poll() is not None:
                    self.finish(jobs.pop(gpu))
            over = time.monotonic() > self.end
            for gpu in range(self.given.gpus):
                if gpu in jobs or over:
                    continue
                chosen = self.next_job({job.name for job in jobs.values()})
                if chosen is None or self._too_late(chosen[1]):
                    continue
                jobs[gpu] = self.start(*chosen, gpu)
            if not jobs:
                return
            if over:
                for job in jobs.values():
                    job.process.terminate()
            time.sleep(0.5)

    def _too_late(self, part: str) -> bool:
        """Whether too little time is left to begin."""
        least = 20.0 if part == "measure" else START_S["cuda"] + 20.0
        left = self.end - time.monotonic()
        return bool(self.given.device == "cuda" and left < least)

    def store(self) -> Path:
        """Write what is known so far."""
        runs: dict[str, Any] = {}
        for name, run in self.runs.items():
            if not self.measured(name).exists():
                continue
            values = read_evaluation(self.measured(name))
            runs[name] = {"what": run.what, "memory": run.memory and run.preset == "paper"}
            runs[name] |= {"after": run.after, **values}
        compared = []
        for what, one, other, bar in QUESTIONS:
            if one in runs and other in runs:
                files = [self.measured(name).with_suffix(".npz") for name in (one, other)]
                row: dict[str, Any] = {"what": what, "run": one, "relative_to": other, "bar": bar}
                for method in (FIRST, MEAN, BETTER):
                    row[method] = ratios(files[0], files[1], method)
                compared.append(row)
        result = {
            "question": __doc__.splitlines()[0] if __doc__ else "",
            "seconds": self.given.seconds,
            "data": Path(self.given.data).name,
            "split": "by molecule",
            "entries": self.given.entries,
            "comparisons": compared,
            "runs": runs,
            "trials": {
                name: _card(self.weights(name))
                for name in self.trials
                if self.weights(name).exists()
            },
            "open": {
                name: self.failed.get(name, "not finished")
                for name in self.runs
                if not self.done(name)
            },
            "machine": machine(),
            "commit": commit(),
            "versions": versions(),
            "date": datetime.now(UTC).date().isoformat(),
        }
        path: Path = self.given.result
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(table(runs))
        for row in compared:
            for name, values in row[BETTER].items():
                shown = {
                    key: f"{row[FIRST][name][key]['ratio']:.3f} ({one['ratio']:.3f})"
                    for key, one in values.items()
                }
                print(f"{row['what']} ({row['bar']}), {name}: {shown}")
        for name, why in result["open"].items():
            print(f"open: {name}: {why.splitlines()[-1]}")
        return path


def _card(card: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(card.read_text(encoding="utf-8"))
    training = {key: values["training"][key] for key in ("steps", "learning_rate", "device_s")}
    return {**training, **values["metrics"]["validation"]["all"]}


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of a packed data set")
    parser.add_argument("--seconds", type=float, default=150.0, help="of each training")
    parser.add_argument("--runs", default=USUAL, help=f"of {','.join(RUNS)}")
    parser.add_argument("--trial-seconds", type=float, default=0.0)
    parser.add_argument("--gpus", type=int, default=1, help="processes at a time")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after this long")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "molexa-compare")
    parser.add_argument("--out", type=Path, help="folder for a copy of the result and the logs")
    parser.add_argument(
        "--result", type=Path, default=RESULTS / "accuracy" / "compare-training.json"
    )
    parser.add_argument("--entries", type=int, default=4096, help="of each set")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", choices=("cuda", "cpu"))
    parser.add_argument("--recipe", action="append", default=[], help="for all runs, NAME=VALUE")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.runs.split(",")) - set(RUNS):
        parser.error(f"no such run: {', '.join(sorted(unknown))}")
    arguments.device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return arguments


def main() -> None:
    """Run what is left, store what is known."""
    given = parse()
    if given.measure:
        name = given.measure
        card = given.work / name / f"{name}.json"
        out = given.work / f"{name}-errors"
        preset = RUNS[name].preset
        measure(card, preset, given.data, given.entries, given.samples, given.device, out)
        return
    given.work.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(given)
    try:
        comparison.work_off()
    finally:
        path = comparison.store()
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, given.out)
            logs = {
                name: (given.work / name / "log.jsonl").read_text(encoding="utf-8").splitlines()
                for name in comparison.runs
                if (given.work / name / "log.jsonl").exists()
            }
            (given.out / "compare-training-logs.json").write_text(json.dumps(logs))


if __name__ == "__main__":
    main()
