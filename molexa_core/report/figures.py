"""Figures of measured spectra: time of flight, image, PIPICO, sums, KER, Newton plots.

Each function takes histograms and returns an `<svg>` element of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Final

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.patches import Rectangle

from molexa_core.base.spectrum import Spectrum
from molexa_core.report.content import (
    ComparedSpectra,
    EventRow,
    Lobe,
    NewtonMap,
    SeriesContent,
    SeriesLine,
)
from molexa_core.report.plot_style import pretty_ion, pretty_ions
from molexa_core.report.style import (
    ACCENT,
    FILL,
    INK,
    LINE,
    MUTED,
    as_svg,
    axis_label,
    colour_bar,
    common_area,
    figure,
    grid,
    map_colours,
    plain_powers,
)
from molexa_core.report.text_tables import dashed

GATE_LOW: Final = "gate low"
GATE_HIGH: Final = "gate high"
WINDOW_FIRST: Final = " first"
WINDOW_LAST: Final = " last"
"""Names of marks: limits of a gate, and of the window of an ion behind its name."""
_SIGMAS: Final = 8.0
"""Range of the colours of a map of covariances, in standard errors."""
PEAK: Final = "peak"
MEAN: Final = "mean"


def time_of_flight(spectrum: Spectrum) -> str:
    """Time-of-flight spectrum, logarithmic, with the time windows of the ions."""
    with figure(7.2, 2.7) as (drawing, axes):
        counts = _steps(axes, spectrum)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(plain_powers)
        top = max(float(counts.max()), 1.0)
        axes.set_ylim(0.7, top * 14)
        _zoom(axes, spectrum, counts)
        _windows(axes, spectrum.marks, top)
        axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]))
        axes.set_ylabel("hits per bin")
        return as_svg(drawing, "tof")


def detector_image(spectrum: Spectrum) -> str:
    """Positions of all hits on the detector, logarithmic colours."""
    return _map(spectrum, "image", equal=True, size=(4.5, 3.9))


def pipico(spectrum: Spectrum) -> str:
    """PIPICO map: times of flight of two ions of the same shot, logarithmic colours."""
    return _map(spectrum, "pipico", equal=False, size=(4.5, 3.9), boxes=True)


def covariance(spectrum: Spectrum, name: str = "covariance") -> str:
    """Map of covariances in their standard errors: red for ions that come together, else blue."""
    errors = np.ones_like(spectrum.counts) if spectrum.errors is None else spectrum.errors
    with np.errstate(divide="ignore", invalid="ignore"):
        clear = np.where(errors > 0.0, np.asarray(spectrum.counts) / errors, np.nan)
    with figure(4.5, 3.9) as (drawing, axes):
        image = axes.pcolormesh(
            spectrum.edges[0],
            spectrum.edges[1],
            np.ma.masked_invalid(clear.T),
            cmap="RdBu_r",
            vmin=-_SIGMAS,
            vmax=_SIGMAS,
            rasterized=True,
            linewidth=0,
        )
        axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]))
        axes.set_ylabel(axis_label(spectrum.labels[1], spectrum.units[1]))
        colour_bar(axes, image, "standard errors", logarithmic=False)
        return as_svg(drawing, name)


def momentum_sum(spectrum: Spectrum, name: str = "sum") -> str:
    """The sum of the momenta along one axis, with its gate."""
    with figure(3.2, 2.5) as (drawing, axes):
        _steps(axes, spectrum)
        low, high = spectrum.marks.get(GATE_LOW), spectrum.marks.get(GATE_HIGH)
        if low is not None and high is not None:
            axes.axvspan(low, high, color=ACCENT, alpha=0.10, linewidth=0)
            for limit in (low, high):
                axes.axvline(limit, color=ACCENT, linewidth=0.9)
            limits = f"{low:.3g} to {high:.3g}".replace("-", "\N{MINUS SIGN}")
            axes.set_title(f"gate {limits} {spectrum.units[0]}", color=ACCENT)
        else:
            axes.set_title("no gate", color=MUTED)
        axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]))
        axes.set_ylabel("candidates per bin")
        axes.set_ylim(bottom=0)
        axes.set_xlim(spectrum.edges[0][0], spectrum.edges[0][-1])
        return as_svg(drawing, name)


def kinetic_energy(spectrum: Spectrum) -> str:
    """Kinetic energy release with its mean or peak."""
    with figure(4.5, 2.8) as (drawing, axes):
        counts = _steps(axes, spectrum)
        lowest = min(0.0, 1.2 * float(counts.min()))  # negative after a subtraction
        axes.set_ylim(lowest, float(counts.max()) * 1.2 or 1.0)
        _zoom(axes, spectrum, counts)
        name = next((name for name in (PEAK, MEAN) if name in spectrum.marks), None)
        if name is not None:
            value = spectrum.marks[name]
            label = f"{name} {value:.2f} {spectrum.units[0]}"
            axes.axvline(value, color=ACCENT, linewidth=1.0, label=label)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper right", borderaxespad=0.2)
        axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]))
        axes.set_ylabel("events per bin")
        return as_svg(drawing, "ker")


def distribution(row: EventRow, name: str) -> str:
    """Histogram of a distance or an angle over the events; mean and answer of mean momenta."""
    with figure(3.2, 2.5) as (drawing, axes):
        spectrum = distribution_spectrum(row)
        axes.stairs(spectrum.counts, spectrum.edges[0], color=FILL, fill=True)
        axes.stairs(spectrum.counts, spectrum.edges[0], color=LINE, linewidth=0.8)
        axes.set_ylim(bottom=min(0.0, float(spectrum.counts.min())))
        axes.axvline(row.mean, color=INK, linewidth=1.0, label="mean of the events")
        first, last = float(spectrum.edges[0][0]), float(spectrum.edges[0][-1])
        room = 0.25 * (last - first)
        if row.from_means is not None:
            label = "mean momenta"
            if not first - room <= row.from_means <= last + room:
                space = "" if row.unit == "°" else " "
                label += f": {row.from_means:.3g}{space}{row.unit}"  # too far away to be drawn
            axes.axvline(row.from_means, color=ACCENT, linewidth=1.0, linestyle="--", label=label)
        shown = [one for one in (row.from_means, row.mean) if one is not None]
        inside = [one for one in shown if first - room <= one <= last + room]
        axes.set_xlim(min(first, *inside) - 0.1 * room, max(last, *inside) + 0.1 * room)
        axes.set_xlabel(f"{_named(row.of)} ({row.unit})")
        axes.set_ylabel("events per bin")
        drawing.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=2)
        return as_svg(drawing, name)


def distribution_spectrum(row: EventRow) -> Spectrum:
    """The histogram that `distribution` draws."""
    low, high = np.quantile(row.values, (0.005, 0.995))
    counts, edges = np.histogram(row.values, bins=60, range=(low, high), weights=row.weight)
    return Spectrum(counts, (edges,), (row.of,), (row.unit,))


def series_line(item: SeriesContent, line: SeriesLine, name: str) -> str:
    """One quantity of a series with its errors."""
    with figure(3.2, 2.5) as (drawing, axes):
        grid(axes)
        axes.errorbar(
            line.at, line.value, yerr=line.error, fmt="o", markersize=3, color=LINE,
            ecolor=MUTED, elinewidth=0.9, capsize=1.5,
        )  # fmt: skip
        axes.set_xlabel(item.by)
        axes.set_ylabel(axis_label(_named(line.name), line.unit))
        return as_svg(drawing, name)


def _named(of: str) -> str:
    """Names of ions or atoms as they are printed: `O+-C+` as O⁺–C⁺."""
    return dashed(pretty_ions(of))


def compared(item: ComparedSpectra, names: tuple[str, str], name: str) -> str:
    """Two histograms over each other, and below the pull; of two maps the map of the pull."""
    if item.first.counts.ndim == 2:
        return _pull_map(item, name)
    with figure(4.6, 4.2, nrows=3, sharex=True, height_ratios=(2.4, 1.0, 1.0)) as (drawing, panels):
        top, middle, bottom = panels
        for spectrum, colour, label in zip(
            (item.first, item.second), (LINE, ACCENT), names, strict=True
        ):
            counts, errors = np.asarray(spectrum.counts), np.asarray(spectrum.errors)
            top.stairs(counts, spectrum.edges[0], color=colour, linewidth=1.0, label=label)
            at = spectrum.centres[0]
            top.vlines(at, counts - errors, counts + errors, color=colour, linewidth=0.5)
        both = np.asarray(item.first.counts) + np.asarray(item.second.counts)
        _zoom(top, item.first, both)
        top.set_ylim(bottom=min(0.0, float(np.min(item.first.counts))))
        top.set_ylabel("events per bin")
        drawing.legend(*top.get_legend_handles_labels(), loc="outside upper left", ncols=2)
        at, ratio = item.ratio.centres[0], np.asarray(item.ratio.counts)
        error = np.nan_to_num(np.asarray(item.ratio.errors))
        known = np.isfinite(ratio)
        middle.errorbar(
            at[known], ratio[known], yerr=error[known], fmt=".", markersize=3, color=INK,
            ecolor=MUTED, elinewidth=0.6,
        )  # fmt: skip
        middle.axhline(1.0, color=MUTED, linewidth=0.7)
        certain = ratio[known & (error < 0.5 * np.abs(np.nan_to_num(ratio)))]
        middle.set_ylim(0.0, float(np.clip(1.2 * certain.max(initial=0.0), 2.0, 10.0)))
        middle.set_ylabel("ratio")
        pull = np.nan_to_num(np.asarray(item.pull.counts))
        bottom.stairs(pull, item.pull.edges[0], color=FILL, fill=True)
        bottom.stairs(pull, item.pull.edges[0], color=LINE, linewidth=0.8)
        for level in (-2.0, 2.0):
            bottom.axhline(level, color=ACCENT, linewidth=0.6, linestyle=":")
        reach = max(3.2, 1.1 * float(np.abs(pull).max(initial=0.0)))
        bottom.set_ylim(-reach, reach)
        bottom.set_ylabel("pull")
        bottom.set_xlabel(axis_label(item.first.labels[0], item.first.units[0]))
        for axes in panels:
            grid(axes)
        drawing.align_ylabels(list(panels))
        return as_svg(drawing, name)


def _pull_map(item: ComparedSpectra, name: str) -> str:
    with figure(4.5, 4.0) as (drawing, axes):
        image = axes.pcolormesh(
            item.pull.edges[0],
            item.pull.edges[1],
            np.ma.masked_invalid(np.asarray(item.pull.counts).T),
            cmap="RdBu_r",
            vmin=-5.0,
            vmax=5.0,
            rasterized=True,
            linewidth=0,
        )
        axes.set_aspect("equal")
        axes.set_xlabel(axis_label(item.pull.labels[0], item.pull.units[0]))
        axes.set_ylabel(axis_label(item.pull.labels[1], item.pull.units[1]))
        colour_bar(axes, image, "pull (standard deviations)", logarithmic=False)
        return as_svg(drawing, name)


def newton(item: NewtonMap, name: str = "newton") -> str:
    """A Newton plot with the mean momenta marked and named."""
    spectrum = item.spectrum
    with figure(4.5, 4.0) as (drawing, axes):
        image = axes.pcolormesh(
            spectrum.edges[0],
            spectrum.edges[1],
            np.ma.masked_less_equal(spectrum.counts.T, 0),
            cmap=map_colours(),
            norm=PowerNorm(0.5, vmin=0, vmax=float(spectrum.counts.max()) or 1.0),
            rasterized=True,
            linewidth=0,
        )
        axes.axhline(0, color=MUTED, linewidth=0.5)
        axes.axvline(0, color=MUTED, linewidth=0.5)
        half = float(spectrum.edges[0][-1])
        for label, across, up in _together(item.lobes, 0.05 * half):
            axes.plot(across, up, "+", color=ACCENT, markersize=9, markeredgewidth=1.4)
            outward = -1 if across > half / 2 else 1
            text = axes.annotate(
                pretty_ions(label),
                (across, up),
                xytext=(7 * outward, 7),
                textcoords="offset points",
                ha="left" if outward > 0 else "right",
                color=INK,
                fontsize=8,
            )
            text.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="white")])
        axes.set_aspect("equal")
        axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]))
        axes.set_ylabel(axis_label(spectrum.labels[1], spectrum.units[1]))
        colour_bar(axes, image, "ions per bin", logarithmic=False)
        return as_svg(drawing, name)


def _together(lobes: Sequence[Lobe], near: float) -> list[tuple[str, float, float]]:
    """Marks with their names; marks closer than `near` share one."""
    marks: list[tuple[str, float, float]] = []
    for lobe in lobes:
        for index, (name, across, up) in enumerate(marks):
            if np.hypot(across - lobe.across, up - lobe.up) < near:
                marks[index] = (f"{name}, {lobe.name}", across, up)
                break
        else:
            marks.append((lobe.name, lobe.across, lobe.up))
    return marks


def _steps(axes: Axes, spectrum: Spectrum) -> np.ndarray:
    counts = np.asarray(spectrum.counts, dtype=float)
    axes.stairs(counts, spectrum.edges[0], color=FILL, fill=True)
    axes.stairs(counts, spectrum.edges[0], color=LINE, linewidth=0.9)
    if spectrum.errors is not None:
        middle, errors = spectrum.centres[0], np.asarray(spectrum.errors, dtype=float)
        axes.vlines(middle, counts - errors, counts + errors, color=MUTED, linewidth=0.6)
    grid(axes)
    return counts


def _zoom(axes: Axes, spectrum: Spectrum, counts: np.ndarray) -> None:
    """Show the filled part of the horizontal axis, with some room on both sides."""
    filled = np.flatnonzero(counts)
    edges = spectrum.edges[0]
    if not len(filled):
        axes.set_xlim(edges[0], edges[-1])
        return
    low, high = edges[filled[0]], edges[filled[-1] + 1]
    room = 0.03 * (high - low)
    axes.set_xlim(max(low - room, edges[0]), min(high + room, edges[-1]))


def _windows(axes: Axes, marks: Mapping[str, float], top: float) -> None:
    """The time window of every ion with its name; names too close to the previous go higher."""
    windows = _windows_of(marks)
    low, high = axes.get_xlim()
    before, ended, level = -np.inf, -np.inf, 0
    for first, last, name in windows:
        middle = 0.5 * (first + last)
        if not low <= middle <= high:
            continue
        close = first <= ended or middle - before < 0.05 * (high - low)
        level = (level + 1) % 3 if close else 0
        before, ended = middle, last
        height = top * 1.7 * 2.2**level
        axes.plot([first, last], [height, height], color=ACCENT, linewidth=2.0, zorder=5)
        axes.axvspan(first, last, ymax=0.74, color=ACCENT, alpha=0.07, linewidth=0)
        axes.text(
            middle,
            height * 1.15,
            pretty_ion(name),
            ha="center",
            va="bottom",
            color=ACCENT,
            fontsize=9,
        )


def _pair_boxes(axes: Axes, marks: Mapping[str, float]) -> None:
    """Frames around the windows of every pair of ions, the faster one horizontal, and a zoom."""
    windows = _windows_of(marks)
    if not windows:
        return
    reach = max(last for _, last, _ in windows) - windows[0][0]
    limits = (windows[0][0] - 0.06 * reach, windows[0][0] + 1.06 * reach)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    names = _Places(reach)
    for (first, last, fast), (begin, end, slow) in combinations_with_replacement(windows, 2):
        axes.add_patch(
            Rectangle(
                (first, begin), last - first, end - begin, fill=False, edgecolor=ACCENT, lw=0.8
            )
        )
        name = f"{pretty_ion(fast)} {pretty_ion(slow)}"
        x, y, across, up = names.of(name, (first, last), (begin, end))
        text = axes.annotate(
            name,
            (x, y),
            xytext=(2 * (across == "left") - 2 * (across == "right"), 2 if up == "bottom" else -2),
            textcoords="offset points",
            ha=across,
            va=up,
            fontsize=7.5,
            color=ACCENT,
        )
        text.set_path_effects([patheffects.withStroke(linewidth=1.8, foreground="white")])


class _Places:
    """Places for the names of frames at their corners, none over another one.

    Args:
        reach: of both axes, in their unit.
    """

    LETTER, LINE = 0.026, 0.045
    """Width of a letter and height of a line, in shares of the axes."""

    def __init__(self, reach: float) -> None:
        self._reach = reach
        self._taken: list[tuple[float, float, float, float]] = []

    def of(
        self, name: str, across: tuple[float, float], up: tuple[float, float]
    ) -> tuple[float, float, str, str]:
        """Where a name stands: x, y, and how it is aligned there; the first corner that is free.

        Args:
            name: the text.
            across: left and right end of the frame.
            up: its lower and upper end.
        """
        wide, high = self.LETTER * len(name) * self._reach, self.LINE * self._reach
        (left, right), (low, top) = across, up
        corners = [
            (left, top, "left", "bottom"),
            (right, top, "right", "top"),
            (right, low, "right", "bottom"),
            (left, low, "left", "top"),
            (left, top, "left", "top"),
            (right, top, "right", "bottom"),
            (left, low, "left", "bottom"),
            (right, low, "right", "top"),
        ]
        best, least = corners[0], float("inf")
        for corner in corners:
            x = corner[0] - wide * (corner[2] == "right")
            y = corner[1] - high * (corner[3] == "top")
            box = (x, y, x + wide, y + high)
            covered = sum(common_area(box, other) for other in self._taken)
            if covered < least:
                best, least, taken = corner, covered, box
        self._taken.append(taken)
        return best


def _windows_of(marks: Mapping[str, float]) -> list[tuple[float, float, str]]:
    """First and last time of the window of every ion, and its name, in order of time."""
    names = [name.removesuffix(WINDOW_FIRST) for name in marks if name.endswith(WINDOW_FIRST)]
    return sorted(
        (marks[name + WINDOW_FIRST], marks[name + WINDOW_LAST], name)
        for name in names
        if name + WINDOW_LAST in marks
    )


def _map(
    spectrum: Spectrum, name: str, *, equal: bool, size: tuple[float, float], boxes: bool = False
) -> str:
    counts = np.asarray(spectrum.counts, dtype=float)
    norm = LogNorm(1, max(float(counts.max()), 2.0))
    with figure(*size) as (drawing, axes):
        image = axes.pcolormesh(
            spectrum.edges[0],
            spectrum.edges[1],
            np.ma.masked_less_equal(counts.T, 0),
            cmap=map_colours(),
            norm=norm,
            rasterized=True,
            linewidth=0,
        )
        if equal:
            axes.set_aspect("equal")
        if boxes:
            _pair_boxes(axes, spectrum.marks)
        axes.set_xlabel(axis_label(spectrum.labels[0], spectrum.units[0]))
        axes.set_ylabel(axis_label(spectrum.labels[1], spectrum.units[1]))
        colour_bar(axes, image, "counts per bin", logarithmic=True)
        return as_svg(drawing, name)
