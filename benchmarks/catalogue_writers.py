"""Does the catalogue of runs keep every row when many processes write at once?

    python benchmarks/catalogue_writers.py --processes 50 --seconds 60

Every process adds runs of its own and marks a common one, as fast as it is let. Printed: rows that
the processes say they have written, rows that are there, and the longest time a change waited.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

from molexa_core.io.run_catalogue import RunCatalogue, RunEntry

EACH = 1_000_000


def write(path: Path, place: int, seconds: float) -> tuple[int, int, float]:
    """Add and mark until the time is over; numbers of both, and the longest wait in seconds."""
    catalogue = RunCatalogue(path, new=True)
    end, added, marked, longest = time.monotonic() + seconds, 0, 0, 0.0
    while time.monotonic() < end:
        begun = time.monotonic()
        catalogue.add(RunEntry(place * EACH + added + 1, target=f"process {place}"))
        added += 1
        if added % 10 == 0:
            catalogue.mark([0], comment=f"{place}: {added}")
            marked += 1
        longest = max(longest, time.monotonic() - begun)
    return added, marked, longest


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "runs.sqlite")
        catalogue = RunCatalogue(path, new=True)
        catalogue.add(RunEntry(0))
        with get_context("fork").Pool(given.processes) as pool:
            work = [(path, place, given.seconds) for place in range(1, given.processes + 1)]
            done = pool.starmap(write, work, chunksize=1)
        runs = catalogue.runs()
        said = sum(added for added, _, _ in done)
        marks = sum(marked for _, marked, _ in done)
        noted = len(catalogue.changes(0)) - 1
        whole = all(
            {entry.number for entry in runs if entry.number // EACH == place}
            == {place * EACH + k + 1 for k in range(added)}
            for place, (added, _, _) in enumerate(done, 1)
        )
    print(f"{given.processes} processes, {given.seconds:g} s, load {os.getloadavg()[0]:.1f}")
    print(f"rows written {said}, rows there {len(runs) - 1}, all of them: {whole}")
    print(f"marks of one run written {marks}, there {noted}")
    print(f"fewest rows of a process {min(added for added, _, _ in done)}")
    print(f"longest wait of a change {max(longest for _, _, longest in done):.1f} s")


if __name__ == "__main__":
    main()
