"""Combinations of the same hits in other roles, which count once.

Where windows overlap a hit can be either of two ions, and the same hits can be inside the
momentum-sum gate in more than one way. They have one source all the same, so that only the way with
the best momentum sum counts; beside the gate only hits count that are in it in no way. What counts
depends on the hits of the combination alone, never on others of the shot: the rule is the same for
coincidences and for mixed rows, whose expected number is then still that of the false ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.reduction.mixing.loops import GATE
from molexa_core.reduction.mixing.partitions import Block
from molexa_core.reduction.mixing.shot_candidates import Candidates


@dataclass(frozen=True)
class OtherRoles:
    """The other ways in which hits can be the ions of a channel.

    Attributes:
        shots: the candidates.
        box: see `loops.region`.
        candidate: (kinds, hits) candidate of a hit as an ion of a kind, -1 where it is none.
        orders: for each other way, the hit (its place in a row) that takes each place.
        kind_of: (ions) kind of the ion at each place of a row.
    """

    shots: Candidates
    box: FloatArray
    candidate: IntArray
    orders: tuple[tuple[int, ...], ...]
    kind_of: IntArray

    @classmethod
    def of(cls, shots: Candidates, wanted: Block, box: FloatArray) -> OtherRoles:
        """The other ways of a channel with this number of ions of each kind.

        Without a gate (`box` of shape (0, 3)), and where no hit can be two ions, there are none.
        """
        kind_of = np.repeat(np.arange(len(wanted)), wanted)
        candidate = np.full((len(wanted), len(shots.every)), -1, np.int64)
        candidate[shots.kind, shots.hit] = np.arange(len(shots.hit))
        there = (candidate >= 0).astype(np.float32)
        either = (there @ there.T) > 0
        orders: dict[tuple[tuple[int, ...], ...], tuple[int, ...]] = {}
        np.fill_diagonal(either, val=True)
        if len(box) and either.sum() > len(wanted):
            places = range(len(kind_of))
            for order in permutations(places):
                if all(either[kind_of[place], kind_of[order[place]]] for place in places):
                    # Like ions are exchanged without any effect.
                    way = tuple(
                        tuple(sorted(order[p] for p in places if kind_of[p] == kind))
                        for kind in range(len(wanted))
                    )
                    orders.setdefault(way, order)
            orders.pop(
                tuple(tuple(p for p in places if kind_of[p] == kind) for kind in range(len(wanted)))
            )
        return cls(shots, box, candidate, tuple(orders.values()), kind_of)

    def counted(self, rows: IntArray, regions: IntArray) -> BoolArray:
        """(n) whether combinations count.

        Args:
            rows: (n, ions) candidates.
            regions: (n) `loops.GATE` or `loops.RING`.
        """
        kept = np.ones(len(rows), np.bool_)
        if not self.orders or not len(rows):
            return kept
        _, own = self._off(rows)
        hits = self.shots.hit[rows]
        for order in self.orders:
            other = self.candidate[self.kind_of, hits[:, order]]
            possible = np.flatnonzero((other >= 0).all(axis=1))
            inside, off = self._off(other[possible])
            better = inside & ((regions[possible] != GATE) | (off < own[possible]))
            kept[possible[better]] = False
        return kept

    def _off(self, rows: IntArray) -> tuple[BoolArray, FloatArray]:
        """Whether momentum sums are in the gate, and their squared distance in its half widths."""
        off = (self.shots.momentum[rows].sum(axis=1) - self.box[0]) / self.box[1]
        inside: BoolArray = (np.abs(off) <= 1.0).all(axis=1)
        return inside, np.square(off).sum(axis=1)
