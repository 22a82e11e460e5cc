"""Runs as tables: layouts told by names, in every format; what cannot be is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pytest
import uproot

from molexa_core.base.errors import ColumnError, InputFileError, UsageError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import Hits
from molexa_core.io import formats
from molexa_core.io.root.run import open_root_run
from molexa_core.io.run import open_stored_run, write_hits
from molexa_core.io.tables import hit_rows as table_read
from molexa_core.io.tables.run import TableRun
from tests.fakes.root_runs import make_run, make_setup

ROWS = pd.DataFrame(
    {
        "shot": [2, 2, 5, 6, 6, 6],
        "x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "y": [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0],
        "t": [10.5, 20.5, 30.5, 40.5, 50.5, 60.5],
        "method": [0, 1, 2, 3, 4, 5],
        "delay_fs": [7.0, 7.0, 8.0, 9.0, 9.0, 9.0],
    }
)


def whole(run: Any, chunk: int | None = None, **options: Any) -> Hits:
    chunks = list(run.iterate(chunk, **options))
    for before, after in pairwise(chunks):
        assert after.first_shot == before.first_shot + before.n_shots
    return Hits.concatenate(chunks)


def to_csv(path: Path, separator: str = ",", **options: Any) -> Path:
    ROWS.to_csv(path, sep=separator, index=False, **options)
    return path


def to_hdf5(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for name, column in ROWS.items():
            file[f"table/{name}"] = column.to_numpy()
    return path


def to_compound(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["events"] = ROWS.to_records(index=False)
    return path


def to_npy(path: Path) -> Path:
    with path.open("wb") as stream:
        np.save(stream, np.asarray(ROWS.to_records(index=False)))
    return path


def to_parquet(path: Path) -> Path:
    ROWS.to_parquet(path)
    return path


def to_tree(path: Path) -> Path:
    with uproot.recreate(path) as file:
        file.mktree("found", {name: column.dtype for name, column in ROWS.items()})
        file["found"].extend({name: column.to_numpy() for name, column in ROWS.items()})
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "csv": to_csv,
    "semicolon": lambda path: to_csv(path, ";"),
    "tab": lambda path: to_csv(path, "\t"),
    "blank": lambda path: to_csv(path, " "),
    "hdf5": to_hdf5,
    "compound": to_compound,
    "npy": to_npy,
    "parquet": to_parquet,
    "root": to_tree,
}


@pytest.mark.parametrize("chunk", [None, 1, 2, 100])
@pytest.mark.parametrize("kind", WRITERS)
def test_one_row_per_hit(tmp_path: Path, kind: str, chunk: int | None) -> None:
    """Shots without a row have no hits; a shot is never cut in two by the chunks."""
    run = open_stored_run(WRITERS[kind](tmp_path / "run.dat"))
    assert isinstance(run, TableRun)
    assert (run.layout, run.n_shots) == ("rows", None)
    hits = whole(run, chunk, with_method=True)
    assert hits.first_shot == 2
    assert hits.counts.tolist() == [2, 0, 0, 1, 3]
    assert hits.x_mm.tolist() == ROWS["x"].tolist()
    assert hits.t_ns.tolist() == ROWS["t"].tolist()
    assert hits.method.tolist() == ROWS["method"].tolist()
    np.testing.assert_array_equal(hits.tags["delay_fs"], [7, np.nan, np.nan, 8, 9])


def test_files_of_rows_go_on_where_the_last_one_ended(tmp_path: Path) -> None:
    paths = [to_csv(tmp_path / "a.csv"), to_csv(tmp_path / "b.csv")]
    counts = whole(open_stored_run(paths)).counts
    assert counts.tolist() == [2, 0, 0, 1, 3, 0, 0, 2, 0, 0, 1, 3]


def test_units_stand_in_the_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# made by hand\nEvent,ion_x_um,ion_y_um,ion_tof_us\n0,1000,-2000,1.5\n")
    hits = whole(open_stored_run(path))
    assert (hits.x_mm[0], hits.y_mm[0], hits.t_ns[0]) == (1.0, -2.0, 1500.0)


def test_a_column_map_for_numbered_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{shot} {shot}.5 2 3\n" for shot in (0, 0, 1)))
    columns = Columns(layout="rows", shot="0", x="1", y="2", time="3", time_unit_ns=1e-3)
    hits = whole(open_stored_run(path, columns=columns))
    assert hits.x_mm.tolist() == [0.5, 0.5, 1.5]
    assert hits.t_ns.tolist() == [3e-3] * 3
    np.save(tmp_path / "a.npy", np.loadtxt(path))
    again = whole(open_stored_run(tmp_path / "a.npy", columns=columns))
    np.testing.assert_array_equal(again.x_mm, hits.x_mm)


def test_flat_columns_without_a_number_of_hits(tmp_path: Path) -> None:
    """As pandas tables of py_coltrims: slots of time 0 or NaN are empty."""
    path = tmp_path / "a.csv"
    path.write_text("e1x,e1y,e1tof,r1x,r1y,r1tof,r2x,r2y,r2tof\n"
                    "0,0,0,1,2,100,3,4,200\n0,0,0,5,6,300,,,\n0,0,0,0,0,0,7,8,400\n")  # fmt: skip
    run = open_stored_run(path)
    assert run.layout == "flat"
    assert "1 other set(s) of columns left aside" in run.choice
    hits = whole(run)
    assert hits.counts.tolist() == [2, 1, 1]
    assert hits.t_ns.tolist() == [100, 200, 300, 400]


def test_columns_of_lmf2root_in_any_format(tmp_path: Path) -> None:
    frame = pd.DataFrame({"rhit": [1, 0, 2], "timestamp": [0.1, 0.2, 0.3]})
    for slot in (1, 2):
        for name in ("x", "y", "tof"):
            frame[f"r{slot}{name}"] = [10.0 * slot, 0.0, 10.0 * slot + 1]
    frame.to_csv(tmp_path / "a.csv", index=False)
    run = open_stored_run(tmp_path / "a.csv")
    assert (run.layout, run.n_shots) == ("lmf2root", None)
    hits = whole(run)
    assert hits.counts.tolist() == [1, 0, 2]
    assert hits.tags["timestamp"].tolist() == [0.1, 0.2, 0.3]


def jagged(path: Path, tree: str, names: dict[str, str]) -> Path:
    lists = ak.Array([[1.0], [], [2.0, 3.0]])
    columns = {names[key]: lists + k for k, key in enumerate(("x", "y", "t"))}
    with uproot.recreate(path) as file:
        file.mktree(tree, dict.fromkeys(columns, "var * float64"))
        file[tree].extend(columns)
    return path


@pytest.mark.parametrize(
    ("tree", "layout", "names"),
    [
        ("hits", "jagged", {"x": "x", "y": "y", "t": "t"}),
        ("anything", "jagged", {"x": "X_mm", "y": "Y_mm", "t": "tof_ns"}),
        ("calc", "jagged", {"x": "fiIonHits.X", "y": "fiIonHits.Y", "t": "fiIonHits.Tof"}),
        (
            "SortedEvent",
            "lma2root",
            {key: f"fDetektors[0].fDetektors_fHits.{leaf}"
             for key, leaf in (("x", "fX_mm"), ("y", "fY_mm"), ("t", "fTof"))},
        ),
    ],
)  # fmt: skip
def test_lists_by_name(tmp_path: Path, tree: str, layout: str, names: dict[str, str]) -> None:
    path = jagged(tmp_path / "a.root", tree, names)
    run = open_root_run(path)
    assert (run.layout, run.n_shots) == (layout, 3)
    assert names["x"] in run.choice or layout == "jagged"
    hits = whole(run)
    assert hits.counts.tolist() == [1, 0, 2]
    assert hits.y_mm.tolist() == [2, 3, 4]
    assert formats.recognise(path).format == formats.ROOT_RUN


def test_names_that_tell_too_much(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("shot,top_x,top_y,top_t,low_x,low_y,low_t\n1,2,3,4,5,6,7\n")
    with pytest.raises(InputFileError, match=r"several columns.*top_x, top_y, top_t, low_x"):
        open_stored_run(path)
    columns = Columns(layout="rows", shot="shot", x="low_x", y="low_y", time="low_t")
    assert whole(open_stored_run(path, columns=columns)).x_mm.tolist() == [5]
    with pytest.raises(ColumnError, match=r"lacks the column low_z.*Did you mean low_"):
        open_stored_run(path, columns=columns.model_copy(update={"y": "low_z"}))


def test_hits_end_to_end_with_their_numbers(tmp_path: Path) -> None:
    """As Coinc-EuXFEL stores them: flat arrays and the number of hits of each pulse."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for k, name in enumerate("xyt"):
            file[f"hits_{name}_uv"] = np.arange(5.0) + k
        file["numHitsPerPls_uv"] = np.array([2, 0, 3])
    columns = Columns(
        layout="jagged", x="hits_x_uv", y="hits_y_uv", time="hits_t_uv", count="numHitsPerPls_uv"
    )
    for chunk in (None, 1, 2):
        hits = whole(open_stored_run(path, columns=columns), chunk)
        assert hits.counts.tolist() == [2, 0, 3]
        assert hits.y_mm.tolist() == [1, 2, 3, 4, 5]
    with h5py.File(path, "r+") as file:
        file["numHitsPerPls_uv"][1] = 9
    with pytest.raises(InputFileError, match="hits_x_uv ends after 5 rows, but 14 are needed"):
        whole(open_stored_run(path, columns=columns))
    with h5py.File(path, "r+") as file:
        file["numHitsPerPls_uv"][1] = -1
    with pytest.raises(InputFileError, match="says -1 hits in shot 1"):
        whole(open_stored_run(path, columns=columns))


