"""Commands that work exactly as they are written, in a folder that was prepared for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from molexa_cli.main import main
from molexa_core.io.results.events import read_events
from molexa_core.io.results.geometry_json import read_geometry_json
from molexa_core.io.xyz import read_xyz
from molexa_core.pipeline.runs.mock import mock
from molexa_core.pipeline.training import default_training

RECIPE = """name: tiny
molecules:
  names: [water, nitrogen, carbon_monoxide]
variations:
  equilibrium: true
  displaced: 2
trajectories: 300
minimum_count: 3
"""


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    mock("water", 20_000, out=tmp_path / "run.root", seed=3)
    return tmp_path


def _said(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says beside its result."""
    code = main(line.split()[1:])
    err = capsys.readouterr().err
    assert code == 0, err
    return err


@pytest.mark.slow
def test_the_analysis(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _said("molexa reduce run.root", capsys)
    assert len(read_events(prepared / "run.events.h5")[0]) > 500
    # It says which file it takes.
    assert "run.events.h5" in _said("molexa align --ref O+", capsys)
    assert read_events(prepared / "run.aligned.h5")[0].meta["frame"]["reference"] == "O+"
    _said("molexa centroid", capsys)
    _said("molexa reconstruct channel.csv --out geom.xyz", capsys)
    assert read_xyz(prepared / "geom.xyz")[0].symbols == ("O", "H", "H")
    record = read_geometry_json(prepared / "geom.json")[0]
    assert len(record.distances) == len(record.angles) == 3


@pytest.mark.slow
def test_the_training(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (prepared / "templates").mkdir()
    (prepared / "templates" / "small.yaml").write_text(RECIPE, encoding="utf-8")
    monkeypatch.setattr(default_training, "SECONDS", {"cpu": 4.0, "cuda": 4.0})
    monkeypatch.setattr(default_training, "RECIPES", {"cpu": "small", "cuda": "small"})
    first = _said("molexa train --stage 2", capsys)
    assert "shipped weights molexa-stage1" in first
    assert "making the data set dataset-small" in first
    folder = prepared / "training-stage2"
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    assert settings["init"] == "molexa-stage1"
    assert (folder / "molexa-stage2.json").exists()
    assert next(folder.glob("*tfevents*")).stat().st_size > 100
    log = (folder / "log.jsonl").read_text(encoding="utf-8")
    assert "going on with the training" in _said("molexa train --stage 2", capsys)
    assert (folder / "log.jsonl").read_text(encoding="utf-8") == log  # it was finished
    _said("molexa plot training training-stage2 --out loss.png", capsys)
    assert (prepared / "loss.png").exists()
