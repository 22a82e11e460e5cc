"""One process of a small training with several processes, as torchrun would start it."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from molexa_core.base.errors import MolexaError
from molexa_core.network.batch import Batch
from molexa_core.network.config import MOLEXA
from molexa_core.network.network import Network
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.network.training.team import team_of
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource
from tests.fakes.networks import small_settings

KILLED = 9


def main(folder: Path, dies_at: int) -> int:
    """Train six steps; process 1 dies before step `dies_at`, if that is not negative."""
    recipe = replace(MOLEXA.training, batch=8, warm_up=2, ema=0.9)
    with team_of("cpu") as (team, device):
        # Different weights at the start: the leading process's must win.
        torch.manual_seed(team.rank)
        network = Network(small_settings("atoms"))
        data = StageOneData(largest=4, block=2)
        molecules = StageOneSource(data, team.share(recipe.batch), device, team.seed(1))

        def source(step: int) -> Batch:
            if team.rank == 1 and step == dies_at:
                os._exit(KILLED)
            return molecules(step)

        run = TrainingRun(
            recipe,
            6,
            report_every=2,
            checkpoint=folder / "state.safetensors",
            checkpoint_every=2,
            log=folder / "log.jsonl",
        )
        try:
            train(network, source, run, team=team)
        except MolexaError as error:
            sys.stderr.write(f"molexa: {error}\n")
            return error.exit_code
        weights = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(weights, folder / f"weights-{team.rank}.safetensors")
    return 0


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stderr.flush()
    os._exit(code)
