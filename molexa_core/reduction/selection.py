"""Compiled selection of the coincidences of a shot among candidates that share hits."""

from __future__ import annotations

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray


@compiled
def ranked(n: int, distances: FloatArray) -> IntArray:
    """Rows in ascending order of distance; rows of equal distance keep their order.

    Shell sort: short, and quick for the handful of candidates of a shot.
    """
    order = np.empty(n, np.int64)
    for row in range(n):
        order[row] = row
    gap = n // 2
    while gap > 0:
        for place in range(gap, n):
            row = order[place]
            slot = place
            while slot >= gap:
                other = order[slot - gap]
                if distances[other] < distances[row] or (
                    distances[other] == distances[row] and other < row
                ):
                    break
                order[slot] = other
                slot -= gap
            order[slot] = row
        gap //= 2
    return order


@compiled
def select(
    n: int,
    boxes: IntArray,
    distances: FloatArray,
    hits: IntArray,
    accepted: IntArray,
    elsewhere: IntArray,
) -> int:
    """Choose among the candidates of one shot: the nearest first, none sharing a hit with it.

    Candidates of box 0, the gate, compete with each other. Candidates of a displaced box compete
    with those accepted in the gate and with those of their own box: each stands for a false
    coincidence that would have been counted, had its sum fallen into the gate.

    `boxes`, `distances` and `hits` (n, ions) describe the `n` candidates; `accepted` is filled with
    the rows accepted in the gate; the winners of each box are added to `elsewhere`.

    Returns:
        number of rows accepted in the gate.
    """
    order = ranked(n, distances)
    n_accepted = 0
    for pass_box in range(len(elsewhere)):
        won = np.empty(n if pass_box else 0, np.int64)
        n_won = 0
        for row in order:
            if boxes[row] != pass_box:
                continue
            free = True
            for rank in range(n_accepted):
                other = accepted[rank]
                if distances[other] <= distances[row] and _share(hits, row, other):
                    free = False
                    break
            for rank in range(n_won):
                if free and _share(hits, row, won[rank]):
                    free = False
            if not free:
                continue
            if pass_box == 0:
                accepted[n_accepted] = row
                n_accepted += 1
            else:
                won[n_won] = row
                n_won += 1
        elsewhere[pass_box] += n_won if pass_box else n_accepted
    return n_accepted


@compiled
def _share(hits: IntArray, one: int, other: int) -> bool:
    for i in range(hits.shape[1]):
        for j in range(hits.shape[1]):
            if hits[one, i] == hits[other, j]:
                return True
    return False
