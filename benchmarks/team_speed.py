"""How much faster do several GPUs of one host train than one?

Whole steps of stage 1 (molecules drawn, exploded, loss, gradient, optimizer) of the molexa preset,
the same batch for any number of processes. Baseline: one process of the same machine, measured
first.

    python benchmarks/team_speed.py
    torchrun --nproc-per-node 2 benchmarks/team_speed.py
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import torch
from _record import RESULTS, store, time_runs

from molexa_core.model.config import MOLEXA
from molexa_core.model.network import Network
from molexa_core.model.team import team_of
from molexa_core.model.training import TrainingRun, train
from molexa_core.pipeline.stage1 import StageOneData, StageOneSource

NAME = "network-team-{}"


def main() -> None:
    """Measure with the processes there are and store the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = replace(MOLEXA.training, batch=arguments.batch)
    with team_of(wanted) as (team, device):
        torch.manual_seed(0)
        network = Network(MOLEXA.network).to(device)
        source = StageOneSource(
            StageOneData(),
            team.share(recipe.batch),
            device,
            team.seed(1),
            compiled=wanted == "cuda",
        )
        if wanted == "cuda":
            network.compile_parts()

        def work() -> None:
            run = TrainingRun(recipe, arguments.steps, report_every=arguments.steps)
            train(network, source, run, team=team)

        wait = torch.cuda.synchronize if wanted == "cuda" else None
        runs = time_runs(work, repeats=arguments.repeats, warm_up=1, synchronise=wait)
        if not team.leads:
            return
        baseline, notes = None, ""
        single = RESULTS / f"{NAME.format(1)}.json"
        if team.size > 1 and single.exists():
            before = json.loads(single.read_text(encoding="utf-8"))
            baseline = ("one process of the same machine", before["measured"]["runs_s"])
            ratio = before["measured"]["median_s"] / sorted(runs)[len(runs) // 2]
            notes = f"{ratio:.2f} times as fast as one process"
        store(
            NAME.format(team.size),
            f"How many molecules per second do {team.size} processes train, simulation included?",
            runs,
            amount=arguments.batch * arguments.steps,
            unit="molecules",
            sizes={
                "preset": "molexa",
                "atoms": "2 to 9",
                "batch_of_all": arguments.batch,
                "processes": team.size,
            },
            baseline=baseline,
            notes=notes,
            device=torch.cuda.get_device_name() if wanted == "cuda" else "cpu",
            dtype="bfloat16 products, float32 otherwise" if wanted == "cuda" else "float32",
        )


if __name__ == "__main__":
    main()
