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
from typing import Any, Literal, cast

import numpy as np
import torch

from molexa_core.base.errors import OutputError, UsageError, WeightsError, listing
from molexa_core.base.files import atomic_path
from molexa_core.base.progress import SILENT, Progress
from molexa_core.io.dataset import read_dataset
from molexa_core.model.batch import Batch
from molexa_core.model.config import Preset, preset
from molexa_core.model.familiarity import ranges_of
from molexa_core.model.network import Network
from molexa_core.model.team import Team, team_of
from molexa_core.model.training import BatchSource, TrainingRun, train
from molexa_core.model.weights import ModelCard, load_network, read_card, save_weights
from molexa_core.pipeline.stage1 import PredictionPool, StageOneData, StageOneSource
from molexa_core.pipeline.stage2 import StageTwoData, StageTwoSource, batch_of, simulated_rows
from molexa_core.pipeline.validation import validate

UNCERTAINTY_BATCH = 256
"""Molecules per step of the uncertainty stage, unless asked for otherwise."""
RANGE_MOLECULES = 20_000
"""Simulated molecules from which the ranges in a model card are measured."""
RANGE_SEED = 50_260_000
"""Their seed."""
VALIDATION_SEED = 20_260_000
"""Seed of the validation molecules; training seeds are far below."""


Stage = Literal["1", "2", "uncertainty"]


