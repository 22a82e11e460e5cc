from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from molexa_core.base.errors import ColumnError, InputFileError, OutputError, UsageError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import Hits
from molexa_core.io.root.layouts import LMF2ROOT_HEAD
from molexa_core.io.root.run import open_root_run, write_root_run
from tests.fakes.root_runs import FakeRun, make_run, make_setup

SLOTS = 16
META = {"channel": {"name": "water"}, "setup": {"name": "fake"}}


@pytest.fixture(scope="module")
def run() -> FakeRun:
    made = make_run(["O+", "H+", "H+"], make_setup(), shots=1500, noise_per_shot=0.8)
    assert made.hits.counts.max() <= SLOTS
    return made


@pytest.fixture(params=["lmf2root", "jagged"])
def path(request: pytest.FixtureRequest, tmp_path: Path, run: FakeRun) -> Path:
    file = tmp_path / "run.root"
    write_root_run(file, run.chunks(400), layout=request.param, slots=SLOTS, meta=META)
    return file


def flat_columns(run: FakeRun, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """The columns of a run in the LMF2Root layout, some changed or taken away."""
    counts = run.hits.counts
    columns = {name: np.zeros(len(counts)) for name in LMF2ROOT_HEAD} | {"rhit": counts * 1.0}
    for slot in range(SLOTS):
        has = np.flatnonzero(counts > slot)
        for name, values in (("x", run.hits.x_mm), ("y", run.hits.y_mm), ("tof", run.hits.t_ns)):
            column = np.zeros(len(counts))
            column[has] = values[run.hits.offsets[has] + slot]
            columns[f"r{slot + 1}{name}"] = column
    return {k: v for k, v in (columns | changes).items() if v is not None}


def write_tree(path: Path, columns: dict[str, np.ndarray], tree: str = "Data") -> Path:
    with uproot.recreate(path) as file:
        file.mktree(tree, {name: values.dtype for name, values in columns.items()})
        file[tree].extend(columns)
    return path


def joined(chunks: Iterable[Hits]) -> dict[str, np.ndarray]:
    parts = list(chunks)
    fields = {"shot": [part.shot for part in parts], "x": [part.x_mm for part in parts]}
    fields |= {"y": [part.y_mm for part in parts], "t": [part.t_ns for part in parts]}
    fields |= {"method": [part.method for part in parts]}
    if parts[0].tags:
        fields["time"] = [part.tags["timestamp"] for part in parts]
    return {name: np.concatenate(values) for name, values in fields.items()}


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name])


@pytest.mark.parametrize("chunk_shots", [None, 1, 333, 1500, 10_000])
def test_a_run_comes_back_in_chunks_of_any_size(
    path: Path, run: FakeRun, chunk_shots: int | None
) -> None:
    opened = open_root_run(path)
    assert opened.n_shots == 1500
    assert opened.metadata() == META
    if chunk_shots == 1:
        first = next(opened.iterate(1))
        assert first.n_shots == 1
        return
    assert_same(joined(opened.iterate(chunk_shots)), joined([run.hits]))


def test_several_files_are_one_run(tmp_path: Path, run: FakeRun) -> None:
    paths = []
    for number, part in enumerate(run.hits.in_chunks(700)):
        paths.append(tmp_path / f"run{number}.root")
        write_root_run(paths[-1], [part], slots=SLOTS)
    opened = open_root_run(paths)
    assert opened.n_shots == 1500
    assert_same(joined(opened.iterate(250)), joined([run.hits]))


def test_the_flat_tree_is_that_of_lmf2root(tmp_path: Path, run: FakeRun) -> None:
    path = tmp_path / "run.root"
    write_root_run(path, [run.hits], slots=SLOTS)
    with uproot.open(path) as file:
        tree = file["Data"]
        slots = [f"r{i}{q}" for i in range(1, SLOTS + 1) for q in ("x", "y", "mcp", "tof", "flag")]
        assert tree.keys() == [*LMF2ROOT_HEAD, *slots]
        assert {branch.typename for branch in tree.branches} == {"double"}
        arrays = tree.arrays(library="np")
        unused = np.arange(1, SLOTS + 1)[:, None] > arrays["rhit"][None]
        stored = np.stack([arrays[f"r{i}tof"] for i in range(1, SLOTS + 1)])
        assert not stored[unused].any()
        assert (stored[~unused] > 0).all()


def test_method_is_read_when_asked_for(tmp_path: Path, run: FakeRun) -> None:
    method = np.arange(run.hits.n_hits, dtype=np.int16) % 20
    h = run.hits
    hits = Hits(0, h.offsets, h.x_mm, h.y_mm, h.t_ns, method)
    for layout in ("lmf2root", "jagged"):
        write_root_run(tmp_path / "a.root", [hits], layout=layout, slots=SLOTS)  # type: ignore[arg-type]
        opened = open_root_run(tmp_path / "a.root")
        read = np.concatenate([part.method for part in opened.iterate(500, with_method=True)])
        np.testing.assert_array_equal(read, method)
        assert not any(part.method.any() for part in opened.iterate(500))


