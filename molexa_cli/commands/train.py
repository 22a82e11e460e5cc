"""`molexa train`: train a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, Seed
from molexa_cli.console import progress, table, write, write_json

if TYPE_CHECKING:
    from molexa_core.network.weights import ModelCard

Weights = Annotated[
    str | None, typer.Option("--weights", help="Weights to start from (stage uncertainty).")
]
Init = Annotated[
    str | None,
    typer.Option(
        "--init",
        help="Weights to start from (stages 1, 2). Default of stage 2: those of stage 1 that ship.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Folder of a data set (stage 2; uncertainty: validation). Default of stage 2: made "
        "from a shipped recipe that suits the device.",
    ),
]
SplitBy = Annotated[
    str, typer.Option("--split-by", help="Split of the data set: entry, geometry or molecule.")
]
Simulated = Annotated[
    float,
    typer.Option("--simulated", min=0.0, max=0.99, help="Share of stage-1 molecules, stage 2."),
]
Molecules = Annotated[
    int, typer.Option("--validation", min=1, help="Molecules of the validation at the end.")
]
Pool = Annotated[
    int,
    typer.Option("--pool", min=1, help="Number of predicted molecules for the stage uncertainty."),
]

Draws = Annotated[int | None, typer.Option("--draws", min=1, help="Noise draws per molecule.")]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        min=0.0,
        help="Learning rate of the optimizer after the warm-up. Default: that of the preset.",
    ),
]
Stage = Annotated[
    str,
    typer.Option(
        "--stage",
        help="1: classical explosions; 2: a data set, or X-ray pulses (told); uncertainty: errors.",
    ),
]
Largest = Annotated[
    int | None,
    typer.Option("--largest", min=2, max=14, help="Largest number of atoms. Default: 9; told: 10."),
]
Elements = Annotated[
    str | None,
    typer.Option("--elements", help="Elements of the molecules, such as H,C,N,O,Br (told)."),
]
HeldOut = Annotated[
    float,
    typer.Option(
        "--held-out",
        min=0.0,
        max=0.9,
        help="Share of the shipped molecules that is left out, with pulses, for evaluate (told).",
    ),
]
Minutes = Annotated[
    float | None, typer.Option("--minutes", help="Stop with a checkpoint after this time.")
]
CheckpointEvery = Annotated[
    float,
    typer.Option(
        "--checkpoint-every",
        min=0.01,
        help="Longest time between two checkpoints in minutes.",
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        min=0.1,
        help="Duration instead of --steps: the time per step is measured first.",
    ),
]
Recipe = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe", help="Change a value of the recipe, NAME=VALUE (see --dry-run); repeatable."
    ),
]
Memory = Annotated[
    bool,
    typer.Option("--memory/--no-memory", help="Memory blocks or plain skip connections (paper)."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("train")(train)


def train(
    stage: Stage,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder of the training. Default: training-stage1, training-stage2 or "
            "training-errors, which goes on if it is there.",
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Number of steps.")] = None,
    seconds: Seconds = None,
    preset_name: Annotated[
        str, typer.Option("--preset", help="Network and recipe: molexa, told or paper.")
    ] = "molexa",
    name: Annotated[str | None, typer.Option("--name", help="Name of the weights.")] = None,
    weights: Weights = None,
    init: Init = None,
    data: Data = None,
    split_by: SplitBy = "entry",
    simulated: Simulated = 0.0,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Molecules per step.")] = None,
    draws: Draws = None,
    learning_rate: LearningRate = None,
    recipe: Recipe = None,
    memory: Memory = True,
    largest: Largest = None,
    elements: Elements = None,
    held_out: HeldOut = 0.28,
    minutes: Minutes = None,
    checkpoint_every: CheckpointEvery = 15.0,
    validation: Molecules = 16384,
    pool: Pool = 65536,
    device: DeviceName = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the checkpoint in the folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print all settings as JSON and exit.")
    ] = False,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on explosions that are simulated during the training, or on a data set.

    molexa train --stage 2 needs nothing else: it makes a data set, begins with the weights of
    stage 1 that ship, and goes on when it is repeated. The folder of a training has a log for
    molexa plot training and one for TensorBoard.

    Example: molexa train --stage 2
    """
    from molexa_core.base.progress import SILENT
    from molexa_core.network.training.team import leads_here
    from molexa_core.pipeline.training.default_training import default_training
    from molexa_core.pipeline.training.train import train_in_folder, training_plan

    shown = progress() if leads_here() else SILENT
    chosen = default_training(
        stage,
        preset_name,
        out,
        {
            "steps": steps,
            "seconds": seconds,
            "batch": batch,
            "learning_rate": learning_rate,
            "recipe": recipe or (),
            "init": init,
            "data": None if data is None else str(data),
            "device": device,
        },
        resume=resume,
        make_data=not dry_run,
        progress=SILENT if dry_run else shown,
    )
    plan = training_plan(
        preset_name,
        stage,
        draws=draws,
        memory=memory,
        seed=seed,
        largest=largest,
        elements=[one.strip() for one in elements.split(",")] if elements else (),
        held_out_share=held_out,
        weights=weights,
        split_by=split_by,
        simulated=simulated,
        checkpoint_every_s=60.0 * checkpoint_every,
        stop_after_s=None if minutes is None else 60.0 * minutes,
        validation=validation,
        pool=pool,
        **chosen.arguments,
    )
    if dry_run:
        write_json(plan.to_dict())
        return
    card, metrics = train_in_folder(
        plan,
        chosen.folder,
        name=name or f"{preset_name}-stage{2 if stage == '2' else 1}",
        resume=chosen.resume,
        progress=shown,
    )
    if leads_here():
        _show(card, metrics, json=json, again="" if out is None else " with --resume")


def _show(
    card: ModelCard | None,
    metrics: dict[str, dict[str, float | None]],
    *,
    json: bool,
    again: str,
) -> None:
    if json:
        write_json({"finished": card is not None, "validation": metrics})
    elif card is None:
        write(f"not finished; the same command{again} goes on")
    else:
        header = ["atoms", "molecules", "MAE mean / bohr", "MAE median / bohr", "mean DE / bohr"]
        keys = ("molecules", "mae_mean", "mae_median", "distance_error_mean")
        rows = [[size, *(row[key] for key in keys)] for size, row in metrics.items()]
        write(table(header, rows, title=f"validation of {card.name}"))
