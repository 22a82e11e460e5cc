"""Compiled search of shots with few combinations of hits, which are all looked at.

Shots with more combinations are left to `search`, whose machinery is compiled only where a run has
such shots.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled, inlined, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.halves import room_for, taken
from molexa_core.reduction.search import (
    CEILING,
    CENTRE,
    COLLECT,
    COLLECTED,
    COMBINATIONS,
    CROWDED,
    EVERY,
    FEW,
    FOUND,
    LEFT,
    MAX_MOMENTUM,
    MOST,
    OVERLAP,
    REACH,
    ROOM,
    SHOTS,
    SLACK,
    WORK,
    enlarged,
    judge,
    sort_shot,
    write_out,
)

_START: Final = 256


@inlined
def scan(
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    room: IntArray,
    ends: IntArray,
    choice: IntArray,
    path: FloatArray,
    reach: FloatArray,
    overlap: bool,
    picks: IntArray,
) -> int:
    """Go through all combinations of a shot.

    Fills `picks` (combinations, ions) with those whose sum lies within `reach` (3) of the centre of
    the gate: the place of each hit in the list of its kind. `path` (ions + 1, 3) are sums up to
    each column; the first row is the negative centre. `ends` and `choice` (ions) are work space.

    Returns:
        number of combinations in `picks`.
    """
    last = len(kind_of) - 1
    reach_x, reach_y, reach_z = reach[0], reach[1], reach[2]
    n_picks = integer(0)
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
            far = abs(sum_z + momenta[kind, index, 2]) > reach_z
            far |= abs(sum_x + momenta[kind, index, 0]) > reach_x
            far |= abs(sum_y + momenta[kind, index, 1]) > reach_y
            if far:
                continue
            if overlap and taken(kind, index, integer(0), column, kind_of, choice, members):
                continue
            for earlier in range(last):
                picks[n_picks, earlier] = choice[earlier]
            picks[n_picks, last] = index
            n_picks += 1
        column -= 1
    return int(n_picks)


@compiled
def search_few(  # one compiled loop
    order: IntArray,
    most: int,
    offsets: IntArray,
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    kinds: FloatArray,
    flights: FloatArray,
    wanted: IntArray,
    kind_of: IntArray,
    limits: FloatArray,
    asked: int,
    weigh: bool,
    gate: FloatArray,
    shifts: FloatArray,
    collected: FloatArray,
    histograms: IntArray,
    elsewhere: IntArray,
    counters: IntArray,
    left: IntArray,
) -> FloatArray:
    """Search the shots with few combinations; arguments and result are those of `search_shots`.

    `left` (shots) is filled with the `counters[LEFT]` shots that have more combinations. Where sums
    are collected, the first of them ends the search, because the order matters.
    """
    ions, n_kinds = len(kind_of), len(kinds)
    count, ends = np.zeros(n_kinds, np.int64), np.zeros(ions, np.int64)
    members = np.zeros((n_kinds, most), np.int64)
    momenta = np.zeros((n_kinds, most, 3))
    coincidences = np.empty((_START, 3 + ions))
    rows = np.empty((int(limits[ROOM]), 1 + ions), np.int64)
    odds = np.empty(len(rows))
    picks = np.empty((int(FEW) + 1, ions), np.int64)
    choice, room = np.zeros(ions, np.int64), np.zeros(ions, np.int64)
    path, total = np.zeros((ions + 1, 3)), np.empty(3)
    room_for(kind_of, integer(0), integer(ions), room)
    overlap = limits[OVERLAP] != 0.0
    reach = np.empty(3)
    for axis in range(3):
        reach[axis] = gate[REACH, axis] * (1.0 + SLACK) + SLACK if asked != EVERY else np.inf
    for axis in range(3):
        path[0, axis] = -gate[CENTRE, axis]
    for shot in order:
        if asked == COLLECT and counters[COLLECTED] >= len(collected):
            break
        counters[SHOTS] += 1
        begin, end = offsets[shot], offsets[shot + 1]
        combinations = sort_shot(
            begin, end, x, y, t, kinds, flights, wanted, limits[MAX_MOMENTUM], count, members,
            momenta,
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
        n_picks = scan(
            kind_of, count, members, momenta, room, ends, choice, path, reach, overlap, picks
        )
        if n_picks == 0:
            continue
        limits[CEILING] = -np.inf
        n = judge(
            n_picks, picks, kind_of, members, momenta, gate, shifts, asked, limits,
            collected, histograms, counters, integer(0), rows, odds, total,
        )  # fmt: skip
        if asked == COLLECT or n == 0:
            continue
        while counters[FOUND] + n > len(coincidences):
            coincidences = enlarged(coincidences)
        write_out(
            n, rows, odds, shot, begin, end, weigh, asked, limits, elsewhere, coincidences, counters
        )
    return coincidences[: counters[FOUND]]
