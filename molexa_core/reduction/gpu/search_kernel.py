"""The kernels of the coincidence search: their source `search.cu`, arguments and limits."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from molexa_core.reduction.combinations.halves import BITS
from molexa_core.reduction.combinations.selection import MOST_SETS
from molexa_core.reduction.momentum import STEPS, TOLERANCE

NAMES: Final = ("search", "settle", "sum", "spread", "place")
THREADS: Final = 128
CANDIDATES: Final = 24
"""Most hits of a shot in the window of a kind of ion; shots with more are left to the processor."""
ROWS: Final = 32
"""Most candidates of a shot, in the gate and in the boxes beside it."""
SEGMENT: Final = 128
"""Numbers that one thread sums up."""
MOST_IONS: Final = 12
_POINTERS: Final = (
    *("x", "y", "t", "offsets", "flights", "sums", "elsewhere", "totals", "cursors", "counts"),
    *("left", "contested", "shot", "rank", "rows", "chi", "probability", "base", "table"),
    "momenta",
)


class Scan(ctypes.Structure):
    """The argument of the running sums: `struct Scan` of the source."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("values", "sums", "before", "start")),
        ("n", ctypes.c_int64),
    ]


@lru_cache
def launch_type(ions: int, kinds: int, boxes: int) -> type[ctypes.Structure]:
    """The argument of the other kernels: `struct Launch` of the source, field by field."""
    sizes: Mapping[str, int] = {
        "windows": kinds * 2, "gate": 12, "near": 3, "shifts": boxes * 3
    }  # fmt: skip
    lists: Mapping[str, int] = {
        "kind_of": ions, "wanted": kinds, "space": ions, "columns": ions
    }  # fmt: skip

    class Launch(ctypes.Structure):
        _fields_ = [
            *((name, ctypes.c_void_p) for name in _POINTERS),
            *((name, ctypes.c_int64) for name in ("shots", "room", "row_length")),
            *((name, ctypes.c_double * size) for name, size in sizes.items()),
            *(
                (name, ctypes.c_double)
                for name in ("max_momentum", "few", "log_odds", "infinity", "nan", "sine")
            ),
            *((name, ctypes.c_int32 * size) for name, size in lists.items()),
            *((name, ctypes.c_int32) for name in ("overlap", "asked", "weigh", "boxes")),
        ]

    return Launch


def defines(ions: int, kinds: int, boxes: int, bins: int) -> tuple[str, ...]:
    """Options of the compiler for a channel."""
    numbers = {
        "IONS": ions,
        "KINDS": kinds,
        "BOXES": boxes,
        "BINS": bins,
        "CANDIDATES": CANDIDATES,
        "ROWS": ROWS,
        "SEGMENT": SEGMENT,
        "THREADS": THREADS,
        "BITS": BITS,
        "MOST_SETS": MOST_SETS,
        "STEPS": STEPS,
        "TOLERANCE": TOLERANCE,
    }
    return tuple(f"-D{name}={value!r}" for name, value in numbers.items())


def source() -> str:
    """The source of the kernels."""
    return Path(__file__).with_name("search.cu").read_text(encoding="utf-8")
