"""Align: rotate the momenta of every coincidence from the laboratory to the molecular frame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import NoEventsError, UsageError, about_file, listing
from molexa_core.base.fields import GATES, WARNINGS
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress, Task
from molexa_core.base.settings import Channel, Frame, parse_settings
from molexa_core.base.storage.outputs import FileKind, output_place
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, FloatArray
from molexa_core.frame.align import (
    Aligner,
    AlignSummary,
    Store,
    align_events,
    heaviest_frame,
)
from molexa_core.frame.like_ions import Roles
from molexa_core.frame.quality import (
    SAMPLE,
    FrameQuality,
    better_frame,
    frame_doubt,
    frame_quality,
)
from molexa_core.io.results.events import (
    EventsFile,
    EventsWriter,
    read_events,
    read_shots,
    write_events,
)
from molexa_core.observables.gating import Gating
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.selected import (
    GatedEvents,
    gating_of,
    say_gates,
    select,
    settings_read,
)
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.given.given_events import Events, file_of
from molexa_core.pipeline.output_guard import discards, require_outputs, settings_inputs
from molexa_core.pipeline.two_passes import TwoPasses

ANY: Final = "any"
"""Value of `second`: an ion of any kind."""
Recoil = Literal["auto", "remove", "keep"]
BLOCK_NUMBERS: Final = 2**18
"""Number of momentum components in one block of an events file."""


@dataclass(frozen=True)
class AlignedEvents:
    """Result of `align`.

    Attributes:
        frame: the settings of the frame as plain values.
        flag: (events) `frame.align.Flag` of every input event.
        roles, summary, warnings: as in `frame.align.Aligned`.
        path: the aligned file; None if none was written.
        held: the rows, if they are in memory.
    """

    frame: dict[str, Any]
    flag: NDArray[np.int8]
    roles: tuple[str, ...]
    summary: AlignSummary
    warnings: tuple[str, ...]
    path: Path | None = None
    held: Coincidences | None = None

    @cached_property
    def table(self) -> Coincidences:
        """One row per event and assignment, as in `frame.align.Aligned`.

        Read from the file when it is first asked for.
        """
        if self.held is not None:
            return self.held
        return read_events(Path() if self.path is None else self.path)[0]


def align(
    events: Events,
    *,
    reference: str | None = None,
    second: str | None = None,
    plane: str | None = None,
    like: str | None = None,
    recoil: Recoil = "auto",
    channel: Channel | Path | str | None = None,
    selection: Selection = EVERYTHING,
    out: Path | str | None = None,
    progress: Progress = SILENT,
) -> AlignedEvents:
    """Rotate every coincidence into the molecular frame.

    Arguments that are not given are taken from the frame of the channel. Without one, x is the
    heaviest ion whose direction the events hold, and the ion with the largest mean momentum across
    it lies in the x-y plane. From a file into a file memory is bounded; the result equals that in
    memory up to rounding.

    Args:
        events: momenta (n, ions, 3) in a.u., laboratory frame; or an events file.
        reference: ion whose momentum is the x axis, such as `O+`.
        second: ion whose momentum fixes the plane; `any` for the one with the largest mean momentum
            across the reference (with `like` event by event: the most orthogonal one).
        plane: `xy` or `xz`: the plane of the second ion, whose other component is positive.
        like: `measured`, `equivalent` or `distinct`, see `base.settings.Frame`.
        recoil: `remove` subtracts the centre-of-mass motion, `keep` does not, `auto` subtracts it
            unless the channel is partial (the momenta of its ions do not add up to zero).
        channel: the channel of the events, its name or file; that of the events if not given. Gates
            of a channel that is given are applied unless `reduce` has done so.
        selection: the events to take; laboratory frame.
        out: aligned file to write.
        progress: receives notices on the choices made.

    Returns:
        The aligned rows (of a file they are read when they are asked for), flags of all input
        events, roles of the ions, summary, warnings.

    Raises:
        UnknownIonError, UsageError, SettingsError: an impossible choice of the frame; or a
            condition that cannot be read or does not fit the events.
        InputFileError: a file of another kind.
        NoEventsError: no event has a molecular frame, or the gates leave none.
        OutputError: the result cannot be written.
    """
    path = file_of(events)
    name = str(channel) if isinstance(channel, Path | str) else None
    require_outputs(
        (out, FileKind.ALIGNED), inputs=[path, selection.regions, *settings_inputs(channel=name)]
    )
    found: EventsFile | Coincidences
    if path is None or out is None:
        found, before = (events, None) if path is None else read_events(path)  # type: ignore[assignment]
    else:
        found = EventsFile(path)
        before = found.provenance
    stale: list[str] = []
    if path is not None:
        stale = require_fresh(path, before)
        say_unguarded(path, before, progress)
    known = channel if isinstance(channel, Channel) else channel_of(found.meta, name=name)
    with nullcontext() if channel is not None or path is None else about_file(path):
        _require_ions(found.ions, known)
    asked = (reference, second, plane, like)
    gates = gating_of(
        selection, "align", channel=known, before=found.meta, of_channel=channel is not None
    )
    own = _channel_in(found.meta)
    request = _Request(
        frame=_frame(found.ions, *asked, known, progress),
        any_reference=reference is None and (known is None or known.frame is None),
        recoil=_recoil(recoil, own if _is_partial(own) else known),
        partial=_is_partial(known) or _is_partial(own),
        about=nullcontext() if any(asked) or path is None else about_file(path),
        stale=tuple(stale),
    )
    inputs = [*([] if path is None else [path]), *settings_read(selection, channel=name)]
    if isinstance(found, EventsFile):
        return _by_blocks(found, request, gates, Path(str(out)), inputs, progress)
    aligned = _in_memory(select(found, gates, progress), request)
    if out is not None:
        record = Provenance.of(inputs=inputs, settings=_settings(aligned, gates), after=before)
        write_events(out, aligned.table, record)
        return replace(aligned, path=Path(out))
    return aligned


@dataclass(frozen=True)
class _Request:
    """How events are aligned.

    Attributes:
        frame: reference, second, plane.
        any_reference: whether the events choose the reference.
        recoil: whether it is subtracted.
        partial: whether ions of the molecule are missing.
        about: errors of the frame name the file, where the call did not choose the frame.
        stale: warnings: what the file was made from has changed since.
    """

    frame: Frame
    any_reference: bool
    recoil: Literal["remove", "keep"]
    partial: bool
    about: AbstractContextManager[None]
    stale: tuple[str, ...]


def _in_memory(table: Coincidences, request: _Request) -> AlignedEvents:
    """Align rows that are in memory."""
    frame, recoil = request.frame, request.recoil
    with request.about:
        aligned = align_events(
            table,
            frame,
            recoil=recoil,
            partial=request.partial,
            any_reference=request.any_reference,
        )
    frame = parse_settings(Frame, dict(aligned.table.meta["frame"]), where="frame")
    summary, more = aligned.summary, request.stale
    if not request.partial:
        rows = np.linspace(0, len(table) - 1, min(len(table), SAMPLE)).astype(int)
        quality, doubt = _judged(table.select(rows), frame, recoil, aligned.found)
        if quality is not None:
            summary = {**summary, "frame_quality": quality.to_dict()}
        more = (*(() if doubt is None else (doubt,)), *more)
    told = list(dict.fromkeys([*aligned.table.meta.get(WARNINGS, ()), *more]))
    meta = {**aligned.table.meta, "align": summary, WARNINGS: told}
    return AlignedEvents(
        meta["frame"],
        aligned.flag,
        aligned.roles,
        summary,
        (*aligned.warnings, *more),
        held=replace(aligned.table, meta=meta),
    )


def _by_blocks(
    events: EventsFile,
    request: _Request,
    gates: Gating,
    target: Path,
    inputs: Sequence[Path],
    progress: Progress,
) -> AlignedEvents:
    """Align an events file block by block into another one."""
    frame, recoil = request.frame, request.recoil
    gated = GatedEvents(events, gates)
    scratch = None if discards(target) else output_place(target).parent
    rows = max(1, BLOCK_NUMBERS // (3 * len(events.ions)))
    with ExitStack() as stack:
        writer = stack.enter_context(EventsWriter(target, events.ions))

        def store() -> Store:
            return DiskStore(stack.enter_context(tempfile.TemporaryFile(dir=scratch)))

        with request.about:
            aligner = Aligner(
                events.ions,
                frame,
                recoil=recoil,
                partial=request.partial,
                store=store,
                any_reference=request.any_reference,
            )
        passes = TwoPasses(partial(gated.chunks, rows), _size)
        with progress.task("frames", events.n_rows, "events") as task:
            aligner.look(_with_progress(passes.first(), task))
        with progress.task("aligning", events.n_rows, "events") as task:
            for table in aligner.blocks(_with_progress(passes.second(), task)):
                writer.append(table)
        if not request.partial and (sample := next(iter(gated.chunks(SAMPLE)), None)) is not None:
            quality, doubt = _judged(sample, aligner.frame, recoil, aligner.found)
            if quality is not None:
                aligner.summary["frame_quality"] = quality.to_dict()
            aligner.warnings += () if doubt is None else (doubt,)
        for table in aligner.false_blocks(gated.false_chunks(rows)):
            writer.append_false(table)
        for first in range(0, events.n_shots, BLOCK_NUMBERS):
            writer.append_shots(read_shots(events.path, slice(first, first + BLOCK_NUMBERS)))
        aligner.warnings += request.stale
        meta = aligner.meta(gated.gating.meta(events.meta))
        if gated.gating:
            say_gates(gated.gating, progress)
        aligned = AlignedEvents(
            meta["frame"], aligner.flag, aligner.roles, aligner.summary, aligner.warnings, target
        )
        settings = _settings(aligned, gated.gating)
        record = Provenance.of(inputs=inputs, settings=settings, after=events.provenance)
        writer.finish(record, meta=meta)
    return aligned


def _settings(aligned: AlignedEvents, gates: Gating) -> dict[str, Any]:
    """What the provenance of aligned events says of how they were made."""
    settings: dict[str, Any] = {"frame": aligned.frame, "recoil": aligned.summary["recoil"]}
    return {**settings, GATES: gates.record()} if gates else settings


def _judged(
    sample: Coincidences,
    frame: Frame,
    recoil: Literal["remove", "keep"],
    known: Roles | None,
) -> tuple[FrameQuality | None, str | None]:
    """How good the frame is, and a warning if another one is better."""
    try:
        quality = frame_quality(sample, frame, recoil, known)
    except NoEventsError:
        return None, None
    if quality is None or not quality.poor:
        return quality, None
    return quality, frame_doubt(quality, better_frame(sample, quality, recoil, known))


def _channel_in(meta: Mapping[str, Any]) -> Channel | None:
    """The channel that the events themselves name."""
    return channel_of(meta) if "channel" in meta else None


def _is_partial(channel: Channel | None) -> bool:
    return channel is not None and not channel.is_complete


def _recoil(recoil: Recoil, channel: Channel | None) -> Literal["remove", "keep"]:
    if channel is not None and not channel.is_complete:
        if recoil == "remove":
            raise UsageError(
                f"the recoil of the partial channel {channel.name} is not known: the momenta of "
                "its ions do not add up to that of the molecule",
                do="Leave out `recoil=`, or give `recoil='keep'`.",
            )
        return "keep"
    return "keep" if recoil == "keep" else "remove"


def _with_progress(chunks: Iterable[Coincidences], task: Task) -> Iterator[Coincidences]:
    for chunk in chunks:
        yield chunk
        task.advance(len(chunk))


def _size(table: Coincidences) -> int:
    """Size of the columns of a table, bytes."""
    detector = () if table.detector is None else table.detector.columns.values()
    columns = (table.event_id, table.momentum, table.weight, *table.tags.values(), *detector)
    return sum(column.nbytes for column in columns)


class DiskStore:
    """Blocks of numbers in an open temporary file."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._shapes: list[tuple[int, ...]] = []

    def append(self, rows: FloatArray) -> None:
        """Append a block."""
        self._stream.seek(0, os.SEEK_END)
        self._stream.write(np.ascontiguousarray(rows).tobytes())
        self._shapes.append(rows.shape)

    def __iter__(self) -> Iterator[FloatArray]:
        at = 0
        for shape in self._shapes:
            size = 8 * int(np.prod(shape))
            self._stream.seek(at)
            yield np.frombuffer(self._stream.read(size), np.float64).reshape(shape)
            at += size


