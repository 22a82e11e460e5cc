"""Convert a run from one format to another, and report what the other format cannot hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.progress import SILENT, Progress, Task
from molexa_core.base.settings import Setup, load_project, load_setup
from molexa_core.base.storage.outputs import FileKind, run_kind
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.formats import edge_writers, hit_writers, name_by_suffix, require_writer
from molexa_core.io.results.awkward_events import write_events_parquet
from molexa_core.io.results.events import read_events
from molexa_core.io.results.kinds import kind_of_result
from molexa_core.io.run_format import Places, Writer
from molexa_core.io.stored_run import StoredRun
from molexa_core.pipeline.output_guard import require_outputs, settings_inputs
from molexa_core.pipeline.runs.open_run import OpenRun, open_stored, stored_setup

__all__ = ["convert_file"]

PARQUET: Final = "parquet"
_MOST_BEFORE: Final = 10_000
"""Largest number of empty shots before the first hit that are written to a table of hits."""


def convert_file(
    paths: Sequence[Path | str] | Path | str,
    out: Path | str,
    *,
    layout: str | None = None,
    setup: Path | str | None = None,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Write a run in another format, shot by shot, with everything that both formats can hold.

    Hits are written in formats for hits, edges in formats for edges. Edges can also be written in a
    format for hits if the setup (or the metadata of a virtual run) has an anode: they are then
    sorted into hits.

    A file of coincidences can be written as a table in Parquet.

    Args:
        paths: the files of the run; patterns, or a folder.
        out: the file to write.
        layout: its format, one of `io.formats.writer_names()`; by the suffix where not given.
        setup: setup file, for column maps, facilities and anodes; that of `molexa.yaml`, or of the
            run, where not given.
        progress: told what is lost, and how far it is.

    Returns:
        `shots`, `hits` or `edges`, `format`, and `lost`: sentences about what was lost.

    Raises:
        UsageError: the format is unknown, or hits cannot be converted to edges.
        InputFileError: the run cannot be read.
        OutputError: the file cannot be written there.
    """
    chosen = layout or name_by_suffix(Path(out))
    require_writer(chosen)
    if (source := _events_file(paths)) is not None and chosen == PARQUET:
        return _events_to_parquet(source, Path(out))
    name = setup or load_project().setup
    known = None if name is None else load_setup(name)
    run = open_stored(paths, known)
    require_outputs((out, run_kind(chosen)), inputs=[*run.paths, *settings_inputs(setup=name)])
    hits, edges = hit_writers(), edge_writers()
    if chosen in edges and not run.edges:
        raise UsageError(
            f"the run holds hits ({run.choice}), from which there is no way back to the edges that "
            f"{chosen} holds",
            where=run.paths[0],
            do=f"Convert to {', '.join(hits)}.",
        )
    meta = run.metadata()
    record = Provenance.of(inputs=run.paths, settings={"format": chosen})
    meta["converted"] = record.own_record()
    done = _Converted(run, progress)
    if chosen in run.rewrites:
        done.rewritten(Path(out), chosen)
    elif chosen in edges:
        done.edges_to(Path(out), edges[chosen], meta)
    else:
        done.hits_to(Path(out), hits[chosen], meta, known)
    for sentence in done.lost:
        progress.say(f"lost: {sentence}")
    for remark in run.remarks:
        progress.say(remark)
    for warning in run.warnings:
        progress.warn(warning)
    told = {"lost": done.lost, "warnings": run.warnings}
    return {**done.counts, "format": chosen, "read_as": run.choice, **told}


def _events_file(paths: Sequence[Path | str] | Path | str) -> Path | None:
    """The file of coincidences that is meant, if it is one."""
    named = [paths] if isinstance(paths, str | Path) else list(paths)
    if len(named) != 1 or not Path(named[0]).is_file():
        return None
    kind = kind_of_result(named[0])
    return Path(named[0]) if kind in {FileKind.EVENTS, FileKind.ALIGNED} else None


