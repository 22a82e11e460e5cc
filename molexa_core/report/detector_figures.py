"""Figures of a detector: its calibration, and the resolution of two close hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import FloatArray
from molexa_core.report.style import ACCENT, LINE, MUTED, as_uri, axis_label, figure, grid, save_svg

_COLOURS = (LINE, ACCENT, MUTED, "#4d9a3f", "#6f2f8e")


def calibration_svg(
    path: Path | str,
    spectra: Mapping[str, Spectrum],
    curves: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]],
    record: Provenance | None = None,
) -> None:
    """Write the figure of a detector calibration.

    Top: time sums and u - v - w, before and after. Bottom: corrections as functions of position.

    Args:
        path: SVG file.
        spectra: histograms named `NAME before` and `NAME after`.
        curves: corrections named `time sum LAYER` (ns) and `position LAYER` (mm): plain position
            in mm, correction, standard error.
        record: how it was made; written into the file.

    Raises:
        OutputError: the file cannot be written.
    """
    names = [name.removesuffix(" before") for name in spectra if name.endswith(" before")]
    columns = max(len(names), 2)
    with figure(2.5 * columns, 4.6, nrows=2, ncols=columns) as (drawing, axes):
        for column in range(columns):
            if column < len(names):
                _before_after(axes[0, column], spectra, names[column])
            else:
                axes[0, column].set_visible(False)
        kinds = [
            kind for kind in ("time sum", "position") if any(k.startswith(kind) for k in curves)
        ]
        for column in range(columns):
            if column < len(kinds):
                _corrections(axes[1, column], curves, kinds[column])
            else:
                axes[1, column].set_visible(False)
        save_svg(as_uri(drawing), path, record)


def separation_svg(
    path: Path | str,
    distance: FloatArray,
    resolved: Sequence[tuple[str, FloatArray]],
) -> None:
    """Write the share of resolved hit pairs as a function of their distance.

    Args:
        path: SVG file.
        distance: (points) mm.
        resolved: label and (points) share for each curve.
    """
    with figure(5.6, 3.4) as (drawing, axes):
        for colour, (label, share) in zip(_COLOURS * 3, resolved, strict=False):
            axes.plot(distance, 100.0 * share, color=colour, label=label, linewidth=1.4)
        axes.axhline(90.0, color=MUTED, linewidth=0.7, linestyle=":")
        axes.set_xlabel("distance of the two hits (mm)")
        axes.set_ylabel("both found (%)")
        axes.set_ylim(-2, 104)
        axes.set_xlim(0, float(distance[-1]))
        axes.legend(loc="lower right")
        grid(axes)
        save_svg(as_uri(drawing), path)


def _before_after(axes: Any, spectra: Mapping[str, Spectrum], name: str) -> None:
    for when, colour in (("before", MUTED), ("after", LINE)):
        spectrum = spectra[f"{name} {when}"]
        axes.stairs(spectrum.counts, spectrum.edges[0], color=colour, label=when, linewidth=1.1)
    axes.set_title(name)
    axes.set_xlabel(axis_label("deviation", spectra[f"{name} after"].units[0]))
    axes.set_yticks([])
    axes.legend(loc="upper right", handlelength=1.0)


def _corrections(
    axes: Any, curves: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]], kind: str
) -> None:
    chosen = {name: curve for name, curve in curves.items() if name.startswith(kind)}
    for colour, (name, (place, value, error)) in zip(_COLOURS, chosen.items(), strict=False):
        axes.plot(place, value, color=colour, label=name.removeprefix(kind).strip(), linewidth=1.2)
        known = np.isfinite(error)
        low, high = value[known] - error[known], value[known] + error[known]
        axes.fill_between(place[known], low, high, color=colour, alpha=0.2, linewidth=0)
    axes.set_title(f"{kind} correction")
    axes.set_xlabel("position on the layer (mm)")
    axes.set_ylabel("ns" if kind == "time sum" else "mm")
    axes.legend(loc="upper right", handlelength=1.0)
    grid(axes)
