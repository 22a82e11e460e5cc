"""docs/accuracy-tables.md says what the stored results say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.delitem(sys.modules, "accuracy_tables", raising=False)
    import accuracy_tables

    return accuracy_tables


@pytest.fixture
def page() -> str:
    return (ROOT / "docs" / "accuracy-tables.md").read_text(encoding="utf-8")


def _result(name: str) -> dict[str, object]:
    values: dict[str, object] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return values


@pytest.mark.parametrize("path", sorted(RESULTS.glob("stage2-*.json")), ids=lambda p: p.stem)
def test_every_set_is_on_the_page(tables: ModuleType, page: str, path: Path) -> None:
    if path.name.endswith(".figures.json"):
        return
    text = tables.evaluation_tables("", json.loads(path.read_text("utf-8")), "", {})
    missing = [line for line in text.splitlines() if line.startswith("|") and line not in page]
    assert not missing, "run: python tools/write_accuracy_page.py"


def test_real_molecules_are_on_the_page(tables: ModuleType, page: str) -> None:
    assert tables.shipped_table(_result("shipped-molecules")).splitlines()[0] in page
    large = _result("shipped-molecules-large")
    beyond = tables.beyond_table({"one": _result("beyond-training")}, large)
    rows = [line for line in beyond.splitlines() if line.startswith("| 1,3-cyclohexadiene")]
    assert rows
    assert all(row in page for row in rows)
    assert "but no training had more than 9" in page


def test_figures_of_the_page_are_there_and_light(page: str) -> None:
    names = {
        line.split("](figures/")[1].split(")")[0] for line in page.splitlines() if "](fi" in line
    }
    for name in names:
        assert 0 < (ROOT / "docs" / "figures" / name).stat().st_size < 160_000


def test_comparison_of_trainings(tables: ModuleType) -> None:
    ratio = {"mae": {"ratio": 0.4, "low": 0.35, "high": 0.45}}
    error = {"mae": {"mean": 0.25}, "mean_distance_error": {"mean": 0.5}}
    values = {
        "seconds": 150,
        "data": "stage2",
        "split": "by molecule",
        "entries": 4096,
        "comparisons": [
            {
                "what": "molexa to paper, two stages",
                "run": "M12",
                "relative_to": "P12",
                "bar": "at most 0.6",
                tables.ONE: {"test": ratio},
            }
        ],
        "runs": {
            "M12": {
                "what": "molexa, both",
                "training": {"steps": 10, "molecules": 40960},
                "errors": {"test": {tables.ONE: error}},
            }
        },
        "open": {"P2s": "not finished"},
    }
    text = tables.comparison_tables(values)
    assert "(`M12`/`P12`) | new molecules | 0.400 (0.350–0.450) |  |  | at most 0.6 |" in text
    assert "| `M12`: molexa, both | 10 | 40960 |  | 0.250 / 0.500 |  |  |" in text
    assert "Not finished: `P2s`: not finished." in text


def test_ambiguity_of_several_sizes_is_pooled_by_modes(tables: ModuleType) -> None:
    def row(atoms: int, cases: int, modes: int, true: float) -> dict[str, object]:
        group = {"modes": modes, "mean_share": 0.5, "is_the_truth": true}
        return {
            "kind": "training", "sampler": "5", "atoms": atoms, "cases": cases, "looked_at": 64,
            "modes": 2.0, "truth_drawn": 1.0, "truth_and_another_drawn": true,
            "share_at_truth": 0.5, "share_between": 0.0, "reliability": [group],
        }  # fmt: skip

    (whole,) = tables.together([row(3, 10, 10, 1.0), row(4, 30, 30, 0.2)])
    assert whole["cases"] == 40
    assert whole["reliability"] == [{"modes": 40, "mean_share": 0.5, "is_the_truth": 0.4}]
    assert whole["truth_and_another_drawn"] == pytest.approx(0.4)
    assert whole["calibration_error"] == pytest.approx(0.1)
