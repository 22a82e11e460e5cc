"""Training data of a network that is told the explosion: new explosions while it trains.

Two pools lie on the device of the training: one of X-ray pairs (`xray_pairs`), one of classical
explosions (`classical_stream`). After every few steps the oldest block of a pool is replaced by a
new one, so that a pair of geometry and pulse is seen for a while and then never again: what a
network sees often it learns by heart, and it is then sure of things that it does not know. Drawing
the geometries of the next blocks, and classical explosions, is done by processes beside.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.network.batch import Batch
from molexa_core.network.training.team import ALONE, Team
from molexa_core.physics.mcmd.photon_tables import (
    PHOTON_GRID_EV,
    PhotonTables,
    pack_photon_tables,
)
from molexa_core.physics.mcmd.trajectories import available_cores
from molexa_core.pipeline.datasets.measurement_split import molecules_of
from molexa_core.pipeline.training.classical_stream import ClassicalRecipe, classical_block
from molexa_core.pipeline.training.stream_entries import (
    StreamEntries,
    batch_of_entries,
    mirrored,
    partly_told,
    together,
    with_measurement,
)
from molexa_core.pipeline.training.xray_pairs import (
    PairRecipe,
    PreparedPairs,
    explode_pairs,
    prepare_pairs,
)

MOST_VISITS: Final = 100.0
"""How often the entries of a pair of geometry and pulse are seen at most."""
_STEP_SEEDS: Final = 32_452_843
T = TypeVar("T")


@dataclass(frozen=True)
class StreamRecipe:
    """The stream of a training.

    Attributes:
        pairs: X-ray pairs; None for classical explosions alone.
        classical: classical explosions; None for X-ray pairs alone.
        share: of classical explosions in a batch, if there are both.
        pair_blocks, classical_blocks: blocks in the pools.
        pair_every, classical_every: steps after which a block is replaced.
        photon_ev: photon energies of the atomic tables.
    """

    pairs: PairRecipe | None = field(default_factory=PairRecipe)
    classical: ClassicalRecipe | None = field(default_factory=ClassicalRecipe)
    share: float = 0.2
    pair_blocks: int = 64
    pair_every: int = 16
    classical_blocks: int = 32
    classical_every: int = 6
    photon_ev: tuple[float, ...] = PHOTON_GRID_EV

    def rows(self, batch: int) -> tuple[int, int]:
        """X-ray entries and classical ones in a batch.

        Raises:
            UsageError: neither of the two.
        """
        if self.pairs is None and self.classical is None:
            raise UsageError("a stream of nothing")
        share = 1.0 if self.pairs is None else self.share if self.classical is not None else 0.0
        classical = round(batch * share)
        return batch - classical, classical

    def visits(self, batch: int) -> float:
        """How often the entries of a pair are seen, for a batch of one process.

        Pairs of which no combination is frequent enough are counted, so that it is a little more.
        """
        if self.pairs is None:
            return 0.0
        weights = self.pairs.atoms
        whole = sum(weights.values())
        each = sum(self.pairs.pairs(n) * share / whole for n, share in weights.items())
        return self.rows(batch)[0] * self.pair_every / each

    @property
    def largest(self) -> int:
        """Largest number of atoms."""
        return max(one.largest for one in (self.pairs, self.classical) if one is not None)


def held_out_stream(recipe: StreamRecipe) -> StreamRecipe:
    """Explosions as in a training, of the molecules that are held out; no random clusters.

    Sizes of which none is held out are left out.
    """
    pairs, classical = recipe.pairs, recipe.classical
    few = replace(recipe, pair_blocks=min(24, recipe.pair_blocks), classical_blocks=8)

    def kept(atoms: dict[int, float], elements: tuple[str, ...], share: float) -> dict[int, float]:
        return {
            n: weight
            for n, weight in atoms.items()
            if molecules_of(n, held_out=True, elements=elements, share=share)
        }

    if pairs is not None:
        sizes = kept(pairs.atoms, pairs.elements, pairs.share)
        few = replace(few, pairs=replace(pairs, held_out=True, random_share=0.0, atoms=sizes))
    if classical is not None:
        sizes = kept(classical.atoms, classical.elements, classical.share)
        alone = replace(classical, held_out=True, random_share=0.0, atoms=sizes)
        few = replace(few, classical=alone)
    return few


class _Ring:
    """Blocks of entries in one piece of memory, the oldest of which is replaced."""

    def __init__(self, blocks: int, most: int, atoms: int, device: torch.device) -> None:
        self._blocks, self._most, self._atoms = blocks, most, atoms
        self._room = StreamEntries.room(blocks * most, atoms, device)
        self._count = [0] * blocks
        self._index: Tensor | None = None
        self.newest = -1

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return self._blocks

    def put(self, number: int, entries: StreamEntries) -> None:
        """Replace the block of this number minus the number of blocks."""
        slot = number % self._blocks
        count = min(len(entries), self._most)
        wide = entries.taken(slice(0, count)).padded(self._atoms)
        rows = slice(slot * self._most, slot * self._most + count)
        for item in fields(StreamEntries):
            getattr(self._room, item.name)[rows] = getattr(wide, item.name).to(
                getattr(self._room, item.name).device
            )
        self._count[slot] = count
        self._index = None
        self.newest = number

    def drawn(self, rows: int, generator: torch.Generator) -> StreamEntries:
        """Entries at random.

        Raises:
            ComputationError: the pool is empty.
        """
        if self._index is None:
            device = self._room.numbers.device
            self._index = torch.cat(
                [
                    torch.arange(slot * self._most, slot * self._most + count, device=device)
                    for slot, count in enumerate(self._count)
                ]
            )
        if not len(self._index):
            raise ComputationError(
                "no explosion had enough events of one kind",
                do="Raise the number of explosions of a pair.",
            )
        place = torch.randint(
            len(self._index), (rows,), device=self._index.device, generator=generator
        )
        return self._room.taken(self._index[place])


class _Ahead(Generic[T]):
    """Blocks that are made ahead by other processes, given out in order."""

    def __init__(self, make: Callable[[int], T], pool: Executor | None, ahead: int) -> None:
        self._make, self._pool, self._ahead = make, pool, ahead
        self._waiting: deque[tuple[int, Future[T]]] = deque()

    def __call__(self, number: int) -> T:
        """The block of this number; those that follow are begun."""
        if self._pool is None:
            return self._make(number)
        if not self._waiting or self._waiting[0][0] != number:
            for _, future in self._waiting:
                future.cancel()
            self._waiting.clear()
        while len(self._waiting) < self._ahead:
            following = self._waiting[-1][0] + 1 if self._waiting else number
            self._waiting.append((following, self._pool.submit(self._make, following)))
        return self._waiting.popleft()[1].result()


class ToldSource:
    """Source of the batch of a step, which is a function of (seed, step) and of the processes.

    Args:
        recipe: the stream.
        batch: molecules per step of this process.
        device: of the training.
        seed: of the draws from the pools.
        team: the processes; each makes blocks of its own.
        workers: processes beside this one that prepare blocks; 0 does everything here.
        progress: display of the progress.
    """

    def __init__(
        self,
        recipe: StreamRecipe,
        batch: int,
        device: torch.device | str,
        seed: int,
        *,
        team: Team = ALONE,
        workers: int = 0,
        progress: Progress = SILENT,
    ) -> None:
        self.recipe, self.seed, self.team = recipe, seed, team
        self.device = torch.device(device)
        self._rows = recipe.rows(batch)
        self._progress = progress
        self._pool: ProcessPoolExecutor | None = None
        if workers:
            self._pool = ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=_alone
            )
        ahead = 2 * max(workers, 1)
        pairs, classical = recipe.pairs, recipe.classical
        self._pairs: _Ring | None = None
        self._classical: _Ring | None = None
        if pairs is not None:
            self._tables = pack_photon_tables(recipe.photon_ev, pairs.elements, progress=progress)
            self._pairs = _Ring(recipe.pair_blocks, pairs.most_entries, self.atoms, self.device)
            prepared = _Prepare(pairs, recipe.photon_ev, team.rank, team.size)
            self._prepared = _Ahead(prepared, self._pool, ahead)
        if classical is not None:
            self._classical = _Ring(
                recipe.classical_blocks, classical.entries, self.atoms, self.device
            )
            self._exploded = _Ahead(_Classical(classical, team.rank, team.size), self._pool, ahead)

    @property
    def atoms(self) -> int:
        """Number of atoms of a batch, padding included."""
        return self.recipe.largest

    def close(self) -> None:
        """End the processes beside."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def entries(self, step: int) -> StreamEntries:
        """The entries of a step, before anything is hidden."""
        self._renew(step)
        seed = self.team.seed(self.seed) * _STEP_SEEDS + step
        generator = torch.Generator(self.device).manual_seed(seed % 2**62)
        parts = []
        for ring, rows in zip((self._pairs, self._classical), self._rows, strict=True):
            if ring is not None and rows:
                parts.append(ring.drawn(rows, generator))
        return with_measurement(mirrored(together(parts), generator), generator)

    def __call__(self, step: int) -> Batch:
        """The batch of this step for this process, with positions and what is told."""
        entries = self.entries(step)
        seed = self.team.seed(self.seed) * _STEP_SEEDS + step + 2**40
        generator = torch.Generator(self.device).manual_seed(seed % 2**62)
        return batch_of_entries(entries, partly_told(entries, generator))

    @torch.no_grad()
    def _renew(self, step: int) -> None:
        """Bring both pools to the state of a step."""
        if self._pairs is not None:
            self._fill(self._pairs, step // self.recipe.pair_every, self._pair_block)
        if self._classical is not None:
            number = step // self.recipe.classical_every
            self._fill(self._classical, number, self._classical_block)

    def _fill(self, ring: _Ring, turn: int, make: Callable[[int], StreamEntries]) -> None:
        newest = ring.blocks - 1 + turn
        first = ring.newest + 1
        if not first - 1 <= newest or newest - first >= ring.blocks:
            first = newest - ring.blocks + 1  # another step than the next: all anew
        if newest - first + 1 < ring.blocks:
            for number in range(first, newest + 1):
                ring.put(number, make(number))
            return
        with self._progress.task("explosions", ring.blocks, "blocks") as task:
            for number in range(first, newest + 1):
                ring.put(number, make(number))
                task.advance()

    def _pair_block(self, number: int) -> StreamEntries:
        if self.recipe.pairs is None:
            raise ComputationError("no X-ray pairs")
        block: PreparedPairs = self._prepared(number)
        return explode_pairs(
            self.recipe.pairs,
            block,
            self._tables,
            device=str(self.device),
            workers=available_cores(),
        )

    def _classical_block(self, number: int) -> StreamEntries:
        return StreamEntries(
            **{name: torch.from_numpy(value) for name, value in self._exploded(number).items()}
        )


@dataclass(frozen=True)
class _Prepare:
    """Prepare a block of pairs, in any process."""

    recipe: PairRecipe
    photon_ev: tuple[float, ...]
    rank: int
    size: int

    def __call__(self, number: int) -> PreparedPairs:
        own = number * self.size + self.rank
        tables = _tables(self.photon_ev, self.recipe.elements)
        block = prepare_pairs(self.recipe, own, tables, alike=self.size)
        return replace(block, job=replace(block.job, tables=_none()))


@dataclass(frozen=True)
class _Classical:
    """Make a block of classical explosions, in any process, as arrays that can be sent."""

    recipe: ClassicalRecipe
    rank: int
    size: int

    def __call__(self, number: int) -> dict[str, NDArray[Any]]:
        block = classical_block(self.recipe, number * self.size + self.rank)
        return {item.name: getattr(block, item.name).numpy() for item in fields(StreamEntries)}


@lru_cache(maxsize=2)
def _tables(photon_ev: tuple[float, ...], elements: tuple[str, ...]) -> PhotonTables:
    return pack_photon_tables(photon_ev, elements, workers=1)


def _none() -> PhotonTables:
    """No tables: they are too long to be sent with every block."""
    whole, real = np.zeros((0, 4), np.int32), np.zeros((0, 4), np.float32)
    return PhotonTables(np.zeros(0), whole, real, whole, real, whole)


def _alone() -> None:
    """Called in each process beside: one thread, no GPU, no signals of the keyboard."""
    import signal  # noqa: PLC0415  # in these processes only

    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
