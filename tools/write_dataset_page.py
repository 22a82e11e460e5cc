"""Write the statistics in docs/dataset-statistics.md from a data set.

Usage: python tools/write_dataset_page.py FOLDER [--built RECORD.json] [--entries 2000]

The record of a build, if given, has its duration: `device`, `processes`, and `seconds` of `tables`,
`explosions`, `packing` and the `whole`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molexa_core.pipeline.datasets.fit_tau import TauFit, fit_tau_folder
from molexa_core.pipeline.datasets.info import MIB, check, describe_folder, tables_of
from molexa_core.pipeline.datasets.read import data_files
from molexa_core.pipeline.datasets.recipe import recipe_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "dataset-statistics.md"
BEGIN, END = "<!-- statistics -->\n", "<!-- end of statistics -->"
ENTRIES = 2000


def table(header: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def fit_table(fit: TauFit) -> str:
    """The fit of the charge build-up."""
    rows = [
        [row.label, f"{row.residual:.4f}", f"{row.median:.4f}", f"{row.energy_ratio:.4f}"]
        for row in fit.rows
    ]
    header = ["charge build-up", "mean residual of momenta", "median", "KER / data set"]
    return (
        f"**τ = {fit.tau_fs:.1f} ± {fit.tau_error_fs:.1f} fs** from {fit.entries} entries.\n\n"
        + table(header, rows)
    )


def built_sentence(record: dict[str, Any], trajectories: float) -> str:
    """How the data set was built."""
    seconds = record["seconds"]
    rate = trajectories / seconds["explosions"] / 1e6
    return (
        f"Built in {seconds['whole']:.0f} s by {record['processes']} processes on one "
        f"{record['device']} with {record['cores']} CPU cores: tables of the nine elements "
        f"{seconds['tables']:.0f} s, explosions {seconds['explosions']:.0f} s ({rate:.1f} million "
        f"a second), packing {seconds['packing']:.0f} s.\n"
    )


def render(folder: Path, entries: int, built: Path | None) -> str:
    """Everything between the marks."""
    recipe = recipe_of(folder)
    report = check(folder)
    state = "complete and sound"
    if not report.sound:
        state = f"{len(report.missing)} are missing, {len(report.faults)} faults"
    files = data_files(folder)
    size = sum(path.stat().st_size for path in files) / MIB
    pulse = recipe.pulse
    head = (
        f"Recipe `{recipe.name}`, seed {recipe.seed}: {report.blocks} blocks, {state}. Pulse of "
        f"{pulse['photon_ev']:g} eV, {pulse['energy_mj']:g} mJ, {pulse['duration_fs']:g} fs, "
        f"{pulse['focus_um']:g} µm; transfer rule `{recipe.model['transfer']}`; "
        f"{recipe.trajectories} explosions per geometry, entries above {recipe.minimum_count}. "
        f"{size:.1f} MiB in {len(files)} files.\n"
    )
    statistics = describe_folder(folder)
    parts = [head]
    if built is not None:
        record = json.loads(built.read_text(encoding="utf-8"))
        parts.append(built_sentence(record, statistics.totals["trajectories"]))
    for title, header, rows in tables_of(statistics):
        parts.append(f"### {title[:1].upper()}{title[1:]}\n\n{table(header, rows)}")
    parts.append(f"### Charge build-up\n\n{fit_table(fit_tau_folder(folder, entries=entries))}")
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the data set")
    parser.add_argument("--built", type=Path, help="record of the build (JSON)")
    parser.add_argument("--entries", type=int, default=ENTRIES, help="of the fit of tau")
    chosen = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    text = render(chosen.folder, chosen.entries, chosen.built)
    PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.split(END)[1]}", encoding="utf-8")
    print(f"wrote the statistics of {PAGE.name}")
