"""Figures for papers: each function draws given values into an empty figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray
from molexa_core.report.figures import GATE_HIGH, GATE_LOW, WINDOW_FIRST, WINDOW_LAST
from molexa_core.report.plot_style import pretty_ion, pretty_ions, pretty_label
from molexa_core.report.style import (
    ACCENT,
    FILL,
    INK,
    LINE,
    MUTED,
    common_area,
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
_NAMES_APART: Final = 0.075
"""Names of peaks that are closer stand above each other, in lengths of the axis."""
_FIT_REACH: Final = 2.0
"""Standard deviations to both sides over which a fit is drawn."""
_ONE: Final = 0.005
_CORNER: Final = 0.9
_PANEL: Final = 0.82
"""Width of the axes of a figure, in widths of the figure."""
_DISC: Final = 4.0
_LETTER: Final = 4.6
"""Radius of an atom, and width of a letter, in points."""
_AROUND: Final = (
    (5.0, 7.0, "left"),
    (-5.0, 7.0, "right"),
    (5.0, -7.0, "left"),
    (-5.0, -7.0, "right"),
    (7.0, 0.0, "left"),
    (-7.0, 0.0, "right"),
    (0.0, 9.0, "center"),
    (0.0, -9.0, "center"),
)
"""Places of a name around its atom, points, and how it is aligned there."""
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
        windows: limits of both ions, where known.
        gate: lines like `line` where the sum of the momenta is at the ends of its gate.
    """

    spectrum: Spectrum
    line: FloatArray
    windows: tuple[Limits | None, Limits | None]
    gate: tuple[FloatArray, ...] = ()


@dataclass(frozen=True)
class Over:
    """Two histograms over the same bins.

    Attributes:
        first: with errors.
        second: with errors, times `scale`.
        scale: factor of the second.
        ratio: first over second, with errors.
        pull: difference over its error.
    """

    first: Spectrum
    second: Spectrum
    scale: float
    ratio: Spectrum
    pull: Spectrum


@dataclass(frozen=True)
class Fit:
    """The largest peak of a histogram.

    Attributes:
        centre: of the Gaussian, in the unit of the axis; else where it is highest.
        sigma: standard deviation; of another peak that of a Gaussian as wide at half maximum.
        height: counts per bin.
        gaussian: whether a Gaussian describes it; else no curve is drawn.
    """

    centre: float
    sigma: float
    height: float
    gaussian: bool = True

    @property
    def fwhm(self) -> float:
        """Full width at half maximum."""
        return 2.3548 * self.sigma


