"""Compiled loops of the coincidence search: hits of a shot to candidates and coincidences.

`coincidences` prepares the arrays; their meaning is given at `search_shots`. The combinations are
enumerated by `halves`, candidates that share hits are resolved by `selection`. Numbers handed to
functions are written `np.int64(0)` where a literal would have the function compiled once more.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.halves import (
    BITS,
    divide,
    gather,
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
COUNTERS: Final = 6
"""Indices of `counters`: shots searched, combinations in them, shots left out because of too much
work, coincidences found, momentum sums collected, shots with more candidates than are compared."""
MAX_MOMENTUM: Final = 0
MOST: Final = 1
LOG_ODDS: Final = 2
ROOM: Final = 3
LIMITS: Final = 4
"""Indices of `limits`: largest momentum of an ion in a.u., most work for a shot (with a gate:
expected steps of about a nanosecond; without one: combinations), logarithm of the odds of a
candidate in the centre of the gate, most candidates of a shot."""
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
_SLACK: Final = 1e-9


@compiled
def insert(
    members: IntArray,
    momenta: FloatArray,
    n: int,
    hit: int,
    momentum: tuple[float, float, float],
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
) -> None:
    """Insert a hit into a list of `n` hits ordered by time of flight, then position."""
    slot = n
    while slot > 0:
        previous = members[slot - 1]
        if (t[previous], x[previous], y[previous]) <= (t[hit], x[hit], y[hit]):
            break
        members[slot] = previous
        for axis in range(3):
            momenta[slot, axis] = momenta[slot - 1, axis]
        slot -= 1
    members[slot] = hit
    for axis in range(3):
        momenta[slot, axis] = momentum[axis]


@compiled
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
) -> bool:
    """List the candidate hits of one shot for each kind of ion.

    Fills `count` (kinds), `members` (kinds, hits) and `momenta` (kinds, hits, 3). Hits at the same
    time are ordered by position, so that the order of hits in the file does not matter.

    Returns:
        whether there are enough hits of each kind.
    """
    for kind in range(len(kinds)):
        n = 0
        first, last = kinds[kind, FIRST], kinds[kind, LAST]
        for hit in range(begin, end):
            if first <= t[hit] <= last:
                n += 1
        if n < wanted[kind]:
            return False
        n = np.int64(0)
        for hit in range(begin, end):
            time = t[hit]
            if not first <= time <= last:
                continue
            px, py, pz = initial_momentum(x[hit], y[hit], time, flights[kind])
            if not px * px + py * py + pz * pz <= max_momentum * max_momentum:
                continue
            insert(members[kind], momenta[kind], n, hit, (px, py, pz), x, y, t)
            n += 1
        if n < wanted[kind]:
            return False
        count[kind] = n
    return True


@compiled
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


@compiled
def note(  # noqa: C901, PLR0912  # one compiled loop
    kind_of: IntArray,
    choice: IntArray,
    members: IntArray,
    momenta: FloatArray,
    gate: FloatArray,
    shifts: FloatArray,
    asked: int,
    log_odds: float,
    collected: FloatArray,
    histograms: IntArray,
    counters: IntArray,
    n: int,
    rows: IntArray,
    odds: FloatArray,
) -> int:
    """Judge one combination, whose sum is added up in the order of the columns.

    Adds it to `rows` (box, hits) and `odds`, once for each box that contains its sum, to
    `collected`, and to the histogram of an axis if the sum lies in the gate on the other two.

    Returns:
        number of rows in use.
    """
    ions = len(kind_of)
    total, squares = np.zeros(3), np.zeros(3)
    for column in range(ions):
        for axis in range(3):
            p = momenta[kind_of[column], choice[column], axis]
            total[axis] += p
            squares[axis] += p * p
    if asked == EVERY:
        rows[n, 0] = 0
        odds[n] = 0.0
        for column in range(ions):
            rows[n, 1 + column] = members[kind_of[column], choice[column]]
        for axis in range(3):
            count_sum(total[axis], gate[CENTRE, axis], gate[REACH, axis], histograms[axis])
        return n + 1
    inside = 0
    outside_on = 0
    for axis in range(3):
        apart = abs(total[axis] - gate[CENTRE, axis])
        if apart > gate[REACH, axis]:
            return n
        if apart <= gate[HALF_WIDTH, axis]:
            inside += 1
        else:
            outside_on = axis
    if inside < 2:
        return n
    if asked == COLLECT:
        place = counters[COLLECTED]
        if place < len(collected):
            for axis in range(3):
                collected[place, axis] = total[axis]
                collected[place, 3 + axis] = squares[axis]
            counters[COLLECTED] += 1
        return n
    for axis in range(3):
        if inside == 3 or axis == outside_on:
            count_sum(total[axis], gate[CENTRE, axis], gate[REACH, axis], histograms[axis])
    for box in range(len(shifts)):
        chi_square = 0.0
        for axis in range(3):
            deviation = total[axis] - gate[CENTRE, axis] - shifts[box, axis]
            if not abs(deviation / gate[HALF_WIDTH, axis]) <= 1.0:
                chi_square = -1.0
                break
            deviation /= gate[SIGMA, axis]
            chi_square += deviation * deviation
        if chi_square < 0.0:
            continue
        rows[n, 0] = box
        odds[n] = log_odds - 0.5 * chi_square
        for column in range(ions):
            rows[n, 1 + column] = members[kind_of[column], choice[column]]
        n += 1
    return n


@compiled
def count_sum(value: float, centre: float, reach: float, histogram: IntArray) -> None:
    """Count a momentum sum in a histogram from -reach to +reach about the centre."""
    bins = len(histogram)
    position = (value - centre + reach) * (bins / (2.0 * reach))
    if 0.0 <= position < bins:
        histogram[int(position)] += 1


@compiled
def enlarged(table: FloatArray) -> FloatArray:
    """A copy of a table with room for twice the rows."""
    larger = np.empty((2 * len(table), table.shape[1]))
    for row in range(len(table)):
        for column in range(table.shape[1]):
            larger[row, column] = table[row, column]
    return larger


@compiled
def search_shots(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    order: IntArray,
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
    """Search shots for coincidences.

    * `order`: the shots to be searched; `offsets`, `x`, `y`, `t`: calibrated hits, mm and ns.
    * `kinds` (kinds, 2): see `FIRST`, `LAST`; `wanted` (kinds): how many of each.
    * `flights` (kinds, numbers): `momentum.flight_row` of each kind: ion, spectrometer and jet.
    * `kind_of` (ions): kind of each ion of the channel, like ions side by side.
    * `limits`: see `MAX_MOMENTUM` and following; `asked`: see `BEST` and following; `weigh`:
      whether probabilities are asked for.
    * `gate` (4, 3): see `CENTRE` and following; sums beyond the reach, or outside the gate on two
      axes, are of no interest.
    * `shifts` (boxes, 3): displacement of each box along one axis, zero for box 0.
    * `collected` (capacity, 6): filled with momentum sums, and sums of squared momenta, along each
      axis; the search ends when it is full.
    * `histograms` (3, bins) of momentum sums, `elsewhere` (boxes), `counters` (see `SHOTS` and
      following): added to.

    Returns:
        (found, 1 + ions + 2) shot, hits, chi-square and probability of each coincidence, like ions
        ordered by time of flight, the best of a shot first.
    """
    ions = len(kind_of)
    most = 1
    for shot in order:
        most = max(most, offsets[shot + 1] - offsets[shot])
    count = np.zeros(len(kinds), np.int64)
    members = np.zeros((len(kinds), most), np.int64)
    momenta = np.zeros((len(kinds), most, 3))
    bits = np.zeros((len(kinds), most), np.int64)
    coincidences = np.empty((256, 3 + ions))
    size = int(limits[ROOM])
    rows = np.empty((size, 1 + ions), np.int64)
    odds = np.empty(size)
    sums = np.empty((3, 1))
    used = np.empty(1, np.int64)
    chosen = np.empty((1, ions), np.int64)
    cells = np.empty(1, np.int64)
    by_cell = np.empty(1, np.int64)
    sorted_sums = np.empty((3, 1))
    sorted_used = np.empty(1, np.int64)
    sorted_first = np.empty(1, np.int64)
    starts = np.empty(4, np.int64)
    axes = np.empty(3, np.int64)
    frame = np.empty((2, 2))
    choice = np.zeros(ions, np.int64)
    room = np.zeros(ions, np.int64)
    path = np.zeros((ions + 1, 3))
    masks = np.zeros(ions + 1, np.int64)
    for shot in order:
        if asked == COLLECT and counters[COLLECTED] >= len(collected):
            break
        counters[SHOTS] += 1
        if not sort_shot(
            offsets[shot], offsets[shot + 1], x, y, t, kinds, flights, wanted,
            limits[MAX_MOMENTUM], count, members, momenta,
        ):  # fmt: skip
            continue
        combinations = ways(kind_of, count, np.int64(0), np.int64(ions))
        split, work = ions - 1, combinations
        if asked != EVERY:
            split, work = divide(kind_of, count)
        if (combinations if asked == COLLECT else work) > limits[MOST]:
            counters[CROWDED] += 1
            continue
        counters[COMBINATIONS] += 0 if asked == EVERY else int(combinations)
        if len(kinds) > 1:
            mark_contested(count, members, bits)
        listed = int(ways(kind_of, count, split, np.int64(ions)))
        if listed > len(used):
            size = 2 * listed
            sums, sorted_sums = np.empty((3, size)), np.empty((3, size))
            used, sorted_used = np.empty(size, np.int64), np.empty(size, np.int64)
            chosen = np.empty((size, ions), np.int64)
            cells, by_cell = np.empty(size, np.int64), np.empty(size, np.int64)
            sorted_first = np.empty(size, np.int64)
            starts = np.empty(size + 2, np.int64)
        n_listed = list_half(
            split, kind_of, count, members, momenta, bits, choice, room, path, masks, sums, used,
            chosen,
        )  # fmt: skip
        if n_listed == 0:
            continue
        side = make_grid(n_listed, sums, gate[HALF_WIDTH], axes, frame, starts, by_cell, cells)
        gather(n_listed, sums, used, chosen, axes, by_cell, sorted_sums, sorted_used, sorted_first)
        n = walk(
            split, kind_of, count, members, momenta, bits, choice, room, path, masks, side,
            starts, frame, axes, by_cell, chosen, sorted_sums, sorted_used, sorted_first, gate,
            shifts, asked, limits, collected, histograms, counters, rows, odds,
        )  # fmt: skip
        if asked == COLLECT or n == 0:
            continue
        counters[COMBINATIONS] += n if asked == EVERY else 0
        accepted, probability = np.ones(n, np.bool_), np.ones(n)
        picked = in_box(np.int64(0), n, rows, odds)
        if asked != EVERY:
            exact = offsets[shot + 1] - offsets[shot] <= BITS
            hit_masks = masks_of(n, rows, offsets[shot])
            if len(picked):
                assign(picked, rows, odds, hit_masks, exact, weigh, accepted, probability)
            if len(picked) < n:
                beside(n, rows, odds, hit_masks, exact, accepted, elsewhere)
        for row in picked:
            if not accepted[row] and asked == BEST:
                continue
            if asked != EVERY and accepted[row]:
                elsewhere[0] += 1
            found = counters[FOUND]
            if found >= len(coincidences):
                coincidences = enlarged(coincidences)
            coincidences[found, 0] = shot
            for ion in range(1, 1 + ions):
                coincidences[found, ion] = rows[row, ion]
            coincidences[found, 1 + ions] = 2.0 * (limits[LOG_ODDS] - odds[row])
            coincidences[found, 2 + ions] = probability[row]
            counters[FOUND] += 1
    return coincidences[: counters[FOUND]]


@compiled
def walk(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    split: int,
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    bits: IntArray,
    choice: IntArray,
    room: IntArray,
    path: FloatArray,
    masks: IntArray,
    side: int,
    starts: IntArray,
    frame: FloatArray,
    axes: IntArray,
    by_cell: IntArray,
    chosen: IntArray,
    sorted_sums: FloatArray,
    sorted_used: IntArray,
    sorted_first: IntArray,
    gate: FloatArray,
    shifts: FloatArray,
    asked: int,
    limits: FloatArray,
    collected: FloatArray,
    histograms: IntArray,
    counters: IntArray,
    rows: IntArray,
    odds: FloatArray,
) -> int:
    """Go through the combinations of the first half and look up what completes them.

    Returns:
        number of candidates in `rows` (box, hits) and `odds`; where there is no room for all of
        them, the best ones are kept, and the shot is counted.
    """
    ions = len(kind_of)
    u, v, w = axes[0], axes[1], axes[2]
    slack = 1.0 + _SLACK
    half_u = gate[HALF_WIDTH, u] * slack + _SLACK
    half_v = gate[HALF_WIDTH, v] * slack + _SLACK
    half_w = gate[HALF_WIDTH, w] * slack + _SLACK
    reach_u = gate[REACH, u] * slack + _SLACK
    reach_v = gate[REACH, v] * slack + _SLACK
    reach_w = gate[REACH, w] * slack + _SLACK
    alike = split > 0 and kind_of[split - 1] == kind_of[split]
    room_for(kind_of, np.int64(0), split, room)
    if alike:  # the second half needs hits of the same kind behind those of the first
        behind = 0
        for column in range(split, ions):
            behind += 1 if kind_of[column] == kind_of[split] else 0
        for column in range(split):
            if kind_of[column] == kind_of[split]:
                room[column] += behind
    n, none = np.int64(0), np.int64(0)
    cut = False
    ceiling = -np.inf
    column = np.int64(0)
    if split:
        choice[0] = -1
    path[0, 0] = path[0, 1] = path[0, 2] = 0.0
    masks[0] = 0
    while column >= 0:
        if column < split:
            kind = kind_of[column]
            choice[column] += 1
            index = choice[column]
            if index > count[kind] - room[column]:
                column -= 1
                continue
            bit = bits[kind, index]
            if bit & masks[column] and taken(kind, index, none, column, kind_of, choice, members):
                continue
            for axis in range(3):
                path[column + 1, axis] = path[column, axis] + momenta[kind, index, axis]
            masks[column + 1] = masks[column] | bit
            column += 1
            if column < split:
                choice[column] = choice[column - 1] if kind_of[column] == kind else -1
                continue
        mask = masks[split]
        earliest = choice[split - 1] if alike else -1
        need_u = gate[CENTRE, u] - path[split, u]
        need_v = gate[CENTRE, v] - path[split, v]
        need_w = gate[CENTRE, w] - path[split, w]
        first_row, last_row = 0, 0
        if side > 1:
            first_row = max(0, int(np.floor((need_u - reach_u - frame[0, 0]) * frame[0, 1])))
            last_row = min(side - 1, int(np.floor((need_u + reach_u - frame[0, 0]) * frame[0, 1])))
        for row in range(first_row, last_row + 1):
            first_cell, last_cell = 0, 0
            if side > 1:
                wide = reach_v
                low = (need_u - half_u - frame[0, 0]) * frame[0, 1]
                high = (need_u + half_u - frame[0, 0]) * frame[0, 1]
                # the last row also holds the upper edge
                if (high < row and row > 0) or low > row + 1:
                    wide = half_v
                low = np.floor((need_v - wide - frame[1, 0]) * frame[1, 1])
                high = np.floor((need_v + wide - frame[1, 0]) * frame[1, 1])
                first_cell = max(0, int(low))
                last_cell = min(side - 1, int(high))
            cell = first_cell
            while cell <= last_cell:
                end = cell if alike else last_cell
                begin_at, end_at = starts[row * side + cell], starts[row * side + end + 1]
                for place in range(end_at - 1, begin_at - 1, -1):
                    if sorted_first[place] <= earliest:
                        break
                    apart_u = abs(sorted_sums[0, place] - need_u)
                    apart_v = abs(sorted_sums[1, place] - need_v)
                    apart_w = abs(sorted_sums[2, place] - need_w)
                    if asked != EVERY:
                        inside = (apart_u <= half_u) + (apart_v <= half_v) + (apart_w <= half_w)
                        if inside < 2:
                            continue
                        if apart_u > reach_u or apart_v > reach_v or apart_w > reach_w:
                            continue
                    listed = by_cell[place]
                    if mask & sorted_used[place]:
                        clash = False
                        for other in range(split, ions):
                            index = chosen[listed, other - split]
                            if taken(kind_of[other], index, none, split, kind_of, choice, members):
                                clash = True
                                break
                        if clash:
                            continue
                    for other in range(split, ions):
                        choice[other] = chosen[listed, other - split]
                    if n + len(shifts) > len(rows):
                        counters[TRUNCATED] += 0 if cut else 1
                        cut = True
                        ceiling = halved(n, odds)
                        n = better(ceiling, none, n, rows, odds)
                    before = n
                    n = note(
                        kind_of, choice, members, momenta, gate, shifts, asked, limits[LOG_ODDS],
                        collected, histograms, counters, n, rows, odds,
                    )  # fmt: skip
                    if cut:
                        n = better(ceiling, before, n, rows, odds)
                    if asked == COLLECT and counters[COLLECTED] >= len(collected):
                        return int(n)
                cell = end + 1
        column -= 1
    return int(n)
