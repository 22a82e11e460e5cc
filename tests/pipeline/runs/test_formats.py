"""One virtual run in every format: `reduce` finds the same coincidences and momenta in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.fields import TAG_SHOT
from molexa_core.base.progress import CollectingProgress
from molexa_core.base.storage.resources import find
from molexa_core.base.tables import Coincidences
from molexa_core.io.formats import writer_names
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.convert import convert_file
from molexa_core.pipeline.runs.inspect import inspect_file
from molexa_core.pipeline.runs.mock import mock
from molexa_core.pipeline.runs.open_run import open_run

SHOTS = 8_000
HITS = ("root", "root-jagged", "hdf5", "parquet", "csv", "xfel")
EDGES = ("lmf", "lmf-raw", "edges", "root-edges")
BIN_NS = 0.025


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped apparatus with an anode that loses nothing: what is left are the bins."""
    folder = tmp_path_factory.mktemp("formats")
    values = yaml.safe_load(find("templates", "setup", ".yaml").read_text(encoding="utf-8"))
    values["anode"] |= {"dead_time_anode_ns": 0, "dead_time_mcp_ns": 0}
    neutral = ("anode_jitter_ns", "mcp_jitter_ns", "missing", "noise_per_shot", "walk_ns",
               "bend_mm", "pile_up_ns")  # fmt: skip
    values["virtual"] = {"signals": dict.fromkeys(neutral, 0) | {"bin_ns": BIN_NS}}
    (folder / "setup.yaml").write_text(yaml.safe_dump(values))
    for layout in (*HITS, *EDGES):
        where = {"out": folder / f"{layout}.run", "setup": folder / "setup.yaml"}
        mock("water", SHOTS, seed=4, layout=layout, **where)
    return folder


def reduced(path: Path, **options: Any) -> Coincidences:
    out = path.with_suffix(f".{len(options)}.events.h5")
    gate = (25.0, 30.0, 25.0)  # the same for all: a gate found from the data shifts with the bins
    return reduce([path], out=out, gate_sum=gate, **options).table


def test_all_formats_of_the_command_are_compared() -> None:
    known = set(writer_names())
    assert known == {*HITS, *EDGES}


@pytest.fixture(scope="module")
def expected(folder: Path) -> Coincidences:
    return reduced(folder / "root.run")


@pytest.mark.parametrize("layout", HITS[1:])
def test_hits_are_the_same_to_the_last_digit(
    folder: Path, layout: str, expected: Coincidences
) -> None:
    found = reduced(folder / f"{layout}.run")
    assert len(expected) > 400
    np.testing.assert_array_equal(found.momentum, expected.momentum)
    np.testing.assert_array_equal(found.tags[TAG_SHOT], expected.tags[TAG_SHOT])


@pytest.mark.parametrize("layout", EDGES)
def test_edges_give_the_same_to_the_bins(folder: Path, layout: str, expected: Coincidences) -> None:
    """Bins of 25 ps are 0.007 ns rms, 0.005 mm on a layer, and 0.05 a.u. for O+ at 3.6 us."""
    found = reduced(folder / f"{layout}.run")
    ours, theirs = (set(table.tags[TAG_SHOT].tolist()) for table in (found, expected))
    assert len(ours ^ theirs) <= 0.005 * len(theirs)  # a bin can carry an event over the gate
    both = sorted(ours & theirs)
    rows = [
        table.select(np.searchsorted(table.tags[TAG_SHOT], both)) for table in (found, expected)
    ]
    apart = rows[0].momentum - rows[1].momentum
    assert np.sqrt(np.mean(apart**2, axis=0)).max() < 0.06
    assert np.abs(apart).max() < 0.3


@pytest.mark.parametrize("layout", [*HITS, *EDGES])
def test_inspect_knows_every_format(folder: Path, layout: str) -> None:
    found = inspect_file(folder / f"{layout}.run", verify=True)
    assert found.faults == []
    said = {name: value for name, value, _ in found.rows}
    shots = said.get("shots", said.get("events read", said.get("shots read")))
    assert shots == SHOTS or layout == "csv"
    assert {"tof", "detector_image"} <= set(found.spectra)
    assert found.spectra["tof"].total > 0.9 * SHOTS * 0.3
    assert found.as_dict()["remarks"] == found.remarks