@dataclass(frozen=True)
class Atom:
    """An atom of a structure in a plane.

    Attributes:
        symbol, label: element, and the name beside it.
        at: (2) position in Å.
        covariance: (2, 2) of the position, Å^2; None where it is not known.
        beside: (2) position in another structure, Å.
    """

    symbol: str
    label: str
    at: FloatArray
    covariance: FloatArray | None = None
    beside: FloatArray | None = None


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
    """Names above their peaks; of what lies close together the next stands above the last."""
    low, high = axes.get_xlim()
    ended, top = -np.inf, 0.0
    shown = sorted((peak for peak in peaks if low <= peak.at <= high), key=lambda peak: peak.at)
    for peak in shown[:_MOST_NAMES]:
        near = np.abs(spectrum.centres[0] - peak.at) <= 0.01 * (high - low)
        height = max(float(counts[near].max(initial=1.0)), 1.0)
        at = 1.35 * height if log else height + 0.03 * axes.get_ylim()[1]
        if peak.at - ended < _NAMES_APART * (high - low):
            at = max(at, 2.0 * top if log else top + 0.075 * axes.get_ylim()[1])
        ended, top = peak.at, at
        axes.text(
            peak.at,
            at,
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
    fits: Sequence[Fit | None] = (),
    log: bool = False,
) -> None:
    """One or several histograms over one axis, with their width of a bin and fits of their peaks.

    Args:
        figure: empty.
        spectra: over one axis.
        names: of the histograms.
        fits: of each, where there is one.
        log: whether counts are logarithmic.
    """
    axes = figure.subplots()
    unit = spectra[0].units[0]
    several = len(spectra) > 1
    for number, spectrum in enumerate(spectra):
        fit = fits[number] if number < len(fits) else None
        told = "" if fit is None else _told(fit, unit)
        colour = f"C{number}" if several else ACCENT
        if several:
            axes.stairs(
                np.asarray(spectrum.counts, float),
                spectrum.edges[0],
                color=colour,
                linewidth=0.9,
                label=f"{pretty_ion(names[number])}: {told}" if told else pretty_ion(names[number]),
            )
        else:
            _stairs(axes, spectrum)
        if fit is not None and not fit.gaussian and not several:
            axes.plot([], [], " ", label=told)
        if fit is not None and fit.gaussian:
            at = fit.centre + fit.sigma * np.linspace(-_FIT_REACH, _FIT_REACH, 121)
            line = fit.height * np.exp(-0.5 * ((at - fit.centre) / fit.sigma) ** 2)
            dashes = "--" if several else "-"
            axes.plot(at, line, dashes, color=colour, lw=0.9, label="" if several else told)
    counts = (
        np.sum([np.abs(np.asarray(one.counts, float)) for one in spectra], axis=0)
        if _alike(spectra)
        else np.asarray(spectra[0].counts, float)
    )
    axes.set_xlim(*filled(counts, spectra[0].edges[0]))
    _limit_counts(axes, spectra, log=log, lines=len(spectra) if any(fits) or several else 0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper right")
    first = spectra[0]
    width = float(np.diff(first.edges[0])[0])
    axes.set_xlabel(pretty_label(first.labels[0], unit))
    axes.set_ylabel(f"coincidences per {width:.3g} {unit}".rstrip())
    grid(axes)


def _told(fit: Fit, unit: str) -> str:
    if not fit.gaussian:
        return f"highest at {fit.centre:.1f} {unit}, FWHM {fit.fwhm:.1f} {unit}"
    return f"{fit.centre:.2f} {unit}, FWHM {fit.fwhm:.2f} {unit}"


def _limit_counts(axes: Axes, spectra: Sequence[Spectrum], *, log: bool, lines: int) -> None:
    """The axis of counts, with room for the lines of a legend above."""
    top = max(float(np.max(one.counts, initial=1.0)) for one in spectra)
    room = 0.1 + 0.12 * lines
    if log:
        axes.set_yscale("log")
        low = max(min(0.7, top / 10.0), 1e-6)
        axes.set_ylim(low, top * (top / low) ** room)
    else:  # false coincidences that are subtracted leave some bins below zero
        least = min(float(np.min(one.counts, initial=0.0)) for one in spectra)
        axes.set_ylim(min(0.0, least - 0.04 * top if least < 0.0 else 0.0), top * (1.0 + room))


def overlay(figure: Figure, found: Over, names: tuple[str, str], *, log: bool) -> None:
    """Two histograms over each other, with their ratio and the pull of every bin below.

    Args:
        figure: empty.
        found: both histograms, the second scaled.
        names: of both, for the legend.
        log: whether counts are logarithmic.
    """
    top, middle, low = figure.subplots(3, 1, sharex=True, height_ratios=(3.0, 1.0, 1.0))
    scaled = "" if abs(found.scale - 1.0) < _ONE else f" × {found.scale:.3g}"
    both = (found.first, found.second)
    for one, name, colour in zip(both, (names[0], names[1] + scaled), (LINE, ACCENT), strict=True):
        counts, errors = np.asarray(one.counts, float), np.asarray(one.errors, float)
        top.stairs(counts, one.edges[0], color=colour, linewidth=0.9, label=pretty_ions(name))
        top.vlines(one.centres[0], counts - errors, counts + errors, color=colour, linewidth=0.4)
    _limit_counts(top, both, log=log, lines=4)
    top.legend(loc="upper right")
    at, ratio = found.ratio.centres[0], np.asarray(found.ratio.counts, float)
    errors = np.asarray(found.ratio.errors, float)
    known = np.isfinite(ratio) & (errors > 0.0) & (errors < 1.0)
    middle.errorbar(at[known], ratio[known], errors[known], fmt="o", ms=1.5, lw=0.5, color=INK)
    middle.axhline(1.0, color=MUTED, linewidth=0.7)
    usual = ratio[known & (errors < 0.5 * ratio)]
    middle.set_ylim(0.0, max(2.0, 1.3 * float(usual.max(initial=0.0))))
    pull = np.nan_to_num(np.asarray(found.pull.counts, float))
    low.stairs(pull, found.pull.edges[0], color=FILL, fill=True)
    low.stairs(pull, found.pull.edges[0], color=LINE, linewidth=0.5)
    low.axhline(0.0, color=MUTED, linewidth=0.7)
    reach = max(3.5, 1.1 * float(np.abs(pull).max(initial=0.0)))
    low.set_ylim(-reach, reach)
    first = found.first
    total = np.abs(np.asarray(first.counts, float)) + np.abs(np.asarray(found.second.counts, float))
    low.set_xlim(*filled(total, first.edges[0]))
    unit = first.units[0]
    width = float(np.diff(first.edges[0])[0])
    top.set_ylabel(f"per {width:.3g} {unit}".rstrip())
    middle.set_ylabel("ratio")
    low.set_ylabel("pull")
    low.set_xlabel(pretty_label(first.labels[0], unit))
    for axes in (top, middle, low):
        grid(axes)
    figure.align_ylabels([top, middle, low])


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
    figure: Figure,
    spectrum: Spectrum,
    *,
    log: bool,
    equal: bool,
    arrow: str | None = None,
    line: FloatArray | None = None,
) -> None:
    """A map with a colour bar.

    Args:
        figure: empty.
        spectrum: two axes.
        log: whether colours are logarithmic.
        equal: whether both axes have one scale.
        arrow: ion whose momentum points along the horizontal axis, drawn as an arrow.
        line: (points, 2) of a line over the map.
    """
    axes = figure.subplots()
    _mesh(axes, spectrum, log=log)
    if line is not None and len(line):
        axes.plot(line[:, 0], line[:, 1], color=ACCENT, linewidth=0.8)
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


