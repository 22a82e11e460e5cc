"""Training a network: `molexa train`.

A training lives in a folder: `settings.json`, `log.jsonl` (one line per report),
`checkpoint.safetensors` and, at the end, the weights with their card.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from molexa_core.base.errors import OutputError, UsageError
from molexa_core.base.files import atomic_path
from molexa_core.base.progress import SILENT, Progress
from molexa_core.model.batch import Batch
from molexa_core.model.config import Preset, preset
from molexa_core.model.network import Network
from molexa_core.model.training import BatchSource, TrainingRun, train
from molexa_core.model.weights import ModelCard, load_network, read_card, save_weights
from molexa_core.pipeline.stage1 import PredictionPool, StageOneData, StageOneSource
from molexa_core.pipeline.validation import validate

UNCERTAINTY_BATCH = 256
"""Molecules per step of the uncertainty stage, unless asked for otherwise."""
VALIDATION_SEED = 20_260_000
"""Seed of the validation molecules; training seeds are far below."""


@dataclass(frozen=True)
class TrainingPlan:
    """What `molexa train` was asked for.

    Attributes:
        preset: network and recipe.
        stage: `1` trains on simulated classical explosions; `uncertainty` trains the uncertainty
            module of finished weights, with the rest frozen.
        steps: number of steps.
        seed: of weights, molecules and noise.
        largest: most atoms per molecule.
        weights: finished weights that `uncertainty` starts from.
        device: `cpu` or `cuda`.
        stop_after_s: stop with a checkpoint after this many seconds; resume later.
        validation: molecules of the validation at the end.
        pool: molecules whose prediction `uncertainty` trains on, again and again.
    """

    preset: Preset
    stage: Literal["1", "uncertainty"]
    steps: int
    seed: int = 0
    largest: int = 9
    weights: str | None = None
    device: str = "cpu"
    stop_after_s: float | None = None
    validation: int = 16384
    pool: int = 65536

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for `--dry-run`."""
        return {**asdict(self), "data": asdict(stage_one_data(self))}


def training_plan(
    preset_name: str,
    stage: str,
    steps: int,
    *,
    batch: int | None = None,
    draws: int | None = None,
    learning_rate: float | None = None,
    **others: Any,
) -> TrainingPlan:
    """A plan from a preset, with parts of the recipe replaced.

    Raises:
        UsageError: unknown preset or stage, or `uncertainty` without weights.
    """
    chosen = preset(preset_name)
    recipe = chosen.training
    recipe = replace(
        recipe,
        batch=batch or recipe.batch,
        draws=draws or recipe.draws,
        learning_rate=learning_rate or recipe.learning_rate,
    )
    if stage == "uncertainty":
        recipe = replace(
            recipe,
            batch=batch or UNCERTAINTY_BATCH,
            uniform_atoms=True,
            uncertainty_share=1.0,
            warm_up=min(recipe.warm_up, 50),
        )
    chosen = replace(chosen, training=recipe)
    if stage not in ("1", "uncertainty"):
        raise UsageError(f"no training stage {stage!r}", do="Choose 1 or uncertainty.")
    if stage == "uncertainty" and not others.get("weights"):
        raise UsageError(
            "the uncertainty stage needs finished weights", do="Name them with --weights."
        )
    return TrainingPlan(
        preset=chosen, stage="1" if stage == "1" else "uncertainty", steps=steps, **others
    )


def stage_one_data(plan: TrainingPlan) -> StageOneData:
    """The molecules that a plan trains on."""
    return StageOneData(largest=plan.largest, uniform_atoms=plan.preset.training.uniform_atoms)


