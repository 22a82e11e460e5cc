"""File locks: of several processes that need the same result, one computes it, the others wait.

A lock only saves work: files are complete when they appear, with or without it. Where the system
or a network drive cannot lock, every process computes its own result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from molexa_core.base import interruption

LONGEST_S: Final = 600.0
"""How long another process is waited for; one that is stopped must not stop everybody."""
_STEP_S: Final = 0.1


@contextmanager
def locked(
    path: Path, *, longest_s: float = LONGEST_S, waiting: Callable[[], None] | None = None
) -> Iterator[bool]:
    """Hold the lock of a file for a block; it ends with the process, however that ends.

    Args:
        path: the file; the lock is a hidden file beside it, which goes with the last holder.
        longest_s: how long to wait for another process, in seconds.
        waiting: called once if there is another.

    Yields:
        Whether the lock is held; without it (it cannot be had here, or the wait was too long) the
        block runs all the same.

    Raises:
        Interruption: a signal asked to stop while waiting.
    """
    place = path.parent / f".{path.name}.lock"
    handle = _acquired(place, longest_s, waiting)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            with suppress(OSError):
                place.unlink()
            os.close(handle)


def _acquired(place: Path, longest_s: float, waiting: Callable[[], None] | None) -> int | None:
    try:
        import fcntl  # noqa: PLC0415  (a module of Unix)
    except ImportError:
        return None
    deadline = time.monotonic() + longest_s
    while True:
        try:
            handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(place, handle):
                return handle
        except BlockingIOError:
            if waiting is not None:
                waiting()
                waiting = None
            if time.monotonic() > deadline:
                os.close(handle)
                return None
            time.sleep(_STEP_S)
        except OSError:
            os.close(handle)
            return None
        os.close(handle)
        interruption.check()


def _is_still(place: Path, handle: int) -> bool:
    """Whether the file that was locked is the one of that name: its holder removes it."""
    try:
        return os.path.samestat(place.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
