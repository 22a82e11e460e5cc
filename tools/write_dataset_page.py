"""Write the statistics in docs/dataset.md from a data set.

Usage: python tools/write_dataset_page.py FOLDER [ENTRIES OF THE FIT]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from molexa_core.base.recipe import recipe_of
from molexa_core.pipeline.dataset_info import check, describe_folder, tables_of
from molexa_core.pipeline.fit_tau import TauFit, fit_tau_folder

PAGE = Path(__file__).resolve().parent.parent / "docs" / "dataset.md"
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


def render(folder: Path, entries: int) -> str:
    """Everything between the marks."""
    recipe = recipe_of(folder)
    report = check(folder)
    state = "complete and sound" if report.sound else f"{len(report.missing)} blocks are missing"
    pulse = recipe.pulse
    head = (
        f"Recipe `{recipe.name}`, seed {recipe.seed}: {report.blocks} blocks, {state}. Pulse of "
        f"{pulse['photon_ev']:g} eV, {pulse['energy_mj']:g} mJ, {pulse['duration_fs']:g} fs, "
        f"{pulse['focus_um']:g} µm; transfer rule `{recipe.model['transfer']}`; "
        f"{recipe.trajectories} explosions per geometry, entries above {recipe.minimum_count}.\n"
    )
    parts = [head]
    for title, header, rows in tables_of(describe_folder(folder)):
        parts.append(f"### {title[:1].upper()}{title[1:]}\n\n{table(header, rows)}")
    parts.append(f"### Charge build-up\n\n{fit_table(fit_tau_folder(folder, entries=entries))}")
    return "\n".join(parts)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    text = render(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else ENTRIES)
    PAGE.write_text(f"{before}{BEGIN}{text}{END}{rest.split(END)[1]}", encoding="utf-8")
    print(f"wrote the statistics of {PAGE.name}")
