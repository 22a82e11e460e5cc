"""From a run of edges to detector.yaml, and the next run that takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from molexa_cli.main import main
from molexa_core.base.errors import InputFileError, SettingsError
from molexa_core.base.settings import load_detector, load_setup
from molexa_core.base.settings.virtual import WireSignals
from molexa_core.detector.sorter import Sorter
from molexa_core.io.lmf.run import LmfRun, write_lmf_run
from molexa_core.pipeline.runs.calibrate_detector import calibrate_detector_files
from molexa_core.pipeline.runs.mock import mock
from tests.fakes.anodes import HEXANODE, anode, random_run

SPECTROMETER = {"regions": [{"length_mm": 110.0, "field_v_per_cm": 250.0}]}
ROUGH = {"scale_mm_per_ns": 0.34, "run_time_ns": 150.0, "time_sum_ns": 100.0}


def write_setup(path: Path, **values: Any) -> Path:
    """A setup with these top-level blocks."""
    path.write_text(yaml.safe_dump({"spectrometer": SPECTROMETER} | values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def lmf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list-mode file of a hexanode, without metadata, as an acquisition would write it."""
    path = tmp_path_factory.mktemp("lmf") / "run.lmf"
    run = random_run(anode(), WireSignals(), shots=6000)
    write_lmf_run(path, [run.edges], raw=False, n_channels=8)
    return path


def test_the_next_run_takes_what_was_found(
    lmf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rough = HEXANODE | dict.fromkeys("uvw", ROUGH)
    setup = write_setup(tmp_path / "setup.yaml", anode=rough)
    out = tmp_path / "detector.yaml"
    arguments = ["calibrate", "detector", str(lmf), "--setup", str(setup), "--out", str(out)]
    assert main([*arguments, "--json", "--quiet"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["files"] == [str(out), str(tmp_path / "detector.svg")]
    assert values["findings"]["time sum u"]["after"] == pytest.approx(145.0, abs=0.05)
    assert values["findings"]["scale v / scale u"]["error"] > 0
    assert (tmp_path / "detector.svg").read_bytes().startswith(b"<?xml")

    stored = load_detector(out)
    assert stored.uncertainty["offset w"] > 0
    assert stored.provenance["inputs"][str(lmf)].startswith("sha256")
    taken = load_setup(write_setup(tmp_path / "next.yaml", anode="detector.yaml"))
    assert taken.anode == stored.anode
    sorter = Sorter(taken.anode)
    for edges in LmfRun([lmf]):
        sorter.sort(edges)
    assert sorter.counts.hits == pytest.approx(18_000, rel=0.01)
    assert sorter.counts.methods[0] > 0.7 * sorter.counts.hits


def test_a_virtual_run_carries_its_anode(tmp_path: Path) -> None:
    run = tmp_path / "run.lmf"
    mock("nitrogen", 12_000, out=run, seed=3, layout="lmf")
    written, found = calibrate_detector_files([run], out=tmp_path / "detector.yaml")
    assert [path.name for path in written] == ["detector.yaml", "detector.svg"]
    sums = {item.name: item for item in found.findings}
    assert sums["time sum v"].after == pytest.approx(sums["time sum v"].before, abs=0.05)


def test_hits_are_no_edges(tmp_path: Path) -> None:
    run = tmp_path / "run.root"
    mock("nitrogen", 200, out=run, seed=3)
    with pytest.raises(InputFileError, match="the run holds hits, not signals of wire ends"):
        calibrate_detector_files([run], out=tmp_path / "detector.yaml")
    assert not (tmp_path / "detector.yaml").exists()


def test_a_run_without_anode_says_what_to_give(lmf: Path, tmp_path: Path) -> None:
    setup = write_setup(tmp_path / "setup.yaml")
    for given in (None, setup):
        with pytest.raises(InputFileError, match="the setup has no anode") as caught:
            calibrate_detector_files([lmf], setup=given, out=tmp_path / "detector.yaml")
        assert "kind, channels and rough scales" in str(caught.value)


def test_a_detector_file_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "detector.yaml").write_text("anodes: {}\n", encoding="utf-8")
    setup = write_setup(tmp_path / "setup.yaml", anode="detector.yaml")
    with pytest.raises(SettingsError, match=r"anodes: unknown key \(did you mean anode\?\)"):
        load_setup(setup)
    missing = write_setup(tmp_path / "other.yaml", anode="nowhere.yaml")
    with pytest.raises(InputFileError, match=r"nowhere\.yaml: no such file"):
        load_setup(missing)
