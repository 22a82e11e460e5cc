"""Compilation of inner loops: machine code made at the first call and kept on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import numba
import numpy as np
from numba.core import event

F = TypeVar("F", bound=Callable[..., object])
integer: Any = np.int64
"""Makes numbers that are handed to functions: for a literal a function is compiled once more."""


_ONCE: Final = "compiling the inner loops for this machine, once: takes some 20 seconds"
_IN_MEMORY: Final = (
    "compiling the inner loops takes some 20 seconds at each start, because no folder can be "
    "written to keep them; name one in the environment variable NUMBA_CACHE_DIR"
)
_without_folder: list[str] = []
"""Functions whose compiled form is not kept."""


class _FirstCompilation(event.Listener):
    """Says once that a function is compiled, which loading it from the disk is not."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say: Callable[[str], None] | None = say

    def on_start(self, event: Any) -> None:
        del event
        if self._say is not None:
            self._say(_IN_MEMORY if _without_folder else _ONCE)
            self._say = None

    def on_end(self, event: Any) -> None:
        del event


@contextmanager
def announced(say: Callable[[str], None]) -> Iterator[None]:
    """Say it before anything is compiled in the `with` block: the first start is slow."""
    with event.install_listener("numba:compile", _FirstCompilation(say)):
        yield


def compiled(function: F) -> F:
    """Compile with numba and keep the result beside the module or in the user's cache.

    The compiled function runs without the interpreter's lock, so that threads can share the work.
    As in numpy, a division by zero gives inf or NaN: a check of each would take time. Where no
    folder for the cache can be written (read-only installation and home), the function is compiled
    anew in each process.
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
    compiler: Any = partial(
        numba.njit, nogil=True, error_model="numpy", no_cfunc_wrapper=True, **options
    )
    try:
        fast: F = compiler(cache=True)(function)
    except RuntimeError:
        _without_folder.append(function.__name__)
        fast = compiler()(function)
    return fast
