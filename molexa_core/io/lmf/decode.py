"""Compiled decoding of checked list-mode events into arrays, and encoding."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from molexa_core.base.compiled import compiled, inner
from molexa_core.io.lmf.kernels import (
    CHANNELS,
    LEVEL,
    POST,
    RAW,
    SCAN,
    STAMP,
    VHR,
    Bytes,
    Ints,
    i32,
    ones,
    u16,
    u32,
    word_channel,
)

# Places of the cursor into the arrays, and of the roll-over counter that goes on.
HIT, VALUE, WORD, BYTE = range(4)
WRAPS, ROLLOVER = range(2)
_HALF: Final = 2**23
MOST_RAW_CHANNELS: Final = 25
"""Channels that grouped words can name: 9 of the first card, 8 of the second and third."""


@inner
def u64(b: Bytes, p: int) -> Any:
    """Unsigned 64 bits."""
    return np.uint64(u32(b, p)) | (np.uint64(u32(b, p + 4)) << np.uint64(32))


@inner
def take_trailer(
    b: Bytes, q: int, e: int, layout: Ints, at: Ints, level: Any, mask: Any, values: Any,
    posts: Any,
) -> None:  # fmt: skip
    """What follows the hits of event `e`."""
    if layout[LEVEL]:
        level[e] = u64(b, q)
        q += 8
    if layout[SCAN]:
        mask[e] = u32(b, q)
        q += 4
        for _ in range(ones(mask[e])):
            values[at[VALUE]] = u64(b, q)
            at[VALUE] += 1
            q += 8
    if layout[POST]:
        n = i32(b, q)
        q += 4
        for k in range(n):
            posts[at[BYTE]] = b[q + k]
            at[BYTE] += 1


@inner
def take_decoded(
    b: Bytes, p: int, e: int, layout: Ints, at: Ints, channel: Any, bins: Any, stamp: Any,
    counter: Any,
) -> Any:  # fmt: skip
    """Hits, time stamp and number of a decoded event; the byte behind them."""
    counter[e] = u64(b, p + 8)
    q = p + 16
    if layout[STAMP] == 1:
        stamp[e] = u32(b, q)
    elif layout[STAMP] == 2:
        stamp[e] = u64(b, q)
    q += 4 * layout[STAMP]
    hit = at[HIT]
    for c in range(layout[CHANNELS]):
        n = u16(b, q)
        q += 2
        for _ in range(n):
            channel[hit] = c
            bins[hit] = i32(b, q)
            hit += 1
            q += 4
    at[HIT] = hit
    return q


@inner
def take_words(
    b: Bytes, p: int, e: int, layout: Ints, at: Ints, roll: Ints, channel: Any, bins: Any,
    rising: Any, stamp: Any, words: Any,
) -> Any:  # fmt: skip
    """Hits (by channel, in the order of the file), time stamp and other words of a raw event."""
    n = u32(b, p)
    first = np.zeros(MOST_RAW_CHANNELS + 1, np.int64)
    group = 0
    for i in range(n):
        word = u32(b, p + 4 + 4 * i)
        top = word >> 28
        if top >= 8 and word_channel(word) >= 0:
            first[word_channel(word) + 1] += 1
        elif top == 0:
            group = word & 0xFFFFFF
        elif top == 1 and not word & 0x08000000:
            counter = word & 0xFFFFFF
            if counter < roll[ROLLOVER] - _HALF:  # the counter itself has 24 bits
                roll[WRAPS] += 1
            roll[ROLLOVER] = counter
        else:
            words[at[WORD]] = word
            at[WORD] += 1
    stamp[e] = (((roll[WRAPS] << 24) | roll[ROLLOVER]) << 24) | group
    place = np.cumsum(first) + at[HIT]
    for i in range(n):
        word = u32(b, p + 4 + 4 * i)
        c = word_channel(word)
        if word >> 28 >= 8 and c >= 0:
            ticks = word & 0xFFFFFF
            ticks -= (ticks >> 23) << 24
            hit = place[c]
            place[c] += 1
            channel[hit] = c
            bins[hit] = ticks if layout[VHR] else ticks >> 2
            rising[hit] = bool(word & 0x40000000)
    at[HIT] = place[MOST_RAW_CHANNELS - 1]
    return p + 4 + 4 * n


@compiled
def decode_events(
    b: Bytes, starts: Ints, layout: Ints, roll: Ints, offsets: Ints, channel: Any, bins: Any,
    rising: Any, stamp: Any, counter: Any, level: Any, mask: Any, values: Any,
    word_offsets: Ints, words: Any, post_offsets: Ints, posts: Any,
) -> None:  # fmt: skip
    """Fill the arrays from the events that begin at `starts`; they were checked before."""
    at = np.zeros(4, np.int64)
    for e in range(len(starts)):
        p = starts[e]
        if layout[RAW]:
            q = take_words(b, p, e, layout, at, roll, channel, bins, rising, stamp, words)
        else:
            q = take_decoded(b, p, e, layout, at, channel, bins, stamp, counter)
        take_trailer(b, q, e, layout, at, level, mask, values, posts)
        offsets[e + 1] = at[HIT]
        word_offsets[e + 1] = at[WORD]
        post_offsets[e + 1] = at[BYTE]


@compiled
def follow_parameters(mask: Any, values: Any, current: Any, column: Ints, out: Any) -> None:
    """Bring the values in force up to date event by event.

    Args:
        mask: (events) which parameters changed.
        values: their new values, in the order of events and bits.
        current: (32) values in force; changed in place.
        column: (32) row of `out` for each parameter, -1 for none.
        out: (rows, events) receives the values in force at each event.
    """
    value = 0
    for e in range(len(mask)):
        rest = np.int64(mask[e])
        bit = 0
        while rest:
            if rest & 1:
                current[bit] = values[value]
                value += 1
            rest >>= 1
            bit += 1
        for bit in range(len(column)):
            if column[bit] >= 0:
                out[column[bit], e] = current[bit]


@compiled
def count_beyond(offsets: Ints, channel: Any, most: int) -> Any:
    """Hits beyond this number in a channel of an event; channels ascend within an event."""
    beyond = 0
    for e in range(len(offsets) - 1):
        run = 0
        for hit in range(offsets[e], offsets[e + 1]):
            run = run + 1 if hit > offsets[e] and channel[hit] == channel[hit - 1] else 1
            beyond += run > most
    return beyond


@inner
def put(b: Bytes, p: int, value: Any, size: int) -> Any:
    """Write the lowest bytes of an unsigned number; the byte behind them."""
    rest = np.uint64(value)
    for k in range(size):
        b[p + k] = rest & np.uint64(0xFF)
        rest >>= np.uint64(8)
    return p + size


@inner
def put_decoded(
    b: Bytes, p: int, e: int, layout: Ints, low: int, high: int, channel: Any, bins: Any,
    stamp: Any, counter: Any,
) -> Any:  # fmt: skip
    """Write a decoded event up to its hits, which are in the order of channels."""
    length = 16 + 4 * layout[STAMP] + 2 * layout[CHANNELS] + 4 * (high - low)
    p = put(b, p, length, 7)
    b[p] = 0xFF
    p = put(b, p + 1, counter[e], 8)
    p = put(b, p, stamp[e], 4 * layout[STAMP])
    hit = low
    for c in range(layout[CHANNELS]):
        begin = p
        p += 2
        n = 0
        while hit < high and channel[hit] == c:
            p = put(b, p, np.int64(bins[hit]) & 0xFFFFFFFF, 4)
            hit += 1
            n += 1
        put(b, begin, n, 2)
    return p


@inner
def put_words(
    b: Bytes, p: int, e: int, layout: Ints, order: Ints, channel: Any, bins: Any, rising: Any,
    stamp: Any, words: Any,
) -> Any:  # fmt: skip
    """Write a raw event: roll-over, group word, other words, hits in the order given."""
    p = put(b, p, 2 + len(words) + len(order), 4)
    p = put(b, p, 0x10000000 | (np.int64(stamp[e] >> np.uint64(24)) & 0xFFFFFF), 4)
    p = put(b, p, np.int64(stamp[e] & np.uint64(0xFFFFFF)), 4)
    for word in words:
        p = put(b, p, word, 4)
    for hit in order:
        c = np.int64(channel[hit])
        c += 25 if c > 16 else (12 if c > 8 else 0)
        ticks = np.int64(bins[hit]) << (0 if layout[VHR] else 2)
        edge = 0xC0000000 if rising[hit] else 0x80000000
        p = put(b, p, edge | (c << 24) | (ticks & 0xFFFFFF), 4)
    return p


@compiled
def encode_events(
    b: Bytes, layout: Ints, offsets: Ints, order: Ints, channel: Any, bins: Any, rising: Any,
    stamp: Any, counter: Any, level: Any, mask: Any, values: Any, word_offsets: Ints, words: Any,
    post_offsets: Ints, posts: Any,
) -> Any:  # fmt: skip
    """Write events into a buffer that is large enough; the bytes used."""
    p = 0
    value = 0
    for e in range(len(offsets) - 1):
        low, high = offsets[e], offsets[e + 1]
        if layout[RAW]:
            others = words[word_offsets[e] : word_offsets[e + 1]]
            p = put_words(b, p, e, layout, order[low:high], channel, bins, rising, stamp, others)
        else:
            p = put_decoded(b, p, e, layout, low, high, channel, bins, stamp, counter)
        if layout[LEVEL]:
            p = put(b, p, level[e], 8)
        if layout[SCAN]:
            p = put(b, p, mask[e], 4)
            for _ in range(ones(np.int64(mask[e]))):
                p = put(b, p, values[value], 8)
                value += 1
        if layout[POST]:
            n = post_offsets[e + 1] - post_offsets[e]
            p = put(b, p, n, 4)
            for k in range(post_offsets[e], post_offsets[e + 1]):
                b[p] = posts[k]
                p += 1
    return p
