"""Threads that share the sorting find the hits that one finds."""

from __future__ import annotations

import numpy as np
import pytest

from molexa_core.base.settings import load_channel
from molexa_core.base.tables import Hits
from molexa_core.detector.sorter import Sorter
from molexa_core.pipeline.runs.mock import default_setup, mock
from molexa_core.pipeline.runs.mock_edges import edges_of
from molexa_core.pipeline.watching.sorting_threads import SortingThreads


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing() -> None:
    setup = default_setup()
    assert setup.anode is not None
    run = mock(load_channel("nitrogen"), 9000, setup=setup, seed=2)
    edges = next(iter(edges_of([run.hits], setup, seed=2)))
    one = Sorter(setup.anode).sort(edges)
    for threads in (1, 2, 3):
        found = SortingThreads(setup.anode, threads).sort(edges)
        assert found.first_shot == one.first_shot
        for name in (*Hits.VALUES, "offsets"):
            np.testing.assert_array_equal(getattr(found, name), getattr(one, name))