@pytest.mark.parametrize("first", [0, 1])
def test_the_tree_of_sp8_is_known(tmp_path: Path, run: FakeRun, first: int) -> None:
    flat = flat_columns(run)
    columns = {"IonNum": flat["rhit"].astype(np.int32)}
    for slot in range(SLOTS):
        for ours, theirs in (("IonX", "x"), ("IonY", "y"), ("IonT", "tof")):
            columns[f"{ours}{slot + first}"] = flat[f"r{slot + 1}{theirs}"]
        columns[f"IonFlag{slot + first}"] = np.zeros(1500, np.int32)
    opened = open_root_run(write_tree(tmp_path / "a.root", columns, "resortedData"))
    assert opened.layout == "sp8"
    read = joined(opened.iterate())
    np.testing.assert_array_equal(read["t"], run.hits.t_ns)
    np.testing.assert_array_equal(read["x"], run.hits.x_mm)


def test_columns_of_the_setup(tmp_path: Path, run: FakeRun) -> None:
    """Own names, micrometres and picoseconds, single precision, in a tree beside a known one."""
    flat = flat_columns(run)
    columns: dict[str, np.ndarray] = {"n": flat["rhit"].astype(np.int16)}
    for slot in range(SLOTS):
        for ours, theirs in (("x", "x"), ("y", "y"), ("t", "tof")):
            columns[f"{ours}_{slot}"] = (flat[f"r{slot + 1}{theirs}"] * 1e3).astype(np.float32)
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for name, content in (("mine", columns), ("Data", flat)):
            file.mktree(name, {key: values.dtype for key, values in content.items()})
            file[name].extend(content)
    map_ = Columns(
        layout="flat", tree="mine", x="x_{i}", y="y_{i}", time="t_{i}", count="n", first=0,
        x_unit_mm=1e-3, time_unit_ns=1e-3,
    )  # fmt: skip
    opened = open_root_run(path, map_)
    assert opened.layout == "columns"
    read = joined(opened.iterate(400))
    np.testing.assert_allclose(read["t"], run.hits.t_ns, rtol=1e-6)
    np.testing.assert_allclose(read["x"], run.hits.x_mm, rtol=1e-6)
    assert open_root_run(path).layout == "lmf2root"


def test_extra_columns_do_no_harm_and_scan_values_are_tags(tmp_path: Path, run: FakeRun) -> None:
    extra = {"laser": np.ones(1500), "scanval0": np.arange(1500) * 0.1}
    opened = open_root_run(write_tree(tmp_path / "a.root", flat_columns(run) | extra))
    hits = next(opened.iterate(1500))
    assert set(hits.tags) == {"timestamp", "bunchmarker", "scanval0"}
    np.testing.assert_array_equal(hits.tags["scanval0"], extra["scanval0"])


def test_shots_without_hits_are_counted(tmp_path: Path) -> None:
    empty = np.empty(0)
    hits = Hits(0, np.zeros(101, np.int64), empty, empty, empty, np.empty(0, np.int16))
    for layout in ("lmf2root", "jagged"):
        write_root_run(tmp_path / "a.root", [hits], layout=layout, slots=2)  # type: ignore[arg-type]
        chunks = list(open_root_run(tmp_path / "a.root").iterate(30))
        assert [chunk.n_shots for chunk in chunks] == [30, 30, 30, 10]


def changed(run: FakeRun, slot: str, shot: int, value: float) -> dict[str, np.ndarray]:
    columns = flat_columns(run)
    columns[slot] = columns[slot].copy()
    columns[slot][shot] = value
    return columns


def test_more_hits_than_slots(tmp_path: Path, run: FakeRun) -> None:
    path = write_tree(tmp_path / "a.root", changed(run, "rhit", 700, 17.0))
    with pytest.raises(InputFileError, match="says 17 hits in shot 700, but .* 0 to 16"):
        list(open_root_run(path).iterate(300))


@pytest.mark.parametrize("value", [-1.0, 1.5, np.nan, np.inf])
def test_numbers_of_hits_that_cannot_be(tmp_path: Path, run: FakeRun, value: float) -> None:
    path = write_tree(tmp_path / "a.root", changed(run, "rhit", 3, value))
    with pytest.raises(InputFileError, match="hits in shot 3"):
        list(open_root_run(path))


MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "count": ({"rhit": None}, "lacks the column rhit"),
    "x of a slot": ({"r3x": None}, "lacks the column r3x.* Did you mean"),
    "time of the last": ({"r16tof": None}, "lacks the column r16tof"),
    "first slot": ({"r1x": None, "r1y": None, "r1tof": None}, "lacks the columns r1x, r1y, r1tof"),
}


