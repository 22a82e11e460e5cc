"""Blocks of a data set as units of work: whoever computes a block writes its file.

The file of a block is the result, and is found by a later call (`build.finished_blocks`); the file
of the unit only says that it was made, and how much is in it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.charge_combinations import Outcomes
from molexa_core.base.errors import UsageError
from molexa_core.base.progress import SILENT, Progress
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
from molexa_core.pipeline.datasets.recipe import Recipe
from molexa_core.pipeline.datasets.shard_file import write_blocks
from molexa_core.pipeline.explosions.explode import explode_geometries
from molexa_core.pipeline.work.executors import Executor
from molexa_core.pipeline.work.folder import UnitFolder
from molexa_core.pipeline.work.results import Failed, results
from molexa_core.pipeline.work.unit import Compute, Content, Phase, Unit

_BLOCKS: Final = "molexa_core.pipeline.datasets.block_units:blocks"
ENTRIES: Final = "entries"
Engine = Callable[..., list[Outcomes]]
"""Function that explodes geometries: the signature of `explode.explode_geometries`."""


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


def results_of_blocks(
    recipe: Recipe,
    wanted: Sequence[BlockPlan],
    place: Path,
    engine: Engine,
    device: str,
    folder: UnitFolder,
    executor: Executor,
) -> Iterator[tuple[BlockPlan, int | Failed]]:
    """The number of entries of each block, whose file is written then, or why it failed.

    Args:
        recipe: of the data set.
        wanted: the blocks to compute.
        place: folder of the data set.
        engine: explodes the geometries.
        device: on which.
        folder: of the units.
        executor: who computes.
    """
    settings = {"recipe": recipe.to_dict(), "engine": name_of(engine)}
    record = Provenance.of(seed=recipe.seed)
    places = {"folder": str(place.absolute()), "device": device, "record": record.to_json()}
    units = [Unit(f"block {one.name}", {"name": one.name, "digest": one.digest}) for one in wanted]
    phase = Phase(_BLOCKS, settings, [], places, units)
    keys = phase.keys()
    for key in keys:
        folder.forget(key)  # the file of the block is not there, or is made again
    for found, block in zip(results(phase, folder, executor), wanted, strict=False):
        yield block, found if isinstance(found, Failed) else int(found.values[ENTRIES])


def made_here(
    recipe: Recipe, place: Path, record: Provenance, compute: Callable[[BlockPlan], EntryBlock]
) -> Callable[[Mapping[str, Any]], Content]:
    """What computes units with a function of this process.

    Args:
        recipe: of the data set.
        place: folder of the data set.
        record: provenance of the files.
        compute: gives the entries of a block.
    """
    known = {block.name: block for block in plan(recipe)}
    digest = recipe.digest()

    def made(values: Mapping[str, Any]) -> Content:
        block = known[values["name"]]
        found = compute(block)
        write_blocks(place / f"{block.name}.h5", [found], digest, record)
        return Content({}, {ENTRIES: found.n_entries})

    return made


def blocks(settings: Mapping[str, Any], places: Mapping[str, Any]) -> Compute:
    """What computes units of a data set; see `work.unit.Phase.compute`."""
    recipe = Recipe.from_dict(settings["recipe"])
    engine, device = _named(settings["engine"]), places["device"]
    return made_here(
        recipe,
        Path(places["folder"]),
        Provenance.from_json(places["record"]),
        lambda block: compute_block(recipe, block, engine=engine, device=device),
    )


def name_of(engine: Engine) -> str:
    """Module and name of an engine, by which other processes find it."""
    return f"{engine.__module__}:{engine.__qualname__}"


def _named(name: str) -> Engine:
    module, _, own = name.partition(":")
    found: Engine | None = getattr(importlib.import_module(module), own, None)
    if found is None:
        raise UsageError(f"no other process finds the engine {own}")
    return found


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