def _require_ions(ions: tuple[Ion, ...], channel: Channel | None) -> None:
    """Check that the events have the ions of the channel."""
    if channel is not None and sorted(map(str, channel.wanted_ions)) != sorted(map(str, ions)):
        raise UsageError(
            f"channel {channel.name} has ions {listing(channel.wanted_ions)}, the events "
            f"{listing(ions)}",
            do="Name the channel that the events were reduced with.",
        )


def _frame(
    ions: tuple[Ion, ...],
    reference: str | None,
    second: str | None,
    plane: str | None,
    like: str | None,
    channel: Channel | None,
    progress: Progress,
) -> Frame:
    base = None if channel is None else channel.frame
    if base is None:
        base = heaviest_frame(ions)
        if reference is None:
            progress.say(
                "no frame given: x is the heaviest ion whose direction the events hold, the ion "
                "with the largest mean momentum across it lies in x-y"
            )
    values = base.model_dump()
    if reference is not None and str(parse_ion(reference)) != base.reference and second is None:
        # The second ion of the channel applies only with the reference ion of the channel.
        values["second"] = None
        values["like"] = "measured"
    given = {"reference": reference, "plane": plane, "like": like}
    values |= {name: value for name, value in given.items() if value is not None}
    if second is not None:
        values["second"] = None if second == ANY else second
    return parse_settings(Frame, values, where="frame")
