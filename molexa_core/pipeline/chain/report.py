"""Report: all results of the stages in a folder on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.fields import ION
from molexa_core.base.options.compare_options import NOTHING, Comparing
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.files import UNWRITABLE, atomic_path
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry, ion_labels
from molexa_core.frame.centroid import energy_kept
from molexa_core.frame.maps import kinetic_energy_release, newton_map
from molexa_core.io.results.channel_csv import energy_of, read_channel_csv, warnings_of
from molexa_core.io.results.covariance_file import read_covariance
from molexa_core.io.results.events import read_events, read_spectra
from molexa_core.io.results.geometry_json import ReconstructionRecord, read_geometry_json
from molexa_core.io.results.series_file import read_series
from molexa_core.io.results.structures import StructuresFile, read_structures_file
from molexa_core.io.xyz import read_provenance, read_xyz
from molexa_core.pipeline.chain.centroid import CHANNEL_FILE
from molexa_core.pipeline.chain.channel_limits import inherited
from molexa_core.pipeline.chain.pick import (
    ALIGNED_SUFFIX,
    COVARIANCE_SUFFIX,
    EVENTS_SUFFIX,
    channel_of,
    only_file,
)
from molexa_core.pipeline.chain.report_parts.report_compare import (
    Side,
    compared,
    is_gated,
    mean_energy,
)
from molexa_core.pipeline.chain.report_parts.report_events import single_events
from molexa_core.pipeline.chain.report_parts.report_findings import findings
from molexa_core.pipeline.chain.report_parts.report_rows import (
    alignment_rows,
    cumulant_rows,
    reduction_rows,
)
from molexa_core.pipeline.chain.report_parts.report_series import series_content
from molexa_core.pipeline.chain.report_parts.report_sources import (
    GEOMETRY_JSON,
    GEOMETRY_XYZ,
    SERIES_SUFFIX,
    STRUCTURES_FILE,
    folder_of,
    sources_of,
)
from molexa_core.pipeline.chain.report_parts.report_structure import MAE_NAME, structure_of
from molexa_core.pipeline.chain.selected import gating_of, select
from molexa_core.pipeline.chain.stale import require_fresh, require_made_from, say_unguarded
from molexa_core.pipeline.given.given_structure import find_geometry
from molexa_core.pipeline.output_guard import require_outputs
from molexa_core.report.content import (
    Comparison,
    Lobe,
    NewtonMap,
    ReportContent,
    Source,
    Structure,
)
from molexa_core.report.page import render
from molexa_core.report.text_tables import text_of

REPORT_FILE: Final = "report.html"
OF_EVENTS: Final = "reconstruct (events)"
"""The stage whose result that is."""
KNOWN_FILES: Final = ("known.xyz", "truth.xyz")


@dataclass(frozen=True)
class Results:
    """The results of the stages as plain tables; None or empty if a stage is missing.

    Attributes:
        events: coincidences in the laboratory frame (`reduce`).
        spectra: the histograms of `reduce` by name.
        covariances: maps of covariances by name (`covariance`).
        cumulants: the cumulants of the ions as plain values.
        aligned: coincidences in the molecular frame (`align`).
        centroids: mean momenta (`centroid`).
        record: the reconstruction (`reconstruct`).
        structures: the structures of single events (`reconstruct` of events).
        known: a known structure for comparison.
        series: the values of every series, by the name of its file.
        provenance: the provenance of every step, oldest first.
        files: the file of each stage, by name of the stage.
        warnings: on files that may not belong together.
    """

    events: Coincidences | None = None
    spectra: Mapping[str, Spectrum] = field(default_factory=dict)
    covariances: Mapping[str, Spectrum] = field(default_factory=dict)
    cumulants: Mapping[str, Any] = field(default_factory=dict)
    aligned: Coincidences | None = None
    centroids: pd.DataFrame | None = None
    record: ReconstructionRecord | None = None
    structures: StructuresFile | None = None
    known: Geometry | None = None
    series: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def report(
    results: Results,
    *,
    title: str | None = None,
    command: str = "",
    comparison: Comparison | None = None,
) -> str:
    """The report as one self-contained HTML page.

    Args:
        results: results of the stages; the page names the missing ones.
        title: of the page; made from the ions if not given.
        command: the command line that writes the page.
        comparison: these results beside others.

    Raises:
        InputFileError: a file of the page template is missing in the installation.
    """
    structure = None
    if results.record is not None:
        name = results.files.get("known structure", "")
        structure = structure_of(results.record, results.known, name)
    return render(
        ReportContent(
            title=title or _title(results),
            sources=_sources(results),
            findings=() if structure is None else findings(structure),
            headline=_headline(results, structure),
            spectra=results.spectra,
            reduction=() if results.events is None else reduction_rows(results.events),
            covariances=results.covariances,
            cumulants=cumulant_rows(results.cumulants),
            ker=None if results.aligned is None else kinetic_energy_release(results.aligned),
            alignment=() if results.aligned is None else alignment_rows(results.aligned),
            newton=() if results.aligned is None else _newton_maps(results),
            centroids=results.centroids,
            structure=structure,
            events=None if results.structures is None else single_events(results.structures),
            series=tuple(series_content(one, name) for name, one in results.series.items()),
            energy=_energy(results),
            provenance=results.provenance,
            command=command,
            warnings=_warnings(results) if structure is None else _all_warnings(results, structure),
            comparison=comparison,
        )
    )


def report_folder(
    folder: Path | str = ".",
    *,
    out: Path | str | None = None,
    title: str | None = None,
    selection: Selection = EVERYTHING,
    comparing: Comparing = NOTHING,
    command: str = "",
    progress: Progress = SILENT,
) -> tuple[Path, Results]:
    """Write the report of a folder.

    Takes `*.events.h5` and `*.aligned.h5`, `channel.csv`, `geom.json` (or `geom.xyz`) and
    `known.xyz` or `truth.xyz`, those that exist. Of several files of events those are taken from
    which the later results were made.

    Args:
        folder: the folder with the results; or a file of events in it, aligned or not, of which the
            report is to be.
        out: the file to write; `report.html` in the folder if not given.
        title: of the page.
        selection: the coincidences from which maps and energies are drawn; histograms of `reduce`,
            mean momenta and structures stay those of the files.
        comparing: another result that the page shows beside this one.
        command: the command line, which the page names.
        progress: receives notices on the files that are used and the stages that are missing.

    Returns:
        The file written and the results that were read.

    Raises:
        InputFileError: none of the files exists, one is damaged, or there are several of a stage
            and no later result says which.
        UsageError: a condition that cannot be read or does not fit the events.
        NoEventsError: the gates leave no coincidence.
        OutputError: the page cannot be written.
    """
    place, folder = folder, folder_of(folder)
    target = folder / REPORT_FILE if out is None else Path(out)
    inputs = [*_read_in(folder), *_compared_with(comparing)]
    require_outputs((target, FileKind.REPORT), inputs=inputs)
    everything = read_results(place, progress=progress)
    results = _selected(everything, selection, progress)
    for warning in _warnings(results):
        progress.warn(warning)
    if not results.files:
        raise InputFileError(
            "nothing to report: no events, no momenta and no structure in this folder",
            where=folder.resolve(),
            do="Run molexa reduce, align, centroid or reconstruct in it first.",
        )
    comparison = None
    if not comparing.is_empty:
        comparison = _comparison(folder, results, everything, selection, comparing, progress)
    text = report(results, title=title, command=command, comparison=comparison)
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=UNWRITABLE)
    return target, results


def _compared_with(comparing: Comparing) -> list[Path]:
    """The files of the other result that are read."""
    if comparing.compare is None:
        return []
    path = Path(comparing.compare)
    return _read_in(path) if path.is_dir() else [path]


def _comparison(
    folder: Path,
    results: Results,
    everything: Results,
    selection: Selection,
    comparing: Comparing,
    progress: Progress,
) -> Comparison:
    """These results beside the other ones that the call names.

    Raises:
        InputFileError: there is no such result, or a file of it is damaged.
        UsageError: a condition that does not fit it.
    """
    where = comparing.of(selection)
    source = None if comparing.compare is None else Path(comparing.compare)
    same = source is None or (source.is_dir() and source.samefile(folder))
    if same:
        first = _side(_gates(selection), results, of_structure=False)
        other = _selected(everything, where, progress)
        second = _side(_gates(where), other, of_structure=False)
        return compared(first, second, same_events=True)
    if source is None:
        raise UsageError("nothing to compare with", setting="compare")
    if source.is_dir():
        other = read_results(source, progress=progress)
        if not other.files:
            raise InputFileError("no results in this folder", where=source)
    elif source.suffix == ".h5":
        other = Results(events=read_events(source)[0])
    elif source.suffix == ".json":
        other = Results(record=read_geometry_json(source)[0])
    else:
        other = Results(known=find_geometry(source, progress)[0])
    named = _named(source)
    other = _selected(other, where, progress)
    name = named if where.is_empty else f"{named}, {_gates(where)}"
    own = folder.resolve().name
    first = _side(own if selection.is_empty else f"{own}, {_gates(selection)}", results)
    return compared(first, replace(_side(name, other), structure=other.known))


def _named(source: Path) -> str:
    """A short name of a result: of its folder, with the file where it is not the usual one."""
    if source.is_dir():
        return source.resolve().name
    usual = source.name in {GEOMETRY_JSON, GEOMETRY_XYZ} and source.parent != Path()
    return source.resolve().parent.name if usual else source.name


def _gates(selection: Selection) -> str:
    """The gates in a few words."""
    found = [*(f"in {name}" for name in selection.gate or ()), *(selection.where or ())]
    return " and ".join(found) or "all coincidences"


def _side(name: str, results: Results, *, of_structure: bool = True) -> Side:
    """One side of a comparison; two gates of a folder have one structure, which is left out."""
    events = results.aligned if results.events is None else results.events
    return Side(name, events, results.record if of_structure else None)


def _selected(results: Results, selection: Selection, progress: Progress) -> Results:
    """The results with the coincidences that pass the gates."""
    if selection.is_empty:
        return results
    tables = {}
    for name in ("events", "aligned"):
        table: Coincidences | None = getattr(results, name)
        if table is not None:
            gates = gating_of(selection, "report", channel=channel_of(table.meta))
            tables[name] = select(table, gates, progress)
    if not tables:
        raise UsageError(
            "there are no coincidences in this folder to which a gate could be applied",
            setting="gate" if selection.gate else "where",
        )
    return replace(results, **tables)  # type: ignore[arg-type]


def read_results(place: Path | str, *, progress: Progress = SILENT) -> Results:
    """Read the results of the stages in a folder, or those of one file of events in it.

    Raises:
        InputFileError: there is no such place, a file is damaged, or there are several of a stage
            and no later result says which.
    """
    sources = sources_of(place, progress)
    folder = sources.folder
    records: list[tuple[Path, Provenance | None]] = []
    of_events: list[tuple[Path, Provenance | None]] = []
    files: dict[str, str] = {}
    results = _covariances(folder, of_events, files)
    if (path := sources.events) is not None:
        events, record = read_events(path)
        results = replace(results, events=events, spectra=read_spectra(path))
        records.append((path, record))
        files["reduce"] = path.name
    if (path := sources.aligned) is not None:
        aligned, record = read_events(path)
        results = replace(results, aligned=aligned)
        records.append((path, record))
        files["align"] = path.name
    if (path := sources.centroids) is not None:
        table, maybe = read_channel_csv(path, progress)
        results = replace(results, centroids=table)
        records.append((path, maybe))
        files["centroid"] = path.name
    if (path := sources.geometry) is not None:
        files["reconstruct"] = path.name
        if path.name == GEOMETRY_JSON:
            found, maybe = read_geometry_json(path)
            results = replace(results, record=found)
            (records if found.events is None else of_events).append((path, maybe))
        else:
            results = replace(results, record=_from_xyz(read_xyz(path, progress)[0]))
            records.append((path, read_provenance(path)))
    if (path := sources.structures) is not None:
        held = read_structures_file(path)
        results = replace(results, structures=held)
        of_events.append((path, held.provenance))
        files[OF_EVENTS] = path.name
    series, made_by = _series_of(sources.series)
    results = replace(results, series=series)
    of_events += made_by
    files |= {f"series {number}": name for number, name in enumerate(series, start=1)}
    for name in KNOWN_FILES:
        if (folder / name).is_file() and results.known is None:
            results = replace(results, known=read_xyz(folder / name, progress)[0])
            files["known structure"] = name
    for stage, name in files.items():
        progress.say(f"{stage}: {name}")
    for path, maybe in [*records, *of_events]:
        if path.suffix != ".xyz":  # a text for everybody, which has no checksum
            say_unguarded(path, maybe, progress)
    known = [record for _, record in [*records, *of_events] if record is not None]
    return replace(
        results, provenance=_steps(known), files=files, warnings=_stale_warnings(records, of_events)
    )


def _series_of(
    paths: Sequence[Path],
) -> tuple[dict[str, dict[str, Any]], list[tuple[Path, Provenance | None]]]:
    """The values of every series by the name of its file, and their provenance."""
    values: dict[str, dict[str, Any]] = {}
    records: list[tuple[Path, Provenance | None]] = []
    for path in paths:
        values[path.name], made = read_series(path)
        records.append((path, made))
    return values, records


def _covariances(
    folder: Path, records: list[tuple[Path, Provenance | None]], files: dict[str, str]
) -> Results:
    """Results that hold the covariances in a folder, if there are any."""
    if not any(not path.name.startswith(".") for path in folder.glob(f"*{COVARIANCE_SUFFIX}")):
        return Results()
    path = only_file(COVARIANCE_SUFFIX, folder=folder, made_by="molexa covariance")
    cumulants, maps, record = read_covariance(path)
    records.append((path, record))
    files["covariance"] = path.name
    return Results(covariances=maps, cumulants=cumulants)


def _stale_warnings(
    records: list[tuple[Path, Provenance | None]],
    of_events: list[tuple[Path, Provenance | None]],
) -> tuple[str, ...]:
    """Warnings on files that may not belong together; those that certainly do not are an error."""
    found: list[str] = []
    for place, (path, record) in enumerate(records):
        found += require_fresh(path, record)
        if place:
            found += require_made_from(path, record, records[place - 1][0])
    for path, record in of_events:
        found += require_fresh(path, record)
    return tuple(dict.fromkeys(found))


def _read_in(folder: Path) -> list[Path]:
    """The files in a folder that a report reads."""
    names = (CHANNEL_FILE, GEOMETRY_JSON, GEOMETRY_XYZ, STRUCTURES_FILE, *KNOWN_FILES)
    stages = [
        path for suffix in (EVENTS_SUFFIX, ALIGNED_SUFFIX) for path in folder.glob(f"*{suffix}")
    ]
    stages += folder.glob(f"*{SERIES_SUFFIX}")
    return [*stages, *(folder / name for name in names)]


def _steps(records: list[Provenance]) -> tuple[Provenance, ...]:
    """Every step once, oldest first: later files repeat the history of earlier ones."""
    steps: dict[tuple[str, str], Provenance] = {}
    for record in records:
        for old in record.history:
            step = Provenance.from_values(old)
            steps.setdefault((step.command, step.created), step)
        steps.setdefault((record.command, record.created), replace(record, history=()))
    return tuple(steps.values())


def _from_xyz(geometry: Geometry) -> ReconstructionRecord:
    return ReconstructionRecord(
        symbols=geometry.symbols,
        positions_bohr=geometry.positions,
        charges=geometry.charges,
        uncertainty_bohr=geometry.uncertainty,
        isotopes=geometry.isotopes,
    )


def _title(results: Results) -> str:
    for table in (results.events, results.aligned):
        if table is not None:
            ions = " ".join(str(ion) for ion in table.ions)
            channel = table.meta.get("channel")
            if isinstance(channel, Mapping):
                return str(channel.get("description") or f"{channel.get('name')}: {ions}")
            return f"{channel}: {ions}" if channel else ions
    if results.centroids is not None:
        return " ".join(str(ion) for ion in results.centroids[ION])
    return "Reconstructed structure" if results.record is not None else "Report"


def _sources(results: Results) -> tuple[Source, ...]:
    what = {
        "reduce": "coincidences in the laboratory frame, spectra",
        "align": "coincidences in the molecular frame",
        "centroid": "mean momentum of every ion",
        "reconstruct": "structure with uncertainties",
        OF_EVENTS: "a structure for every event (optional)",
        **dict.fromkeys(
            (stage for stage in results.files if stage.startswith("series")),
            "means of the signal in bins (optional)",
        ),
        "known structure": "what the result is compared with (optional)",
    }
    if results.structures is None:
        del what[OF_EVENTS]
    if results.covariances:
        what["covariance"] = "covariances and cumulants of the ions (optional)"
    return tuple(Source(stage, text, results.files.get(stage)) for stage, text in what.items())


def _warnings(results: Results) -> tuple[str, ...]:
    """All warnings of the stages, each sentence once."""
    record = results.record
    of_run = [] if results.events is None else inherited(results.events.meta)
    of_means = [] if results.aligned is None else list(inherited(results.aligned.meta))
    of_means += [] if results.centroids is None else warnings_of(results.centroids)
    if record is not None and record.events is not None:
        # The answer comes from events: what is wrong with the means is no warning about it.
        of_means = [
            text if text in of_run else f"{_NOT_USED}: {text}" for text in dict.fromkeys(of_means)
        ]
    found = [*results.warnings, *of_run, *of_means]
    found += [] if record is None else record.warnings
    return tuple(dict.fromkeys(found))


_NOT_USED: Final = "mean momenta, which this structure does not come from"


def _all_warnings(results: Results, structure: Structure) -> tuple[str, ...]:
    of_events = () if results.structures is None else results.structures.warnings
    of_series = [str(text) for one in results.series.values() for text in one.get("warnings") or ()]
    found = [*_warnings(results), *structure.warnings, *of_events, *of_series]
    return tuple(dict.fromkeys(found))


def _energy(results: Results) -> str:
    """What averaging left of the kinetic energy release, as a sentence; empty if not known."""
    if results.centroids is not None and (found := energy_of(results.centroids)):
        return str(found.get("meaning", ""))
    kept = None if results.aligned is None else energy_kept(results.aligned)
    return "" if kept is None else kept.sentence


def _headline(results: Results, structure: Structure | None) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    if results.events is not None:
        rows.append(("coincidences", text_of(len(results.events))))
        summary = results.events.meta.get("summary")
        false = summary.get("false") if isinstance(summary, Mapping) else None
        false = false if isinstance(false, Mapping) and not is_gated(results.events) else {}
        if isinstance(false.get("true"), int | float):
            rows.append(("true ones", f"{false['true']:.0f} ± {false['true_error']:.0f}"))
    if results.aligned is not None:
        counted = results.aligned if results.events is None else results.events
        rows.append(("mean KER", mean_energy(counted)))
    if structure is not None:
        rows.append(("atoms", str(len(structure.geometry))))
        rows += [
            ("MAE against known", f"{value:.3f} {unit}")
            for name, value, unit in structure.errors
            if name == MAE_NAME
        ]
    return tuple(rows)


def _newton_maps(results: Results) -> tuple[NewtonMap, ...]:
    """Newton maps in the plane of the frame and, for more than three ions, perpendicular to x.

    The reference ion, which defines x, is left out.
    """
    aligned = results.aligned
    if aligned is None or len(aligned.ions) < 3:
        return ()
    roles = aligned.meta.get("roles")
    frame = aligned.meta.get("frame")
    plane = str(frame.get("plane", "xy")) if isinstance(frame, Mapping) else "xy"
    reference = 0
    if isinstance(roles, list | tuple) and "reference" in roles:
        reference = list(roles).index("reference")
    others = [column for column in range(len(aligned.ions)) if column != reference]
    labels = ion_labels(aligned.ions)
    mean = np.average(aligned.momentum, axis=0, weights=aligned.weight)
    views = [(plane, others, labels[reference])]
    if len(aligned.ions) > 3:
        # The second ion lies on an axis of this view: its line of bins would dominate the map.
        second = list(roles).index("second") if roles and "second" in roles else reference
        counted = [column for column in others if column != second]
        left_out = dict.fromkeys([labels[reference], labels[second]])
        views.append(("yz", counted, " and ".join(left_out)))
    maps = []
    for name, counted, left_out_text in views:
        first, vertical = ("xyz".index(axis) for axis in name)
        lobes = tuple(
            Lobe(labels[column], float(mean[column, first]), float(mean[column, vertical]))
            for column in others
        )
        caption = (
            f"Newton map in the {name[0]}-{name[1]} plane of the molecular frame; x is the "
            f"direction of {labels[reference]}. Not counted: {left_out_text}. "
            "Crosses: mean momenta."
        )
        maps.append(NewtonMap(newton_map(aligned, plane=name, ions=counted), caption, lobes))
    return tuple(maps)
