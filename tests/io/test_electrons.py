"""Electron detectors are recognised by the names of their columns, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from molexa_core.base.progress import CollectingProgress
from molexa_core.io.electrons import electron_names, electron_remark
from molexa_core.pipeline.runs.inspect import inspect_file
from molexa_core.pipeline.runs.mock import default_setup
from molexa_core.pipeline.runs.open_run import open_run


@pytest.mark.parametrize(
    "names",
    [
        ["e1x", "e1y", "e1tof", "e2mcp"],
        ["ElecX0", "ElecY0", "ElecT0"],
        ["SQS_REMI_DLD6/DET/BOTTOM:output"],
        ["fElectronHits.fX", "fiElectronHits"],
        ["electron_x_mm", "electrons_t"],
    ],
)
def test_columns_of_electron_detectors(names: list[str]) -> None:
    assert electron_names(names) == names
    assert "electrons are not analysed" in (electron_remark(names) or "")


def test_other_columns_are_none() -> None:
    names = [
        *(
            "r1x",
            "r1y",
            "r1tof",
            "ehit",
            "energy",
            "event",
            "x_mm",
            "t_ns",
            "timestamp",
            "elevation",
        ),
        *("p1x", "delay_fs", "scanval0", "SQS_REMI_DLD6/DET/TOP:output", "fiIonHits", "ElecNum"),
    ]
    assert electron_remark(names) is None


@pytest.fixture
def run(tmp_path: Path) -> Path:
    header = "r1x,r1y,r1tof,r2x,r2y,r2tof,e1x,e1y,e1tof"
    rows = [f"{i % 7},{i % 5},{1000 + i},{i % 3},2,{1500 + i},1,2,{20 + i % 4}" for i in range(40)]
    path = tmp_path / "run.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_it_is_said_where_a_run_is_opened_and_inspected(run: Path) -> None:
    opened = open_run([run], default_setup(), progress=CollectingProgress())
    list(opened)
    said = [text for text in opened.remarks if "electrons" in text]
    assert len(said) == 1
    assert "e1x" in said[0]
    assert any("electrons are not analysed" in text for text in inspect_file(run).remarks)
