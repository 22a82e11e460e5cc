"""Entries of the Monte-Carlo model over its family of pulses and switches, made as they are needed.

A block holds the entries of geometries with the same number of atoms, each in a setting of its own,
followed in one launch and averaged on the device. It is a function of the recipe and of its number
alone, so that blocks can be made in any order, on several machines, and while a network trains on
those before.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.mcmd.gpu.launch import batches, device_index
from molexa_core.physics.mcmd.mixed_entries import CombinationMeans, combination_means
from molexa_core.physics.mcmd.mixed_job import MixedJob, prepare_mixed, run_mixed_on_cpu
from molexa_core.physics.mcmd.photon_tables import (
    ELEMENTS_OF_TABLES,
    PhotonTables,
    pack_photon_tables,
)
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.physics.surrogate.entries import FamilyEntries, concatenate
from molexa_core.pipeline.datasets.family_draws import (
    ATOMS,
    Box,
    DrawnGeometries,
    FamilySplit,
    draw_geometries,
    draw_settings,
)
from molexa_core.pipeline.datasets.splits import hashed

TRAJECTORIES: Final = {2: 4096, 3: 8192, 4: 8192, 5: 8192, 6: 8192, 7: 16384, 8: 16384, 9: 16384}
"""Explosions of a geometry by number of atoms: the more atoms, the more charge combinations. All
are multiples of the threads of a block of the GPU."""
SHARES_OF_ATOMS: Final = {2: 1.0, 3: 2.0, 4: 3.0, 5: 3.0, 6: 3.0, 7: 3.0, 8: 2.0, 9: 2.0}
"""How often blocks have a number of atoms, relative to the others."""


@dataclass(frozen=True)
class FamilyRecipe:
    """What blocks of entries are made of.

    Attributes:
        seed: of all random draws.
        split: molecules for training, or those held out.
        box: ranges of the settings.
        trajectories: explosions of a geometry, by number of atoms.
        explosions: explosions of a block, which determine its number of geometries.
        least_count: smallest count of a combination.
        most: largest number of combinations of a geometry.
        rarity: exponent of the weights by which combinations are drawn, see
            `mixed_entries.combination_means`.
        random_share: share of random clusters; that of `family_draws.SHARES` if None.
        elements: the only elements of the molecules.
        atoms: shares of the blocks, by number of atoms.

    Raises:
        UsageError: numbers of atoms that cannot be made, or counts out of range.
    """

    seed: int = 0
    split: FamilySplit = "train"
    box: Box = field(default_factory=Box)
    trajectories: dict[int, int] = field(default_factory=lambda: dict(TRAJECTORIES))
    explosions: int = 2**21
    least_count: int = 8
    most: int = 6
    rarity: float = 0.5
    random_share: float | None = None
    elements: tuple[str, ...] = ELEMENTS_OF_TABLES
    atoms: dict[int, float] = field(default_factory=lambda: dict(SHARES_OF_ATOMS))

    def __post_init__(self) -> None:
        wrong = [n for n in self.atoms if not ATOMS[0] <= n <= ATOMS[1] or n not in TRAJECTORIES]
        if wrong or not self.atoms:
            raise UsageError(f"no blocks of {wrong} atoms", do="Give 2 to 9 atoms.")
        if self.least_count < 2 or self.most < 1:
            raise UsageError(
                f"least count {self.least_count}, at most {self.most} combinations",
                do="An entry needs two explosions, a geometry one entry.",
            )

    def geometries(self, atoms: int) -> int:
        """Number of geometries of a block with this number of atoms."""
        return max(self.explosions // self.trajectories[atoms], 1)


def exact_recipe(seed: int = 1, *, split: FamilySplit = "held-out") -> FamilyRecipe:
    """Blocks for an evaluation: 64 times the explosions for a geometry, and no random clusters.

    Means of combinations that hold 0.1 % or more of the explosions are then known to 0.3 %.
    """
    return FamilyRecipe(
        seed=seed,
        split=split,
        trajectories={n: 64 * count for n, count in TRAJECTORIES.items()},
        explosions=2**24,
        least_count=400,
        random_share=0.0,
    )


def small_recipe(seed: int = 0, *, split: FamilySplit = "train") -> FamilyRecipe:
    """Small blocks of two to five atoms with few explosions, for a processor."""
    return FamilyRecipe(
        seed=seed,
        split=split,
        trajectories=dict.fromkeys(TRAJECTORIES, 512),
        explosions=2**14,
        least_count=6,
        atoms={2: 1.0, 3: 2.0, 4: 1.0, 5: 0.5},
    )


@dataclass(frozen=True)
class PreparedBlock:
    """A block before its explosions.

    Attributes:
        job: its trajectories.
        drawn: its geometries.
        settings: (g, 9) as in `FamilyEntries.settings`.
        atoms: their number of atoms.
        number: of the block.
    """

    job: MixedJob
    drawn: DrawnGeometries
    settings: FloatArray
    atoms: int
    number: int


def family_block(
    recipe: FamilyRecipe,
    number: int,
    *,
    device: str = "auto",
    tables: PhotonTables | None = None,
    progress: Progress = SILENT,
) -> FamilyEntries:
    """The entries of one block, on the device; there may be none.

    Args:
        recipe: what the block is made of.
        number: number of the block, from 0.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        tables: atomic tables; those of `photon_tables.PHOTON_GRID_EV` from the cache if not given.
        progress: display of the progress.
    """
    tables = tables or pack_photon_tables(progress=progress)
    return explode_block(recipe, prepare_block(recipe, number, tables), device, progress)


def family_blocks(
    recipe: FamilyRecipe,
    *,
    first: int = 0,
    step: int = 1,
    device: str = "auto",
    tables: PhotonTables | None = None,
    ahead: int = 2,
    progress: Progress = SILENT,
) -> Iterator[FamilyEntries]:
    """Blocks without end: numbers `first`, `first + step`, ...

    Geometries and settings of the next blocks are drawn in a thread while the device explodes.

    Args:
        recipe: what the blocks are made of.
        first: number of the first block.
        step: distance of the numbers, such as the number of processes that share the work.
        device: `auto`, `cpu`, `cuda` or `cuda:0`.
        tables: atomic tables, see `family_block`.
        ahead: blocks that are drawn ahead.
        progress: display of the progress.
    """
    known = tables or pack_photon_tables(progress=progress)
    with ThreadPoolExecutor(1) as thread:
        waiting: list[Future[PreparedBlock]] = []
        number = first
        while True:
            while len(waiting) < ahead:
                waiting.append(thread.submit(prepare_block, recipe, number, known))
                number += step
            yield explode_block(recipe, waiting.pop(0).result(), device, progress)


def prepare_block(recipe: FamilyRecipe, number: int, tables: PhotonTables) -> PreparedBlock:
    """Draw geometries and settings of a block, see `family_block`."""
    key = hashed(recipe.seed, "family", recipe.split, number)
    random = np.random.default_rng(np.frombuffer(key, dtype=np.uint32).tolist())
    sizes = sorted(recipe.atoms)
    weights = np.array([recipe.atoms[n] for n in sizes])
    atoms = int(random.choice(sizes, p=weights / weights.sum()))
    count, each = recipe.geometries(atoms), recipe.trajectories[atoms]
    drawn = draw_geometries(
        random,
        atoms,
        count,
        recipe.split,
        random_share=recipe.random_share,
        elements=recipe.elements,
    )
    settings = draw_settings(
        random, drawn.numbers, tables, recipe.box, least_share=min(recipe.least_count / each, 0.5)
    )
    # The longest pulses first: a launch ends when its last block of threads does.
    order = np.argsort(-settings.columns[:, 2], kind="stable")
    drawn = replace(
        drawn,
        numbers=drawn.numbers[order],
        positions=drawn.positions[order],
        molecule=drawn.molecule[order],
    )
    job = prepare_mixed(
        drawn.numbers,
        drawn.positions,
        [settings.pulses[row] for row in order],
        [settings.options[row] for row in order],
        tables,
        trajectories=each,
        seed=int.from_bytes(key[:8], "little") >> 1,
    )
    return PreparedBlock(job, drawn, settings.columns[order], atoms, number)


def explode_block(
    recipe: FamilyRecipe, block: PreparedBlock, device: str, progress: Progress
) -> FamilyEntries:
    """Follow a prepared block on a device, and the means of its combinations of charges."""
    each, parts = block.job.trajectories, []

    def means(charges: Tensor, momenta: Tensor, lost: Tensor, first: int) -> None:
        found = combination_means(
            charges,
            momenta,
            lost,
            geometries=len(lost) // each,
            least=recipe.least_count,
            most=recipe.most,
            rarity=recipe.rarity,
            seed=block.job.seed,
            first=first,
        )
        parts.append(_entries(block, found))

    index = device_index(device)
    if index is None:
        run = run_mixed_on_cpu(block.job, workers=available_cores())
        n = block.atoms
        means(
            torch.from_numpy(run.charges.reshape(-1, n)),
            torch.from_numpy(run.momenta.reshape(-1, n, 3)),
            torch.from_numpy(run.lost.reshape(-1)),
            0,
        )
    else:
        for batch in batches(block.job, index, whole_geometries=True, progress=progress):
            if len(batch) % each or batch.begin % each:
                raise ComputationError(
                    f"the {each} explosions of a geometry do not fit into GPU {index}",
                    do="Choose fewer for each geometry.",
                )
            means(batch.charges, batch.momenta, batch.lost, batch.begin // each)
    return parts[0] if len(parts) == 1 else concatenate(parts)


def _entries(block: PreparedBlock, found: CombinationMeans) -> FamilyEntries:
    place = found.geometry.cpu()
    device, width = found.mean.device, ATOMS[1]

    def padded(values: Tensor) -> Tensor:
        missing = width - block.atoms
        return torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], 1)

    def known(values: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(values)[place].to(device=device, dtype=dtype)

    count = len(block.drawn.molecule)
    numbers = np.arange(count, dtype=np.int64) + block.number * 2**20
    return FamilyEntries(
        numbers=padded(known(block.drawn.numbers, torch.int8)),
        charges=padded(found.charges),
        positions=padded(known(block.drawn.positions, torch.float32)),
        momenta=padded(found.mean),
        errors=padded(found.error),
        spread=padded(found.spread),
        count=found.count,
        trajectories=found.trajectories,
        geometry=known(numbers, torch.int64),
        molecule=known(block.drawn.molecule, torch.int64),
        settings=known(block.settings, torch.float32),
    )
