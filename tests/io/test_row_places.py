"""Tables with one row per hit, read from any shot on after they were looked through once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import Hits
from molexa_core.io import text_lines
from molexa_core.io.run import open_stored_run
from molexa_core.io.tables import interface, parquet_table, text_table

ROWS = 5000
RNG = np.random.default_rng(4)


def write_table(path: Path, columns: dict[str, np.ndarray]) -> Path:
    """A Parquet file of small row groups, an HDF5 file, or text with comments and empty lines."""
    if path.suffix == ".csv":
        lines = [",".join(columns)]
        for number, row in enumerate(zip(*columns.values(), strict=True)):
            lines += ["# so far so good", ""] if number % 500 == 499 else []
            lines.append(",".join(repr(value.item()) for value in row))
        path.write_text("\n".join(lines) + "\n")
        return path
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, column in columns.items():
                file.create_dataset(name, data=column)
        return path
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path, row_group_size=700)
    return path


def hits_of(shot: dict[str, np.ndarray], seed: int) -> dict[str, np.ndarray]:
    """Columns of hits with these numbers of shots, some rows of which are filled up."""
    rng = np.random.default_rng(seed)
    n = len(next(iter(shot.values())))
    found = {
        "x": rng.uniform(-30.0, 30.0, n), "y": rng.uniform(-30.0, 30.0, n),
        "tof": rng.uniform(300.0, 2000.0, n), "energy": rng.uniform(1.0, 2.0, n),
    }  # fmt: skip
    for name in ("x", "y", "tof"):
        found[name][::97] = 0.0
    return shot | found


def rising(first: int, step: float = 0.4) -> np.ndarray:
    """Numbers of shots with gaps, several hits in many."""
    return first + np.cumsum(RNG.random(ROWS) < step).astype(np.int64) * 2


def trains() -> dict[str, np.ndarray]:
    """Numbers of trains and pulses."""
    pulse = np.tile(np.repeat([0, 4, 8, 12], 2), ROWS // 8)
    return {"trainId": 70_000 + np.arange(len(pulse)) // 8, "pulseId": pulse}


KINDS: dict[str, list[dict[str, np.ndarray]]] = {
    "numbers": [{"shot": rising(0)}],
    "from a number on": [{"shot": rising(123_456)}],
    "two files": [{"shot": rising(5)}, {"shot": rising(0)}],
    "a file that goes on": [{"shot": rising(0)}, {"shot": rising(9_000)}],
    "a counter that begins again": [
        {"shot": (rising(2**32 - 900) % 2**32).astype(np.uint32)}
    ],
    "trains and pulses": [trains()],
}  # fmt: skip


def opened(paths: list[Path], columns: dict[str, Any]) -> Any:
    return open_stored_run(paths, columns=Columns(**columns))


def joined(chunks: list[Hits]) -> dict[str, np.ndarray]:
    """Consecutive chunks as one, by column."""
    number = np.concatenate([one.first_shot + np.arange(one.n_shots) for one in chunks])
    tags = {name: np.concatenate([one.tags[name] for one in chunks]) for name in chunks[0].tags}
    return {
        "number": number,
        "counts": np.concatenate([one.counts for one in chunks]),
        **{
            name: np.concatenate([getattr(one, name) for one in chunks])
            for name in ("x_mm", "y_mm", "t_ns")
        },
        **tags,
    }


@pytest.mark.parametrize("suffix", [".parquet", ".h5", ".csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_range_of_shots_is_that_of_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, suffix: str
) -> None:
    """Gaps, counters that begin again, numbers of pairs, filled-up rows."""
    monkeypatch.setattr(interface, "MOST_ROWS", 333)
    monkeypatch.setattr(parquet_table, "MOST_ROWS", 333)
    monkeypatch.setattr(text_table, "MOST_ROWS", 333)
    monkeypatch.setattr(text_lines, "_BLOCK", 20_000)
    paths = [
        write_table(tmp_path / f"{number}{suffix}", hits_of(shot, number))
        for number, shot in enumerate(KINDS[kind])
    ]
    names = list(KINDS[kind][0])
    columns: dict[str, Any] = {
        "layout": "rows", "shot": names[0] if len(names) == 1 else names, "x": "x", "y": "y",
        "time": "tof", "tags": ["energy"],
    }  # fmt: skip
    run = opened(paths, columns)
    whole = joined(list(run))
    said = (run.remarks, run.warnings)
    assert not run.anywhere
    assert run.indexable
    run.make_index(lambda _: None)
    assert run.anywhere
    n_shots = len(whole["number"])
    assert run.n_shots == n_shots
    run.forget_reading()
    assert (run.remarks, run.warnings) == said
    other = opened(paths, columns)  # of another process
    other.take_index(json.loads(json.dumps(run.index())))
    edges = np.concatenate([[0], np.cumsum(whole["counts"])])
    middle = n_shots // 2
    for first, last in ((0, 1), (0, n_shots), (middle, middle + 40), (n_shots - 3, n_shots)):
        found = joined(list(other.between(first, last)))
        for name, values in found.items():
            rows = slice(first, last)
            if name in ("x_mm", "y_mm", "t_ns"):
                rows = slice(edges[first], edges[last])
            np.testing.assert_array_equal(values, whole[name][rows], err_msg=name)
    run.add_reading(other.reading())
    assert (run.remarks, run.warnings) == said


def test_packed_text_is_read_from_its_beginning(tmp_path: Path) -> None:
    """Nothing says where in it a line is."""
    path = write_table(tmp_path / "run.csv", hits_of({"shot": rising(0)}, 1))
    with gzip.open(tmp_path / "run.csv.gz", "wb") as stream:
        stream.write(path.read_bytes())
    columns = {"layout": "rows", "shot": "shot", "x": "x", "y": "y", "time": "tof"}
    assert opened([path], columns).indexable
    assert not opened([tmp_path / "run.csv.gz"], columns).indexable
