"""Figures of an evaluation, after figure 2 of Li et al., Nat. Commun. 2026.

Each function takes plain tables and returns an SVG data URI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from molexa_core.base.spectrum import Spectrum
from molexa_core.report.accuracy_content import AccuracyContent, OneSize
from molexa_core.report.overlays import draw_overlay, half_width, overlay_legend
from molexa_core.report.style import (
    ACCENT,
    FILL,
    GRID,
    INK,
    LINE,
    MUTED,
    as_uri,
    axis_label,
    figure,
    grid,
    map_colours,
)

LEVELS: Final = (68.0, 95.0)
"""Intervals whose coverage is shown, %."""
_METHOD_COLOURS: Final = (LINE, ACCENT, INK, "#6f9a3c", MUTED, "#c9a227", "#9b7bb5", "#4fa5a5")
_PANELS: Final = {
    "mae": "mean absolute error (bohr)",
    "mean_distance_error": "mean distance error (bohr)",
    "mean_angle_error": "mean angle error (degree)",
}


def overview(content: AccuracyContent) -> str:
    """Two example structures, and true against predicted errors, for each number of atoms."""
    sizes = content.sizes
    with figure(
        1.38 * max(len(sizes), 3) + 0.6,
        5.7,
        nrows=4,
        ncols=len(sizes),
        squeeze=False,
        gridspec_kw={"height_ratios": [1.0, 1.0, 1.05, 1.05]},
    ) as (drawing, cells):
        half = 1.1 * max(
            half_width(example) for size in sizes for example in (size.certain, size.uncertain)
        )
        for column, size in enumerate(sizes):
            draw_overlay(cells[0][column], size.certain, half)
            draw_overlay(cells[1][column], size.uncertain, half)
            title = f"{size.atoms} atoms ({size.entries})\n{size.certain.label}"
            cells[0][column].set_title(title, fontsize=6.5, pad=2)
            _map(cells[2][column], size.distance_errors, first=column == 0)
            if size.atoms == 2:
                for value, style in zip(content.classical, ("-.", "--"), strict=False):
                    cells[2][column].axhline(value, color=ACCENT, lw=0.8, ls=style)
            if size.angle_errors is None:
                cells[3][column].set_axis_off()
            else:
                first = column == 0 or sizes[column - 1].angle_errors is None
                _map(cells[3][column], size.angle_errors, first=first)
            for row in (2, 3):
                # Sizes share their axes: one label for all keeps the file small.
                lowest = row == 3 or size.angle_errors is None
                cells[row][column].set_xlabel("")
                cells[row][column].tick_params(labelbottom=lowest)
        drawing.supxlabel("predicted error (bohr)", fontsize=8, color=INK)
        symbols = [s for size in sizes for s in (*size.certain.symbols, *size.uncertain.symbols)]
        drawing.legend(
            handles=overlay_legend(symbols),
            loc="outside upper center",
            ncols=10,
            handletextpad=0.2,
            columnspacing=1.0,
        )
        return as_uri(drawing)


def true_against_predicted(sizes: Sequence[OneSize]) -> str:
    """Predicted against true interatomic distances and angles, a column for each size."""
    with figure(1.38 * max(len(sizes), 3) + 0.6, 3.3, nrows=2, ncols=len(sizes), squeeze=False) as (
        drawing,
        cells,
    ):
        for column, size in enumerate(sizes):
            cells[0][column].set_title(f"{size.atoms} atoms", fontsize=8)
            _map(cells[0][column], size.distances, first=column == 0, diagonal=True)
            if size.angles is None:
                cells[1][column].set_axis_off()
            else:
                first = column == 0 or sizes[column - 1].angles is None
                _map(cells[1][column], size.angles, first=first, diagonal=True)
        return as_uri(drawing)


def errors_by_size(rows: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Three mean errors with their 95 % intervals against the number of atoms, by method.

    Args:
        rows: statistics of each error by method and number of atoms
            (`pipeline.evaluation.evaluate`).
    """
    with figure(9.4, 3.3, ncols=len(_PANELS)) as (drawing, panels):
        for axes, (measure, label) in zip(panels, _PANELS.items(), strict=True):
            for colour, (method, groups) in zip(_METHOD_COLOURS, rows.items(), strict=False):
                sizes = sorted(int(name) for name in groups if name.isdigit())
                known = [n for n in sizes if measure in groups[str(n)]]
                values = [groups[str(n)][measure] for n in known]
                mean = np.array([statistics["mean"] for statistics in values])
                low = mean - np.array([statistics["low"] for statistics in values])
                high = np.array([statistics["high"] for statistics in values]) - mean
                bars = np.maximum([low, high], 0.0)
                axes.errorbar(
                    known, mean, yerr=bars, label=method, color=colour, marker="o", ms=3, lw=1.0
                )
            if measure != "mean_angle_error":
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_minor_formatter("")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_xlabel("atoms")
            axes.set_ylabel(label)
            grid(axes)
        handles, labels = panels[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside upper center", ncols=4)
        return as_uri(drawing)


def reliability(sizes: Sequence[OneSize], coverage: Mapping[str, Sequence[float]]) -> str:
    """True against predicted errors in tenths of the molecules, and coverage of the intervals.

    Args:
        sizes: by number of atoms.
        coverage: by number of atoms and `all`, shares inside the intervals of `LEVELS`; the
            second panel is left out where there are none.
    """
    panels = 2 if coverage else 1
    with figure(3.9 * panels, 3.4, ncols=panels, squeeze=False) as (drawing, cells):
        axes = cells[0][0]
        colours = map_colours()(np.linspace(0.35, 0.95, max(len(sizes), 2)))
        low, high = np.inf, 0.0
        for colour, size in zip(colours, sizes, strict=False):
            x, y = np.maximum(size.tenths, 1e-4)
            axes.plot(x, y, marker="o", ms=3, lw=0.8, color=colour, label=f"{size.atoms} atoms")
            low = min(low, float(x.min()), float(y.min()))
            high = max(high, float(x.max()), float(y.max()))
        axes.plot([low, high], [low, high], color=ACCENT, lw=0.8, ls="--", zorder=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter("")
        axes.set_xlabel("predicted error, mean of a tenth (bohr)")
        axes.set_ylabel("mean absolute error (bohr)")
        axes.legend(loc="lower right", handlelength=1.2)
        grid(axes)
        if coverage:
            _coverage(cells[0][1], coverage)
        return as_uri(drawing)


def ambiguity(
    curves: Mapping[str, Sequence[tuple[float, float, int]]],
    pairs: Mapping[str, Sequence[tuple[float, float]]],
) -> str:
    """Calibration of the sampler: shares of samples against probabilities.

    Args:
        curves: for each sampler and group of modes: mean share of the samples in the mode, how
            often the mode is the true structure, number of modes.
        pairs: for each sampler, for molecules of known probability density: probability of the
            true mode by Bayes' rule, share of the samples in it.
    """
    colours = dict(zip(curves, _METHOD_COLOURS, strict=False))
    with figure(7.8, 3.5, ncols=2) as (drawing, (left, right)):
        for axes in (left, right):
            axes.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls="--", zorder=1)
            axes.set_aspect("equal")
            axes.set_xlim(-0.03, 1.03)
            axes.set_ylim(-0.03, 1.03)
            grid(axes)
        for name, groups in curves.items():
            share, frequency, modes = np.array(groups, dtype=float).T
            error = np.sqrt(np.maximum(frequency * (1 - frequency), 0.25 / modes) / modes)
            left.errorbar(
                share,
                frequency,
                yerr=error,
                marker="o",
                ms=3,
                lw=1,
                color=colours[name],
                label=name,
            )
        for name, points in pairs.items():
            expected, seen = np.array(points, dtype=float).T
            right.scatter(expected, seen, s=9, color=colours.get(name, INK), label=name, alpha=0.8)
        left.set_xlabel("share of the samples at a mode")
        left.set_ylabel("how often the mode is the truth")
        right.set_xlabel("probability of the true mode (Bayes)")
        right.set_ylabel("share of the samples at it")
        left.legend(loc="upper left")
        return as_uri(drawing)


def _coverage(axes: Axes, coverage: Mapping[str, Sequence[float]]) -> None:
    names = list(coverage)
    places = np.arange(len(names))
    for level, colour, place in zip(LEVELS, (LINE, INK), (0, 1), strict=True):
        values = [100.0 * coverage[name][place] for name in names]
        axes.axhspan(level - 3.0, level + 3.0, color=FILL, lw=0)
        axes.axhline(level, color=colour, lw=0.8, ls="--")
        axes.plot(places, values, "o", ms=4, color=colour, label=f"{level:g} % interval")
    axes.set_xticks(places, names)
    axes.set_xlabel("atoms")
    axes.set_ylabel("coordinates inside (%)")
    low = min(min(shares) for shares in coverage.values())
    axes.set_ylim(min(50.0, 100.0 * low - 5.0), 101.0)
    axes.legend(loc="best")
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def _map(axes: Axes, spectrum: Spectrum, *, first: bool, diagonal: bool = False) -> None:
    """A two-dimensional histogram; only the first of a row has a label at its vertical axis."""
    counts = np.asarray(spectrum.counts, dtype=float)
    across, up = spectrum.edges
    # An image of one pixel a bin is a hundredth of a mesh in the file.
    axes.imshow(
        np.ma.masked_less_equal(counts.T, 0),
        origin="lower",
        extent=(across[0], across[-1], up[0], up[-1]),
        aspect="auto",
        interpolation="none",
        cmap=map_colours(),
        norm=LogNorm(0.5, max(float(counts.max()), 1.0)),
    )
    low = max(float(edges[0]) for edges in spectrum.edges)
    high = min(float(edges[-1]) for edges in spectrum.edges)
    if diagonal:
        axes.plot([low, high], [low, high], color=ACCENT, lw=0.6, ls="--")
        axes.set_aspect("equal")
    axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]), fontsize=7)
    if first:
        label = axis_label(spectrum.labels[1], spectrum.units[1])
        axes.set_ylabel(label.replace(" error (", "\nerror ("), fontsize=7)
    else:
        axes.tick_params(labelleft=False)
    axes.tick_params(labelsize=7)
    axes.locator_params(nbins=3)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
