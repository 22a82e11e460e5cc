"""Plot: one figure for a paper from a file of results, with its numbers as CSV beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import InputFileError, MolexaError, UsageError, listing, near_matches
from molexa_core.base.fields import (
    SPECTRUM_IMAGE,
    SPECTRUM_PIPICO,
    SPECTRUM_SUM,
    SPECTRUM_TOF,
)
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.options.compare_options import AS_FIRST, SecondGate
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Setup, parse_settings
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import NUMBERS_MARK, Provenance
from molexa_core.base.tables import Coincidences, FloatArray, Geometry, ion_labels
from molexa_core.base.units import BOHR_ANGSTROM, DALTON_ME
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.measures import pair_distances
from molexa_core.geometry.superposition import superpose
from molexa_core.io.results.events import read_events, read_spectra
from molexa_core.io.results.geometry_json import ReconstructionRecord, read_geometry_json
from molexa_core.observables.comparison import SpectrumComparison, compare_spectra
from molexa_core.observables.observable_histograms import dalitz_map, spectrum_of
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.score import score, structure_in
from molexa_core.pipeline.chain.selected import gating_of, select
from molexa_core.pipeline.output_guard import require_outputs
from molexa_core.reduction.momentum import flight_window
from molexa_core.report import paper_figures as plots
from molexa_core.report import plot_style
from molexa_core.report.figures import GATE_HIGH, GATE_LOW

Figure = Any
"""A figure of matplotlib, which is known to the report alone."""
_RESIDUAL: Final = ("H+", "(H2)+", "He+", "N+", "O+", "OH+", "H2O+", "(N2)+", "(O2)+", "Ar+")
"""Ions of the residual gas and of the carrier gas that a time of flight can show."""
_MASSES: Final = (1, 2, 4, 8, 12, 16, 20, 28, 32, 40, 44, 60, 80, 100, 127)
_PEAK_OVER: Final = 4.0
_PAIR_BINS: Final = 90
_CLOUD: Final = 4000
_REACH: Final = 600.0
"""Momentum in a.u. up to which lines of momentum conservation are drawn."""
_OVER_BINS: Final = 60
_OVER_ASPECT: Final = 1.0
TWO: Final = ("tof", "ker", "energies", "histogram", "structure", "score")
"""Figures of two files."""
_OWN_ASPECT: Final = ("structure", "score")
"""Those that have no ratio and no pull below."""
_IN_MEMORY: Final = "results in memory"


@dataclass(frozen=True)
class Options:
    """How a figure is drawn.

    Attributes:
        x, y: observables, for `histogram` and `map`.
        ions: of the figure, where some are to be shown.
        plane: of the molecular frame, for `newton`; that of its second ion if not given.
        bins: number of bins; the usual one of the figure if not given.
        log: whether counts are logarithmic; as usual for the figure if not given.
        width: such as `8.6cm`.
        style: style file of matplotlib.
        beside: a second file of the same kind, drawn over the first.
        second_gate: conditions on its coincidences; of the same file, if no other is named.
    """

    x: str | None = None
    y: str | None = None
    ions: tuple[str, ...] = ()
    plane: str | None = None
    bins: int | None = None
    log: bool | None = None
    width: str | None = None
    style: Path | str | None = None
    beside: Path | str | None = None
    second_gate: SecondGate = AS_FIRST


@dataclass(frozen=True)
class Drawn:
    """A figure and the numbers that it shows.

    Attributes:
        figure: of matplotlib, to be styled further.
        tables: its numbers by name.
    """

    figure: Figure
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """Results in memory, from which a figure is drawn as from their file.

    Attributes:
        events: coincidences, with the spectra they carry along.
        record: a reconstruction.
        spectra: histograms by name, of a run without its coincidences.
    """

    events: Coincidences | None = None
    record: ReconstructionRecord | None = None
    spectra: Mapping[str, Spectrum] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    """What a figure is drawn from; parts are read when they are needed."""

    path: Path
    selection: Selection
    options: Options
    progress: Progress
    held: Held | None = None

    def all_events(self) -> Coincidences:
        if self.held is None:
            return read_events(self.path)[0]
        if self.held.events is None:
            raise UsageError("this figure is of coincidences", do="Give those of reduce or align.")
        return self.held.events

    def second(self) -> _Source | None:
        """What is drawn over it, if anything is."""
        options, chosen = self.options, self.selection
        if options.beside is None and not options.second_gate.second_where:
            return None
        narrower = options.second_gate.of(chosen)
        alone = replace(options, beside=None, second_gate=AS_FIRST)
        if options.beside is None:
            return replace(self, selection=narrower, options=alone)
        return _Source(Path(options.beside), narrower, alone, self.progress)

    def events(self) -> Coincidences:
        table = self.all_events()
        gating = gating_of(self.selection, "plot", channel=channel_of(table.meta))
        return select(table, gating, self.progress)

    def spectrum(self, name: str) -> Spectrum:
        if not self.selection.is_empty:
            raise UsageError(
                "this figure is of all hits, on which conditions on coincidences do not act",
                do="Leave out `where=` and `gate=`.",
            )
        found = read_spectra(self.path) if self.held is None else self._held_spectra(self.held)
        if name not in found:
            raise InputFileError(
                f"there is no histogram {name}; there are: {listing(sorted(found) or ['none'])}",
                where=self.path if self.held is None else None,
                do="Name the events file that molexa reduce wrote.",
            )
        return found[name]

    @staticmethod
    def _held_spectra(held: Held) -> Mapping[str, Spectrum]:
        return held.spectra or ({} if held.events is None else held.events.spectra)

    def meta(self) -> Mapping[str, Any]:
        if self.held is not None and self.held.events is None:
            return {}
        return self.all_events().meta

    def record(self) -> ReconstructionRecord:
        if self.held is None:
            return read_geometry_json(self.path)[0]
        if self.held.record is None:
            raise UsageError("this figure is of a structure", do="Give a reconstruction.")
        return self.held.record


Draw = Callable[[Figure, _Source], dict[str, pd.DataFrame]]


@dataclass(frozen=True)
class Plot:
    """A kind of figure.

    Attributes:
        name: as on the command line.
        shows: in words.
        source: what file it needs, in words.
        aspect: height over width.
        draw: draws it and gives its numbers.
    """

    name: str
    shows: str
    source: str
    aspect: float
    draw: Draw


def plot(
    what: str,
    path: Path | str | Held,
    options: Options | None = None,
    *,
    selection: Selection = EVERYTHING,
    on_screen: bool = False,
    within: Any = None,
    progress: Progress = SILENT,
) -> Drawn:
    """Draw a figure.

    Args:
        what: one of `PLOTS`.
        path: events file, aligned file, `geom.json`, or folder of a training; or results in memory.
        options: how it is drawn.
        selection: the coincidences it is of.
        on_screen: whether it is one of pyplot, which notebooks and windows show; larger then.
        within: axes of matplotlib to draw into, instead of a new figure.
        progress: receives remarks.

    Returns:
        The figure of matplotlib, with its numbers.

    Raises:
        UsageError: no such figure, or an option that cannot be.
        InputFileError: the file does not hold what the figure shows.
        MolexaError: as the gates of a selection.
    """
    options = options or Options()
    kind = _kind(what)
    if (options.beside is not None or options.second_gate.second_where) and what not in TWO:
        raise UsageError(
            f"the figure {what} is of one file",
            do=f"Two are taken by {listing(TWO)}.",
        )
    held = path if isinstance(path, Held) else None
    where = Path(_IN_MEMORY) if isinstance(path, Held) else Path(path)
    source = _Source(where, selection, options, progress, held)
    over = source.second() is not None and what not in _OWN_ASPECT
    aspect = _OVER_ASPECT if over else kind.aspect
    with sheet(options, aspect, on_screen=on_screen, within=within) as figure:
        tables = kind.draw(figure, source)
        figure.canvas.draw()  # labels are placed in this style
    return Drawn(figure, tables)


def numbers_of(spectrum: Spectrum) -> pd.DataFrame:
    """The bins of a histogram: limits, counts and their standard errors."""
    return _numbers(spectrum)


def panels(drawn: Drawn) -> Any:
    """The axes of a figure, to be styled further; an array of them for several panels."""
    return plot_style.panels_of(drawn.figure)


def png(drawn: Drawn) -> str:
    """A figure as a data URI, for a notebook."""
    return plot_style.as_png(drawn.figure)


def sheet(
    options: Options, aspect: float, *, on_screen: bool = False, within: Any = None
) -> AbstractContextManager[Any]:
    """An empty figure in the style and width of the options; see `plot`."""
    screen = on_screen and options.style is None
    style = plot_style.FOR_SCREEN if screen else plot_style.style_of(options.style)
    wide = on_screen and options.width is None
    width = plot_style.SCREEN_WIDTH if wide else plot_style.width_of(options.width)
    return plot_style.drawing(width, width * aspect, style, on_screen=on_screen, within=within)


def plot_file(
    what: str,
    path: Path | str,
    out: Path | str,
    options: Options | None = None,
    *,
    selection: Selection = EVERYTHING,
    progress: Progress = SILENT,
) -> list[Path]:
    """Draw a figure and write it as PDF, SVG or PNG, with its numbers as CSV beside it.

    Args:
        what: one of `PLOTS`.
        path: as `plot`.
        out: the figure; its ending tells the format.
        options: how it is drawn.
        selection: the coincidences it is of.
        progress: receives remarks.

    Returns:
        The files written, the figure first.

    Raises:
        UsageError: as `plot`, or an ending that is no figure.
        OutputError: a file cannot be written.
    """
    target = Path(out)
    plot_style.require_suffix(target)
    options = options or Options()
    require_outputs(
        (target, FileKind.FIGURE),
        inputs=_files(path, options.style, options.beside, selection.regions),
    )
    drawn = plot(what, path, options, selection=selection, progress=progress)
    return write_drawn(drawn, target, options, Provenance.of(inputs=_files(path)))


def write_drawn(drawn: Drawn, target: Path, options: Options, record: Provenance) -> list[Path]:
    """Write a figure, and its numbers as CSV beside it.

    Returns:
        The files written, the figure first.

    Raises:
        UsageError: an ending that is no figure.
        OutputError: a file cannot be written.
    """
    plot_style.require_suffix(target)
    style = plot_style.style_of(options.style)
    beside_it = {
        target.with_name(f"{target.stem}{f'.{name}' if len(drawn.tables) > 1 else ''}.csv"): table
        for name, table in drawn.tables.items()
    }
    require_outputs(*((beside, FileKind.FIGURE_NUMBERS) for beside in beside_it))
    plot_style.save(drawn.figure, target, style, record)
    for beside, table in beside_it.items():
        with atomic_path(beside) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.write(f"{NUMBERS_MARK}{record.to_json()}\n")
            table.to_csv(stream, index=False, float_format="%.10g")
    return [target, *beside_it]


def _files(*paths: Path | str | None) -> list[Path]:
    """Those of the paths that are files; a training is a folder."""
    return [Path(path) for path in paths if path is not None and not Path(path).is_dir()]


def _kind(what: str) -> Plot:
    if what not in PLOTS:
        near = near_matches(what, PLOTS)
        hint = f"Did you mean {listing(near)}? " if near else ""
        raise UsageError(
            f"there is no figure {what!r}", do=f"{hint}There are: {listing(PLOTS, limit=30)}."
        )
    return PLOTS[what]


# time of flight, image, pairs --------------------------------------------------------------------


def _tof(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    spectrum = source.spectrum(SPECTRUM_TOF)
    if source.options.bins is not None:
        spectrum = _coarser(spectrum, source.options.bins)
    setup = _setup(source.meta(), source.path)
    windows = plots.windows_of(spectrum.marks)
    peaks = [plots.Peak(name, 0.5 * (first + last)) for name, (first, last) in windows.items()]
    if setup is not None:
        peaks = [
            plots.Peak(peak.ion, _arrival(parse_ion(peak.ion), setup), peak.of_channel)
            for peak in peaks
        ]
        peaks += _residual(spectrum, setup, [peak.at for peak in peaks])
    ticks = [] if setup is None else _mass_ticks(setup)
    log = True if source.options.log is None else source.options.log
    other = source.second()
    if other is not None:
        beside = other.spectrum(SPECTRUM_TOF)
        if source.options.bins is not None:
            beside = _coarser(beside, source.options.bins)
        found = compare_spectra(spectrum, beside, scale=_scale_of(source, other))
        plots.overlay(figure, _over_of(found), _names(source, other), log=log)
        return {"tof": _beside_numbers(found)}
    plots.time_of_flight(figure, spectrum, peaks, ticks, log=log)
    return {"tof": _numbers(spectrum)}


def _residual(spectrum: Spectrum, setup: Setup, taken: Sequence[float]) -> list[plots.Peak]:
    """Ions of the residual gas at whose time there is a peak that no ion of the channel has."""
    centres, counts = spectrum.centres[0], np.asarray(spectrum.counts, float)
    found = []
    for name in _RESIDUAL:
        at = _arrival(parse_ion(name), setup)
        near = np.abs(centres - at) < 0.008 * at
        around = np.abs(centres - at) < 0.06 * at
        if not near.any() or any(abs(at - other) < 0.01 * at for other in taken):
            continue
        level = max(float(np.median(counts[around])), 0.5)
        if counts[near].max() > _PEAK_OVER * level + 5.0:
            found.append(plots.Peak(name, at, of_channel=False))
    return found


def _arrival(ion: Ion, setup: Setup) -> float:
    """Time of flight in ns of an ion at rest, from the light pulse."""
    first, last = flight_window(ion, setup.spectrometer, 1e-6)
    return 0.5 * (first + last)


def _mass_ticks(setup: Setup) -> list[tuple[float, float]]:
    """Mass over charge in u, and when such an ion arrives: as the square root of it."""
    proton = parse_ion("H+")
    at = _arrival(proton, setup)
    of_proton = proton.mass / DALTON_ME
    return [(float(mass), at * float(np.sqrt(mass / of_proton))) for mass in _MASSES]


def _image(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    spectrum = source.spectrum(SPECTRUM_IMAGE)
    plots.density(figure, spectrum, log=source.options.log is not False, equal=True)
    return {"image": _numbers(spectrum)}


def _pipico(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    table = source.events()
    if table.detector is None:
        spectrum = source.spectrum(SPECTRUM_PIPICO)
        plots.density(figure, spectrum, log=True, equal=True)
        return {"pipico": _numbers(spectrum)}
    setup = _setup(table.meta, source.path)
    labels = ion_labels(table.ions)
    alone = len(labels) == 2 and _is_complete(table)  # only then their momenta cancel
    maps, tables = [], {}
    for one, other in combinations(range(len(labels)), 2):
        names = (f"tof({labels[one]})", f"tof({labels[other]})")
        spectrum = spectrum_of(table, names, bins=source.options.bins or _PAIR_BINS)
        pair = (table.ions[one], table.ions[other])
        line = np.empty((0, 2))
        gate: tuple[FloatArray, ...] = ()
        if setup is not None and alone:
            line = _conserved(pair, setup, spectrum)
            gate = tuple(_conserved(pair, setup, spectrum, end) for end in _gate_z(source))
        windows = source.spectrum(SPECTRUM_TOF).marks if source.selection.is_empty else {}
        limits = plots.windows_of(windows)
        ends = tuple(limits.get(str(ion)) for ion in pair)
        maps.append(plots.PairMap(spectrum, line, (ends[0], ends[1]), gate))
        tables[f"{labels[one]}_{labels[other]}"] = _numbers(spectrum)
    plots.pairs(figure, maps)
    return tables


def _is_complete(table: Coincidences) -> bool:
    """Whether the ions of the coincidences are all of the break-up, as far as the file tells."""
    channel = channel_of(table.meta)
    return channel is None or channel.is_complete


def _gate_z(source: _Source) -> tuple[float, ...]:
    """Both ends of the gate on the momentum sum along the field, where there is one."""
    if not source.selection.is_empty:
        return ()
    try:
        marks = source.spectrum(SPECTRUM_SUM[2]).marks
    except InputFileError:
        return ()
    ends = (marks.get(GATE_LOW), marks.get(GATE_HIGH))
    return tuple(end for end in ends if end is not None)


def _conserved(
    ions: Sequence[Ion], setup: Setup, spectrum: Spectrum, total: float = 0.0
) -> FloatArray:
    """Times of flight of ions whose momenta along the field have this sum, a.u.

    Of two ions the time of one and the other; of three the sum of the first two, which share
    their momentum by mass, and the third.
    """
    from molexa_core.base.matter.flight import flight_time  # noqa: PLC0415

    momenta = np.linspace(-_REACH, _REACH, 481)
    way = setup.spectrometer
    *first, last = ions
    mass = sum(ion.mass for ion in first)
    try:
        times = [flight_time(momenta * ion.mass / mass, ion.charge, ion.mass, way) for ion in first]
        up = flight_time(total - momenta, last.charge, last.mass, way)
    except (MolexaError, TypeError, AttributeError):
        return np.empty((0, 2))
    across = np.sum(times, axis=0)
    inside = (
        (across >= spectrum.edges[0][0])
        & (across <= spectrum.edges[0][-1])
        & (up >= spectrum.edges[1][0])
        & (up <= spectrum.edges[1][-1])
    )
    return np.stack([across[inside], up[inside]], axis=1)


def _triion(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    table = source.events()
    labels = ion_labels(table.ions)
    chosen = list(source.options.ions) or labels[:3]
    if len(chosen) != 3:
        raise UsageError("a tri-ion map needs three ions", do="Name three with `ions=`.")
    across = f"tof({chosen[0]}) + tof({chosen[1]})"
    spectrum = spectrum_of(table, [across, f"tof({chosen[2]})"], bins=source.options.bins or 160)
    spectrum = Spectrum(spectrum.counts, spectrum.edges, spectrum.labels, ("ns", "ns"))
    setup = _setup(table.meta, source.path)
    line = np.empty((0, 2))
    if setup is not None and len(labels) == len(chosen) and _is_complete(table):
        line = _conserved([parse_ion(one.partition("#")[0]) for one in chosen], setup, spectrum)
    log = source.options.log is not False
    plots.density(figure, spectrum, log=log, equal=False, line=line)
    return {"triion": _numbers(spectrum)}


# sums, energies ----------------------------------------------------------------------------------


def _sums(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    spectra = [source.spectrum(name) for name in SPECTRUM_SUM]
    plots.sums(figure, spectra)
    return dict(zip(SPECTRUM_SUM, map(_numbers, spectra), strict=True))


def _ker(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    other = source.second()
    if other is not None:
        return {"ker": _over(figure, source, other, "ker")}
    spectrum = spectrum_of(source.events(), ["ker"], bins=source.options.bins or 80)
    fit = _fit(spectrum)
    fits = [] if fit is None else [fit]
    plots.histogram(figure, [spectrum], ["ker"], fits=fits, log=bool(source.options.log))
    return {"ker": _numbers(spectrum)}


def _energies(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    table = source.events()
    labels = list(source.options.ions) or ion_labels(table.ions)
    other = source.second()
    if other is not None:
        if len(labels) != 1:
            raise UsageError("two files are compared for one ion", do="Name it with `ions=`.")
        return {"energies": _over(figure, source, other, f"energy({labels[0]})")}
    names = [f"energy({label})" for label in labels]
    top = max(float(spectrum_of(table, [name], bins=10).edges[0][-1]) for name in names)
    bins = source.options.bins or 200
    spectra = [spectrum_of(table, [name], bins=bins, limits=[(0.0, top)]) for name in names]
    named = [
        Spectrum(one.counts, one.edges, ("energy of an ion",), ("eV",), errors=one.errors)
        for one in spectra
    ]
    fits = [_fit(one) for one in spectra]
    plots.histogram(figure, named, labels, fits=fits, log=bool(source.options.log))
    return {f"energy_{label}": _numbers(one) for label, one in zip(labels, spectra, strict=True)}


def _fit(spectrum: Spectrum) -> plots.Fit | None:
    """A Gaussian through the upper part of the largest peak; None where there is no peak.

    Where a Gaussian does not describe it (chi-square test at 0.001), the place and the width at
    half maximum of the counts, each averaged with its neighbours, are in its place.
    """
    from scipy.optimize import curve_fit  # noqa: PLC0415
    from scipy.stats import chi2  # noqa: PLC0415

    x, counts = spectrum.centres[0], np.asarray(spectrum.counts, float)
    top = int(counts.argmax())
    high = counts > 0.4 * counts[top]
    left = top - int(np.argmin(high[top::-1])) if not high[: top + 1].all() else 0
    right = top + int(np.argmin(high[top:])) if not high[top:].all() else len(x) - 1
    low, end = max(left, 0), min(right + 1, len(x))
    if end - low < 5:
        return None
    step = float(x[1] - x[0])
    start = (counts[top], x[top], max((end - low) * step / 2.7, step))
    try:
        (height, centre, sigma), _ = curve_fit(
            lambda at, height, middle, width: height * np.exp(-0.5 * ((at - middle) / width) ** 2),
            x[low:end],
            counts[low:end],
            p0=start,
            maxfev=2000,
        )
    except (RuntimeError, ValueError):
        return None
    if not x[0] < centre < x[-1]:
        return None
    curve = height * np.exp(-0.5 * ((x[low:end] - centre) / sigma) ** 2)
    errors = np.sqrt(np.maximum(curve, 1.0))
    if spectrum.errors is not None:
        errors = np.maximum(np.asarray(spectrum.errors, float)[low:end], errors)
    misfit = float((((counts[low:end] - curve) / errors) ** 2).sum())
    if chi2.sf(misfit, end - low - 3) < _NO_GAUSSIAN:
        return _half_maximum(x, counts)
    return plots.Fit(float(centre), abs(float(sigma)), float(height))


def _half_maximum(x: FloatArray, counts: FloatArray) -> plots.Fit:
    """Where counts (n) over x (n) are highest, and their full width at half maximum."""
    smooth = np.convolve(counts, np.full(_SMOOTHED, 1.0 / _SMOOTHED), mode="same")
    top = int(smooth.argmax())
    half = 0.5 * smooth[top]

    def crossing(side: range) -> float:
        before = top
        for at in side:
            if smooth[at] < half:
                share = (half - smooth[at]) / (smooth[before] - smooth[at])
                return float(x[at] + share * (x[before] - x[at]))
            before = at
        return float(x[before])

    width = crossing(range(top + 1, len(x))) - crossing(range(top - 1, -1, -1))
    return plots.Fit(float(x[top]), width / _FWHM, float(smooth[top]), gaussian=False)


_NO_GAUSSIAN: Final = 1e-3
_SMOOTHED: Final = 5
_FWHM: Final = 2.3548


def _over(figure: Figure, source: _Source, other: _Source, name: str) -> pd.DataFrame:
    """One observable of two files, with ratio and pull below; its numbers."""
    one, two = source.events(), other.events()
    rough = [spectrum_of(table, [name], bins=10).edges[0] for table in (one, two)]
    limits = (min(float(e[0]) for e in rough), max(float(e[-1]) for e in rough))
    bins = source.options.bins or _OVER_BINS
    first, second = (spectrum_of(t, [name], bins=bins, limits=[limits]) for t in (one, two))
    found = compare_spectra(first, second, scale=_scale_of(source, other))
    plots.overlay(figure, _over_of(found), _names(source, other), log=bool(source.options.log))
    return _beside_numbers(found)


def _over_of(found: SpectrumComparison) -> plots.Over:
    return plots.Over(found.first, found.second, found.scale, found.ratio, found.pull)


def _scale_of(source: _Source, other: _Source) -> float | None:
    """Two gates on one file are compared as they are, two files by their shapes."""
    return 1.0 if source.path == other.path and source.held is other.held else None


def _names(source: _Source, other: _Source) -> tuple[str, str]:
    """What the legend calls two results."""
    if source.path != other.path:
        same = source.path.name == other.path.name
        first, second = (str(p) if same else p.name for p in (source.path, other.path))
        return first, second
    return "; ".join(source.selection.where or ["all"]), "; ".join(other.selection.where or ["all"])


def _beside_numbers(found: SpectrumComparison) -> pd.DataFrame:
    header, numbers = found.rows()
    return pd.DataFrame(numbers, columns=list(header))


def _histogram(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    name = _needed(source.options.x, "x")
    other = source.second()
    if other is not None:
        return {"histogram": _over(figure, source, other, name)}
    spectrum = spectrum_of(source.events(), [name], bins=source.options.bins or 100)
    plots.histogram(figure, [spectrum], [name], log=bool(source.options.log))
    return {"histogram": _numbers(spectrum)}


def _map(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    across, up = _needed(source.options.x, "x"), _needed(source.options.y, "y")
    spectrum = spectrum_of(source.events(), [across, up], bins=source.options.bins or 160)
    plots.density(figure, spectrum, log=bool(source.options.log), equal=False)
    return {"map": _numbers(spectrum)}


def _needed(text: str | None, name: str) -> str:
    if text is None:
        raise UsageError(
            "this figure needs an observable", do=f"Name one with `{name}=`, such as ker."
        )
    return text


# momenta -----------------------------------------------------------------------------------------


def _newton(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    from molexa_core.frame.maps import newton_map  # noqa: PLC0415

    table = source.events()
    roles = table.meta.get("roles")
    if not isinstance(roles, Mapping) and "frame" not in table.meta:
        raise InputFileError(
            "the events are not in a molecular frame",
            where=source.path,
            do="Name the aligned file that molexa align wrote.",
        )
    labels = ion_labels(table.ions)
    ions = [labels.index(one) for one in source.options.ions] if source.options.ions else None
    frame = table.meta.get("frame")
    known = frame.get("plane") if isinstance(frame, Mapping) else None
    plane = source.options.plane or (str(known) if known in ("xy", "xz", "yz") else "xy")
    spectrum = newton_map(table, plane=plane, ions=ions, bins=source.options.bins or 160)
    arrow = _reference(table.meta)
    plots.density(figure, spectrum, log=bool(source.options.log), equal=True, arrow=arrow)
    return {"newton": _numbers(spectrum)}


def _reference(meta: Mapping[str, Any]) -> str | None:
    frame = meta.get("frame")
    if isinstance(frame, Mapping) and isinstance(frame.get("reference"), str):
        return str(frame["reference"])
    return None


def _dalitz(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    table = source.events()
    labels = ion_labels(table.ions)
    chosen = list(source.options.ions) or labels
    missing = [one for one in chosen if one not in labels]
    if len(chosen) != 3 or missing:
        raise UsageError(
            "a Dalitz plot needs three ions",
            do=f"Name three of {listing(labels)} with `ions=`.",
        )
    columns = [labels.index(one) for one in chosen]
    spectrum = dalitz_map(table, columns, bins=source.options.bins or 120)
    plots.dalitz(figure, spectrum, chosen, log=bool(source.options.log))
    return {"dalitz": _numbers(spectrum)}


def _momenta(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    table = source.events()
    labels = ion_labels(table.ions)
    chosen = list(source.options.ions) or labels
    rows = np.linspace(0, len(table) - 1, min(len(table), _CLOUD)).astype(int)
    clouds = {one: table.momentum[rows, labels.index(one)] for one in chosen}
    plots.momenta(figure, clouds)
    numbers = {
        f"{one}.p{axis}": cloud[:, at]
        for one, cloud in clouds.items()
        for at, axis in enumerate("xyz")
    }
    return {"momenta": pd.DataFrame(numbers)}


# structure, training -----------------------------------------------------------------------------


def _structure(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    record = source.record()
    geometry = record.geometry()
    positions, covariance, axes = _principal(geometry, record)
    joined = bonds(geometry)
    labels = _atom_labels(geometry)
    other = source.second()
    beside = None if other is None else _superposed(geometry, other) @ axes.T
    views = []
    for across, up, depth in ((0, 1, 2), (0, 2, 1)):
        order = np.argsort(positions[:, depth])
        place = {int(atom): number for number, atom in enumerate(order)}
        atoms = [
            plots.Atom(
                geometry.symbols[atom],
                labels[atom],
                positions[atom, [across, up]],
                None
                if covariance is None
                else covariance[atom][np.ix_((across, up), (across, up))],
                None if beside is None else beside[atom, [across, up]],
            )
            for atom in order
        ]
        pairs = [(place[i], place[j]) for i, j in joined]
        views.append(plots.StructureView("xyz"[across], "xyz"[up], atoms, pairs))
    names = ("", "") if other is None else (source.path.name, str(other.path.name))
    plots.structure(figure, views, names)
    numbers = pd.DataFrame(positions, columns=["x_angstrom", "y_angstrom", "z_angstrom"])
    numbers.insert(0, "atom", labels)
    if beside is not None:
        for axis, name in enumerate("xyz"):
            numbers[f"second_{name}_angstrom"] = beside[:, axis]
    return {"structure": numbers}


def _score(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    """Every distance of a structure against that of a known one, with what it claims."""
    known = source.options.beside
    if known is None:
        raise UsageError(
            "a score needs a known structure",
            do="Name it behind the structure: an XYZ file or a shipped molecule.",
        )
    given = source.path if source.held is None else source.record()
    found = score(given, known, progress=source.progress)
    moved = found.superposition.moved
    pairs = list(combinations(range(len(moved)), 2))
    own = given if isinstance(given, ReconstructionRecord) else structure_in(given)
    own = own.geometry() if isinstance(own, ReconstructionRecord) else own
    names = _atom_labels(own)
    value, true = (pair_distances(x[None])[0] for x in (own.positions, moved))
    half = np.full(len(pairs), np.nan)
    if len(found.claims) == len(pairs):
        value = np.array([one.value for one in found.claims])
        half = np.array([one.half_width for one in found.claims])
    numbers = pd.DataFrame(
        {
            "distance": [f"{names[i]}-{names[j]}" for i, j in pairs],
            "value_angstrom": value * BOHR_ANGSTROM,
            "half_width_angstrom": half * BOHR_ANGSTROM,
            "known_angstrom": true * BOHR_ANGSTROM,
            "error_angstrom": (value - true) * BOHR_ANGSTROM,
        }
    )
    told = [f"mean absolute error {found.errors.mae * BOHR_ANGSTROM:.2g} Å"]
    if found.ratio is not None:
        told.append(f"rms error over rms ± {found.ratio:.2f}")
    plots.deviations(
        figure,
        numbers["distance"].tolist(),
        numbers["error_angstrom"].to_numpy(),
        numbers["half_width_angstrom"].to_numpy(),
        ", ".join(told),
    )
    return {"score": numbers}


def _superposed(geometry: Geometry, other: _Source) -> FloatArray:
    """(atoms, 3) Å, a second structure on the first, in the order of its atoms, centred alike."""
    second = structure_in(other.path, other.progress)
    found = superpose(
        geometry.positions, second.positions, geometry.symbols, symbols_b=second.symbols
    )
    return np.asarray(found.moved - geometry.positions.mean(axis=0)) * BOHR_ANGSTROM


def _principal(
    geometry: Geometry, record: ReconstructionRecord
) -> tuple[FloatArray, list[FloatArray] | None, FloatArray]:
    """(atoms, 3) positions in Å along the principal axes, covariance of each atom, the axes."""
    x = (geometry.positions - geometry.positions.mean(axis=0)) * BOHR_ANGSTROM
    axes = np.linalg.svd(x, full_matrices=True)[2]
    if record.uncertainty_bohr is None:
        return x @ axes.T, None, axes
    error = record.uncertainty_bohr * BOHR_ANGSTROM
    return x @ axes.T, [axes @ np.diag(one**2) @ axes.T for one in error], axes


def _atom_labels(geometry: Geometry) -> list[str]:
    """Symbols with the number of the atom, as in the report."""
    return [f"{name}{number}" for number, name in enumerate(geometry.names, start=1)]


def _training(figure: Figure, source: _Source) -> dict[str, pd.DataFrame]:
    path = source.path / "log.jsonl" if source.path.is_dir() else source.path
    rows = []
    try:
        with path.open(encoding="utf-8") as stream:
            rows = [json.loads(line) for line in stream if line.strip()]
    except (OSError, ValueError) as error:
        raise InputFileError(
            "no log of a training", where=path, do="Name the folder of a training."
        ) from error
    table = pd.DataFrame([row for row in rows if isinstance(row, dict) and "step" in row])
    losses = [name for name in table if str(name).endswith("loss")]
    if not losses:
        raise InputFileError("a log without losses", where=path)
    kept = [name for name in losses if (table[name].fillna(0) != 0).any()]
    if "loss" in kept:  # a part that is all of it is not drawn twice
        kept = [n for n in kept if n == "loss" or not table[n].equals(table["loss"])]
    lines = {str(name).replace("_", " "): table[name].to_numpy(float) for name in kept}
    log = True if source.options.log is None else source.options.log
    plots.curves(figure, table["step"].to_numpy(float), lines, "step", "loss", log=log)
    return {"training": table}


# numbers -----------------------------------------------------------------------------------------


def _numbers(spectrum: Spectrum) -> pd.DataFrame:
    """The bins of a histogram: limits, counts and their standard errors."""
    counts = np.asarray(spectrum.counts, float)
    errors = np.sqrt(np.abs(counts)) if spectrum.errors is None else np.asarray(spectrum.errors)
    if counts.ndim == 1:
        low, high = spectrum.edges[0][:-1], spectrum.edges[0][1:]
        name = _column(spectrum, 0)
        columns = {f"{name} low": low, f"{name} high": high, "counts": counts, "error": errors}
        return pd.DataFrame(columns)
    across, up = np.nonzero(counts)
    columns = {}
    for axis, at in ((0, across), (1, up)):
        name = _column(spectrum, axis)
        columns[f"{name} low"] = spectrum.edges[axis][at]
        columns[f"{name} high"] = spectrum.edges[axis][at + 1]
    return pd.DataFrame(columns | {"counts": counts[across, up], "error": errors[across, up]})


def _column(spectrum: Spectrum, axis: int) -> str:
    name, unit = spectrum.labels[axis], spectrum.units[axis]
    other = spectrum.labels[1 - axis] if len(spectrum.labels) > 1 else ""
    numbered = f"{name} {'xy'[axis]}" if name == other else name
    return f"{numbered} ({unit})" if unit else numbered


def _coarser(spectrum: Spectrum, bins: int) -> Spectrum:
    """A histogram with about this number of bins, each several of the old."""
    if bins < 1:
        raise UsageError(f"{bins} bins", setting="bins", do="Give 1 or more.")
    each = max(1, len(spectrum.counts) // bins)
    n = len(spectrum.counts) // each
    counts = np.asarray(spectrum.counts)[: n * each].reshape(n, each).sum(axis=1)
    edges = spectrum.edges[0][: n * each + 1 : each]
    return Spectrum(counts, (edges,), spectrum.labels, spectrum.units, spectrum.marks)


def _setup(meta: Mapping[str, Any], path: Path) -> Setup | None:
    """The setup with which events were reduced, where they say it."""
    values = meta.get("setup")
    if not isinstance(values, Mapping):
        return None
    return parse_settings(Setup, dict(values), where=f"setup in {path}")


_EVENTS: Final = "events file"
_ANY: Final = "events or aligned file"
PLOTS: Final = {
    one.name: one
    for one in (
        Plot("tof", "time of flight of all hits, peaks named, m/q axis", _EVENTS, 0.72, _tof),
        Plot("image", "positions of all hits on the detector", _EVENTS, 0.85, _image),
        Plot("pipico", "times of flight of every pair of ions", _EVENTS, 0.95, _pipico),
        Plot("triion", "sum of two times of flight against a third", _EVENTS, 0.8, _triion),
        Plot("sums", "momentum sums with the gate", _EVENTS, 0.62, _sums),
        Plot("ker", "kinetic energy release, with a fit", _ANY, 0.7, _ker),
        Plot("energies", "kinetic energy of every ion", _ANY, 0.7, _energies),
        Plot("histogram", "any observable", _ANY, 0.7, _histogram),
        Plot("map", "any two observables", _ANY, 0.8, _map),
        Plot("newton", "momenta in a plane of the molecular frame", "aligned file", 0.85, _newton),
        Plot("dalitz", "how three ions share the energy", _ANY, 0.85, _dalitz),
        Plot("momenta", "momenta of all ions in three dimensions", _ANY, 0.9, _momenta),
        Plot("structure", "a structure with error ellipses", "geom.json", 0.95, _structure),
        Plot("score", "errors of all distances", "geom.json and a known one", 0.95, _score),
        Plot("training", "losses of a training", "folder of a training", 0.7, _training),
    )
}
"""The figures there are, by name."""
