"""Figures of results: `mx.plot`, the `.plot()` of every result, and its picture in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa.by_class import ByClass
from molexa.files import inspect, is_run, read
from molexa.momenta import is_momenta, labels_of
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.fields import (
    MOMENTUM,
    MOMENTUM_ERROR,
    SPECTRUM_IMAGE,
    SPECTRUM_KER,
    SPECTRUM_TOF,
)
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.shown import Shown
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.bonds import bonds
from molexa_core.io.results.geometry_json import ReconstructionRecord
from molexa_core.pipeline.chain import plot as plots
from molexa_core.pipeline.output_guard import require_outputs

Conditions = str | Sequence[str] | None
SAMPLE_SHOTS: Final = 100_000
"""Shots of a run that are read for its picture."""
_MOST_SAMPLES: Final = 24
_MOST_LINES: Final = 6
Sheet = Any
"""Makes an empty figure of an aspect: height over width."""


def plot(
    source: Any,
    *what: str,
    out: str | Path | None = None,
    ions: str | Sequence[str] = (),
    plane: str = "xy",
    bins: int | None = None,
    log: bool | None = None,
    width: str | None = None,
    style: str | Path | None = None,
    where: Conditions = None,
    gate: Conditions = None,
    ax: Any = None,
) -> Any:
    """Draw a result.

    Args:
        source: a result in memory, its file, or the folder of a training.
        what: name of a figure, as those of `molexa plot`; or one observable such as `ker`, or two
            for a map; the usual figure of the result if not given.
        out: PDF, SVG or PNG to write, with its numbers as CSV beside it.
        ions: to show, where the figure is of ions.
        plane: of the molecular frame, for `newton`.
        bins: number of bins of each axis.
        log: whether counts are logarithmic; as usual for the figure if not given.
        width: such as `8.6cm`, the width of a column of a journal, with `out`.
        style: style file of matplotlib.
        where: condition on the coincidences, such as `ker in 20..26`.
        gate: names of regions.
        ax: axes of matplotlib to draw into, for a figure of a single panel.

    Returns:
        The axes, to be styled further; an array of them for several panels.

    Raises:
        UsageError: no such figure of this result.
        MolexaError: as `pipeline.chain.plot.plot`.

    Example:
        ax = mx.plot(events, "ker", bins=60)
        ax.set_xlim(0, 40)
    """
    named = [source] if isinstance(source, str | Path) else []
    shown = ions.replace(",", " ").split() if isinstance(ions, str) else ions
    options = plots.Options(
        ions=tuple(shown), plane=plane, bins=bins, log=log, width=width, style=style
    )
    selection = Selection(where=_listed(where), gate=_listed(gate))
    on_screen = ax is None and out is None
    if named and Path(named[0]).is_dir():
        drawn = plots.plot("training", named[0], options, on_screen=on_screen, within=ax)
        inputs: list[Any] = []
    else:
        held = source
        if named:
            held = inspect(named[0]) if is_run(Path(named[0])) else read(named[0])
        drawn, inputs = _drawn(held, what, options, selection, on_screen, ax), named
    if out is not None:
        target = Path(out)
        require_outputs((target, FileKind.FIGURE), inputs=inputs)
        plots.write_drawn(drawn, target, options, Provenance.of(inputs=inputs))
    return plots.panels(drawn)


def picture(result: Any) -> str:
    """The usual picture of a result as HTML; empty where it has none."""
    if (view := _view(result)) is not None:
        return view
    options = plots.Options(width="12cm")
    drawn = _drawn(result, (), options, Selection(), on_screen=False, ax=None)
    return f'<img alt="figure" style="max-width:100%" src="{plots.png(drawn)}"/>'


def _drawn(
    result: Any,
    what: Sequence[str],
    options: plots.Options,
    selection: Selection,
    on_screen: bool,
    ax: Any,
) -> plots.Drawn:
    """Draw a figure of a result."""
    sheet = partial(plots.sheet, options, on_screen=on_screen, within=ax)
    if isinstance(result, pd.DataFrame) and is_momenta(result):
        return _only(what, "momenta", lambda: _means(result, sheet))
    if not isinstance(result, Shown):
        raise UsageError(
            f"no result that is drawn: {type(result).__name__}",
            do="Give a run, coincidences, mean momenta, a structure, a spectrum, or a file.",
        )
    if (own := own_figure(result, what, sheet, options)) is not None:
        return own
    held, usual = _held(result)
    name, x, y = _named(what, usual, held)
    changed = plots.Options(**{**vars(options), "x": x, "y": y})
    return plots.plot(name, held, changed, selection=selection, on_screen=on_screen, within=ax)


def _held(result: Any) -> tuple[plots.Held, str]:
    """What a figure is drawn from, and the usual figure.

    Raises:
        UsageError: there is none.
    """
    if isinstance(result, Coincidences):
        return plots.Held(events=result), "newton" if "frame" in result.meta else "ker"
    if (record := _record_of(result)) is not None:
        return plots.Held(record=record), "structure"
    if (spectra := _spectra_of(result)) is not None:
        return plots.Held(spectra=spectra), "tof"
    raise UsageError(f"there is no figure of a {type(result).__name__}")


def _named(what: Sequence[str], usual: str, held: plots.Held) -> tuple[str, str | None, str | None]:
    """The name of the figure and its observables."""
    if not what:
        return usual, None, None
    if what[0] in plots.PLOTS:
        x, y = (*what[1:], None, None)[:2]
        return what[0], x, y
    if held.events is None or len(what) > 2:
        return what[0], None, None
    return ("histogram", what[0], None) if len(what) == 1 else ("map", what[0], what[1])


def _only(what: Sequence[str], name: str, draw: Any) -> plots.Drawn:
    if what and list(what) != [name]:
        raise UsageError(f"there is no figure {listing(what)} of this result", do=f"It has {name}.")
    drawn: plots.Drawn = draw()
    return drawn


def _as_record(geometry: Geometry) -> ReconstructionRecord:
    """A structure as a record, so that it is drawn as one."""
    return ReconstructionRecord(
        symbols=geometry.symbols,
        positions_bohr=geometry.positions,
        charges=geometry.charges,
        uncertainty_bohr=geometry.uncertainty,
        isotopes=geometry.isotopes,
    )


def _mean_of_events(file: Any) -> ReconstructionRecord | None:
    """The mean structure of single events as a record; None in files of older versions."""
    places = np.array(file.summary.get("positions_bohr", ()), float)
    ions = file.structures.ions
    if places.shape != (len(ions), 3):
        return None
    errors = [
        np.array(file.summary.get(f"{of}_bohr") or 0.0) for of in ("statistical", "systematic")
    ]
    return ReconstructionRecord(
        symbols=tuple(ion.element.symbol for ion in ions),
        positions_bohr=places,
        charges=tuple(ion.charge for ion in ions),
        uncertainty_bohr=np.broadcast_to(np.hypot(*errors), places.shape).copy(),
    )


def _census(chunks: Any) -> dict[str, Spectrum]:
    """Times of flight and image of the first shots of a run."""
    from molexa_core.pipeline.runs.inspect_run import HitCensus  # noqa: PLC0415

    census = HitCensus()
    for chunk in chunks:
        census.add(chunk.shots(0, min(chunk.n_shots, SAMPLE_SHOTS - census.shots)))
        if census.shots >= SAMPLE_SHOTS:
            break
    named = ((SPECTRUM_TOF, census.tof), (SPECTRUM_IMAGE, census.image))
    return {name: spectrum for name, spectrum in named if spectrum is not None}


def _means(table: pd.DataFrame, sheet: Sheet) -> plots.Drawn:
    from molexa_core.report.momentum_figures import mean_momenta  # noqa: PLC0415

    errors = None
    if set(MOMENTUM_ERROR) <= set(table):
        errors = table[list(MOMENTUM_ERROR)].to_numpy(float)
    with _made(sheet, 0.5) as figure:
        mean_momenta(figure, labels_of(table), table[list(MOMENTUM)].to_numpy(float), errors)
        figure.canvas.draw()
    return plots.Drawn(figure, {"momenta": pd.DataFrame(table)})


def _spectrum(spectrum: Spectrum, sheet: Sheet, options: plots.Options) -> plots.Drawn:
    from molexa_core.report import paper_figures  # noqa: PLC0415

    flat = spectrum.counts.ndim == 1
    with _made(sheet, 0.7 if flat else 0.85) as figure:
        if flat:
            name = spectrum.labels[0]
            paper_figures.histogram(figure, [spectrum], [name], log=bool(options.log))
        else:
            equal = spectrum.units[0] == spectrum.units[1]
            paper_figures.density(figure, spectrum, log=bool(options.log), equal=equal)
        figure.canvas.draw()
    return plots.Drawn(figure, {"spectrum": plots.numbers_of(spectrum)})


def _named_spectrum(
    spectra: Mapping[str, Spectrum],
    name: str | None,
    sheet: Sheet,
    options: plots.Options,
) -> plots.Drawn:
    """One of several spectra; the first if no name is given."""
    chosen = name or next(iter(spectra), "")
    if chosen not in spectra:
        raise UsageError(
            f"there is no spectrum {chosen!r}", do=f"There are: {listing(spectra, limit=12)}."
        )
    return _spectrum(spectra[chosen], sheet, options)


def _outcomes(result: Any, what: Sequence[str], sheet: Sheet, options: Any) -> plots.Drawn:
    return _named_spectrum(result.spectra, what[0] if what else SPECTRUM_KER, sheet, options)


def _explosion(result: Any, what: Sequence[str], sheet: Sheet, _: Any) -> plots.Drawn:
    return _only(what, "momenta", lambda: _means(result.table, sheet))


def _one_spectrum(result: Any, what: Sequence[str], sheet: Sheet, options: Any) -> plots.Drawn:
    return _only(what, "spectrum", lambda: _spectrum(result, sheet, options))


def _covariances(result: Any, what: Sequence[str], sheet: Sheet, _: Any) -> plots.Drawn:
    from molexa_core.report.several_figures import in_errors  # noqa: PLC0415

    name = what[0] if what else next(iter(result.maps))
    if name not in result.maps:
        raise UsageError(
            f"there is no map {name!r}", do=f"There are: {listing(result.maps, limit=12)}."
        )
    with _made(sheet, 0.85) as figure:
        in_errors(figure, result.maps[name])
        figure.canvas.draw()
    return plots.Drawn(figure, {name: plots.numbers_of(result.maps[name])})


def _compared(result: Any, what: Sequence[str], sheet: Sheet, _: Any) -> plots.Drawn:
    from molexa_core.report.several_figures import beside  # noqa: PLC0415

    def draw() -> plots.Drawn:
        with _made(sheet, 0.9) as figure:
            beside(figure, result.first, result.second, result.pull)
            figure.canvas.draw()
        header, rows = result.rows()
        return plots.Drawn(figure, {"comparison": pd.DataFrame(rows, columns=list(header))})

    return _only(what, "comparison", draw)


def _side_by_side(result: Any, what: Sequence[str], sheet: Sheet, _: Any) -> plots.Drawn:
    from molexa_core.report.several_figures import pulls  # noqa: PLC0415

    def draw() -> plots.Drawn:
        bonded = [one for one in result.rows if one.bonded] or list(result.rows)
        names = [one.of for one in bonded]
        columns = {
            name: np.array([np.nan if v is None else v for v in values], float)
            for name, values in (
                ("difference", [one.difference for one in bonded]),
                ("error", [one.difference_error for one in bonded]),
            )
        }
        lengths = np.array([one.unit == "bohr" for one in bonded])
        with _made(sheet, 0.8) as figure:
            pulls(figure, names, columns["difference"], columns["error"], lengths)
            figure.canvas.draw()
        return plots.Drawn(figure, {"differences": pd.DataFrame({"of": names, **columns})})

    return _only(what, "differences", draw)


def _movie(result: Any, what: Sequence[str], sheet: Sheet, _: Any) -> plots.Drawn:
    def draw() -> plots.Drawn:
        at = np.array([frame.at for frame in result.frames], float)
        unit = f" ({result.unit})" if result.unit else ""
        lines = []
        for n in result.shown()[0][:_MOST_LINES]:
            ends = [frame.distances[n] for frame in result.frames]
            value = np.array([one.value for one in ends]) * BOHR_ANGSTROM
            half = np.array([np.nan if one.half_width is None else one.half_width for one in ends])
            name = "-".join(result.names[atom] for atom in result.pairs[n])
            lines.append((name, value, half * BOHR_ANGSTROM))
        return _lines(sheet, at, f"delay{unit}" if unit else "frame", "Å", lines)

    return _only(what, "movie", draw)


def _series(result: Any, what: Sequence[str], sheet: Sheet, _: Any) -> plots.Drawn:
    """The quantities that are named, or the lengths of the bonds, or all momenta."""
    from molexa_core.io.results.series_file import UNITS  # noqa: PLC0415

    values = result.values
    bins = values["bins"]
    first = bins[0]["quantities"] if bins else []
    by_name = {str(one["of"]): number for number, one in enumerate(first)}
    wanted = list(what) or [name for name, n in by_name.items() if first[n].get("bond")]
    wanted = (wanted or list(by_name))[:_MOST_LINES]
    if missing := [name for name in wanted if name not in by_name]:
        raise UsageError(
            f"the series has no {listing(missing)}", do=f"It has {listing(by_name, limit=20)}."
        )
    lines, unit = [], ""
    for name in wanted:
        cells = [one["quantities"][by_name[name]] for one in bins]
        unit, factor = UNITS.get(cells[0]["kind"], (cells[0]["kind"], 1.0))
        value = np.array([_number(one["mean"]) for one in cells]) * factor
        error = np.hypot(
            [_number(one["statistical"]) for one in cells],
            [one["systematic"] or 0.0 for one in cells],
        )
        lines.append((name, value, error * factor))
    at = np.array([one["value"] for one in bins], float)
    across = f"{values['by']} ({values['unit']})" if values.get("unit") else str(values["by"])
    short = {"angstrom": "Å", "degrees": "°"}.get(str(unit), str(unit))
    return _lines(sheet, at, across, short, lines)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _lines(sheet: Sheet, at: Any, across: str, unit: str, lines: Sequence[Any]) -> plots.Drawn:
    from molexa_core.report.several_figures import points  # noqa: PLC0415

    with _made(sheet, 0.7) as figure:
        points(figure, at, across, unit, lines)
        figure.canvas.draw()
    columns = {across: at}
    for name, value, error in lines:
        columns |= {f"{name} ({unit})": value, f"{name} error": error}
    return plots.Drawn(figure, {"series": pd.DataFrame(columns)})


own_figure: Final = ByClass[plots.Drawn | None](
    lambda *_: None,
    {
        "molexa_core.base.charge_combinations": lambda of: {of.Outcomes: _outcomes},
        "molexa_core.base.spectrum": lambda of: {of.Spectrum: _one_spectrum},
        "molexa_core.geometry.side_by_side": lambda of: {of.SideBySide: _side_by_side},
        "molexa_core.observables.comparison": lambda of: {of.SpectrumComparison: _compared},
        "molexa_core.pipeline.chain.covariance_maps": lambda of: {of.Covariances: _covariances},
        "molexa_core.pipeline.chain.movie": lambda of: {of.Movie: _movie},
        "molexa_core.pipeline.explosions.simulate": lambda of: {of.Explosion: _explosion},
        "molexa.comparisons": lambda of: {of.Series: _series},
    },
)
"""The figure of a result that is not drawn from coincidences or a structure; None if it is."""
_record_of: Final = ByClass[ReconstructionRecord | None](
    lambda _: None,
    {
        "molexa_core.base.tables": lambda of: {of.Geometry: _as_record},
        "molexa_core.io.results.geometry_json": lambda of: {
            of.ReconstructionRecord: lambda record: record
        },
        "molexa_core.io.results.structures": lambda of: {of.StructuresFile: _mean_of_events},
        "molexa_core.physics.molecules.library": lambda of: {
            of.Molecule: lambda molecule: _as_record(molecule.geometry)
        },
        "molexa_core.pipeline.reconstruction.events_answer": lambda of: {
            of.EventsAnswer: lambda answer: answer.record
        },
    },
)
"""The record of what is drawn as a structure; None if it is none."""
_spectra_of: Final = ByClass[Mapping[str, Spectrum] | None](
    lambda _: None,
    {
        "molexa_core.base.tables": lambda of: {of.Hits: lambda hits: _census([hits])},
        "molexa_core.pipeline.runs.inspection": lambda of: {
            of.Inspection: lambda found: found.spectra
        },
        "molexa_core.pipeline.runs.mock_run": lambda of: {
            of.MockRun: lambda run: _census(run.chunks())
        },
        "molexa_core.pipeline.runs.open_run": lambda of: {of.OpenRun: _census},
    },
)
"""The spectra of a raw run; None if it is none."""


def _made(sheet: Sheet, aspect: float) -> AbstractContextManager[Any]:
    made: AbstractContextManager[Any] = sheet(aspect)
    return made


def _view(result: Any) -> str | None:
    """The view in three dimensions of what has one."""
    from molexa_core.report.small_view import SmallScene, small_view  # noqa: PLC0415

    record = _record_of(result)
    if record is None:
        return None
    geometry, samples = record.geometry(), record.samples_bohr
    if samples is not None:
        samples = samples[:_MOST_SAMPLES] * BOHR_ANGSTROM if len(samples) > 1 else None
    names = [f"{name}{number}" for number, name in enumerate(geometry.names, start=1)]
    return small_view(
        SmallScene(
            names,
            geometry.symbols,
            geometry.positions * BOHR_ANGSTROM,
            bonds(geometry),
            clouds=samples,
        )
    )


def _listed(conditions: Conditions) -> list[str] | None:
    if conditions is None:
        return None
    return [conditions] if isinstance(conditions, str) else list(conditions)
