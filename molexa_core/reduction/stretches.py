"""A run in stretches of consecutive shots: the blocks in which it is searched and mixed.

Whatever the chunks of a reader are, the stretches of a run are the same. What is drawn, summed or
sampled stretch by stretch therefore does not depend on how the run is read, or by how many.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from molexa_core.base.tables import Hits

STRETCH: Final = 16_384
"""Shots of a stretch, at least; the last one of a run has fewer than twice as many. It must not
change: the random draws of event mixing depend on it."""


def stretches(run: Iterable[Hits]) -> Iterator[Hits]:
    """The shots of a run, or of a part of it that begins with a stretch.

    Args:
        run: chunks of consecutive shots, of any size.
    """
    waiting: list[Hits] = []
    n_waiting = 0
    for chunk in run:
        if not chunk.n_shots:
            continue
        waiting.append(chunk)
        n_waiting += chunk.n_shots
        if n_waiting >= 2 * STRETCH:
            together = Hits.concatenate(waiting)
            while together.n_shots >= 2 * STRETCH:
                yield together.shots(0, STRETCH)
                together = together.shots(STRETCH, together.n_shots)
            waiting, n_waiting = [together], together.n_shots
    if n_waiting:
        yield Hits.concatenate(waiting)


def number_of_stretches(n_shots: int) -> int:
    """How many stretches so many shots have."""
    return 0 if n_shots == 0 else max(1, n_shots // STRETCH)


def shots_of(first: int, last: int, n_shots: int) -> tuple[int, int]:
    """The first shot of stretch `first`, and the one behind the last shot of stretch `last - 1`.

    Args:
        first: number of a stretch.
        last: number of the stretch behind the last one.
        n_shots: shots of the run.
    """
    end = n_shots if last >= number_of_stretches(n_shots) else last * STRETCH
    return first * STRETCH, end
