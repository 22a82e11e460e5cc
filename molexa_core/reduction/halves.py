"""Compiled enumeration of combinations of hits by meeting in the middle.

The columns of a channel are divided into two halves. All combinations of the second half are
listed once per shot, sorted into a grid of two components of their momentum sum; for every
combination of the first half only those of the second are looked at that bring the sum into the
gate or beside it. The work grows with the numbers of combinations of the halves, not with their
product (Horowitz and Sahni, J. ACM 21, 277 (1974)).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray, IntArray

BITS: Final = 62
"""Hits that can be two kinds of ions are numbered; the number modulo `BITS` is their bit in a
mask. Masks without a common bit share no hit; others are compared hit by hit."""
MOST_LISTED: Final = 1 << 20
"""Most combinations of the second half that are listed."""
FEW: Final = 40.0
"""Up to this number of listed combinations no grid is made."""
_ROWS: Final = 12.0
_CELLS: Final = 60.0
_INSIDE: Final = 0.03
"""Estimates for the choice of the halves: rows and cells of the grid that are looked at for one
combination of the first half, and the share of the listed ones in them."""
_SMALL: Final = 400.0
"""Expected work below which no other division is tried."""
_FINEST: Final = 0.5
"""Size of a cell of the grid, in half widths of the gate, where there are many combinations."""


@compiled
def choose(n: int, k: int) -> float:
    """Number of ways to choose k of n."""
    ways = 1.0
    for i in range(k):
        ways *= (n - i) / (i + 1.0)
    return ways


@compiled
def ways(kind_of: IntArray, count: IntArray, first: int, last: int) -> float:
    """Number of combinations of the columns from `first` to before `last`.

    Choices that use one hit as two kinds of ions are counted too.

    Args:
        kind_of: (ions) kind of each column, like ions side by side.
        count: (kinds) number of hits that can be each kind.
        first: first of these columns.
        last: the column behind them.
    """
    number = 1.0
    begin = first
    while begin < last:
        end = begin
        while end < last and kind_of[end] == kind_of[begin]:
            end += 1
        number *= choose(count[kind_of[begin]], end - begin)
        begin = end
    return number


@compiled
def divide(kind_of: IntArray, count: IntArray) -> tuple[int, float]:
    """Where the second half begins, and the expected work in steps of about a nanosecond."""
    ions = len(kind_of)
    best, least = ions - 1, np.inf
    for first in range(ions - 1, -1, -1):
        listed = ways(kind_of, count, first, np.int64(ions))
        if listed > MOST_LISTED:
            break
        walked = ways(kind_of, count, np.int64(0), first)
        if listed <= FEW:
            work = walked * (4.0 + 1.5 * listed)
        else:
            split = first > 0 and kind_of[first - 1] == kind_of[first]
            visits = _CELLS if split else _ROWS
            work = 10.0 * listed + walked * (4.0 + 2.0 * visits + 1.5 * _INSIDE * listed)
        if work < least:
            best, least = first, work
        if first == ions - 1 and work < _SMALL:
            break
    return best, least


@compiled
def taken(
    kind: int, index: int, first: int, last: int, kind_of: IntArray, choice: IntArray,
    members: IntArray,
) -> bool:  # fmt: skip
    """Whether a hit is already that of a column from `first` to before `last`."""
    hit = members[kind, index]
    found = False
    for column in range(first, last):
        found |= members[kind_of[column], choice[column]] == hit
    return found


@compiled
def room_for(kind_of: IntArray, first: int, last: int, room: IntArray) -> None:
    """Number of like ions from each column on: so many hits must be left for them."""
    for column in range(last - 1, first - 1, -1):
        alike = column + 1 < last and kind_of[column + 1] == kind_of[column]
        room[column] = room[column + 1] + 1 if alike else 1


@compiled
def list_half(
    first: int,
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    bits: IntArray,
    choice: IntArray,
    room: IntArray,
    path: FloatArray,
    masks: IntArray,
    sums: FloatArray,
    used: IntArray,
    chosen: IntArray,
) -> int:
    """List all combinations of the columns from `first` on.

    Fills `sums` (3, n), `used` (n: mask) and `chosen` (n, ions - first: places in the lists of
    each kind), in ascending order of the first place. `path` (ions + 1, 3) and `masks` (ions + 1)
    are work space.

    Returns:
        number of combinations.
    """
    last = len(kind_of)
    room_for(kind_of, first, last, room)
    n = 0
    column = first
    choice[column] = -1
    path[column, 0] = path[column, 1] = path[column, 2] = 0.0
    masks[column] = 0
    while column >= first:
        kind = kind_of[column]
        end = count[kind] - room[column] + 1
        if column < last - 1:
            choice[column] += 1
            index = choice[column]
            if index >= end:
                column -= 1
                continue
            bit = bits[kind, index]
            if bit & masks[column] and taken(kind, index, first, column, kind_of, choice, members):
                continue
            for axis in range(3):
                path[column + 1, axis] = path[column, axis] + momenta[kind, index, axis]
            masks[column + 1] = masks[column] | bit
            column += 1
            choice[column] = choice[column - 1] if kind_of[column] == kind else -1
            continue
        x, y, z, mask = path[column, 0], path[column, 1], path[column, 2], masks[column]
        for index in range(choice[column] + 1, end):
            bit = bits[kind, index]
            if bit & mask and taken(kind, index, first, column, kind_of, choice, members):
                continue
            sums[0, n] = x + momenta[kind, index, 0]
            sums[1, n] = y + momenta[kind, index, 1]
            sums[2, n] = z + momenta[kind, index, 2]
            used[n] = mask | bit
            for earlier in range(first, column):
                chosen[n, earlier - first] = choice[earlier]
            chosen[n, column - first] = index
            n += 1
        column -= 1
    return n


@compiled
def make_grid(  # noqa: C901, PLR0912  # one compiled loop
    n: int, sums: FloatArray, half_width: FloatArray, axes: IntArray, frame: FloatArray,
    starts: IntArray, order: IntArray, cells: IntArray,
) -> int:  # fmt: skip
    """Sort listed sums into the cells of a grid over the two axes that tell most.

    Fills `axes` (3: rows, columns, the remaining one), `frame` (2, 2: origin and cells per a.u. of
    rows and columns), `starts` (cells + 1) and `order` (n: numbers of the sums by cell, ascending
    in each); `cells` (n) is work space. One cell for few sums.

    Returns:
        number of columns; that of rows is the same.
    """
    side = 1
    low, high = np.empty(3), np.empty(3)
    spread = np.empty(3)
    for axis in range(3):
        low[axis], high[axis] = sums[axis, 0], sums[axis, 0]
        for row in range(1, n):
            low[axis] = min(low[axis], sums[axis, row])
            high[axis] = max(high[axis], sums[axis, row])
        spread[axis] = (high[axis] - low[axis]) / half_width[axis]
    axes[2] = 0
    for axis in range(1, 3):
        if spread[axis] < spread[axes[2]]:
            axes[2] = axis
    axes[0], axes[1] = (axes[2] + 1) % 3, (axes[2] + 2) % 3
    if n > FEW:
        side = int(min(512.0, np.sqrt(n), max(spread[axes[0]], spread[axes[1]]) / _FINEST + 1.0))
    for place in range(2):
        axis = axes[place]
        frame[place, 0] = low[axis]
        length = high[axis] - low[axis]
        frame[place, 1] = side / length if length > 0.0 else 0.0
    for cell in range(side * side + 1):
        starts[cell] = 0
    if side == 1:
        starts[1] = n
        for row in range(n):
            order[row] = row
        return side
    u, v = axes[0], axes[1]
    for row in range(n):
        i = min(int((sums[u, row] - frame[0, 0]) * frame[0, 1]), side - 1)
        j = min(int((sums[v, row] - frame[1, 0]) * frame[1, 1]), side - 1)
        cells[row] = i * side + j
        starts[cells[row] + 1] += 1
    for cell in range(side * side):
        starts[cell + 1] += starts[cell]
    for row in range(n - 1, -1, -1):  # backwards from the end of each cell
        starts[cells[row] + 1] -= 1
        order[starts[cells[row] + 1]] = row
    for cell in range(side * side):
        starts[cell] = starts[cell + 1]
    starts[side * side] = n
    return side


@compiled
def gather(
    n: int, sums: FloatArray, used: IntArray, chosen: IntArray, axes: IntArray, order: IntArray,
    sorted_sums: FloatArray, sorted_used: IntArray, sorted_first: IntArray,
) -> None:  # fmt: skip
    """The listed combinations in the order of the grid; components in the order of `axes`."""
    for place in range(n):
        row = order[place]
        for axis in range(3):
            sorted_sums[axis, place] = sums[axes[axis], row]
        sorted_used[place] = used[row]
        sorted_first[place] = chosen[row, 0]
