"""Processes that pack chunks of an HDF5 file for another one, in memory that they share with it.

Threads of one Python take turns, so that one process packs a few hundred MB/s however many threads
it has, and whoever searches a run on many cores is faster than that. A chunk is put into a slot of
shared memory by the process that writes the file, packed there by another, and written from there.

    python -m molexa_core.io.hdf5.packing_process DESCRIPTOR SLOTS SLOT_BYTES

The descriptor is that of the memory. A line of the input names slot, bytes and type of a chunk, a
line of the output the bytes that the packed one has. The end of the input ends the process, so that
it never outlives the one that writes.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final, Self

import numpy as np
from numpy.typing import NDArray

import molexa_core
from molexa_core.io.hdf5.packed_chunk import packed

_MODULE: Final = "molexa_core.io.hdf5.packing_process"
_LARGER: Final = 2**16
"""Bytes that a packed chunk may have beyond those of the chunk, more than it ever has."""
_PER_PROCESS: Final = 8
"""Slots of a process: some wait for it, some for their turn to be written."""
_END_S: Final = 5.0


def possible() -> bool:
    """Whether this system has memory without a name, which ends with those who share it."""
    return hasattr(os, "memfd_create")


class PackingProcesses:
    """Processes that pack chunks; results are taken in the order in which chunks were given.

    Args:
        number: of processes.
        chunk_bytes: of the largest chunk.

    Raises:
        OSError: they cannot be started.
    """

    def __init__(self, number: int, chunk_bytes: int) -> None:
        self._room = chunk_bytes
        self._slot_bytes = 2 * chunk_bytes + _LARGER
        slots = _PER_PROCESS * number
        descriptor = os.memfd_create("molexa-pack")
        try:
            os.ftruncate(descriptor, slots * self._slot_bytes)
            self._memory = mmap.mmap(descriptor, slots * self._slot_bytes)
            root = str(Path(molexa_core.__file__).parent.parent)
            paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
            line = [sys.executable, "-m", _MODULE, str(descriptor), str(slots)]
            self._processes = [
                subprocess.Popen(  # noqa: S603  (this Python)
                    [*line, str(self._slot_bytes)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[descriptor],
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                    start_new_session=True,  # Ctrl-C is for the command
                )
                for _ in range(number)
            ]
        finally:
            os.close(descriptor)
        self._free = deque(range(slots))
        self._given: deque[tuple[int, int, NDArray[Any]]] = deque()
        self._next = 0

    @property
    def full(self) -> bool:
        """Whether a result must be taken before another chunk can be given."""
        return not self._free

    def holds(self, size: int) -> bool:
        """Whether there is room for a chunk of so many bytes."""
        return size <= self._room

    def slot(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Memory of the next chunk, to be filled before `give`."""
        start = self._free[0] * self._slot_bytes
        number = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._memory, dtype, number, start).reshape(shape)

    def give(self, chunk: NDArray[Any]) -> None:
        """Let the chunk in the next slot be packed."""
        slot = self._free.popleft()
        process = self._processes[self._next]
        with suppress(OSError):  # it is gone: whoever takes the result packs
            _there(process.stdin).write(f"{slot} {chunk.nbytes} {chunk.dtype.str}\n".encode())
            _there(process.stdin).flush()
        self._given.append((slot, self._next, chunk))
        self._next = (self._next + 1) % len(self._processes)

    def take(self) -> bytes:
        """The packed bytes of the chunk that was given first."""
        slot, process, chunk = self._given.popleft()
        answer = _there(self._processes[process].stdout).readline()
        if answer.endswith(b"\n"):
            start = slot * self._slot_bytes + self._room
            content = self._memory[start : start + int(answer)]
        else:  # it was ended from outside
            content = packed(chunk)
        self._free.append(slot)
        return content

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            with suppress(OSError):
                _there(process.stdin).close()
        for process in self._processes:
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _there(process.stdout).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        msg = "a process was started without a pipe"
        raise TypeError(msg)
    return pipe


def main(arguments: Sequence[str]) -> None:
    """Pack chunks until the input ends."""
    descriptor, slots, slot_bytes = map(int, arguments)
    memory = mmap.mmap(descriptor, slots * slot_bytes)
    room = (slot_bytes - _LARGER) // 2
    for line in sys.stdin.buffer:
        words = line.split()
        start, size, dtype = int(words[0]) * slot_bytes, int(words[1]), np.dtype(words[2].decode())
        content = packed(np.frombuffer(memory, dtype, size // dtype.itemsize, start))
        memory[start + room : start + room + len(content)] = content
        sys.stdout.buffer.write(f"{len(content)}\n".encode())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
