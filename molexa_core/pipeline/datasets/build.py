"""Build a data set of simulated explosions: `molexa dataset build`.

A data set is a folder with `recipe.json` (the resolved recipe) and one HDF5 file per block of
geometries, written when the block is complete. After an interruption the same command continues the
build. Every process of a torchrun computes its share of the blocks without communication, and the
files do not depend on the machine. A block that fails is reported; the others are still computed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.device import Device
from molexa_core.base.errors import InputFileError, MolexaError, UsageError, listing
from molexa_core.base.progress import SILENT, PartOf, Progress
from molexa_core.base.storage.files import atomic_path, make_folder
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.physics.molecules.variations import Variation
from molexa_core.pipeline.datasets.blocks import (
    BlockPlan,
    geometries_of,
    kind_number,
    numbers_of,
    plan,
    split_of,
    stream_seed,
    velocities_of,
)
from molexa_core.pipeline.datasets.entries import EntryBlock, GeometryResult
from molexa_core.pipeline.datasets.movie_molecules import molecule_named
from molexa_core.pipeline.datasets.recipe import (
    RECIPE_FILE,
    Recipe,
    differences,
    read_recipe,
    write_recipe,
)
from molexa_core.pipeline.datasets.shard_file import block_digests, write_blocks
from molexa_core.pipeline.explosions.explode import TRAJECTORIES, explode_geometries
from molexa_core.pipeline.output_guard import Output, require_outputs

FAILURES_IN_A_ROW: Final = 5
"""A build stops after this number of consecutive failures: the blocks cannot be the reason."""
Engine = Callable[..., list[Outcomes]]
"""Function that explodes geometries: the signature of `explode.explode_geometries`."""


@dataclass(frozen=True)
class Workers:
    """The processes and the device of a computation.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        rank: number of this process, from 0.
        world: number of processes that share the work.
        dask: None; `local`, or `local:4` for four workers on this machine; or the address of a
            scheduler.
    """

    device: str = "auto"
    rank: int = 0
    world: int = 1
    dask: str | None = None

    @classmethod
    def of_environment(cls, device: str = "auto", dask: str | None = None) -> Workers:
        """This process as torchrun describes it: `RANK`, `WORLD_SIZE` and `LOCAL_RANK`.

        Raises:
            UsageError: the variables are not numbers or contradict each other, or Dask is requested
                inside torchrun.
        """
        texts = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
        given = {name: text for name, text in texts.items() if text}
        if not given or given.get("WORLD_SIZE", "1") == "1":
            return cls(device, dask=dask)
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
        if dask is not None:
            raise UsageError("`dask=` inside torchrun", do="Use one or the other.")
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


def compute_block(
    recipe: Recipe,
    block: BlockPlan,
    *,
    engine: Engine = explode_geometries,
    device: str = "auto",
    progress: Progress = SILENT,
) -> EntryBlock:
    """Compute the entries of one block.

    Args:
        recipe: the recipe of the data set.
        block: a block of its plan.
        engine: function that explodes the geometries.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        progress: receives notices on fallbacks.
    """
    found = molecule_named(recipe, block.molecule)
    chosen = geometries_of(recipe, found)[block.first : block.last]
    outcomes = engine(
        found.geometry.symbols,
        np.array([item.geometry.positions for item in chosen]),
        velocities_of(recipe, chosen),
        recipe.pulse,
        recipe.model,
        trajectories=recipe.trajectories,
        seed=stream_seed(recipe, block.molecule),
        first_trajectory=block.first * recipe.trajectories,
        device=device,
        at_least=recipe.minimum_count + 1,
        progress=progress,
    )
    results = tuple(
        _entries(recipe, number, item, outcome)
        for number, (item, outcome) in enumerate(zip(chosen, outcomes, strict=True), block.first)
    )
    return EntryBlock(
        name=block.name,
        digest=block.digest,
        molecule=block.molecule,
        numbers=numbers_of(found),
        held_out=found.split == "held-out",
        geometries=results,
        splits=tuple(
            split_of(recipe, block.molecule, item.label, result.charges)
            for item, result in zip(chosen, results, strict=True)
        ),
    )


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
    digest, record = recipe.digest(), Provenance.of(seed=recipe.seed)
    began = time.monotonic()
    deadline = None if minutes is None else began + 60.0 * minutes
    made = trajectories = entries = in_a_row = 0
    failed: list[str] = []
    total = sum(block.trajectories for block in mine)
    label = recipe.name if workers.world == 1 else f"{recipe.name} {workers.rank}/{workers.world}"
    with (
        progress.task(label, total, TRAJECTORIES) as task,
        _results(
            recipe, mine, workers, engine, deadline, PartOf(progress, task, TRAJECTORIES)
        ) as results,
    ):
        for block, result in results:
            if isinstance(result, Exception):
                failed.append(_failure(block, result))
                progress.say(f"{failed[-1]} The other blocks go on.")
                in_a_row += 1
                if in_a_row == FAILURES_IN_A_ROW:
                    raise result
                continue
            in_a_row = 0
            write_blocks(folder / f"{block.name}.h5", [result], digest, record)
            made += 1
            trajectories += block.trajectories
            entries += result.n_entries
            if workers.dask is not None:  # otherwise progress is counted during the computation
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


def _failure(block: BlockPlan, error: Exception) -> str:
    """A sentence that names the failed block and the reason."""
    why = str(error) if isinstance(error, MolexaError) else f"{type(error).__name__}: {error}"
    return f"block {block.name} ({block.molecule}) failed: {' '.join(why.split()).rstrip('.')}."


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


@contextmanager
def _results(
    recipe: Recipe,
    blocks: list[BlockPlan],
    workers: Workers,
    engine: Engine,
    deadline: float | None,
    progress: Progress,
) -> Iterator[Iterator[tuple[BlockPlan, EntryBlock | Exception]]]:
    """Blocks, or the errors of failed ones, in order of completion, here or on Dask workers."""
    if workers.dask is None:
        yield _computed(recipe, blocks, workers.device, engine, deadline, progress)
        return
    from molexa_core.pipeline.datasets.dask_workers import computed_by_dask  # noqa: PLC0415

    task = BlockTask(recipe.to_dict(), engine, workers.device)
    with computed_by_dask(workers.dask, task, blocks, deadline, progress) as results:
        yield results


def _computed(
    recipe: Recipe,
    blocks: list[BlockPlan],
    device: str,
    engine: Engine,
    deadline: float | None,
    progress: Progress,
) -> Iterator[tuple[BlockPlan, EntryBlock | Exception]]:
    for block in blocks:
        if deadline is not None and time.monotonic() > deadline:
            return
        try:
            result = compute_block(recipe, block, engine=engine, device=device, progress=progress)
        except Exception as error:  # noqa: BLE001  (the other blocks are still computed)
            yield block, error
        else:
            yield block, result


@dataclass(frozen=True)
class BlockTask:
    """`compute_block` with its arguments, as an object that can be sent to another process."""

    recipe: dict[str, Any]
    engine: Engine
    device: str

    def __call__(self, block: BlockPlan) -> EntryBlock:
        """The entries of a block."""
        recipe = Recipe.from_dict(self.recipe)
        return compute_block(recipe, block, engine=self.engine, device=self.device)


def _entries(
    recipe: Recipe, number: int, variation: Variation, outcome: Outcomes
) -> GeometryResult:
    kept = outcome.counts > recipe.minimum_count
    if not recipe.neutral_atoms:
        kept &= (outcome.charges > 0).all(axis=1)
    return GeometryResult(
        variation=number,
        kind=kind_number(variation),
        displaced=variation.k,
        positions=variation.geometry.positions,
        trajectories=outcome.trajectories,
        combinations=outcome.occurred,
        neutral=outcome.neutral,
        lost=outcome.lost,
        photons=outcome.photons,
        charges=outcome.charges[kept],
        counts=outcome.counts[kept],
        momenta=outcome.momenta[kept].astype(np.float32),
        errors=outcome.errors[kept].astype(np.float32),
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
