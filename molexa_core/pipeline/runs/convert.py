"""Convert a run from one format to another, and report what the other format cannot hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.base.fields import (
    TAG_FEL,
    TAG_PULSE,
    TAG_PULSE_ENERGY,
    TAG_PUMP,
    TAG_SCAN,
    TAG_TIMESTAMP,
    TAG_TRAIN,
)
from molexa_core.base.progress import SILENT, Progress, Task
from molexa_core.base.settings import Setup, load_project, load_setup
from molexa_core.base.storage.outputs import run_kind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.facilities.xfel_write import write_xfel_run
from molexa_core.io.lmf import LmfEvents, LmfHeader, LmfWriter
from molexa_core.io.lmf.header import TDC8HP, TDC8HPRAW
from molexa_core.io.lmf.run import LmfRun, write_lmf_run
from molexa_core.io.root.writer import write_root_edges
from molexa_core.io.run import StoredRun
from molexa_core.io.run_write import HIT_FORMATS, HitFormat, write_hits
from molexa_core.io.tables.run import TableRun
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.runs.mock_edges import EDGE_FORMATS, EdgeFormat
from molexa_core.pipeline.runs.open_run import OpenRun, open_stored, stored_setup

__all__ = ["FORMATS", "ConvertFormat", "convert_file"]

ConvertFormat = HitFormat | EdgeFormat
FORMATS: Final = (*HIT_FORMATS, *EDGE_FORMATS)
SUFFIXES: Final = {
    ".root": "root",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".parquet": "parquet",
    ".csv": "csv",
    ".txt": "csv",
    ".lmf": "lmf",
}
"""Formats by suffix of the output file."""
_MOST_BEFORE: Final = 10_000
"""Largest number of empty shots before the first hit that are written to a table of hits."""
_XFEL_TAGS: Final = frozenset({TAG_FEL, TAG_PUMP, TAG_PULSE_ENERGY})


def convert_file(
    paths: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    layout: ConvertFormat | None = None,
    setup: Path | str | None = None,
    command: str = "molexa_core.pipeline.runs.convert.convert_file",
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write a run in another format, shot by shot, with everything that both formats can hold.

    Hits are written in formats for hits, edges in formats for edges. Edges can also be written in a
    format for hits if the setup (or the metadata of a virtual run) has an anode: they are then
    sorted into hits.

    Args:
        paths: the files of the run; patterns, or a folder.
        out: the file to write.
        layout: its format; from the suffix of `out` if not given.
        setup: setup file with column map, facility or anode; that of `molexa.yaml` or of the run if
            not given.
        command: command line, for the provenance.
        progress: display of the progress, and notices on lost information.

    Returns:
        `shots`, `hits` or `edges`, `format`, and `lost`: sentences about what was lost.

    Raises:
        UsageError: the format is unknown, or hits cannot be converted to edges.
        InputFileError: the run cannot be read.
        OutputError: the file cannot be written there.
    """
    chosen = layout or _format_of_suffix(Path(out))
    name = setup or load_project().setup
    known = None if name is None else load_setup(name)
    run = open_stored(paths, known)
    require_outputs((out, run_kind(chosen)), inputs=[*run.paths, *settings_inputs(setup=name)])
    if chosen in EDGE_FORMATS and not run.edges:
        raise UsageError(
            f"the run holds hits ({run.choice}), from which there is no way back to the edges that "
            f"{chosen} holds",
            where=run.paths[0],
            do=f"Convert to {', '.join(HIT_FORMATS)}.",
        )
    meta = run.metadata()
    record = Provenance.of(command, inputs=run.paths, settings={"format": chosen})
    meta["converted"] = record.own_record()
    done = _Converted(run, progress)
    if isinstance(run, LmfRun) and chosen in {"lmf", "lmf-raw"}:
        done.lmf_to_lmf(Path(out), raw=chosen == "lmf-raw")
    elif chosen in EDGE_FORMATS:
        done.edges_to(Path(out), chosen, meta)
    else:
        done.hits_to(Path(out), cast("HitFormat", chosen), meta, known)
    for sentence in done.lost:
        progress.say(f"lost: {sentence}")
    for remark in run.remarks:
        progress.say(remark)
    for warning in run.warnings:
        progress.warn(warning)
    told = {"lost": done.lost, "warnings": run.warnings}
    return {**done.counts, "format": chosen, "read_as": run.choice, **told}


