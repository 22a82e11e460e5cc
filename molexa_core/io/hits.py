"""Rearranging shots into chunks of another size, and recognising empty hit slots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.base.errors import UsageError
from molexa_core.base.tables import BoolArray, Edges, Hits

Shots = TypeVar("Shots", Hits, Edges)
"""Chunks of shots with hits or with edges."""


def filler(x: NDArray[Any], y: NDArray[Any], t: NDArray[Any]) -> BoolArray:
    """The slots of padded arrays that hold no hit, by the same rule for every format.

    A slot is empty if x, y and time are each 0 or not finite. Any other slot is a hit; if its
    values are unusable it is counted among the hits that are left out.

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


def rebatch(chunks: Iterable[Hits], shots: int) -> Iterator[Hits]:
    """The same shots in chunks of `shots`, so that a file does not depend on the input chunks.

    The last chunk may be shorter; a run without any gives one chunk without shots.

    Raises:
        UsageError: as `batches`.
    """
    return batches(chunks, shots, Hits.none())


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
        interruption.check()
        tags = set(chunk.tags) if tags is None else tags
        if set(chunk.tags) != tags:
            raise UsageError(f"the tags change within the run: {set(chunk.tags) ^ tags}")
        if following is not None and chunk.first_shot > following:
            held.append(chunk.empty(following, chunk.first_shot - following))
            count += held[-1].n_shots
        following = chunk.first_shot + chunk.n_shots
        held.append(chunk)
        count += chunk.n_shots
        while count >= shots:
            joined = held[0].concatenate(held)
            yield joined.shots(0, shots)
            held = [joined.shots(shots, joined.n_shots)]
            count -= shots
    yield held[0].concatenate(held) if held else nothing
