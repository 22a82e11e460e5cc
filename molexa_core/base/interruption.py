"""Orderly stop on Ctrl-C and other signals: a long job stops between two blocks of work.

An exception raised directly by a signal handler can be lost: libraries that call back into Python
swallow it, and files are closed in the middle of a write. The handler therefore only sets a
request, and loops call `check` (a task's `advance` does), which raises `Interruption`.

A job that does not call `check` within `GRACE_S` is ended all the same, and so is every job at the
second signal: temporary files are removed and the process exits at once.
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
"""Exit code of an interrupted command."""
GRACE_S: Final = 5.0
"""Time after a signal within which the work must reach the end of a block."""
_TWICE_S: Final = 0.3
"""Signals of one kind within this time count as one request."""
_TOGETHER_S: Final = 2.0
"""Signals of different kinds within this time count as one request."""
MESSAGE: Final = "interrupted; no half-written file is left behind"
_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Interruption(BaseException):
    """Ctrl-C, or the end of a job's time.

    Not a `MolexaError`, not even an `Exception`: loops that continue after errors, such as a
    build of many blocks, must stop here.
    """

    exit_code = EXIT_CODE

    def __init__(self, text: str = MESSAGE) -> None:
        super().__init__(text)


class _Request:
    """State of a request to stop, and the blocks of work that may delay it."""

    def __init__(self) -> None:
        self.count = 0
        self.held = 0
        self.patient = 0
        self.listening = False


_REQUEST: Final = _Request()
_BEFORE: Final[dict[int, Any]] = {}
"""Signal handlers that were in place before."""
_CLEANUPS: Final[list[Callable[[], None]]] = []


def requested() -> bool:
    """Whether a signal asked to stop."""
    return _REQUEST.count > 0


def check() -> None:
    """Stop here if a signal requested it; cheap enough to call in every block of work.

    Raises:
        Interruption: it did, and no `held` block is open.
    """
    if _REQUEST.count and not _REQUEST.held:
        raise Interruption


@contextmanager
def held() -> Iterator[None]:
    """A block that is finished even after a signal, such as writing a checkpoint."""
    _REQUEST.held += 1
    try:
        yield
    finally:
        _REQUEST.held -= 1


@contextmanager
def patient() -> Iterator[None]:
    """A block of work that checks `requested` itself, and may need longer than `GRACE_S`."""
    _REQUEST.patient += 1
    try:
        yield
    finally:
        _REQUEST.patient -= 1


def on_sudden_end(cleanup: Callable[[], None]) -> None:
    """Register a function to call before the process exits without unwinding the stack."""
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
    if _REQUEST.listening:
        return
    _REQUEST.listening = True
    # The handler runs in the main thread, which may be blocked for ever; the number of each
    # signal is therefore also sent to a second thread.
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(
        target=_watch, args=(receiver, sender), name="molexa-signals", daemon=True
    ).start()


def stop_listening(*, leaving: bool) -> None:
    """Restore the usual effect of signals after a command has ended.

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
    _REQUEST.count += 1


def _watch(receiver: socket.socket, sender: socket.socket) -> None:
    """End the process at the second signal, or when the job does not stop after the first."""
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
        if seen and (_is_second(seen) or not (_REQUEST.patient or _within(seen[0][1], GRACE_S))):
            _leave()


def _is_second(seen: list[tuple[int, float]]) -> bool:
    """Whether a signal is a second request to stop.

    Signals in quick succession are one request: `timeout` sends each twice; a terminal, a scheduler
    and torchrun each send their own kind.
    """
    first, began = seen[0]
    later = ((number, when - began) for number, when in seen[1:])
    return any(after > (_TWICE_S if number == first else _TOGETHER_S) for number, after in later)


def _within(since: float, seconds: float) -> bool:
    return time.monotonic() - since <= seconds


def _leave() -> None:
    """Remove half-written files and end the process, whatever it is doing."""
    for cleanup in _CLEANUPS:
        try:
            cleanup()
        except OSError:
            continue
    with suppress(OSError, ValueError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"molexa: {MESSAGE}\n".encode())
    os._exit(EXIT_CODE)
