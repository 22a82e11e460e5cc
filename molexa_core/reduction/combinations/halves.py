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

from molexa_core.base.compiled import inner, integer
from molexa_core.base.tables import FloatArray, IntArray

BITS: Final = 62
"""Hits that can be two kinds of ions are numbered; the number modulo `BITS` is their bit in a
mask. Masks without a common bit share no hit; others are compared hit by hit."""
MOST_LISTED: Final = 1 << 20
"""Most combinations of the second half that are listed."""
_SCANNED: Final = 40.0
"""Up to this number of listed combinations a grid of few cells is of no use."""
PARENT: Final = 0
PLACE: Final = 1
USED: Final = 2
START: Final = 3
"""Rows of `tree`: the combination without its last hit, place of the last hit in the list of its
kind, mask of the hits, and place of the first hit."""
_ROWS: Final = 12.0
_CELLS: Final = 60.0
_INSIDE: Final = 0.03
"""Estimates for the choice of the halves: rows and cells of the grid that are looked at for one
combination of the first half, and the share of the listed ones in them."""
_SMALL: Final = 400.0
"""Expected work below which no other division is tried."""
_FINEST: Final = 0.5
"""Size of a cell of the grid, in half widths of the gate, where there are many combinations."""
_MOST_SIDE: Final = 512.0


@inner
def choose(n: int, k: int) -> float:
    """Number of ways to choose k of n."""
    above, below = float(n), 1.0
    for i in range(1, k):
        above *= n - i
        below *= i + 1.0
    return above / below if k > 1 else above


@inner
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


@inner
def divide(kind_of: IntArray, count: IntArray) -> tuple[int, float]:
    """Where the second half begins, and the expected work in steps of about a nanosecond."""
    ions = len(kind_of)
    best, least = ions - 1, np.inf
    for first in range(ions - 1, -1, -1):
        listed = ways(kind_of, count, first, integer(ions))
        if listed > MOST_LISTED:
            break
        walked = ways(kind_of, count, integer(0), first)
        if listed <= _SCANNED:
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


@inner
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


@inner
def room_for(kind_of: IntArray, first: int, last: int, room: IntArray) -> None:
    """Number of like ions from each column on: so many hits must be left for them."""
    for column in range(last - 1, first - 1, -1):
        alike = column + 1 < last and kind_of[column + 1] == kind_of[column]
        room[column] = room[column + 1] + 1 if alike else 1


@inner
def list_half(
    first: int,
    kind_of: IntArray,
    count: IntArray,
    members: IntArray,
    momenta: FloatArray,
    bits: IntArray,
    room: IntArray,
    sums: FloatArray,
    tree: IntArray,
) -> tuple[int, int]:
    """List all combinations of the columns from `first` on, column after column.

    Fills `sums` (3, nodes) and `tree` (see `PARENT` and following). Node 0 is the empty
    combination; a node adds one hit to its parent. Nodes of a column stand in ascending order of
    the places of their hits.

    Returns:
        first node of the last column, and the number of nodes.
    """
    ions = len(kind_of)
    room_for(kind_of, first, ions, room)
    for axis in range(3):
        sums[axis, 0] = 0.0
    tree[PARENT, 0] = tree[PLACE, 0] = tree[START, 0] = -1
    tree[USED, 0] = 0
    begin, end = 0, 1
    for column in range(first, ions):
        kind = kind_of[column]
        same = column > first and kind_of[column - 1] == kind
        stop = count[kind] - room[column] + 1
        new = end
        for node in range(begin, end):
            x, y, z = sums[0, node], sums[1, node], sums[2, node]
            mask, start = tree[USED, node], tree[START, node]
            for index in range(tree[PLACE, node] + 1 if same else 0, stop):
                bit = bits[kind, index]
                if bit & mask:
                    hit = members[kind, index]
                    clash = False
                    other = node
                    for earlier in range(column - 1, first - 1, -1):
                        clash |= members[kind_of[earlier], tree[PLACE, other]] == hit
                        other = tree[PARENT, other]
                    if clash:
                        continue
                sums[0, new] = x + momenta[kind, index, 0]
                sums[1, new] = y + momenta[kind, index, 1]
                sums[2, new] = z + momenta[kind, index, 2]
                tree[PARENT, new] = node
                tree[PLACE, new] = index
                tree[USED, new] = mask | bit
                tree[START, new] = index if column == first else start
                new += 1
        begin, end = end, new
    return begin, end


