"""Runs of edges in Cobold list-mode files: reading as `Edges`, writing of virtual runs."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.fields import TAG_SCAN, TAG_TIMESTAMP
from molexa_core.base.tables import Edges
from molexa_core.io.lmf.event_table import LmfEvents
from molexa_core.io.lmf.header import FIRST_PARAMETER, TDC8HP, TDC8HPRAW, LmfHeader
from molexa_core.io.lmf.reader import PLACE_BYTES, LmfFile, LmfLosses, LmfPlace
from molexa_core.io.lmf.rewrite import rewrite_lmf
from molexa_core.io.lmf.writer import LmfWriter
from molexa_core.io.stored_run import Rewritten, StoredRun

MARK: Final = "molexa "
"""Begins the comment of a virtual run, before its metadata as JSON."""
SHOTS_PER_SECOND: Final = 1000.0
"""Rate of the time stamps written for runs without time stamps."""


class LmfRun(StoredRun):
    """A run in one or several list-mode files, read any number of times; iterating gives `Edges`.

    Attributes:
        paths, layout, choice, n_shots: as in `StoredRun`; the number of shots is not known before
            `make_index`, since that in the header may be wrong.
        files: the files.

    Raises:
        InputFileError: a file cannot be read, or the files do not fit each other; when iterated
            over, most of a file holds no event.
    """

    edges = True
    indexable = True
    rewrites = frozenset({"lmf", "lmf-raw"})

    def __init__(self, paths: Sequence[Path | str]) -> None:
        if not paths:
            raise UsageError("no run given", do="Name at least one file.")
        self.files = [LmfFile(path) for path in paths]
        self.paths = tuple(file.path for file in self.files)
        header = self.files[0].header
        kind = "grouped words" if header.raw else "decoded events"
        self.layout = "lmf-raw" if header.raw else "lmf"
        self.choice = f"{header.generation}, LMF version {header.lmf_version}, {kind}"
        self.choice += behind_hits(self.files[0])
        self.n_shots: int | None = None
        self._places: list[list[LmfPlace]] = []
        self._losses: list[LmfLosses] = []
        self._parameters_read: list[int] = []
        for file in self.files[1:]:
            same = ("raw", "resolution_ns", "n_channels")
            differ = [name for name in same if getattr(file.header, name) != getattr(header, name)]
            if differ:
                raise InputFileError(
                    f"differs from {self.paths[0]} in {listing(differ)}",
                    where=file.path,
                    do="Reduce files of different acquisitions one by one.",
                )

    @property
    def warnings(self) -> list[str]:
        """What was wrong in the last reading, for the user."""
        told = {file.path: file.told() for file in self.files}
        return [f"{path}: {sentence}" for path, sentence in told.items() if sentence is not None]

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the first file (virtual runs)."""
        comment = self.files[0].header.comment
        if not comment.startswith(MARK):
            return {}
        try:
            values = json.loads(comment.removeprefix(MARK))
        except ValueError as error:
            raise InputFileError(
                "the metadata of molexa in the comment are not readable as JSON",
                where=self.paths[0],
                do="The file is damaged; make the run again.",
            ) from error
        return values if isinstance(values, dict) else {}

    def __iter__(self) -> Iterator[Edges]:
        shot = 0
        parameters = self._parameters()
        for file in self.files:
            for events in file:
                yield _edges(file, events, shot, parameters)
                shot += events.n_events
            file.require_readable()

    @property
    def anywhere(self) -> bool:  # type: ignore[override]
        """Whether shots can be read from any place on: after `make_index`."""
        return bool(self._places)

    def make_index(self, advance: Callable[[int], None]) -> None:
        """See `StoredRun.make_index`; a place knows the state of the clock and the parameters."""
        places, self._losses = [], []
        for file in self.files:
            places.append(file.places(advance))
            self._losses.append(file.losses)
            file.require_readable()
        self._use(places)

    def index(self) -> dict[str, Any]:
        """See `StoredRun.index`."""
        return (
            {"files": [[list(astuple(place)) for place in places] for places in self._places]}
            if self._places
            else {}
        )

    def take_index(self, values: Mapping[str, Any]) -> None:
        """See `StoredRun.take_index`."""
        if values:
            self._use(
                [
                    [
                        LmfPlace(byte, event, tuple(state), tuple(roll), tuple(scan), lost, faults)
                        for byte, event, state, roll, scan, lost, faults in places
                    ]
                    for places in values["files"]
                ]
            )

    def _use(self, places: list[list[LmfPlace]]) -> None:
        self._places = places
        self.n_shots = sum(of_file[-1].event for of_file in places)
        self._parameters_read = self._parameters()

    def forget_reading(self) -> None:
        """Of the whole run, all that is to be said is known since `make_index`."""
        for file, losses in zip(self.files, self._losses, strict=False):
            file.losses = losses

    def between(self, first: int, last: int) -> Iterator[Edges]:
        """See `StoredRun.between`."""
        if not self._places:
            yield from super().between(first, last)  # type: ignore[misc]
            return
        shot = 0
        for file, places in zip(self.files, self._places, strict=True):
            begin, shot = shot, shot + places[-1].event
            if shot <= first or begin >= last:
                continue
            low, high = max(first - begin, 0), min(last, shot) - begin
            at = bisect_right([place.event for place in places], low) - 1
            for events, _ in file.follow(places[at], closed=True, chunk_bytes=PLACE_BYTES):
                chunk = _edges(file, events, begin + events.first_event, self._parameters_read)
                start, stop = low - events.first_event, high - events.first_event
                if start < chunk.n_shots and stop > 0:
                    yield chunk.shots(max(start, 0), min(stop, chunk.n_shots))
                if stop <= chunk.n_shots:
                    break

    def follow(
        self, place: LmfPlace | None = None, *, closed: bool = False
    ) -> Iterator[tuple[Edges, LmfPlace]]:
        """The edges behind a place of a run of one file, which may still be written.

        See `LmfFile.follow` for the arguments. Values of Cobold's parameters that are set by the
        end of a chunk are tags of it.
        """
        file = self.files[0]
        for events, after in file.follow(place, closed=closed):
            parameters = sorted(events.scan_values()) if file.header.has_scan else []
            yield _edges(file, events, events.first_event, parameters), after

    def rewrite(self, out: Path, name: str, advance: Callable[[int], None]) -> Rewritten:
        """Events with all that belongs to them, headers included."""
        return rewrite_lmf(self.files, out, raw=name == "lmf-raw", advance=advance)

    def _parameters(self) -> list[int]:
        """The parameters that are set in the first event; others are no tags of all shots."""
        for file in self.files:
            if file.header.has_scan:
                for events in file:
                    return sorted(events.scan_values())
        return []


