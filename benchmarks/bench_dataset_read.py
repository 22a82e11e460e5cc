"""How many entries of a packed data set per second become dense arrays?

Compared with only reading the bytes of the file. 100 000 entries of molecules of 3 to 9 atoms with
random momenta; random digits compress worse than real ones. The file is in the cache of the
operating system.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from _record import store, time_runs

from molexa_core.base.storage.provenance import Provenance
from molexa_core.pipeline.datasets.entries import EntryBlock, GeometryResult
from molexa_core.pipeline.datasets.read import read_dataset
from molexa_core.pipeline.datasets.shard_file import write_blocks

MOLECULES, GEOMETRIES, ENTRIES = 500, 10, 20
SEED = 3
REPEATS = 7


def block(number: int, rng: np.random.Generator) -> EntryBlock:
    """Entries of one molecule."""
    atoms = 3 + number % 7
    shape = (ENTRIES, atoms)
    results = tuple(
        GeometryResult(
            variation=variation,
            kind=1,
            displaced=1,
            positions=rng.normal(size=(atoms, 3)),
            trajectories=100_000,
            combinations=1000,
            neutral=0,
            photons=5.0,
            charges=rng.integers(1, 6, size=shape).astype(np.int8),
            counts=rng.integers(300, 5000, size=ENTRIES),
            momenta=rng.normal(scale=80, size=(*shape, 3)).astype(np.float32),
            errors=rng.uniform(0.2, 2, size=(*shape, 3)).astype(np.float32),
        )
        for variation in range(GEOMETRIES)
    )
    splits = tuple(np.zeros(ENTRIES, np.uint8) for _ in results)
    numbers = np.full(atoms, 6, np.uint8)
    return EntryBlock(f"m{number}.0000", "none", f"m{number}", numbers, False, results, splits)


def read(folder: Path) -> None:
    """All entries as dense arrays."""
    if len(read_dataset(folder)) != MOLECULES * GEOMETRIES * ENTRIES:
        message = "entries are missing"
        raise RuntimeError(message)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "pack-000.h5"
        rng = np.random.default_rng(SEED)
        blocks = [block(number, rng) for number in range(MOLECULES)]
        write_blocks(path, blocks, "none", Provenance.of("benchmark", seed=SEED))
        size = path.stat().st_size
        entries = MOLECULES * GEOMETRIES * ENTRIES
        store(
            "dataset_read",
            "How many entries of a packed data set per second become dense arrays?",
            time_runs(lambda: read(path.parent), repeats=REPEATS),
            amount=entries,
            unit="entries",
            sizes={"entries": entries, "bytes": size, "largest": 9},
            baseline=(
                "reading the same bytes with numpy.fromfile",
                time_runs(lambda: np.fromfile(path, np.uint8), repeats=REPEATS),
            ),
            notes="the bar is 20 000 entries/s (100 000 in 5 s); one core",
        )
