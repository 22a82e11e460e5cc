"""Compiled search for list-mode events in bytes, with checks.

An event is accepted if its lengths are consistent. After a damaged event the search continues byte
by byte until an event is consistent and is followed by the beginning of another one. All lengths
are checked against the available bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled, inner

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

# Places in `LmfHeader.layout()`.
RAW, CHANNELS, STAMP, LEVEL, SCAN, POST, VHR, EXTRA = range(8)
# What a check of bytes can find.
OK, BAD, MORE = 0, 1, 2
# Places of what the check of an event leaves: sizes, and byte behind its hits and behind its end.
HITS_END, END, N_HITS, N_VALUES, N_WORDS, N_POST = range(6)
FOUND_SIZE: Final = 6
# Places of the state that goes on from buffer to buffer.
SKIP_FROM, COUNTER, CUT_OFF, EVENTS, HITS, VALUES, WORDS, POSTS, USED, FAULTS, WORK = range(11)
STATE_SIZE: Final = 11
# Columns of a fault: kind, first byte, bytes without events, events lost (-1: unknown).
KIND, AT, SKIPPED, LOST = range(4)
DAMAGED, TRAILER, TRUNCATED, UNREADABLE = range(4)

LONGEST_EVENT: Final = 4 * 2**20
"""A longer event, in bytes, is taken for a damaged one."""
LONGEST_POST: Final = 4000
"""Most bytes behind the hits of an event (the limit of the format)."""
LOOK_AHEAD: Final = 2**16
"""Bytes needed behind an event to tell what is wrong with the next one."""
_SHORT_WORDS: Final = 64
_FREE_WORK: Final = 10_000_000


def new_state() -> Ints:
    """The state at the beginning of a file."""
    state = np.zeros(STATE_SIZE, np.int64)
    state[SKIP_FROM] = state[CUT_OFF] = -1
    return state


@inner
def u16(b: Bytes, p: int) -> Any:
    """Unsigned 16 bits."""
    return np.int64(b[p]) | (np.int64(b[p + 1]) << 8)


@inner
def u32(b: Bytes, p: int) -> Any:
    """Unsigned 32 bits."""
    return (
        np.int64(b[p])
        | (np.int64(b[p + 1]) << 8)
        | (np.int64(b[p + 2]) << 16)
        | (np.int64(b[p + 3]) << 24)
    )


@inner
def i32(b: Bytes, p: int) -> Any:
    """Signed 32 bits."""
    value = u32(b, p)
    return value - ((value >> 31) << 32)


@inner
def ones(mask: Any) -> Any:
    """Number of bits that are set."""
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@inner
def word_channel(word: int) -> Any:
    """Channel of a hit word, -1 where no card has it; cards 2 and 3 follow without a gap."""
    channel = (word >> 24) & 63
    if channel <= 8:
        return channel
    if 21 <= channel <= 28:
        return channel - 12
    if 42 <= channel <= 49:
        return channel - 25
    return -1


@compiled
def smallest(layout: Ints) -> Any:
    """Bytes of an event without hits."""
    trailer = 8 * layout[LEVEL] + 4 * layout[SCAN] + 4 * layout[POST] + layout[EXTRA]
    if layout[RAW]:
        return 8 + trailer
    return 16 + 4 * layout[STAMP] + 2 * layout[CHANNELS] + trailer


@inner
def head_at(b: Bytes, p: int, end: int, layout: Ints) -> Any:
    """Whether an event can begin here, by its first eight bytes."""
    if end - p < 8:
        return MORE
    if layout[RAW]:
        words = u32(b, p)
        top = b[p + 7] >> 4
        if words < 1 or 4 + 4 * words > LONGEST_EVENT or top in (2, 3):
            return BAD
        return OK
    if b[p + 7] != 0xFF or b[p + 4] or b[p + 5] or b[p + 6]:
        return BAD
    base = 16 + 4 * layout[STAMP] + 2 * layout[CHANNELS]
    length = u32(b, p)
    if length < base or (length - base) & 3 or length > LONGEST_EVENT:
        return BAD
    return OK


@inner
def trailer_at(b: Bytes, q: int, end: int, layout: Ints, found: Ints) -> Any:
    """What follows the hits: levels, changed parameters, bytes, others of unknown meaning."""
    found[HITS_END] = q
    if layout[LEVEL]:
        q += 8
    if layout[SCAN]:
        if q + 4 > end:
            return MORE
        found[N_VALUES] = ones(u32(b, q))
        q += 4 + 8 * found[N_VALUES]
    if layout[POST]:
        if q + 4 > end:
            return MORE
        found[N_POST] = i32(b, q)
        if found[N_POST] < 0 or found[N_POST] > LONGEST_POST:
            return BAD
        q += 4 + found[N_POST]
    q += layout[EXTRA]
    found[END] = q
    return MORE if q > end else OK


@inner
def decoded_at(b: Bytes, p: int, end: int, layout: Ints, found: Ints) -> Any:
    """Check a decoded event: its length must be that of its channels."""
    status = head_at(b, p, end, layout)
    if status != OK:
        return status
    channels = layout[CHANNELS]
    hits_end = p + u32(b, p)
    q = p + 16 + 4 * layout[STAMP]
    for channel in range(channels):
        if q + 2 > end:
            return MORE
        q += 2 + 4 * u16(b, q)
        if q > hits_end - 2 * (channels - 1 - channel):
            return BAD
    if q != hits_end:
        return BAD
    if q > end:
        return MORE
    found[N_HITS] = (hits_end - p - 16 - 4 * layout[STAMP] - 2 * channels) >> 2
    return trailer_at(b, q, end, layout, found)


@inner
def words_at(b: Bytes, p: int, end: int, layout: Ints, found: Ints, strict: bool, most: int) -> Any:
    """Check an event of words: all known, at most one group word (strict: exactly one)."""
    status = head_at(b, p, end, layout)
    words = u32(b, p) if status == OK else 0
    if status != OK or words > most:
        return BAD if status == OK else status
    groups = 0
    for i in range(words):
        q = p + 4 + 4 * i
        if q + 4 > end:
            return MORE
        word = u32(b, q)
        top = word >> 28
        if top >= 8 and word_channel(word) >= 0:
            found[N_HITS] += 1
        elif top == 0 and groups == 0:
            groups = 1
        elif top in (0, 2, 3):
            return BAD
        elif top != 1 or word & 0x08000000:
            found[N_WORDS] += 1
    if strict and groups != 1:
        return BAD
    return trailer_at(b, p + 4 + 4 * words, end, layout, found)


@inner
def event_at(
    b: Bytes, p: int, end: int, layout: Ints, found: Ints, strict: bool, state: Ints
) -> Any:
    """Check the event that begins at a byte; in a search, large raw ones only while time allows."""
    found[:] = 0
    if not layout[RAW]:
        return decoded_at(b, p, end, layout, found)
    most = LONGEST_EVENT
    if strict and state[WORK] > _FREE_WORK:
        most = _SHORT_WORDS
    status = words_at(b, p, end, layout, found, strict, most)
    if strict:
        state[WORK] += found[N_HITS] + found[N_WORDS]
    return status


@inner
def counter_at(b: Bytes, p: int, layout: Ints) -> Any:
    """Number of the event as stored, -1 where the format has none."""
    if layout[RAW] or b[p + 15] & 0x80:
        return -1
    return u32(b, p + 8) | (u32(b, p + 12) << 32)


@inner
def behind(b: Bytes, p: int, end: int, final: bool, layout: Ints) -> Any:
    """Whether an event, or the end of the file, is at this byte."""
    status = head_at(b, p, end, layout)
    if status == MORE and final:
        return OK if p == end else MORE
    return status


@inner
def event_within(
    b: Bytes, low: int, high: int, end: int, layout: Ints, found: Ints, state: Ints
) -> Any:
    """First byte in a range at which an event begins, -1 for none."""
    for q in range(low, high):
        status = event_at(b, q, end, layout, found, True, state)
        if status == OK and behind(b, found[END], end, True, layout) != BAD:
            return q
    return -1


@inner
def note(faults: Ints, state: Ints, kind: int, at: int, skipped: int, lost: int) -> None:
    """Write down a fault."""
    row = state[FAULTS]
    faults[row, KIND] = kind
    faults[row, AT] = at
    faults[row, SKIPPED] = skipped
    faults[row, LOST] = lost
    state[FAULTS] += 1


@inner
def accept(starts: Ints, p: int, b: Bytes, layout: Ints, found: Ints, state: Ints) -> None:
    """Count an event in."""
    starts[state[EVENTS]] = p
    state[EVENTS] += 1
    state[HITS] += found[N_HITS]
    state[VALUES] += found[N_VALUES]
    state[WORDS] += found[N_WORDS]
    state[POSTS] += found[N_POST]
    state[COUNTER] = counter_at(b, p, layout)


@inner
def search(
    b: Bytes, p: int, end: int, final: bool, base: int, layout: Ints, state: Ints, faults: Ints
) -> Any:
    """Go on from byte to byte after damage; the byte to go on from."""
    found = np.zeros(FOUND_SIZE, np.int64)
    while p < end:
        if head_at(b, p, end, layout) == BAD:  # nearly always, so it comes first
            p += 1
            continue
        status = event_at(b, p, end, layout, found, True, state)
        if status == MORE and not final:
            return p
        if status == OK:
            after = behind(b, found[END], end, final, layout)
            if after == MORE and not final:
                return p
            if after != BAD:
                counter = counter_at(b, p, layout)
                lost = counter - state[COUNTER] - 1
                if counter < 0 or state[COUNTER] < 0 or lost < 0 or lost > base + p:
                    lost = -1
                skipped = base + p - state[SKIP_FROM]
                note(faults, state, DAMAGED, state[SKIP_FROM], skipped, lost)
                state[SKIP_FROM] = -1
                return p
        p += 1
    return p


@inner
def step(
    b: Bytes, p: int, end: int, final: bool, base: int, layout: Ints, state: Ints, faults: Ints,
    starts: Ints, found: Ints,
) -> Any:  # fmt: skip
    """Take one event or begin a search; the byte to go on from, or the same byte for more bytes."""
    status = event_at(b, p, end, layout, found, False, state)
    if status == MORE and not final:
        return p
    if status != OK:
        state[SKIP_FROM] = base + p
        state[CUT_OFF] = base + p if status == MORE else -1
        return p + 1
    after = found[END]
    status = behind(b, after, end, final, layout)
    if not final and status != OK and end - after < LOOK_AHEAD:
        return p
    if status == BAD:
        # Is the end of this event damaged, or the beginning of the next? If another event begins
        # too early, this one's last lengths are wrong, and so are its values.
        least = smallest(layout)
        other = np.zeros(FOUND_SIZE, np.int64)
        low = found[HITS_END]
        begin = event_within(b, low, min(after + least, end), end, layout, other, state)
        if begin >= 0:
            note(faults, state, TRAILER, base + p, begin - p, 1)
            state[COUNTER] = counter_at(b, p, layout)
            return begin
        accept(starts, p, b, layout, found, state)
        state[SKIP_FROM] = base + after
        state[CUT_OFF] = -1
        return after
    accept(starts, p, b, layout, found, state)
    return after


@compiled
def index_events(
    b: Bytes, final: bool, base: int, layout: Ints, state: Ints, starts: Ints, faults: Ints
) -> Any:
    """Find the events in a buffer.

    Args:
        b: bytes from `base` of the file on.
        final: whether the file ends with them.
        base: place of the first byte in the file.
        layout: see `LmfHeader.layout`.
        state: goes on from buffer to buffer; holds the counts and the bytes used.
        starts: receives the place of each event in the buffer.
        faults: receives what is wrong, a row each.
    """
    end = len(b)
    p = 0
    found = np.zeros(FOUND_SIZE, np.int64)
    state[EVENTS : FAULTS + 1] = 0
    state[WORK] = 0
    while state[EVENTS] < len(starts) and state[FAULTS] < len(faults) - 1:
        if p >= end and not (final and state[SKIP_FROM] >= 0):
            break
        if state[SKIP_FROM] < 0:
            following = step(b, p, end, final, base, layout, state, faults, starts, found)
            if following == p:
                break
            p = following
            continue
        p = search(b, p, end, final, base, layout, state, faults)
        if state[SKIP_FROM] < 0:
            continue
        if final:
            kind = TRUNCATED if state[CUT_OFF] == state[SKIP_FROM] else UNREADABLE
            lost = 1 if kind == TRUNCATED else -1
            note(faults, state, kind, state[SKIP_FROM], base + end - state[SKIP_FROM], lost)
            state[SKIP_FROM] = -1
            p = end
        break
    state[USED] = p


@compiled
def follow(b: Bytes, starts: Ints, layout: Ints, state: Ints) -> Any:
    """How many of these events end where the next of them begins."""
    found = np.zeros(FOUND_SIZE, np.int64)
    count = 0
    for i in range(len(starts) - 1):
        event_at(b, starts[i], len(b), layout, found, False, state)
        count += found[END] == starts[i + 1]
    return count
