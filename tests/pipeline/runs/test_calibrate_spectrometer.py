"""The files of a spectrometer calibration: a new setup that reduces the run, numbers, figure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from molexa_core.base.errors import UsageError
from molexa_core.base.settings import load_setup
from molexa_core.base.storage.outputs import FileKind
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.pipeline.chain.reduce import reduce
from molexa_core.pipeline.runs.calibrate_spectrometer import calibrate_spectrometer_files
from molexa_core.pipeline.runs.mock import mock

TRUE = """
spectrometer: {regions: [{length_mm: 110, field_v_per_cm: 250}]}
detection_efficiency: 0.9
calibration: {time_zero_ns: 20, centre_x_mm: 0.8}
virtual: {molecules_per_shot: 0.8}
"""
ROUGH = """
spectrometer: {regions: [{length_mm: 110, field_v_per_cm: 254}]}
calibration: {time_zero_ns: 16}
"""


def test_from_a_run_to_a_setup_that_reduces_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("true.yaml").write_text(TRUE)
    Path("rough.yaml").write_text(ROUGH)
    mock("water", 4000, out="run.root", setup="true.yaml", seed=9)
    before = Path("rough.yaml").read_bytes()
    written, found = calibrate_spectrometer_files(["run.root"], setup="rough.yaml")
    assert [path.name for path in written] == [
        "setup.calibrated.yaml",
        "setup.calibrated.json",
        "setup.calibrated.svg",
    ]
    assert [kind_of_result(path) for path in written] == [
        FileKind.SETUP,
        FileKind.SPECTROMETER,
        FileKind.FIGURE,
    ]
    assert Path("rough.yaml").read_bytes() == before
    setup = load_setup(written[0])
    assert setup.calibration.time_zero_ns == pytest.approx(20.0, abs=0.2)
    assert setup.calibration.centre_x_mm == pytest.approx(0.8, abs=0.1)
    assert setup.calibrated is not None
    assert set(setup.calibrated.uncertainty) == set(found.free)
    numbers = json.loads(written[1].read_text())
    assert numbers["quantities"]["field"]["after"] == pytest.approx(250.0, rel=2e-3)
    assert "run.root" in numbers["provenance"]["inputs"]
    assert "calibrated" in yaml.safe_load(written[0].read_text())
    summary = reduce(["run.root"], channel="water", setup=written[0]).summary
    for axis in summary.momentum_sums:
        assert abs(axis.centre) < 1.0
    with pytest.raises(UsageError):  # the old setup is never overwritten
        calibrate_spectrometer_files(["run.root"], setup=written[0])
