"""Memory that a process does not use any more, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

_MMAP_THRESHOLD: Final = -3
"""`M_MMAP_THRESHOLD` of glibc (malloc.h)."""
_LARGE: Final = 2**20


def keep_no_large_blocks() -> None:
    """Have blocks above 1 MiB given back as soon as they are free.

    glibc raises that limit to 32 MiB when such a block is freed, and keeps smaller ones: between
    what lives longer, arrays of changing size leave gaps, and a process that runs for hours grows.
    Nothing is done where the C library is another one.
    """
    call = _glibc("mallopt")
    if call is not None:
        call(_MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Collect garbage, and give all memory back that is not used, where the C library can."""
    gc.collect()
    call = _glibc("malloc_trim")
    if call is not None:
        call(0)


@cache
def _glibc(name: str) -> Callable[..., int] | None:
    """A function of the GNU C library; None on other systems."""
    if os.name != "posix":
        return None
    with suppress(OSError, AttributeError):
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        return found
    return None
