"""Reader for Cobold list-mode files in chunks, which skips damage and lists faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.storage.files import require_file
from molexa_core.base.tables import FloatArray
from molexa_core.io.lmf import decode, kernels
from molexa_core.io.lmf.cursor import Cursor
from molexa_core.io.lmf.event_table import LmfEvents
from molexa_core.io.lmf.header import PARAMETERS, VERSIONS, LmfHeader
from molexa_core.io.lmf.header_file import read_header
from molexa_core.io.lmf.trailer import SAMPLE_BYTES, Trailer, find_trailer

CHUNK_BYTES: Final = 8 * 2**20
"""Bytes of a file that are read at a time."""
PLACE_BYTES: Final = 2**20
"""Bytes between places from which events can be read."""
KEPT_FAULTS: Final = 10_000
"""Faults that are listed one by one; more are only counted."""
_FAULT_ROWS: Final = 256
_NONE: Final = np.empty(0, np.int64)
_NO_LIMIT: Final = 2**63 - 1
_MOST_STATED: Final = 2**48
"""A header that states more events does not know them."""


@dataclass(frozen=True)
class Fault:
    """A fault in a file.

    Attributes:
        position: first byte concerned.
        what: a sentence without its end.
        skipped: bytes in which no event was found.
        lost: events lost, None if unknown.
    """

    position: int
    what: str
    skipped: int = 0
    lost: int | None = 0

    def __str__(self) -> str:
        return f"byte {self.position}: {self.what}"


@dataclass
class LmfLosses:
    """Faults and losses of one reading, filled while the events are read.

    Attributes:
        faults: each with its place, the first `KEPT_FAULTS`.
        n_faults: number of all faults.
        lost_events: events lost, as far as known.
        unknown: whether more may be lost, an unknown number.
        skipped_bytes: bytes in which no event was found.
        events: events read.
        whole: whether the reading came to the end of the file.
        beyond_maximum: hits beyond the stated most hits of a channel; they are kept.
        truncated: whether the last event is cut off.
    """

    faults: list[Fault] = field(default_factory=list)
    n_faults: int = 0
    lost_events: int = 0
    unknown: bool = False
    skipped_bytes: int = 0
    events: int = 0
    whole: bool = False
    beyond_maximum: int = 0
    truncated: bool = False

    def add(self, fault: Fault) -> None:
        """Count a fault and keep it while there are not too many."""
        self.n_faults += 1
        self.lost_events += fault.lost or 0
        self.unknown |= fault.lost is None
        self.skipped_bytes += fault.skipped
        if len(self.faults) < KEPT_FAULTS:
            self.faults.append(fault)


@dataclass(frozen=True)
class LmfPlace:
    """Where the reading of a growing file goes on.

    Attributes:
        byte: first byte that was not read.
        event: number of the event that begins there.
        state: what the search for events knows (`kernels.new_state`).
        roll: turns of the clock so far.
        scan: (32) values of Cobold's parameters in force; NaN: not set.
        lost: events lost to damage before, as far as known.
        faults: number of faults before.
    """

    byte: int
    event: int = 0
    state: tuple[int, ...] = ()
    roll: tuple[int, ...] = (0, 0)
    scan: tuple[float, ...] = ()
    lost: int = 0
    faults: int = 0


class LmfFile:
    """A list-mode file of Cobold 2008 or 2011 with TDC8HP events, which can be read repeatedly.

    Attributes:
        path: the file.
        header: content of its headers.
        header_faults: faults of the headers that are not fatal.
        events_at: byte at which the events begin.
        trailer: data that follow the hits of an event, as found in the events.
        losses: faults and losses of the last reading.

    Raises:
        InputFileError: missing, not a list-mode file, of a kind that is not supported, cut off or
            damaged in its header.

    Example:
        >>> for events in LmfFile("run.lmf"):  # doctest: +SKIP
        ...     ns = events.bins * file.header.resolution_ns
    """

    def __init__(self, path: Path | str) -> None:
        self.path = require_file(path)
        with self.path.open("rb") as stream:
            cursor = Cursor(stream, self.path, self.path.stat().st_size)
            self.header, self.events_at, self.header_faults = read_header(cursor)
        self.losses = LmfLosses()
        self._layout = self.header.layout()
        self._settled = False
        chained, events = self._settle()
        if self.header.lmf_version >= VERSIONS.stop and not chained and self.size > self.events_at:
            raise InputFileError(
                f"LMF version {self.header.lmf_version} is newer than known "
                f"({VERSIONS.stop - 1}), and {'only one' if events else 'no'} event was found",
                where=self.path,
                do="Let the acquisition write an older version.",
            )

    def __iter__(self) -> Iterator[LmfEvents]:
        return self.iterate()

    @property
    def trailer(self) -> Trailer:
        """The data that follow the hits of an event, as found in the events."""
        return Trailer.of(self._layout)

    @property
    def stated_trailer(self) -> Trailer:
        """The data that should follow the hits according to the version in the header."""
        return Trailer.of(self.header.layout())

    @property
    def lost(self) -> int | None:
        """Events lost in the last reading, None if unknown.

        The number in the header counts where it is the larger one; it may be absent, and it is 0
        or old in files that were not closed.
        """
        losses = self.losses
        stated = self.header.n_events
        missing = stated - losses.events if stated <= _MOST_STATED else 0
        if losses.whole and missing > 0:
            return max(missing, losses.lost_events)
        return None if losses.unknown else losses.lost_events

    @property
    def mostly_unreadable(self) -> bool:
        """Whether no event was found in more than half of the bytes, in the last reading."""
        held = self.size - self.events_at
        return self.losses.whole and 2 * self.losses.skipped_bytes > held

    def require_readable(self) -> None:
        """Refuse a file of which most could not be read, after reading it.

        Raises:
            InputFileError: no event was found in more than half of its bytes.
        """
        if self.mostly_unreadable:
            raise InputFileError(
                f"most of the file cannot be read: {self.told()}",
                where=self.path,
                do="Copy it again; `molexa inspect verify=True` lists every fault.",
            )

    def told(self) -> str | None:
        """A sentence about events lost in the last reading; None if there were none."""
        losses, lost = self.losses, self.lost
        if not losses.n_faults and not lost:
            return None
        stated = self.header.n_events
        if lost is None:
            known = losses.lost_events
            words = f"at least {known} events lost" if known else "an unknown number of events lost"
        elif losses.whole and lost == stated - losses.events:
            words = f"{lost} of the {stated} events stated in the header lost"
        else:
            words = f"{lost} event(s) lost"
        if losses.skipped_bytes:
            held = self.size - self.events_at
            words += f", no event in {losses.skipped_bytes} of {held} bytes"
        if losses.n_faults:
            words += f"; {losses.n_faults} fault(s), first at {losses.faults[0]}"
        return words

    def _settle(self) -> tuple[int, int]:
        """Determine from the first events which data follow the hits of an event.

        Returns:
            Events that end where the next begins, and all, in the sample that was looked at.
        """
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.events_at)
                data = stream.read(SAMPLE_BYTES)
        except OSError as error:
            raise InputFileError(
                f"cannot be read: {error.strerror or error}", where=self.path
            ) from error
        sample = np.frombuffer(data, np.uint8)
        final = len(data) < SAMPLE_BYTES
        trailer, chained, events = find_trailer(sample, final, self.header.layout())
        self._layout = trailer.put(self.header.layout())
        self._settled = chained > 0
        return chained, events

    @property
    def size(self) -> int:
        """Length of the file in bytes now; it may still be growing."""
        return self.path.stat().st_size

    def seconds(self, events: LmfEvents) -> FloatArray:
        """(events) time stamps in seconds; those of 32 bits start again at zero."""
        return events.stamp.astype(np.float64) / self.header.frequency

    def nanoseconds(self, events: LmfEvents) -> FloatArray:
        """(hits) times in ns relative to the trigger."""
        times: FloatArray = events.bins.astype(np.float64) * self.header.resolution_ns
        return times

    def iterate(
        self, chunk_bytes: int = CHUNK_BYTES, *, start: int | None = None
    ) -> Iterator[LmfEvents]:
        """The events in order, as many at a time as fit into a chunk of the file.

        What was lost to damage is in `losses` afterwards. A file that is still being written is
        read up to its last whole event.

        Args:
            chunk_bytes: bytes read at a time.
            start: byte to begin at; the first event behind it is found by its content. Numbers of
                events then count from there.

        Raises:
            InputFileError: the file cannot be read.
        """
        if chunk_bytes < 1:
            raise UsageError(f"chunk_bytes is {chunk_bytes}", do="Use 1 or more.")
        if not self._settled:  # the file may have grown since it was opened
            self._settle()
        scan = _Scan(self.header, self._layout, self.events_at if start is None else start)
        if start is not None and start > self.events_at:
            scan.search_from_here()
        self.losses = scan.losses
        try:
            with self.path.open("rb") as stream:
                stream.seek(scan.base)
                yield from scan.run(stream, chunk_bytes)
        except OSError as error:
            raise InputFileError(
                f"cannot be read: {error.strerror or error}", where=self.path
            ) from error

    def follow(
        self, place: LmfPlace | None = None, *, closed: bool = False, chunk_bytes: int = CHUNK_BYTES
    ) -> Iterator[tuple[LmfEvents, LmfPlace]]:
        """The events behind a place, up to the last whole one that another follows.

        Args:
            place: where an earlier reading ended; the first event if None.
            closed: whether nothing more is being written: the last event is taken too. What there
                is of one that was cut off is left, in case that it is completed after all.
            chunk_bytes: bytes read at a time.

        Yields:
            Events, and where to go on behind them; the place is plain numbers, so that it can be
            stored, and reading on from it gives the same events and times as one reading.

        Raises:
            InputFileError: the file cannot be read, or is shorter than the place.
        """
        if not self._settled:  # the file may have grown since it was opened
            self._settle()
        if place is not None and place.byte > self.size:
            raise InputFileError(
                f"the file has {self.size} bytes, and {place.byte} of it were read before",
                where=self.path,
                do="It was replaced; read it from its beginning.",
            )
        scan = _Scan(self.header, self._layout, self.events_at if place is None else place.byte)
        if place is not None:
            scan.go_on(place)
        self.losses = scan.losses
        try:
            with self.path.open("rb") as stream:
                stream.seek(scan.base)
                for events in scan.run(stream, chunk_bytes, closed=closed):
                    yield events, scan.place()
        except OSError as error:
            raise InputFileError(
                f"cannot be read: {error.strerror or error}", where=self.path
            ) from error

    def places(self, advance: Callable[[int], None]) -> list[LmfPlace]:
        """Places in the file from which `follow` reads on, about a chunk apart, and its end.

        Where nothing must be known of the events before, they are only counted. What was lost to
        damage is in `losses` afterwards, as after reading.

        Args:
            advance: told how many more bytes were looked through.

        Raises:
            InputFileError: the file cannot be read.
        """
        if not self._settled:  # the file may have grown since it was opened
            self._settle()
        scan = _Scan(self.header, self._layout, self.events_at)
        self.losses = scan.losses
        decode_too = self.header.raw or self.header.has_scan
        found = [scan.place()]
        try:
            with self.path.open("rb") as stream:
                stream.seek(scan.base)
                for _ in scan.run(stream, PLACE_BYTES, only_count=not decode_too):
                    found.append(scan.place())
                    advance(found[-1].byte - found[-2].byte)
        except OSError as error:
            raise InputFileError(
                f"cannot be read: {error.strerror or error}", where=self.path
            ) from error
        return found


class _Scan:
    """One pass through the events of a file."""

    def __init__(self, header: LmfHeader, layout: NDArray[np.int64], base: int) -> None:
        self.base = base
        self.losses = LmfLosses()
        self._layout = layout
        self._max_hits = min(header.max_hits, _NO_LIMIT)  # compiled loops take signed numbers
        self._state = kernels.new_state()
        self._roll = np.zeros(2, np.int64)
        self._scan = np.full(PARAMETERS, np.nan)
        self._first_event = 0
        self._given = 0
        self._cut: int | None = None
        self._faults = np.zeros((_FAULT_ROWS, 4), np.int64)
        self._started_inside = self._inside = False

    def search_from_here(self) -> None:
        """Begin with a search, without calling what is skipped a fault."""
        self._state[kernels.SKIP_FROM] = self.base
        self._state[kernels.COUNTER] = -1
        self._started_inside = self._inside = True

    def go_on(self, place: LmfPlace) -> None:
        """Begin where another pass ended."""
        if place.state:
            self._state[:] = place.state
        self._roll[:] = place.roll
        if place.scan:
            self._scan[:] = place.scan
        self._first_event = place.event
        self.losses.lost_events, self.losses.n_faults = place.lost, place.faults

    def place(self) -> LmfPlace:
        """Where another pass can go on behind the last events given."""
        state = self._state.copy()
        state[kernels.EVENTS :] = 0
        return LmfPlace(
            byte=self.base + self._given if self._cut is None else self._cut,
            event=self._first_event,
            state=tuple(state.tolist()),
            roll=tuple(self._roll.tolist()),
            scan=tuple(self._scan.tolist()),
            lost=self.losses.lost_events - (self._cut is not None),
            faults=self.losses.n_faults - (self._cut is not None),
        )

    def run(
        self,
        stream: BinaryIO,
        chunk_bytes: int,
        *,
        closed: bool = True,
        only_count: bool = False,
    ) -> Iterator[LmfEvents]:
        """The events from the current place of the stream on.

        Args:
            stream: at this place.
            chunk_bytes: bytes read at a time.
            closed: whether the file ends where its bytes do; otherwise what may become an event is
                left for another pass.
            only_count: give tables without events in place of those that are there.
        """
        buffer = np.empty(0, np.uint8)
        ended = final = False
        wanted = chunk_bytes
        while True:
            if not ended:
                data = stream.read(wanted)
                ended = len(data) < wanted
                final = ended and closed
                buffer = np.concatenate([buffer, np.frombuffer(data, np.uint8)])
            while len(buffer) or final:
                starts = np.empty(len(buffer) // kernels.smallest(self._layout) + 1, np.int64)
                kernels.index_events(
                    buffer, final, self.base, self._layout, self._state, starts, self._faults
                )
                self._note()
                self._given = int(self._state[kernels.USED])
                if n := int(self._state[kernels.EVENTS]):
                    yield self._counted(n) if only_count else self._decode(buffer, starts[:n])
                self._given = 0
                used = int(self._state[kernels.USED])
                full = self._state[kernels.FAULTS] >= _FAULT_ROWS - 1
                buffer = buffer[used:].copy()
                self.base += used
                if not full:
                    break
            if ended:
                self.losses.whole = final and not self._inside
                return
            wanted = max(chunk_bytes, len(buffer))

    def _counted(self, n: int) -> LmfEvents:
        self._first_event += n
        self.losses.events += n
        return LmfEvents.of(np.zeros(1, np.int64), _NONE, _NONE, first_event=self._first_event)

    def _decode(self, buffer: kernels.Bytes, starts: kernels.Ints) -> LmfEvents:
        n = len(starts)
        state = self._state
        hits = int(state[kernels.HITS])
        values = np.empty(state[kernels.VALUES], np.uint64)
        events = LmfEvents(
            first_event=self._first_event,
            offsets=np.zeros(n + 1, np.int64),
            channel=np.empty(hits, np.uint8),
            bins=np.empty(hits, np.int32),
            rising=np.zeros(hits, np.bool_),
            stamp=np.zeros(n, np.uint64),
            counter=np.zeros(n, np.uint64),
            level=np.zeros(n, np.uint64),
            scan_mask=np.zeros(n, np.uint32),
            scan_value=values.view(np.float64),
            scan_before=self._scan,
            words=np.empty(state[kernels.WORDS], np.uint32),
            word_offsets=np.zeros(n + 1, np.int64),
            post=np.empty(state[kernels.POSTS], np.uint8),
            post_offsets=np.zeros(n + 1, np.int64),
            position=starts + self.base,
        )
        decode.decode_events(
            buffer, starts, self._layout, self._roll, events.offsets, events.channel, events.bins,
            events.rising, events.stamp, events.counter, events.level, events.scan_mask, values,
            events.word_offsets, events.words, events.post_offsets, events.post,
        )  # fmt: skip
        self._first_event += n
        self.losses.events += n
        if len(values):
            self._scan = events.scan_after()
        self.losses.beyond_maximum += int(
            decode.count_beyond(events.offsets, events.channel, self._max_hits)
        )
        return events

    def _note(self) -> None:
        for kind, at, skipped, lost in self._faults[: self._state[kernels.FAULTS]].tolist():
            if self._started_inside:
                self._started_inside = False
                if kind == kernels.DAMAGED:
                    continue
            if kind == kernels.TRUNCATED:
                self.losses.truncated, self._cut = True, at
            number = None if lost < 0 else lost
            self.losses.add(Fault(at, _sentence(kind, skipped, number), skipped, number))


def _sentence(kind: int, skipped: int, lost: int | None) -> str:
    events = "an unknown number of events" if lost is None else f"{lost} event(s)"
    if kind == kernels.TRUNCATED:
        return f"the file ends within an event, {skipped} bytes of it are there"
    if kind == kernels.TRAILER:
        return f"damage behind the hits of an event, {skipped} bytes and 1 event lost"
    if kind == kernels.UNREADABLE:
        return f"no event in the {skipped} bytes up to the end of the file"
    return f"damage, no event in {skipped} bytes, {events} lost"
