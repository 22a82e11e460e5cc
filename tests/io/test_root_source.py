"""Bytes of a ROOT file: the same as with uproot's own reading, also where the file ends early."""

from __future__ import annotations

import sys
import tracemalloc
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import uproot

from molexa_core.io.root.source import FileSource

DATA = np.random.default_rng(4).integers(0, 256, 5000, dtype=np.uint8).tobytes()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.bytes"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize(("start", "stop"), [(0, 5000), (0, 1), (17, 170), (4999, 5000), (60, 60)])
def test_a_range_comes_back(path: Path, start: int, stop: int) -> None:
    with FileSource(str(path)) as source:
        assert source.num_bytes == len(DATA)
        assert source.chunk(start, stop).raw_data.tobytes() == DATA[start:stop]


def test_ranges_are_given_back_and_queued(path: Path) -> None:
    queue: Queue[Any] = Queue()
    ranges = [(10, 20), (0, 5), (4000, 5000)]
    with FileSource(str(path)) as source:
        given = source.chunks(ranges, queue)
    assert [piece.raw_data.tobytes() for piece in given] == [DATA[a:b] for a, b in ranges]
    assert [queue.get_nowait() for _ in ranges] == given


@pytest.mark.parametrize("start", [0, 4000, 5000, 6000])
def test_a_range_beyond_the_end_takes_no_memory_for_what_is_not_there(
    path: Path, start: int
) -> None:
    with FileSource(str(path)) as source:
        tracemalloc.start()
        piece = source.chunk(start, 2**40)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2**20
    with pytest.raises(OSError, match=f"received {max(0, 5000 - start)} bytes"):
        piece.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the open files as Linux shows them")
def test_a_file_is_closed_with_its_source(path: Path) -> None:
    def opened() -> int:
        links = (link.resolve() for link in Path("/proc/self/fd").iterdir())
        return sum(link == path.resolve() for link in links)

    source = FileSource(str(path))
    assert opened() == 1
    source.close()
    assert source.closed
    assert opened() == 0
    with pytest.raises(OSError, match="is closed"):
        source.chunk(0, 1)
    source = FileSource(str(path))
    del source
    assert opened() == 0


@pytest.mark.parametrize("packed", [None, uproot.LZ4(1), uproot.ZLIB(4)])
def test_trees_are_read_as_with_the_own_sources_of_uproot(tmp_path: Path, packed: Any) -> None:
    path = tmp_path / "run.root"
    values = np.random.default_rng(8).normal(size=30_000)
    with uproot.recreate(path, compression=packed) as file:
        tree = file.mktree("hits", {"x": "f8"})
        for part in np.array_split(values, 7):
            tree.extend({"x": part})
    with uproot.open(path, handler=FileSource) as file:
        ours = file["hits"]["x"].array(library="np", entry_start=11, entry_stop=29_000)
    np.testing.assert_array_equal(ours, values[11:29_000])