def test_hits_of_each_shot_in_a_row(tmp_path: Path) -> None:
    nan = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["y"] = np.array([[1, nan], [2, 3]]), np.array([[4, nan], [5, 6]])
        file["t"] = np.array([[7, nan], [8, 9]])
    hits = whole(open_stored_run(tmp_path / "a.h5"))
    assert hits.counts.tolist() == [1, 2]
    assert hits.t_ns.tolist() == [7, 8, 9]


BAD: dict[str, tuple[str, str]] = {
    "back": ("shot,x,y,t\n5,1,1,1\n3,1,1,1\n", "the shot goes back to 3 in row 1"),
    "far": (f"shot,x,y,t\n5,1,1,1\n{10**9},1,1,1\n", "jumps by 999999995 to 1000000000"),
    "half": ("shot,x,y,t\n5,1,1,1\n5.5,1,1,1\n", "says shot 5.5 in row 1"),
    "none": ("shot,x,y,t\n5,1,1,1\n,1,1,1\n", "says shot nan in row 1"),
    "word": (
        "shot,x,y,t\n" + "5,1,1,1\n" * 250 + "5,mm,1,1\n",
        "'x' holds 'mm' in row 250, which is not a number",
    ),
    "ragged": ("shot,x,y,t\n5,1,1,1\n5,1,1,1,1,1\n", r"not readable as a table of text \(.*line 3"),
    "empty": ("shot,x,y,t\n", "there are no shots in the run"),
    "nothing": ("# a comment\n", "the file holds no table"),
    "other": ("mass,charge\n1,2\n", "no columns whose names tell x, y and time"),
    "prose": ("Dear colleague,\nthe run is in the other folder.\n", "it looks like text"),
}