def dalitz(figure: Figure, spectrum: Spectrum, ions: Sequence[str], *, log: bool) -> None:
    """A Dalitz plot: energy shares of three ions, inside the circle of momentum conservation.

    Args:
        figure: empty.
        spectrum: (share of the first less that of the second) / sqrt 3, and share of the third
            less a third.
        ions: the three.
        log: whether colours are logarithmic.
    """
    axes = figure.subplots()
    _mesh(axes, spectrum, log=log)
    axes.add_patch(Circle((0.0, 0.0), 1.0 / 3.0, fill=False, ec=MUTED, lw=0.7))
    axes.axhline(0.0, color=MUTED, linewidth=0.3)
    axes.axvline(0.0, color=MUTED, linewidth=0.3)
    axes.set_xlim(-0.36, 0.36)
    axes.set_ylim(-0.36, 0.36)
    axes.set_aspect("equal")
    first, second, third = (pretty_ion(ion) for ion in ions)
    symbol = "$\\epsilon$"
    axes.set_xlabel(f"({symbol}({first}) − {symbol}({second}))/√3")
    axes.set_ylabel(f"{symbol}({third}) − 1/3")
    arrow = {"arrowstyle": "->", "color": ACCENT, "linewidth": 1.0}
    axes.annotate("", (0.0, 0.30), (0.0, 0.20), arrowprops=arrow)
    axes.text(0.012, 0.235, third, color=ACCENT, fontsize=7)


