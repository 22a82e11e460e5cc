"""Draw the figures of an evaluation from stored values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from molexa_core.base.storage.files import make_folder
from molexa_core.base.storage.provenance import Provenance
from molexa_core.report.accuracy_content import AccuracyContent

FIGURES: Final = ("overview", "true-and-predicted", "errors-by-size", "reliability", "geometries")
"""Names of the figures, without suffix."""


def draw(
    content: AccuracyContent,
    folder: Path | str,
    *,
    prefix: str = "",
    record: Provenance | None = None,
) -> list[Path]:
    """Write the figures as SVG files and return their paths.

    Args:
        content: the values to show.
        folder: created if it does not exist.
        prefix: prefix of the file names.
        record: provenance, written into the files.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    # matplotlib is imported only if figures are requested.
    from molexa_core.report import accuracy, overlays  # noqa: PLC0415
    from molexa_core.report.style import save_svg  # noqa: PLC0415

    folder = Path(folder)
    make_folder(folder)
    drawings: tuple[Callable[[], str], ...] = (
        lambda: accuracy.overview(content),
        lambda: accuracy.true_against_predicted(content.sizes),
        lambda: accuracy.errors_by_size(content.rows),
        lambda: accuracy.reliability(content.sizes, content.coverage),
        lambda: overlays.geometries(content.geometries),
    )
    figures = dict(zip(FIGURES, drawings, strict=True))
    if not content.geometries:
        del figures[FIGURES[-1]]
    paths = []
    for name, drawn in figures.items():
        paths.append(folder / f"{prefix}{name}.svg")
        save_svg(drawn(), paths[-1], record)
    return paths
