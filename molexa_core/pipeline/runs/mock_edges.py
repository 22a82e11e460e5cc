"""Mock runs of edges: the hits of a virtual experiment as signals of a delay-line anode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.settings import Setup
from molexa_core.base.tables import Edges, Hits, offsets_of
from molexa_core.io.run_format import Places
from molexa_core.physics.virtual.wires import record

_PURPOSE: Final = 16
"""Distinguishes the random generator of the signals from those of the experiment."""
_FEWEST_CHANNELS: Final = 8
_SLOTS_PER_HIT: Final = 4
"""Places per channel for each hit that a shot can hold."""


def edges_of(chunks: Iterable[Hits], setup: Setup, *, seed: int) -> Iterator[Edges]:
    """The edges of hits at the wire ends, in bins of the time-to-digital converter.

    Args:
        chunks: blocks of the virtual experiment; each has its own random generator.
        setup: setup with an anode; imperfections of its signals in `virtual -> signals`.
        seed: of the run.

    Raises:
        UsageError: the setup has no anode.
    """
    anode, virtual = setup.anode, setup.virtual
    if anode is None:
        raise UsageError(
            "the setup has no anode, so there are no edges",
            where=setup.name,
            do="Add `anode` to the setup (the shipped template has one), or write hits.",
        )
    for hits in chunks:
        seeds = np.random.SeedSequence([seed, hits.first_shot, _PURPOSE])
        random = np.random.Generator(np.random.Philox(seeds))
        shot = hits.shot - hits.first_shot
        place = hits.x_mm, hits.y_mm, hits.t_ns
        found = record(anode, virtual.signals, shot, place, hits.n_shots, virtual.window_ns, random)
        counts = np.bincount(found.shot, minlength=hits.n_shots)
        yield Edges(
            first_shot=hits.first_shot,
            offsets=offsets_of(counts),
            channel=found.channel,
            t_ns=found.bins.astype(np.float64) * virtual.signals.bin_ns,
            tags=hits.tags,
        )


def edge_places(setup: Setup) -> Places:
    """The room that the edges of a virtual run need in its file."""
    used = () if setup.anode is None else setup.anode.signal_channels
    return Places(
        slots=_SLOTS_PER_HIT * setup.detector.slots,
        channels=max(_FEWEST_CHANNELS, *(channel + 1 for channel in used), 0),
        bin_ns=setup.virtual.signals.bin_ns,
    )
