"""Write the tables of docs/accuracy.md from benchmarks/results/accuracy/*.json.

python tools/write_accuracy_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accuracy"
PAGE = ROOT / "docs" / "accuracy.md"
START, END = "<!-- tables -->", "<!-- end of tables -->"
SETS = {
    "stage2-known-molecules": "Known molecules, new entries (the published kind of split), N < 8",
    "stage2-held-out-molecules": "Molecules that are not in the training at all, N < 8",
    "stage2-eight-and-nine-atoms": "Molecules of 8 and 9 atoms, none in the training",
}
PUBLISHED = {
    "stage2-known-molecules": "0.52 / 0.98 / 2.11 / 13.97 / 38.39",
    "stage2-eight-and-nine-atoms": "0.66 / 1.16 / 3.43 / 14.12 / 57.91",
}
MEASURES = (
    "mae",
    "mean_distance_error",
    "max_distance_error",
    "mean_angle_error",
    "max_angle_error",
)


def main() -> None:
    """Replace what stands between the marks."""
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    PAGE.write_text(f"{before}{START}\n\n{tables()}\n{END}{after}", encoding="utf-8")


def tables() -> str:
    """All tables as Markdown."""
    parts = []
    for name, title in SETS.items():
        path = RESULTS / f"{name}.json"
        if path.is_file():
            parts.append(_evaluation(title, json.loads(path.read_text("utf-8")), name))
    path = RESULTS / "shipped-molecules.json"
    if path.is_file():
        parts.append(_shipped(json.loads(path.read_text("utf-8"))))
    path = RESULTS / "ambiguity.json"
    if path.is_file():
        parts.append(_ambiguity(json.loads(path.read_text("utf-8"))))
    return "\n".join(parts)


def _evaluation(title: str, values: dict[str, Any], name: str) -> str:
    given = values["conditions"]
    lines = [f"### {title}", ""]
    lines.append(
        f"Weights `{given['weights']}`, {given['entries']} entries drawn at random, "
        f"{given['sampler_steps']} sampler steps, {given['samples']} samples, "
        f"seed {given['seed']}. In brackets the 95 % interval of the mean, geometries resampled."
    )
    lines += [
        "",
        "| answer | MAE | mean DE | max DE | mean AE | max AE |",
        "|---|---|---|---|---|---|",
    ]
    if name in PUBLISHED:
        numbers = PUBLISHED[name].split(" / ")
        lines.append(f"| published network on its own data | {' | '.join(numbers)} |")
    for method, groups in values["errors"].items():
        if "all" in groups:
            lines.append(f"| {method} | {' | '.join(_cells(groups['all']))} |")
    lines += ["", "By number of atoms, one sample:", ""]
    lines += ["| atoms | entries | MAE | median | mean DE | mean AE |", "|---|---|---|---|---|---|"]
    for group, row in values["errors"]["one sample"].items():
        if group.isdigit():
            angle = f"{row['mean_angle_error']['mean']:.2f}" if "mean_angle_error" in row else ""
            distance = f"{row['mean_distance_error']['mean']:.3f}"
            lines.append(
                f"| {group} | {row['entries']} | {_with_interval(row['mae'])} "
                f"| {row['mae']['median']:.3f} | {distance} | {angle} |"
            )
    pairs = values["diatomics"]
    if pairs:
        told = (
            f"Bond lengths of {pairs['entries']:.0f} diatomics: network {pairs['network']:.3f}, "
            f"q1 q2/KER {pairs['c / KER with c = 1']:.3f}, c q1 q2/KER with the best "
            f"c = {pairs['c fitted']:.3f} {pairs['c / KER with c fitted']:.3f} bohr."
        )
        lines += ["", told]
    if values["spread_bohr"] is not None:
        lines += ["", f"Samples of one entry scatter by {values['spread_bohr']:.3f} bohr."]
    if values["coverage"]:
        lines += ["", "| atoms | in the 68 % interval | in the 95 % interval |", "|---|---|---|"]
        lines += [
            f"| {group} | {100 * low:.1f} % | {100 * high:.1f} % |"
            for group, (low, high) in values["coverage"].items()
        ]
    return "\n".join([*lines, ""])


def _cells(row: dict[str, Any]) -> list[str]:
    cells = []
    for name in MEASURES:
        if name not in row:
            cells.append("")
        elif name == "mae":
            cells.append(_with_interval(row[name]))
        else:
            cells.append(f"{row[name]['mean']:.3f}")
    return cells


def _with_interval(one: dict[str, float]) -> str:
    return f"{one['mean']:.3f} ({one['low']:.3f}–{one['high']:.3f})"


def _shipped(values: dict[str, Any]) -> str:
    given = values["conditions"]
    lines = ["### Shipped molecules, classical model", ""]
    lines.append(
        f"{given['molecules']} {given['what']}. Weights `{given['weights']}`, trained on random "
        f"clusters; {given['samples']} samples, {given['search']} further starts."
    )
    methods = ("one sample", "best closure of 8", "molexa reconstruct")
    methods += ("nearest of all listed structures",)
    lines += ["", "| molecules | " + " | ".join(f"{name}: mean / median" for name in methods)]
    lines[-1] += " | structures that fit |"
    lines.append("|---" * (len(methods) + 2) + "|")
    for group, row in values["rows"].items():
        cells = [f"{row[name]['mean']:.3f} / {row[name]['median']:.4f}" for name in methods]
        fits = f"{row['mean_structures_that_fit']:.1f}"
        lines.append(f"| {group} ({row['molecules']}) | {' | '.join(cells)} | {fits} |")
    wrong = ", ".join(name.replace("_", " ") for name in values["wrong"])
    lines += ["", f"More than 0.05 bohr off ({len(values['wrong'])}): {wrong}.", ""]
    return "\n".join(lines)


def _ambiguity(values: dict[str, Any]) -> str:
    lines = ["### Does the sampler represent ambiguity?", ""]
    lines.append(
        "| atoms | steps | molecules with several solutions drawn | truth among them "
        "| of solutions with share 5–20 / 20–40 / 40–60 / 60–80 / 80–95 / above 95 %, "
        "this many % are the truth |"
    )
    lines.append("|---|---|---|---|---|")
    for row in values["rows"]:
        cells = []
        for low, high in ((0.05, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 0.95), (0.95, 2)):
            found = [one for one in row["reliability"] if low < one["mean_share"] <= high]
            cells.append(f"{100 * found[0]['is_the_truth']:.0f}" if found else "–")
        lines.append(
            f"| {row['atoms']} | {row['steps']} | {100 * row['several_solutions']:.0f} % "
            f"| {100 * row['truth_among_them']:.0f} % | {' / '.join(cells)} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
