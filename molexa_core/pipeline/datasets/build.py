"""Build a data set of simulated explosions: `molexa dataset build`.

A data set is a folder with `recipe.json` (the resolved recipe) and one HDF5 file per block of
geometries, written when the block is complete. After an interruption the same command continues the
build. Blocks are units of work (`block_units`), computed by this process, by others of this
machine, by Dask or by Slurm; or every process of a torchrun computes its share of them without
communication. The files do not depend on the machine. A block that fails is reported; the others
are still computed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from molexa_core.base.device import Device
from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.options.work_options import HERE, WorkOptions
from molexa_core.base.progress import SILENT, PartOf, Progress
from molexa_core.base.storage.files import atomic_path, make_folder
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.pipeline.datasets.block_units import (
    Engine,
    compute_block,
    made_here,
    results_of_blocks,
)
from molexa_core.pipeline.datasets.blocks import BlockPlan, plan
from molexa_core.pipeline.datasets.recipe import (
    RECIPE_FILE,
    Recipe,
    differences,
    read_recipe,
    write_recipe,
)
from molexa_core.pipeline.datasets.shard_file import block_digests
from molexa_core.pipeline.explosions.explode import TRAJECTORIES, explode_geometries
from molexa_core.pipeline.output_guard import Output, require_outputs
from molexa_core.pipeline.work.executor_choice import executor_of
from molexa_core.pipeline.work.executors import Executor, InThisProcess
from molexa_core.pipeline.work.folder import SUFFIX, UnitFolder
from molexa_core.pipeline.work.results import Failed

FAILURES_IN_A_ROW: Final = 5
"""A build stops after this number of consecutive failures: the blocks cannot be the reason."""


@dataclass(frozen=True)
class Workers:
    """The processes and the device of a computation.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        rank: number of this process, from 0.
        world: number of processes that share the work.
        work: other processes, Dask or Slurm, which compute in place of this one.
    """

    device: str = "auto"
    rank: int = 0
    world: int = 1
    work: WorkOptions = HERE

    @classmethod
    def of_environment(cls, device: str = "auto", work: WorkOptions = HERE) -> Workers:
        """This process as torchrun describes it: `RANK`, `WORLD_SIZE` and `LOCAL_RANK`.

        Raises:
            UsageError: the variables are not numbers or contradict each other, or Dask is requested
                inside torchrun.
        """
        texts = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        given = {name: text for name, text in texts.items() if text}
        if not given or given.get("WORLD_SIZE", "1") == "1":
            return cls(device, work=work)
        try:
            numbers = {name: int(text) for name, text in given.items()}
            rank, world = numbers["RANK"], numbers["WORLD_SIZE"]
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"RANK and WORLD_SIZE are {texts['RANK']!r} and {texts['WORLD_SIZE']!r}",
                do="Start it with torchrun, or unset them.",
            ) from error
        if not 0 <= rank < world:
            raise UsageError(f"RANK is {rank}, WORLD_SIZE is {world}", do="Start with torchrun.")
        if work.others:
            raise UsageError(f"`{work.others}=` inside torchrun", do="Use one or the other.")
        if "LOCAL_RANK" in numbers:
            device = _own_device(device, numbers["LOCAL_RANK"])
        return cls(device, rank, world)


@dataclass(frozen=True)
class BuildReport:
    """The summary of a build.

    Attributes:
        blocks: number of blocks in the data set.
        found: blocks that existed already.
        made: blocks computed by this process.
        left: blocks of the share of this process that were not begun.
        trajectories: number of explosions computed by this process.
        entries: number of entries kept by this process.
        seconds: duration of the build.
        failed: one sentence for each block of its share that failed.
        rank: number of this process, from 0.
        world: number of processes that share the work; each has its own report.
    """

    blocks: int
    found: int
    made: int
    left: int
    trajectories: int
    entries: int
    seconds: float
    failed: tuple[str, ...] = ()
    rank: int = 0
    world: int = 1


def build(
    recipe: Recipe,
    folder: Path | str,
    *,
    workers: Workers | None = None,
    engine: Engine = explode_geometries,
    minutes: float | None = None,
    progress: Progress = SILENT,
) -> BuildReport:
    """Build a data set, or continue an interrupted build.

    Args:
        recipe: the recipe of the data set.
        folder: its folder; created if it does not exist.
        workers: the processes that compute; this process alone by default.
        engine: function that explodes the geometries.
        minutes: no further block is started after this time.
        progress: display of the progress.

    Raises:
        UsageError: the folder holds a data set of another recipe.
        OutputError: a file cannot be written.
        Exception: that of the last block, if `FAILURES_IN_A_ROW` blocks failed in a row.
    """
    workers = Workers() if workers is None else workers
    folder = Path(folder)
    blocks = plan(recipe)
    _open_folder(folder, recipe, blocks)
    there = finished_blocks(folder, blocks, progress)
    mine = [block for block in blocks[workers.rank :: workers.world] if block.name not in there]
    began = time.monotonic()
    deadline = None if minutes is None else began + 60.0 * minutes
    made = trajectories = entries = in_a_row = 0
    failed: list[str] = []
    total = sum(block.trajectories for block in mine)
    label = recipe.name if workers.world == 1 else f"{recipe.name} {workers.rank}/{workers.world}"
    share = "" if workers.world == 1 else f".{workers.rank}"

    place = folder.resolve()
    units = UnitFolder(place.with_name(f"{place.name}{share}{SUFFIX}"))

    def late() -> bool:
        return deadline is not None and time.monotonic() > deadline

    with (
        progress.task(label, total, TRAJECTORIES) as task,
        units.held(progress, keep=workers.work.keep_units),
    ):
        part = PartOf(progress, task, TRAJECTORIES)
        executor = _executor(recipe, folder, workers, engine, len(mine), late, part)
        here = isinstance(executor, InThisProcess)
        found = results_of_blocks(recipe, mine, folder, engine, workers.device, units, executor)
        for block, result in found:
            if isinstance(result, Failed):
                failed.append(_failure(block, result))
                progress.say(f"{failed[-1]} The other blocks go on.")
                in_a_row += 1
                if in_a_row == FAILURES_IN_A_ROW:
                    raise result.failure.error(f"block {block.name}")
                continue
            in_a_row = 0
            made += 1
            trajectories += block.trajectories
            entries += result
            if not here:  # otherwise progress is counted during the computation
                task.advance(block.trajectories)
            task.note(f"{entries} entries")
    return BuildReport(
        blocks=len(blocks),
        found=len(there),
        made=made,
        left=len(mine) - made - len(failed),
        trajectories=trajectories,
        entries=entries,
        seconds=time.monotonic() - began,
        failed=tuple(failed),
        rank=workers.rank,
        world=workers.world,
    )


def _failure(block: BlockPlan, failed: Failed) -> str:
    """A sentence that names the failed block and the reason."""
    why = failed.failure
    told = why.what if why.trace == "" else f"{why.kind}: {why.what}"
    text = " ".join(filter(None, [f"{told.rstrip('.')}.", why.do]))
    return f"block {block.name} ({block.molecule}) failed: {text.rstrip('.')}."


def finished_blocks(folder: Path, blocks: list[BlockPlan], progress: Progress = SILENT) -> set[str]:
    """Names of the blocks that exist in the folder and agree with the plan.

    Files that are damaged or of another version are reported and computed again; files with a block
    that is not in the plan are reported.
    """
    wanted = {block.name: block.digest for block in blocks}
    there: set[str] = set()
    again, stray = [], []
    for path in sorted(folder.glob("*.h5")):
        if path.name.startswith("."):
            continue
        try:
            found = block_digests(path)
        except InputFileError as error:
            progress.say(f"{error} It is made again.")
            continue
        for name, digest in found.items():
            if name not in wanted:
                stray.append(name)
            elif wanted[name] != digest:
                again.append(name)
            else:
                there.add(name)
    if stray:
        progress.say(f"not of this recipe, left alone: {listing(stray)}")
    if again:
        progress.say(f"made by other settings or another version, made again: {listing(again)}")
    return there


def _executor(
    recipe: Recipe,
    folder: Path,
    workers: Workers,
    engine: Engine,
    blocks: int,
    late: Callable[[], bool],
    progress: Progress,
) -> Executor:
    """This process with all its threads, or those that the call asks for."""
    work = workers.work
    if work.others:
        return executor_of(work, max(1, blocks), progress, late=late)
    return InThisProcess(
        made_here(
            recipe,
            folder,
            Provenance.of(seed=recipe.seed),
            lambda block: compute_block(
                recipe, block, engine=engine, device=workers.device, progress=progress
            ),
        ),
        late,
    )


def _open_folder(folder: Path, recipe: Recipe, blocks: Sequence[BlockPlan]) -> None:
    path = folder / RECIPE_FILE
    if path.exists():
        other = read_recipe(path)
        if other.digest() != recipe.digest():
            raise UsageError(
                f"this folder holds a data set of another recipe; they differ in "
                f"{listing(differences(recipe, other))}",
                where=folder,
                do="Name another folder.",
            )
        return
    files: list[Output] = [(folder / f"{block.name}.h5", FileKind.DATASET) for block in blocks]
    require_outputs((path, FileKind.RECIPE), *files, folder=folder)
    make_folder(folder)
    with atomic_path(path) as temporary:
        write_recipe(temporary, recipe)


def _own_device(device: str, local_rank: int) -> str:
    """The device of one process among several on a host: its share of the GPUs."""
    import torch  # noqa: PLC0415

    wanted, cards = Device.parse(device), torch.cuda.device_count()
    if wanted.index is not None or wanted.kind == "cpu" or not cards:
        return "cpu" if wanted.kind == "auto" else device
    return f"cuda:{local_rank % cards}"
