"""Compilation of inner loops: machine code made at the first call and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile with numba and keep the result beside the module or in the user's cache.

    The compiled function runs without the interpreter's lock, so that threads can share the work.
    Where no folder for the cache can be written (read-only installation and home), the function
    is compiled anew in each process.
    """
    compiler: Any = numba.njit
    try:
        fast: F = compiler(cache=True, nogil=True)(function)
    except RuntimeError:
        fast = compiler(nogil=True)(function)
    return fast
