"""HDF5 files that are being written: a fault of the disk is one sentence, and nothing is left."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from molexa_core.base.errors import OutputError
from molexa_core.io.hdf5 import sink as hdf5_sink
from molexa_core.io.hdf5.file import LIBVER, append_rows, new_hdf5

ROWS = np.random.default_rng(1).random((60_000, 3))
"""1.4 MB that do not shrink."""


def write(path: Path) -> None:
    """A file of every kind of part: strings, attributes, a growing column, a plain one."""
    with new_hdf5(path) as file:
        file.attrs["long"] = "x" * 70_000
        file.create_dataset("names", data=np.array(["a", "bc"], object), dtype=h5py.string_dtype())
        column = file.create_dataset(
            "column", (0, 3), "f8", maxshape=(None, 3), chunks=(5000, 3), compression="gzip"
        )
        for start in range(0, len(ROWS), 7000):
            append_rows(column, ROWS[start : start + 7000])
        file["plain"] = ROWS[:1000]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit of the system for the size of files (`ulimit -f`)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_file_is_an_ordinary_one(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["column"][:], ROWS)
        assert np.array_equal(file["plain"][:], ROWS[:1000])
        assert list(file["names"].asstr()) == ["a", "bc"]
        assert len(file.attrs["long"]) == 70_000
    with h5py.File(tmp_path / "b.h5", "w", libver=LIBVER) as file:
        file["column"] = ROWS
    assert (tmp_path / "a.h5").stat().st_size < 1.2 * (tmp_path / "b.h5").stat().st_size


@pytest.mark.parametrize("size", [0, 3000, 70_000, 90_000, 700_000, 1_300_000])
def test_a_limit_of_the_file_size(tmp_path: Path, size: int) -> None:
    target = tmp_path / "a.h5"
    target.write_text("old")
    told = pytest.raises(OutputError, match=r"a\.h5: cannot write: File too large")
    with told, files_of_at_most(size):
        write(target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("good", [0, 1, 5, 20])
def test_a_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, good: int
) -> None:
    put, calls = hdf5_sink.DiskSink._put, iter(range(10**6))

    def failing(sink: hdf5_sink.DiskSink, place: int, block: memoryview) -> int:
        if next(calls) < good:
            return put(sink, place, block)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(hdf5_sink.DiskSink, "_put", failing)
    with pytest.raises(OutputError, match=os.strerror(number)):
        write(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_writing_ends_soon_after_the_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long job does not go on for hours with a disk that is full."""

    def full(sink: hdf5_sink.DiskSink, place: int, block: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hdf5_sink.DiskSink, "_put", full)
    appended = 0
    with pytest.raises(OutputError), new_hdf5(tmp_path / "a.h5") as file:  # noqa: PT012
        column = file.create_dataset("c", (0, 3), "f8", maxshape=(None, 3), chunks=(5000, 3))
        for _ in range(100):
            append_rows(column, ROWS)
            appended += 1
    assert appended < 20  # what the cache of the library holds


def test_a_fault_of_the_block_is_told_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), new_hdf5(tmp_path / "a.h5") as file:  # noqa: PT012
        file["a"] = ROWS
        raise KeyError("mine")
    assert list(tmp_path.iterdir()) == []
