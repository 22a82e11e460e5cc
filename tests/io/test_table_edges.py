"""Edges in tables of every format, told by their names or named in the setup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import EdgeColumns
from molexa_core.io.run import open_stored_run

EDGES = pd.DataFrame(
    {
        "event": [3, 3, 3, 5],
        "channel": [6, 0, 0, 2],
        "time_ns": [9.0, 0.0, 5.0, 7.0],
    }
)


def to_csv(path: Path, frame: pd.DataFrame) -> None:
    frame.to_csv(path, index=False)


def to_hdf5(path: Path, frame: pd.DataFrame) -> None:
    with h5py.File(path, "w") as file:
        for name, column in frame.items():
            file[f"tdc/{name}"] = column.to_numpy()


def to_npy(path: Path, frame: pd.DataFrame) -> None:
    with path.open("wb") as stream:
        np.save(stream, np.asarray(frame.to_records(index=False)))


def to_parquet(path: Path, frame: pd.DataFrame) -> None:
    frame.to_parquet(path)


def to_arrow(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def to_arrow_stream(path: Path, frame: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(frame)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


WRITERS: list[Callable[[Path, pd.DataFrame], None]] = [
    to_csv, to_hdf5, to_npy, to_parquet, to_arrow, to_arrow_stream,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS)
def test_rows_of_edges(tmp_path: Path, write: Callable[[Path, pd.DataFrame], None]) -> None:
    write(tmp_path / "run", EDGES)
    run = open_stored_run(tmp_path / "run")
    assert run.edges
    assert "time in ns" in run.choice
    chunks = list(run)
    assert [int(n) for chunk in chunks for n in chunk.counts] == [3, 0, 1]
    assert [int(c) for chunk in chunks for c in chunk.channel] == [0, 0, 6, 2]
    assert [float(t) for chunk in chunks for t in chunk.t_ns] == [0, 5, 9, 7]


@pytest.mark.parametrize("write", WRITERS)
def test_edges_that_the_setup_names(
    tmp_path: Path, write: Callable[[Path, pd.DataFrame], None]
) -> None:
    folder = "tdc/" if write is to_hdf5 else ""
    write(tmp_path / "run", EDGES.set_axis(["a", "b", "c"], axis=1))
    columns = EdgeColumns(
        channel=f"{folder}b", time=f"{folder}c", shot=f"{folder}a", time_unit_ns=0.025
    )
    run = open_stored_run(tmp_path / "run", edge_columns=columns)
    assert [float(t) for chunk in run for t in chunk.t_ns] == pytest.approx(
        [0, 0.125, 0.225, 0.175]
    )


def test_edges_with_a_unit_or_a_doubt(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    to_csv(path, EDGES.rename(columns={"time_ns": "time (ps)"}))
    assert next(iter(open_stored_run(path))).t_ns[1] == 0.005
    to_csv(path, EDGES.rename(columns={"time_ns": "time (bins)"}))
    with pytest.raises(InputFileError, match="size the file does not tell.*time_unit_ns"):
        open_stored_run(path)
    to_csv(path, EDGES.assign(time_ps=1.0))
    with pytest.raises(InputFileError, match="'time_ns' or 'time_ps'.*edge_columns"):
        open_stored_run(path)


def test_hits_in_arrow_files(tmp_path: Path) -> None:
    hits = pd.DataFrame({"trigger nr": [1, 1, 4], "tof": 3.0, "x": 1.0, "y": 2.0})
    for write in (to_arrow, to_arrow_stream):
        write(tmp_path / "run", hits)
        run = open_stored_run(tmp_path / "run")
        assert [int(n) for chunk in run for n in chunk.counts] == [2, 0, 0, 1]
    (tmp_path / "run").write_bytes((tmp_path / "run").read_bytes()[:-200])
    with pytest.raises(InputFileError, match="Arrow file is damaged"):
        list(open_stored_run(tmp_path / "run"))
    (tmp_path / "run").write_bytes(b"FEA1" + bytes(60))
    with pytest.raises(InputFileError, match="Feather version 1"):
        open_stored_run(tmp_path / "run")


def test_names_of_edges_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    to_csv(path, EDGES.set_axis(["a", "b", "c"], axis=1))
    columns = EdgeColumns(channel="b", time="time", shot="a")
    with pytest.raises(InputFileError, match="lacks the column time.*`edge_columns`"):
        open_stored_run(path, edge_columns=columns)
    columns = EdgeColumns(channel="channel", time="c", shot="a")
    with pytest.raises(InputFileError, match="lacks the column channel.*`edge_columns`"):
        open_stored_run(path, edge_columns=columns)
