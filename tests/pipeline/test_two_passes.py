"""Two passes over a run: each gives what a reading gives, and nothing is read twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from molexa_core.base.tables import Hits
from molexa_core.io.stored_run import StoredRun
from molexa_core.pipeline.runs.open_run import OpenRun, size_of
from molexa_core.pipeline.two_passes import TwoPasses
from tests.fakes.root_runs import make_run, make_setup

CHUNKS = make_run(["H+", "O+"], make_setup(), shots=700, seed=3).chunks(100)


class CountedRun(StoredRun):
    """A run that knows how many chunks were read of it."""

    paths, layout, choice = (Path("run"),), "made up", "made up"

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[Hits]:
        for chunk in CHUNKS:
            self.read += 1
            yield chunk


def in_two_passes(first: int | None, room: int) -> tuple[list[Hits], list[Hits], int]:
    """The chunks of both passes, `first` of them in the first one, and how many were read."""
    stored = CountedRun()
    passes = TwoPasses(OpenRun(stored, make_setup()).__iter__, size_of, room)
    begin = list(islice(passes.first(), first))
    return begin, list(passes.second()), stored.read


@pytest.mark.parametrize("first", [0, 1, 4, len(CHUNKS), None])
def test_the_second_pass_gives_all_chunks_without_a_second_reading(first: int | None) -> None:
    begin, everything, read = in_two_passes(first, 2**30)
    assert begin == CHUNKS[:first]
    assert everything == CHUNKS
    assert read == len(CHUNKS)


@pytest.mark.parametrize("fit", [0, 1, 3])
def test_a_beginning_above_the_room_is_read_again(fit: int) -> None:
    room = sum(size_of(chunk) for chunk in CHUNKS[:fit]) + 1
    begin, everything, read = in_two_passes(5, room)
    assert begin == CHUNKS[:5]
    assert everything == CHUNKS
    assert read == 5 + len(CHUNKS)


def test_a_pass_that_was_given_up_leaves_nothing_behind() -> None:
    passes = TwoPasses(OpenRun(CountedRun(), make_setup()).__iter__, size_of)
    next(passes.first())
    assert list(passes.first()) == CHUNKS
    shots = np.concatenate([chunk.shot for chunk in passes.second()])
    assert (np.diff(shots) >= 0).all()
    assert list(passes.second()) == CHUNKS
