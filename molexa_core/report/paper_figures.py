"""Figures for papers: each function draws given values into an empty figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.ticker import MaxNLocator

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray
from molexa_core.report.figures import GATE_HIGH, GATE_LOW, WINDOW_FIRST, WINDOW_LAST
from molexa_core.report.plot_style import pretty_ion, pretty_label
from molexa_core.report.style import (
    ACCENT,
    FILL,
    INK,
    LINE,
    MUTED,
    element_colour,
    grid,
    map_colours,
)

Limits = tuple[float, float]
_MOST_NAMES: Final = 24
WIDE: Final = 5.0
"""Width in inches from which three panels stand side by side."""
_APART: Final = 0.045
"""Least distance of two masses on their axis, in lengths of the axis."""
_FLAT: Final = 0.35
"""Least height of the view of a structure, in widths."""


@dataclass(frozen=True)
class Peak:
    """A peak of the time of flight that has a name.

    Attributes:
        ion: which.
        at: time in ns.
        of_channel: whether the ion belongs to the channel.
    """

    ion: str
    at: float
    of_channel: bool = True


@dataclass(frozen=True)
class PairMap:
    """The map of two times of flight of one pair of ions.

    Attributes:
        spectrum: times of the first ion across, of the second up.
        line: (points, 2) where pairs lie whose momenta along the field cancel.
        windows: limits of both ions.
    """

    spectrum: Spectrum
    line: FloatArray
    windows: tuple[Limits, Limits]


@dataclass(frozen=True)
class Atom:
    """An atom of a structure in a plane.

    Attributes:
        symbol, label: element, and the name beside it.
        at: (2) position in Å.
        covariance: (2, 2) of the position, Å^2; None where it is not known.
    """

    symbol: str
    label: str
    at: FloatArray
    covariance: FloatArray | None = None


@dataclass(frozen=True)
class StructureView:
    """A structure seen along an axis.

    Attributes:
        across, up: names of the axes.
        atoms: in the order of drawing, the nearest last.
        bonds: pairs of numbers of `atoms`.
    """

    across: str
    up: str
    atoms: Sequence[Atom]
    bonds: Sequence[tuple[int, int]] = field(default_factory=tuple)


def time_of_flight(
    figure: Figure,
    spectrum: Spectrum,
    peaks: Sequence[Peak],
    mass_ticks: Sequence[tuple[float, float]],
    *,
    log: bool,
) -> None:
    """Time-of-flight spectrum with an axis of mass over charge and named peaks.

    Args:
        figure: empty.
        spectrum: hits against time in ns.
        peaks: names.
        mass_ticks: mass over charge in u, and the time at which such an ion at rest arrives.
        log: whether counts are logarithmic.
    """
    axes = figure.subplots()
    counts = _stairs(axes, spectrum)
    first, last = filled(counts, spectrum.edges[0])
    axes.set_xlim(first, last)
    top = max(float(counts.max()), 1.0)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(0.7, top * 30.0)
    else:
        axes.set_ylim(0.0, top * 1.35)
    axes.set_xlabel("time of flight (ns)")
    axes.set_ylabel("hits per bin")
    _name_peaks(axes, spectrum, counts, peaks, log=log)
    shown: list[tuple[float, float]] = []
    for mass, at in mass_ticks:
        close = shown and at - shown[-1][1] < _APART * (last - first)
        if first <= at <= last and not close:
            shown.append((mass, at))
    if shown:
        beside = axes.secondary_xaxis("top")
        beside.set_xticks([at for _, at in shown], [f"{mass:g}" for mass, _ in shown])
        beside.set_xlabel("m/q (u/e)")
    grid(axes)


def _name_peaks(
    axes: Axes, spectrum: Spectrum, counts: FloatArray, peaks: Sequence[Peak], *, log: bool
) -> None:
    """Names above their peaks; what lies close together goes higher in turn."""
    low, high = axes.get_xlim()
    ended, level = -np.inf, 0
    shown = sorted((peak for peak in peaks if low <= peak.at <= high), key=lambda peak: peak.at)
    for peak in shown[:_MOST_NAMES]:
        near = np.abs(spectrum.centres[0] - peak.at) <= 0.01 * (high - low)
        height = float(counts[near].max(initial=1.0))
        level = (level + 1) % 3 if peak.at - ended < 0.06 * (high - low) else 0
        ended = peak.at
        up = 1.35 * 2.0**level if log else 1.0
        extra = 0.0 if log else (0.03 + 0.09 * level) * axes.get_ylim()[1]
        axes.text(
            peak.at,
            max(height, 1.0) * up + extra,
            pretty_ion(peak.ion),
            ha="center",
            va="bottom",
            fontsize=7,
            color=ACCENT if peak.of_channel else MUTED,
        )


def histogram(
    figure: Figure,
    spectra: Sequence[Spectrum],
    names: Sequence[str],
    *,
    marks: Mapping[str, float] | None = None,
    log: bool = False,
) -> None:
    """One or several histograms over one axis, with their width of a bin."""
    axes = figure.subplots()
    for number, spectrum in enumerate(spectra):
        if len(spectra) == 1:
            _stairs(axes, spectrum)
        else:
            colour = f"C{number}"
            axes.stairs(
                np.asarray(spectrum.counts, float),
                spectrum.edges[0],
                color=colour,
                linewidth=0.9,
                label=pretty_ion(names[number]),
            )
    counts = (
        np.sum([np.abs(np.asarray(one.counts, float)) for one in spectra], axis=0)
        if _alike(spectra)
        else np.asarray(spectra[0].counts, float)
    )
    axes.set_xlim(*filled(counts, spectra[0].edges[0]))
    if log:
        axes.set_yscale("log")
    elif min(float(np.min(one.counts)) for one in spectra) >= 0:
        axes.set_ylim(bottom=0.0)
    for name, value in (marks or {}).items():
        axes.axvline(value, color=ACCENT, linewidth=0.9, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
    first = spectra[0]
    width = float(np.diff(first.edges[0])[0])
    axes.set_xlabel(pretty_label(first.labels[0], first.units[0]))
    axes.set_ylabel(f"coincidences per {width:.3g} {first.units[0]}".rstrip())
    grid(axes)


def sums(figure: Figure, spectra: Sequence[Spectrum]) -> None:
    """Momentum sum along each axis with its gate."""
    panels = figure.subplots(1, len(spectra), sharey=True, squeeze=False)[0]
    for axes, spectrum in zip(panels, spectra, strict=True):
        _stairs(axes, spectrum)
        low, high = spectrum.marks.get(GATE_LOW), spectrum.marks.get(GATE_HIGH)
        if low is not None and high is not None:
            axes.axvspan(low, high, color=ACCENT, alpha=0.12, linewidth=0)
        axis = spectrum.labels[0].split()[-1]
        axes.set_xlabel(pretty_label(f"psum{axis}", spectrum.units[0]))
        axes.set_ylim(bottom=0.0)
        grid(axes)
    panels[0].set_ylabel("combinations per bin")


def density(
    figure: Figure, spectrum: Spectrum, *, log: bool, equal: bool, arrow: str | None = None
) -> None:
    """A map with a colour bar.

    Args:
        figure: empty.
        spectrum: two axes.
        log: whether colours are logarithmic.
        equal: whether both axes have one scale.
        arrow: ion whose momentum points along the horizontal axis, drawn as an arrow.
    """
    axes = figure.subplots()
    _mesh(figure, axes, spectrum, log=log)
    if equal:
        axes.set_aspect("equal")
    if arrow is not None:
        half = float(spectrum.edges[0][-1])
        axes.annotate(
            "",
            (0.35 * half, 0.0),
            (0.0, 0.0),
            arrowprops={"arrowstyle": "->", "color": ACCENT, "linewidth": 1.2},
        )
        axes.text(0.36 * half, 0.02 * half, pretty_ion(arrow), color=ACCENT, fontsize=7)
    axes.set_xlabel(pretty_label(spectrum.labels[0], spectrum.units[0]))
    axes.set_ylabel(pretty_label(spectrum.labels[1], spectrum.units[1]))


def pairs(figure: Figure, maps: Sequence[PairMap]) -> None:
    """One panel for each pair of ions, with the line of momentum conservation and the windows."""
    across = min(len(maps), 2 if figure.get_figwidth() < WIDE else 3)
    down = -(-len(maps) // across)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, item in zip(panels, maps, strict=False):
        _mesh(figure, axes, item.spectrum, log=True, bar=False)
        if len(item.line):
            axes.plot(item.line[:, 0], item.line[:, 1], color=ACCENT, linewidth=0.8)
        (first, last), (begin, end) = item.windows
        frame = Rectangle((first, begin), last - first, end - begin, fill=False, ec=MUTED, lw=0.7)
        axes.add_patch(frame)
        axes.set_xlim(item.spectrum.edges[0][0], item.spectrum.edges[0][-1])
        axes.set_ylim(item.spectrum.edges[1][0], item.spectrum.edges[1][-1])
        axes.set_xlabel(pretty_label(item.spectrum.labels[0], "ns"))
        axes.set_ylabel(pretty_label(item.spectrum.labels[1], "ns"))
    for axes in panels[len(maps) :]:
        axes.set_axis_off()


def momenta(figure: Figure, clouds: Mapping[str, FloatArray]) -> None:
    """The momenta of all ions in three dimensions, a.u.

    Args:
        figure: empty.
        clouds: (n, 3) momenta by ion.
    """
    axes: Any = figure.add_subplot(projection="3d")
    half = max(float(np.abs(cloud).max(initial=1.0)) for cloud in clouds.values())
    for number, (ion, cloud) in enumerate(clouds.items()):
        axes.scatter(
            *cloud.T,
            s=1.5,
            alpha=0.35,
            color=f"C{number}",
            linewidths=0,
            label=pretty_ion(ion),
            rasterized=True,
        )
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_zlim(-half, half)
    axes.set_box_aspect((1, 1, 1), zoom=0.8)  # room for the labels
    for name in "xyz":
        getattr(axes, f"{name}axis").set_major_locator(MaxNLocator(5))
        getattr(axes, f"set_{name}label")(pretty_label(f"p{name}", "a.u."))
    axes.legend(loc="upper left", markerscale=4.0)


def structure(figure: Figure, views: Sequence[StructureView]) -> None:
    """A structure in two planes, with an ellipse of 68 % for every atom."""
    side_by_side = figure.get_figwidth() >= WIDE
    shape = (1, len(views)) if side_by_side else (len(views), 1)
    panels = figure.subplots(*shape, squeeze=False).ravel()
    for axes, view in zip(panels, views, strict=True):
        for one, other in view.bonds:
            ends = np.stack([view.atoms[one].at, view.atoms[other].at])
            axes.plot(*ends.T, color=MUTED, linewidth=1.6, zorder=1)
        for atom in view.atoms:
            if atom.covariance is not None:
                axes.add_patch(_ellipse(atom.at, atom.covariance))
            axes.plot(
                *atom.at,
                "o",
                color=element_colour(atom.symbol),
                markeredgecolor=INK,
                markeredgewidth=0.5,
                markersize=5.0 if atom.symbol == "H" else 7.5,
                zorder=3,
            )
            axes.annotate(
                atom.label, tuple(atom.at), (5, 4), textcoords="offset points", fontsize=7
            )
        at = np.array([atom.at for atom in view.atoms])
        middle, half = at.mean(axis=0), 0.5 * np.ptp(at, axis=0)
        widest = 1.25 * float(half.max()) + 0.3
        tallest = max(1.25 * float(half[1]) + 0.3, _FLAT * widest)
        axes.set_xlim(middle[0] - widest, middle[0] + widest)
        axes.set_ylim(middle[1] - tallest, middle[1] + tallest)
        axes.set_aspect("equal")
        axes.set_xlabel(pretty_label(view.across, "Å"))
        axes.set_ylabel(pretty_label(view.up, "Å"))
        grid(axes)


def curves(
    figure: Figure,
    at: FloatArray,
    lines: Mapping[str, FloatArray],
    across: str,
    up: str,
    *,
    log: bool,
) -> None:
    """Lines over one axis, such as a loss over the steps of a training."""
    axes = figure.subplots()
    for number, (name, values) in enumerate(lines.items()):
        known = np.isfinite(values)
        marker = "o" if known.sum() < 40 else ""
        axes.plot(
            at[known], values[known], marker=marker, ms=2.5, lw=0.9, label=name, color=f"C{number}"
        )
    if log:
        axes.set_yscale("log")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.legend(loc="best")
    grid(axes)


def _ellipse(at: FloatArray, covariance: FloatArray) -> Ellipse:
    """The ellipse that holds 68 % of a normal distribution in two dimensions."""
    values, vectors = np.linalg.eigh(covariance)
    radius = np.sqrt(np.clip(values, 0.0, None) * -2.0 * np.log(1.0 - 0.68))
    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    return Ellipse(
        (float(at[0]), float(at[1])),
        2.0 * float(radius[1]),
        2.0 * float(radius[0]),
        angle=angle,
        facecolor=ACCENT,
        alpha=0.25,
        linewidth=0,
        zorder=2,
    )


def _stairs(axes: Axes, spectrum: Spectrum) -> FloatArray:
    counts = np.asarray(spectrum.counts, dtype=float)
    axes.stairs(counts, spectrum.edges[0], color=FILL, fill=True)
    axes.stairs(counts, spectrum.edges[0], color=LINE, linewidth=0.7)
    if spectrum.errors is not None:
        middle, errors = spectrum.centres[0], np.asarray(spectrum.errors, dtype=float)
        axes.vlines(middle, counts - errors, counts + errors, color=MUTED, linewidth=0.5)
    return counts


def filled(counts: FloatArray, edges: FloatArray) -> Limits:
    """The part of an axis in which there is something, with some room."""
    there = np.flatnonzero(counts)
    if not len(there):
        return float(edges[0]), float(edges[-1])
    low, high = float(edges[there[0]]), float(edges[there[-1] + 1])
    room = 0.03 * (high - low)
    return max(low - room, float(edges[0])), min(high + room, float(edges[-1]))


def _alike(spectra: Sequence[Spectrum]) -> bool:
    return all(np.array_equal(one.edges[0], spectra[0].edges[0]) for one in spectra)


def _mesh(figure: Figure, axes: Axes, spectrum: Spectrum, *, log: bool, bar: bool = True) -> None:
    counts = np.asarray(spectrum.counts, dtype=float)
    top = float(counts.max(initial=0.0))
    norm = LogNorm(1.0, max(top, 2.0)) if log else PowerNorm(0.5, vmin=0.0, vmax=max(top, 1.0))
    image = axes.pcolormesh(
        spectrum.edges[0],
        spectrum.edges[1],
        np.ma.masked_less_equal(counts.T, 0.0),
        cmap=map_colours(),
        norm=norm,
        rasterized=True,
        linewidth=0,
    )
    if bar:
        shown = figure.colorbar(image, ax=axes, label="counts per bin", pad=0.02)
        shown.outline.set_visible(False)


def windows_of(marks: Mapping[str, float]) -> dict[str, Limits]:
    """First and last time of the window of every ion in the marks of a spectrum."""
    names = [name.removesuffix(WINDOW_FIRST) for name in marks if name.endswith(WINDOW_FIRST)]
    return {
        name: (marks[name + WINDOW_FIRST], marks[name + WINDOW_LAST])
        for name in names
        if name + WINDOW_LAST in marks
    }