def pairs(figure: Figure, maps: Sequence[PairMap]) -> None:
    """One panel for each pair of ions, with the line of momentum conservation and the windows."""
    across = min(len(maps), 2 if figure.get_figwidth() < WIDE else 3)
    down = -(-len(maps) // across)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, item in zip(panels, maps, strict=False):
        _mesh(axes, item.spectrum, log=True, bar=False)
        if len(item.line):
            axes.plot(item.line[:, 0], item.line[:, 1], color=ACCENT, linewidth=0.8)
        for edge in item.gate:
            axes.plot(edge[:, 0], edge[:, 1], "--", color=ACCENT, linewidth=0.6)
        for window, draw in zip(item.windows, (axes.axvline, axes.axhline), strict=True):
            for end in window or ():
                draw(end, color=MUTED, linewidth=0.7, linestyle=":")
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
            s=1.8,
            alpha=0.6,
            color=f"C{number}",
            linewidths=0,
            label=pretty_ion(ion),
            rasterized=True,
        )
    axes.set_box_aspect((1, 1, 1))
    for name in "xyz":
        getattr(axes, f"set_{name}label")(pretty_label(f"p{name}", "a.u."), labelpad=-6.0)
        own = getattr(axes, f"{name}axis")
        ticks = np.asarray(MaxNLocator(4, symmetric=True).tick_values(-half, half))
        own.set_ticks(ticks[np.abs(ticks) < _CORNER * half])  # none where two axes meet
        own._axinfo["grid"].update(color="#e2e5e9", linewidth=0.4)  # noqa: SLF001  # no other way
        own.set_pane_color((1.0, 1.0, 1.0, 1.0))
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_zlim(-half, half)
    axes.tick_params(pad=-2.5)
    axes.view_init(elev=22.0, azim=-58.0)
    axes.legend(loc="upper left", markerscale=4.0)


def deviations(
    figure: Figure, names: Sequence[str], errors: FloatArray, half_widths: FloatArray, told: str
) -> None:
    """The error of every distance of a structure, with the half-width that it claims.

    Args:
        figure: empty.
        names: of the distances.
        errors: value less the known one, Å.
        half_widths: halves of the 68 % intervals, Å; not a number where nothing is claimed.
        told: a line above.
    """
    axes = figure.subplots()
    at = np.arange(len(names), dtype=float)
    bars = np.where(np.isfinite(half_widths), half_widths, 0.0)
    axes.errorbar(
        errors, at, xerr=bars, fmt="o", ms=2.5, lw=0.8, color=LINE, ecolor=ACCENT, zorder=3.0
    )
    axes.axvline(0.0, color=MUTED, linewidth=0.7)
    reach = 1.1 * float(np.max(np.abs(errors) + bars, initial=1e-6))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(len(names) - 0.4, -0.6)
    small = min(1.0, _MOST_NAMES / max(len(names), 1))
    axes.set_yticks(at, list(names), fontsize=max(3.5, 7.0 * small))
    axes.tick_params(axis="y", length=0.0)
    axes.set_xlabel("error of the distance (Å)")
    axes.set_title(told, fontsize=7)
    grid(axes)


