"""A run format is one object in one table; a file is opened once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molexa_core.base.settings import load_channel
from molexa_core.base.tables import Hits, offsets_of
from molexa_core.io import formats
from molexa_core.io.candidate import Candidate, HowToRead
from molexa_core.io.hdf5 import file as hdf5_file
from molexa_core.io.lmf import reader as lmf_reader
from molexa_core.io.results.events import read_events
from molexa_core.io.root import file as root_file
from molexa_core.io.run import open_stored_run
from molexa_core.io.run_format import Places, RunFormat, Writer
from molexa_core.io.stored_run import StoredRun
from molexa_core.io.tables import parquet_table, text_table
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.convert import convert_file
from molexa_core.pipeline.runs.inspect import inspect_file
from molexa_core.pipeline.runs.mock import default_setup, find_setup, mock

MARK = b"TOY RUN\n"
SHOTS = 3000


class ToyRun(StoredRun):
    """Lines with shot, x, y and t below a mark; the first says how many shots there are."""

    layout = "toy"
    choice = "begins with TOY RUN"

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __iter__(self) -> Iterator[Hits]:
        first = 0
        for path in self.paths:
            lines = path.read_text(encoding="utf-8").splitlines()[1:]
            shots = int(lines[0])
            rows = np.array([line.split() for line in lines[1:]], np.float64).reshape(-1, 4)
            counts = np.bincount(rows[:, 0].astype(np.int64), minlength=shots)
            method = np.zeros(len(rows), np.int16)
            yield Hits(first, offsets_of(counts), *rows[:, 1:].T.copy(), method, {})
            first += shots


def probe(file: Candidate) -> Path | None:
    return file.path if file.head.startswith(MARK) else None


def open_toy(paths: Sequence[Path], how: HowToRead) -> ToyRun:
    del how
    return ToyRun(paths)


def write(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    del places, meta
    lines, shots = [], 0
    for chunk in chunks:
        columns = zip(chunk.shot, chunk.x_mm, chunk.y_mm, chunk.t_ns, strict=True)
        lines += [f"{shot} {x:.17g} {y:.17g} {t:.17g}" for shot, x, y, t in columns]
        shots += chunk.n_shots
    path.write_bytes(MARK + "\n".join([str(shots), *lines, ""]).encode())


TOY = RunFormat(
    name="toy",
    words="toy run",
    sought=("toys",),
    probe=probe,
    open=open_toy,
    written=lambda file: "toy" if file.head.startswith(MARK) else None,
    suffixes=(".toy",),
    hits=(Writer(name="toy", write=write, suffixes=(".toy",)),),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "RUNS", (*formats.RUNS, TOY))


@pytest.fixture(scope="module")
def hits() -> Hits:
    return mock(load_channel("nitrogen"), SHOTS, setup=default_setup(), seed=1).hits


@pytest.mark.usefixtures("toy")
def test_a_format_in_the_table_is_inspected_reduced_and_converted(
    tmp_path: Path, hits: Hits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.toy"
    write(path, [hits], Places(), {})
    found = inspect_file(path)
    assert (found.format, found.as_dict()["name"]) == ("toy", "toy run")
    assert ("hits read", hits.n_hits, "") in found.rows
    setup = str(find_setup(None))
    out = Path("run.events.h5")
    summary = reduce([path], channel="nitrogen", setup=setup, out=out).summary
    assert out.name == "run.events.h5"
    assert summary.shots == SHOTS
    convert_file(path, "run.root", setup=setup)
    other = Path("other.h5")
    reduce(["run.root"], channel="nitrogen", setup=setup, out=other)
    tables = [read_events(file)[0] for file in (out, other)]
    assert len(tables[0].event_id) > 10
    np.testing.assert_array_equal(tables[0].momentum, tables[1].momentum)
    for _ in range(2):  # a run of molexa is replaced by the next one
        convert_file("run.root", "back.toy", setup=setup)
    back = Hits.concatenate(list(open_stored_run("back.toy").hits()))
    np.testing.assert_array_equal(back.t_ns, hits.t_ns)
    assert "toys" in formats.looked_for()


def count(opened: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Count what the libraries open of files."""

    def counting(where: Any, name: str) -> None:
        before = getattr(where, name)

        def call(*args: Any, **others: Any) -> Any:
            opened[name] += 1
            return before(*args, **others)

        monkeypatch.setattr(where, name, call)

    counting(root_file.uproot, "open")
    counting(hdf5_file, "open_checked")
    counting(lmf_reader, "read_header")
    counting(text_table, "read_form")
    counting(parquet_table.arrow()[1], "ParquetFile")


@pytest.mark.parametrize(
    ("layout", "opener"),
    [
        ("root", "open"),
        ("root-jagged", "open"),
        ("root-edges", "open"),
        ("hdf5", "open_checked"),
        ("xfel", "open_checked"),
        ("edges", "open_checked"),
        ("parquet", "ParquetFile"),
        ("csv", "read_form"),
        ("lmf", "read_header"),
    ],
)
def test_a_file_is_opened_once(
    tmp_path: Path, layout: str, opener: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    mock("nitrogen", 400, out=path, layout=layout, seed=1)
    opened: Counter[str] = Counter()
    count(opened, monkeypatch)
    reduce([path], out=tmp_path / "run.events.h5")
    assert opened == {opener: 1}
    opened.clear()
    inspect_file(path)
    assert opened == {opener: 1}
