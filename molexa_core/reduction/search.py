"""Compiled loops of the coincidence search: hits of a shot to candidates and coincidences.

`coincidences` prepares the arrays; their meaning is given at `search_shots`. The combinations are
enumerated by `halves`, candidates that share hits are resolved by `selection`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled, inlined, inner, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.halves import (
    BITS,
    PARENT,
    PLACE,
    START,
    bound,
    choose,
    divide,
    list_half,
    make_grid,
    room_for,
    taken,
    ways,
)
from molexa_core.reduction.momentum import initial_momentum
from molexa_core.reduction.selection import assign, beside, better, halved, in_box, masks_of

FIRST: Final = 0
LAST: Final = 1
"""Columns of `kinds`: the time-of-flight window in ns."""
SHOTS: Final = 0
COMBINATIONS: Final = 1
CROWDED: Final = 2
FOUND: Final = 3
COLLECTED: Final = 4
TRUNCATED: Final = 5
LEFT: Final = 6
COUNTERS: Final = 7
"""Indices of `counters`: shots searched, combinations in them, shots left out because of too much
work, coincidences found, momentum sums collected, shots with more candidates than are compared,
shots left to `search_shots` by `direct`."""
MAX_MOMENTUM: Final = 0
MOST: Final = 1
LOG_ODDS: Final = 2
ROOM: Final = 3
OVERLAP: Final = 4
CEILING: Final = 5
WORK: Final = 6
LIMITS: Final = 7
"""Indices of `limits`: largest momentum of an ion in a.u., most combinations of a shot, logarithm
of the odds of a candidate in the centre of the gate, most candidates of a shot, whether a hit can
be several kinds of ions, the odds that a candidate of the present shot must exceed, and most work
for a shot in expected steps of about a nanosecond."""
CENTRE: Final = 0
HALF_WIDTH: Final = 1
SIGMA: Final = 2
REACH: Final = 3
"""Rows of `gate`, a.u."""
BEST: Final = 0
ALL: Final = 1
EVERY: Final = 2
COLLECT: Final = 3
"""What is asked for: the best coincidences of each shot, all candidates in the gate, every
combination without a gate, or momentum sums only."""
SLACK: Final = 1e-9
_PICKS: Final = 1024
"""Combinations that are judged together."""
FEW: Final = 300.0
"""Up to this number of combinations of a shot all of them are looked at (`direct`)."""


@inlined
def sort_shot(
    begin: int,
    end: int,
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    kinds: FloatArray,
    flights: FloatArray,
    wanted: IntArray,
    max_momentum: float,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
) -> float:
    """List the candidate hits of one shot for each kind of ion.

    Fills `count` (kinds), `members` (kinds, hits) and `momenta` (kinds, hits, 3). Hits at the same
    time are ordered by position, so that the order of hits in the file does not matter.

    Returns:
        number of combinations; 0 where there are not enough hits of each kind. Choices that use one
        hit as two kinds of ions are counted too.
    """
    for kind in range(len(kinds)):  # before any momentum is computed
        n = 0
        first, last = kinds[kind, FIRST], kinds[kind, LAST]
        for hit in range(begin, end):
            members[kind, n] = hit
            n += 1 if first <= t[hit] <= last else 0
        count[kind] = n
        if n < wanted[kind]:
            return 0.0
    combinations, largest = 1.0, max_momentum * max_momentum
    for kind in range(len(kinds)):
        n = integer(0)
        for place in range(count[kind]):
            hit = members[kind, place]
            time = t[hit]
            px, py, pz = initial_momentum(x[hit], y[hit], time, flights, kind)
            if not px * px + py * py + pz * pz <= largest:
                continue
            slot = n
            while slot > 0:
                other = members[kind, slot - 1]
                if t[other] < time or (
                    t[other] == time
                    and (x[other] < x[hit] or (x[other] == x[hit] and y[other] <= y[hit]))
                ):
                    break
                members[kind, slot] = other
                for axis in range(3):
                    momenta[kind, slot, axis] = momenta[kind, slot - 1, axis]
                slot -= 1
            members[kind, slot] = hit
            momenta[kind, slot, 0] = px
            momenta[kind, slot, 1] = py
            momenta[kind, slot, 2] = pz
            n += 1
        count[kind] = n
        if n < wanted[kind]:
            return 0.0
        combinations *= choose(n, wanted[kind])
    return combinations


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
def judge(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    n_picks: int,
    picks: IntArray,
    kind_of: IntArray,
    members: IntArray,
    momenta: FloatArray,
    gate: FloatArray,
    shifts: FloatArray,
    asked: int,
    limits: FloatArray,
    collected: FloatArray,
    histograms: IntArray,
    counters: IntArray,
    n: int,
    rows: IntArray,
    odds: FloatArray,
    total: FloatArray,
) -> int:
    """Judge combinations, whose sums are added up in the order of the columns.

    `picks` (combinations, ions) holds the place of each hit in the list of its kind. A combination
    is added to `rows` (box, hits) and `odds`, once for each box that contains its sum, to
    `collected`, and to the histogram of an axis if the sum lies in the gate on the other two. Where
    there is no room for all of them, the best ones are kept, and the shot is counted.

    Returns:
        number of rows in use.
    """
    ions = len(kind_of)
    for pick in range(n_picks):
        inside = 0
        outside_on = 0
        near = True
        x, y, z = 0.0, 0.0, 0.0
        for column in range(ions):
            kind, place = kind_of[column], picks[pick, column]
            x += momenta[kind, place, 0]
            y += momenta[kind, place, 1]
            z += momenta[kind, place, 2]
        total[0], total[1], total[2] = x, y, z
        for axis in range(3):
            apart = abs(total[axis] - gate[CENTRE, axis])
            near &= apart <= gate[REACH, axis] or asked == EVERY
            if apart <= gate[HALF_WIDTH, axis]:
                inside += 1
            else:
                outside_on = axis
        if inside < 2 or not near:
            continue
        if asked == COLLECT:
            place = counters[COLLECTED]
            if place >= len(collected):
                break
            for axis in range(3):
                collected[place, axis] = total[axis]
                collected[place, 3 + axis] = 0.0
                for column in range(ions):
                    p = momenta[kind_of[column], picks[pick, column], axis]
                    collected[place, 3 + axis] += p * p
            counters[COLLECTED] += 1
            continue
        for axis in range(3):
            if inside == 3 or axis == outside_on:
                reach = gate[REACH, axis]
                bins = histograms.shape[1]
                position = (total[axis] - gate[CENTRE, axis] + reach) * (bins / (2.0 * reach))
                if 0.0 <= position < bins:
                    histograms[axis, int(position)] += 1
        for box in range(len(shifts) if inside < 3 else 1):
            if inside < 3 and shifts[box, outside_on] == 0.0:
                continue
            chi_square = 0.0
            for axis in range(3):
                deviation = total[axis] - gate[CENTRE, axis] - shifts[box, axis]
                if not abs(deviation / gate[HALF_WIDTH, axis]) <= 1.0:
                    chi_square = -1.0
                    break
                deviation /= gate[SIGMA, axis]
                chi_square += deviation * deviation
            if chi_square < 0.0 or limits[LOG_ODDS] - 0.5 * chi_square <= limits[CEILING]:
                continue
            if n >= len(rows):
                counters[TRUNCATED] += 1 if limits[CEILING] == -np.inf else 0
                limits[CEILING] = halved(n, odds)
                n = better(limits[CEILING], n, rows, odds)
            rows[n, 0] = box
            odds[n] = limits[LOG_ODDS] - 0.5 * chi_square
            for column in range(ions):
                rows[n, 1 + column] = members[kind_of[column], picks[pick, column]]
            n += 1
    return n


@inner
def enlarged(table: FloatArray) -> FloatArray:
    """A copy of a table with room for twice the rows."""
    larger = np.empty((2 * len(table), table.shape[1]))
    for row in range(len(table)):
        for column in range(table.shape[1]):
            larger[row, column] = table[row, column]
    return larger


@compiled
def search_shots(  # noqa: PLR0915  # one compiled loop
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
) -> FloatArray:
    """Search shots with many combinations for coincidences (few: `direct.search_few`).

    * `order`: the shots to be searched; `most`: largest number of hits of one of them.
    * `offsets`, `x`, `y`, `t`: calibrated hits, mm and ns.
    * `kinds` (kinds, 2): see `FIRST`, `LAST`; `wanted` (kinds): how many of each.
    * `flights` (kinds, numbers): `momentum.flight_row` of each kind: ion, spectrometer and jet.
    * `kind_of` (ions): kind of each ion of the channel, like ions side by side.
    * `limits`: see `MAX_MOMENTUM` and following; `asked`: see `BEST` and following; `weigh`:
      whether probabilities are asked for.
    * `gate` (4, 3): see `CENTRE` and following; sums beyond the reach, or outside the gate on two
      axes, are of no interest.
    * `shifts` (boxes, 3): displacement of each box along one axis, zero for box 0.
    * `collected` (capacity, 6): filled with momentum sums, and sums of squared momenta, along each
      axis; the search ends when it is full, and at a shot with few combinations.
    * `histograms` (3, bins) of momentum sums, `elsewhere` (boxes), `counters` (see `SHOTS` and
      following): added to.

    Returns:
        (found, 1 + ions + 2) shot, hits, chi-square and probability of each coincidence, like ions
        ordered by time of flight, the best of a shot first.
    """
    ions = len(kind_of)
    count = np.zeros(len(kinds), np.int64)
    members = np.zeros((len(kinds), most), np.int64)
    momenta = np.zeros((len(kinds), most, 3))
    bits = np.zeros((len(kinds), most), np.int64)
    coincidences = np.empty((256, 3 + ions))
    size = int(limits[ROOM])
    rows = np.empty((size, 1 + ions), np.int64)
    odds = np.empty(size)
    picks = np.empty((_PICKS, ions), np.int64)
    size = 0
    sums, sorted_sums = np.empty((3, size)), np.empty((3, size))
    tree = np.empty((4, size), np.int64)
    nodes, cells = np.empty(size, np.int64), np.empty(size, np.int64)
    starts = np.empty(size, np.int64)
    axes, total = np.empty(3, np.int64), np.empty(3)
    frame, extent = np.empty((2, 2)), np.empty((2, 3))
    choice = np.zeros(ions, np.int64)
    room = np.zeros(ions, np.int64)
    path = np.zeros((ions + 1, 3))
    for shot in order:
        if asked == COLLECT and counters[COLLECTED] >= len(collected):
            break
        counters[SHOTS] += 1
        combinations = sort_shot(
            offsets[shot], offsets[shot + 1], x, y, t, kinds, flights, wanted,
            limits[MAX_MOMENTUM], count, members, momenta,
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
            split, kind_of, count, members, momenta, choice, room, path, side,
            starts, frame, axes, tree, sorted_sums, nodes, gate, shifts, asked,
            limits, collected, histograms, counters, rows, odds,
            picks, total,
        )  # fmt: skip
        if asked == COLLECT or n == 0:
            continue
        while counters[FOUND] + n > len(coincidences):
            coincidences = enlarged(coincidences)
        write_out(
            n, rows, odds, shot, offsets[shot], offsets[shot + 1], weigh, asked, limits, elsewhere,
            coincidences, counters,
        )  # fmt: skip
    return coincidences[: counters[FOUND]]


@inner
def write_out(
    n: int,
    rows: IntArray,
    odds: FloatArray,
    shot: int,
    begin: int,
    end: int,
    weigh: bool,
    asked: int,
    limits: FloatArray,
    elsewhere: IntArray,
    coincidences: FloatArray,
    counters: IntArray,
) -> None:
    """Settle the `n` candidates of a shot and write its coincidences; see `search_shots`."""
    ions = rows.shape[1] - 1
    first = counters[FOUND]
    if asked == EVERY or n == 1:  # nothing competes
        if asked != EVERY:
            elsewhere[rows[0, 0]] += 1
            if rows[0, 0] != 0:
                return
        for row in range(n):
            coincidences[first + row, 0] = row
            coincidences[first + row, 2 + ions] = 1.0
        counters[FOUND] += n
        counters[COMBINATIONS] += n if asked == EVERY else 0
    else:
        counters[FOUND] += settle(
            n, rows, odds, begin, end, weigh, asked == ALL, elsewhere, coincidences, first
        )
    for found in range(first, counters[FOUND]):
        row = int(coincidences[found, 0])
        coincidences[found, 0] = shot
        for ion in range(1, 1 + ions):
            coincidences[found, ion] = rows[row, ion]
        coincidences[found, 1 + ions] = 2.0 * (limits[LOG_ODDS] - odds[row])


@inner
def settle(
    n: int,
    rows: IntArray,
    odds: FloatArray,
    begin: int,
    end: int,
    weigh: bool,
    every: bool,
    elsewhere: IntArray,
    coincidences: FloatArray,
    first: int,
) -> int:
    """Resolve the candidates of a shot with the hits from `begin` to before `end`.

    Writes the rows of the coincidences into the first column of `coincidences` from row `first` on,
    and their probabilities into the last one; counts side bands in `elsewhere`.

    Returns:
        number of coincidences.
    """
    accepted, probability = np.ones(n, np.bool_), np.ones(n)
    exact = end - begin <= BITS
    masks = masks_of(n, rows, begin)
    picked = in_box(integer(0), n, rows, odds)
    if len(picked):
        assign(picked, rows, odds, masks, exact, weigh, accepted, probability)
    if len(picked) < n:
        beside(n, rows, odds, masks, exact, accepted, elsewhere)
    number = 0
    for row in picked:
        if accepted[row]:
            elsewhere[0] += 1
        elif not every:
            continue
        coincidences[first + number, 0] = row
        coincidences[first + number, coincidences.shape[1] - 1] = probability[row]
        number += 1
    return number


@inner
def complete(
    n_picks: int,
    split: int,
    kind_of: IntArray,
    members: IntArray,
    tree: IntArray,
    limits: FloatArray,
    picks: IntArray,
) -> int:
    """Write out the second half of combinations, given by its node in the column `split`.

    Returns:
        number of combinations in `picks` that use each hit once.
    """
    ions = len(kind_of)
    kept = 0
    for pick in range(n_picks):
        node = picks[pick, split]
        for column in range(ions - 1, split - 1, -1):
            picks[pick, column] = tree[PLACE, node]
            node = tree[PARENT, node]
        clash = False
        if limits[OVERLAP] != 0.0:
            for column in range(split, ions):
                hit = members[kind_of[column], picks[pick, column]]
                for other in range(split):
                    clash |= members[kind_of[other], picks[pick, other]] == hit
        if clash:
            continue
        for column in range(ions):
            picks[kept, column] = picks[pick, column]
        kept += 1
    return kept


@inner
def walk(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    split: int, kind_of: IntArray, count: IntArray, members: IntArray, momenta: FloatArray,
    choice: IntArray, room: IntArray, path: FloatArray, side: int,
    starts: IntArray, frame: FloatArray, axes: IntArray,
    tree: IntArray,
    sorted_sums: FloatArray, nodes: IntArray, gate: FloatArray, shifts: FloatArray, asked: int,
    limits: FloatArray, collected: FloatArray, histograms: IntArray, counters: IntArray,
    rows: IntArray, odds: FloatArray, picks: IntArray, total: FloatArray,
) -> int:  # fmt: skip
    """Go through the combinations of the first half and look up what completes them.

    Returns:
        number of candidates in `rows` (box, hits) and `odds`; see `judge`.
    """
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
    n, n_picks, none = integer(0), integer(0), integer(0)
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
                        picks[n_picks, other] = choice[other]
                    picks[n_picks, split] = nodes[place]
                    n_picks += 1
                    if n_picks == len(picks):
                        n_picks = complete(n_picks, split, kind_of, members, tree, limits, picks)
                        n = judge(
                            n_picks, picks, kind_of, members, momenta, gate, shifts, asked, limits,
                            collected, histograms, counters, n, rows, odds, total,
                        )  # fmt: skip
                        n_picks = integer(0)
                        if asked == COLLECT and counters[COLLECTED] >= len(collected):
                            return int(n)
        column -= 1
    if n_picks == 0:
        return int(n)
    n_picks = complete(n_picks, split, kind_of, members, tree, limits, picks)
    return judge(
        n_picks, picks, kind_of, members, momenta, gate, shifts, asked, limits, collected,
        histograms, counters, n, rows, odds, total,
    )  # fmt: skip
