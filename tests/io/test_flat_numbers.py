"""Branches with one number per row are read as uproot reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot

from molexa_core.io.root.file import open_root
from molexa_core.io.root.flat_numbers import is_plain, plain_numbers

ROWS = 1000
PACKED = {
    "raw": None,
    "zlib": uproot.ZLIB(1),
    "lz4": uproot.LZ4(1),
    "zstd": uproot.ZSTD(1),
    "lzma": uproot.LZMA(1),
}
TYPES = ("f4", "f8", "i1", "u2", "i4", "u8", "?")


@pytest.fixture(params=PACKED)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tree of three baskets with columns of all types, and one with lists."""
    rng = np.random.default_rng(4)
    columns = {f"c{n}": rng.integers(0, 2, ROWS).astype(of) for n, of in enumerate(TYPES)}
    columns["grid"] = rng.normal(size=(ROWS, 3))
    file = tmp_path / "run.root"
    with uproot.recreate(file, compression=PACKED[request.param]) as root:
        root.mktree("Data", {name: (of.dtype, of.shape[1:]) for name, of in columns.items()})
        for low, high in ((0, 400), (400, 401), (401, ROWS)):
            root["Data"].extend({name: of[low:high] for name, of in columns.items()})
    return file


def test_the_numbers_are_those_of_uproot(path: Path) -> None:
    with open_root(path) as file:
        tree = file["Data"]
        assert not is_plain(tree["grid"].interpretation)
        for number in range(len(TYPES)):
            branch = tree[f"c{number}"]
            assert is_plain(branch.interpretation)
            for start, stop in ((0, ROWS), (0, 400), (399, 402), (400, 401), (7, 7), (990, ROWS)):
                found = plain_numbers(branch, start, stop)
                wanted = branch.array(entry_start=start, entry_stop=stop, library="np")
                assert found is not None
                assert found.dtype == wanted.dtype
                np.testing.assert_array_equal(found, wanted)
            assert plain_numbers(branch, 0, ROWS + 1) is None


def test_uproot_is_left_to_say_what_is_wrong(path: Path) -> None:
    """A basket whose key claims other sizes."""
    with open_root(path) as file:
        seek = int(file["Data"]["c1"].member("fBasketSeek")[0])
    content = path.read_bytes()
    for place in (seek + 3, seek + 9, seek + 15):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with open_root(path) as file:
            assert plain_numbers(file["Data"]["c1"], 0, ROWS) is None
