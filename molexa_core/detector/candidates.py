"""Compiled construction of candidate hits from seeds, and the lists that hold them.

A seed is a set of three edges that determines a hit (`seeds`). Edges at the times that the hit
predicts for its other signals are added, and all are fitted together.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from molexa_core.base.compiled import compiled
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
"""Candidates of a shot; more are not looked at, and the shot is counted."""
STRONG: Final = 6
"""Signals of a hit that claims its edges: seeds of its edges alone are left out."""
COUNT, SEEDS, LIMITED = range(3)
"""Places in the state of a shot."""
NEXT, CODE, COLUMNS = 7, 14, 15
"""Columns of a candidate: its seven edges, the next candidate of each of these, a hash."""
WEIGHT: Final = 3
"""Column of a candidate's values, behind x, y and T."""
HEAD, CLAIMS = range(2)
"""Columns of an edge: its last candidate, the number of well-checked ones."""


@compiled
def key_of(chosen: Any) -> Any:
    """A number that differs for different sets of edges, nearly always."""
    key = np.int64(1469598103934665603)
    for s in range(7):
        key = (key ^ (chosen[s] + 2)) * np.int64(1099511628211)
    return key


@compiled
def known(candidates: Any, n: int, chosen: Any, key: int) -> Any:
    """Whether exactly these edges are a candidate already."""
    for c in range(n):
        if candidates[c, CODE] == key:
            same = True
            for s in range(7):
                same &= candidates[c, s] == chosen[s]
            if same:
                return True
    return False


@compiled
def inside(lists: Any, one: int, other: int, third: int) -> Any:
    """Whether a candidate has all three edges."""
    candidates = lists[0]
    at = lists[2][one, HEAD]
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


@compiled
def claimed(lists: Any, edge: int) -> Any:
    """1 for an edge of exactly one well-checked hit."""
    return 1 if lists[2][edge, CLAIMS] == 1 else 0


@compiled
def keep(lists: Any, state: Any, chosen: Any, hit: Any, value: float) -> None:
    """Store a candidate that is new and enter it into the lists of its edges."""
    candidates, values, marks = lists
    key = key_of(chosen)
    c = state[COUNT]
    if known(candidates, c, chosen, key):
        return
    if c >= len(values):
        state[LIMITED] = 1
        return
    state[COUNT] = c + 1
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


@compiled
def complete(m: Any, chosen: Any) -> Any:
    """Whether no signal is missing."""
    for s in range(2 * int(m[N_LAYERS])):
        if chosen[s] < 0:
            return False
    return chosen[MCP] >= 0


@compiled
def grow(
    m: Any, t: Any, first: Any, chosen: Any, hit: Any, a: Any, b: Any,
) -> Any:  # fmt: skip
    """Complete a seed with a first guess of its hit; the weight, 0 where it gives no hit."""
    if refine(m, t, chosen, hit, a, b) < 0:
        return 0.0
    reach = 1.5 * m[RADIUS]
    chi2 = -1.0
    for _ in range(2):
        if hit[0] * hit[0] + hit[1] * hit[1] > reach * reach:
            return 0.0
        added = fill(m, t, first, chosen, hit)
        chi2 = refine(m, t, chosen, hit, a, b)
        if chi2 < 0:
            return 0.0
        if added == 0 or complete(m, chosen):
            break
    for _ in range(2):
        if fits(m, t, chosen, hit):
            break
        n = 0
        for s in range(7):
            n += chosen[s] >= 0
        if n <= 4:
            return 0.0
        chosen[worst_signal(m, t, chosen, hit)] = -1
        if method_of(m, chosen) < 0:
            return 0.0
        chi2 = refine(m, t, chosen, hit, a, b)
        chi2 = refine(m, t, chosen, hit, a, b)
    return judge(m, t, first, chosen, hit, chi2)
