"""The verbs of the analysis: each takes an object or a file, and writes a file too if asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from molexa.files import COMMAND, Files, open_run, read, setup_of
from molexa_core.base.errors import UsageError
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.settings import Channel, Explosion, Setup, load_channel, load_project
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry, Hits

if TYPE_CHECKING:
    import pandas as pd

    from molexa.momenta import MeanMomenta
    from molexa_core.io.results.geometry_json import ReconstructionRecord
    from molexa_core.pipeline.chain.score import Score
    from molexa_core.pipeline.reconstruction.events_file import EventsAnswer
    from molexa_core.pipeline.runs.mock import MockRun

Conditions = str | Sequence[str] | None
"""A condition such as `ker in 20..26`, or several that must all hold."""


def reduce(
    run: Files | Hits | MockRun | Iterable[Hits],
    channel: Channel | str | None = None,
    *,
    setup: Setup | str | Path | None = None,
    where: Conditions = None,
    gate: Conditions = None,
    mixing: bool | None = None,
    out: str | Path | None = None,
) -> Coincidences:
    """Find the coincidences of a channel in a raw run.

    Args:
        run: files, pattern or folder; an open run; a virtual run; or hits.
        channel: the ions: a channel, its name or file; that of a virtual run or of `molexa.yaml` if
            not given.
        setup: the apparatus, or its file; that of a virtual run or of `molexa.yaml` if not given.
        where: condition on every coincidence.
        gate: names of regions of the channel in which every coincidence must lie.
        mixing: whether false coincidences are built by event mixing; as `molexa reduce` if None.
        out: events file to write.

    Returns:
        One row per coincidence, momenta in a.u.; `meta["summary"]` has the counts.

    Raises:
        MolexaError: as `pipeline.chain.reduce.reduce`.
    """
    from molexa_core.io.results.events import write_events  # noqa: PLC0415
    from molexa_core.pipeline.chain.reduce import reduce as reduced  # noqa: PLC0415
    from molexa_core.pipeline.output_guard import require_outputs  # noqa: PLC0415
    from molexa_core.pipeline.runs.mock import MockRun  # noqa: PLC0415
    from molexa_core.pipeline.runs.open_run import OpenRun  # noqa: PLC0415

    hits: Any
    if isinstance(run, MockRun):
        return reduce(
            run.hits,
            run.channel if channel is None else channel,
            setup=run.setup if setup is None else setup,
            where=where,
            gate=gate,
            mixing=mixing,
            out=out,
        )
    if isinstance(run, str | Path) or (isinstance(run, Sequence) and _are_names(run)):
        hits = open_run(cast("Files", run), setup)
    else:
        hits = [run] if isinstance(run, Hits) else run
    known = hits.setup if isinstance(hits, OpenRun) and setup is None else setup_of(setup)
    if known is None:
        raise UsageError("no setup is given", do="Give `setup=`, or make molexa.yaml.")
    inputs = list(hits.paths) if isinstance(hits, OpenRun) else []
    require_outputs((out, FileKind.EVENTS), inputs=inputs)
    chosen = _channel(channel)
    found = reduced(hits, chosen, known, selection=_selection(where, gate), mixing=mixing)
    if out is not None:
        settings = {name: found.table.meta[name] for name in ("channel", "setup")}
        made = Provenance.of(COMMAND, inputs=inputs, settings=settings)
        write_events(out, found.table, made, spectra=found.spectra)
    return replace(found.table, spectra=found.spectra)


def align(
    events: Coincidences | str | Path,
    *,
    ref: str | None = None,
    second: str | None = None,
    plane: str | None = None,
    like: str | None = None,
    channel: Channel | str | None = None,
    out: str | Path | None = None,
) -> Coincidences:
    """Rotate every coincidence into the molecular frame.

    Args:
        events: coincidences, or an events file.
        ref: ion along x; that of the channel, or the heaviest, if not given.
        second: ion in the plane.
        plane: `xy` or `xz`.
        like: `equivalent` or `distinct`, for like ions as the second.
        channel: for its frame; that of the events if not given.
        out: aligned file to write.

    Raises:
        MolexaError: as `pipeline.chain.align.align`.
    """
    from molexa_core.io.results.events import write_events  # noqa: PLC0415
    from molexa_core.pipeline.chain.align import align as aligned  # noqa: PLC0415
    from molexa_core.pipeline.output_guard import require_outputs  # noqa: PLC0415

    table, inputs, before = _events(events)
    require_outputs((out, FileKind.ALIGNED), inputs=inputs)
    named = None if channel is None else _channel(channel)
    result = aligned(table, reference=ref, second=second, plane=plane, like=like, channel=named)
    found = result.table
    if out is not None:
        settings = {"frame": found.meta["frame"], "recoil": result.summary["recoil"]}
        made = Provenance.of(COMMAND, inputs=inputs, settings=settings, after=before)
        write_events(out, found, made)
    return found


def centroid(aligned: Coincidences | str | Path, *, out: str | Path | None = None) -> MeanMomenta:
    """Average the momentum of every ion over coincidences in a molecular frame.

    Args:
        aligned: coincidences in a molecular frame, or an aligned file.
        out: CSV file to write.

    Returns:
        One row per ion: `ion`, `px`, `py`, `pz` in a.u., their errors, `count`, `label`.

    Raises:
        MolexaError: as `pipeline.chain.centroid.centroid`.
    """
    from molexa.momenta import MeanMomenta  # noqa: PLC0415
    from molexa_core.io.results.channel_csv import write_channel_csv  # noqa: PLC0415
    from molexa_core.pipeline.chain.centroid import centroid as averaged  # noqa: PLC0415
    from molexa_core.pipeline.chain.centroid import settings_of  # noqa: PLC0415
    from molexa_core.pipeline.output_guard import require_outputs  # noqa: PLC0415

    table, inputs, before = _events(aligned)
    require_outputs((out, FileKind.MOMENTA), inputs=inputs)
    means = MeanMomenta.of(averaged(table))
    if out is not None:
        settings = settings_of(means, table)
        made = Provenance.of(COMMAND, inputs=inputs, settings=settings, after=before)
        write_channel_csv(out, means, made)
    return means


def reconstruct(
    source: pd.DataFrame | str | Path | Sequence[pd.DataFrame | str | Path],
    *,
    explosion: Explosion | str | Path | None = None,
    known: Geometry | str | Path | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> ReconstructionRecord | EventsAnswer:
    """Reconstruct the structure from mean momenta, or from the file of single events.

    Args:
        source: table of mean momenta or its CSV file; several of one molecule jointly; or a file of
            events, which are reconstructed one by one.
        explosion: what is known about the explosion, or a setup file that says it; what the momenta
            carry along if not given.
        known: the true structure, XYZ file or molecule, to compare with.
        out: XYZ file to write; a JSON file of the same name is written beside it.
        options: `samples`, `search`, `chemistry`, `seed`, `device`, `weights`.

    Raises:
        MolexaError: as `pipeline.reconstruction.reconstruct.reconstruct`.
    """
    from molexa_core.base.settings import load_explosion  # noqa: PLC0415
    from molexa_core.io.results.geometry_json import write_geometry_json  # noqa: PLC0415
    from molexa_core.io.xyz import write_xyz  # noqa: PLC0415
    from molexa_core.pipeline.output_guard import require_outputs  # noqa: PLC0415
    from molexa_core.pipeline.reconstruction.reconstruct import (  # noqa: PLC0415
        reconstruct as reconstructed,
    )

    if isinstance(source, str | Path) and Path(source).suffix in {".h5", ".hdf5"}:
        return _of_events(source, explosion, known, out, options)
    several: list[Any] = list(source) if isinstance(source, list | tuple) else [source]
    inputs = [Path(one) for one in several if isinstance(one, str | Path)]
    tables = [read(one) if isinstance(one, str | Path) else one for one in several]
    told = load_explosion(explosion) if isinstance(explosion, str | Path) else explosion
    target = None if out is None else Path(out)
    beside = None if target is None else target.with_suffix(".json")
    if target is not None and target.suffix != ".xyz":
        raise UsageError(f"{target} does not end in .xyz", do="Name an XYZ file with `out=`.")
    require_outputs((target, FileKind.GEOMETRY), (beside, FileKind.RECONSTRUCTION), inputs=inputs)
    record = reconstructed(
        tables[0], others=tables[1:], explosion=told, known=_geometry(known), **options
    )
    if target is not None and beside is not None:
        made = Provenance.of(COMMAND, inputs=inputs, settings=dict(options))
        write_geometry_json(beside, record, made)
        write_xyz(target, [record.geometry()], made)
    return record


def _of_events(
    source: str | Path,
    explosion: Explosion | str | Path | None,
    known: Geometry | str | Path | None,
    out: str | Path | None,
    options: dict[str, Any],
) -> EventsAnswer:
    from molexa_core.pipeline.reconstruction.events_file import (  # noqa: PLC0415
        reconstruct_events_file,
    )

    if isinstance(explosion, Explosion):
        raise UsageError(
            "single events take what is known about the explosion from a file",
            do="Name a setup file with `explosion=`.",
        )
    if isinstance(known, Geometry):
        raise UsageError(
            "single events are compared with a structure in a file or a molecule by name",
            do="Name one with `known=`.",
        )
    target = Path(f"{Path(source).name.split('.')[0]}.xyz") if out is None else out
    return reconstruct_events_file(
        source, target, setup=explosion, truth=known, command=COMMAND, **options
    )


def score(
    structure: ReconstructionRecord | Geometry | str | Path,
    known: Geometry | str | Path,
    *,
    allow_mirror: bool = False,
) -> Score:
    """Compare a structure with a known one after the best superposition.

    Args:
        structure: a reconstruction, a geometry, or a file.
        known: a geometry, an XYZ file, or the name of a shipped molecule.
        allow_mirror: whether a mirror image counts as the same structure.

    Raises:
        MolexaError: as `pipeline.chain.score.score`.
    """
    from molexa_core.pipeline.chain.score import score as scored  # noqa: PLC0415
    from molexa_core.pipeline.chain.score import score_files  # noqa: PLC0415

    if isinstance(structure, str | Path) and not isinstance(known, Geometry):
        return score_files(structure, known, allow_mirror=allow_mirror)
    one: Any = read(structure) if isinstance(structure, str | Path) else structure
    first = one if isinstance(one, Geometry) else one.geometry()
    return scored(first, _structure(known), allow_mirror=allow_mirror)


def report(
    folder: str | Path = ".", *, out: str | Path | None = None, title: str | None = None
) -> Path:
    """Write one HTML page with all figures and numbers of the results in a folder.

    Returns:
        The file written: `report.html` in the folder if `out` is not given.

    Raises:
        MolexaError: as `pipeline.chain.report.report_folder`.
    """
    from molexa_core.pipeline.chain.report import report_folder  # noqa: PLC0415

    return report_folder(folder, out=out, title=title)[0]


def _are_names(run: Sequence[Any]) -> bool:
    return bool(run) and all(isinstance(one, str | Path) for one in run)


def _events(
    events: Coincidences | str | Path,
) -> tuple[Coincidences, list[Path], Provenance | None]:
    """Coincidences, the files that were read, and how these were made."""
    if isinstance(events, Coincidences):
        return events, [], None
    from molexa_core.io.results.events import read_events  # noqa: PLC0415

    table, before = read_events(events)
    return table, [Path(events)], before


def _channel(channel: Channel | str | None) -> Channel:
    name = load_project().channel if channel is None else channel
    if name is None:
        raise UsageError("no channel is given", do="Give `channel=`, or make molexa.yaml.")
    return load_channel(name) if isinstance(name, str) else name


def _selection(where: Conditions, gate: Conditions) -> Selection:
    return replace(Selection(), where=_listed(where), gate=_listed(gate))


def _listed(conditions: Conditions) -> list[str] | None:
    if conditions is None:
        return None
    return [conditions] if isinstance(conditions, str) else list(conditions)


def _geometry(known: Geometry | str | Path | None) -> Geometry | None:
    return None if known is None else _structure(known)


def _structure(known: Geometry | str | Path) -> Geometry:
    if isinstance(known, Geometry):
        return known
    from molexa_core.pipeline.named_structure import find_geometry  # noqa: PLC0415

    return find_geometry(known)[0]
