"""Train a network: `molexa train`.

The folder of a training holds `settings.json`, `log.jsonl` (one line per report), the same for
TensorBoard, `checkpoint.safetensors` and, at the end, the weights with their card.
"""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch

from molexa_core.base.errors import (
    InputFileError,
    UsageError,
    WeightsError,
    listing,
)
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.known_explosion import Kind
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Explosion, parse_settings
from molexa_core.base.storage.bounded import MisfitError, Within, fitting
from molexa_core.base.storage.checksums import sealed, unsealed
from molexa_core.base.storage.event_file import NAME as EVENTS
from molexa_core.base.storage.files import UNWRITABLE, atomic_path, make_folder
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.outputs import FileKind
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import CHOICES, KINDS, NAMES
from molexa_core.network.config import Preset
from molexa_core.network.inference.familiarity import ranges_of
from molexa_core.network.network import Network
from molexa_core.network.training.checkpoint import LAST_STEP
from molexa_core.network.training.loop import BatchSource, TrainingRun, train
from molexa_core.network.training.rehearsal import FIRST_STEPS, steps_within
from molexa_core.network.training.team import Team, team_of
from molexa_core.network.weights import (
    ModelCard,
    load_network,
    read_card,
    save_weights,
    told_copy,
)
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.pipeline.datasets.data_set_name import data_set_name
from molexa_core.pipeline.datasets.measurement_split import RULE, SHARE, measured_molecules
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.output_guard import (
    Output,
    data_set_inputs,
    require_outputs,
    settings_inputs,
)
from molexa_core.pipeline.training.stage1 import PredictionPool, StageOneSource
from molexa_core.pipeline.training.stage2 import (
    StageTwoData,
    StageTwoSource,
    batch_of,
    simulated_rows,
)
from molexa_core.pipeline.training.told_stream import (
    MOST_VISITS,
    StreamRecipe,
    ToldSource,
    held_out_stream,
)
from molexa_core.pipeline.training.training_plan import TrainingPlan, stage_one_data, training_plan
from molexa_core.pipeline.training.validation import validate

__all__ = ["TrainingPlan", "stage_one_data", "train_in_folder", "training_plan"]

MOST_WORKERS: Final = 14
"""Processes beside each process of a training on GPUs."""
LARGEST_SETTINGS: Final = 2**20
"""Largest size of `settings.json`, bytes."""
RANGE_MOLECULES: Final = 20_000
"""Number of simulated molecules from which the ranges in a model card are measured."""
RANGE_SEED: Final = 50_260_000
"""Their seed."""
VALIDATION_SEED: Final = 20_260_000
"""Seed of the validation molecules, far above the seeds of trainings."""


