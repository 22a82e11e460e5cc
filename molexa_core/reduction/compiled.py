"""How inner loops are compiled: to machine code at the first call, kept on disk for the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile with numba and keep the result beside the module or in the user's cache.

    Where no folder for the cache can be written (read-only installation and home), the function
    is compiled anew in each process.
    """
    try:
        return numba.njit(cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:
        return numba.njit(function)  # type: ignore[no-any-return]
