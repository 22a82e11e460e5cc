"""Align: rotate the momenta of every coincidence from the laboratory to the molecular frame."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
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
    Aligned,
    Aligner,
    AlignSummary,
    Store,
    align_events,
    heaviest_frame,
)
from molexa_core.frame.quality import (
    SAMPLE,
    FrameQuality,
    better_frame,
    frame_doubt,
    frame_quality,
)
from molexa_core.io.results.events import EventsFile, EventsWriter, read_shots
from molexa_core.pipeline.chain.pick import (
    ALIGNED_SUFFIX,
    EVENTS_SUFFIX,
    beside,
    channel_of,
    only_file,
)
from molexa_core.pipeline.chain.selected import GatedEvents, gating_of, say_gates, settings_read
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded
from molexa_core.pipeline.output_guard import discards, require_outputs, settings_inputs
from molexa_core.pipeline.two_passes import TwoPasses

ANY: Final = "any"
"""Value of `second`: the ion whose momentum is the most orthogonal one, of any kind."""
Recoil = Literal["auto", "remove", "keep"]
BLOCK_NUMBERS: Final = 2**18
"""Number of momentum components in one block of an events file."""


@dataclass(frozen=True)
class AlignedFile:
    """Result of `align_file`: how the events in the file were aligned.

    Attributes:
        frame: the settings of the frame as plain values.
        flag, roles, summary, warnings: as in `frame.align.Aligned`.
    """

    frame: dict[str, Any]
    flag: NDArray[np.int8]
    roles: tuple[str, ...]
    summary: AlignSummary
    warnings: tuple[str, ...]


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
    """Rotate every coincidence into the molecular frame.

    Arguments that are not given are taken from the frame of the channel or else from the convention
    of the paper's main text (heaviest ion along x, most orthogonal ion in the first quadrant of the
    x-y plane).

    Args:
        table: momenta (n, ions, 3) in a.u., laboratory frame.
        reference: ion whose momentum is the x axis, such as `O+`.
        second: ion whose momentum fixes the plane; `any` for the most orthogonal one.
        plane: `xy` or `xz`: the plane of the second ion, whose other component is positive.
        like: `equivalent` or `distinct`, see `base.settings.Frame`.
        recoil: `remove` subtracts the centre-of-mass motion, `keep` does not, `auto` subtracts it
            unless the channel is partial (the momenta of its ions do not add up to zero).
        channel: the channel of the events.
        progress: receives notices on the choices made.

    Returns:
        The aligned rows, flags of all input events, roles of the ions, summary, warnings.

    Raises:
        UnknownIonError, UsageError, SettingsError: an impossible choice of the frame.
        NoEventsError: no event has a molecular frame.
    """
    _require_ions(table.ions, channel)
    frame = _frame(table.ions, reference, second, plane, like, channel, progress)
    known = channel if channel is not None else _channel_in(table.meta)
    partial = _is_partial(known)
    chosen = _recoil(recoil, known)
    aligned = align_events(table, frame, recoil=chosen, partial=partial)
    if partial:
        return aligned
    rows = np.linspace(0, len(table) - 1, min(len(table), SAMPLE)).astype(int)
    quality, doubt = _judged(table.select(rows), frame, chosen)
    if quality is None:
        return aligned
    summary: AlignSummary = {**aligned.summary, "frame_quality": quality.to_dict()}
    more = () if doubt is None else (doubt,)
    told = list(dict.fromkeys([*aligned.table.meta.get(WARNINGS, ()), *more]))
    meta = {**aligned.table.meta, "align": summary, WARNINGS: told}
    return replace(
        aligned,
        table=replace(aligned.table, meta=meta),
        summary=summary,
        warnings=(*aligned.warnings, *more),
    )


def _judged(
    sample: Coincidences, frame: Frame, recoil: Literal["remove", "keep"]
) -> tuple[FrameQuality | None, str | None]:
    """How good the frame is, and a warning if another one is better."""
    try:
        quality = frame_quality(sample, frame, recoil)
    except NoEventsError:
        return None, None
    if quality is None or not quality.poor:
        return quality, None
    return quality, frame_doubt(quality, better_frame(sample, quality, recoil))


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
    selection: Selection = EVERYTHING,
    progress: Progress = SILENT,
) -> tuple[Path, AlignedFile]:
    """Align an events file and write `*.aligned.h5` beside it, in bounded memory.

    The result equals that of `align` up to rounding: the lobes of like ions are means over blocks.

    Args:
        path: the events file; the only `*.events.h5` in the working folder if not given.
        out: the file to write.
        reference: see `align`.
        second: see `align`.
        plane: see `align`.
        like: see `align`.
        recoil: see `align`.
        channel: name or file of the channel; that of the events if not given. Gates of a channel
            that is given are applied unless `molexa reduce` has done so.
        selection: the events to take; laboratory frame.
        progress: receives notices on the choices made.

    Returns:
        The file written, and all that `align` returns except the rows.

    Raises:
        InputFileError: no events file, several of them, or a file of another kind.
        UsageError: a condition that cannot be read or does not fit the events.
        NoEventsError: the gates leave no event.
        OutputError: the result cannot be written.
    """
    source = (
        only_file(EVENTS_SUFFIX, made_by="molexa reduce", progress=progress)
        if path is None
        else Path(path)
    )
    events = EventsFile(source)
    stale = tuple(require_fresh(source, events.provenance))
    say_unguarded(source, events.provenance, progress)
    known = channel_of(events.meta, name=channel)
    if channel is None and path is None and known is not None:
        progress.say(f"channel {known.name}")
    with nullcontext() if channel is not None else about_file(source):
        _require_ions(events.ions, known)
    given = (reference, second, plane, like)
    frame = _frame(events.ions, *given, known, progress)
    target = beside(source, EVENTS_SUFFIX, ALIGNED_SUFFIX) if out is None else Path(out)
    read = [source, selection.regions, *settings_inputs(channel=channel)]
    require_outputs((target, FileKind.ALIGNED), inputs=read)
    gates = gating_of(
        selection, "align", channel=known, before=events.meta, of_channel=channel is not None
    )
    gated = GatedEvents(events, gates)
    scratch = None if discards(target) else output_place(target).parent
    rows = max(1, BLOCK_NUMBERS // (3 * len(events.ions)))
    with ExitStack() as stack:
        writer = stack.enter_context(EventsWriter(target, events.ions))

        def store() -> Store:
            return DiskStore(stack.enter_context(tempfile.TemporaryFile(dir=scratch)))

        with nullcontext() if any(given) else about_file(source):
            own = _channel_in(events.meta)
            chosen = _recoil(recoil, own if _is_partial(own) else known)
            partial_ions = _is_partial(known) or _is_partial(own)
            aligner = Aligner(events.ions, frame, recoil=chosen, partial=partial_ions, store=store)
        passes = TwoPasses(partial(gated.chunks, rows), _size)
        with progress.task("frames", events.n_rows, "events") as task:
            aligner.look(_with_progress(passes.first(), task))
        with progress.task("aligning", events.n_rows, "events") as task:
            for table in aligner.blocks(_with_progress(passes.second(), task)):
                writer.append(table)
        if not partial_ions and (sample := next(iter(gated.chunks(SAMPLE)), None)) is not None:
            quality, doubt = _judged(sample, frame, chosen)
            if quality is not None:
                aligner.summary["frame_quality"] = quality.to_dict()
            aligner.warnings += () if doubt is None else (doubt,)
        for table in aligner.false_blocks(gated.false_chunks(rows)):
            writer.append_false(table)
        for first in range(0, events.n_shots, BLOCK_NUMBERS):
            writer.append_shots(read_shots(source, slice(first, first + BLOCK_NUMBERS)))
        aligner.warnings += stale
        meta = aligner.meta(gated.gating.meta(events.meta))
        settings = {"frame": meta["frame"], "recoil": aligner.summary["recoil"]}
        if gated.gating:
            say_gates(gated.gating, progress)
            settings[GATES] = gated.gating.record()
        inputs = [source, *settings_read(selection, channel=channel)]
        record = Provenance.of(inputs=inputs, settings=settings, after=events.provenance)
        writer.finish(record, meta=meta)
    return target, AlignedFile(
        settings["frame"], aligner.flag, aligner.roles, aligner.summary, aligner.warnings
    )


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
                f"no frame given: {base.reference} (the heaviest ion) along x, the most "
                "orthogonal ion in x-y"
            )
    values = base.model_dump()
    if reference is not None and str(parse_ion(reference)) != base.reference and second is None:
        # The second ion of the channel applies only with the reference ion of the channel.
        values["second"] = None
        values["like"] = "equivalent"
    given = {"reference": reference, "plane": plane, "like": like}
    values |= {name: value for name, value in given.items() if value is not None}
    if second is not None:
        values["second"] = None if second == ANY else second
    return parse_settings(Frame, values, where="frame")
