"""Write tables and figures of docs/accuracy-tables.md from benchmarks/results/accuracy/.

    python tools/write_accuracy_page.py

`NAME.json` is the result of `molexa evaluate --out`, `NAME.figures.json` the `figures.json` of the
same run. Missing results are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accuracy_tables import (
    ambiguity_table,
    beyond_table,
    comparison_tables,
    evaluation_tables,
    shipped_table,
    together,
)

from molexa_core.base.storage.checksums import CHECKSUM
from molexa_core.pipeline.evaluation.evaluate_weights import read_evaluation
from molexa_core.pipeline.evaluation.evaluation_drawing import draw
from molexa_core.pipeline.evaluation.evaluation_figures import read_content
from molexa_core.report.accuracy import ambiguity
from molexa_core.report.style import save_svg

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy"
PAGE = ROOT / "docs" / "accuracy-tables.md"
FIGURES = ROOT / "docs" / "figures"
LARGEST = 160_000
"""Largest size of a figure, bytes."""
START, END = "<!-- tables -->", "<!-- end of tables -->"
SETS = {
    "stage2-known-molecules": "Known molecules, new entries (the published kind of split), N < 8",
    "stage2-new-geometries": "Known molecules, geometries that are not in the training, N < 8",
    "stage2-held-out-molecules": "Molecules that are not in the training at all, N < 8",
    "stage2-eight-and-nine-atoms": "Molecules of 8 and 9 atoms, none in the training",
}
PUBLISHED = {
    "stage2-known-molecules": "0.52 / 0.98 / 2.11 / 13.97 / 38.39",
    "stage2-new-geometries": "0.52 / 0.98 / 2.11 / 13.97 / 38.39",
    "stage2-eight-and-nine-atoms": "0.66 / 1.16 / 3.43 / 14.12 / 57.91",
}
SHOWN = {
    "overview": (
        "Top: a typical structure with a small and one with a large predicted error; below each "
        "name the charges, below each structure its predicted error, mean distance and angle "
        "error. Bottom: errors of all molecules against the predicted error (logarithmic colours); "
        "dash-dotted and dashed for diatomics: c/KER with c = 1 and fitted. What lies beyond an "
        "axis is counted at its end."
    ),
    "true-and-predicted": "Predicted against true distances and angles.",
    "errors-by-size": "Errors by number of atoms with their 95 % intervals.",
    "reliability": (
        "Left: true against predicted error, tenths of the molecules. Right: share of the "
        "coordinates inside the intervals; bands: 3 points about 68 and 95 %."
    ),
    "geometries": (
        "Geometries of one molecule, from the best to the worst reconstruction: what the "
        "paper's figure 4 shows for cyclobutene."
    ),
}


def main() -> None:
    """Replace the text between the marks, and the figures."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(f"{before}{START}\n\n{content()}\n{END}{after}", encoding="utf-8")


def content() -> str:
    """Everything between the marks as Markdown."""
    parts = []
    for name, title in SETS.items():
        if (values := _read(name)) is not None:
            published = PUBLISHED.get(name, "")
            parts.append(evaluation_tables(title, values, published, _figures(name)))
    for name, write in (
        ("compare-training", comparison_tables),
        ("shipped-molecules", shipped_table),
    ):
        if (values := _read(name)) is not None:
            parts.append(write(values))
    beyond = {
        name: values
        for name in ("beyond-training", "beyond-training-stage2")
        if (values := _read(name)) is not None
    }
    if beyond:
        parts.append(beyond_table(beyond, _read("shipped-molecules-large")))
    if (values := _read("ambiguity")) is not None:
        parts.append(ambiguity_table(values, _ambiguity_figure(values)))
    return "\n".join(parts)


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_text("utf-8"))
    return read_evaluation(path) if CHECKSUM in values else values


def _figures(name: str) -> dict[str, str]:
    """Markdown of the figures of a set by their names; empty if their values are missing."""
    values = RESULTS / f"{name}.figures.json"
    if not values.is_file():
        return {}
    prefix = f"accuracy-{name}-"
    found = {}
    for path in draw(read_content(values), FIGURES, prefix=prefix):
        if path.stat().st_size > LARGEST:
            print(f"{path.name} has {path.stat().st_size} bytes, above {LARGEST}")
        shown = path.stem.removeprefix(prefix)
        found[shown] = f"![{shown.replace('-', ' ')}](figures/{path.name})\n\n*{SHOWN[shown]}*\n"
    return found


def _ambiguity_figure(values: dict[str, Any]) -> str:
    """Draw the figure of all molecules together and give its Markdown."""
    curves: dict[str, list[tuple[float, float, int]]] = {}
    pairs: dict[str, list[tuple[float, float]]] = {}
    for row in together(values["rows"]):
        name = row["sampler"]
        if row["kind"] == "training":
            curves[name] = [
                (one["mean_share"], one["is_the_truth"], one["modes"]) for one in row["reliability"]
            ]
        elif row.get("pairs"):
            pairs[name] = [(expected, seen) for expected, seen in row["pairs"]]
    path = FIGURES / "accuracy-ambiguity.svg"
    save_svg(ambiguity(curves, pairs), path)
    told = (
        "Left: of all modes with this share of the samples, so many are the truth (bars: standard "
        "errors). Right: box molecules, share of the samples at the true mode against its "
        "probability by Bayes' rule."
    )
    return f"![shares of samples against probabilities](figures/{path.name})\n\n*{told}*\n"


if __name__ == "__main__":
    main()