@dataclass(frozen=True)
class TrainingPlan:
    """What `molexa train` was asked for.

    Attributes:
        preset: network and recipe.
        stage: `1` trains on simulated classical explosions; `2` on a data set; `uncertainty`
            trains the uncertainty module of finished weights, with the rest frozen.
        steps: number of steps.
        seed: of weights, molecules and noise.
        largest: most atoms per molecule.
        weights: finished weights that `uncertainty` starts from.
        init: finished weights that stage 1 or 2 starts from; a new network where not given.
        data: folder of the data set of stage 2. With `uncertainty`, its validation split is
            what that module is trained on, as published; stage-1 molecules where not given.
        split_by: `entry` or `molecule`: how the data set is split.
        simulated: share of stage-1 molecules in stage 2.
        device: `cpu` or `cuda`.
        stop_after_s: stop with a checkpoint after this many seconds; resume later.
        validation: molecules of the validation at the end.
        pool: molecules whose prediction `uncertainty` trains on, again and again.
    """

    preset: Preset
    stage: Stage
    steps: int
    seed: int = 0
    largest: int = 9
    weights: str | None = None
    init: str | None = None
    data: str | None = None
    split_by: str = "entry"
    simulated: float = 0.0
    device: str = "cpu"
    stop_after_s: float | None = None
    validation: int = 16384
    pool: int = 65536

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON and for `--dry-run`."""
        return {**asdict(self), "stage_1_molecules": asdict(stage_one_data(self))}


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
        UsageError: unknown preset or stage, `uncertainty` without weights, stage 2 without data.
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
    if stage not in ("1", "2", "uncertainty"):
        raise UsageError(f"no training stage {stage!r}", do="Choose 1, 2 or uncertainty.")
    if stage == "2" and not others.get("data"):
        raise UsageError("stage 2 needs a data set", do="Name its folder with --data.")
    if stage == "1" and others.get("data"):
        raise UsageError("stage 1 simulates its molecules", do="Leave out --data, or --stage 2.")
    if stage == "uncertainty" and not others.get("weights"):
        raise UsageError(
            "the uncertainty stage needs finished weights", do="Name them with --weights."
        )
    return TrainingPlan(preset=chosen, stage=cast("Stage", stage), steps=steps, **others)


def stage_one_data(plan: TrainingPlan) -> StageOneData:
    """The molecules that a plan trains on."""
    return StageOneData(largest=plan.largest, uniform_atoms=plan.preset.training.uniform_atoms)


def train_in_folder(
    plan: TrainingPlan, folder: Path, *, name: str, resume: bool, progress: Progress = SILENT
) -> tuple[ModelCard | None, dict[str, Any]]:
    """Train in a folder; returns the card, None if time ran out first, and the validation.

    Started by torchrun, every process calls this; the leading one writes the files and returns
    the card, the others return None.

    Args:
        plan: what to do.
        folder: created if it does not exist.
        name: of the weights that come out.
        resume: go on from the checkpoint in the folder.
        progress: where to show it.

    Raises:
        UsageError: the folder holds a training and `resume` was not asked for, the device is
            not there, or the batch does not divide by the number of processes.
        InputFileError: the data set cannot be read or is not for this network.
        WeightsError: the weights to start from are damaged or of another network.
        ComputationError: the loss is no longer a number, or another process has ended.
        OutputError: the folder cannot be written.
    """
    checkpoint = folder / "checkpoint.safetensors"
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device found", do="Train with --device cpu.")
    with team_of(plan.device) as (team, device):
        plan = replace(plan, device=device)
        # All processes look before the leading one writes there.
        if team.agree(checkpoint.exists() and not resume, torch.device(device)):
            raise UsageError(
                "this folder holds a training already",
                where=folder,
                do="Go on with --resume, or name another folder.",
            )
        if team.leads:
            _prepare(plan, folder)
        else:
            progress = SILENT
        network = _network(plan)
        source = _source(plan, network, team, progress)
        run = TrainingRun(
            settings=plan.preset.training,
            steps=plan.steps,
            seed=plan.seed,
            part="uncertainty" if plan.stage == "uncertainty" else "all",
            checkpoint=checkpoint,
            log=folder / "log.jsonl",
            report_every=max(1, min(100, plan.steps // 10)),
            stop_after_s=plan.stop_after_s,
            compile=device.startswith("cuda"),
        )
        began = time.monotonic()
        done = train(network, source, run, team=team, progress=progress)
        if done < plan.steps:
            progress.say(f"stopped at step {done} of {plan.steps}; go on with --resume")
            return None, {}
        if not team.leads:
            return None, {}
        return _finish(plan, network, folder, name, team, time.monotonic() - began, progress)


def _prepare(plan: TrainingPlan, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the folder: {error.strerror}", where=folder) from error
    with atomic_path(folder / "settings.json") as temporary:
        temporary.write_text(json.dumps(plan.to_dict(), indent=2, default=str) + "\n")


def _finish(
    plan: TrainingPlan,
    network: Network,
    folder: Path,
    name: str,
    team: Team,
    seconds: float,
    progress: Progress,
) -> tuple[ModelCard, dict[str, Any]]:
    """Validate the finished network and write its weights."""
    batches = validation_batches(plan)
    metrics = validate(network, batches, seed=VALIDATION_SEED, progress=progress)
    recipe, simulated = plan.preset.training, stage_one_data(plan)
    on_gpu = plan.device.startswith("cuda")
    data: dict[str, Any] = {"kind": "stage 1, classical explosion", "seed": plan.seed}
    taught = (
        "trained on the classical point-charge model with one common charge build-up "
        f"(tau {simulated.tau_fs:g} fs)"
    )
    if plan.data is not None:
        data = {"kind": f"stage {plan.stage}, data set", "seed": plan.seed, "folder": plan.data}
        data |= {"split_by": plan.split_by, "simulated": plan.simulated}
        taught = f"trained on the data set {plan.data}"
    before = _earlier(plan)
    known = before["data"].get("ranges") if before and plan.stage == "uncertainty" else None
    data["ranges"] = known or training_ranges(plan, min(RANGE_MOLECULES, plan.validation))
    card = save_weights(
        folder,
        name,
        network,
        data={**data, **asdict(simulated)},
        training={
            **asdict(recipe),
            "preset": plan.preset.name,
            "stage": plan.stage,
            "steps": plan.steps,
            "molecules": plan.steps * recipe.batch,
            "processes": team.size,
            "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
            "last_slice_s": round(seconds, 1),
            "before": before,
            "pool": plan.pool if plan.stage == "uncertainty" else None,
        },
        metrics={"validation": metrics, "validation_seed": VALIDATION_SEED},
        limits=(
            f"2 to {plan.largest} atomic ions of {', '.join(network.settings.elements)}, charges "
            f"1 to {network.settings.max_charge}; {taught}"
        ),
    )
    return card, metrics


def training_ranges(
    plan: TrainingPlan, molecules: int = RANGE_MOLECULES
) -> dict[str, dict[str, list[float]]]:
    """What the molecules of a training are like, for its card (`familiarity.ranges_of`).

    Args:
        plan: of the training; of a data set the training split counts, and simulated molecules
            beside it if there are any.
        molecules: simulated ones to draw.
    """
    batches = []
    if plan.data is not None and plan.stage == "2":
        table = read_dataset(plan.data, "train", by=plan.split_by)
        batches.append(batch_of(table, plan.preset.network, "cpu", f"{plan.data} (train)"))
    if plan.stage != "2" or plan.simulated > 0:
        # In pieces that stay in the cache of a processor.
        size = min(molecules, 500)
        data = replace(stage_one_data(plan), block=1, uniform_atoms=False)
        source = StageOneSource(data, size, plan.device, RANGE_SEED)
        batches += [source(step).to("cpu") for step in range(molecules // size)]
    by_size: dict[int, list[tuple[np.ndarray, ...]]] = {}
    for batch in batches:
        columns = [one.double().numpy() for one in (batch.charges, batch.masses, batch.momenta)]
        present = batch.present[..., 0].numpy() > 0
        for size in np.unique(present.sum(1)):
            rows = present.sum(1) == size
            by_size.setdefault(int(size), []).append(tuple(one[rows, :size] for one in columns))
    joined = [[np.concatenate(one) for one in zip(*by_size[n], strict=True)] for n in by_size]
    return ranges_of([(charges, masses, momenta) for charges, masses, momenta in joined])


def _earlier(plan: TrainingPlan) -> dict[str, Any] | None:
    """Data, training and metrics of the weights that this training started from."""
    start = plan.weights or plan.init
    if start is None:
        return None
    card, _ = read_card(start)
    return {
        "name": card.name,
        "data": card.data,
        "training": card.training,
        "metrics": card.metrics,
    }


def validation_batches(plan: TrainingPlan) -> list[Batch]:
    """Molecules that no training has seen: the validation split of a data set, or new ones."""
    if plan.stage == "2" and plan.data is not None:
        table = read_dataset(plan.data, "validation", by=plan.split_by)
        where = f"{plan.data} (validation)"
        entries = batch_of(table, plan.preset.network, plan.device, where)
        # The files go by molecule, so the first entries would be a biased choice.
        order = torch.randperm(len(entries), generator=torch.Generator().manual_seed(0))
        chosen = order[: plan.validation].to(entries.numbers.device)
        return [entries.picked(part) for part in torch.split(chosen, 2048)]
    size = min(plan.validation, 2048)
    data = replace(stage_one_data(plan), block=1, uniform_atoms=False)
    source = StageOneSource(data, size, plan.device, VALIDATION_SEED)
    return [source(step) for step in range(max(1, plan.validation // size))]


def _source(plan: TrainingPlan, network: Network, team: Team, progress: Progress) -> BatchSource:
    """Where this process gets its share of every batch."""
    batch = plan.preset.training.batch
    if plan.stage == "2":
        return _stage_two(plan, team, plan.data or "", "train")
    if plan.stage == "1":
        return _stage_one(plan, team, team.share(batch))
    batches = max(1, plan.pool // batch)
    source: BatchSource
    if plan.data is None:
        source = _stage_one(plan, team, team.share(batch))
    else:
        source = _stage_two(replace(plan, simulated=0.0), team, plan.data, "validation")
    return PredictionPool(network, source, batches, plan.seed, progress=progress)


def _stage_one(plan: TrainingPlan, team: Team, batch: int) -> StageOneSource:
    return StageOneSource(
        stage_one_data(plan),
        batch,
        plan.device,
        team.seed(plan.seed),
        compiled=plan.device.startswith("cuda"),
        sizes_seed=plan.seed,
    )


def _stage_two(plan: TrainingPlan, team: Team, folder: str, split: str) -> StageTwoSource:
    recipe = plan.preset.training
    table = read_dataset(folder, split, by=plan.split_by)
    entries = batch_of(table, plan.preset.network, plan.device, f"{folder} ({split})")
    data = StageTwoData(
        folder=folder,
        by=plan.split_by,
        entries=len(entries),
        simulated=plan.simulated,
        # A mixed batch is padded to the larger molecules of the two kinds.
        uniform_atoms=recipe.uniform_atoms and plan.simulated == 0.0,
    )
    simulated = None
    if plan.simulated > 0:
        rows = simulated_rows(team.share(recipe.batch), data)
        mixed = replace(plan, preset=_mixing(plan.preset))
        simulated = _stage_one(mixed, team, rows) if rows else None
    return StageTwoSource(entries, data, recipe.batch, plan.seed, team=team, simulated=simulated)


def _mixing(chosen: Preset) -> Preset:
    return replace(chosen, training=replace(chosen.training, uniform_atoms=False))


def _network(plan: TrainingPlan) -> Network:
    torch.manual_seed(plan.seed)
    start = plan.weights if plan.stage == "uncertainty" else plan.init
    if start is None:
        return Network(plan.preset.network).to(plan.device)
    network, card = load_network(start, plan.device)
    if card.network != plan.preset.network:
        wanted, found = asdict(plan.preset.network), asdict(card.network)
        different = [key for key, value in wanted.items() if found[key] != value]
        raise WeightsError(
            f"the weights are of another network ({listing(different)} differ)",
            where=start,
            do=f"Choose weights of the preset {plan.preset.name}, or another --preset.",
        )
    return network
