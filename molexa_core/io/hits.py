"""Hits and edges cut and joined: the same shots in chunks of another size; slots without a hit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import BoolArray, Edges, Hits

Shots = TypeVar("Shots", Hits, Edges)
"""Chunks of shots, whatever they hold."""


def filler(x: NDArray[Any], y: NDArray[Any], t: NDArray[Any]) -> BoolArray:
    """The slots of filled-up arrays that hold no hit: the one rule for every format.

    A slot is empty if each of its position and time is 0 or not a finite number. A slot in which
    anything else stands is a hit, and counted as one that cannot be used if it is none.

    Args:
        x: positions as stored, numbers of any type and shape.
        y: positions, of the same shape.
        t: times, of the same shape.

    Returns:
        of the same shape, true where there is no hit.
    """
    empty: BoolArray = _says_nothing(x) & _says_nothing(y) & _says_nothing(t)
    return empty


def _says_nothing(values: NDArray[Any]) -> BoolArray:
    nothing: BoolArray = (values == 0) | ~np.isfinite(values)
    return nothing


def no_hits() -> Hits:
    """No shots."""
    empty = np.empty(0)
    return Hits(0, np.zeros(1, np.int64), empty, empty, empty, np.empty(0, np.int16))


def no_edges() -> Edges:
    """No shots."""
    return Edges(0, np.zeros(1, np.int64), np.empty(0, np.int16), np.empty(0))


def rebatch(chunks: Iterable[Hits], shots: int) -> Iterator[Hits]:
    """The same shots in chunks of `shots`, so that a file does not depend on how they came.

    The last chunk may be shorter; a run without any gives one chunk without shots.

    Raises:
        UsageError: as `batches`.
    """
    return batches(chunks, shots, no_hits())


def batches(chunks: Iterable[Shots], shots: int, nothing: Shots) -> Iterator[Shots]:
    """The same shots in chunks of `shots`; `nothing` where there are none.

    Raises:
        UsageError: the tags change within the run, or shots are missing between chunks.
    """
    held: list[Shots] = []
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
    yield join(held) if held else nothing


def empty_like(chunk: Shots, first_shot: int, shots: int) -> Shots:
    """Shots without hits or edges, their tags not numbers."""
    columns: dict[str, Any] = {name: column[:0] for name, column in _columns(chunk).items()}
    columns["tags"] = {name: np.full(shots, np.nan) for name in chunk.tags}
    return replace(chunk, first_shot=first_shot, offsets=np.zeros(shots + 1, np.int64), **columns)


def join(chunks: list[Shots]) -> Shots:
    """Consecutive chunks as one."""
    if len(chunks) == 1:
        return chunks[0]
    counts = np.concatenate([np.diff(chunk.offsets) for chunk in chunks])
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in _columns(chunks[0])
    }
    columns["tags"] = {
        name: np.concatenate([chunk.tags[name] for chunk in chunks]) for name in chunks[0].tags
    }
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(chunks[0], offsets=offsets, **columns)


def cut(chunk: Shots, start: int, stop: int) -> Shots:
    """The shots from `start` to before `stop`, counted within the chunk."""
    low, high = int(chunk.offsets[start]), int(chunk.offsets[stop])
    columns: dict[str, Any] = {name: of[low:high] for name, of in _columns(chunk).items()}
    columns["tags"] = {name: column[start:stop] for name, column in chunk.tags.items()}
    offsets = chunk.offsets[start : stop + 1] - low
    return replace(chunk, first_shot=chunk.first_shot + start, offsets=offsets, **columns)


def _columns(chunk: Hits | Edges) -> dict[str, NDArray[Any]]:
    """The columns with a value per hit or edge."""
    if isinstance(chunk, Edges):
        return {"channel": chunk.channel, "t_ns": chunk.t_ns}
    return {"x_mm": chunk.x_mm, "y_mm": chunk.y_mm, "t_ns": chunk.t_ns, "method": chunk.method}
