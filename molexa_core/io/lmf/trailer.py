"""The data behind the hits of an event (levels, parameters, bytes), found from event lengths.

They should follow from the version in the header, but some programs follow it only in part: they
state version 12 and write no mask of changed parameters. An event must end where the next one
begins, which decides between the possibilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.io.lmf import kernels

SAMPLE_BYTES: Final = 2**18
"""Bytes from the first event on by which it is decided."""
LEAST_CHAINED: Final = 2
"""Fewer events that end where the next begins can do so by chance."""
_EXTRAS: Final = (4, 8, 12, 16)
"""Unknown bytes of fixed number behind all else that are looked for."""


@dataclass(frozen=True)
class Trailer:
    """The data that follow the hits of every event.

    Attributes:
        level: the levels of the inputs.
        scan: a mask of changed parameters with their values.
        post: bytes, their number before them.
        extra: number of further bytes of unknown meaning.
    """

    level: bool
    scan: bool
    post: bool
    extra: int = 0

    @classmethod
    def of(cls, layout: NDArray[np.int64]) -> Trailer:
        """That of a layout."""
        level, scan, post = (bool(layout[k]) for k in (kernels.LEVEL, kernels.SCAN, kernels.POST))
        return cls(level, scan, post, int(layout[kernels.EXTRA]))

    def put(self, layout: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same layout with this behind the hits."""
        changed = layout.copy()
        changed[[kernels.LEVEL, kernels.SCAN, kernels.POST, kernels.EXTRA]] = (
            self.level,
            self.scan,
            self.post,
            self.extra,
        )
        return changed

    def __str__(self) -> str:
        parts = [
            *["levels"] * self.level,
            *["changed parameters"] * self.scan,
            *["bytes of their own number"] * self.post,
            *[f"{self.extra} unknown bytes"] * bool(self.extra),
        ]
        return ", ".join(parts) or "nothing"


def find_trailer(
    sample: NDArray[np.uint8], final: bool, stated: NDArray[np.int64]
) -> tuple[Trailer, int, int]:
    """Find the data that follow the hits of the events in a file.

    Args:
        sample: its bytes from the first event on.
        final: whether the file ends with them.
        stated: the layout that the header implies; kept where nothing else lets more events of the
            sample end where the next one begins.

    Returns:
        The trailer, the number of events that end where the next begins, and all events found.
    """
    best = Trailer.of(stated)
    chained, events, faults = _chained(sample, final, stated)
    for trailer in _others(stated) if faults else ():
        more_chained, n_events, _ = _chained(sample, final, trailer.put(stated))
        if more_chained > max(chained, LEAST_CHAINED - 1):
            best, chained, events = trailer, more_chained, n_events
    return best, chained, events


def _others(stated: NDArray[np.int64]) -> list[Trailer]:
    """What else could follow: first that of another version, last what no version has."""
    levels = (False,) if stated[kernels.RAW] else (True, False)
    trailers = [Trailer(level, False, True) for level in levels]
    trailers += [Trailer(level, True, True) for level in levels]
    trailers += [Trailer(level, False, False) for level in levels]
    trailers += [Trailer(level, True, False) for level in levels]
    trailers += [
        Trailer(trailer.level, trailer.scan, trailer.post, extra)
        for extra in _EXTRAS
        for trailer in trailers
    ]
    return [candidate for candidate in trailers if candidate != Trailer.of(stated)]


def _chained(
    sample: NDArray[np.uint8], final: bool, layout: NDArray[np.int64]
) -> tuple[int, int, int]:
    """Events of a sample that end where the next one begins, all events found, faults."""
    state = kernels.new_state()
    starts = np.empty(len(sample) // int(kernels.smallest(layout)) + 1, np.int64)
    faults = np.zeros((64, 4), np.int64)
    kernels.index_events(sample, final, 0, layout, state, starts, faults)
    events = int(state[kernels.EVENTS])
    chained = int(kernels.follow(sample, starts[:events], layout, state))
    return chained, events, int(state[kernels.FAULTS])