def train_in_folder(
    plan: TrainingPlan, folder: Path, *, name: str, resume: bool, progress: Progress = SILENT
) -> tuple[ModelCard | None, dict[str, Any]]:
    """Train in a folder; returns the card, None if time ran out first, and the validation.

    Args:
        plan: what to do.
        folder: created if it does not exist.
        name: of the weights that come out.
        resume: go on from the checkpoint in the folder.
        progress: where to show it.

    Raises:
        UsageError: the folder holds a training and `resume` was not asked for, or the device is
            not there.
        ComputationError: the loss is no longer a number.
        OutputError: the folder cannot be written.
    """
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.exists() and not resume:
        raise UsageError(
            "this folder holds a training already",
            where=folder,
            do="Go on with --resume, or name another folder.",
        )
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device found", do="Train with --device cpu.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder: {error.strerror}", where=folder) from error
    with atomic_path(folder / "settings.json") as temporary:
        temporary.write_text(json.dumps(plan.to_dict(), indent=2, default=str) + "\n")
    network = _network(plan)
    data = stage_one_data(plan)
    on_gpu = plan.device == "cuda"
    recipe = plan.preset.training
    source: BatchSource = _source(plan, network, progress)
    run = TrainingRun(
        settings=recipe,
        steps=plan.steps,
        seed=plan.seed,
        part="all" if plan.stage == "1" else "uncertainty",
        checkpoint=checkpoint,
        log=folder / "log.jsonl",
        report_every=max(1, min(100, plan.steps // 10)),
        stop_after_s=plan.stop_after_s,
        compile=on_gpu,
    )
    began = time.monotonic()
    done = train(network, source, run, progress=progress)
    if done < plan.steps:
        progress.say(f"stopped at step {done} of {plan.steps}; go on with --resume")
        return None, {}
    batches = validation_batches(plan)
    metrics = validate(network, batches, seed=VALIDATION_SEED, progress=progress)
    card = save_weights(
        folder,
        name,
        network,
        data={"kind": "stage 1, classical explosion", "seed": plan.seed, **asdict(data)},
        training={
            **asdict(recipe),
            "preset": plan.preset.name,
            "stage": plan.stage,
            "steps": done,
            "molecules": done * recipe.batch,
            "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
            "last_slice_s": round(time.monotonic() - began, 1),
            "before": _earlier(plan),
            "pool": plan.pool if plan.stage == "uncertainty" else None,
        },
        metrics={"validation": metrics, "validation_seed": VALIDATION_SEED},
        limits=(
            f"2 to {plan.largest} atomic ions of {', '.join(network.settings.elements)}, charges "
            f"1 to {network.settings.max_charge}; trained on the classical point-charge model "
            f"with one common charge build-up (tau {data.tau_fs:g} fs)"
        ),
    )
    return card, metrics


def _earlier(plan: TrainingPlan) -> dict[str, Any] | None:
    """Data, training and metrics of the weights that this training started from."""
    if plan.weights is None:
        return None
    card, _ = read_card(plan.weights)
    return {
        "name": card.name,
        "data": card.data,
        "training": card.training,
        "metrics": card.metrics,
    }


def validation_batches(plan: TrainingPlan) -> list[Batch]:
    """Molecules of the training distribution that no training has seen."""
    size = min(plan.validation, 2048)
    data = replace(stage_one_data(plan), block=1, uniform_atoms=False)
    source = StageOneSource(data, size, plan.device, VALIDATION_SEED)
    return [source(step) for step in range(max(1, plan.validation // size))]


def _source(plan: TrainingPlan, network: Network, progress: Progress) -> BatchSource:
    batch = plan.preset.training.batch
    compiled = plan.device == "cuda"
    data = stage_one_data(plan)
    if plan.stage == "1":
        return StageOneSource(data, batch, plan.device, plan.seed, compiled=compiled)
    source = StageOneSource(data, batch, plan.device, plan.seed, compiled=compiled)
    batches = max(1, plan.pool // batch)
    return PredictionPool(network, source, batches, plan.seed, progress=progress)


def _network(plan: TrainingPlan) -> Network:
    torch.manual_seed(plan.seed)
    if plan.stage == "uncertainty" and plan.weights is not None:
        return load_network(plan.weights, plan.device)[0]
    return Network(plan.preset.network).to(plan.device)
