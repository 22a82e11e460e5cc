"""The bytes of a ROOT file, read when and where they are needed.

uproot's own sources hand every piece to another thread. A run has thousands of small pieces, and
waiting for that thread takes longer than reading them. A file mapped into memory would be as fast,
but ends the process if it is cut meanwhile.
"""

from __future__ import annotations

import os
import weakref
from queue import Queue
from typing import Any, Self

from uproot.source.chunk import Chunk, Source
from uproot.source.futures import TrivialFuture


class FileSource(Source):  # type: ignore[misc]  # uproot has no types
    """A file on a disk, for the argument `handler` of `uproot.open`.

    Args:
        file_path: the file.
        options: of `uproot.open`; none is needed.
    """

    def __init__(self, file_path: str, **options: Any) -> None:
        del options
        super().__init__()
        self._file_path = file_path
        self._file = os.open(file_path, os.O_RDONLY | os.O_CLOEXEC)
        self._close = weakref.finalize(self, os.close, self._file)
        self._num_bytes = os.fstat(self._file).st_size

    def chunk(self, start: int, stop: int) -> Chunk:
        """The bytes from `start` to before `stop`, fewer where the file ends earlier."""
        if self.closed:
            raise OSError(f"{self._file_path} is closed")
        self._num_requests += 1
        self._num_requested_chunks += 1
        self._num_requested_bytes += stop - start
        return Chunk(self, start, stop, TrivialFuture(self._bytes(start, stop)))

    def chunks(self, ranges: list[tuple[int, int]], notifications: Queue[Any]) -> list[Chunk]:
        """The bytes of several ranges, which are put into the queue too."""
        found = []
        for start, stop in ranges:
            found.append(self.chunk(start, stop))
            notifications.put(found[-1])
        return found

    def _bytes(self, start: int, stop: int) -> bytes:
        """Memory is taken for what the file has, not for what a damaged number asks for."""
        stop = min(stop, self._num_bytes)
        data = b""
        while start + len(data) < stop:
            more = os.pread(self._file, stop - start - len(data), start + len(data))
            if not more:
                break
            data = data + more if data else more
        return data

    @property
    def closed(self) -> bool:
        """Whether the file was closed."""
        return not self._close.alive

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()