def _events_to_parquet(source: Path, out: Path) -> dict[str, Any]:
    """Coincidences as a table for other programs."""
    require_outputs((out, run_kind(PARQUET)), inputs=[source])
    table, before = read_events(source)
    made = Provenance.of(inputs=[source], settings={"format": PARQUET}, after=before)
    write_events_parquet(out, table, made)
    false = 0 if table.false is None else len(table.false)
    return {
        "coincidences": len(table),
        "false": false,
        "format": PARQUET,
        "read_as": "coincidences",
        "lost": [],
        "warnings": [],
    }


C = TypeVar("C", Hits, Edges)


class _Converted:
    """A conversion in progress: counts of what was written, and what was lost."""

    def __init__(self, run: StoredRun, progress: Progress) -> None:
        self.run, self._progress = run, progress
        self.lost: list[str] = []
        self.counts: dict[str, int] = {"shots": 0}

    def hits_to(
        self, out: Path, writer: Writer[Hits], meta: dict[str, Any], setup: Setup | None
    ) -> None:
        """Hits, or edges sorted on the way."""
        run = self.run
        if run.edges:
            run = OpenRun(run, setup or stored_setup(run))
            self.lost.append("the edges: the file holds the hits sorted from them")
        self.run.with_method = True
        unread = self.run.unread()
        if unread:
            self.lost.append(f"columns that are no hits of ions: {listing(unread)}")
        slots = 1
        if writer.counted:
            with self._progress.task("most hits in a shot", run.n_shots, "shots") as task:
                for chunk in run.hits():
                    slots = max(slots, int(chunk.counts.max(initial=0)))
                    task.advance(chunk.n_shots)
        with self._task() as task:
            chunks = self._counted(run.hits(), "hits", task, writer)
            writer.write(out, _begun(chunks), Places(slots=slots), meta)
        self.lost += writer.rounded

    def edges_to(self, out: Path, writer: Writer[Edges], meta: dict[str, Any]) -> None:
        """Edges to a format of edges."""
        channels, slots = 0, 1
        for chunk in self.run.signals() if writer.counted else ():
            channels = max(channels, int(chunk.channel.max(initial=0)) + 1)
            slots = max(slots, _most_in_a_channel(chunk))
        with self._task() as task:
            chunks = self._counted(self.run.signals(), "edges", task, writer)
            writer.write(out, chunks, Places(slots=slots, channels=channels), meta)
        self.lost += writer.rounded

    def rewritten(self, out: Path, name: str) -> None:
        """The run with all that only its own family of formats holds."""
        with self._task() as task:
            done = self.run.rewrite(out, name, task.advance)
        self.counts = {"shots": done.shots, "hits": done.hits}
        self.lost += done.lost

    def _task(self) -> AbstractContextManager[Task]:
        return self._progress.task("converting", self.run.n_shots, "shots")

    def _counted(
        self, chunks: Iterable[C], what: str, task: Task, writer: Writer[C]
    ) -> Iterator[C]:
        self.counts[what] = 0
        for number, chunk in enumerate(chunks):
            if number == 0:
                self.lost += writer.unheld(chunk.tags)
            self.counts["shots"] += chunk.n_shots
            self.counts[what] += len(chunk.t_ns)
            yield chunk
            task.advance(chunk.n_shots)


def _begun(chunks: Iterable[Hits]) -> Iterator[Hits]:
    """The chunks, and before them the shots without hits that the first one leaves out."""
    for number, chunk in enumerate(chunks):
        if number == 0 and 0 < chunk.first_shot <= _MOST_BEFORE:
            yield chunk.empty(0, chunk.first_shot)
        yield chunk


def _most_in_a_channel(chunk: Edges) -> int:
    shot = chunk.shot - chunk.first_shot
    keys = shot * 2**15 + chunk.channel
    return int(np.unique(keys, return_counts=True)[1].max(initial=1))
