"""Compiled construction of candidate hits from seeds, and the lists that hold them.

A seed is a set of three edges that determines a hit (`seeds`). Edges at the times that the hit
predicts for its other signals are added, and all are fitted together.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from molexa_core.base.compiled import bare
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.detector.anode_arrays import (
    N_LAYERS,
    RADIUS,
)
from molexa_core.detector.fit import (
    MCP,
    fill,
    fits,
    judge,
    method_of,
    refine,
    worst_signal,
)

MOST_CANDIDATES: Final = 4096
"""Most candidates of a shot; if there are more, the rest is ignored and the shot is counted."""
STRONG: Final = 6
"""Signals of a hit that claims its edges: seeds of its edges alone are left out."""
COUNT, SEEDS, LIMITED = range(3)
"""Places in the tally of a shot: candidates, seeds, and whether a limit was reached (0 or 1)."""
NEXT, CODE, COLUMNS = 7, 14, 15
"""Columns of a candidate: its seven edges, the next candidate of each of these, a hash."""
WEIGHT: Final = 3
"""Column of a candidate's values, behind x, y and T."""
HEAD, CLAIMS = range(2)
"""Columns of an edge: its last candidate, the number of well-checked ones."""


class Lists(NamedTuple):
    """The candidates of a shot and, for each edge, those that have it.

    Attributes:
        candidates: (`MOST_CANDIDATES`, `COLUMNS`) edges of each candidate, -1 for a missing
            signal; see `NEXT` and `CODE`.
        values: (`MOST_CANDIDATES`, 4) x and y in mm, T in ns, weight.
        marks: (edges, 2) of each edge of the shot; see `HEAD` and `CLAIMS`.
    """

    candidates: IntArray
    values: FloatArray
    marks: IntArray


class Trial(NamedTuple):
    """The candidate that is being made.

    Attributes:
        chosen: (7) its edges, -1 for a missing signal.
        hit: (3) x and y in mm, T in ns.
    """

    chosen: IntArray
    hit: FloatArray


@bare
def key_of(chosen: IntArray) -> np.int64:
    """A number that differs for different sets of edges, nearly always."""
    key = np.int64(1469598103934665603)
    for s in range(7):
        key = (key ^ (chosen[s] + 2)) * np.int64(1099511628211)
    return key


@bare
def known(lists: Lists, chosen: IntArray, key: np.int64) -> bool:
    """Whether exactly these edges are a candidate already: one of those of their first edge."""
    candidates = lists.candidates
    first = 0
    while chosen[first] < 0:
        first += 1
    at = lists.marks[chosen[first], HEAD]
    while at >= 0:
        c = at // 7
        if candidates[c, CODE] == key:
            same = True
            for s in range(7):
                same &= candidates[c, s] == chosen[s]
            if same:
                return True
        at = candidates[c, NEXT + at % 7]
    return False


@bare
def inside(lists: Lists, one: int, other: int, third: int) -> bool:
    """Whether a candidate has all three edges."""
    candidates = lists.candidates
    at = lists.marks[one, HEAD]
    while at >= 0:
        c = at // 7
        second = False
        last = False
        for s in range(7):
            second |= candidates[c, s] == other
            last |= candidates[c, s] == third
        if second and last:
            return True
        at = candidates[c, NEXT + at % 7]
    return False


@bare
def claimed(lists: Lists, edge: int) -> int:
    """1 for an edge of exactly one well-checked hit."""
    return 1 if lists.marks[edge, CLAIMS] == 1 else 0


@bare
def keep(lists: Lists, tally: IntArray, chosen: IntArray, hit: FloatArray, value: float) -> None:
    """Store a candidate if it is new."""
    key = key_of(chosen)
    if not known(lists, chosen, key):
        enter(lists, tally, chosen, key, hit, value)


@bare
def enter(
    lists: Lists, tally: IntArray, chosen: IntArray, key: np.int64, hit: FloatArray, value: float
) -> None:
    """Store a new candidate and enter it into the lists of its edges."""
    candidates, values, marks = lists
    c = tally[COUNT]
    if c >= len(values):
        tally[LIMITED] = 1
        return
    tally[COUNT] = c + 1
    n = 0
    for s in range(7):
        edge = chosen[s]
        candidates[c, s] = edge
        if edge >= 0:
            n += 1
            candidates[c, NEXT + s] = marks[edge, HEAD]
            marks[edge, HEAD] = 7 * c + s
    if n >= STRONG:
        for s in range(7):
            if chosen[s] >= 0:
                marks[chosen[s], CLAIMS] += 1
    for i in range(3):
        values[c, i] = hit[i]
    values[c, WEIGHT] = value
    candidates[c, CODE] = key


@bare
def complete(anode: FloatArray, chosen: IntArray) -> bool:
    """Whether no signal is missing."""
    for s in range(2 * int(anode[N_LAYERS])):
        if chosen[s] < 0:
            return False
    present: bool = chosen[MCP] >= 0
    return present


@bare
def grow(
    anode: FloatArray,
    time: FloatArray,
    first_edge: IntArray,
    chosen: IntArray,
    hit: FloatArray,
) -> float:
    """Complete a seed with a first guess of its hit; the weight, 0 where it gives no hit."""
    if refine(anode, time, chosen, hit) < 0:
        return 0.0
    reach = 1.5 * anode[RADIUS]
    chi2 = -1.0
    for _ in range(2):
        if hit[0] * hit[0] + hit[1] * hit[1] > reach * reach:
            return 0.0
        added = fill(anode, time, first_edge, chosen, hit)
        chi2 = refine(anode, time, chosen, hit)
        if chi2 < 0:
            return 0.0
        if added == 0 or complete(anode, chosen):
            break
    for _ in range(2):
        if fits(anode, time, chosen, hit):
            break
        n = 0
        for s in range(7):
            n += chosen[s] >= 0
        if n <= 4:
            return 0.0
        chosen[worst_signal(anode, time, chosen, hit)] = -1
        if method_of(anode, chosen) < 0:
            return 0.0
        chi2 = refine(anode, time, chosen, hit)
        chi2 = refine(anode, time, chosen, hit)
    return judge(anode, time, first_edge, chosen, hit, chi2)
