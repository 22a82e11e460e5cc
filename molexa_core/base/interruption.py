"""Stopping in good order: a signal asks for it, the work answers between two of its blocks.

An exception that a signal raises wherever the program happens to be can be lost: libraries that
call back into Python swallow it, and files are closed in the middle of a write. So the signal only
leaves a wish, and loops call `check` (a task's `advance` does), which raises `Interruption`.

What does not come to such a place within `GRACE_S` is ended all the same, and so is everything
at the second signal: temporary files are removed and the process leaves at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

EXIT_CODE: Final = 1
"""What an interrupted command returns."""
GRACE_S: Final = 5.0
"""How long after a signal the work may take to come to the end of a block."""
_TWICE_S: Final = 0.3
"""Signals of one kind within this time are one wish."""
_TOGETHER_S: Final = 2.0
"""Signals of different kinds within this time are one wish."""
MESSAGE: Final = "interrupted; no half-written file is left behind"
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Interruption(BaseException):
    """Ctrl-C, or the end of a job's time.

    No `MolexaError`, not even an `Exception`: what goes on after errors, such as a build of many
    blocks, must stop here.
    """

    exit_code = EXIT_CODE

    def __init__(self, text: str = MESSAGE) -> None:
        super().__init__(text)


class _Wish:
    """Whether somebody asked the process to stop, and who may put that off."""

    def __init__(self) -> None:
        self.count = 0
        self.held = 0
        self.patient = 0
        self.listening = False


_WISH: Final = _Wish()
_BEFORE: Final[dict[int, Any]] = {}
"""What signals did before."""
_CLEANUPS: Final[list[Callable[[], None]]] = []


def requested() -> bool:
    """Whether a signal asked to stop."""
    return _WISH.count > 0


def check() -> None:
    """Stop here if a signal asked for it; cheap enough for every block of work.

    Raises:
        Interruption: it did, and no `held` block is open.
    """
    if _WISH.count and not _WISH.held:
        raise Interruption


@contextmanager
def held() -> Iterator[None]:
    """A block that is finished even after a signal, such as writing a checkpoint."""
    _WISH.held += 1
    try:
        yield
    finally:
        _WISH.held -= 1


@contextmanager
def patient() -> Iterator[None]:
    """A block of work that looks at `requested` itself, and may need longer than `GRACE_S`."""
    _WISH.patient += 1
    try:
        yield
    finally:
        _WISH.patient -= 1


def on_sudden_end(cleanup: Callable[[], None]) -> None:
    """Have something done before the process leaves without unwinding."""
    _CLEANUPS.append(cleanup)


def listen() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP ask the running command to stop; for the command line.

    SIGHUP stays ignored where it was (`nohup`).
    """
    for number in _numbers():
        before = signal.getsignal(number)
        if number == getattr(signal, "SIGHUP", None) and before == signal.SIG_IGN:
            continue
        signal.signal(number, _ask)
        if before is not _ask:
            _BEFORE[number] = before
    if _WISH.listening:
        return
    _WISH.listening = True
    # The handler runs in the main thread, which may wait for something that never comes; the
    # number of each signal also goes to a thread that does not wait.
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(
        target=_watch, args=(receiver, sender), name="molexa-signals", daemon=True
    ).start()


def stop_listening(*, leaving: bool) -> None:
    """The command is over; a signal has its usual effect again.

    Args:
        leaving: the process ends as well: Ctrl-C ends it at once, without an exception that nobody
            would catch any more.
    """
    for number, before in _BEFORE.items():
        signal.signal(number, signal.SIG_DFL if leaving else before)
    _BEFORE.clear()


def _numbers() -> list[int]:
    return [int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)]


def _ask(number: int, frame: object) -> None:
    del number, frame
    _WISH.count += 1


def _watch(receiver: socket.socket, sender: socket.socket) -> None:
    """End the process at the second signal, or when the first one found no answer."""
    del sender  # it is kept open by the reference
    asked = set(_numbers())
    seen: list[tuple[int, float]] = []
    while True:
        receiver.settimeout(0.2 if seen else None)
        try:
            now = time.monotonic()
            seen += [(number, now) for number in receiver.recv(64) if number in asked]
        except TimeoutError:
            pass
        except OSError:
            return
        if seen and (_is_second(seen) or not (_WISH.patient or _within(seen[0][1], GRACE_S))):
            _leave()


def _is_second(seen: list[tuple[int, float]]) -> bool:
    """Whether somebody asked again.

    Signals right after each other are one wish: `timeout` sends each twice; a terminal, a scheduler
    and torchrun each send their own kind.
    """
    first, began = seen[0]
    later = ((number, when - began) for number, when in seen[1:])
    return any(after > (_TWICE_S if number == first else _TOGETHER_S) for number, after in later)


def _within(since: float, seconds: float) -> bool:
    return time.monotonic() - since <= seconds


def _leave() -> None:
    """Remove what is half written and end the process, whatever else it is doing."""
    for cleanup in _CLEANUPS:
        try:
            cleanup()
        except OSError:
            continue
    with suppress(OSError, ValueError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"molexa: {MESSAGE}\n".encode())
    os._exit(EXIT_CODE)