def train_in_folder(
    plan: TrainingPlan, folder: Path, *, name: str, resume: bool, progress: Progress = SILENT
) -> tuple[ModelCard | None, dict[str, dict[str, float | None]]]:
    """Train in a folder; returns the card (None if the time was over first) and the validation.

    With torchrun every process calls this function; the leading one writes the files and returns
    the card, the others return None.

    Args:
        plan: plan of the training.
        folder: created if it does not exist.
        name: name of the resulting weights.
        resume: continue from the checkpoint in the folder.
        progress: display of the progress.

    Raises:
        UsageError: the folder holds a training without `resume`, or one of another duration; the
            device does not exist; or the batch cannot be divided among the processes.
        InputFileError: the data set cannot be read or does not suit this network.
        WeightsError: the initial weights are damaged or of another network.
        ComputationError: the loss is no longer a number, or another process has ended.
        OutputError: the folder cannot be written.
    """
    checkpoint = folder / "checkpoint.safetensors"
    _require_files(plan, folder, name, resume=resume)
    with ExitStack() as on_exit, team_of(take_device(plan.device)) as (team, device):
        plan = replace(plan, device=device)
        # All processes check the folder before the leading one writes to it.
        if team.agree(checkpoint.exists() and not resume, torch.device(device)):
            raise UsageError(
                "this folder holds a training already",
                where=folder,
                do="Go on with `resume=True`, or name another folder.",
            )
        if not team.leads:
            progress = SILENT
        network = _network(plan)
        source = _source(plan, network, team, progress)
        on_exit.callback(_close, source)
        run = TrainingRun(
            settings=plan.preset.training,
            steps=plan.steps,
            seed=plan.seed,
            part="uncertainty" if plan.stage == "uncertainty" else "all",
            checkpoint=checkpoint,
            log=folder / "log.jsonl",
            checkpoint_every_s=plan.checkpoint_every_s,
            stop_after_s=plan.stop_after_s,
            compile=device.startswith("cuda"),
        )
        if plan.seconds is not None:
            plan, run = _timed(plan, run, folder, network, source, team, resume, progress)
        run = replace(run, report_every=max(1, min(100, plan.steps // 10)))
        if team.leads:
            _prepare(plan, folder)
        began = time.monotonic()
        done = train(network, source, run, team=team, progress=progress)
        if done < plan.steps:
            progress.say(f"stopped at step {done} of {plan.steps}; go on with `resume=True`")
            return None, {}
        if not team.leads:
            return None, {}
        seconds = time.monotonic() - began
        spent = run.reports[-1]["device_s"] if run.reports else None
        return _finish(plan, network, folder, name, team, (seconds, spent), progress)


def _require_files(plan: TrainingPlan, folder: Path, name: str, *, resume: bool) -> None:
    """Check that the files of the training do not replace others in the folder."""
    files: list[Output] = [
        (folder / "log.jsonl", FileKind.TRAINING_LOG),
        (folder / EVENTS, FileKind.TRAINING_EVENTS),
        (folder / f"{name}.json", FileKind.CARD),
        *((path, FileKind.WEIGHTS) for path in folder.glob(f"{name}-*of*.safetensors")),
    ]
    read = [*settings_inputs(weights=plan.weights), *settings_inputs(weights=plan.init)]
    read += data_set_inputs(plan.data)
    if not resume:  # otherwise damage is reported when the files are read
        files.append((folder / "settings.json", FileKind.TRAINING))
        files.append((folder / "checkpoint.safetensors", FileKind.CHECKPOINT))
    require_outputs(*files, inputs=read, folder=folder)


def _timed(
    plan: TrainingPlan,
    run: TrainingRun,
    folder: Path,
    network: Network,
    source: BatchSource,
    team: Team,
    resume: bool,
    progress: Progress,
) -> tuple[TrainingPlan, TrainingRun]:
    """Plan and run with the number of steps of a training of given duration.

    The number is measured once, by the leading process; a resumed training takes it from its
    settings.
    """
    seconds = plan.seconds or 0.0
    known = _planned_before(folder / "settings.json", seconds) if resume else 0
    shared = torch.tensor(known, device=plan.device)
    team.send_from_leader([shared])
    steps = int(shared)
    if steps == 0:
        first = FIRST_STEPS if run.compile else 2
        steps = steps_within(
            network, source, run, seconds, team=team, progress=progress, first_steps=first
        )
        run = replace(run, compile=False)  # already compiled
        progress.say(f"{steps} steps take {seconds:g} s")
    return replace(plan, steps=steps), replace(run, steps=steps)


def _planned_before(settings: Path, seconds: float) -> int:
    """Number of steps in the settings of an earlier start of this training; 0 if there are none."""
    if not settings.exists():
        return 0
    what, do = "the settings of a training", "Start in another folder."
    before, _ = unsealed(
        read_json(settings, largest=LARGEST_SETTINGS, what=what, do=do), where=settings
    )
    try:
        planned = fitting(Annotated[float, Within(0, 1e9)] | None, before.get("seconds"), "seconds")
        steps: int = fitting(Annotated[int, Within(0, LAST_STEP)], before.get("steps"), "steps")
    except MisfitError as error:
        raise InputFileError(f"not {what}: {error}", where=settings, do=do) from error
    if planned != seconds:
        told = f"{steps} steps" if planned is None else f"{planned:g} s"
        raise UsageError(
            f"this training was planned for {told}, not for {seconds:g} s",
            where=settings,
            do="Go on with what it was planned for, or name another folder.",
        )
    return steps


def _prepare(plan: TrainingPlan, folder: Path) -> None:
    make_folder(folder)
    plain = sealed(json.loads(json.dumps(plan.to_dict(), default=str)))
    with atomic_path(folder / "settings.json") as temporary:
        temporary.write_text(
            json.dumps(plain, indent=2) + "\n", encoding="utf-8", errors=UNWRITABLE
        )


def _finish(
    plan: TrainingPlan,
    network: Network,
    folder: Path,
    name: str,
    team: Team,
    seconds: tuple[float, float | None],
    progress: Progress,
) -> tuple[ModelCard, dict[str, dict[str, float | None]]]:
    """Validate the finished network and write its weights.

    `seconds`: duration of the last part of the training, and device seconds of all parts.
    """
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
        named = data_set_name(plan.data)
        data = {"kind": f"stage {plan.stage}, data set", "seed": plan.seed, **named}
        data |= {"split_by": plan.split_by, "simulated": plan.simulated}
        taught = f"trained on the data set {named['data_set']}"
    if plan.stream is not None:
        data, taught = _told_data(plan, plan.stream)
    elif plan.data is None or plan.simulated > 0:
        data |= asdict(simulated)
    before = _earlier(plan)
    known = before["data"].get("ranges") if before and plan.stage == "uncertainty" else None
    data["ranges"] = known or training_ranges(plan, min(RANGE_MOLECULES, plan.validation))
    card = save_weights(
        folder,
        name,
        network,
        data=data,
        training={
            **asdict(recipe),
            "preset": plan.preset.name,
            "stage": plan.stage,
            "steps": plan.steps,
            "molecules": plan.steps * recipe.batch,
            "processes": team.size,
            "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or "cpu",
            "planned_s": plan.seconds,
            "last_slice_s": round(seconds[0], 1),
            "device_s": seconds[1],
            "before": before,
            "pool": plan.pool if plan.stage == "uncertainty" else None,
        },
        metrics={"validation": metrics, "validation_seed": VALIDATION_SEED},
        limits=_limits(network, data["ranges"], taught),
    )
    return card, metrics


def _told_data(plan: TrainingPlan, stream: StreamRecipe) -> tuple[dict[str, Any], str]:
    """What the weights were taught of explosions, for their card, and in words."""
    kind = "classical explosions" if stream.pairs is None else "X-ray and classical explosions"
    stage = "1" if stream.pairs is None else "2"
    elements = plan.preset.network.elements
    known = stream.pairs or stream.classical
    share = SHARE if known is None else known.share
    data: dict[str, Any] = {
        "kind": f"stage {stage}, stream of {kind}",
        "seed": plan.seed,
        "stream": json.loads(json.dumps(asdict(stream))),
        "told": {"kinds": list(KINDS), "numbers": list(NAMES), "switches": list(CHOICES)},
        "held_out": {
            "rule": RULE,
            "share": share,
            "molecules": sorted(measured_molecules(elements, share)),
        },
    }
    words = [f"told the experiment; trained on a stream of {kind}"]
    if stream.pairs is not None:
        box = stream.pairs.box
        ends = stream.photon_ev[0], stream.photon_ev[-1]
        words.append(
            f"X-ray pulses of {ends[0]:g} to {ends[1]:g} eV, {box.fluence_um2[0]:.2g} to "
            f"{box.fluence_um2[1]:.2g} photons/um2, {box.duration_fs[0]:g} to "
            f"{box.duration_fs[1]:g} fs"
        )
    words.append(f"{len(data['held_out']['molecules'])} molecules held out")
    return data, "; ".join(words)


def _limits(network: Network, ranges: dict[str, dict[str, list[float]]], taught: str) -> str:
    """The limits of the weights, in a sentence."""
    sizes = sorted(int(atoms) for atoms in ranges)
    charge = max(row["charge"][1] for row in ranges.values())
    return (
        f"{sizes[0]} to {sizes[-1]} atomic ions of {', '.join(network.settings.elements)}, "
        f"charges 1 to {charge:g}; {taught}"
    )


def training_ranges(
    plan: TrainingPlan, molecules: int = RANGE_MOLECULES
) -> dict[str, dict[str, list[float]]]:
    """Ranges of quantities of the training molecules for the card (`familiarity.ranges_of`).

    Args:
        plan: plan of the training; of a data set the training split is used, and in addition
            simulated molecules if the plan has any.
        molecules: number of simulated molecules to draw.
    """
    batches = []
    if plan.stream is not None:
        few = replace(plan.stream, pair_blocks=min(24, plan.stream.pair_blocks), classical_blocks=8)
        told = ToldSource(few, 1024, plan.device, RANGE_SEED)
        steps = max(1, min(molecules // 1024, few.pair_every))
        batches = [told(step).to("cpu") for step in range(steps)]
    elif plan.data is not None and plan.stage == "2":
        table = read_dataset(plan.data, "train", by=plan.split_by)
        batches.append(
            batch_of(table, replace(plan.preset.network, told=False), "cpu", f"{plan.data} (train)")
        )
    if plan.stream is None and (plan.stage != "2" or plan.simulated > 0):
        # In pieces that fit into the cache of a processor.
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
    """Data, training and metrics of the initial weights of this training."""
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
    """Molecules outside the training: the validation split of a data set, or random ones.

    Of a stream, the molecules that are held out, in pulses as in the training.
    """
    if plan.stream is not None:
        size = min(plan.validation, 1024)
        held = held_out_stream(plan.stream)
        told = ToldSource(held, size, plan.device, VALIDATION_SEED)
        return [told(step) for step in range(max(1, plan.validation // size))]
    if plan.stage == "2" and plan.data is not None:
        table = read_dataset(plan.data, "validation", by=plan.split_by)
        where = f"{plan.data} (validation)"
        told_set = _exploded_as(plan.data)
        entries = batch_of(table, plan.preset.network, plan.device, where, told=told_set)
        # The files are ordered by molecule, so the first entries would be a biased choice.
        order = torch.randperm(len(entries), generator=torch.Generator().manual_seed(0))
        chosen = order[: plan.validation].to(entries.numbers.device)
        return [entries.picked(part) for part in torch.split(chosen, 2048)]
    size = min(plan.validation, 2048)
    data = replace(stage_one_data(plan), block=1, uniform_atoms=False)
    source = StageOneSource(data, size, plan.device, VALIDATION_SEED)
    return [source(step) for step in range(max(1, plan.validation // size))]


def _source(plan: TrainingPlan, network: Network, team: Team, progress: Progress) -> BatchSource:
    """The source of this process's share of every batch."""
    batch = plan.preset.training.batch
    if plan.stream is not None:
        told = ToldSource(
            plan.stream,
            team.share(batch),
            plan.device,
            plan.seed,
            team=team,
            workers=_workers(plan, team),
            progress=progress,
        )
        if plan.stream.pairs is not None and not plan.device.startswith("cuda"):
            progress.warn(
                "X-ray explosions for this training take days without a GPU; `stage='1'` is made "
                "of classical ones alone"
            )
        visits = plan.stream.visits(team.share(batch))
        if visits > MOST_VISITS:
            progress.warn(
                f"a pair of geometry and pulse is seen {visits:.0f} times: the network will be too "
                "sure of its answers; use smaller batches or more GPUs"
            )
        if plan.stage != "uncertainty":
            return told
        pool = PredictionPool(network, told, max(1, plan.pool // batch), plan.seed)
        told.close()
        return pool
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


def _workers(plan: TrainingPlan, team: Team) -> int:
    """Processes beside each process of a training that prepare its explosions."""
    if not plan.device.startswith("cuda"):
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if team.size > 1 else 1
    return max(1, min(MOST_WORKERS, available_cores() // here - 2))


def _close(source: BatchSource) -> None:
    if isinstance(source, ToldSource):
        source.close()


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
    where, told = f"{folder} ({split})", _exploded_as(folder)
    entries = batch_of(table, plan.preset.network, plan.device, where, told=told)
    data = StageTwoData(
        folder=folder,
        by=plan.split_by,
        entries=len(entries),
        simulated=plan.simulated,
        # A batch of both kinds is padded to the larger molecules.
        uniform_atoms=recipe.uniform_atoms and plan.simulated == 0.0,
    )
    simulated = None
    if plan.simulated > 0:
        rows = simulated_rows(team.share(recipe.batch), data)
        mixed = replace(plan, preset=_mixing(plan.preset))
        simulated = _stage_one(mixed, team, rows) if rows else None
    return StageTwoSource(entries, data, recipe.batch, plan.seed, team=team, simulated=simulated)


def _exploded_as(folder: str) -> Kind | None:
    """What is known of the explosions of a data set: its pulse and physics, from its recipe."""
    block = data_set_name(folder).get(EXPLOSION)
    return parse_settings(Explosion, block, where=folder).told if block else None


def _mixing(chosen: Preset) -> Preset:
    return replace(chosen, training=replace(chosen.training, uniform_atoms=False))


def _network(plan: TrainingPlan) -> Network:
    torch.manual_seed(plan.seed)
    start = plan.weights if plan.stage == "uncertainty" else plan.init
    if start is None:
        return Network(plan.preset.network).to(plan.device)
    network, card = load_network(start, plan.device)
    if plan.preset.network.told and not card.network.told:
        return told_copy(network, plan.preset.network)
    if card.network != plan.preset.network:
        wanted, found = asdict(plan.preset.network), asdict(card.network)
        different = [key for key, value in wanted.items() if found[key] != value]
        raise WeightsError(
            f"the weights are of another network ({listing(different)} differ)",
            where=start,
            do=f"Choose weights of the preset {plan.preset.name}, or another `preset_name=`.",
        )
    return network
