"""What `molexa train --stage 2` means with nothing else said: folder, data set, start, length.

The training has its own folder in the working folder and goes on when the command is repeated. Its
data set is one that is there already, or is made from a shipped recipe: the published one
(`stage2`) on a GPU, a small one (`small`) on a processor. It begins with the shipped weights of
stage 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.checksums import unsealed
from molexa_core.base.storage.json_file import read_json
from molexa_core.base.storage.resources import available
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.pipeline.datasets.blocks import BlockPlan, resolve
from molexa_core.pipeline.datasets.blocks import plan as blocks_of
from molexa_core.pipeline.datasets.build import Workers, build
from molexa_core.pipeline.datasets.recipe import RECIPE_FILE
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.training.training_plan import require_stage

FOLDERS: Final = {"1": "training-stage1", "2": "training-stage2", "uncertainty": "training-errors"}
"""Folder of a training by stage, where none is named."""
RECIPES: Final = {"cuda": "stage2", "cpu": "small"}
"""Shipped recipe of the data set by device."""
STARTS: Final = {"molexa": "molexa-stage1"}
"""Shipped weights that stage 2 begins with, by preset."""
SECONDS: Final = {"cuda": 200.0, "cpu": 600.0}
"""Length of a training by device, where none is told; that on a GPU is of the shipped weights."""
CPU_BATCH: Final = 64
"""Molecules per step on a processor."""
CPU_LEARNING_RATE: Final = 1e-4
"""Learning rate there: small batches, and weights that are finished for another model."""
_CPU_WARM_UP: Final = "warm_up=10"
RATES: Final = {"cuda": 1.0e7, "cpu": 1500.0}
"""Explosions per second of a GPU, and of one processor core (a guess for the time told)."""
_LARGEST: Final = 2**20

Build = Callable[..., Any]


@dataclass(frozen=True)
class Chosen:
    """What a training is made of where it was not told.

    Attributes:
        folder: of the training.
        resume: whether it goes on.
        arguments: of `training_plan`.
    """

    folder: Path
    resume: bool
    arguments: Mapping[str, Any]


def default_training(
    stage: str,
    preset_name: str,
    folder: Path | None,
    told: Mapping[str, Any],
    *,
    resume: bool = False,
    make_data: bool = True,
    builder: Build = build,
    progress: Progress = SILENT,
) -> Chosen:
    """Complete what was told about a training.

    Args:
        stage: `1`, `2` or `uncertainty`.
        preset_name: of network and recipe.
        folder: of the training; one in the working folder, which goes on if it is there, if None.
        told: arguments of `training_plan`; those that are None are not told.
        resume: whether the training must go on.
        make_data: whether a missing data set is made.
        command: command line, for the provenance of the data set.
        builder: makes data sets.
        progress: told what is chosen, and why.

    Raises:
        UsageError: no such stage, or processes of torchrun without a data set.
        ComputationError: the data set cannot be completed.
        InputFileError: the settings of the training that goes on are damaged.
    """
    require_stage(stage)
    values = dict(told)
    at = Path(FOLDERS[stage]) if folder is None else folder
    there = (at / "checkpoint.safetensors").exists()
    before = _settings(at) if there and (resume or folder is None) else None
    goes_on = resume or before is not None
    if before is not None and not resume:
        progress.say(f"going on with the training in {at}")
    if stage != "2" or preset_name not in STARTS:
        return Chosen(at, goes_on, values)
    if before is not None:
        return Chosen(at, goes_on, _as_before(values, before))
    device = str(told.get("device") or "auto")
    kind = "cuda" if take_device(device).startswith("cuda") else "cpu"
    values = _new(values, STARTS[preset_name], kind, progress)
    if values.get("data") is None:
        data = _data_folder(kind)
        if make_data:
            _make(data, kind, device, builder, progress)
        values["data"] = str(data)
    return Chosen(at, goes_on, values)


def _as_before(values: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """What is not told, as in the settings of the training that goes on."""
    recipe = before.get("preset", {}).get("training", {})
    known = {name: before.get(name) for name in ("data", "init")}
    known |= {name: recipe.get(name) for name in ("batch", "learning_rate")}
    filled = {name: values[name] if values.get(name) is not None else known[name] for name in known}
    if not values.get("recipe") and "warm_up" in recipe:
        filled["recipe"] = [f"warm_up={recipe['warm_up']}"]
    if values.get("steps") is None and values.get("seconds") is None:
        length = "steps" if before.get("seconds") is None else "seconds"
        filled[length] = before.get(length)
    return values | filled


def _new(values: dict[str, Any], start: str, kind: str, progress: Progress) -> dict[str, Any]:
    """Start, recipe and length of a training that begins, where they are not told."""
    found = dict(values)
    if found.get("init") is None and start in available("weights", ".json"):
        found["init"] = start
        progress.say(f"starting from the shipped weights {start}")
    if kind == "cpu" and found.get("batch") is None and found.get("learning_rate") is None:
        found |= {"batch": CPU_BATCH, "learning_rate": CPU_LEARNING_RATE}
        found["recipe"] = [_CPU_WARM_UP, *(found.get("recipe") or ())]
        progress.say(
            f"no GPU: steps of {CPU_BATCH} molecules, learning rate {CPU_LEARNING_RATE:g}; "
            "weights for work are trained on a GPU"
        )
    if found.get("steps") is None and found.get("seconds") is None:
        found["seconds"] = SECONDS[kind]
        progress.say(
            f"training for {SECONDS[kind] / 60.0:.3g} minutes; `seconds=` or `steps=` changes that"
        )
    return found


def _data_folder(kind: str) -> Path:
    """The published data set if it is there whole, else that of the device."""
    published = _folder_of(RECIPES["cuda"])
    return published if _complete(published) else _folder_of(RECIPES[kind])


def _folder_of(recipe: str) -> Path:
    return Path(f"dataset-{recipe}")


def _make(folder: Path, kind: str, device: str, builder: Build, progress: Progress) -> None:
    """Make the data set in a folder, or what is missing of it."""
    if _complete(folder):
        progress.say(f"data set: {folder}, which is there")
        return
    begun = folder / RECIPE_FILE
    recipe = resolve(begun if begun.exists() else RECIPES[kind])
    blocks = blocks_of(recipe)
    workers = Workers.of_environment(device)
    if workers.world > 1:
        raise UsageError(
            "several processes need a data set that is there",
            do="Make it first with `molexa dataset build`.",
        )
    count = sum(one.trajectories for one in _missing(folder, blocks))
    rate = RATES[kind] * (1 if kind == "cuda" else available_cores())
    molecules = len({one.molecule for one in blocks})
    progress.say(
        f"making the data set {folder} from the shipped recipe {recipe.name}: "
        f"{molecules} molecules, {count:.3g} explosions, about {_duration(count / rate)}; "
        "after an interruption the same command goes on"
    )
    report = builder(recipe, folder, workers=workers, progress=progress)
    if report.failed or report.left:
        raise ComputationError(
            f"{len(report.failed) + report.left} of {report.blocks} blocks of the data set are "
            f"missing: {'; '.join(report.failed)}",
            do="Start the same command again; nothing that was made is lost.",
        )
    progress.say(f"data set: {report.entries} new entries in {folder}")


def _complete(folder: Path) -> bool:
    """Whether a data set is packed, or has the files of all its blocks."""
    if not (folder / RECIPE_FILE).exists():
        return False
    blocks = blocks_of(resolve(folder / RECIPE_FILE))
    return any(folder.glob("pack-*.h5")) or not _missing(folder, blocks)


def _missing(folder: Path, blocks: Sequence[BlockPlan]) -> list[BlockPlan]:
    return [one for one in blocks if not (folder / f"{one.name}.h5").exists()]


def _duration(seconds: float) -> str:
    if seconds < 90.0:
        return f"{max(10.0 * round(seconds / 10.0), 10.0):.0f} seconds"
    minutes = seconds / 60.0
    return f"{minutes:.0f} minutes" if minutes < 90.0 else f"{minutes / 60.0:.0f} hours"


def _settings(folder: Path) -> dict[str, Any] | None:
    """The settings of the training in a folder; None if there are none."""
    path = folder / "settings.json"
    if not path.exists():
        return None
    do = "Name another folder with `out=`."
    values, _ = unsealed(
        read_json(path, largest=_LARGEST, what="the settings of a training", do=do), where=path
    )
    return dict(values)
