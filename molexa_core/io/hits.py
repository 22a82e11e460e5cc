"""Hits cut and joined: the same shots in chunks of another size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import Hits


def no_hits() -> Hits:
    """No shots."""
    empty = np.empty(0)
    return Hits(0, np.zeros(1, np.int64), empty, empty, empty, np.empty(0, np.int16))


def rebatch(chunks: Iterable[Hits], shots: int) -> Iterator[Hits]:
    """The same shots in chunks of `shots`, so that a file does not depend on how they came.

    The last chunk may be shorter; a run without any gives one chunk without shots.

    Raises:
        UsageError: the tags change within the run, or shots are missing between chunks.
    """
    held: list[Hits] = []
    count = 0
    tags: set[str] | None = None
    following: int | None = None
    for chunk in chunks:
        tags = set(chunk.tags) if tags is None else tags
        if set(chunk.tags) != tags:
            raise UsageError(f"the tags change within the run: {set(chunk.tags) ^ tags}")
        if following is not None and chunk.first_shot > following:
            held.append(empty_like(chunk, following, chunk.first_shot - following))
            count += held[-1].n_shots
        following = chunk.first_shot + chunk.n_shots
        held.append(chunk)
        count += chunk.n_shots
        while count >= shots:
            joined = join(held)
            yield cut(joined, 0, shots)
            held = [cut(joined, shots, joined.n_shots)]
            count -= shots
    yield join(held) if held else no_hits()


def empty_like(chunk: Hits, first_shot: int, shots: int) -> Hits:
    """Shots without hits, their tags not numbers."""
    empty = np.empty(0)
    tags: dict[str, NDArray[Any]] = {name: np.full(shots, np.nan) for name in chunk.tags}
    offsets = np.zeros(shots + 1, np.int64)
    return Hits(first_shot, offsets, empty, empty, empty, np.empty(0, np.int16), tags)


def join(chunks: list[Hits]) -> Hits:
    """Consecutive chunks as one."""
    if len(chunks) == 1:
        return chunks[0]
    counts = np.concatenate([np.diff(chunk.offsets) for chunk in chunks])
    return Hits(
        first_shot=chunks[0].first_shot,
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        x_mm=np.concatenate([chunk.x_mm for chunk in chunks]),
        y_mm=np.concatenate([chunk.y_mm for chunk in chunks]),
        t_ns=np.concatenate([chunk.t_ns for chunk in chunks]),
        method=np.concatenate([chunk.method for chunk in chunks]),
        tags={
            name: np.concatenate([chunk.tags[name] for chunk in chunks]) for name in chunks[0].tags
        },
    )


def cut(hits: Hits, start: int, stop: int) -> Hits:
    """The shots from `start` to before `stop`, counted within the chunk."""
    low, high = int(hits.offsets[start]), int(hits.offsets[stop])
    return Hits(
        first_shot=hits.first_shot + start,
        offsets=hits.offsets[start : stop + 1] - low,
        x_mm=hits.x_mm[low:high],
        y_mm=hits.y_mm[low:high],
        t_ns=hits.t_ns[low:high],
        method=hits.method[low:high],
        tags={name: column[start:stop] for name, column in hits.tags.items()},
    )