@pytest.mark.parametrize("name", MISSING)
def test_missing_columns_are_named(tmp_path: Path, run: FakeRun, name: str) -> None:
    changes, message = MISSING[name]
    path = write_tree(tmp_path / "a.root", flat_columns(run, **changes))
    with pytest.raises(ColumnError, match=message) as caught:
        open_root_run(path)
    assert str(path) in str(caught.value)


def test_a_column_of_the_wrong_type(tmp_path: Path, run: FakeRun) -> None:
    columns = flat_columns(run)
    kinds: dict[str, Any] = {name: values.dtype for name, values in columns.items()}
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("Data", kinds | {"r2x": np.dtype((np.float64, (3,)))})
        file["Data"].extend(columns | {"r2x": np.zeros((1500, 3))})
    with pytest.raises(ColumnError, match=r"column 'r2x' .* expected one number per shot"):
        open_root_run(path)
    path = write_tree(
        tmp_path / "b.root", {"x": np.zeros(9), "y": np.zeros(9), "t": np.zeros(9)}, "hits"
    )
    with pytest.raises(ColumnError, match=r"'x' .* expected a list of numbers per shot"):
        open_root_run(path)


def test_lists_of_different_length(tmp_path: Path) -> None:
    import awkward as ak

    lists = {name: ak.Array([[1.0], [2.0, 3.0]]) for name in ("x", "y")}
    lists["t"] = ak.Array([[1.0], [2.0]])
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree("hits", dict.fromkeys(lists, "var * float64"))
        file["hits"].extend(lists)
    with pytest.raises(InputFileError, match="shot 1 has 2 values in 'x', but 1 in 't'"):
        list(open_root_run(tmp_path / "a.root"))


def test_no_tree_of_a_known_layout(tmp_path: Path, run: FakeRun) -> None:
    path = write_tree(tmp_path / "a.root", {"energy": flat_columns(run)["rhit"]}, "ntuple")
    with pytest.raises(InputFileError, match="it has: energy.*`columns` of the setup"):
        open_root_run(path)


def test_files_of_different_layout(tmp_path: Path, run: FakeRun) -> None:
    for layout in ("lmf2root", "jagged"):
        write_root_run(tmp_path / f"{layout}.root", [run.hits], layout=layout, slots=SLOTS)  # type: ignore[arg-type]
    with pytest.raises(InputFileError, match="layout is jagged, but that of .* is lmf2root"):
        open_root_run([tmp_path / "lmf2root.root", tmp_path / "jagged.root"])


@pytest.mark.parametrize("layout", ["lmf2root", "jagged"])
def test_a_run_without_shots(tmp_path: Path, layout: Any) -> None:
    write_root_run(tmp_path / "a.root", [], layout=layout, slots=2)
    with pytest.raises(InputFileError, match="no shots in the run"):
        open_root_run(tmp_path / "a.root")


def test_files_that_are_not_runs(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        open_root_run(tmp_path / "no.root")
    with pytest.raises(InputFileError, match="folder, not a file"):
        open_root_run(tmp_path)
    text = tmp_path / "text.root"
    text.write_text("not a run")
    with pytest.raises(InputFileError, match="is not a ROOT file"):
        open_root_run(text)
    text.write_bytes(b"")
    with pytest.raises(InputFileError, match="is empty"):
        open_root_run(text)
    with pytest.raises(UsageError, match="no run given"):
        open_root_run([])


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated_files(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputFileError, match="truncated"):
        open_root_run(path)


def test_damage_never_shows_as_another_error(path: Path) -> None:
    """Flip bytes everywhere: the run reads, or one clear error comes."""
    good = path.read_bytes()
    rng = np.random.default_rng(2)
    errors = 0
    for _ in range(40):
        content = bytearray(good)
        start = int(rng.integers(0, len(good) - 40))
        content[start : start + 40] = rng.integers(0, 256, 40, dtype=np.uint8).tobytes()
        path.write_bytes(bytes(content))
        try:
            list(open_root_run(path).iterate(500))
        except InputFileError as error:
            errors += 1
            assert "\n" not in str(error)
    assert errors > 0


def test_the_writer_refuses_what_does_not_fit(tmp_path: Path, run: FakeRun) -> None:
    path = tmp_path / "a.root"
    with pytest.raises(UsageError, match="has .* hits, but the layout has 1 slots"):
        write_root_run(path, [run.hits], slots=1)
    with pytest.raises(UsageError, match="unknown layout"):
        write_root_run(path, [run.hits], layout="csv")  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="folder does not exist"):
        write_root_run(tmp_path / "no" / "a.root", [run.hits], slots=SLOTS)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path, run: FakeRun) -> None:
    def broken() -> Iterable[Hits]:
        yield from run.chunks(400)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_root_run(tmp_path / "a.root", broken(), slots=SLOTS)
    assert list(tmp_path.iterdir()) == []