@inner
def bound(
    first: int, kind_of: IntArray, count: IntArray, momenta: FloatArray, limits: FloatArray
) -> None:
    """Limits of the sums of the columns from `first` on: fills `limits` (2, 3: least, largest)."""
    ions = len(kind_of)
    for axis in range(3):
        limits[0, axis] = limits[1, axis] = 0.0
    begin = first
    while begin < ions:
        kind = kind_of[begin]
        end = begin
        while end < ions and kind_of[end] == kind:
            end += 1
        for axis in range(3):
            low, high = np.inf, -np.inf
            for index in range(count[kind]):
                low = min(low, momenta[kind, index, axis])
                high = max(high, momenta[kind, index, axis])
            limits[0, axis] += (end - begin) * low
            limits[1, axis] += (end - begin) * high
        begin = end


@inner
def make_grid(
    begin: int,
    end: int,
    sums: FloatArray,
    half_width: FloatArray,
    limits: FloatArray,
    axes: IntArray,
    frame: FloatArray,
    starts: IntArray,
    cells: IntArray,
    sorted_sums: FloatArray,
    nodes: IntArray,
) -> int:
    """Sort listed sums into the cells of a grid over the two axes that tell most.

    Fills `axes` (3: rows, columns, the remaining one), `frame` (2, 2: origin and cells per a.u. of
    rows and columns), `starts` (cells + 1), `sorted_sums` (3, n: components in the order of `axes`)
    and `nodes` (n), by cell, ascending in each. `cells` (n) is work space; `begin` and `end` are
    the first node and the one behind the last, `limits` those of `bound`.

    Returns:
        number of columns; that of rows is the same.
    """
    n = end - begin
    axes[2] = 0
    for axis in range(1, 3):
        narrow = (limits[1, axis] - limits[0, axis]) / half_width[axis]
        if narrow < (limits[1, axes[2]] - limits[0, axes[2]]) / half_width[axes[2]]:
            axes[2] = axis
    axes[0], axes[1] = (axes[2] + 1) % 3, (axes[2] + 2) % 3
    u, v, w = axes[0], axes[1], axes[2]
    length, height = limits[1, u] - limits[0, u], limits[1, v] - limits[0, v]
    widest = max(length / half_width[u], height / half_width[v]) / _FINEST + 1.0
    side = int(min(_MOST_SIDE, np.sqrt(0.5 * n), widest))
    frame[0, 0], frame[0, 1] = limits[0, u], side / length if length > 0.0 else 0.0
    frame[1, 0], frame[1, 1] = limits[0, v], side / height if height > 0.0 else 0.0
    left, across, low, along = frame[0, 0], frame[0, 1], frame[1, 0], frame[1, 1]
    for cell in range(side * side + 1):
        starts[cell] = 0
    for place in range(n):
        row = min(int((sums[u, begin + place] - left) * across), side - 1)
        column = min(int((sums[v, begin + place] - low) * along), side - 1)
        cells[place] = row * side + column
        starts[cells[place] + 1] += 1
    for cell in range(side * side):
        starts[cell + 1] += starts[cell]
    for place in range(n - 1, -1, -1):  # from the end of each cell
        cell = cells[place]
        starts[cell + 1] -= 1
        to = starts[cell + 1]
        sorted_sums[0, to] = sums[u, begin + place]
        sorted_sums[1, to] = sums[v, begin + place]
        sorted_sums[2, to] = sums[w, begin + place]
        nodes[to] = begin + place
    for cell in range(side * side):
        starts[cell] = starts[cell + 1]
    starts[side * side] = n
    return side
