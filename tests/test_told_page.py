"""The page of tables on weights that are told the experiment shows what the results say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _tool() -> ModuleType:
    path = ROOT / "tools" / "write_told_page.py"
    spec = importlib.util.spec_from_file_location("told_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


def test_numbers_are_those_of_the_results() -> None:
    stored = json.loads((TOOL.RESULTS / "told-pulses.json").read_text(encoding="utf-8"))
    row = stored["results"]["still, means"]["A"]["everything"]["3-9"]
    text = TOOL.page(TOOL.RESULTS)
    expected = f"| A | {row['mean']:.2f} / {row['rms']:.2f} / {100 * row['inside']:.0f} ("
    assert expected in text
    assert f"{row['ratio']:.2f} ({row['low']['ratio']:.2f}-{row['high']['ratio']:.2f})" in text


def test_what_is_missing_is_left_out(tmp_path: Path) -> None:
    assert "##" not in TOOL.page(tmp_path)


def test_biases_and_shares_of_averaged_runs(tmp_path: Path) -> None:
    group = {
        "runs": 20,
        "bonds": 40,
        "inside_68": 0.7,
        "inside_68_low": 0.6,
        "inside_68_high": 0.8,
        "beyond_4": 0.025,
        "ratio": 1.1,
        "mean_error_angstrom": 0.02,
        "half_width_angstrom": 0.03,
    }
    bias = {
        "bond": "C-O",
        "bias_angstrom": -0.004,
        "error_of_bias": 0.002,
        "half_width_angstrom": 0.03,
    }
    found = {"samples": {"groups": {"ocs, X-rays": group}, "bias": {"ocs, X-rays": [bias]}}}
    (tmp_path / "told-averaged.json").write_text(json.dumps(found), encoding="utf-8")
    text = TOOL.page(tmp_path)
    assert "| ocs, X-rays | 20 | 40 | 70 (60-80) | 2.5 | 1.10 | 0.020 | 0.030 |" in text
    assert "C-O -0.004 ± 0.002 (0.030)" in text


@pytest.mark.parametrize("told", ["nothing", "everything"])
def test_the_strongest_objection_is_shown(tmp_path: Path, told: str) -> None:
    share = {"value": 0.66, "low": 0.64, "high": 0.68}
    one = {
        "cases": 1000,
        "groups": {"all": {"inside_68": share, "ratio": {"value": 1.03}}},
        "tests": [
            {"test": "TARP", "p_value_after_holm": 0.4},
            {"test": "SBC: joint", "p_value_after_holm": 0.003},
        ],
        "curves": [{"of": "joint", "largest_deviation": 0.031}],
    }
    found = {"conditions": {"told": told}, "calibration": {"family": one}}
    (tmp_path / "told-calibration.json").write_text(json.dumps(found), encoding="utf-8")
    text = TOOL.page(tmp_path)
    expected = "| family | 1000 | 66 (64-68) | 1.03 | 0.031 (joint) | 0.003 (SBC: joint) |"
    assert expected in text
    assert f"told {told}" in text
