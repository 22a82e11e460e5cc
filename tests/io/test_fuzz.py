"""Damaged files of every format: a run, or one clear error; no crash, no hang, bounded memory.

Small good files are damaged at random places: bits flipped, stretches overwritten, cut out or
doubled, the end cut off, and lengths replaced by absurd ones.
"""

from __future__ import annotations

import os
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from molexa_core.base.errors import MolexaError
from molexa_core.base.tables import Edges, Hits, offsets_of
from molexa_core.io.formats import hit_writers
from molexa_core.io.lmf import LmfEvents, LmfFile
from molexa_core.io.lmf.run import write_lmf_run
from molexa_core.io.root.writer import write_root_edges
from molexa_core.io.run import open_stored_run, write_hits
from molexa_core.pipeline.runs.inspect import inspect_file
from tests.fakes.facility import write_flash, write_xfel
from tests.fakes.lmf_files import make_events, make_header, write
from tests.fakes.root_runs import make_run, make_setup

MOST_BYTES = 300 * 2**20
MOST_SECONDS = 60.0
EXAMPLES = int(os.environ.get("MOLEXA_FUZZ_EXAMPLES", "40"))
"""Per format; set the variable for a longer search."""
LENGTHS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def resident() -> int:
    """Most bytes of memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def hits() -> Hits:
    return make_run(["O+", "H+", "H+"], make_setup(), shots=60, noise_per_shot=0.5).hits


def to_lmf(path: Path, raw: bool) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 6, 15)
    channel = np.concatenate([np.sort(rng.integers(0, 7, n)) for n in counts]).astype(np.int16)
    offsets = offsets_of(counts)
    edges = Edges(0, offsets, channel, np.round(rng.random(len(channel)) * 4e4) * 0.025)
    write_lmf_run(path, [edges], raw=raw, meta={"a": 1})


def full_lmf(path: Path) -> None:
    header = make_header()
    events: LmfEvents = make_events(header, 20)
    write(path, header, [events])


WRITERS: dict[str, Callable[[Path], object]] = {
    **{
        layout: (lambda path, layout=layout: write_hits(path, [hits()], layout))
        for layout in hit_writers()
    },
    "lmf": lambda path: to_lmf(path, raw=False),
    "lmf-raw": lambda path: to_lmf(path, raw=True),
    "lmf-full": full_lmf,
    "facility": lambda path: write_xfel(path, [2, 0, 3], energy_trains=[0, 2], delay=True),
    "flash": write_flash,
}


def to_root_edges(path: Path) -> None:
    channel = np.tile(np.arange(7, dtype=np.int16), 20)
    offsets = np.arange(0, 141, 7, dtype=np.int64)
    write_root_edges(path, [Edges(0, offsets, channel, np.arange(140) * 3.0)], meta={"a": 1})


def save_npy(path: Path) -> None:
    rows = np.zeros(30, [("shot", "i8"), ("x", "f8"), ("y", "f8"), ("t", "f8")])
    rows["shot"] = np.arange(30)
    with path.open("wb") as stream:
        np.save(stream, rows)


def save_arrow(path: Path) -> None:
    table = pa.table({name: np.arange(40) for name in ("shot", "x", "y", "t")})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=16)


def save_text(path: Path) -> None:
    rows = np.column_stack([np.arange(30) // 2, np.random.default_rng(1).normal(size=(30, 3))])
    np.savetxt(path, rows, header="units: mm, ns\nshot x y t")


WRITERS["npy"] = save_npy
WRITERS["arrow"] = save_arrow
WRITERS["savetxt"] = save_text
WRITERS["root-edges"] = to_root_edges


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, int]]:
    kinds = st.sampled_from(["flip", "fill", "cut", "double", "end", "length"])
    places = st.one_of(st.floats(0, 1), st.floats(0, 0.05))
    return draw(
        st.lists(st.tuples(kinds, places, st.integers(0, 2**16 - 1)), min_size=1, max_size=6)
    )


def damaged(good: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    data = bytearray(good)
    for kind, share, value in changes:
        if not data:
            break
        at = min(int(share * len(data)), len(data) - 1)
        size = 1 + value % 64
        if kind == "flip":
            data[at] ^= 1 << value % 8
        elif kind == "fill":
            data[at : at + size] = bytes([value % 256]) * size
        elif kind == "cut":
            del data[at : at + size]
        elif kind == "double":
            data[at:at] = data[at : at + size]
        elif kind == "end":
            del data[at:]
        else:
            width = (1, 2, 4, 8)[value % 4]
            length = LENGTHS[value // 4 % len(LENGTHS)] % 256**width
            order = "big" if value // 64 % 2 else "little"
            data[at : at + width] = length.to_bytes(width, order)
    return bytes(data)


def read_through(path: Path) -> None:
    """Read as a run and as inspect does."""
    for read in (lambda: list(open_stored_run(path)), lambda: inspect_file(path, verify=True)):
        try:
            read()
        except MolexaError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", WRITERS)
def test_damage_gives_a_run_or_one_clear_error(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "run.dat"
    WRITERS[kind](path)
    good = path.read_bytes()
    read_through(path)
    before = resident()

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES <= 40,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(damages())
    def damage(changes: list[tuple[str, float, int]]) -> None:
        path.write_bytes(damaged(good, changes))
        started = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, about numbers that make no sense
            read_through(path)
        grown = resident() - before
        assert grown < MOST_BYTES, f"{grown / 2**20:.0f} MiB for {len(good)} bytes"
        assert time.monotonic() - started < MOST_SECONDS

    damage()


@pytest.mark.parametrize("raw", [False, True])
def test_truncation_at_every_byte(tmp_path: Path, raw: bool) -> None:
    """Each gives the events before it; within the headers one clear error."""
    path = tmp_path / "run.lmf"
    to_lmf(path, raw)
    good = path.read_bytes()
    file = LmfFile(path)
    (events,) = list(file)
    starts = np.append(events.position, len(good))
    for end in range(1, len(good)):
        path.write_bytes(good[:end])
        try:
            cut = LmfFile(path)
            found = sum(part.n_events for part in cut)
        except MolexaError as error:
            assert end < file.events_at
            assert "\n" not in str(error)
            continue
        whole = int(np.searchsorted(starts, end, side="right")) - 1
        assert found == max(whole, 0)
        assert len(cut.losses.faults) == (0 if end in starts else 1)
