"""ROOT trees of edges: read as written, by names and by column maps; faults with their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from molexa_core.base.errors import ColumnError, InputFileError
from molexa_core.base.settings.columns import EdgeColumns
from molexa_core.base.tables import Edges, offsets_of
from molexa_core.io import formats
from molexa_core.io.candidate import HowToRead
from molexa_core.io.root.writer import write_root_edges
from molexa_core.io.run import open_stored_run
from molexa_core.io.tables.edge_rows import EdgesRun

SHOTS = 400


@pytest.fixture
def edges(rng: np.random.Generator) -> Edges:
    """Random edges, some shots empty, in the order that readers give."""
    counts = rng.poisson(4.0, SHOTS) * (rng.random(SHOTS) < 0.7)
    shot = np.repeat(np.arange(SHOTS), counts)
    channel = rng.integers(0, 9, len(shot)).astype(np.int16)
    times = np.round(rng.random(len(shot)) * 4e5) * 0.025
    order = np.lexsort((times, channel, shot))
    offsets = offsets_of(counts)
    tags = {"timestamp": np.arange(SHOTS) * 1e-3, "scanval0": rng.random(SHOTS)}
    return Edges(0, offsets, channel[order], times[order], tags)


def joined(chunks: list[Edges]) -> dict[str, np.ndarray]:
    whole = Edges.concatenate(chunks)
    values = {name: getattr(whole, name) for name in ("shot", "channel", "t_ns")}
    return values | dict(whole.tags) | {"shots": np.array([whole.n_shots])}


def assert_same(ours: list[Edges], theirs: list[Edges]) -> None:
    one, other = joined(ours), joined(theirs)
    assert set(one) == set(other)
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def lists(edges: Edges, order: np.ndarray | None = None) -> dict[str, Any]:
    order = np.arange(edges.n_edges) if order is None else order
    counts = edges.counts
    columns = {"channel": edges.channel[order], "t_ns": edges.t_ns[order]}
    return {name: ak.unflatten(column, counts) for name, column in columns.items()}


def save(path: Path, columns: dict[str, Any], tree: str = "edges") -> Path:
    with uproot.recreate(path) as file:
        types = {
            name: column.dtype
            if isinstance(column, np.ndarray)
            else f"var * {ak.to_numpy(ak.flatten(column)).dtype}"
            for name, column in columns.items()
        }
        file.mktree(tree, types).extend(columns)
    return path


def test_what_is_written_is_read(tmp_path: Path, edges: Edges) -> None:
    path = tmp_path / "run.root"
    write_root_edges(path, [edges], meta={"a": 1})
    run = open_stored_run(path)
    assert isinstance(run, EdgesRun)
    assert run.edges
    assert (run.layout, run.n_shots, run.metadata()) == ("root-edges", SHOTS, {"a": 1})
    assert_same(list(run), [edges])
    assert_same(list(run), [edges])  # as often as wanted


def test_several_files_are_one_run(tmp_path: Path, edges: Edges) -> None:
    paths = [tmp_path / f"run{number}.root" for number in (1, 2)]
    for path in paths:
        write_root_edges(path, [edges])
    chunks = list(open_stored_run(paths))
    shots = np.concatenate([chunk.shot for chunk in chunks])
    np.testing.assert_array_equal(shots, np.concatenate([edges.shot, SHOTS + edges.shot]))


def test_a_run_without_shots_is_refused(tmp_path: Path) -> None:
    write_root_edges(tmp_path / "run.root", [])
    with pytest.raises(InputFileError, match="there are no shots in the run"):
        open_stored_run(tmp_path / "run.root")


def test_edges_in_any_order_come_by_channel_and_time(
    tmp_path: Path, edges: Edges, rng: np.random.Generator
) -> None:
    order = np.lexsort((rng.random(edges.n_edges), edges.shot))
    run = open_stored_run(save(tmp_path / "run.root", lists(edges, order)))
    found = joined(list(run))
    for name in ("shot", "channel", "t_ns"):
        np.testing.assert_array_equal(found[name], getattr(edges, name))


@pytest.mark.parametrize(
    ("channel", "time", "unit"),
    [("ch", "tdc_time_ps", None), ("tdc_ch", "tdc_time_ps", 1e-3), ("Channel", "t", 1.0)],
)
def test_lists_are_told_by_their_names(
    tmp_path: Path, edges: Edges, channel: str, time: str, unit: float | None
) -> None:
    """A time belongs to a channel if their names begin alike."""
    held = lists(edges)
    path = save(
        tmp_path / "run.root",
        {"n": np.arange(SHOTS), channel: held["channel"], time: held["t_ns"]},
        "events",
    )
    if unit is None:
        with pytest.raises(InputFileError, match="no columns whose names tell|no tree with hits"):
            open_stored_run(path)
        return
    run = open_stored_run(path)
    assert f"channel from {channel!r}, time from {time!r}" in run.choice
    found = joined(list(run))
    np.testing.assert_allclose(found["t_ns"], edges.t_ns * unit, rtol=1e-15)
    np.testing.assert_array_equal(found["channel"], edges.channel)


def test_one_row_per_edge(tmp_path: Path, edges: Edges) -> None:
    rows = {"shot": edges.shot, "channel": edges.channel, "time_ns": edges.t_ns}
    run = open_stored_run(save(tmp_path / "run.root", rows, "rows"))
    assert run.n_shots is None
    assert "rows, shots in 'shot'" in run.choice
    found = joined(list(run))
    for name in ("shot", "channel", "t_ns"):
        np.testing.assert_array_equal(found[name], getattr(edges, name))


@pytest.mark.parametrize("rows", [False, True])
def test_columns_of_the_setup(tmp_path: Path, edges: Edges, rows: bool) -> None:
    held: dict[str, Any] = lists(edges)
    if rows:
        held = {"channel": edges.channel, "t_ns": edges.t_ns}
    path = save(
        tmp_path / "run.root",
        {"a": held["channel"], "b": held["t_ns"]} | ({"c": edges.shot} if rows else {}),
        "whatever",
    )
    columns = EdgeColumns(channel="a", time="b", shot="c" if rows else None, time_unit_ns=0.5)
    assert formats.recognise(path, HowToRead(None, columns)).format == formats.ROOT_EDGES
    run = open_stored_run(path, edge_columns=columns)
    assert run.layout == "edge-columns"
    np.testing.assert_array_equal(joined(list(run))["t_ns"], 0.5 * edges.t_ns)
    wrong = columns.model_copy(update={"time": "bb"})
    with pytest.raises(ColumnError, match=r"tree .whatever. lacks the column bb\. Did you mean b"):
        open_stored_run(path, edge_columns=wrong)


def test_a_tree_of_hits_with_channels_stays_a_tree_of_hits(tmp_path: Path, edges: Edges) -> None:
    held = lists(edges)
    hits = {"x": held["t_ns"], "y": held["t_ns"], "t": held["t_ns"], "channel": held["channel"]}
    path = save(tmp_path / "run.root", hits, "calibrated")
    assert formats.recognise(path).format == formats.ROOT_RUN


@pytest.mark.parametrize("value", [-1.0, 256.0, 0.5, np.nan])
def test_channels_that_cannot_be(tmp_path: Path, edges: Edges, value: float) -> None:
    channel = edges.channel.astype(np.float64)
    channel[7] = value
    held = lists(edges) | {"channel": ak.unflatten(channel, edges.counts)}
    run = open_stored_run(save(tmp_path / "run.root", held))
    shot = edges.shot[7]
    with pytest.raises(InputFileError, match=f"says channel .* in shot {shot}, .* are 0 to 255"):
        list(run)


def test_times_that_are_not_numbers_are_left_out_and_counted(tmp_path: Path, edges: Edges) -> None:
    times = edges.t_ns.copy()
    times[[3, 9]] = np.nan, np.inf
    held = lists(edges) | {"t_ns": ak.unflatten(times, edges.counts)}
    run = open_stored_run(save(tmp_path / "run.root", held))
    found = joined(list(run))
    good = np.isfinite(times)
    np.testing.assert_array_equal(found["t_ns"], times[good])
    np.testing.assert_array_equal(found["shot"], edges.shot[good])
    assert run.remarks == ["left out 2 edges whose time is not a number"]


def test_lists_of_different_length(tmp_path: Path, edges: Edges) -> None:
    held = lists(edges)
    held["t_ns"] = ak.unflatten(edges.t_ns, edges.counts[::-1])
    run = open_stored_run(save(tmp_path / "run.root", held))
    with pytest.raises(InputFileError, match=r"values in 'channel', but \d+ in 't_ns'"):
        list(run)


def test_two_trees_of_edges(tmp_path: Path, edges: Edges) -> None:
    path = tmp_path / "run.root"
    with uproot.recreate(path) as file:
        for name in ("one", "two"):
            file.mktree(name, {"ch": "var * int16", "t": "var * float64"}).extend(
                {"ch": lists(edges)["channel"], "t": lists(edges)["t_ns"]}
            )
    with pytest.raises(InputFileError, match="several trees can hold the edges: .*edge_columns"):
        open_stored_run(path)
    columns = EdgeColumns(tree="two", channel="ch", time="t")
    assert_same_times(list(open_stored_run(path, edge_columns=columns)), edges)


def assert_same_times(chunks: list[Edges], edges: Edges) -> None:
    np.testing.assert_array_equal(joined(chunks)["t_ns"], edges.t_ns)


def test_truncated_files(tmp_path: Path, edges: Edges) -> None:
    path = tmp_path / "run.root"
    write_root_edges(path, [edges])
    good = path.read_bytes()
    for size in (10, 200, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(InputFileError, match="trunc|damaged"):
            list(open_stored_run(path))
