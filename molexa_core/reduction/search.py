"""Compiled loops of the coincidence search: hits of a shot to combinations and coincidences.

`coincidences` prepares the arrays; their meaning is given at `search_shots`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.momentum import initial_momentum
from molexa_core.reduction.selection import select

FIRST: Final = 0
LAST: Final = 1
"""Columns of `kinds`: the time-of-flight window in ns."""
SHOTS: Final = 0
COMBINATIONS: Final = 1
CROWDED: Final = 2
FOUND: Final = 3
COLLECTED: Final = 4
COUNTERS: Final = 5
"""Indices of `counters`: shots searched, combinations formed, shots left out because of too many
combinations, coincidences found, momentum sums collected."""
MAX_MOMENTUM: Final = 0
MOST: Final = 1
HALF_RANGE: Final = 2
"""Indices of `limits`: largest momentum of an ion in a.u., most combinations of a shot, and the
range of the momentum sums, from -range to +range in a.u."""


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
) -> float:
    """List the candidate hits of one shot for each kind of ion; return the number of combinations.

    Fills `count` (kinds), `members` (kinds, hits) and `momenta` (kinds, hits, 3). Hits at the same
    time are ordered by position, so that the order of hits in the file does not matter.
    """
    combinations = 1.0
    for kind in range(len(kinds)):
        n = 0
        first, last = kinds[kind, FIRST], kinds[kind, LAST]
        for hit in range(begin, end):
            if first <= t[hit] <= last:
                n += 1
        if n < wanted[kind]:
            return 0.0
        n = 0
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
            return 0.0
        count[kind] = n
        for i in range(wanted[kind]):
            combinations *= (n - i) / (i + 1.0)
    return combinations


@compiled
def next_combination(
    column: int,
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    choice: IntArray,
    hits: IntArray,
    sums: FloatArray,
) -> int:
    """Go to the next combination that uses each hit at most once.

    Like ions are chosen in ascending order: combinations, not permutations. `choice`, `hits`
    (ions) and `sums` (ions + 1, 3: momentum sum of the ions before each column) hold the state.

    `column` is 0 with `choice[0]` = -1 at the start, afterwards the result of the previous call.

    Returns:
        the last column when a combination is complete, -1 when there are no more.
    """
    last = len(kind_of) - 1
    while column >= 0:
        kind = kind_of[column]
        choice[column] += 1
        if choice[column] >= count[kind]:
            column -= 1
            continue
        hit = members[kind, choice[column]]
        taken = False
        for earlier in range(column):
            taken |= hits[earlier] == hit
        if taken:
            continue
        hits[column] = hit
        for axis in range(3):
            sums[column + 1, axis] = sums[column, axis] + momenta[kind, choice[column], axis]
        if column == last:
            return column
        column += 1
        choice[column] = choice[column - 1] if kind_of[column] == kind else -1
    return -1


@compiled
def distance(
    total: FloatArray, centre: FloatArray, half_width: FloatArray, shift: FloatArray
) -> float:
    """Squared distance from the shifted centre in half widths; -1 outside the box."""
    squared = 0.0
    for axis in range(3):
        deviation = (total[axis] - centre[axis] - shift[axis]) / half_width[axis]
        if not -1.0 <= deviation <= 1.0:
            return -1.0
        squared += deviation * deviation
    return squared


@compiled
def on_an_axis(total: FloatArray, centre: FloatArray, half_width: FloatArray) -> bool:
    """Whether two components or more lie in the gate: a condition for the gate and every box."""
    inside = 0
    for axis in range(3):
        if abs(total[axis] - centre[axis]) <= half_width[axis]:
            inside += 1
    return inside >= 2


@compiled
def count_sum(total: FloatArray, histograms: IntArray, half_range: float) -> None:
    """Count a momentum sum in the histogram (3, bins) of each axis from -range to +range."""
    bins = histograms.shape[1]
    for axis in range(3):
        position = (total[axis] + half_range) * (bins / (2.0 * half_range))
        if 0.0 <= position < bins:
            histograms[axis, int(position)] += 1


@compiled
def keep_sum(
    kind_of: IntArray, choice: IntArray, momenta: FloatArray, total: FloatArray, row: FloatArray
) -> None:
    """Write the momentum sum of a combination and the sum of its squared momenta, by axis."""
    for axis in range(3):
        row[axis] = total[axis]
        row[3 + axis] = 0.0
        for column in range(len(kind_of)):
            row[3 + axis] += momenta[kind_of[column], choice[column], axis] ** 2


@compiled
def enlarged(table: IntArray) -> IntArray:
    """A copy of a table with room for twice the rows."""
    larger = np.empty((2 * len(table), table.shape[1]), np.int64)
    for row in range(len(table)):
        for column in range(table.shape[1]):
            larger[row, column] = table[row, column]
    return larger


@compiled
def search_shots(
    offsets: IntArray,
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    kinds: FloatArray,
    flights: FloatArray,
    wanted: IntArray,
    kind_of: IntArray,
    limits: FloatArray,
    gate: FloatArray,
    shifts: FloatArray,
    collected: FloatArray,
    histograms: IntArray,
    elsewhere: IntArray,
    counters: IntArray,
    rows: IntArray,
) -> IntArray:
    """Search shots for coincidences.

    * `offsets`, `x`, `y`, `t`: calibrated hits of consecutive shots, mm and ns.
    * `kinds` (kinds, 2): see `FIRST`, `LAST`; `wanted` (kinds): how many of each.
    * `flights` (kinds, numbers): `momentum.flight_row` of each kind: ion, spectrometer and jet.
    * `kind_of` (ions): kind of each ion of the channel, like ions side by side.
    * `limits`: see `MAX_MOMENTUM` and following.
    * `gate` (2, 3): centre and half width of the sum gate in a.u.; (0, 3) for no gate.
    * `shifts` (boxes, 3): displacement of each box along one axis, zero for box 0; (0, 3) to
      collect momentum sums only, without a search for coincidences.
    * `collected` (capacity, 6): filled with momentum sums, and sums of squared momenta, along each
      axis; the search ends when it is full.
    * `histograms` (3, bins) of momentum sums, `elsewhere` (boxes) of `select`, `counters` (see
      `SHOTS` and following): added to.
    * `rows` (candidates, 1 + ions): work space for the candidates of one shot.

    Returns:
        (found, 1 + ions) shot and hits of each coincidence, like ions ordered by time of flight.
    """
    ions = len(kind_of)
    most = 1
    for shot in range(len(offsets) - 1):
        most = max(most, offsets[shot + 1] - offsets[shot])
    count = np.zeros(len(kinds), np.int64)
    members = np.zeros((len(kinds), most), np.int64)
    momenta = np.zeros((len(kinds), most, 3))
    coincidences = np.empty((256, 1 + ions), np.int64)
    distances = np.empty(len(rows))
    accepted = np.empty(len(rows), np.int64)
    for shot in range(len(offsets) - 1):
        if len(collected) and counters[COLLECTED] >= len(collected):
            break
        counters[SHOTS] += 1
        combinations = sort_shot(
            offsets[shot], offsets[shot + 1], x, y, t, kinds, flights, wanted,
            limits[MAX_MOMENTUM], count, members, momenta,
        )  # fmt: skip
        if combinations == 0.0:
            continue
        if combinations > limits[MOST]:
            counters[CROWDED] += 1
            continue
        n = candidates_of_shot(
            kind_of, count, members, momenta, limits[HALF_RANGE], gate, shifts,
            collected, histograms, counters, rows, distances,
        )  # fmt: skip
        if n > len(rows):
            counters[CROWDED] += 1
            continue
        chosen = n
        if len(gate):
            chosen = select(n, rows[:, 0], distances, rows[:, 1:], accepted, elsewhere)
        for rank in range(chosen):
            if counters[FOUND] >= len(coincidences):
                coincidences = enlarged(coincidences)
            row = accepted[rank] if len(gate) else rank
            coincidences[counters[FOUND], 0] = shot
            for ion in range(1, 1 + ions):
                coincidences[counters[FOUND], ion] = rows[row, ion]
            counters[FOUND] += 1
    return coincidences[: counters[FOUND]]


@compiled
def candidates_of_shot(
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    half_range: float,
    gate: FloatArray,
    shifts: FloatArray,
    collected: FloatArray,
    histograms: IntArray,
    counters: IntArray,
    rows: IntArray,
    distances: FloatArray,
) -> int:
    """Go through all combinations of a shot and list those in the gate or in a displaced box.

    Returns:
        number of candidates, one above the room in `rows` when there are more.
    """
    ions = len(kind_of)
    choice = np.empty(ions, np.int64)
    hits = np.empty(ions, np.int64)
    sums = np.zeros((ions + 1, 3))
    choice[0] = -1
    n = 0
    column = 0
    while True:
        column = next_combination(column, kind_of, count, members, momenta, choice, hits, sums)
        if column < 0:
            return n
        counters[COMBINATIONS] += 1
        total = sums[ions]
        count_sum(total, histograms, half_range)
        inside = max(abs(total[0]), abs(total[1]), abs(total[2])) <= half_range
        if inside and counters[COLLECTED] < len(collected):
            keep_sum(kind_of, choice, momenta, total, collected[counters[COLLECTED]])
            counters[COLLECTED] += 1
        if len(gate) and not on_an_axis(total, gate[0], gate[1]):
            continue
        for box in range(len(shifts)):
            squared = distance(total, gate[0], gate[1], shifts[box]) if len(gate) else 0.0
            if squared < 0.0:
                continue
            if n >= len(rows):
                return n + 1
            rows[n, 0] = box
            for ion in range(ions):
                rows[n, 1 + ion] = hits[ion]
            distances[n] = squared
            n += 1
