"""How much faster do two GPUs of one host train than one?

Whole steps of stage 1 (molecules drawn, exploded, loss, gradient, optimizer) of the molexa
preset, in one call: one process, then all of them with the same batch on each GPU, then all of
them sharing the batch of the one. Baseline: the one process of this call. A shared batch leaves
each GPU half the work between two averages of the gradients, so it gains less.

    python benchmarks/team_speed.py [--processes 2] [--batch 4096]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from _record import measurement, store, time_runs

from molexa_core.network.config import MOLEXA
from molexa_core.network.network import Network
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.network.training.team import team_of
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource

NAME = "network-team"
ROOT = Path(__file__).resolve().parent.parent
BLOCK = 16
"""Steps whose molecules are simulated together: runs are whole blocks."""


def member(batch: int, steps: int, repeats: int, out: Path) -> None:
    """One process of a team: time whole runs of steps; the leading one writes the seconds."""
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = replace(MOLEXA.training, batch=batch)
    with team_of(wanted) as (team, device):
        torch.manual_seed(0)
        network = Network(MOLEXA.network).to(device)
        on_gpu = wanted == "cuda"
        data = StageOneData(block=BLOCK)
        source = StageOneSource(
            data, team.share(batch), device, team.seed(1), compiled=on_gpu, sizes_seed=1
        )
        if on_gpu:
            network.compile_parts()

        def work() -> None:
            run = TrainingRun(recipe, steps, report_every=steps)
            train(network, source, run, team=team)

        wait = torch.cuda.synchronize if on_gpu else None
        runs = time_runs(work, repeats=repeats, warm_up=2, synchronise=wait)
        if team.leads:
            out.write_text(json.dumps(runs), encoding="utf-8")


def team_runs(processes: int, batch: int, steps: int, repeats: int) -> list[float]:
    """Seconds of each run of so many processes, started as torchrun would.

    Raises:
        RuntimeError: a process failed; its own message is on standard error.
    """
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        out = Path(folder) / "runs.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--member", str(out)]
        command += ["--batch", str(batch), "--steps", str(steps), "--repeats", str(repeats)]
        threads = max(1, len(os.sched_getaffinity(0)) // (2 * processes))
        common = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(processes),
        }
        started = [
            subprocess.Popen(
                command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=ROOT
            )
            for rank in range(processes)
        ]
        _wait(started)
        runs: list[float] = json.loads(out.read_text(encoding="utf-8"))
        return runs


def _wait(started: list[subprocess.Popen[bytes]]) -> None:
    """Until all are done; if one fails the others are ended, since they would wait for it."""
    while any(one.poll() is None for one in started):
        if any(one.poll() not in (None, 0) for one in started):
            for one in started:
                one.terminate()
        time.sleep(0.1)
    if any(one.returncode for one in started):
        msg = f"a process failed: exit codes {[one.returncode for one in started]}"
        raise RuntimeError(msg)


def main() -> None:
    """Measure one process and several, and store the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=4096, help="molecules per step and process")
    parser.add_argument("--steps", type=int, default=6 * BLOCK)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--member", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member is not None:
        member(given.batch, given.steps, given.repeats, given.member)
        return
    size, batch, steps = given.processes, given.batch, given.steps
    alone = team_runs(1, batch, steps, given.repeats)
    each = team_runs(size, size * batch, steps, given.repeats)
    shared = team_runs(size, batch, steps, given.repeats)
    rates = [
        count * steps / statistics.median(runs)
        for count, runs in ((batch, alone), (size * batch, each), (batch, shared))
    ]
    on_gpu = torch.cuda.is_available()
    path = store(
        NAME,
        f"How many molecules per second do {size} processes train, simulation included?",
        each,
        amount=size * batch * steps,
        unit="molecules",
        sizes={
            "preset": "molexa",
            "atoms": "2 to 9",
            "processes": size,
            "batch_of_each": batch,
            "steps": steps,
        },
        # The baseline's runs scaled to the same number of molecules.
        baseline=("one process of the same call", [size * one for one in alone]),
        notes=(
            f"{rates[1] / rates[0]:.2f} times the molecules per second of one process "
            f"({rates[0]:.0f}) with the same batch on each; {rates[2] / rates[0]:.2f} times "
            "with the batch of the one process shared"
        ),
        device=torch.cuda.get_device_name() if on_gpu else "cpu",
        dtype="bfloat16 products, float32 otherwise" if on_gpu else "float32",
    )
    result = json.loads(path.read_text(encoding="utf-8"))
    result["speed_up"] = {
        "same_batch_on_each": rates[1] / rates[0],
        "same_batch_shared": rates[2] / rates[0],
    }
    result["one_process"] = measurement(alone, batch * steps)
    result["shared"] = measurement(shared, batch * steps)
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(json.dumps(result["speed_up"]))


if __name__ == "__main__":
    main()