def behind_hits(file: LmfFile) -> str:
    """The data behind the hits of an event, if they differ from the stated version; or nothing."""
    if file.trailer == file.stated_trailer:
        return ""
    return (
        f"; behind the hits of each event: {file.trailer} (as the next event shows; the version "
        f"says {file.stated_trailer})"
    )


def _edges(file: LmfFile, events: LmfEvents, first_shot: int, parameters: Sequence[int]) -> Edges:
    """Events as edges: in each shot by channel, in each channel by time."""
    times = file.nanoseconds(events)
    channel = events.channel.astype(np.int16)
    key = events.event * 256 + channel
    late = (np.diff(key) == 0) & (np.diff(times) < 0)
    if late.any():
        times = times[np.lexsort((times, key))]
    tags: dict[str, NDArray[Any]] = {TAG_TIMESTAMP: file.seconds(events)}
    values = events.scan_values()
    for number in parameters:
        unknown = np.full(events.n_events, np.nan)
        tags[f"{TAG_SCAN}{number - FIRST_PARAMETER}"] = values.get(number, unknown)
    return Edges(first_shot, events.offsets, channel, times, tags)


def write_lmf_run(
    path: Path | str,
    chunks: Iterable[Edges],
    *,
    raw: bool,
    meta: Mapping[str, Any] | None = None,
    n_channels: int = 9,
    bin_ns: float = 0.025,
    start: int = 0,
) -> None:
    """Write a run of edges as a list-mode file of Cobold 2011, LMF version 12.

    Times are rounded to bins. Tags `timestamp` and `scanval0` ... become time stamps and changed
    parameters; other tags have no place in the format.

    Args:
        path: the file.
        chunks: consecutive shots.
        raw: grouped words instead of decoded events.
        meta: plain values, stored as JSON in the comment.
        n_channels: inputs of the TDC.
        bin_ns: width of a bin.
        start: unix time at which the run begins.

    Raises:
        UsageError: a value does not fit into the format.
        OutputError: the file cannot be written there.
    """
    comment = "" if meta is None else MARK + json.dumps(dict(meta), default=str)
    header = LmfHeader(
        producer="molexa",
        comment=comment,
        daq_id=TDC8HPRAW if raw else TDC8HP,
        grouping=raw,
        n_channels=n_channels,
        falling_mask=2**n_channels - 1,
        frequency=1e9 / bin_ns,
        resolution_ns=bin_ns,
        start=start,
        stop=start,
    )
    n_shots = 0
    known: dict[str, float] = {}
    with LmfWriter(path, header) as writer:
        for chunk in chunks:
            if chunk.n_shots:
                writer.append(_events(chunk, header, known))
            n_shots += chunk.n_shots
        writer.finish(stop=start + int(np.ceil(n_shots / SHOTS_PER_SECOND)))


def _events(chunk: Edges, header: LmfHeader, known: dict[str, float]) -> LmfEvents:
    seconds = chunk.tags.get(TAG_TIMESTAMP)
    if seconds is None:
        shots = np.arange(chunk.first_shot, chunk.first_shot + chunk.n_shots)
        seconds = shots / SHOTS_PER_SECOND
    stamp = np.rint(np.asarray(seconds, np.float64) * header.frequency).astype(np.uint64)
    scans = {
        int(name.removeprefix(TAG_SCAN)): np.asarray(column, np.float64)
        for name, column in chunk.tags.items()
        if name.startswith(TAG_SCAN) and name.removeprefix(TAG_SCAN).isdigit()
    }
    mask = np.zeros(chunk.n_shots, np.uint32)
    changed = np.zeros((chunk.n_shots, len(scans)), np.bool_)
    values = np.empty((chunk.n_shots, len(scans)))
    for row, bit in enumerate(sorted(scans)):
        if bit >= 32:
            raise UsageError(f"the LMF file has no place for {TAG_SCAN}{bit}: there are 32")
        column = scans[bit]
        before = np.concatenate([[known.get(str(bit), np.nan)], column[:-1]])
        changed[:, row] = (column != before) & ~np.isnan(column)
        mask |= changed[:, row].astype(np.uint32) << np.uint32(bit)
        values[:, row] = column
        known[str(bit)] = float(column[-1])
    return LmfEvents.of(
        chunk.offsets,
        chunk.channel,
        np.rint(chunk.t_ns / header.resolution_ns).astype(np.int64),
        stamp=stamp,
        scan_mask=mask,
        scan_value=values[changed],
        first_event=chunk.first_shot,
    )
