"""Figures of several results side by side: comparisons, series, maps in standard errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import BoolArray, FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.report.paper_figures import filled
from molexa_core.report.plot_style import pretty_label
from molexa_core.report.style import ACCENT, FILL, LINE, MUTED, grid

Line = tuple[str, FloatArray, FloatArray]
"""Name, values and errors over one axis."""
_SIGMAS: Final = 8.0
"""Range of the colours of a map, in standard errors."""


def points(figure: Any, at: FloatArray, across: str, unit: str, lines: Sequence[Line]) -> None:
    """Values with their errors over one axis, such as lengths against the delay."""
    axes = figure.subplots()
    for number, (name, value, error) in enumerate(lines):
        axes.errorbar(
            at, value, yerr=np.where(np.isfinite(error), error, 0.0), fmt="o-", markersize=3,
            linewidth=0.8, elinewidth=0.8, capsize=1.5, color=f"C{number}", label=name,
        )  # fmt: skip
    axes.set_xlabel(across)
    axes.set_ylabel(f"value ({unit})" if unit != "Å" else "distance (Å)")
    if lines:
        axes.legend(loc="best")
    grid(axes)


def beside(figure: Any, first: Spectrum, second: Spectrum, pull: Spectrum) -> None:
    """Two histograms over the same bins, and their pulls below; two maps give the map of pulls."""
    if first.counts.ndim == 2:
        _signed(figure, pull, "pull")
        return
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges, middle = first.edges[0], first.centres[0]
    above.stairs(first.counts, edges, color=FILL, fill=True)
    above.stairs(first.counts, edges, color=LINE, linewidth=0.8, label="first")
    above.stairs(second.counts, edges, color=ACCENT, linewidth=0.9, label="second, scaled")
    for one, colour in ((first, LINE), (second, ACCENT)):
        if one.errors is not None:
            low, high = one.counts - one.errors, one.counts + one.errors
            above.vlines(middle, low, high, color=colour, linewidth=0.5)
    above.set_ylabel("counts per bin")
    above.legend(loc="best")
    below.axhspan(-1.0, 1.0, color=FILL, linewidth=0)
    below.plot(middle, pull.counts, "o", markersize=2.5, color=MUTED)
    below.set_ylabel("pull")
    below.set_xlabel(pretty_label(first.labels[0], first.units[0]))
    there = np.nan_to_num(first.counts) + np.nan_to_num(second.counts)
    above.set_xlim(*filled(there, edges))
    for axes in (above, below):
        grid(axes)


def in_errors(figure: Any, spectrum: Spectrum) -> None:
    """A map of covariances in its standard errors: red where ions come from the same explosion."""
    errors = np.ones(spectrum.counts.shape) if spectrum.errors is None else spectrum.errors
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.where(errors > 0.0, spectrum.counts / errors, 0.0)
    label = "covariance in its standard errors"
    _signed(figure, Spectrum(shown, spectrum.edges, spectrum.labels, spectrum.units), label)


def pulls(
    figure: Any, names: Sequence[str], difference: FloatArray, error: FloatArray, length: BoolArray
) -> None:
    """Differences of two structures: lengths (bohr) left, angles (degrees) right.

    Args:
        figure: empty.
        names: of each quantity.
        difference: of each, bohr or degrees.
        error: of each; not a number where it is not known.
        length: which of them are lengths.
    """
    shown = [(length, BOHR_ANGSTROM, "Å"), (~length, 1.0, "°")]
    shown = [one for one in shown if one[0].any()]
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (of, factor, unit) in zip(panels, shown, strict=True):
        rows = np.flatnonzero(of)
        places = np.arange(len(rows))
        axes.axvline(0.0, color=MUTED, linewidth=0.8)
        axes.errorbar(
            factor * difference[rows], places,
            xerr=factor * np.where(np.isfinite(error[rows]), error[rows], 0.0),
            fmt="o", markersize=4, color=ACCENT, capsize=2,
        )  # fmt: skip
        axes.set_yticks(places, [names[int(row)] for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(f"second less first ({unit})")
        grid(axes)


def _signed(figure: Any, spectrum: Spectrum, label: str) -> None:
    axes = figure.subplots()
    image = axes.pcolormesh(
        *spectrum.edges, spectrum.counts.T, cmap="RdBu_r", vmin=-_SIGMAS, vmax=_SIGMAS,
        rasterized=True,
    )  # fmt: skip
    figure.colorbar(image, ax=axes, label=label, pad=0.02)
    axes.set_xlabel(pretty_label(spectrum.labels[0], spectrum.units[0]))
    axes.set_ylabel(pretty_label(spectrum.labels[1], spectrum.units[1]))
