"""Compiled search of shots with very many combinations, which are divided into halves.

The combinations are enumerated by `halves`, candidates that share hits are resolved by `verdict`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled, inner, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.combinations.direct import FEW
from molexa_core.reduction.combinations.halves import (
    BITS,
    PARENT,
    PLACE,
    START,
    bound,
    divide,
    list_half,
    make_grid,
    room_for,
    taken,
    ways,
)
from molexa_core.reduction.combinations.shot import (
    CEILING,
    CENTRE,
    COLLECT,
    COLLECTED,
    COMBINATIONS,
    CROWDED,
    EVERY,
    FOUND,
    HALF_WIDTH,
    LEFT,
    MAX_MOMENTUM,
    MOST,
    OVERLAP,
    REACH,
    ROOM,
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
from molexa_core.reduction.combinations.verdict import judge, write_out

_TOGETHER: Final = 1024
"""Combinations that are judged together."""


@inner
def mark_contested(count: IntArray, members: IntArray, bits: IntArray) -> None:
    """Give hits that are candidates of several kinds a bit, which is the same in each list."""
    kinds = len(count)
    for kind in range(kinds):
        for index in range(count[kind]):
            bits[kind, index] = 0
    number = 0
    for kind in range(kinds):
        for index in range(count[kind]):
            if bits[kind, index]:
                continue
            bit = 1 << (number % BITS)
            shared = False
            for other in range(kind + 1, kinds):
                for place in range(count[other]):
                    if members[other, place] == members[kind, index]:
                        bits[other, place] = bit
                        shared = True
            if shared:
                bits[kind, index] = bit
                number += 1


@inner
def enlarged(found: IntArray, numbers: FloatArray) -> tuple[IntArray, FloatArray]:
    """Copies with room for twice the rows."""
    more = np.empty((2 * len(found), found.shape[1]), np.int64)
    larger = np.empty((len(more), 2))
    more[: len(found)] = found
    larger[: len(found)] = numbers
    return more, larger


@compiled
def search_shots(  # noqa: PLR0915  # one compiled loop
    order: IntArray,
    most: int,
    hits: Columns,
    sought: Sought,
    counted: Counted,
) -> tuple[IntArray, FloatArray]:
    """Search shots with many combinations for coincidences (few: `direct.search_few`).

    Args:
        order: the shots to be searched.
        most: largest number of hits of one of them.
        hits: calibrated hits.
        sought: what is looked for.
        counted: what is added to. Where sums are collected, the search ends when there is no more
            room for them, and at a shot with few combinations.

    Returns:
        (found, 1 + ions) shot and hits of each coincidence, like ions ordered by time of flight,
        the best of a shot first; (found, 2) chi-square and probability.
    """
    offsets, x, y, t = hits
    kinds, flights, wanted, kind_of, limits, asked, weigh, gate, _ = sought
    collected, _, elsewhere, counters = counted
    ions, n_kinds = len(kind_of), len(kinds)
    count = np.zeros(n_kinds, np.int64)
    members = np.zeros((n_kinds, most + 1), np.int64)
    momenta = np.zeros((n_kinds, most + 1, 3))
    bits = np.zeros((n_kinds, most + 1), np.int64)
    coincidences, numbers = np.empty((256, 1 + ions), np.int64), np.empty((256, 2))
    size = int(limits[ROOM])
    rows = np.empty((size, 1 + ions), np.int64)
    odds = np.empty(size)
    found = np.empty((_TOGETHER, ions), np.int64)
    picks = Picks(np.empty((_TOGETHER, 1 + ions), np.int64), np.empty((_TOGETHER, 3)))
    size = 0
    sums, sorted_sums = np.empty((3, size)), np.empty((3, size))
    tree = np.empty((4, size), np.int64)
    nodes, cells = np.empty(size, np.int64), np.empty(size, np.int64)
    starts = np.empty(size, np.int64)
    axes = np.empty(3, np.int64)
    frame, extent = np.empty((2, 2)), np.empty((2, 3))
    choice, whole = np.zeros(ions, np.int64), np.zeros(ions, np.int64)
    room = np.zeros(ions, np.int64)
    path = np.zeros((ions + 1, 3))
    for shot in order:
        if asked == COLLECT and counters[COLLECTED] >= len(collected):
            break
        counters[SHOTS] += 1
        combinations = sort_shot(
            offsets[shot], offsets[shot + 1], x, y, t, kinds, flights, wanted, limits[MAX_MOMENTUM],
            count, members, momenta,
        )  # fmt: skip
        if combinations == 0.0:
            continue
        if asked == COLLECT and combinations <= FEW:
            counters[SHOTS] -= 1
            counters[LEFT] += 1
            break
        split, work = ions - 1, combinations
        if asked != EVERY:
            split, work = divide(kind_of, count)
        if combinations > limits[MOST] or work > limits[WORK]:
            counters[CROWDED] += 1
            continue
        counters[COMBINATIONS] += 0 if asked == EVERY else int(combinations)
        if limits[OVERLAP] != 0.0:
            mark_contested(count, members, bits)
        limits[CEILING] = -np.inf
        listed = int(ways(kind_of, count, split, integer(ions)))
        if listed > len(nodes):
            size = listed + 1
            sorted_sums = np.empty((3, size))
            nodes, cells = np.empty(size, np.int64), np.empty(size, np.int64)
            starts = np.empty(size + 2, np.int64)
            size = 1 + listed * ions
            sums, tree = np.empty((3, size)), np.empty((4, size), np.int64)
        begin, end = list_half(split, kind_of, count, members, momenta, bits, room, sums, tree)
        if end == begin:
            continue
        bound(split, kind_of, count, momenta, extent)
        side = make_grid(
            begin, end, sums, gate[HALF_WIDTH], extent, axes, frame, starts, cells,
            sorted_sums, nodes,
        )  # fmt: skip
        n = walk(
            split, count, members, momenta, choice, room, path, side, starts, frame, axes, tree,
            sorted_sums, nodes, sought, counted, rows, odds, found, picks, whole,
        )  # fmt: skip
        if n == 0:
            continue
        while counters[FOUND] + n > len(coincidences):
            coincidences, numbers = enlarged(coincidences, numbers)
        counters[FOUND] = write_out(
            n, rows, odds, shot, offsets, weigh, asked, limits, elsewhere,
            counters, counters[FOUND], coincidences, numbers,
        )  # fmt: skip
    return coincidences[: counters[FOUND]], numbers[: counters[FOUND]]


@inner
def complete(
    n_picks: int,
    split: int,
    kind_of: IntArray,
    members: IntArray,
    momenta: FloatArray,
    tree: IntArray,
    found: IntArray,
    overlap: bool,
    gate: FloatArray,
    asked: int,
    choice: IntArray,
    hits: IntArray,
    sums: FloatArray,
    collected: FloatArray,
    counters: IntArray,
) -> int:
    """Write out combinations that are given by `found` (combinations, ions).

    The first half are places of the hits in the lists of their kinds, the second half is its node
    in the column `split`. `choice` (ions) is work space, the
    last four arguments are those of `shot.accept`.

    Returns:
        number of combinations in `hits` and `sums`: those of interest that use each hit once.
    """
    ions = len(kind_of)
    kept = integer(0)
    for pick in range(n_picks):
        node = found[pick, split]
        for column in range(split):
            choice[column] = found[pick, column]
        for column in range(ions - 1, split - 1, -1):
            choice[column] = tree[PLACE, node]
            node = tree[PARENT, node]
        clash = False
        if overlap:
            for column in range(split, ions):
                hit = members[kind_of[column], choice[column]]
                for other in range(split):
                    clash |= members[kind_of[other], choice[other]] == hit
        if clash:
            continue
        kept = accept(
            integer(0), choice, kind_of, members, momenta, gate, asked, kept, hits, sums,
            collected, counters,
        )  # fmt: skip
    return int(kept)


@inner
def judge_found(
    n_found: int, split: int, members: IntArray, momenta: FloatArray, tree: IntArray,
    found: IntArray, sought: Sought, counted: Counted, choice: IntArray, picks: Picks,
    n: int, rows: IntArray, odds: FloatArray, pick_of: IntArray,
) -> int:  # fmt: skip
    """Write out and judge combinations; see `complete` and `verdict.judge`.

    Returns:
        number of rows in use.
    """
    _, _, _, kind_of, limits, asked, _, gate, shifts = sought
    collected, histograms, _, counters = counted
    hits, totals = picks
    n_picks = complete(
        n_found, split, kind_of, members, momenta, tree, found, limits[OVERLAP] != 0.0, gate,
        asked, choice, hits, totals, collected, counters,
    )  # fmt: skip
    return judge(
        integer(0), n_picks, hits, totals, gate, shifts, limits, histograms, counters, n, rows,
        odds, pick_of,
    )  # fmt: skip


@inner
def walk(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    split: int, count: IntArray, members: IntArray, momenta: FloatArray,
    choice: IntArray, room: IntArray, path: FloatArray, side: int,
    starts: IntArray, frame: FloatArray, axes: IntArray, tree: IntArray,
    sorted_sums: FloatArray, nodes: IntArray, sought: Sought, counted: Counted,
    rows: IntArray, odds: FloatArray, found: IntArray, picks: Picks, whole: IntArray,
) -> int:  # fmt: skip
    """Go through the combinations of the first half and look up what completes them.

    Returns:
        number of candidates in `rows` (box, hits) and `odds`; see `verdict.judge`.
    """
    _, _, _, kind_of, limits, asked, _, gate, _ = sought
    collected, _, _, counters = counted
    pick_of = np.empty(len(rows), np.int64)
    ions, overlap = len(kind_of), limits[OVERLAP] != 0.0
    u, v, w = axes[0], axes[1], axes[2]
    slack = 1.0 + SLACK
    half_u = gate[HALF_WIDTH, u] * slack + SLACK
    half_v = gate[HALF_WIDTH, v] * slack + SLACK
    half_w = gate[HALF_WIDTH, w] * slack + SLACK
    reach_u = gate[REACH, u] * slack + SLACK
    reach_v = gate[REACH, v] * slack + SLACK
    reach_w = gate[REACH, w] * slack + SLACK
    left, across = frame[0, 0], frame[0, 1]
    low, along = frame[1, 0], frame[1, 1]
    alike = split > 0 and kind_of[split - 1] == kind_of[split]
    room_for(kind_of, integer(0), split, room)
    if alike:  # the second half needs hits of the same kind behind those of the first
        behind = 0
        for column in range(split, ions):
            behind += 1 if kind_of[column] == kind_of[split] else 0
        for column in range(split):
            if kind_of[column] == kind_of[split]:
                room[column] += behind
    n, n_found, none = integer(0), integer(0), integer(0)
    column = integer(0)
    if split:
        choice[0] = -1
    path[0, 0] = path[0, 1] = path[0, 2] = 0.0
    while column >= 0:
        if column < split:
            kind = kind_of[column]
            choice[column] += 1
            index = choice[column]
            if index > count[kind] - room[column]:
                column -= 1
                continue
            if overlap and taken(kind, index, none, column, kind_of, choice, members):
                continue
            for axis in range(3):
                path[column + 1, axis] = path[column, axis] + momenta[kind, index, axis]
            column += 1
            if column < split:
                choice[column] = choice[column - 1] if kind_of[column] == kind else -1
                continue
        earliest = choice[split - 1] if alike else -1
        need_u = gate[CENTRE, u] - path[split, u]
        need_v = gate[CENTRE, v] - path[split, v]
        need_w = gate[CENTRE, w] - path[split, w]
        first_row, last_row = 0, 0
        if side > 1:
            first_row = max(0, int(np.floor((need_u - reach_u - left) * across)))
            last_row = min(side - 1, int(np.floor((need_u + reach_u - left) * across)))
        for row in range(first_row, last_row + 1):
            first_cell, last_cell = 0, 0
            if side > 1:
                wide = reach_v
                # outside the gate on this axis: the sum must lie in it on the others
                behind_row = row > 0 and (need_u + half_u - left) * across < row
                if behind_row or (need_u - half_u - left) * across > row + 1:
                    wide = half_v
                first_cell = max(0, int(np.floor((need_v - wide - low) * along)))
                last_cell = min(side - 1, int(np.floor((need_v + wide - low) * along)))
            cell = first_cell
            while cell <= last_cell:
                end = cell if alike else last_cell
                begin_at, end_at = starts[row * side + cell], starts[row * side + end + 1]
                cell = end + 1
                for place in range(end_at - 1, begin_at - 1, -1):
                    if alike and tree[START, nodes[place]] <= earliest:
                        break
                    apart_u = abs(sorted_sums[0, place] - need_u)
                    apart_v = abs(sorted_sums[1, place] - need_v)
                    apart_w = abs(sorted_sums[2, place] - need_w)
                    if asked != EVERY:
                        if apart_u > reach_u or apart_v > reach_v or apart_w > reach_w:
                            continue
                        far_u, far_v, far_w = apart_u > half_u, apart_v > half_v, apart_w > half_w
                        if (far_u and far_v) or (far_u and far_w) or (far_v and far_w):
                            continue
                    for other in range(split):
                        found[n_found, other] = choice[other]
                    found[n_found, split] = nodes[place]
                    n_found += 1
                    if n_found < len(found):
                        continue
                    n = judge_found(
                        n_found, split, members, momenta, tree, found, sought, counted, whole,
                        picks, n, rows, odds, pick_of,
                    )  # fmt: skip
                    n_found = integer(0)
                    if asked == COLLECT and counters[COLLECTED] >= len(collected):
                        return int(n)
        column -= 1
    return judge_found(
        n_found, split, members, momenta, tree, found, sought, counted, whole, picks, n, rows, odds,
        pick_of,
    )  # fmt: skip
