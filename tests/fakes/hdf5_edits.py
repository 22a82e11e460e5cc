"""Changes to files of molexa that are declared as made on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from molexa_core.base.storage.checksums import CHECKSUM


@contextmanager
def edited(path: Path) -> Iterator[h5py.File]:
    """The file open for changes; what says that it ends with a checksum is taken out."""
    with h5py.File(path, "r+") as file:
        file.attrs.pop(CHECKSUM, None)
        yield file
