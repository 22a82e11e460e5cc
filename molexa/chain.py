"""The verbs of the analysis: each takes an object or a file, and writes a file too if asked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from molexa.files import Files, read, setup_of
from molexa.settings import channel as channel_named
from molexa_core.base.errors import MolexaError, UsageError
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.settings import Channel, Explosion, Setup
from molexa_core.base.storage.outputs import FileKind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, Geometry, Hits

if TYPE_CHECKING:
    import pandas as pd

    from molexa.momenta import MeanMomenta
    from molexa_core.io.results.geometry_json import ReconstructionRecord
    from molexa_core.physics.molecules.library import Molecule
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
    device: str = "cpu",
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
        device: what searches: `cpu`, `cuda`, `cuda:N` or `auto`; the result is the same.
        out: events file to write.

    Returns:
        One row per coincidence, momenta in a.u.; `meta["summary"]` has the counts.

    Raises:
        MolexaError: as `pipeline.chain.reduce.reduce`.
    """
    from molexa_core.io.held_run import HeldRun  # noqa: PLC0415
    from molexa_core.pipeline.chain.reduce import reduce as reduced  # noqa: PLC0415
    from molexa_core.pipeline.chain.reduce import write_reduced  # noqa: PLC0415
    from molexa_core.pipeline.output_guard import require_outputs  # noqa: PLC0415
    from molexa_core.pipeline.runs.open_run import OpenRun  # noqa: PLC0415

    hits, known, chosen, inputs = run_of(run, channel, setup)
    selection = Selection(where=listed(where), gate=listed(gate))
    if out is None:
        found = reduced(hits, chosen, known, selection=selection, mixing=mixing, device=device)
        return replace(found.table, spectra=found.spectra)
    require_outputs((out, FileKind.EVENTS), inputs=inputs)
    write_reduced(
        hits if isinstance(hits, OpenRun) else HeldRun(hits),
        chosen,
        known,
        Path(out),
        mixing=mixing,
        selection=selection,
        device=device,
        inputs=inputs,
    )
    written: Coincidences = read(out)
    return written


def run_of(
    run: Any, channel: Channel | str | Path | None, setup: Setup | str | Path | None
) -> tuple[Any, Setup, Channel, list[Path]]:
    """Hits that can be read repeatedly, with apparatus and channel, and the files that were read.

    Args:
        run: files, pattern or folder; an open run; a virtual run; or hits.
        channel: as for `molexa.channel`; that of the run, or of `molexa.yaml`, if not given.
        setup: the apparatus, or its file; that of the run, or of `molexa.yaml`, if not given.

    Raises:
        UsageError: it is no run, or there is no setup.
        InputFileError, SettingsError: a file is missing or not valid.
    """
    from molexa_core.pipeline.chain.reduce import channel_and_setup  # noqa: PLC0415
    from molexa_core.pipeline.runs.mock import MockRun  # noqa: PLC0415
    from molexa_core.pipeline.runs.open_run import OpenRun  # noqa: PLC0415

    wanted = None if channel is None else channel_named(channel)
    if isinstance(run, OpenRun):
        run, setup = list(run.paths), run.setup if setup is None else setup
    if isinstance(run, str | Path) or (isinstance(run, Sequence) and _are_names(run)):
        paths = [run] if isinstance(run, str | Path) else list(run)
        named = setup if setup is None or isinstance(setup, Setup) else str(setup)
        opened, chosen, known, read_too = channel_and_setup(paths, wanted, named)
        return opened, known, chosen, [*opened.paths, *read_too]
    hits = [run.hits] if isinstance(run, MockRun) else [run] if isinstance(run, Hits) else run
    if isinstance(hits, list | tuple) and not all(isinstance(one, Hits) for one in hits):
        raise UsageError(
            f"no run: {type(run).__name__}",
            do="Give files, an open run, a virtual run, or hits.",
        )
    if isinstance(run, MockRun):
        wanted = run.channel if wanted is None else wanted
        setup = run.setup if setup is None else setup
    known_setup = setup_of(setup)
    if known_setup is None:
        raise UsageError("no setup is given", do="Give `setup=`, or make molexa.yaml.")
    return hits, known_setup, channel_named(wanted), []


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

    table, inputs, before = events_of(events)
    require_outputs((out, FileKind.ALIGNED), inputs=inputs)
    named = None if channel is None else channel_named(channel)
    result = aligned(table, reference=ref, second=second, plane=plane, like=like, channel=named)
    found = result.table
    if out is not None:
        settings = {"frame": found.meta["frame"], "recoil": result.summary["recoil"]}
        made = Provenance.of(inputs=inputs, settings=settings, after=before)
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

    table, inputs, before = events_of(aligned)
    require_outputs((out, FileKind.MOMENTA), inputs=inputs)
    means = MeanMomenta.of(averaged(table))
    if out is not None:
        settings = settings_of(means, table)
        made = Provenance.of(inputs=inputs, settings=settings, after=before)
        write_channel_csv(out, means, made)
    return means


