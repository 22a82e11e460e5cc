"""File object for writing HDF5 files, which delays disk errors until the file is closed.

The HDF5 library cannot close a file whose last blocks do not fit on the disk: it crashes, or
reports the error in a later, unrelated call. It therefore writes through `DiskSink`, which never
raises: the first error is kept, data that cannot be written stay in memory, and the error is raised
after the library has closed its file.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_OPEN: Final[dict[str, DiskSink]] = {}
"""Files that are being written, by the name that HDF5 has for them."""


def check_disk(name: str) -> None:
    """Raise the first fault of the disk under a file that is being written.

    Args:
        name: `filename` of the HDF5 file; one that is not written through a sink has no faults.

    Raises:
        OSError: of the disk, with the name of the file.
    """
    sink = _OPEN.get(name)
    if sink is not None:
        sink.check()


class DiskSink(io.RawIOBase):
    """The file that HDF5 writes to; none of its methods that HDF5 calls ever raises."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._place, self._end = path, 0, 0
        self._fault: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []
        self._file = path.open("w+b", buffering=0)

    def __enter__(self) -> Self:
        _OPEN[repr(self)] = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _OPEN.pop(repr(self), None)
        self._try(self._file.close)
        self.close()
        told = kind is None or issubclass(kind, Exception)
        if self._fault is not None and error is not self._fault and told:
            raise self._fault from error

    def check(self) -> None:
        """Raise the first fault, if there was one.

        Raises:
            OSError: of the disk, with the name of the file.
        """
        if self._fault is not None:
            raise self._fault

    def write(self, block: Any) -> int:
        """All bytes of the block, at the place of the last `seek`."""
        view = memoryview(block).cast("B")
        start, self._place = self._place, self._place + len(view)
        self._end = max(self._end, self._place)
        done = 0
        while self._fault is None and done < len(view):
            done += self._try(self._put, start + done, view[done:]) or 0
        if done < len(view):
            self._unwritten.append((start + done, bytes(view[done:])))
        return len(view)

    def readinto(self, block: Any) -> int:
        """Bytes that were written before, those included that did not reach the disk."""
        view = memoryview(block).cast("B")
        start, self._place = self._place, self._place + len(view)
        found = self._try(self._get, start, len(view)) or b""
        view[:] = found + bytes(len(view) - len(found))
        for place, content in self._unwritten:
            first, last = max(place, start), min(place + len(content), start + len(view))
            if first < last:
                view[first - start : last - start] = content[first - place : last - place]
        return len(view)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._end}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        """The place."""
        return self._place

    def truncate(self, size: int | None = None) -> int:
        """Cut or lengthen the file."""
        self._end = self._place if size is None else size
        self._try(self._file.truncate, self._end)
        return self._end

    def flush(self) -> None:
        """Nothing: every block goes to the system at once."""

    def _put(self, place: int, block: memoryview) -> int:
        self._file.seek(place)
        return self._file.write(block) or 0

    def _get(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        return self._file.read(size) or b""

    def _try(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except OSError as error:
            if self._fault is None:
                self._fault = OSError(error.errno, error.strerror, str(self._path))
            return None