def _format_of_suffix(out: Path) -> str:
    suffix = out.suffix.lower()
    if suffix not in SUFFIXES:
        near = near_matches(suffix, SUFFIXES)
        raise UsageError(
            f"the suffix {suffix!r} tells no format",
            where=out,
            do=f"Did you mean {listing(near)}?" if near else f"Give `layout=`: {listing(FORMATS)}.",
        )
    return SUFFIXES[suffix]


class _Converted:
    """A conversion in progress: counts of what was written, and what was lost."""

    def __init__(self, run: StoredRun, progress: Progress) -> None:
        self.run, self._progress = run, progress
        self.lost: list[str] = []
        self.counts: dict[str, int] = {"shots": 0}

    def hits_to(
        self, out: Path, layout: HitFormat, meta: dict[str, Any], setup: Setup | None
    ) -> None:
        """Write hits, or edges sorted into hits."""
        hits: Any = self.run
        if self.run.edges:
            hits = _sorted(self.run, setup)
            self.lost.append("the edges: the file holds the hits sorted from them")
        if isinstance(self.run, TableRun):
            hits.with_method = True
            unread = self.run.unread()
            if unread:
                self.lost.append(f"columns that are no hits of ions: {listing(unread)}")
        slots = 1
        if layout in {"root", "xfel"}:
            with self._progress.task("most hits in a shot", self.run.n_shots, "shots") as task:
                for chunk in hits:
                    slots = max(slots, int(chunk.counts.max(initial=0)))
                    task.advance(chunk.n_shots)
        with self._task() as task:
            write_hits(out, self._counted(hits, "hits", task, layout), layout, slots=slots,
                       meta=meta)  # fmt: skip

    def edges_to(self, out: Path, layout: str, meta: dict[str, Any]) -> None:
        """Write edges as a list-mode file, in the layout of European XFEL, or as a ROOT tree."""
        channels, slots = 0, 1
        for chunk in self.run if layout != "root-edges" else ():
            channels = max(channels, int(chunk.channel.max(initial=0)) + 1)
            slots = max(slots, _most_in_a_channel(chunk))
        with self._task() as task:
            edges = self._counted(self.run, "edges", task, layout)
            if layout == "edges":
                write_xfel_run(out, edges, slots=slots, n_channels=channels, meta=meta)
            elif layout == "root-edges":
                write_root_edges(out, edges, meta=meta)
            else:
                raw = layout == "lmf-raw"
                write_lmf_run(out, edges, raw=raw, meta=meta, n_channels=max(8, channels))
                self.lost.append("times below 0.0125 ns: they are rounded to bins of 0.025 ns")

    def _task(self) -> Any:
        return self._progress.task("converting", self.run.n_shots, "shots")

    def _counted(self, chunks: Any, what: str, task: Task, layout: str) -> Iterator[Any]:
        self.counts[what] = 0
        begun = False
        for chunk in chunks:
            if not begun:
                self.lost += _unheld(chunk, layout)
                begun = True
                if isinstance(chunk, Hits) and 0 < chunk.first_shot <= _MOST_BEFORE:
                    yield chunk.empty(0, chunk.first_shot)
            self.counts["shots"] += chunk.n_shots
            self.counts[what] += len(chunk.t_ns)
            yield chunk
            task.advance(chunk.n_shots)

    def lmf_to_lmf(self, out: Path, *, raw: bool) -> None:
        """Copy the events of a list-mode file with all their data and the headers."""
        run = cast("LmfRun", self.run)
        header = run.files[0].header
        if len(run.files) > 1:
            self.lost.append("headers of all files but the first")
        changed = raw != header.raw
        new = _header(header, raw=raw) if changed else header
        if any(file.trailer != file.stated_trailer for file in run.files):
            new = replace(new, lmf_version=LmfHeader.lmf_version)  # has a place for everything
        with LmfWriter(out, new) as writer, self._task() as task:
            number, dropped = 0, np.zeros(3, np.int64)
            self.counts["hits"] = 0
            for file in run.files:
                for events in file:
                    fitting = _fitting(events, number, changed=changed, raw=raw, new=new)
                    dropped += (
                        int((events.level != fitting.level).sum()),
                        len(events.words) - len(fitting.words),
                        int(events.rising.sum() - fitting.rising.sum()),
                    )
                    writer.append(fitting)
                    number += events.n_events
                    self.counts["hits"] += events.n_hits
                    task.advance(events.n_events)
                file.require_readable()
            writer.finish(stop=header.stop)
        self.counts["shots"] = number
        kinds = ("levels of the inputs", "words of levels and errors", "marks of rising edges")
        self.lost += [f"{n} {kind}" for n, kind in zip(dropped, kinds, strict=True) if n]
        lost = sum(file.lost or 0 for file in run.files)
        if lost:
            self.lost.append(f"{lost} events that are damaged or missing in the run")


