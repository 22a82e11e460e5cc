"""Protection of the HDF5 library against damage that makes it hang.

Texts of variable length are stored in collections on the "global heap" of a file: a chain of
objects, each giving the distance to the next. If damage makes a distance zero, the library follows
it for ever, and only SIGKILL stops it. The file is therefore read through `CheckedBytes`, which
follows the chain of every collection that is read; if a chain does not end, the signature of the
collection is blanked, and the library refuses it as damaged.

Layout of a collection (HDF5 file format specification, III.E): `GCOL`, version 1, three zeros, its
length; then objects of number (2 bytes), references (2), four zeros, length, and the content,
filled up to 8 bytes. Number 0 is the free space, whose length counts its own head.
"""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Final

import h5py
from h5py import h5f, h5fd, h5i, h5p

_HEAP: Final = b"GCOL\x01\x00\x00\x00"
_HEAD: Final = 16
"""Bytes of the head of a collection and of an object, with lengths of 8 bytes or fewer."""
LARGEST_HEAP: Final = 64 * 2**20
"""A longer collection, in bytes, is refused; the library keeps all of it in memory."""
_LARGEST_SCANNED: Final = 2**16
"""Longer reads are of values: the library asks for 4096 bytes to find out how long a heap is."""
_FREE: Final = 0


class CheckedBytes:
    """A file as the HDF5 library reads it, read-only.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._descriptor).st_size
        self._length_bytes = _length_bytes(os.pread(self._descriptor, 16, 0))
        self._at = 0
        self._sound: dict[int, bool] = {}

    def __del__(self) -> None:
        os.close(self._descriptor)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as files do."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """The present place."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        buffer = bytearray(max(0, self.size - self._at) if size < 0 else size)
        return bytes(buffer[: self.readinto(buffer)])

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer with the next bytes."""
        view = memoryview(buffer)
        if len(view) > _LARGEST_SCANNED:
            found = os.preadv(self._descriptor, [view], self._at)
        else:
            content = self._without_endless_heaps(len(view))
            found = len(content)
            view[:found] = content
        self._at += found
        return found

    def flush(self) -> None:
        """Nothing to do: nothing is written."""

    def _without_endless_heaps(self, size: int) -> bytes:
        """The next bytes, the signatures of heaps that do not end blanked."""
        before = min(self._at, len(_HEAP) - 1)
        start = self._at - before
        # A signature may begin before these bytes or end behind them.
        around = os.pread(self._descriptor, before + size + len(_HEAP) - 1, start)
        place = around.find(_HEAP)
        while place >= 0:
            if not self._ends(start + place):
                around = around[:place] + bytes(4) + around[place + 4 :]
            place = around.find(_HEAP, place + 1)
        return around[before : before + size]

    def _ends(self, at: int) -> bool:
        """Whether the chain of objects of the collection at a place leads to its end."""
        if at not in self._sound:
            self._sound[at] = self._follow(at)
        return self._sound[at]

    def _follow(self, at: int) -> bool:
        width = self._length_bytes
        head = os.pread(self._descriptor, _HEAD, at)
        size = int.from_bytes(head[8 : 8 + width], "little")
        if not _HEAD <= size <= min(LARGEST_HEAP, self.size - at):
            return False
        content = os.pread(self._descriptor, size, at)
        place = _HEAD
        while place + _HEAD <= size:
            number = int.from_bytes(content[place : place + 2], "little")
            length = int.from_bytes(content[place + 8 : place + 8 + width], "little")
            step = length if number == _FREE else _HEAD + -(-length // 8) * 8
            if step < _HEAD or place + step > size:
                return False
            place += step
        return True


def open_checked(path: Path) -> h5py.File:
    """An HDF5 file open for reading through `CheckedBytes`.

    Raises:
        OSError: it is not an HDF5 file, or damaged.
    """
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5fd.fileobj_driver, CheckedBytes(path))
    return h5py.File(h5f.open(os.fsencode(path), h5f.ACC_RDONLY, fapl=access))


@atexit.register
def _close_all() -> None:
    """Close what is still open while there is a Python to read for the library."""
    for handle in h5f.get_obj_ids(h5f.OBJ_ALL, h5f.OBJ_FILE):
        if handle.get_access_plist().get_driver() == h5fd.fileobj_driver:
            while handle.valid:  # one count for every object that stands for the file
                h5i.dec_ref(handle)


def _length_bytes(superblock: bytes) -> int:
    """How many bytes a length takes in a file, from its first 16 bytes."""
    version = superblock[8] if len(superblock) > 8 else 0
    place = 14 if version < 2 else 10
    width = superblock[place] if len(superblock) > place else 8
    return width if width in {2, 4, 8} else 8
