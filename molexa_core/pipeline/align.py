"""Align: laboratory momenta of coincidences to the molecular frame."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.ions import parse_ion
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.provenance import Provenance
from molexa_core.base.settings import Channel, Frame, parse_settings
from molexa_core.base.tables import Coincidences
from molexa_core.frame.align import Aligned, align_events, heaviest_frame
from molexa_core.io.events import read_events, write_events
from molexa_core.pipeline.pick import ALIGNED_SUFFIX, EVENTS_SUFFIX, beside, channel_of, only_file

ANY: Final = "any"
"""As the second ion: the most orthogonal one of whatever kind."""
Recoil = Literal["auto", "remove", "keep"]


def align(
    table: Coincidences,
    *,
    reference: str | None = None,
    second: str | None = None,
    plane: str | None = None,
    like: str | None = None,
    recoil: Recoil = "auto",
    channel: Channel | None = None,
    progress: Progress = SILENT,
) -> Aligned:
    """Turn every coincidence into the molecular frame.

    What is not given comes from the frame of the channel; without one, from the convention of the
    paper's main text (heaviest ion along x, most orthogonal ion in the first quadrant of x-y).

    Args:
        table: momenta (n, ions, 3) in a.u., laboratory frame.
        reference: ion whose momentum is the x axis, such as `O+`.
        second: ion whose momentum fixes the plane; `any` for the most orthogonal one.
        plane: `xy` or `xz`, where the second lies with a positive component.
        like: `equivalent` or `distinct`, see `base.settings.Frame`.
        recoil: `remove` goes to the centre-of-mass frame, `keep` does not, `auto` removes it
            unless the channel is partial (its ions do not sum to zero).
        channel: the channel of the events.
        progress: told about choices made.

    Returns:
        The aligned rows, flags of the events that came in, roles, summary, warnings.

    Raises:
        UnknownIonError, UsageError, SettingsError: a choice that cannot be made.
        NoEventsError: no event has a molecular frame.
    """
    if channel is not None and sorted(map(str, channel.wanted_ions)) != sorted(
        map(str, table.ions)
    ):
        raise UsageError(
            f"channel {channel.name} has ions {listing(channel.wanted_ions)}, the events "
            f"{listing(table.ions)}",
            do="Name the channel that the events were reduced with.",
        )
    frame = _frame(table, reference, second, plane, like, channel, progress)
    chosen: Literal["remove", "keep"] = "remove"
    if recoil == "keep" or (recoil == "auto" and channel is not None and not channel.is_complete):
        chosen = "keep"
    return align_events(table, frame, recoil=chosen)


def align_file(
    path: Path | str | None = None,
    *,
    out: Path | str | None = None,
    reference: str | None = None,
    second: str | None = None,
    plane: str | None = None,
    like: str | None = None,
    recoil: Recoil = "auto",
    channel: str | None = None,
    command: str = "molexa_core.pipeline.align.align_file",
    progress: Progress = SILENT,
) -> tuple[Path, Aligned]:
    """Align an events file and write `*.aligned.h5` beside it.

    Args:
        path: the events file; the only `*.events.h5` of the working folder where not given.
        out: the file to write.
        reference: see `align`.
        second: see `align`.
        plane: see `align`.
        like: see `align`.
        recoil: see `align`.
        channel: name or file of the channel; that of the events where not given.
        command: for the provenance.
        progress: told about choices made.

    Returns:
        The file written, and what `align` returns.

    Raises:
        InputFileError: no events file, or not one.
        OutputError: the result cannot be written.
    """
    source = (
        only_file(EVENTS_SUFFIX, made_by="molexa reduce", progress=progress)
        if path is None
        else Path(path)
    )
    table, before = read_events(source)
    known = channel_of(table.meta, name=channel)
    if channel is None and path is None and known is not None:
        progress.say(f"channel {known.name}")
    aligned = align(
        table,
        reference=reference,
        second=second,
        plane=plane,
        like=like,
        recoil=recoil,
        channel=known,
        progress=progress,
    )
    target = beside(source, EVENTS_SUFFIX, ALIGNED_SUFFIX) if out is None else Path(out)
    settings = {"frame": aligned.table.meta["frame"], "recoil": aligned.summary["recoil"]}
    record = Provenance.of(command, inputs=[source], settings=settings, after=before)
    write_events(target, aligned.table, record)
    return target, aligned


def _frame(
    table: Coincidences,
    reference: str | None,
    second: str | None,
    plane: str | None,
    like: str | None,
    channel: Channel | None,
    progress: Progress,
) -> Frame:
    base = None if channel is None else channel.frame
    if base is None:
        base = heaviest_frame(table.ions)
        if reference is None:
            progress.say(
                f"no frame given: {base.reference} (the heaviest ion) along x, the most "
                "orthogonal ion in x-y"
            )
    values = base.model_dump()
    if reference is not None and str(parse_ion(reference)) != base.reference and second is None:
        # The channel's second belongs to the channel's reference.
        values["second"] = None
        values["like"] = "equivalent"
    given = {"reference": reference, "plane": plane, "like": like}
    values |= {name: value for name, value in given.items() if value is not None}
    if second is not None:
        values["second"] = None if second == ANY else second
    return parse_settings(Frame, values, where="frame")
