"""Compiled loops of event mixing: combinations of the ions of one shot, and of several shots.

The candidates of a stretch of shots are listed kind by kind and, within a kind, shot by shot:
those of kind k in shot s are `first[k, s]:first[k, s + 1]` of `hit`, `place` and `momentum`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled, inner, integer
from molexa_core.base.tables import BoolArray, FloatArray, IntArray

GATE: Final = 0
RING: Final = 1
"""Regions of the momentum sum: inside the gate, in the side band around it."""
_SUCCESSES: Final = 3
"""Shots that leave a block until which shots are tried: more make the factors less uncertain."""
_MOST_TRIALS: Final = 64 * _SUCCESSES


@inner
def next_random(state: np.ndarray) -> float:
    """The next number in [0, 1) (splitmix64; Steele, Lea, Flood, OOPSLA 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float((z >> np.uint64(11)) * (1.0 / 9007199254740992.0))


@inner
def region(total: FloatArray, box: FloatArray) -> int:
    """Where a momentum sum lies: `GATE`, `RING`, or -1 elsewhere.

    `box` (4, 3): centre, half width of the gate, inner and outer half width of the ring, a.u.
    """
    in_gate, inner, outer = True, True, True
    for axis in range(3):
        away = abs(total[axis] - box[0, axis])
        in_gate &= away <= box[1, axis]
        inner &= away <= box[2, axis]
        outer &= away <= box[3, axis]
    if in_gate:
        return GATE
    if outer and not inner:
        return RING
    return -1


@inner
def in_cells(total: FloatArray, cells: BoolArray, origin: FloatArray, step: FloatArray) -> bool:
    """Whether a momentum sum lies in a cell of a grid that is true."""
    x = np.floor((total[0] - origin[0]) / step[0])
    y = np.floor((total[1] - origin[1]) / step[1])
    z = np.floor((total[2] - origin[2]) / step[2])
    if min(x, y, z) < 0.0 or x >= cells.shape[0] or y >= cells.shape[1] or z >= cells.shape[2]:
        return False
    return bool(cells[int(x), int(y), int(z)])


@compiled
def combinations(
    first: IntArray,
    hit: IntArray,
    momentum: FloatArray,
    usable: BoolArray,
    kind_of: IntArray,
    box: FloatArray,
    cells: BoolArray,
    origin: FloatArray,
    step: FloatArray,
    rows: IntArray,
    shots: IntArray,
    regions: IntArray,
) -> int:
    """List all combinations of the ions of each shot, those in gate or ring if there is a gate.

    * `kind_of` (ions): kind of each ion, like ions side by side; combinations, not permutations.
    * `box`: see `region`; (0, 3) to keep every combination.
    * `cells` (nx, ny, nz), `origin`, `step`: a grid of momenta; only combinations whose sum lies in
      a cell that is true are listed. Without cells (0, 0, 0) every one is.
    * `rows` (room, ions) candidates, `shots` (room), `regions` (room): filled.

    Returns:
        how many there are; only the first `room` of them are listed.
    """
    ions = len(kind_of)
    choice = np.empty(ions, np.int64)
    sums = np.zeros((ions + 1, 3))
    n = 0
    for shot in range(first.shape[1] - 1):
        if not usable[shot]:
            continue
        column = 0
        choice[0] = first[kind_of[0], shot] - 1
        while column >= 0:
            kind = kind_of[column]
            choice[column] += 1
            this = choice[column]
            if this >= first[kind, shot + 1]:
                column -= 1
                continue
            taken = False
            for earlier in range(column):
                taken |= hit[choice[earlier]] == hit[this]
            if taken:
                continue
            for axis in range(3):
                sums[column + 1, axis] = sums[column, axis] + momentum[this, axis]
            if column < ions - 1:
                column += 1
                same = kind_of[column] == kind
                choice[column] = this if same else first[kind_of[column], shot] - 1
                continue
            where = GATE if len(box) == 0 else region(sums[ions], box)
            if where < 0 or (len(cells) > 0 and not in_cells(sums[ions], cells, origin, step)):
                continue
            if n < len(rows):
                shots[n] = shot
                regions[n] = where
                for ion in range(ions):
                    rows[n, ion] = choice[ion]
            n += 1
    return n


@inner
def draw_block(
    block: IntArray,
    shot: int,
    first: IntArray,
    hit: IntArray,
    chosen: IntArray,
    n: int,
    state: np.ndarray,
) -> int:
    """Draw the ions of a block from the candidates of a shot, every combination alike.

    Appends to `chosen` from `n` on.

    Returns:
        the number of ions chosen so far, -1 if one hit would be used twice.
    """
    start = n
    for kind in range(len(block)):
        low, high = first[kind, shot], first[kind, shot + 1]
        of_kind = n
        for _ in range(block[kind]):
            new = False
            while not new:
                this = low + int(next_random(state) * (high - low))
                new = True
                for other in range(of_kind, n):
                    new &= chosen[other] != this
            chosen[n] = this
            n += 1
    for one in range(start, n):
        for other in range(start, one):
            if hit[chosen[one]] == hit[chosen[other]]:
                return -1
    return n


@inner
def too_close(one: FloatArray, other: FloatArray, dead_time: float, dead_radius: float) -> bool:
    """Whether one of two hits (t, x, y) of one shot would have hidden the other."""
    if abs(one[0] - other[0]) >= dead_time:
        return False
    return bool((one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2 < dead_radius**2)


@compiled
def close_pairs(
    offsets: IntArray, every: FloatArray, shots: IntArray, dead: FloatArray
) -> IntArray:
    """Pairs of hits that would hide each other: in single shots, and between each and the next.

    `shots` are the shots looked at; the last one is followed by the first.
    """
    number = np.zeros(2, np.int64)
    for index in range(len(shots)):
        shot = shots[index]
        following = shots[(index + 1) % len(shots)]
        for one in range(offsets[shot], offsets[shot + 1]):
            for other in range(offsets[shot], one):
                if too_close(every[one], every[other], dead[0], dead[1]):
                    number[0] += 1
            for other in range(offsets[following], offsets[following + 1]):
                if too_close(every[one], every[other], dead[0], dead[1]):
                    number[1] += 1
    return number


@inner
def hidden(
    here: FloatArray,
    shot: int,
    offsets: IntArray,
    every: FloatArray,
    skip: IntArray,
    dead: FloatArray,
) -> bool:
    """Whether an earlier hit of a shot, except those in `skip`, would have hidden one at `here`."""
    for other in range(offsets[shot], offsets[shot + 1]):
        if every[other, 0] >= here[0] or not too_close(here, every[other], dead[0], dead[1]):
            continue
        chosen = False
        for ion in range(len(skip)):
            chosen |= skip[ion] == other
        if not chosen:
            return True
    return False


@inner
def block_hidden(
    source: int,
    shot: int,
    chosen: IntArray,
    of: IntArray,
    skip: IntArray,
    place: FloatArray,
    offsets: IntArray,
    every: FloatArray,
    dead: FloatArray,
) -> bool:
    """Whether a shot would have hidden one of the chosen hits that come from `source`."""
    for ion in range(len(chosen)):
        if of[ion] == source and hidden(place[chosen[ion]], shot, offsets, every, skip, dead):
            return True
    return False


@inner
def trials(
    one: int,
    other: int,
    both: bool,
    chosen: IntArray,
    of: IntArray,
    skip: IntArray,
    place: FloatArray,
    offsets: IntArray,
    every: FloatArray,
    alike: IntArray,
    dead: FloatArray,
    state: np.ndarray,
) -> float:
    """Number of shots tried per shot that leaves the hits from shot `one`.

    With `both`: number of shots that leave those from `one`, per shot that also leaves those from
    `other`. Shots are tried until a fixed number of them does, whose inverse probability is then
    known without bias (negative binomial distribution).
    """
    tried, left = 0.0, 0
    for _ in range(_MOST_TRIALS):
        shot = alike[int(next_random(state) * len(alike))]
        leaves = not block_hidden(one, shot, chosen, of, skip, place, offsets, every, dead)
        if both:
            if not leaves:
                continue
            leaves = not block_hidden(other, shot, chosen, of, skip, place, offsets, every, dead)
        tried += 1.0
        left += leaves
        if left == _SUCCESSES:
            break
    return max(tried / max(left, 1), 1.0)


@inner
def survival(
    chosen: IntArray,
    of: IntArray,
    hit: IntArray,
    place: FloatArray,
    offsets: IntArray,
    every: FloatArray,
    alike: IntArray,
    dead: FloatArray,
    state: np.ndarray,
) -> float:
    """How likely the hits of different shots are to be recorded in one shot, over what mixing says.

    A hit also suffers from the dead time that the other ions of the explosions leave, those that
    are not part of the combination. Each block is therefore tested against all hits of the other
    shots. These also contain unrelated hits, of which each block has met as many in its own shot
    already. For two blocks A and B from the shots a and b, the factor is

        [a leaves B] / P(any shot leaves B) * [b leaves A] / P(any shot that leaves B leaves A):

    what the unrelated hits of a and b do cancels but for those that would hide both blocks, which
    the two meet once in one shot. Inverse probabilities are numbers of trials per success.

    Returns:
        0 if a hit is hidden, else the product of these numbers over all pairs of blocks.
    """
    ions = len(chosen)
    skip = np.empty(ions, np.int64)
    sources = np.empty(ions, np.int64)
    blocks = 0
    for ion in range(ions):
        skip[ion] = hit[chosen[ion]]
        new = True
        for block in range(blocks):
            new &= sources[block] != of[ion]
        if new:
            sources[blocks] = of[ion]
            blocks += 1
    for i in range(blocks):
        for j in range(blocks):
            if i != j and block_hidden(
                sources[i], sources[j], chosen, of, skip, place, offsets, every, dead
            ):
                return 0.0
    factor = 1.0
    for i in range(blocks):
        for j in range(i):
            for both in (False, True):
                factor *= trials(
                    sources[i], sources[j], both,
                    chosen, of, skip, place, offsets, every, alike, dead, state,
                )  # fmt: skip
    return factor


@inner
def comes_before(place: FloatArray, one: int, other: int) -> bool:
    """Whether a candidate precedes another in the order of time of flight, then position."""
    for axis in range(3):
        if place[one, axis] != place[other, axis]:
            return bool(place[one, axis] < place[other, axis])
    return False


@inner
def drawn_from(cumulative: FloatArray, number: float) -> int:
    """The place that a number falls into: the last one at which the running sum is not larger."""
    low, high = 0, len(cumulative)
    while low < high:
        middle = (low + high) // 2
        if number < cumulative[middle]:
            high = middle
        else:
            low = middle + 1
    return low - 1


@inner
def draw_others(
    blocks: IntArray,
    cumulative: FloatArray,
    first: IntArray,
    hit: IntArray,
    place: FloatArray,
    dead: FloatArray,
    chosen: IntArray,
    of: IntArray,
    state: np.ndarray,
) -> int:
    """Draw blocks from different shots, every combination of a block alike.

    Fills `chosen` and `of` with candidates and their shots.

    Returns:
        the number of ions; -1 if a shot or a hit is drawn twice, or one hit would hide another.
    """
    shots = np.empty(len(blocks), np.int64)
    ions = integer(0)
    for block in range(len(blocks)):
        running = cumulative[block]
        shot = drawn_from(running, next_random(state) * running[len(running) - 1])
        for earlier in range(block):
            if shots[earlier] == shot:
                return -1
        shots[block] = shot
        before = ions
        ions = draw_block(blocks[block], shot, first, hit, chosen, before, state)
        if ions < 0 or hides(chosen, before, ions, place, dead):
            return -1
        for ion in range(before, ions):
            of[ion] = shot
    return int(ions)


@compiled
def draw_many(
    blocks: IntArray,
    cumulative: FloatArray,
    first: IntArray,
    hit: IntArray,
    place: FloatArray,
    dead: FloatArray,
    state: np.ndarray,
    rows: IntArray,
    sources: IntArray,
) -> int:
    """Draw blocks from different shots, as often as there are rows (draws, ions).

    * `rows`, `sources`: candidates and their shots, filled from the beginning.

    Returns:
        the number of draws that can be in one shot; the others are left out.
    """
    n = 0
    for _ in range(len(rows)):
        ions = draw_others(blocks, cumulative, first, hit, place, dead, rows[n], sources[n], state)
        if ions >= 0:
            n += 1
    return n


@inner
def hides(chosen: IntArray, before: int, ions: int, place: FloatArray, dead: FloatArray) -> bool:
    """Whether an ion from `before` on and an earlier one would hide each other in one shot."""
    for ion in range(before, ions):
        for earlier in range(before):
            if too_close(place[chosen[ion]], place[chosen[earlier]], dead[0], dead[1]):
                return True
    return False


@inner
def add_momenta(momentum: FloatArray, chosen: IntArray, ions: int, total: FloatArray) -> None:
    """Fill in the sum of the momenta of the first ions chosen."""
    for axis in range(3):
        total[axis] = 0.0
        for ion in range(ions):
            total[axis] += momentum[chosen[ion], axis]


@inner
def cells_in_reach(
    partial: FloatArray,
    box: FloatArray,
    origin: FloatArray,
    step: FloatArray,
    shape: IntArray,
    low: IntArray,
    high: IntArray,
) -> None:
    """The cells, from `low` to before `high`, with which a sum may come into gate or ring."""
    for axis in range(3):
        low[axis], high[axis] = 0, shape[axis]
        if len(box):
            wanted = box[0, axis] - partial[axis] - origin[axis]
            bottom, top = (wanted - box[3, axis]) / step[axis], (wanted + box[3, axis]) / step[axis]
            low[axis] = int(min(max(np.floor(bottom), 0.0), shape[axis]))
            high[axis] = int(min(max(np.floor(top) + 1.0, low[axis]), shape[axis]))


@inner
def write_row(
    chosen: IntArray,
    of: IntArray,
    kind: IntArray,
    columns: IntArray,
    place: FloatArray,
    row: IntArray,
    source: IntArray,
) -> None:
    """Write candidates and shots into their columns, like ions in order of time of flight."""
    filled = np.zeros(len(columns), np.int64)
    for ion in range(len(chosen)):
        this = chosen[ion]
        begin = columns[kind[this]]
        slot = begin + filled[kind[this]]
        while slot > begin and comes_before(place, this, row[slot - 1]):
            row[slot] = row[slot - 1]
            source[slot] = source[slot - 1]
            slot -= 1
        row[slot] = this
        source[slot] = of[ion]
        filled[kind[this]] += 1


@inner
def add_closing(
    closing: IntArray,
    closing_shots: IntArray,
    ions: int,
    chosen: IntArray,
    of: IntArray,
    hit: IntArray,
    place: FloatArray,
    dead: FloatArray,
    offsets: IntArray,
    every: FloatArray,
    alike: IntArray,
    state: np.ndarray,
) -> float:
    """Add the closing blocks to the ions drawn; the factor of `survival`, 0 if they do not fit."""
    for ion in range(len(closing)):
        for earlier in range(ions):
            if of[earlier] == closing_shots[ion]:
                return 0.0
        chosen[ions + ion] = closing[ion]
        of[ions + ion] = closing_shots[ion]
    if hides(chosen, ions, len(chosen), place, dead):
        return 0.0
    if dead[0] > 0.0 and dead[1] > 0.0:
        return survival(chosen, of, hit, place, offsets, every, alike, dead, state)
    return 1.0


@compiled
def mix(
    first: IntArray,
    hit: IntArray,
    place: FloatArray,
    momentum: FloatArray,
    blocks: IntArray,
    cumulative: FloatArray,
    closing: IntArray,
    closing_shots: IntArray,
    closing_sum: FloatArray,
    cells: IntArray,
    origin: FloatArray,
    step: FloatArray,
    shape: IntArray,
    kind_of_candidate: IntArray,
    columns: IntArray,
    box: FloatArray,
    dead: FloatArray,
    offsets: IntArray,
    every: FloatArray,
    alike: IntArray,
    draws: int,
    pick: float,
    state: np.ndarray,
    rows: IntArray,
    sources: IntArray,
    regions: IntArray,
    factors: FloatArray,
    numbers: IntArray,
) -> int:
    """Combine blocks drawn from different shots with closing blocks that fit the gate.

    Of several that fit one draw, one is taken at random and counts for all of them: rows that share
    their other ions would not be independent.

    * `blocks` (others, kinds) and `cumulative` (others, shots + 1): the blocks that are drawn, and
      the running sum of their combinations in each shot.
    * `closing` (n, size) candidates, `closing_shots` (n, size), `closing_sum` (n, 3): combinations
      of the other blocks, ordered by cell of a grid of momenta; `cells` (cells + 1) where each
      begins, with `origin`, `step` and `shape` (3).
    * `kind_of_candidate`: kind of each candidate; `columns` (kinds): first column of each kind.
    * `box`: see `region`; (0, 3) without a gate. `dead`: dead time in ns and radius in mm.
    * `draws`: how many times the other blocks are drawn; `pick`: probability with which one of
      the closing combinations is taken.
    * `offsets`, `every` (hits, 3): all hits (t, x, y) shot by shot; `alike`: the shots mixed.
    * `rows`, `sources` (room, ions) candidates and shots, like ions in order of time of flight,
      `regions`, `factors` (room; see `survival`) and `numbers` (room) that fit: filled.

    Returns:
        the number of combinations; only the first `room` of them are listed.
    """
    chosen, of = np.empty(rows.shape[1], np.int64), np.empty(rows.shape[1], np.int64)
    partial, total = np.empty(3), np.empty(3)
    low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
    skip = np.log(1.0 - pick) if pick < 1.0 else -np.inf
    n = 0
    for _ in range(draws):
        ions = draw_others(blocks, cumulative, first, hit, place, dead, chosen, of, state)
        if ions < 0:
            continue
        add_momenta(momentum, chosen, ions, partial)
        cells_in_reach(partial, box, origin, step, shape, low, high)
        waiting = np.floor(np.log(1.0 - next_random(state)) / skip)
        fitting, kept, inside = 0, 0, 0
        for line in range((high[0] - low[0]) * (high[1] - low[1])):
            # Cells along the last axis lie side by side.
            i, j = low[0] + line // (high[1] - low[1]), low[1] + line % (high[1] - low[1])
            place_of = (i * shape[1] + j) * shape[2]
            begin, end = cells[place_of + low[2]], cells[place_of + high[2]]
            while waiting < end - begin:
                last = begin + int(waiting)
                waiting += 1.0 + np.floor(np.log(1.0 - next_random(state)) / skip)
                for axis in range(3):
                    total[axis] = partial[axis] + closing_sum[last, axis]
                where = GATE if len(box) == 0 else region(total, box)
                if where < 0:
                    continue
                fitting += 1
                if fitting == 1 or next_random(state) * fitting < 1.0:
                    kept, inside = last, where
            waiting -= end - begin
        if fitting == 0:
            continue
        factor = add_closing(
            closing[kept], closing_shots[kept], ions, chosen, of, hit, place, dead,
            offsets, every, alike, state,
        )  # fmt: skip
        if factor == 0.0:
            continue
        if n < len(rows):
            factors[n], numbers[n], regions[n] = factor, fitting, inside
            write_row(chosen, of, kind_of_candidate, columns, place, rows[n], sources[n])
        n += 1
    return n
