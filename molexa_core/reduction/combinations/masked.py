"""Compiled search of shots with thousands of combinations, by lookup in tables of bits.

The first kinds of ions, as many as have few combinations, are listed, one bit for each. On each
axis a table says for every interval of sums of the other ions which of those listed bring the total
near the gate. So all combinations of the others are gone through once, and three look-ups tell for
each which of those listed complete it: mostly none. They are gone through in long loops over
`tails`, combinations of some of the last ions, in such an order that those behind a hit come first.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from molexa_core.base.compiled import compiled, inner, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.combinations.halves import BITS, bound, choose, room_for, taken, ways
from molexa_core.reduction.combinations.shot import (
    CENTRE,
    COMBINATIONS,
    HALF_WIDTH,
    LEFT,
    MAX_MOMENTUM,
    MOST,
    MOST_PICKS,
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

MANY: Final = float(1 << 20)
"""Up to this number of combinations of a shot they are looked up in tables."""
_INTERVALS: Final = 128
natural: Any = np.uint64
"""Makes numbers of elements that are not negative, which need not be counted from the end."""
_MOST_LISTED: Final = 4096.0
_PLACE_OF: Final = np.zeros(67, np.int64)
"""Place of a bit by its remainder modulo 67, which is another one for each of 64 bits."""
for _bit in range(BITS):
    _PLACE_OF[(1 << _bit) % 67] = _bit


@inner
def shortest(kind_of: IntArray, count: IntArray) -> tuple[int, float]:
    """Column at which the ions that are gone through begin, and the expected time in ns."""
    ions = len(kind_of)
    best, least = 0, np.inf
    for column in range(ions):
        if column > 0 and kind_of[column] == kind_of[column - 1]:
            continue
        listed = ways(kind_of, count, integer(0), column)
        if column > 0 and listed > _MOST_LISTED:
            break
        passes = np.ceil(listed / BITS)
        time = 10.0 * listed + passes * (5.0 * ways(kind_of, count, column, integer(ions)) + 500.0)
        if time < least:
            best, least = column, time
    return best, least


@inner
def list_first(
    split: int, kind_of: IntArray, count: IntArray, members: IntArray, momenta: FloatArray,
    room: IntArray, overlap: bool, choice: IntArray, listed: IntArray, sums: FloatArray,
) -> int:  # fmt: skip
    """List the combinations of the columns before `split`.

    Fills `listed` (combinations, ions) with the places of their hits and `sums` (combinations, 3).

    Returns:
        number of combinations.
    """
    n, column = integer(0), integer(0)
    choice[0] = -1
    while column >= 0:
        if column == split:
            for axis in range(3):
                sums[n, axis] = 0.0
            for other in range(split):
                listed[n, other] = choice[other]
                for axis in range(3):
                    sums[n, axis] += momenta[kind_of[other], choice[other], axis]
            n += 1
            column -= 1
            continue
        kind = kind_of[column]
        choice[column] += 1
        index = choice[column]
        if index > count[kind] - room[column]:
            column -= 1
            continue
        if overlap and taken(kind, index, integer(0), column, kind_of, choice, members):
            continue
        column += 1
        if column < split:
            choice[column] = choice[column - 1] if kind_of[column] == kind else -1
    return int(n)


@inner
def list_tails(
    first: int, kind: int, count: int, wanted: int, momenta: FloatArray, scale: FloatArray,
    choice: IntArray, tails: IntArray, sums: FloatArray, behind: IntArray,
) -> None:  # fmt: skip
    """List the combinations of the last `wanted` columns, which are of one kind.

    Fills `tails` (combinations, wanted) with places of hits, `sums` (3, combinations) in intervals,
    and `behind` (count + 1): so many have all their hits at this place or behind it, and they are
    the first ones.
    """
    n = integer(0)
    for start in range(count - 1, -1, -1):
        column = integer(1)
        choice[first] = start
        if wanted > 1:
            choice[first + 1] = start
        while column > 0:
            if column == wanted:
                for axis in range(3):
                    sums[axis, n] = 0.0
                for other in range(wanted):
                    place = choice[first + other]
                    tails[n, other] = place
                    for axis in range(3):
                        sums[axis, n] += momenta[kind, place, axis] * scale[axis]
                n += 1
                column -= 1
                continue
            choice[first + column] += 1
            if choice[first + column] > count - wanted + column:
                column -= 1
                continue
            column += 1
            if column < wanted:
                choice[first + column] = choice[first + column - 1]
        behind[start] = n
    behind[count] = 0


@inner
def fill_tables(
    first: int, last: int, needs: FloatArray, reach: FloatArray, tables: IntArray
) -> None:
    """For each interval of a sum the bits of those listed ones that bring the total near the gate.

    Those listed are the ones from `first` to before `last`, at most `BITS`; `needs` (listed, 3) and
    `reach` (3) are in intervals.
    """
    for axis in range(3):
        for place in range(_INTERVALS):
            tables[axis, place] = 0
        for one in range(first, last):
            begin, end = needs[one, axis] - reach[axis], needs[one, axis] + reach[axis]
            if not (end >= 0.0 and begin < _INTERVALS):
                continue
            bit = 1 << (one - first)
            for place in range(int(max(begin, 0.0)), int(min(end, _INTERVALS - 1.0)) + 1):
                tables[axis, place] |= bit


@inner
def complete(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    shot: int, split: int, turn: int, n_listed: int, kind_of: IntArray, members: IntArray,
    momenta: FloatArray, count: IntArray, room: IntArray, overlap: bool, choice: IntArray,
    path: FloatArray, listed: IntArray, needs: FloatArray, tails: IntArray, sums: FloatArray,
    behind: IntArray, scale: FloatArray, tables: IntArray, narrow: IntArray, reach: FloatArray,
    half: FloatArray,
    gate: FloatArray, asked: int, n: int, hits: IntArray, totals: FloatArray,
    collected: FloatArray, counters: IntArray, most_picks: int,
) -> int:  # fmt: skip
    """Go through the combinations of the columns from `split` on and look up the others.

    Those of the columns before `turn` are put together with the `tails`. `reach` and `half` (3) are
    distances from the centre of the gate in intervals, a little too large, for which `tables` and
    `narrow` (see `fill_tables`) are filled; `path` (ions + 1, 3),
    sums in intervals from the beginning of the first one, and `choice` (ions) are work space. The
    arguments from `gate` on are those of `shot.accept`, and how many picks there may be.

    Returns:
        number of picks; or -1 if there are too many.
    """
    ions, n_before, last = len(kind_of), n, kind_of[turn]
    alike = turn > split and kind_of[turn - 1] == last
    in_x, in_y, in_z = tables[0], tables[1], tables[2]
    narrow_x, narrow_y, narrow_z = narrow[0], narrow[1], narrow[2]
    tail_x, tail_y, tail_z = sums[0], sums[1], sums[2]
    for first in range(0, n_listed, BITS):
        fill_tables(first, min(first + BITS, n_listed), needs, reach, tables)
        fill_tables(first, min(first + BITS, n_listed), needs, half, narrow)
        column = integer(split)
        choice[column] = -1
        while column >= split:
            if column < turn:
                kind = kind_of[column]
                choice[column] += 1
                index = choice[column]
                if index > count[kind] - room[column]:
                    column -= 1
                    continue
                if overlap and taken(kind, index, integer(split), column, kind_of, choice, members):
                    continue
                for axis in range(3):
                    p = momenta[kind, index, axis] * scale[axis]
                    path[column + 1, axis] = path[column, axis] + p
                column += 1
                if column < turn:
                    choice[column] = choice[column - 1] if kind_of[column] == kind else -1
                    continue
            x0, y0, z0 = path[turn, 0], path[turn, 1], path[turn, 2]
            stop = behind[choice[turn - 1] + 1] if alike else behind[0]
            for tail in range(stop):
                x, y, z = x0 + tail_x[tail], y0 + tail_y[tail], z0 + tail_z[tail]
                i, j, k = natural(int(x)), natural(int(y)), natural(int(z))
                bits = in_x[i] & in_y[j] & in_z[k]
                if bits == 0:
                    continue
                u, v, w = narrow_x[i], narrow_y[j], narrow_z[k]
                bits &= (u & v) | (u & w) | (v & w)
                while bits != 0:
                    bit = bits & -bits
                    bits ^= bit
                    one = first + _PLACE_OF[bit % 67]
                    apart_x, apart_y = abs(x - needs[one, 0]), abs(y - needs[one, 1])
                    apart_z = abs(z - needs[one, 2])
                    far_x, far_y, far_z = apart_x > half[0], apart_y > half[1], apart_z > half[2]
                    if (far_x and far_y) or (far_x and far_z) or (far_y and far_z):
                        continue
                    if apart_x > reach[0] or apart_y > reach[1] or apart_z > reach[2]:
                        continue
                    for other in range(turn, ions):
                        choice[other] = tails[tail, other - turn]
                    for other in range(split):
                        choice[other] = listed[one, other]
                    clash = False
                    if overlap:
                        for other in range(ions - 1, split - 1, -1):
                            clash |= taken(
                                kind_of[other], choice[other], integer(0), other, kind_of, choice,
                                members,
                            )  # fmt: skip
                    if clash:
                        continue
                    if n - n_before >= most_picks:
                        return -1
                    n = accept(
                        shot, choice, kind_of, members, momenta, gate, asked, n, hits, totals,
                        collected, counters,
                    )  # fmt: skip
            column = turn - 1
    return n


@inner
def in_order(
    first: int, last: int, begin: int, kind_of: IntArray, count: IntArray, members: IntArray,
    places: IntArray, hits: IntArray, sums: FloatArray,
) -> None:  # fmt: skip
    """Put the picks from `first` to before `last`, all of one shot, in the order of their hits.

    Candidates of equal odds then stand in the order in which `direct` finds them. `begin` is the
    first hit of the shot, `places` (kinds, hits) is work space.
    """
    for kind in range(len(count)):
        for place in range(count[kind]):
            places[kind, members[kind, place] - begin] = place
    n, ions = last - first, len(kind_of)
    order = np.arange(n)
    gap = n // 2
    while gap > 0:  # as in `selection.ranked`
        for start in range(gap, n):
            one, slot = order[start], start
            while slot >= gap:
                other, behind = order[slot - gap], False
                for column in range(ions):
                    kind = kind_of[column]
                    place = places[kind, hits[first + one, 1 + column] - begin]
                    beside = places[kind, hits[first + other, 1 + column] - begin]
                    if place != beside:
                        behind = place > beside
                        break
                if behind:
                    break
                order[slot] = other
                slot -= gap
            order[slot] = one
        gap = 1 if gap == 2 else gap * 5 // 11
    old_hits, old_sums = hits[first:last].copy(), sums[first:last].copy()
    for row in range(n):
        for column in range(1 + ions):
            hits[first + row, column] = old_hits[order[row], column]
        for axis in range(3):
            sums[first + row, axis] = old_sums[order[row], axis]


@compiled
def search_masked(  # noqa: PLR0915  # one compiled loop
    order: IntArray,
    begin: int,
    most: int,
    hits: Columns,
    sought: Sought,
    counted: Counted,
    picks: Picks,
    left: IntArray,
) -> tuple[int, int]:
    """Search shots with many combinations, whose sums have a gate.

    Arguments and result are those of `direct.search_few`. Shots with more than `MANY` combinations,
    or with more of interest than are listed, are left.
    """
    offsets, x, y, t = hits
    kinds, flights, wanted, kind_of, limits, asked, _, gate, _ = sought
    collected, _, _, counters = counted
    found, totals = picks
    ions, n_kinds = len(kind_of), len(kinds)
    last = integer(n_kinds - 1)
    n_tail = max(wanted[last] // 2, integer(1))
    turn = ions - n_tail
    count, behind = np.zeros(n_kinds, np.int64), np.zeros(most + 2, np.int64)
    members = np.zeros((n_kinds, most + 1), np.int64)
    places = np.zeros((n_kinds, most + 1), np.int64)
    momenta = np.zeros((n_kinds, most + 1, 3))
    choice, room = np.zeros(ions + 1, np.int64), np.zeros(ions, np.int64)
    path, reach, half = np.zeros((ions + 1, 3)), np.empty(3), np.empty(3)
    extent, scale = np.empty((2, 3)), np.empty(3)
    tables = np.empty((3, _INTERVALS), np.int64)
    narrow = np.empty((3, _INTERVALS), np.int64)
    listed = np.empty((int(_MOST_LISTED) + 1, ions), np.int64)
    needs = np.empty((len(listed), 3))
    tails, sums = np.empty((0, n_tail), np.int64), np.empty((3, 0))
    room_for(kind_of, integer(0), integer(ions), room)
    overlap = limits[OVERLAP] != 0.0
    most_picks = min(MOST_PICKS, int(limits[ROOM]) // 2)  # a sum lies in two boxes at most
    n = integer(0)
    for place in range(begin, len(order)):
        if n + MOST_PICKS > len(found):
            return place, n
        shot = order[place]
        combinations = sort_shot(
            offsets[shot], offsets[shot + 1], x, y, t, kinds, flights, wanted, limits[MAX_MOMENTUM],
            count, members, momenta,
        )  # fmt: skip
        if combinations == 0.0:
            continue
        split, work = shortest(kind_of, count)
        if combinations > MANY or combinations > limits[MOST] or work > limits[WORK]:
            left[counters[LEFT]] = shot
            counters[LEFT] += 1
            continue
        n_listed = list_first(
            split, kind_of, count, members, momenta, room, overlap, choice, listed, needs
        )
        bound(split, kind_of, count, momenta, extent)
        for axis in range(3):
            margin = SLACK * (abs(extent[0, axis]) + abs(extent[1, axis]) + 1.0)
            low, high = extent[0, axis] - margin, extent[1, axis] + margin
            scale[axis] = _INTERVALS / (high - low)
            for one in range(n_listed):
                need = gate[CENTRE, axis] - needs[one, axis]
                needs[one, axis] = (need - low) * scale[axis]
            reach[axis] = gate[REACH, axis] * scale[axis] * (1.0 + SLACK) + SLACK
            half[axis] = gate[HALF_WIDTH, axis] * scale[axis] * (1.0 + SLACK) + SLACK
            path[split, axis] = -low * scale[axis]
        n_tails = int(choose(count[last], n_tail))
        if n_tails > len(tails):
            tails, sums = np.empty((n_tails, n_tail), np.int64), np.empty((3, n_tails))
        list_tails(turn, last, count[last], n_tail, momenta, scale, choice, tails, sums, behind)
        more = complete(
            shot, split, turn, n_listed, kind_of, members, momenta, count, room, overlap, choice,
            path, listed, needs, tails, sums, behind, scale, tables, narrow, reach, half, gate,
            asked, n, found, totals, collected, counters, most_picks,
        )  # fmt: skip
        if more < 0:
            left[counters[LEFT]] = shot
            counters[LEFT] += 1
            continue
        if more > n + 1:
            in_order(n, more, offsets[shot], kind_of, count, members, places, found, totals)
        n = more
        counters[SHOTS] += 1
        counters[COMBINATIONS] += int(combinations)
    return len(order), n
