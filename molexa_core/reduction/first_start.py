"""What `reduce` needs late and other processes compile at its first start: on nothing.

The types of these arguments are those of the calls in `coincidences.py` and `mixing/`: for others a
function would be compiled once more.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.compiled_elsewhere import Elsewhere
from molexa_core.reduction.combinations.shot import (
    COUNTERS,
    LIMITS,
    ROOM,
    Counted,
    Picks,
    Sought,
)
from molexa_core.reduction.combinations.verdict import decide
from molexa_core.reduction.mixing.loops import close_pairs, combinations, mix

REDUCE: Final[Elsewhere] = {
    "molexa_core.reduction.first_start:compile_verdict": [decide],
    "molexa_core.reduction.first_start:compile_mixing": [close_pairs, combinations, mix],
}
"""What other processes compile for `reduce`."""


def compile_verdict() -> None:
    """The verdict on the combinations of a shot."""
    limits = np.zeros(LIMITS)
    limits[ROOM] = 1
    none, table = np.zeros(1, np.int64), np.ones((4, 3))
    sought = Sought(
        kinds=np.zeros((1, 2)), flights=np.zeros((1, 1)), wanted=none, kind_of=none, limits=limits,
        asked=0, weigh=False, gate=table, shifts=table,
    )  # fmt: skip
    counted = Counted(
        np.empty((0, 6)), np.zeros((3, 2), np.int64), none, np.zeros(COUNTERS, np.int64)
    )
    picks = Picks(np.empty((0, 2), np.int64), np.empty((0, 3)))
    decide(0, picks, np.zeros(1, np.int64), sought, counted)


def compile_mixing() -> None:
    """The loops of event mixing."""
    first, none, places = np.zeros((1, 1), np.int64), np.zeros(0, np.int64), np.empty((0, 3))
    rows, usable, numbers = np.empty((0, 1), np.int64), np.zeros(0, np.bool_), np.zeros(2)
    begin, axes, cells = np.zeros(1, np.int64), np.ones(3), np.zeros((0, 0, 0), np.bool_)
    close_pairs(begin, places, none, numbers)
    combinations(
        first, none, places, usable, none, places, cells, axes, axes, rows, none, none,
    )  # fmt: skip
    mix(
        first, none, places, places, rows, np.empty((0, 1)), rows, rows, places, none,
        axes, axes, np.ones(3, np.int64), none, none, places, numbers, begin, places, none,
        0, 0.5, np.zeros(1, np.uint64), rows, rows, none, np.empty(0), none,
    )  # fmt: skip
