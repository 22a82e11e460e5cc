"""What completes a draw of event mixing: combinations of some blocks, ordered by momentum sum.

Some blocks of a partition are drawn, those that are left complete the draw: they are looked up in
a grid of momentum sums. Drawn at random, five ions of different explosions hardly ever are inside
the gate; where two ions complete three, nearly every draw can be completed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations as choices
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.reduction.mixing.loops import draw_many
from molexa_core.reduction.mixing.partitions import Block, Partition
from molexa_core.reduction.mixing.shot_candidates import Candidates, Reachable

_CELLS: Final = 48
_MOST_LISTED: Final = 2**20
"""Combinations of a block that are all listed, at most; of more, some are drawn."""
_MOST_LOOKED_AT: Final = 2**22
"""Combinations of which those that any ion of the other block completes are listed, at most."""


_DRAWN_PER_ROW: Final = 16.0
"""Closing combinations that are drawn per row, so that rows hardly ever share one."""
_MOST_RATE: Final = 3.0
"""Rows per combination of ions of different shots, most of which are outside the gate, at most."""
_LEAST_DRAWN: Final = 2**10
_MOST_DRAWN: Final = 2**19


@dataclass(frozen=True)
class Closing:
    """Combinations of one or several blocks, ordered by the cell of their momentum sum.

    Attributes:
        rows, shots: (n, ions) candidates and their shots.
        sums: (n, 3) momentum sums, a.u.
        cells: (cells + 1) where each cell begins.
        origin, step, shape: (3) of the grid.
        stands_for: how many combinations each of them stands for: 1 where all are listed.
    """

    rows: IntArray
    shots: IntArray
    sums: FloatArray
    cells: IntArray
    origin: FloatArray
    step: FloatArray
    shape: IntArray
    stands_for: float

    @classmethod
    def listed(
        cls, shots: Candidates, block: Block, box: FloatArray, completed_by: Block | None = None
    ) -> Closing:
        """All combinations of a block; in a single cell without a gate.

        Args:
            shots: the candidates.
            block: number of ions of each kind.
            box: see `loops.region`.
            completed_by: only those that some combination of this block brings into gate or ring.
        """
        reach = None if completed_by is None else _reachable(shots, completed_by, box)
        found = shots.combinations(block, _NO_BOX, reach)
        of = np.repeat(found.shots[:, None], found.rows.shape[1], axis=1)
        return cls._ordered(shots, found.rows, of, box, 1.0)

    @classmethod
    def drawn(
        cls,
        shots: Candidates,
        blocks: IntArray,
        box: FloatArray,
        dead: FloatArray,
        draws: int,
        state: NDArray[np.uint64],
    ) -> Closing:
        """Combinations of blocks of different shots, drawn at random.

        Args:
            shots: the candidates.
            blocks: (blocks, kinds) number of ions of each kind.
            box: see `loops.region`.
            dead: dead time in ns and radius in mm.
            draws: how many are drawn; those that cannot be in one shot are left out.
            state: of the random numbers.
        """
        cumulative = running(shots, blocks)
        rows = np.empty((draws, int(blocks.sum())), np.int64)
        of = np.empty_like(rows)
        n = draw_many(
            blocks, cumulative, shots.first, shots.hit, shots.place, dead, state, rows, of
        )
        number = float(np.prod(cumulative[:, -1]))
        return cls._ordered(shots, rows[:n], of[:n], box, number / draws)

    @classmethod
    def _ordered(
        cls, shots: Candidates, rows: IntArray, of: IntArray, box: FloatArray, stands_for: float
    ) -> Closing:
        sums = np.zeros((len(rows), 3))
        for column in rows.T:
            sums += shots.momentum[column]
        low, high = np.zeros(3), np.zeros(3)
        if len(rows):
            low, high = sums.min(axis=0), sums.max(axis=0)
        shape = np.ones(3, np.int64)
        if len(box):
            shape = np.clip(((high - low) / (2.0 * box[1])).astype(np.int64), 1, _CELLS)
        step = (high - low) / shape * (1.0 + 1e-9) + 1e-9
        cell = np.minimum(((sums - low) / step).astype(np.int64), shape - 1)
        number = (cell[:, 0] * shape[1] + cell[:, 1]) * shape[2] + cell[:, 2]
        # Numbers of 32 bits are sorted in a time that grows no faster than their number.
        order = np.argsort(number.astype(np.int32), kind="stable")
        counts = np.bincount(number, minlength=int(shape.prod()))
        cells = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=cells[1:])
        return cls(
            rows[order], of[order], np.ascontiguousarray(sums[order]), cells, low, step, shape,
            stands_for,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def density(self) -> float:
        """How densely the momenta lie, per volume: mean over them, of all of them 1."""
        per_cell = np.diff(self.cells).astype(np.float64)
        return float((per_cell**2).sum() / max(per_cell.sum(), 1.0) ** 2 / np.prod(self.step))

    def at_most(self, box: FloatArray) -> float:
        """About how many fit the gate of a draw that any of them fits."""
        if not len(box):
            return float(len(self.rows))
        volume = float(np.prod(2.0 * box[1]))
        return max(1.0, min(1.0, self.density * volume) * len(self.rows))


class Closings:
    """The closing combinations of the partitions of some alike shots, each made once.

    Args:
        shots: the candidates.
        box: see `loops.region`.
        dead: dead time in ns and radius in mm.
        rows: how many rows are wanted, at most.
        state: of the random numbers.
    """

    def __init__(
        self,
        shots: Candidates,
        box: FloatArray,
        dead: FloatArray,
        rows: float,
        state: NDArray[np.uint64],
    ) -> None:
        self._shots, self._box, self._dead = shots, box, dead
        self._rows, self._state = rows, state
        self._made: dict[tuple[Block, ...], Closing] = {}
        self._drawn: dict[tuple[Block, ...], int] = {}

    def of(self, part: Partition) -> tuple[tuple[int, ...], Closing]:
        """The places of the closing blocks of a partition, and their combinations.

        About half of the ions close, so that most draws can be completed. Of single blocks that
        whose momenta are spread most: it fits most draws.
        """
        sizes = [sum(block) for block in part.blocks]
        half, least = sum(sizes) // 2, min(sizes)
        if not len(self._box):
            return self._best([(place,) for place, size in enumerate(sizes) if size == least], part)
        if len(sizes) == 2 and least < half:
            larger = int(np.argmax(sizes))
            if self._number(part.blocks[larger]) <= _MOST_LOOKED_AT:
                pair = part.blocks[larger], part.blocks[1 - larger]
                if pair not in self._made:
                    self._made[pair] = Closing.listed(self._shots, pair[0], self._box, pair[1])
                return (larger,), self._made[pair]
        for size in range(half, 0, -1):
            for number in range(1, len(sizes)):
                groups = [
                    group
                    for group in choices(range(len(sizes)), number)
                    if sum(sizes[place] for place in group) == size
                ]
                if groups:
                    return self._best(groups if number == 1 else groups[:1], part)
        raise AssertionError("a partition has at least two blocks")

    def _best(
        self, groups: list[tuple[int, ...]], part: Partition
    ) -> tuple[tuple[int, ...], Closing]:
        blocks = [[part.blocks[place] for place in group] for group in groups]
        draws = self._draws(part)
        made = [(group, self._closing(of, draws)) for group, of in zip(groups, blocks, strict=True)]
        return min(made, key=lambda one: one[1].density)

    def _closing(self, blocks: list[Block], draws: int) -> Closing:
        key = (*blocks, ())  # not that of a block and the one that completes it
        listed = not len(self._box) or self._number(blocks[0]) <= _MOST_LISTED
        if len(blocks) == 1 and listed:
            if key not in self._made:
                self._made[key] = Closing.listed(self._shots, blocks[0], self._box)
        elif draws > self._drawn.get(key, 0):
            self._drawn[key] = draws
            self._made[key] = Closing.drawn(
                self._shots, np.array(blocks, np.int64), self._box, self._dead, draws, self._state
            )
        return self._made[key]

    def _draws(self, part: Partition) -> int:
        """How many closing combinations are drawn: a multiple of the rows that are wanted."""
        shots = self._shots.n_shots
        number = shots * math.prod(self._number(block) / shots for block in part.blocks)
        rows = min(self._rows, _MOST_RATE * abs(part.coefficient) * number)
        return math.ceil(min(max(_DRAWN_PER_ROW * rows, _LEAST_DRAWN), _MOST_DRAWN))

    def _number(self, block: Block) -> float:
        return float(self._shots.per_shot(block).sum())


def running(shots: Candidates, blocks: IntArray) -> FloatArray:
    """(blocks, shots + 1) running sums of the combinations of each block."""
    sums = [np.cumsum(shots.per_shot(tuple(block))) for block in blocks.tolist()]
    return np.array([np.concatenate([[0.0], one]) for one in sums])


def _reachable(shots: Candidates, block: Block, box: FloatArray) -> Reachable:
    """The momentum sums that some combination of a block brings into gate or ring."""
    found = shots.combinations(block, _NO_BOX)
    if not len(found.rows):  # all of them are one hit in two roles
        return Reachable(np.zeros((1, 1, 1), np.bool_), np.zeros(3), np.ones(3))
    wanted = box[0] - shots.momentum[found.rows].sum(axis=1)
    low, high = wanted.min(axis=0) - 2.0 * box[3], wanted.max(axis=0) + 2.0 * box[3]
    step = np.maximum(box[3], (high - low) / (2 * _CELLS))
    cells = np.zeros(np.ceil((high - low) / step).astype(np.int64) + 1, np.bool_)
    cells[tuple(((wanted - low) / step).astype(np.int64).T)] = True
    # Nothing of the gate or ring around a sum is further than the next cell.
    grown: BoolArray = maximum_filter(cells, 3)
    return Reachable(grown, low, step)


_NO_BOX: Final = np.empty((0, 3))
