"""The verbs of the analysis: each takes an object or a file, and writes a file too if asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molexa_core.base.options.gate_options import Selection
from molexa_core.base.settings import Channel, Explosion, Setup
from molexa_core.base.tables import Coincidences

if TYPE_CHECKING:
    import pandas as pd

    from molexa.momenta import MeanMomenta
    from molexa_core.io.results.geometry_json import ReconstructionRecord
    from molexa_core.pipeline.given.given_events import Events
    from molexa_core.pipeline.given.given_run import Run
    from molexa_core.pipeline.given.given_structure import Structure
    from molexa_core.pipeline.reconstruction.events_answer import EventsAnswer

Conditions = str | Sequence[str] | None
"""A condition such as `ker in 20..26`, or several that must all hold."""


def reduce(
    run: Run,
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
    from molexa_core.pipeline.chain.reduce import reduce as reduced  # noqa: PLC0415

    selection = Selection(where=listed(where), gate=listed(gate))
    return reduced(
        run, channel, setup, selection=selection, mixing=mixing, device=device, out=out
    ).table


def align(
    events: Events,
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
        ref: ion along x; that of the channel, or the heaviest that moves, if not given.
        second: ion in the plane.
        plane: `xy` or `xz`.
        like: `measured`, `equivalent` or `distinct`: how like ions get their roles.
        channel: for its frame; that of the events if not given.
        out: aligned file to write.

    Raises:
        MolexaError: as `pipeline.chain.align.align`.
    """
    from molexa_core.pipeline.chain.align import align as aligned  # noqa: PLC0415

    return aligned(
        events, reference=ref, second=second, plane=plane, like=like, channel=channel, out=out
    ).table


def centroid(
    aligned: Events,
    *,
    where: Conditions = None,
    gate: Conditions = None,
    out: str | Path | None = None,
) -> MeanMomenta:
    """Average the momentum of every ion over coincidences in a molecular frame.

    Args:
        aligned: coincidences in a molecular frame, or an aligned file.
        where: condition on every coincidence.
        gate: names of regions in which every coincidence must lie.
        out: CSV file to write.

    Returns:
        One row per ion: `ion`, `px`, `py`, `pz` in a.u., their errors, `count`, `label`.

    Raises:
        MolexaError: as `pipeline.chain.centroid.centroid`.
    """
    from molexa.momenta import MeanMomenta  # noqa: PLC0415
    from molexa_core.pipeline.chain.centroid import centroid as averaged  # noqa: PLC0415

    selection = Selection(where=listed(where), gate=listed(gate))
    return MeanMomenta.of(averaged(aligned, selection=selection, out=out))


def reconstruct(
    source: pd.DataFrame | Coincidences | str | Path | Sequence[pd.DataFrame | str | Path],
    *,
    explosion: Explosion | str | Path | None = None,
    known: Structure | None = None,
    out: str | Path | None = None,
    **options: Any,
) -> ReconstructionRecord | EventsAnswer:
    """Reconstruct the structure from mean momenta, or from single events.

    Args:
        source: table of mean momenta or its CSV file; several of one molecule jointly; or
            coincidences or their file, which are reconstructed one by one.
        explosion: what is known about the explosion, or a setup file that says it; what the momenta
            carry along if not given.
        known: the true structure, XYZ file or molecule, to compare with.
        out: XYZ file to write; a JSON file of the same name is written beside it, and of single
            events `structures.h5`.
        options: `samples`, `search`, `chemistry`, `prior`, `weights`, `seed`, `device`
            (`base.options.reconstruct_options.ReconstructOptions`).

    Raises:
        MolexaError: as `pipeline.reconstruction.reconstruct.reconstruct`.
    """
    from molexa_core.base.options.reconstruct_options import ReconstructOptions  # noqa: PLC0415
    from molexa_core.pipeline.given.given_structure import structure_of  # noqa: PLC0415

    asked = ReconstructOptions(**options)
    held = known is None or isinstance(known, str | Path)
    true: Any = known if held else structure_of(known)[0]  # type: ignore[arg-type]
    if isinstance(source, Coincidences) or (
        isinstance(source, str | Path) and Path(source).suffix in {".h5", ".hdf5"}
    ):
        from molexa_core.pipeline.reconstruction.events_answer import (  # noqa: PLC0415
            answer_of_events,
        )

        return answer_of_events(source, options=asked, explosion=explosion, known=true, out=out)
    from molexa_core.pipeline.reconstruction.reconstruct import (  # noqa: PLC0415
        reconstruct as reconstructed,
    )

    return reconstructed(source, options=asked, explosion=explosion, known=true, out=out)


def report(
    folder: str | Path = ".",
    *,
    out: str | Path | None = None,
    title: str | None = None,
    compare: str | Path | None = None,
) -> Path:
    """Write one HTML page with all figures and numbers of the results in a folder.

    Args:
        folder: the results of the stages, or one events file of the folder, of which the page is.
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


def events_of(events: Events) -> Coincidences:
    """Coincidences, read if they are a file."""
    from molexa_core.io.results.events import read_events  # noqa: PLC0415
    from molexa_core.pipeline.given.given_events import file_of  # noqa: PLC0415

    path = file_of(events)
    return events if path is None else read_events(path)[0]  # type: ignore[return-value]


def listed(conditions: Conditions) -> list[str] | None:
    """Conditions as a list."""
    if conditions is None:
        return None
    return [conditions] if isinstance(conditions, str) else list(conditions)
