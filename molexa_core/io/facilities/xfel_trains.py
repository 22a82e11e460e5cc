"""Trains of European XFEL in several files: order, ranges for reading, and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.tables import IntArray
from molexa_core.io.facilities.xfel_file import TrainIndex, XfelFile


class HasTrains(Protocol):
    """The data of a source in one file."""

    @property
    def file(self) -> XfelFile:
        """The file."""
        ...

    @property
    def index(self) -> TrainIndex:
        """The rows of each train in the data."""
        ...


Part = TypeVar("Part", bound=HasTrains)


def in_order(parts: Sequence[Part]) -> list[Part]:
    """Parts by their trains.

    Raises:
        InputFileError: a train is in two of them.
    """
    filled = [part for part in parts if len(part.index.train_id)]
    filled.sort(key=lambda part: int(part.index.train_id[0]))
    for before, after in pairwise(filled):
        if after.index.train_id[0] <= before.index.train_id[-1]:
            raise InputFileError(
                f"train {after.index.train_id[0]} is also in {before.file.path}",
                where=after.file.path,
                do="Give the files of one run, each once.",
            )
    return filled or list(parts[:1])


def left_out_remark(left_out: int, kept: int) -> str:
    """A remark about trains that are left out because of `INDEX/flag`."""
    return (
        f"{left_out} of {left_out + kept} trains are left out: by INDEX/flag their number is not "
        "that of the time server (`facility: {trains: all}` reads them)"
    )


def no_trains(left_out: int, where: str) -> InputFileError:
    """The error where `INDEX/flag` leaves out every train."""
    return InputFileError(
        f"INDEX/flag leaves out all {left_out} trains",
        where=where,
        do="`facility: {trains: all}` in the setup reads them.",
    )


def train_ranges(count: IntArray, goal: int) -> Iterator[tuple[int, int]]:
    """Ranges of trains with about `goal` rows each."""
    ends = np.cumsum(count)
    low = 0
    while low < len(count):
        done = ends[low - 1] if low else 0
        high = max(low + 1, int(np.searchsorted(ends, done + goal, side="right")))
        yield low, high
        low = high


def rows_of(dataset: Any, first: IntArray, count: IntArray) -> NDArray[Any]:
    """The rows of trains, in one piece where they follow each other."""
    held = count > 0
    first, count = first[held], count[held]
    if not len(first):
        return np.asarray(dataset[0:0])
    breaks = np.flatnonzero(first[1:] != (first + count)[:-1]) + 1
    pieces = []
    for low, high in zip([0, *breaks], [*breaks, len(first)], strict=True):
        pieces.append(dataset[int(first[low]) : int(first[high - 1] + count[high - 1])])
    return np.concatenate(pieces) if len(pieces) > 1 else np.asarray(pieces[0])
