"""The candidate hits of a stretch of shots, kind by kind, as the loops of mixing take them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from molexa_core.base.tables import BoolArray, FloatArray, Hits, IntArray
from molexa_core.reduction.coincidences import MOST_COMBINATIONS, Search
from molexa_core.reduction.mixing.loops import combinations
from molexa_core.reduction.mixing.partitions import Block


@dataclass(frozen=True)
class Combinations:
    """Combinations of the ions of a block in single shots.

    Attributes:
        rows: (n, ions) candidates.
        shots: (n) shot of each.
        regions: (n) `loops.GATE` or `loops.RING`.
    """

    rows: IntArray
    shots: IntArray
    regions: IntArray


@dataclass(frozen=True)
class Reachable:
    """Momentum sums of a block that another one can complete.

    Attributes:
        cells: (nx, ny, nz) which cells of a grid.
        origin, step: (3) where it begins, and the edges of its cells, a.u.
    """

    cells: BoolArray
    origin: FloatArray
    step: FloatArray


_EVERYWHERE: Final = Reachable(np.zeros((0, 0, 0), np.bool_), np.zeros(3), np.ones(3))


@dataclass(frozen=True)
class Candidates:
    """Hits that can be ions of a channel, in some consecutive or alike shots.

    Attributes:
        first: (kinds, shots + 1) candidates of kind k in shot s are first[k, s]:first[k, s + 1].
        hit: (candidates) number of the hit among those given.
        place: (candidates, 3) time of flight in ns, x and y in mm.
        momentum: (candidates, 3) a.u.
        kind: (candidates) kind of each.
        usable: (shots) false for shots with too many combinations, which are left out.
        wanted: number of ions of each kind.
        offsets, every: (shots + 1) and (hits, 3) all hits, candidates or not, as `place`.
    """

    first: IntArray
    hit: IntArray
    place: FloatArray
    momentum: FloatArray
    kind: IntArray
    usable: BoolArray
    wanted: Block
    offsets: IntArray
    every: FloatArray

    @classmethod
    def of(cls, hits: Hits, search: Search) -> Candidates:
        """The candidates for the ions of a search in calibrated hits."""
        firsts, parts = [], []
        base = 0
        for number, (unordered, momenta) in enumerate(search.candidates(hits)):
            shot = np.searchsorted(hits.offsets, unordered, side="right") - 1
            place = hits.t_ns[unordered], hits.x_mm[unordered], hits.y_mm[unordered]
            order = _ordered(shot, *place)
            rows, momentum = unordered[order], momenta[order]
            counts = np.bincount(shot, minlength=hits.n_shots)
            first = np.zeros(hits.n_shots + 1, np.int64)
            np.cumsum(counts, out=first[1:])
            firsts.append(first + base)
            parts.append(
                (
                    rows,
                    np.column_stack(place)[order],
                    momentum,
                    np.full(len(rows), number, np.int64),
                )
            )
            base += len(rows)
        hit, where, momentum, kind = (np.concatenate(part) for part in zip(*parts, strict=True))
        found = cls(
            np.array(firsts), hit.astype(np.int64), where, momentum, kind,
            np.ones(hits.n_shots, np.bool_), search.wanted,
            np.asarray(hits.offsets, np.int64),
            np.column_stack([hits.t_ns, hits.x_mm, hits.y_mm]).astype(np.float64),
        )  # fmt: skip
        found.usable[:] = found.per_shot(search.wanted) <= MOST_COMBINATIONS
        return found

    @property
    def n_shots(self) -> int:
        """Number of usable shots."""
        return int(self.usable.sum())

    @cached_property
    def counts(self) -> FloatArray:
        """(kinds, shots) number of candidates."""
        return np.diff(self.first, axis=1).astype(np.float64)

    def per_shot(self, block: Block) -> FloatArray:
        """(shots) number of combinations of the ions of a block, 0 in shots that are left out."""
        number = self.usable.astype(np.float64)
        for count, ions in zip(self.counts, block, strict=True):
            for taken in range(ions):
                number *= np.maximum(count - taken, 0.0) / (taken + 1.0)
        return number

    def only(self, shots: BoolArray) -> Candidates:
        """The same with other shots made unusable."""
        return replace(self, usable=self.usable & shots)

    def combinations(
        self, block: Block, box: FloatArray, reach: Reachable | None = None
    ) -> Combinations:
        """All combinations of the ions of a block in single shots.

        Args:
            block: number of ions of each kind.
            box: see `loops.region`; (0, 3) keeps every combination.
            reach: only combinations with these momentum sums.
        """
        cells = _EVERYWHERE if reach is None else reach
        kind_of = np.repeat(np.arange(len(block)), block).astype(np.int64)
        room = 4096
        while True:
            rows = np.empty((room, len(kind_of)), np.int64)
            shots, regions = np.empty(room, np.int64), np.empty(room, np.int64)
            n = combinations(
                self.first, self.hit, self.momentum, self.usable, kind_of, box,
                cells.cells, cells.origin, cells.step, rows, shots, regions,
            )  # fmt: skip
            if n <= room:
                return Combinations(rows[:n], shots[:n], regions[:n])
            room = n


def _ordered(shot: IntArray, t: FloatArray, x: FloatArray, y: FloatArray) -> IntArray:
    """The order by shot, time and place; hits mostly are in it, which is seen sooner than made."""
    if ((shot[1:] > shot[:-1]) | ((shot[1:] == shot[:-1]) & (t[1:] > t[:-1]))).all():
        return np.arange(len(shot), dtype=np.int64)
    return np.lexsort((y, x, t, shot)).astype(np.int64)
