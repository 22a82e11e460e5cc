"""Compiled search of shots with few combinations of hits, which are all looked at.

Shots with more combinations are left to the next search, which is compiled only where a run has
such shots.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled, inlined, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.combinations.halves import room_for, taken
from molexa_core.reduction.combinations.shot import (
    CENTRE,
    COLLECT,
    COLLECTED,
    COMBINATIONS,
    CROWDED,
    EVERY,
    HALF_WIDTH,
    LEFT,
    MAX_MOMENTUM,
    MOST,
    OVERLAP,
    REACH,
    SHOTS,
    SLACK,
    WORK,
    Columns,
    Counted,
    Picks,
    Sought,
    accept,
    sort_shot,
)

FEW: Final = 300.0
"""Up to this number of combinations of a shot all of them are looked at."""


@inlined
def scan(
    shot: int,
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    room: IntArray,
    ends: IntArray,
    choice: IntArray,
    path: FloatArray,
    reach: FloatArray,
    half: FloatArray,
    overlap: bool,
    gate: FloatArray,
    asked: int,
    n: int,
    hits: IntArray,
    sums: FloatArray,
    collected: FloatArray,
    counters: IntArray,
) -> int:
    """Go through all combinations of a shot and `accept` those of interest.

    Only those are looked at closely whose sum lies within `reach` (3) of the centre of the gate,
    and within `half` (3) on two axes; both are a little too large. `path`
    (ions + 1, 3) are sums up to each column; the first row is the negative centre. `ends` and
    `choice` (ions) are work space.

    Returns:
        number of picks.
    """
    last = len(kind_of) - 1
    reach_x, reach_y, reach_z = reach[0], reach[1], reach[2]
    half_x, half_y, half_z = half[0], half[1], half[2]
    for column in range(last + 1):
        ends[column] = count[kind_of[column]] - room[column] + 1
    column = integer(0)
    choice[0] = -1
    while column >= 0:
        kind = kind_of[column]
        if column < last:
            choice[column] += 1
            index = choice[column]
            if index >= ends[column]:
                column -= 1
                continue
            if overlap and taken(kind, index, integer(0), column, kind_of, choice, members):
                continue
            for axis in range(3):
                path[column + 1, axis] = path[column, axis] + momenta[kind, index, axis]
            column += 1
            choice[column] = choice[column - 1] if kind_of[column] == kind else -1
            continue
        sum_x, sum_y, sum_z = path[column, 0], path[column, 1], path[column, 2]
        for index in range(choice[column] + 1, ends[column]):
            apart_x = abs(sum_x + momenta[kind, index, 0])
            apart_y = abs(sum_y + momenta[kind, index, 1])
            apart_z = abs(sum_z + momenta[kind, index, 2])
            if (apart_x > reach_x) | (apart_y > reach_y) | (apart_z > reach_z):
                continue
            far_x, far_y, far_z = apart_x > half_x, apart_y > half_y, apart_z > half_z
            if (far_x & far_y) | (far_x & far_z) | (far_y & far_z):
                continue
            if overlap and taken(kind, index, integer(0), column, kind_of, choice, members):
                continue
            choice[last] = index
            n = accept(
                shot, choice, kind_of, members, momenta, gate, asked, n, hits, sums,
                collected, counters,
            )  # fmt: skip
        column -= 1
    return n


@compiled
def search_few(
    order: IntArray,
    begin: int,
    most: int,
    hits: Columns,
    sought: Sought,
    counted: Counted,
    picks: Picks,
    left: IntArray,
) -> tuple[int, int]:
    """Search the shots with few combinations.

    Args:
        order: the shots to be searched, from place `begin` on.
        begin: see `order`.
        most: largest number of hits of a shot.
        hits: calibrated hits.
        sought: what is looked for.
        counted: what is added to.
        picks: filled from the first row on with the combinations of interest.
        left: (shots) the `counters[LEFT]` shots that have more combinations. Where sums are
            collected, the first of them ends the search, because the order matters.

    Returns:
        the place in `order` where the search ended, because `picks` was full if it is not the end;
        number of picks.
    """
    offsets, x, y, t = hits
    kinds, flights, wanted, kind_of, limits, asked, _, gate, _ = sought
    collected, _, _, counters = counted
    found, totals = picks
    ions, n_kinds = len(kind_of), len(kinds)
    count, ends = np.zeros(n_kinds, np.int64), np.zeros(ions, np.int64)
    members = np.zeros((n_kinds, most + 1), np.int64)
    momenta = np.zeros((n_kinds, most + 1, 3))
    choice, room = np.zeros(ions, np.int64), np.zeros(ions, np.int64)
    path, reach, half = np.zeros((ions + 1, 3)), np.empty(3), np.empty(3)
    room_for(kind_of, integer(0), integer(ions), room)
    overlap = limits[OVERLAP] != 0.0
    for axis in range(3):
        reach[axis] = gate[REACH, axis] * (1.0 + SLACK) + SLACK if asked != EVERY else np.inf
        half[axis] = gate[HALF_WIDTH, axis] * (1.0 + SLACK) + SLACK
        path[0, axis] = -gate[CENTRE, axis]
    n = integer(0)
    for place in range(begin, len(order)):
        if asked == COLLECT and counters[COLLECTED] >= len(collected):
            break
        if n + FEW > len(found):
            return place, n
        shot = order[place]
        counters[SHOTS] += 1
        combinations = sort_shot(
            offsets[shot], offsets[shot + 1], x, y, t, kinds, flights, wanted, limits[MAX_MOMENTUM],
            count, members, momenta,
        )  # fmt: skip
        if combinations == 0.0:
            continue
        if combinations > FEW:
            left[counters[LEFT]] = shot
            counters[LEFT] += 1
            counters[SHOTS] -= 1
            if asked == COLLECT:
                break
            continue
        if combinations > limits[MOST] or combinations > limits[WORK]:
            counters[CROWDED] += 1
            continue
        counters[COMBINATIONS] += 0 if asked == EVERY else int(combinations)
        n = scan(
            shot, kind_of, count, members, momenta, room, ends, choice, path, reach, half,
            overlap, gate,
            asked, n, found, totals, collected, counters,
        )  # fmt: skip
    return len(order), n
