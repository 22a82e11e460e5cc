"""Sorting of edges into hits by several threads: the step of a watch that takes the longest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Final

import numpy as np

from molexa_core.base.settings import Anode
from molexa_core.base.tables import Edges, Hits
from molexa_core.detector.sorter import Sorter
from molexa_core.pipeline.work.executor_choice import cores

_FEWEST: Final = 2000
"""Shots of a thread below which there is nothing to gain."""
MOST_THREADS: Final = 8


class SortingThreads:
    """Sorts chunks of edges with all cores; the hits do not depend on their number.

    Args:
        anode: settings of the anode.
        threads: how many; the cores of this process, at most `MOST_THREADS`, if None.
    """

    def __init__(self, anode: Anode, threads: int | None = None) -> None:
        number = min(cores(), MOST_THREADS) if threads is None else threads
        self._sorters = [Sorter(anode) for _ in range(max(1, number))]
        self._pool = ThreadPoolExecutor(len(self._sorters), thread_name_prefix="molexa-sort")

    def sort(self, edges: Edges) -> Hits:
        """The hits of a chunk of shots, as `Sorter.sort` gives them."""
        number = min(len(self._sorters), edges.n_shots // _FEWEST)
        if number < 2:
            return self._sorters[0].sort(edges)
        ends = np.linspace(0, edges.n_shots, number + 1).astype(int).tolist()
        parts = [edges.shots(low, high) for low, high in pairwise(ends)]
        sorted_parts = self._pool.map(_sort, self._sorters[:number], parts)
        return Hits.concatenate(list(sorted_parts))


def _sort(sorter: Sorter, edges: Edges) -> Hits:
    return sorter.sort(edges)
