"""Writer of Cobold list-mode files, event by event; the event count is filled in at the end."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.tables import offsets_of
from molexa_core.io.lmf import kernels
from molexa_core.io.lmf.decode import MOST_RAW_CHANNELS, encode_events
from molexa_core.io.lmf.event_table import LmfEvents
from molexa_core.io.lmf.header import LmfHeader
from molexa_core.io.lmf.header_file import write_header

_MOST_HITS: Final = 0xFFFF
_RAW_TICKS: Final = 2**23
_BLOCK_EVENTS: Final = 65536


class LmfWriter:
    """Writes a list-mode file block by block; it appears under its name at the end.

    Used as a context: renamed into place when the block ends without an error, removed otherwise.

    Args:
        path: the file to write.
        header: what its headers say; the number of events is filled in at the end.

    Raises:
        OutputError: the folder does not exist or cannot be written.
        UsageError: the header has values that a reader would refuse.

    Example:
        >>> with LmfWriter("run.lmf", LmfHeader()) as writer:  # doctest: +SKIP
        ...     writer.append(events)
        ...     writer.finish(stop=1_700_000_000)
    """

    def __init__(self, path: Path | str, header: LmfHeader) -> None:
        self._header = header
        self._layout = header.layout()
        self._head = write_header(header)
        self._path = path
        self._exit = ExitStack()
        self._stream: BinaryIO | None = None
        self._stop = header.stop
        self.n_events = 0

    def __enter__(self) -> Self:
        with self._exit as opened:  # what is open is closed if the head cannot be written
            temporary = opened.enter_context(atomic_path(self._path))
            self._stream = opened.enter_context(temporary.open("wb"))
            self._stream.write(self._head)
            self._exit = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        stream, self._stream = self._stream, None
        with self._exit as opened:
            if kind is None and stream is not None:
                closed = replace(self._header, n_events=self.n_events, stop=self._stop)
                stream.seek(0)
                stream.write(write_header(closed))
            opened.pop_all().__exit__(kind, error, trace)

    def finish(self, *, stop: int) -> None:
        """Set the time at which the run ended, unix seconds."""
        self._stop = stop

    def append(self, events: LmfEvents) -> None:
        """Add events.

        Values that the version of the file has no place for must be absent.

        Raises:
            UsageError: a value does not fit into the format.
        """
        if self._stream is None:
            raise UsageError("the LMF file is not open for writing")
        self._require_fitting(events)
        sizes = self._sizes(events)
        order = self._order(events)
        ends = offsets_of(sizes)
        value_ends = offsets_of(_ones(events.scan_mask))
        for low in range(0, events.n_events, _BLOCK_EVENTS):
            high = min(low + _BLOCK_EVENTS, events.n_events)
            block = np.empty(ends[high] - ends[low], np.uint8)
            part = slice(low, high)
            edges = slice(low, high + 1)
            used = encode_events(
                block, self._layout, events.offsets[edges], order, events.channel, events.bins,
                events.rising, events.stamp[part], events.counter[part], events.level[part],
                events.scan_mask[part],
                events.scan_value[value_ends[low] : value_ends[high]].view(np.uint64),
                events.word_offsets[edges], events.words, events.post_offsets[edges], events.post,
            )  # fmt: skip
            self._stream.write(block[:used].tobytes())
        self.n_events += events.n_events

    def _order(self, events: LmfEvents) -> NDArray[Any]:
        """Order of the hits in the file: as a card delivers them, by time."""
        if not self._header.raw:
            return np.empty(0, np.int64)
        return np.lexsort((events.channel, events.bins, events.event))

    def _sizes(self, events: LmfEvents) -> NDArray[np.int64]:
        header = self._header
        hits = np.diff(events.offsets)
        sizes: NDArray[np.int64]
        if header.raw:
            sizes = 12 + 4 * hits + 4 * np.diff(events.word_offsets)
        else:
            sizes = 16 + 4 * header.stamp_format + 2 * header.n_channels + 4 * hits
        if sizes.max(initial=0) > kernels.LONGEST_EVENT:
            raise UsageError(f"an event of {sizes.max()} bytes does not fit into an LMF file")
        sizes = sizes + 8 * header.has_level
        if header.has_scan:
            sizes = sizes + 4 + 8 * _ones(events.scan_mask)
        if header.has_post:
            sizes = sizes + 4 + np.diff(events.post_offsets)
        return sizes

    def _require_fitting(self, events: LmfEvents) -> None:
        header = self._header
        channels = MOST_RAW_CHANNELS if header.raw else header.n_channels
        if events.channel.max(initial=0) >= channels:
            raise _no_place(f"channel {events.channel.max()}", f"there are {channels}")
        if int(events.stamp.max(initial=0)) >> (32 * header.stamp_format) and not header.raw:
            raise _no_place("a time stamp", f"it has {32 * header.stamp_format} bits")
        if events.level.any() and not header.has_level:
            raise _no_place("levels", f"LMF version {header.lmf_version} of this DAQ has none")
        if events.scan_mask.any() and not header.has_scan:
            raise _no_place("changed parameters", "they need LMF version 11")
        if len(events.post) and not header.has_post:
            raise _no_place("bytes behind the hits", "they need LMF version 10 of TDC8HP")
        if np.diff(events.post_offsets).max(initial=0) > kernels.LONGEST_POST:
            raise _no_place("bytes behind the hits", f"at most {kernels.LONGEST_POST} fit")
        if _ones(events.scan_mask).sum() != len(events.scan_value):
            raise UsageError(
                f"{len(events.scan_value)} values for {_ones(events.scan_mask).sum()} changes"
            )
        if header.raw:
            shift = 0 if header.vhr else 2
            ticks = events.bins.astype(np.int64) << shift
            if ticks.min(initial=0) < -_RAW_TICKS or ticks.max(initial=0) >= _RAW_TICKS:
                raise _no_place("a time", "grouped words hold 24 bits")
        elif events.rising.any() or len(events.words):
            raise _no_place("edges or words", "decoded events have none")
        else:
            self._require_short_channels(events)

    def _require_short_channels(self, events: LmfEvents) -> None:
        hits = np.diff(events.offsets)
        if hits.max(initial=0) <= _MOST_HITS:
            return
        keys = np.repeat(np.arange(events.n_events), hits) * 256 + events.channel
        if np.unique(keys, return_counts=True)[1].max() > _MOST_HITS:
            raise _no_place("the hits of a channel", f"at most {_MOST_HITS} fit")


def _ones(masks: NDArray[np.uint32]) -> NDArray[np.int64]:
    return np.bitwise_count(masks).astype(np.int64)


def _no_place(what: str, why: str) -> UsageError:
    return UsageError(f"the LMF file has no place for {what}: {why}")
