"""Compiled verdict on the combinations of a shot that lie in the gate and beside it.

They come from `direct`, `masked` or `search`. Candidates that share hits are resolved by
`selection`.
"""

from __future__ import annotations

import numpy as np

from molexa_core.base.compiled import compiled, inner, integer
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.combinations.halves import BITS
from molexa_core.reduction.combinations.selection import (
    assign,
    beside,
    better,
    halved,
    in_box,
    masks_of,
)
from molexa_core.reduction.combinations.shot import (
    ALL,
    CEILING,
    CENTRE,
    COMBINATIONS,
    EVERY,
    HALF_WIDTH,
    LOG_ODDS,
    REACH,
    ROOM,
    SIGMA,
    TRUNCATED,
    Counted,
    Picks,
    Sought,
)


@inner
def judge(  # noqa: C901, PLR0912  # one compiled loop
    first: int,
    last: int,
    hits: IntArray,
    sums: FloatArray,
    gate: FloatArray,
    shifts: FloatArray,
    limits: FloatArray,
    histograms: IntArray,
    counters: IntArray,
    n: int,
    rows: IntArray,
    odds: FloatArray,
    pick_of: IntArray,
) -> int:
    """Judge the picks from `first` to before `last`.

    A combination is added to `rows` (box, hits), `odds` and `pick_of` (its number), once for each
    box that contains its sum, and to the histogram of an axis if the sum lies in the gate on the
    other two. Where there is no room for all of them, which must be of one shot then, the best ones
    are kept, the shot is counted, and `pick_of` does not hold.

    Returns:
        number of rows in use.
    """
    bins, per_au = histograms.shape[1], np.empty(3)
    for axis in range(3):
        per_au[axis] = bins / (2.0 * gate[REACH, axis])
    for pick in range(first, last):
        inside, outside_on = 0, 0
        for axis in range(3):
            if abs(sums[pick, axis] - gate[CENTRE, axis]) <= gate[HALF_WIDTH, axis]:
                inside += 1
            else:
                outside_on = axis
        for axis in range(3):
            if inside == 3 or axis == outside_on:
                reach = gate[REACH, axis]
                position = (sums[pick, axis] - gate[CENTRE, axis] + reach) * per_au[axis]
                if 0.0 <= position < bins:
                    histograms[axis, int(position)] += 1
        for box in range(len(shifts) if inside < 3 else 1):
            if inside < 3 and shifts[box, outside_on] == 0.0:
                continue
            chi_square = 0.0
            for axis in range(3):
                deviation = sums[pick, axis] - gate[CENTRE, axis] - shifts[box, axis]
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
            pick_of[n] = pick
            odds[n] = limits[LOG_ODDS] - 0.5 * chi_square
            for column in range(1, rows.shape[1]):
                rows[n, column] = hits[pick, column]
            n += 1
    return n


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
    first: int,
    found: IntArray,
    numbers: FloatArray,
) -> int:
    """Resolve the candidates of a shot with the hits from `begin` to before `end`.

    Writes their rows into the first column of `found` from row `first` on, and their probabilities
    into `numbers`; counts side bands in `elsewhere`.

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
        found[first + number, 0] = row
        numbers[first + number, 1] = probability[row]
        number += 1
    return number


@inner
def write_out(
    n: int,
    rows: IntArray,
    odds: FloatArray,
    shot: int,
    offsets: IntArray,
    weigh: bool,
    asked: int,
    limits: FloatArray,
    elsewhere: IntArray,
    counters: IntArray,
    first: int,
    found: IntArray,
    numbers: FloatArray,
) -> int:
    """Settle the `n` candidates of a shot and write its coincidences from row `first` on.

    `found` (coincidences, 1 + ions) are filled with the shot and the hits, `numbers`
    (coincidences, 2) with chi-square and probability.

    Returns:
        number of rows in use.
    """
    many = integer(0)
    if asked == EVERY or n == 1:  # nothing competes
        if asked == EVERY:
            many = n
            counters[COMBINATIONS] += n
        else:
            elsewhere[rows[0, 0]] += 1
            many += 1 if rows[0, 0] == 0 else 0
        for row in range(many):
            found[first + row, 0] = row
            numbers[first + row, 1] = 1.0
    elif n > 1:
        begin, end = offsets[shot], offsets[shot + 1]
        many = settle(
            n, rows, odds, begin, end, weigh, asked == ALL, elsewhere, first, found, numbers
        )
    for place in range(first, first + many):
        row = found[place, 0]
        found[place, 0] = shot
        for column in range(1, found.shape[1]):
            found[place, column] = rows[row, column]
        numbers[place, 0] = 2.0 * (limits[LOG_ODDS] - odds[row])
    return int(first + many)


@compiled
def decide(
    n_picks: int, picks: Picks, offsets: IntArray, sought: Sought, counted: Counted
) -> tuple[IntArray, FloatArray]:
    """The coincidences among the picks of many shots, at most `MOST_PICKS` of each.

    Returns:
        (found, 1 + ions) shot and hits of each coincidence, like ions ordered by time of flight,
        the best of a shot first; (found, 2) chi-square and probability.
    """
    hits, sums = picks
    _, _, _, _, limits, asked, weigh, gate, shifts = sought
    _, histograms, elsewhere, counters = counted
    rows = np.empty((max(int(limits[ROOM]), 2 * n_picks), hits.shape[1]), np.int64)
    odds, pick_of = np.empty(len(rows)), np.empty(len(rows), np.int64)
    found, numbers = np.empty((n_picks, hits.shape[1]), np.int64), np.empty((n_picks, 2))
    limits[CEILING] = -np.inf
    n_rows = judge(  # a sum lies in two boxes at most
        integer(0), n_picks, hits, sums, gate, shifts, limits, histograms, counters, integer(0),
        rows, odds, pick_of,
    )  # fmt: skip
    n, first = integer(0), integer(0)
    while first < n_rows:
        shot = hits[pick_of[first], 0]
        last = first + 1
        while last < n_rows and hits[pick_of[last], 0] == shot:
            last += 1
        if last > first + 1 or asked == EVERY:
            n = write_out(
                last - first, rows[first:last], odds[first:last], shot, offsets, weigh, asked,
                limits, elsewhere, counters, n, found, numbers,
            )  # fmt: skip
        else:  # nothing competes
            elsewhere[rows[first, 0]] += 1
            if rows[first, 0] == 0:
                found[n, 0] = shot
                for column in range(1, found.shape[1]):
                    found[n, column] = rows[first, column]
                numbers[n, 0], numbers[n, 1] = 2.0 * (limits[LOG_ODDS] - odds[first]), 1.0
                n += 1
        first = last
    return found[:n], numbers[:n]
