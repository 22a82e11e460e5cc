"""Events of a list-mode file as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.lmf.decode import follow_parameters
from molexa_core.io.lmf.header import FIRST_PARAMETER, PARAMETERS


@dataclass(frozen=True)
class LmfEvents:
    """Consecutive events. Those of event `e` are the hits `offsets[e]:offsets[e + 1]`.

    Attributes:
        first_event: number of the first one, counted from 0 from the first that was read.
        offsets: (events + 1) int64, starts at 0.
        channel: (hits) uint8, counted from 0; ascending within an event.
        bins: (hits) int32 time in units of the resolution, relative to the trigger.
        rising: (hits) whether the edge was rising; known only for grouped words.
        stamp: (events) uint64 time stamp in ticks; zero where the file has none.
        counter: (events) uint64 number as stored; zero for grouped words.
        level: (events) uint64 levels of the inputs, where the file has them.
        scan_mask: (events) uint32, bit k set where parameter 901 + k changed.
        scan_value: (changes) float64, the new values in the order of events and bits.
        scan_before: (32) float64 values in force before the first event, NaN where unknown.
        words, word_offsets: uint32 words that are neither hit nor time (levels, errors; grouped
            words only), those of event `e` at `word_offsets[e]:word_offsets[e + 1]`.
        post, post_offsets: uint8 bytes behind the hits, likewise.
        position: (events) int64 byte at which each event begins in the file.
    """

    first_event: int
    offsets: IntArray
    channel: NDArray[np.uint8]
    bins: NDArray[np.int32]
    rising: NDArray[np.bool_]
    stamp: NDArray[np.uint64]
    counter: NDArray[np.uint64]
    level: NDArray[np.uint64]
    scan_mask: NDArray[np.uint32]
    scan_value: FloatArray
    scan_before: FloatArray
    words: NDArray[np.uint32]
    word_offsets: IntArray
    post: NDArray[np.uint8]
    post_offsets: IntArray
    position: IntArray

    @classmethod
    def of(
        cls,
        offsets: NDArray[Any],
        channel: NDArray[Any],
        bins: NDArray[Any],
        *,
        stamp: NDArray[Any] | None = None,
        rising: NDArray[Any] | None = None,
        level: NDArray[Any] | None = None,
        scan_mask: NDArray[Any] | None = None,
        scan_value: NDArray[Any] | None = None,
        words: NDArray[Any] | None = None,
        word_offsets: NDArray[Any] | None = None,
        post: NDArray[Any] | None = None,
        post_offsets: NDArray[Any] | None = None,
        first_event: int = 0,
    ) -> LmfEvents:
        """Events to be written; hits may be in any order within an event, numbers count from 1."""
        n = len(offsets) - 1
        offsets = np.asarray(offsets, dtype=np.int64)
        if n < 0 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise UsageError("the offsets of events must start at 0 and not descend")
        if not len(channel) == len(bins) == offsets[-1]:
            raise UsageError(
                f"{len(channel)} channels and {len(bins)} times for {offsets[-1]} hits"
            )
        order = np.lexsort((channel, np.repeat(np.arange(n), np.diff(offsets))))
        edges = np.zeros(len(bins), np.bool_) if rising is None else np.asarray(rising, np.bool_)
        return cls(
            first_event=first_event,
            offsets=offsets,
            channel=_whole(channel, np.uint8, "channel")[order],
            bins=_whole(bins, np.int32, "time")[order],
            rising=edges[order],
            stamp=_or_zeros(stamp, n, np.uint64),
            counter=np.arange(first_event + 1, first_event + n + 1, dtype=np.uint64),
            level=_or_zeros(level, n, np.uint64),
            scan_mask=_or_zeros(scan_mask, n, np.uint32),
            scan_value=_or_zeros(scan_value, 0, np.float64),
            scan_before=np.full(PARAMETERS, np.nan),
            words=_or_zeros(words, 0, np.uint32),
            word_offsets=_or_zeros(word_offsets, n + 1, np.int64),
            post=_or_zeros(post, 0, np.uint8),
            post_offsets=_or_zeros(post_offsets, n + 1, np.int64),
            position=np.full(n, -1, dtype=np.int64),
        )

    @property
    def n_events(self) -> int:
        """Number of events, empty ones included."""
        return len(self.offsets) - 1

    @property
    def n_hits(self) -> int:
        """Number of hits."""
        return len(self.bins)

    @property
    def event(self) -> IntArray:
        """(hits) number of the event of each hit."""
        numbers = np.arange(self.first_event, self.first_event + self.n_events, dtype=np.int64)
        return np.repeat(numbers, np.diff(self.offsets))

    def hits_of(self, event: int, channel: int) -> NDArray[np.int32]:
        """Times in bins of one channel in one event, counted from the first of this table."""
        part = slice(self.offsets[event], self.offsets[event + 1])
        times: NDArray[np.int32] = self.bins[part][self.channel[part] == channel]
        return times

    def scan_values(self) -> dict[int, FloatArray]:
        """Values in force at each event, (events), by number of Cobold's parameter."""
        changed = int(np.bitwise_or.reduce(self.scan_mask, initial=0))
        bits = [
            bit
            for bit in range(PARAMETERS)
            if changed >> bit & 1 or not np.isnan(self.scan_before[bit])
        ]
        column = np.full(PARAMETERS, -1, np.int64)
        column[bits] = np.arange(len(bits))
        found = np.empty((len(bits), self.n_events))
        current = self.scan_before.copy()
        follow_parameters(self.scan_mask, self.scan_value, current, column, found)
        return {FIRST_PARAMETER + bit: found[row] for row, bit in enumerate(bits)}

    def scan_after(self) -> FloatArray:
        """(32) values in force after the last event."""
        after = self.scan_before.copy()
        nothing = np.full(PARAMETERS, -1, np.int64)
        follow_parameters(self.scan_mask, self.scan_value, after, nothing, np.empty((0, 0)))
        return after


def _or_zeros(values: NDArray[Any] | None, n: int, kind: type[Any]) -> NDArray[Any]:
    return np.zeros(n, kind) if values is None else np.asarray(values, dtype=kind)


def _whole(values: NDArray[Any], kind: type[Any], what: str) -> NDArray[Any]:
    """Whole numbers of a smaller type, if they fit."""
    values = np.asarray(values)
    limits = np.iinfo(kind)
    if len(values) and (values.min() < limits.min or values.max() > limits.max):
        raise UsageError(
            f"a {what} of {values.min()} to {values.max()} does not fit into an LMF file"
        )
    return values.astype(kind)
