"""A process that has loaded what computes units, and becomes workers by splitting itself (fork).

To start Python, load the libraries and read compiled functions takes seconds of a core, for every
process. Here one process does it once, while the command still reads its settings and finds the
gate; each worker is a copy of it, made in milliseconds, that shares its memory. What splits itself
must have one thread: if a library started others, the process says so, and workers are started one
by one as on systems without fork.

    python -m molexa_core.pipeline.work.fork_server DESCRIPTOR

The descriptor is that of a socket on which the command asks. The end of the socket ends the
process, so that it never outlives the command; its workers end with their own inputs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from molexa_core.pipeline.work import worker

_LONGEST: Final = 2**20
"""Bytes of a question or an answer."""
_WITHOUT_THREADS: Final = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""The memory of pyarrow, which uproot loads, has a thread of its own otherwise."""
_LOOK_S: Final = 0.01
_TASKS: Final = Path("/proc/self/task")
_MODULE: Final = "molexa_core.pipeline.work.fork_server"
WARM_UP: Final = "warm_up"
"""Function beside the one that computes units, given settings and places: loads what they need."""


def possible() -> bool:
    """Whether this system can split processes and tells how many threads they have."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds") and _TASKS.is_dir()


class ForkServer:
    """Makes workers for a command.

    Args:
        compute: `module:function` that computes the units; its module is loaded at once, what it
            needs further when `warm_up` says for what.
        environment: of the process.

    Attributes:
        compute: as given.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self,
        compute: str,
        environment: Mapping[str, str],
    ) -> None:
        self.compute = compute
        self._socket, other = socket.socketpair()
        with other:
            self._popen = subprocess.Popen(  # noqa: S603  (this Python)
                [sys.executable, "-m", _MODULE, str(other.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                env={**environment, **_WITHOUT_THREADS},
                start_new_session=True,  # Ctrl-C is for the command, which ends its processes
            )
        self._ready: bool | None = None
        self._codes: dict[int, int] = {}
        _send(self._socket, {"compute": compute})

    def warm_up(self, settings: Mapping[str, Any], places: Mapping[str, Any]) -> None:
        """Let it load what units need; workers can be made from then on.

        Args:
            settings: of the phase, as far as they are known.
            places: of the phase.
        """
        with suppress(OSError):  # it is gone: workers are started one by one
            _send(self._socket, {"settings": dict(settings), "places": dict(places)})

    def make(self, phase: Path, log: IO[bytes]) -> ForkedWorker | None:
        """A worker; None where the process is gone or must not be split.

        Args:
            phase: file of the phase.
            log: receives what the worker prints.
        """
        try:
            if self._ready is None:
                self._ready = bool(_receive(self._socket)["ready"])
            if not self._ready:
                return None
            into, given = os.pipe()
            answers, out = os.pipe()
            try:
                question = {"phase": str(phase.absolute())}
                _send(self._socket, question, [into, out, log.fileno()])
                process = int(_receive(self._socket)["process"])
            except (OSError, EOFError):
                os.close(given)
                os.close(answers)
                raise
            finally:
                os.close(into)
                os.close(out)
        except (OSError, EOFError):
            self._ready = False
            return None
        return ForkedWorker(self, process, os.fdopen(given, "wb"), os.fdopen(answers, "rb"))

    def code_of(self, process: int) -> int | None:
        """How a worker ended (negative: signal); None while it runs."""
        if process in self._codes:
            return self._codes[process]
        try:
            _send(self._socket, {"ended": process})
            code = _receive(self._socket)["code"]
        except (OSError, EOFError):  # the server was ended: nobody knows how the worker did
            code = None if _runs(process) else -1
        if code is not None:
            self._codes[process] = int(code)
        return None if code is None else int(code)

    def end(self) -> None:
        """End the process, which has made no worker, at once."""
        self._popen.kill()
        self.close()

    def close(self) -> None:
        """End the process; its workers have ended before."""
        self._socket.close()
        try:
            self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class ForkedWorker:
    """A worker made by a fork server; what `subprocess.Popen` has, as far as it is used.

    Attributes:
        pid: number of the process.
        stdin, stdout: its pipes.
    """

    def __init__(self, server: ForkServer, process: int, stdin: IO[bytes], stdout: IO[bytes]):
        self._server, self.pid = server, process
        self.stdin, self.stdout = stdin, stdout

    def wait(self, timeout: float | None = None) -> int:
        """How it ended.

        Raises:
            subprocess.TimeoutExpired: it has not.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self._server.code_of(self.pid)) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(_LOOK_S)
        return code

    def kill(self) -> None:
        """End it at once."""
        with suppress(OSError):
            os.kill(self.pid, 9)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _send(to: socket.socket, values: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    data = json.dumps(values).encode()
    head = len(data).to_bytes(4, "little")
    if descriptors:
        socket.send_fds(to, [head], list(descriptors))
    else:
        to.sendall(head)
    to.sendall(data)


def _receive(source: socket.socket) -> dict[str, Any]:
    return _receive_all(source)[0]


def _receive_all(source: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Values and descriptors of files.

    Raises:
        EOFError: the other side is gone.
    """
    head, descriptors, _, _ = socket.recv_fds(source, 4, 3)
    head += _exactly(source, 4 - len(head)) if head else b""
    if not head:
        raise EOFError
    values: dict[str, Any] = json.loads(_exactly(source, int.from_bytes(head, "little")))
    return values, list(descriptors)


def _exactly(source: socket.socket, number: int) -> bytes:
    parts = []
    while number:
        part = source.recv(min(number, _LONGEST))
        if not part:
            raise EOFError
        parts.append(part)
        number -= len(part)
    return b"".join(parts)


def _load(asked: socket.socket) -> None:
    """Import what computes units, and let it load what it needs when it is known for what."""
    compute: str = _receive(asked)["compute"]
    module = importlib.import_module(compute.partition(":")[0])
    warm_up = getattr(module, WARM_UP, None)
    told = _receive(asked)
    if warm_up is not None:
        with suppress(Exception):  # whatever is wrong, the units will say it
            warm_up(told["settings"], told["places"])


def _become_worker(phase: str, descriptors: Sequence[int]) -> int:
    """In the new process: compute units of a phase until the input ends."""
    os.setsid()
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    return worker.run([phase])


def serve(asked: socket.socket) -> None:
    """Answer a command until it is gone; returns in the workers, too, with their exit."""
    _load(asked)
    gc.collect()
    gc.freeze()  # so that memory that is shared is not copied to count references
    ready = len(list(_TASKS.iterdir())) == 1
    _send(asked, {"ready": ready})
    while True:
        question, descriptors = _receive_all(asked)
        if "ended" in question:
            _send(asked, {"code": _ended(question["ended"])})
            continue
        process = os.fork()
        if process == 0:
            asked.close()
            code = 1
            try:
                code = _become_worker(question["phase"], descriptors)
            finally:
                with suppress(OSError, ValueError):
                    sys.stderr.flush()
                os._exit(code)
        for descriptor in descriptors:
            os.close(descriptor)
        _send(asked, {"process": process})


def _ended(process: int) -> int | None:
    try:
        found, status = os.waitpid(process, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if found else None


def main(arguments: Sequence[str]) -> None:
    """Serve on the socket with this descriptor."""
    with socket.socket(fileno=int(arguments[0])) as asked, suppress(EOFError, OSError):
        serve(asked)


if __name__ == "__main__":
    main(sys.argv[1:])
