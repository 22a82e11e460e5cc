"""Columns that are packed chunk by chunk hold what was appended, for any reader of HDF5."""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from molexa_core.io.hdf5 import packing_process
from molexa_core.io.hdf5.file import new_column, new_hdf5
from molexa_core.io.hdf5.packed_chunk import packed
from molexa_core.io.hdf5.packed_column import PackedColumn, Packers
from molexa_core.io.hdf5.packing_process import PackingProcesses

RNG = np.random.default_rng(7)
CHUNK = 1000
KINDS = {
    "momenta": RNG.normal(0.0, 60.0, (4321, 3, 3)),
    "few digits": RNG.integers(0, 9, 4321).astype(np.float32),
    "counter": np.arange(4321) // 3,
    "bits": RNG.integers(0, 2**63, (4321, 2)),
    "flags": RNG.random(4321) < 0.3,
    "bytes": RNG.integers(0, 256, 4321).astype(np.uint8),
    "not a number": np.where(RNG.random(4321) < 0.5, np.nan, RNG.random(4321)),
    "one chunk": np.arange(float(CHUNK)),
    "no rows": np.empty((0, 3)),
}


def written(path: Path, rows: NDArray[np.generic], *, factor: float | None = None) -> h5py.File:
    """A file with these rows, appended in pieces of several sizes."""
    with new_hdf5(path) as file:
        column = PackedColumn(new_column(file, "group/rows", rows, "mm", chunk_rows=CHUNK))
        start = 0
        for size in (0, 1, 998, 1, 17, 2100, 10_000):
            column.append(rows[start : start + size])
            start += size
            if factor is not None and start >= len(rows) // 2:
                column.scale(factor)
                factor = None
        assert len(column) == len(rows)
        column.finish()
    return h5py.File(path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_appended(tmp_path: Path, kind: str) -> None:
    rows = KINDS[kind]
    with written(tmp_path / "a.h5", rows) as file:
        dataset = file["group/rows"]
        assert dataset.dtype == rows.dtype
        assert dataset[()].tobytes() == rows.tobytes()
        assert dataset.compression == "gzip"
        assert dataset.shuffle
        if not len(rows):
            return
        # As the standards say it: inflate, then undo the order by place in the number.
        raw = zlib.decompress(dataset.id.read_direct_chunk((0,) * rows.ndim)[1])
        places = np.frombuffer(raw, np.uint8).reshape(rows.dtype.itemsize, -1)
        assert places.T.tobytes() == rows[:CHUNK].tobytes()


def test_rows_are_scaled_wherever_they_are(tmp_path: Path) -> None:
    rows = RNG.random(4321)
    with written(tmp_path / "a.h5", rows, factor=0.7) as file:
        found = file["group/rows"][()]
    scaled = found != rows
    first = int(np.argmin(scaled))  # those appended before
    assert 0 < first < len(rows)
    assert (found[:first] == 0.7 * rows[:first]).all()
    assert not scaled[first:].any()


def test_noise_is_not_packed_and_order_is() -> None:
    noise = np.frombuffer(RNG.bytes(2**18), np.float64)
    assert noise.nbytes < len(packed(noise)) < 1.001 * noise.nbytes
    assert len(packed(np.linspace(1.0, 1.0 + 2**-30, 2**15))) < 0.6 * noise.nbytes
    assert len(packed(np.ones(2**15))) < 0.01 * noise.nbytes


def file_of(path: Path, packers: Packers) -> bytes:
    """A file of many columns, one of which was scaled."""
    kinds = [rows for rows in KINDS.values() if len(rows) == 4321]
    with new_hdf5(path) as file, packers:
        columns = [
            PackedColumn(new_column(file, str(name), rows, "", chunk_rows=100), packers)
            for name, rows in enumerate(kinds)
        ]
        for start in range(0, 4321, 777):
            for column, rows in zip(columns, kinds, strict=True):
                column.append(rows[start : start + 777])
        columns[0].scale(1.5)
        for column in columns:
            column.finish()
    return path.read_bytes()


def test_threads_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    assert file_of(path, Packers(0)) == file_of(path, Packers(3))


@pytest.mark.skipif(not packing_process.possible(), reason="no shared memory without a name")
def test_processes_write_the_same_file_even_if_they_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    once = file_of(path, Packers(0))
    assert file_of(path, Packers(2, processes=2)) == once
    give, given = PackingProcesses.give, []

    def give_and_kill(self: PackingProcesses, chunk: NDArray[np.generic]) -> None:
        give(self, chunk)
        given.append(chunk.nbytes)
        if len(given) in (20, 90):
            self._processes[len(given) == 20].kill()

    monkeypatch.setattr(PackingProcesses, "give", give_and_kill)
    assert file_of(path, Packers(2, processes=2)) == once
    assert len(given) > 90