def structure(
    figure: Figure, views: Sequence[StructureView], names: tuple[str, str] = ("", "")
) -> None:
    """A structure in two planes, with an ellipse of 68 % for every atom.

    Args:
        figure: empty.
        views: the planes.
        names: of the structure and of the other one that is drawn over it in open circles.
    """
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
            if atom.beside is not None:
                axes.plot(*atom.beside, "o", mfc="none", mec=ACCENT, mew=0.9, ms=9.0, zorder=4)
        for one, other in view.bonds:
            first, last = view.atoms[one].beside, view.atoms[other].beside
            if first is not None and last is not None:
                axes.plot(*np.stack([first, last]).T, "--", color=ACCENT, lw=0.9, zorder=1)
        at = np.array([atom.at for atom in view.atoms])
        middle, half = at.mean(axis=0), 0.5 * np.ptp(at, axis=0)
        widest = 1.25 * float(half.max()) + 0.3
        tallest = max(1.25 * float(half[1]) + 0.3, _FLAT * widest)
        axes.set_xlim(middle[0] - widest, middle[0] + widest)
        axes.set_ylim(middle[1] - tallest, middle[1] + tallest)
        axes.set_aspect("equal")
        share = _PANEL / (len(views) if side_by_side else 1)
        scale = 72.0 * share * figure.get_figwidth() / (2.0 * widest)
        for atom, (across, up, aligned) in zip(view.atoms, _beside(view, scale), strict=True):
            axes.annotate(
                atom.label,
                tuple(atom.at),
                (across, up),
                textcoords="offset points",
                ha=aligned,
                va="center",
                fontsize=7,
                zorder=5,
            )
        axes.set_xlabel(pretty_label(view.across, "Å"))
        axes.set_ylabel(pretty_label(view.up, "Å"))
        grid(axes)
    if names[1]:
        panels[0].plot([], [], "o", mfc=MUTED, mec=INK, ms=4.0, label=names[0])
        panels[0].plot([], [], "o--", mfc="none", mec=ACCENT, color=ACCENT, lw=0.9, label=names[1])
        panels[0].legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def _beside(view: StructureView, scale: float) -> list[tuple[float, float, str]]:
    """Where the name of each atom stands, in points from it, and how it is aligned there.

    Each takes the place in which it covers least of atoms, bonds and the names before it.

    Args:
        view: the atoms.
        scale: points per Å.
    """
    at = scale * np.array([atom.at for atom in view.atoms])
    taken = [(x - _DISC, y - _DISC, x + _DISC, y + _DISC) for x, y in at]
    for one, other in view.bonds:
        for share in np.linspace(0.2, 0.8, 7):
            x, y = (1.0 - share) * at[one] + share * at[other]
            taken.append((x - 1.0, y - 1.0, x + 1.0, y + 1.0))
    found = []
    for (x, y), atom in zip(at, view.atoms, strict=True):
        wide, high = _LETTER * len(atom.label), _LETTER * 1.8
        best: tuple[float, float, str] = (5.0, 7.0, "left")
        least, place = np.inf, (0.0, 0.0, 0.0, 0.0)
        for reach in (1.0, 1.8, 2.6):
            for across, up, aligned in _AROUND:
                left = (
                    x + reach * across - {"left": 0.0, "center": 0.5, "right": 1.0}[aligned] * wide
                )
                low = y + reach * up - 0.5 * high
                box = (left, low, left + wide, low + high)
                covered = sum(common_area(box, one) for one in taken) + reach
                if covered < least:
                    best, least, place = (reach * across, reach * up, aligned), covered, box
        taken.append(place)
        found.append(best)
    return found


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


def _mesh(axes: Axes, spectrum: Spectrum, *, log: bool, bar: bool = True) -> None:
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
        how: dict[str, Any] = {}
        if log:
            how = {"ticks": LogLocator(subs=(1.0, 2.0, 5.0)), "format": "%g"}
        shown = axes.get_figure(root=True).colorbar(  # type: ignore[union-attr]
            image, ax=axes, label="counts per bin", pad=0.02, **how
        )
        if log:
            shown.ax.yaxis.set_minor_formatter(NullFormatter())
        shown.outline.set_visible(False)


def windows_of(marks: Mapping[str, float]) -> dict[str, Limits]:
    """First and last time of the window of every ion in the marks of a spectrum."""
    names = [name.removesuffix(WINDOW_FIRST) for name in marks if name.endswith(WINDOW_FIRST)]
    return {
        name: (marks[name + WINDOW_FIRST], marks[name + WINDOW_LAST])
        for name in names
        if name + WINDOW_LAST in marks
    }