def test_edges_need_an_anode(folder: Path, tmp_path: Path) -> None:
    setup = yaml.safe_load((folder / "setup.yaml").read_text())
    del setup["anode"]
    (tmp_path / "setup.yaml").write_text(yaml.safe_dump(setup))
    with pytest.raises(
        InputFileError, match="edges of detector signals .*Add `anode` to the setup"
    ):
        reduce([folder / "lmf.run"], setup=str(tmp_path / "setup.yaml"), out="run.events.h5")
    with pytest.raises(UsageError, match="the setup has no anode, so there are no edges"):
        mock("water", 9, out=tmp_path / "a.lmf", layout="lmf", setup=tmp_path / "setup.yaml")


def test_the_choice_is_told(folder: Path) -> None:
    progress = CollectingProgress()
    open_run(folder / "csv.run", progress=progress)
    (said,) = progress.said
    assert said.startswith("the text table: x from 'x_mm', y from 'y_mm', time from 't_ns'")
    assert "shots in 'shot'" in said


def test_mixed_formats_are_refused(folder: Path) -> None:
    message = "this is a Cobold list-mode file, but .*root.run is a ROOT run.*files of one format"
    with pytest.raises(InputFileError, match=message):
        open_run([folder / "root.run", folder / "lmf.run"])
    with pytest.raises(UsageError, match="named twice"):
        open_run([folder / "root.run", folder / "root.run"])
    with pytest.raises(InputFileError, match="no file fits the pattern"):
        open_run(folder / "no*.run")
    (folder / "empty").mkdir()
    with pytest.raises(InputFileError, match="the folder holds no data files"):
        open_run(folder / "empty")


def same_hits(one: Path, other: Path) -> None:
    """Equal in everything that both hold."""
    chunks = [list(open_run(path)) for path in (one, other)]
    for name in ("x_mm", "y_mm", "t_ns"):
        ours, theirs = (np.concatenate([getattr(c, name) for c in held]) for held in chunks)
        np.testing.assert_array_equal(ours, theirs)
    shots = [np.concatenate([c.shot for c in held]) for held in chunks]
    np.testing.assert_array_equal(*shots)


@pytest.mark.parametrize("suffix", ["root", "h5", "parquet", "csv"])
def test_hits_survive_conversion_there_and_back(folder: Path, tmp_path: Path, suffix: str) -> None:
    there, back = tmp_path / f"a.{suffix}", tmp_path / "b.h5"
    done = convert_file(folder / "hdf5.run", there)
    assert done["hits"] == convert_file(there, back)["hits"]
    assert bool(done["lost"]) == (suffix == "csv")
    same_hits(folder / "hdf5.run", back)
    assert open_run(back).metadata()["channel"]["name"] == "water"


def test_edges_survive_conversion(folder: Path, tmp_path: Path) -> None:
    """Words to events and back; then hits, which are those that reduce would have sorted."""
    raw, decoded = tmp_path / "raw.lmf", tmp_path / "decoded.lmf"
    assert convert_file(folder / "lmf.run", raw, layout="lmf-raw")["lost"] == []
    assert convert_file(raw, decoded)["lost"] == []
    assert decoded.read_bytes() == (folder / "lmf.run").read_bytes()
    tree = tmp_path / "edges.root"
    assert convert_file(folder / "lmf.run", tree, layout="root-edges")["lost"] == []
    convert_file(tree, tmp_path / "back.lmf", layout="lmf")
    same_hits(folder / "lmf.run", tmp_path / "back.lmf")
    done = convert_file(raw, tmp_path / "hits.root")
    assert done["lost"] == ["the edges: the file holds the hits sorted from them"]
    same_hits(raw, tmp_path / "hits.root")
    with pytest.raises(UsageError, match="no way back to the edges that lmf holds"):
        convert_file(tmp_path / "hits.root", tmp_path / "c.lmf")
    with pytest.raises(UsageError, match=r"suffix '.rot' tells no format.* Did you mean .root"):
        convert_file(raw, tmp_path / "c.rot")
    with pytest.raises(UsageError, match="this command reads that file"):
        convert_file(raw, raw)
