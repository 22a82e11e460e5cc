"""Stored benchmark results say what was measured, where, with what, and how it scattered."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))


def test_there_are_results() -> None:
    assert RESULTS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_is_complete_and_consistent(path: Path) -> None:
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["name"] == path.stem
    assert result["question"].endswith("?")
    assert {"processor", "cores", "memory_gib"} <= set(result["machine"])
    assert {"python", "numpy", "torch"} <= set(result["versions"])
    assert result["commit"]
    measurements = [result["measured"]]
    if result["baseline"] is not None:
        measurements.append(result["baseline"])
        ratio = result["measured"]["median_s"] / result["baseline"]["median_s"]
        assert result["ratio_to_baseline"] == pytest.approx(ratio, rel=1e-3)
    for measured in measurements:
        assert len(measured["runs_s"]) >= 3
        median = statistics.median(measured["runs_s"])
        assert measured["median_s"] == pytest.approx(median, rel=1e-3)
        assert measured["spread_s"] == [min(measured["runs_s"]), max(measured["runs_s"])]
        assert measured["per_second"] == pytest.approx(result["amount"] / median, rel=1e-2)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("bench_*.py")), ids=lambda path: path.stem)
def test_every_benchmark_asks_a_question_and_stores_its_answer(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "?" in text.split('"""')[1]
    assert "store(" in text