@pytest.mark.parametrize("name", BAD)
def test_text_that_is_no_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.csv"
    text, message = BAD[name]
    path.write_text(text)
    with pytest.raises(InputFileError, match=message) as caught:
        whole(open_stored_run(path))
    assert str(path) in str(caught.value)


def test_memory_is_bounded_by_the_gaps_between_shots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_read, "MOST_MISSING", 10)
    shots = np.arange(0, 500, 9)
    frame = pd.DataFrame({"shot": shots, "x": 0.0, "y": 0.0, "t": 1.0 + shots})
    frame.to_csv(tmp_path / "a.csv", index=False)
    chunks = list(open_stored_run(tmp_path / "a.csv"))
    assert max(chunk.n_shots for chunk in chunks) <= 10
    assert sum(chunk.n_hits for chunk in chunks) == len(shots)
    assert [chunk.t_ns[0] for chunk in chunks] == [1.0 + chunk.shot[0] for chunk in chunks]


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["entry/data"] = np.zeros(4)
    with pytest.raises(InputFileError, match=r"looked for INDEX and INSTRUMENT.*it holds: entry"):
        open_stored_run(path)
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object))
    with pytest.raises(InputFileError, match="holds Python objects"):
        open_stored_run(tmp_path / "objects.npy")
    np.save(tmp_path / "cube.npy", np.zeros((2, 2, 2)))
    with pytest.raises(InputFileError, match=r"the array has shape \(2, 2, 2\)"):
        open_stored_run(tmp_path / "cube.npy")
    with pytest.raises(UsageError, match="no run given"):
        open_stored_run([])


