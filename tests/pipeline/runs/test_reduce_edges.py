"""Reduce a run of edges: the coincidences of the same run of hits, and what the sorter counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.io.results.events import read_events
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.mock import mock

SHOTS = 8000


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One virtual run as hits and as edges."""
    folder = tmp_path_factory.mktemp("runs")
    paths = {"root": folder / "run.root", "lmf": folder / "run.lmf"}
    for layout, path in paths.items():
        mock("nitrogen", SHOTS, out=path, seed=11, layout=layout)
    return paths


def test_edges_give_the_coincidences_of_the_hits(runs: dict[str, Path], tmp_path: Path) -> None:
    hits = tmp_path / "hits.events.h5"
    of_hits = reduce([runs["root"]], out=hits).summary
    edges = tmp_path / "edges.events.h5"
    of_edges = reduce([runs["lmf"]], out=edges).summary
    assert of_hits.sorter == {}
    assert of_edges.sorter["shots"] == SHOTS
    assert of_edges.sorter["hits"] == of_edges.hits
    assert of_edges.hits == pytest.approx(of_hits.hits, rel=0.01)
    one, other = read_events(hits)[0], read_events(edges)[0]
    shots = set(one.tags["shot"].tolist()), set(other.tags["shot"].tolist())
    assert len(shots[0] & shots[1]) >= 0.9 * len(shots[0])
    rows = dict(row[:2] for row in of_edges.rows())
    assert float(rows["hits from all signals (method 0)"]) > 50.0
    assert "mcp" in rows["sorting: signals missing"]
    assert other.meta["summary"]["sorter"]["methods"]["0"] > 0


def test_the_method_cut_leaves_out_unchecked_hits(runs: dict[str, Path], tmp_path: Path) -> None:
    values = yaml.safe_load((shipped_folder("templates") / "setup.yaml").read_text())
    values["detector"]["max_method"] = 10
    setup = tmp_path / "setup.yaml"
    setup.write_text(yaml.safe_dump(values), encoding="utf-8")
    cut = reduce([runs["lmf"]], setup=str(setup), out=tmp_path / "cut.events.h5").summary
    risky = cut.sorter["hits"] - cut.sorter["safe_hits"]
    assert risky > 0
    assert cut.dropped.uncertain == risky


def test_a_setup_without_anode_says_how_to_get_one(runs: dict[str, Path], tmp_path: Path) -> None:
    values = yaml.safe_load((shipped_folder("templates") / "setup.yaml").read_text())
    del values["anode"]
    setup = tmp_path / "setup.yaml"
    setup.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputFileError, match="says nothing about the anode") as caught:
        reduce([runs["lmf"]], setup=str(setup), out=tmp_path / "x.events.h5")
    assert "molexa calibrate detector" in str(caught.value)
    assert not (tmp_path / "x.events.h5").exists()
