"""The page of a movie: a viewer with a slider, distances and angles over the frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from molexa_core import __version__
from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.storage.resources import shipped_folder
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.report.movie.movie_content import Curve, MovieContent
from molexa_core.report.structure import ball_radius
from molexa_core.report.style import ACCENT, INK, LINE, MUTED, as_uri, element_colour, figure, grid
from molexa_core.report.text_tables import with_uncertainty

TEMPLATE: Final = "movie.html.j2"
_VIEWER: Final = Path(__file__).resolve().parents[1] / "vendor" / "3Dmol-min.js"
_COLOURS: Final = (LINE, ACCENT, "#6f9a3c", "#9b7bb5", "#c9a227", "#4fa5a5", INK, MUTED)


def curves(content: MovieContent) -> str:
    """Distances and angles with error bars against the delay; known ones dashed."""
    panels = [(content.distances, BOHR_ANGSTROM, "distance (Å)")]
    if content.angles:
        panels.append((content.angles, 1.0, "angle (degree)"))
    with figure(4.6 * len(panels), 3.4, ncols=len(panels), squeeze=False) as (drawing, cells):
        for axes, (rows, factor, label) in zip(cells[0], panels, strict=True):
            _panel(axes, content.at, rows, factor)
            axes.set_ylabel(label)
            axes.set_xlabel(f"delay ({content.unit})" if content.unit else "frame")
        return as_uri(drawing)


def _panel(axes: Axes, at: Sequence[float], rows: Sequence[Curve], factor: float) -> None:
    for row, colour in zip(rows, _COLOURS, strict=False):
        values = factor * np.array(row.values)
        half = np.array([np.nan if one is None else factor * one for one in row.half_widths])
        axes.plot(at, values, "o-", color=colour, ms=3, lw=1.0, label=row.name)
        if np.isfinite(half).any():
            axes.errorbar(
                at, values, np.nan_to_num(half), fmt="none", ecolor=colour, elinewidth=0.8
            )
        if row.known is not None:
            axes.plot(at, factor * np.array(row.known), "--", color=colour, lw=0.8)
    if rows:
        axes.legend(fontsize=6.5, ncols=2)
    grid(axes)


def scenes(content: MovieContent) -> dict[str, Any]:
    """What the viewer draws, in angstrom."""

    def at(positions: Any) -> list[list[float]]:
        return [[round(float(x) * BOHR_ANGSTROM, 4) for x in row] for row in positions]

    return {
        "atoms": [
            {"name": name, "colour": element_colour(symbol), "radius": ball_radius(symbol)}
            for name, symbol in zip(content.names, content.symbols, strict=True)
        ],
        "frames": [
            {
                "label": f"{content.at[number]:g} {content.unit}"
                if content.unit
                else str(number + 1),
                "source": one.source,
                "at": at(one.positions),
                "sticks": [list(pair) for pair in one.bonds],
                "uncertainty": None
                if one.uncertainty is None
                else [
                    round(float(np.sqrt((row**2).mean())) * BOHR_ANGSTROM, 4)
                    for row in one.uncertainty
                ],
                "known": None if one.known is None else at(one.known),
            }
            for number, one in enumerate(content.frames)
        ],
    }


def viewer_script() -> str:
    """The script of the molecule viewer.

    Raises:
        InputFileError: the installation lacks it.
    """
    if not _VIEWER.is_file():
        raise InputFileError(
            "the molecule viewer is missing from the installation",
            where=_VIEWER,
            do="Install molexa again.",
        )
    return _VIEWER.read_text(encoding="utf-8")


def page(content: MovieContent, drawing: str, made: Provenance) -> str:
    """The HTML text of the page, complete in itself.

    Args:
        content: the frames.
        drawing: the figure as a data URI.
        made: how the movie was made.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = [
        (
            f"{content.at[number]:g} {content.unit}" if content.unit else str(number + 1),
            [_cell(one, number, BOHR_ANGSTROM) for one in content.distances]
            + [_cell(one, number, 1.0) for one in content.angles],
        )
        for number in range(len(content.frames))
    ]
    header = [f"{one.name} (Å)" for one in content.distances]
    header += [f"{one.name} (°)" for one in content.angles]
    return environment.get_template(TEMPLATE).render(
        scene=scenes(content),
        figure=drawing,
        header=header,
        rows=rows,
        known=any(one.known is not None for one in content.frames),
        uncertain=any(one.uncertainty is not None for one in content.frames),
        record=made.to_json(),
        version=__version__,
        viewer=Markup(viewer_script()),  # noqa: S704  vendored, not input
    )


def _cell(curve: Curve, number: int, factor: float) -> str:
    half = curve.half_widths[number]
    if half is None:
        return (
            f"{factor * curve.values[number]:.3f}"
            if factor != 1.0
            else f"{curve.values[number]:.1f}"
        )
    return with_uncertainty(factor * curve.values[number], factor * half)