def reconstruct(
    source: pd.DataFrame | Coincidences | str | Path | Sequence[pd.DataFrame | str | Path],
    *,
    explosion: Explosion | str | Path | None = None,
    known: Geometry | Molecule | str | Path | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> ReconstructionRecord | EventsAnswer:
    """Reconstruct the structure from mean momenta, or from the file of single events.

    Args:
        source: table of mean momenta or its CSV file; several of one molecule jointly; or
            coincidences or their file, which are reconstructed one by one.
        explosion: what is known about the explosion, or a setup file that says it; what the momenta
            carry along if not given.
        known: the true structure, XYZ file or molecule, to compare with.
        out: XYZ file to write; a JSON file of the same name is written beside it, and of single
            events `structures.h5`.
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

    if isinstance(source, Coincidences) or (
        isinstance(source, str | Path) and Path(source).suffix in {".h5", ".hdf5"}
    ):
        return _ofevents_of(source, explosion, known, out, options)
    named = isinstance(source, str | Path)
    if not named and not isinstance(source, list | tuple) and not hasattr(source, "attrs"):
        raise UsageError(
            f"no mean momenta: {type(source).__name__}",
            do="Give the table of centroid, its file, or an events file.",
        )
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
        made = Provenance.of(inputs=inputs, settings=dict(options))
        write_geometry_json(beside, record, made)
        write_xyz(target, [record.geometry()], made)
    return record


def _ofevents_of(
    source: Coincidences | str | Path,
    explosion: Explosion | str | Path | None,
    known: Geometry | Molecule | str | Path | None,
    out: str | Path | None,
    options: dict[str, Any],
) -> EventsAnswer:
    from molexa_core.io.results.events import write_events  # noqa: PLC0415
    from molexa_core.io.xyz import write_xyz  # noqa: PLC0415
    from molexa_core.pipeline.reconstruction.events_file import (  # noqa: PLC0415
        reconstruct_events_file,
    )

    held = [
        name
        for name, is_held in (
            ("the events", isinstance(source, Coincidences)),
            ("`explosion=`", isinstance(explosion, Explosion)),
            ("`known=`", known is not None and not isinstance(known, str | Path)),
        )
        if is_held
    ]
    if held and out is not None:
        raise UsageError(
            f"structures of single events are written from files, and {held[0]} is in memory",
            do="Write it with its own `out=` and name the file, or leave `out=` out here.",
        )
    made = Provenance.of()
    with TemporaryDirectory(prefix="molexa-") as name:
        folder = Path(name)
        if isinstance(source, Coincidences):
            settings = {key: source.meta.get(key) for key in ("channel", "setup")}
            made = Provenance.of(settings=settings)
            write_events(folder / "events.h5", source, made)
            source = folder / "events.h5"
        if isinstance(explosion, Explosion):
            text = json.dumps({EXPLOSION: explosion.plain()})  # JSON is YAML
            (folder / "explosion.yaml").write_text(text, encoding="utf-8")
            explosion = folder / "explosion.yaml"
        if known is not None and not isinstance(known, str | Path):
            write_xyz(folder / "known.xyz", [structure_of(known)], made)
            known = folder / "known.xyz"
        target = folder / "geom.xyz" if out is None else Path(out)
        try:
            answer = reconstruct_events_file(
                source, target, setup=explosion, truth=known, **options
            )
        except MolexaError as error:
            if str(error.where or "").startswith(str(folder)):
                error.where = None  # a file that only this call knows
            raise
        return answer if out is not None else replace(answer, structures=None, geometry=None)


def score(
    structure: ReconstructionRecord | Geometry | Molecule | str | Path,
    known: Geometry | Molecule | str | Path,
    *,
    allow_mirror: bool = False,
) -> Score:
    """Compare a structure with a known one after the best superposition.

    Args:
        structure: a reconstruction, a geometry, a molecule, or a file.
        known: a geometry, an XYZ file, or the name of a shipped molecule.
        allow_mirror: whether a mirror image counts as the same structure.

    Raises:
        MolexaError: as `pipeline.chain.score.score`.
    """
    from molexa_core.io.results.geometry_json import ReconstructionRecord  # noqa: PLC0415
    from molexa_core.pipeline.chain.score import score as scored  # noqa: PLC0415
    from molexa_core.pipeline.chain.score import score_files  # noqa: PLC0415

    if isinstance(structure, str | Path) and isinstance(known, str | Path):
        return score_files(structure, known, allow_mirror=allow_mirror)
    one: Any = read(structure) if isinstance(structure, str | Path) else structure
    first = one if isinstance(one, ReconstructionRecord) else structure_of(one)
    return scored(first, structure_of(known), allow_mirror=allow_mirror)


def report(
    folder: str | Path = ".",
    *,
    out: str | Path | None = None,
    title: str | None = None,
    compare: str | Path | None = None,
) -> Path:
    """Write one HTML page with all figures and numbers of the results in a folder.

    Args:
        folder: the results of the stages.
        out: the file to write.
        title: of the page.
        compare: another result to show beside it: a folder, a file of events or of a structure, or
            a shipped molecule.

    Returns:
        The file written: `report.html` in the folder if `out` is not given.

    Raises:
        MolexaError: as `pipeline.chain.report.report_folder`.
    """
    from molexa_core.base.options.compare_options import Comparing  # noqa: PLC0415
    from molexa_core.pipeline.chain.report import report_folder  # noqa: PLC0415

    comparing = Comparing(compare=None if compare is None else str(compare))
    return report_folder(folder, out=out, title=title, comparing=comparing)[0]


def _are_names(run: Sequence[Any]) -> bool:
    return bool(run) and all(isinstance(one, str | Path) for one in run)


def events_of(
    events: Coincidences | str | Path,
) -> tuple[Coincidences, list[Path], Provenance | None]:
    """Coincidences, the files that were read, and how these were made."""
    if isinstance(events, Coincidences):
        return events, [], None
    if not isinstance(events, str | Path):
        raise UsageError(
            f"no table of coincidences: {type(events).__name__}",
            do="Give those of reduce or align, or their file.",
        )
    from molexa_core.io.results.events import read_events  # noqa: PLC0415

    table, before = read_events(events)
    return table, [Path(events)], before


def listed(conditions: Conditions) -> list[str] | None:
    """Conditions as a list."""
    if conditions is None:
        return None
    return [conditions] if isinstance(conditions, str) else list(conditions)


def _geometry(known: Any) -> Geometry | None:
    return None if known is None else structure_of(known)


def structure_of(known: Any) -> Geometry:
    """A structure: itself, that of a reconstruction or a molecule, an XYZ file, or by name.

    Raises:
        UsageError: it is none.
        InputFileError: no such file or molecule.
    """
    if isinstance(known, Geometry):
        return known
    known = getattr(known, "record", known)  # of single events the mean structure
    inner = getattr(known, "geometry", None)
    if inner is not None:  # of a reconstruction or a molecule
        found: Geometry = inner() if callable(inner) else inner
        return found
    if not isinstance(known, str | Path):
        raise UsageError(
            f"no structure: {type(known).__name__}",
            do="Give a geometry, a reconstruction, an XYZ file, or the name of a molecule.",
        )
    if Path(known).suffix.lower() == ".json":
        reconstruction: Any = read(known)
        record: Geometry = reconstruction.geometry()
        return record
    from molexa_core.pipeline.named_structure import find_geometry  # noqa: PLC0415

    return find_geometry(known)[0]
