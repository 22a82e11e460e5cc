"""How many bytes per second does the LMF reader turn into arrays? Compared with only reading them.

Decoded events of 10 hits on average on 8 channels, LMF version 12 with all that follows the hits,
64-bit time stamps; the baseline is `numpy.fromfile` of the same bytes. The file is in the cache of
the operating system.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from _record import store, time_runs

from molexa_core.io.lmf import LmfEvents, LmfFile, LmfHeader, LmfWriter

EVENTS = 1_500_000
BLOCK = 100_000
HITS = 10.0
CHANNELS = 8
SEED = 5
REPEATS = 7


def make_file(path: Path) -> int:
    """A file of events with Poisson numbers of hits; the number of hits."""
    rng = np.random.default_rng(SEED)
    total = 0
    with LmfWriter(path, LmfHeader(n_channels=CHANNELS)) as writer:
        for first in range(0, EVENTS, BLOCK):
            counts = rng.poisson(HITS, BLOCK)
            hits = int(counts.sum())
            events = LmfEvents.of(
                np.concatenate([[0], np.cumsum(counts)]),
                rng.integers(0, CHANNELS, hits),
                rng.integers(-200_000, 400_000, hits),
                stamp=np.arange(first, first + BLOCK) * 40_000_000,
                first_event=first,
            )
            writer.append(events)
            total += hits
    return total


def read(path: Path) -> None:
    """All events as arrays, chunk by chunk."""
    seen = sum(events.n_events for events in LmfFile(path))
    if seen != EVENTS:
        message = f"{seen} events instead of {EVENTS}"
        raise RuntimeError(message)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "run.lmf"
        hits = make_file(path)
        size = path.stat().st_size
        store(
            "lmf_speed",
            "How many bytes per second does the LMF reader turn into arrays?",
            time_runs(lambda: read(path), repeats=REPEATS),
            amount=size,
            unit="bytes",
            sizes={"events": EVENTS, "hits": hits, "channels": CHANNELS, "bytes": size},
            baseline=(
                "reading the same bytes with numpy.fromfile",
                time_runs(lambda: np.fromfile(path, np.uint8), repeats=REPEATS),
            ),
            notes="one core; the bar is 1e8 bytes/s",
            dtype="int32",
        )
