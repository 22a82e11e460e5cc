"""Baskets of ROOT trees: a claim beyond what the pieces hold is refused before memory is taken."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import uproot

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.io.root.baskets import require_honest
from molexa_core.io.root.run import open_root_run

ROWS = 9_000_000
SHOTS = Columns(layout="rows", x="x", y="y", time="t", shot="shot")
CLAIM = 2**30


def write(path: Path, rows: int) -> None:
    rng = np.random.default_rng(2)
    shot = np.arange(rows, dtype=np.int32)
    few = {name: np.resize(rng.normal(1000.0, 1.0, 100), rows) for name in ("x", "y", "t")}
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("hits", {"shot": "i4", "x": "f8", "y": "f8", "t": "f8"})
        tree.extend({"shot": shot, **few})


def key_of(path: Path, branch: str) -> int:
    """Where the first basket of a branch begins."""
    with uproot.open(path) as file:
        return int(file["hits"][branch].member("fBasketSeek")[0])


def claim(path: Path, at: int, claimed: int) -> None:
    """Change what the key of a basket says of its size when unpacked."""
    data = bytearray(path.read_bytes())
    data[at + 6 : at + 10] = struct.pack(">i", claimed)
    path.write_bytes(data)


def test_a_claim_beyond_the_pieces_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "run.root"
    write(path, 2000)
    run = open_root_run(path, SHOTS)
    assert sum(chunk.n_hits for chunk in run) == 2000
    claim(path, key_of(path, "t"), CLAIM)
    tracemalloc.start()
    with pytest.raises(InputFileError, match=f"claims {CLAIM} bytes and holds 16000"):
        list(open_root_run(path, SHOTS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < CLAIM / 10


def test_a_large_basket_of_many_pieces_passes(tmp_path: Path) -> None:
    path = tmp_path / "large.root"
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        tree = file.mktree("hits", {"t": "f8"})
        tree.extend({"t": np.zeros(ROWS)})
    at, data = key_of(path, "t"), path.read_bytes()
    stored, size = int.from_bytes(data[at : at + 4], "big"), 8 * ROWS
    basket = data[at : at + stored]
    require_honest(basket)
    more = basket[:6] + struct.pack(">i", size + 1) + basket[10:]
    with pytest.raises(ValueError, match=f"claims {size + 1} bytes and holds {size}"):
        require_honest(more)


@pytest.mark.parametrize("length", [0, 9, 15, 16, 30])
def test_a_basket_that_ends_early_holds_less_than_it_claims(length: int) -> None:
    begin = struct.pack(">ihiIh", 60, 4, CLAIM, 0, 16) + b"ZL\x08\x05\0\0\xff\xff\xff" + bytes(5)
    if length < 16:
        require_honest(begin[:length])  # too short for a claim: uproot says so
    else:
        with pytest.raises(ValueError, match="claims"):
            require_honest(begin[:length])