def _sorted(run: StoredRun, setup: Setup | None) -> OpenRun:
    return OpenRun(run, setup or stored_setup(run))


def _most_in_a_channel(chunk: Edges) -> int:
    shot = chunk.shot - chunk.first_shot
    keys = shot * 2**15 + chunk.channel
    return int(np.unique(keys, return_counts=True)[1].max(initial=1))


def _unheld(chunk: Hits | Edges, layout: str) -> list[str]:
    """Sentences on data in the first chunk that the format cannot hold."""
    tags = set(chunk.tags)
    if layout in {"xfel", "edges"}:
        renumbered = tags & {TAG_TRAIN, TAG_PULSE}
        lost = [f"numbers of trains and pulses ({listing(sorted(renumbered))})"] * bool(renumbered)
        others = sorted(tags - _XFEL_TAGS - renumbered)
        return lost + ([f"values per shot: {listing(others)}"] if others else [])
    if layout in {"lmf", "lmf-raw"}:
        kept = {TAG_TIMESTAMP} | {name for name in tags if name.startswith(TAG_SCAN)}
        others = sorted(tags - kept)
        return [f"values per shot: {listing(others)}"] if others else []
    if layout == "csv":
        return ["shots without hits, but for their numbers, and their values"]
    return []


def _header(header: LmfHeader, *, raw: bool) -> LmfHeader:
    """The header for the other kind of events (raw or decoded) of the same run."""
    if raw:
        return replace(header, daq_id=TDC8HPRAW, grouping=True)
    return replace(header, daq_id=TDC8HP, grouping=False, stamp_format=2)


def _fitting(
    events: LmfEvents, number: int, *, changed: bool, raw: bool, new: LmfHeader
) -> LmfEvents:
    """Events without data that the other kind of events cannot hold."""
    n = events.n_events
    if not changed:
        return events
    counter: NDArray[np.uint64] = np.arange(number + 1, number + n + 1, dtype=np.uint64)
    nothing = np.zeros(n + 1, np.int64)
    fitting = replace(events, counter=counter)
    if raw:
        fitting = replace(fitting, level=np.zeros(n, np.uint64))
    else:
        rising = np.zeros(events.n_hits, np.bool_)
        words = np.empty(0, np.uint32)
        fitting = replace(fitting, rising=rising, words=words, word_offsets=nothing)
    if not new.has_post and len(events.post):
        fitting = replace(fitting, post=np.empty(0, np.uint8), post_offsets=nothing)
    return fitting