def test_only_the_columns_that_are_needed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(["O+", "H+", "H+"], make_setup(), shots=300)
    from molexa_core.io.root import trees as root_table
    from molexa_core.io.root.run import write_root_run

    write_root_run(tmp_path / "a.root", [run.hits], slots=16)
    read: set[str] = set()
    plain = root_table._RootView._array

    def noted(self: Any, name: str, library: str) -> Any:
        read.add(name)
        return plain(self, name, library)

    monkeypatch.setattr(root_table._RootView, "_array", noted)
    most = int(run.hits.counts.max())
    list(open_root_run(tmp_path / "a.root"))
    used = {f"r{i + 1}{q}" for i in range(most) for q in ("x", "y", "tof")}
    assert read == used | {"rhit", "timestamp", "bunchmarker"}


def test_values_per_shot_that_a_file_lacks_are_told(tmp_path: Path) -> None:
    hits = Hits(0, np.arange(4), *np.ones((3, 3)), np.zeros(3, np.int16), {})
    for name, tags in (("a", ["delay_fs", "timestamp"]), ("b", ["timestamp"]), ("c", [])):
        some = replace(hits, tags={tag: np.arange(3.0) for tag in tags})
        write_hits(tmp_path / f"{name}.h5", [some], "hdf5")
    paths = [tmp_path / f"{name}.h5" for name in "abc"]
    assert not open_stored_run(paths[:1]).warnings
    run = open_stored_run(paths[:2])
    (told,) = run.warnings
    assert "delay_fs is left out for all files" in told
    assert f"{paths[1]} lacks it" in told
    assert set(whole(run).tags) == {"timestamp"}
    (told,) = open_stored_run(paths).warnings
    assert "delay_fs, timestamp are left out" in told


def test_files_of_other_setups_are_told(tmp_path: Path) -> None:
    hits = Hits(0, np.arange(4), *np.ones((3, 3)), np.zeros(3, np.int16), {})
    setups = {"a": {"field": 1.0}, "b": {"field": 1.0, "name": "x"}, "c": {"field": 2.0}}
    for name, setup in setups.items():
        write_hits(tmp_path / f"{name}.h5", [hits], "hdf5", meta={"setup": setup})
    assert not open_stored_run([tmp_path / "a.h5", tmp_path / "b.h5"]).warnings
    (told,) = open_stored_run([tmp_path / f"{name}.h5" for name in "abc"]).warnings
    assert told.startswith(f"{tmp_path / 'c.h5'} was taken with another setup")
