"""ROOT files in the forms that people have: RNTuples, C arrays, several cycles, friends."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from molexa_core.base.errors import ColumnError, InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import Hits, offsets_of
from molexa_core.io.formats import ROOT_EDGES, recognise
from molexa_core.io.root import ntuples as root_ntuple
from molexa_core.io.root.contents import friends_of
from molexa_core.io.run import open_stored_run

SHOTS = 500
LISTS = Columns(layout="jagged", x="x", y="y", time="t")


def fake(seed: int = 1) -> Hits:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(2.0, SHOTS)
    n = int(counts.sum())
    offsets = offsets_of(counts)
    return Hits(
        0, offsets, rng.normal(size=n), rng.normal(size=n), rng.uniform(900, 4000, n),
        np.zeros(n, np.int16), {"delay_fs": rng.normal(size=SHOTS)},
    )  # fmt: skip


def lists(hits: Hits) -> dict[str, Any]:
    counts = hits.counts
    named = {"x": hits.x_mm, "y": hits.y_mm, "t": hits.t_ns}
    return {name: ak.unflatten(column, counts) for name, column in named.items()}


def filled(hits: Hits, slots: int) -> dict[str, np.ndarray]:
    counts = hits.counts
    shot = np.repeat(np.arange(SHOTS), counts)
    slot = np.arange(hits.n_hits) - np.repeat(hits.offsets[:-1], counts)
    arrays = {}
    for name, column in (("x", hits.x_mm), ("y", hits.y_mm), ("t", hits.t_ns)):
        arrays[name] = np.zeros((SHOTS, slots), np.float32)
        arrays[name][shot, slot] = column
    return arrays


def same(run: Any, hits: Hits, places: float = 0.0) -> None:
    read = Hits.concatenate(list(run))
    assert read.counts.tolist() == hits.counts.tolist()
    for name in ("x_mm", "y_mm", "t_ns"):
        np.testing.assert_allclose(getattr(read, name), getattr(hits, name), rtol=places)


@pytest.mark.parametrize("name", ["hits", "ions"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_lists_of_an_rntuple(tmp_path: Path, name: str, pieces: int) -> None:
    hits = fake()
    columns = lists(hits) | {"delay_fs": hits.tags["delay_fs"]}
    edges = np.linspace(0, SHOTS, pieces + 1).astype(int)
    with uproot.recreate(tmp_path / "a.root") as file:
        for low, high in pairwise(edges):
            part = {key: values[low:high] for key, values in columns.items()}
            if low == 0:
                file[name] = part
            else:
                file[name].extend(part)
    run = open_stored_run(tmp_path / "a.root")
    assert f"RNTuple {name!r}" in run.choice
    assert run.n_shots == SHOTS
    same(run, hits)
    same(run.iterate(13), hits)  # type: ignore[attr-defined]
    delays = np.concatenate([chunk.tags["delay_fs"] for chunk in run])
    np.testing.assert_array_equal(delays, hits.tags["delay_fs"])


def test_rows_and_records_of_an_rntuple(tmp_path: Path) -> None:
    hits = fake()
    counts = hits.counts
    rows = {"shot": np.repeat(np.arange(SHOTS), counts), "x": hits.x_mm, "y": hits.y_mm,
            "t": hits.t_ns}  # fmt: skip
    with uproot.recreate(tmp_path / "rows.root") as file:
        file["hits"] = rows
    with uproot.recreate(tmp_path / "records.root") as file:
        file["run"] = ak.Array({"ion": ak.zip(lists(hits)), "n": counts})
    for name in ("rows.root", "records.root"):
        chunks = list(open_stored_run(tmp_path / name))
        np.testing.assert_array_equal(np.concatenate([c.t_ns for c in chunks]), hits.t_ns)


def test_clusters_are_not_unpacked_anew_for_every_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = fake()
    with uproot.recreate(tmp_path / "a.root") as file:
        file["hits"] = lists(hits)
    run = open_stored_run(tmp_path / "a.root")
    read: list[str] = []
    plain = root_ntuple.NtupleTable.read

    def counted(self: Any, name: str, start: int, stop: int) -> Any:
        read.append(name)
        return plain(self, name, start, stop)

    monkeypatch.setattr(root_ntuple.NtupleTable, "read", counted)
    same(run.iterate(10), hits)  # type: ignore[attr-defined]
    assert sorted(read) == ["t", "x", "y"]
    monkeypatch.setattr(root_ntuple, "_KEPT_BYTES", 0)
    same(run.iterate(100), hits)  # type: ignore[attr-defined]


def test_fields_that_hold_no_numbers_are_named(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file["hits"] = {"x": ["a", "b"], "y": ["a", "b"], "t": ["a", "b"]}
    with pytest.raises(ColumnError, match=r"'x' of RNTuple 'hits' is of type std::string"):
        list(open_stored_run(tmp_path / "a.root"))


def test_edges_in_an_rntuple(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file["edges"] = {
            "channel": ak.Array([[0, 1], [2]]),
            "t_ns": ak.Array([[10.0, 20.0], [30.0]]),
        }
    assert recognise(tmp_path / "a.root").format == ROOT_EDGES
    (edges,) = list(open_stored_run(tmp_path / "a.root"))
    assert edges.t_ns.tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_arrays_of_c_with_and_without_a_counter(tmp_path: Path, counted: bool, given: bool) -> None:
    hits = fake(3)
    counts = hits.counts.astype(np.int32)
    arrays = filled(hits, int(counts.max()))
    if counted:  # what is behind the last hit means nothing then
        for values in arrays.values():
            values[values == 0] = 7.5
    with uproot.recreate(tmp_path / "a.root") as file:
        types = {name: (np.float32, (values.shape[1],)) for name, values in arrays.items()}
        file.mktree("ions", types | ({"nhits": np.int32} if counted else {}))
        file["ions"].extend(arrays | ({"nhits": counts} if counted else {}))
    columns = LISTS.model_copy(update={"count": "nhits" if counted else None})
    run = open_stored_run(tmp_path / "a.root", columns=columns if given else None)
    same(run, hits, 1e-6)


def test_a_counter_beyond_the_array(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("ions", dict.fromkeys("xyt", (np.float32, (3,))) | {"nhits": np.int32})
        file["ions"].extend({name: np.ones((2, 3), np.float32) for name in "xyt"}
                            | {"nhits": np.array([2, 4], np.int32)})  # fmt: skip
    with pytest.raises(InputFileError, match="says 4 hits in shot 1, but there are places for 0"):
        list(open_stored_run(tmp_path / "a.root"))


def test_a_tree_named_hits_in_another_form(tmp_path: Path) -> None:
    """The name alone does not make it the layout of lists."""
    hits = fake()
    with uproot.recreate(tmp_path / "a.root") as file:
        file["hits"] = filled(hits, 12)
    same(open_stored_run(tmp_path / "a.root"), hits, 1e-6)


def test_of_several_cycles_the_newest_is_read_and_said(tmp_path: Path) -> None:
    hits = fake()
    columns = lists(hits)
    for first, warned in ((SHOTS // 2, False), (SHOTS + 100, True)):
        path = tmp_path / f"{first}.root"
        with uproot.recreate(path) as file:
            long = {name: ak.concatenate([values, values]) for name, values in columns.items()}
            for rows in (first, SHOTS):
                file.mktree("ions", dict.fromkeys(columns, "var * float64"))
                file["ions"].extend({name: values[:rows] for name, values in long.items()})
        run = open_stored_run(path)
        same(run, hits)
        assert "of 2 cycles the newest, 2 with 500 entries" in run.choice
        assert any("older ones have more entries: 1 (600)" in w for w in run.warnings) == warned


def test_friends_are_named() -> None:
    def friend(name: str, file: str) -> Any:
        held = {"fTreeName": name, "fTitle": file}
        return SimpleNamespace(member=lambda key, **_: held.get(key))

    friends = [friend("calib", "calib.root"), friend("tags", "")]
    tree = SimpleNamespace(member=lambda key, **_: friends if key == "fFriends" else None)
    assert friends_of(tree) == ["calib in calib.root", "tags"]
    assert friends_of(SimpleNamespace(member=lambda key, **_: None)) == []
