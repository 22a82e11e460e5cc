"""Compilation of inner loops: machine code made at the first call and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., object])
integer: Any = np.int64
"""Makes numbers that are handed to functions: for a literal a function is compiled once more."""


def compiled(function: F) -> F:
    """Compile with numba and keep the result beside the module or in the user's cache.

    The compiled function runs without the interpreter's lock, so that threads can share the work.
    Where no folder for the cache can be written (read-only installation and home), the function
    is compiled anew in each process.
    """
    return _compiled(function)


def inner(function: F) -> F:
    """Compile a function that only other compiled functions call, never Python.

    Without the doors through which Python calls and returns, it compiles in three quarters of the
    time.
    """
    return _compiled(function, no_cpython_wrapper=True)


def inlined(function: F) -> F:
    """A function whose statements are put where compiled functions call it.

    For what is called for every shot: handing over a dozen arrays takes as long as what is done
    with them.
    """
    return _compiled(function, no_cpython_wrapper=True, inline="always")


def _compiled(function: F, **options: Any) -> F:
    compiler: Any = partial(numba.njit, nogil=True, no_cfunc_wrapper=True, **options)
    try:
        fast: F = compiler(cache=True)(function)
    except RuntimeError:
        fast = compiler()(function)
    return fast
