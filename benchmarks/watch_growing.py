"""Does a watch keep up with a list-mode file that grows, and does its memory stay what it is?

    python benchmarks/watch_growing.py --rate 10 --minutes 3
    python benchmarks/watch_growing.py --rate 0.3 --minutes 60

A second process appends events at a rate in 1e6 bytes per second, those of a virtual run again and
again. Printed: bytes that were not read yet, memory of the process that reads, and its slope over
the second half of the time; seconds from the first 2000 coincidences to the first structure.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import suppress
from multiprocessing import Process
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np

from molexa_core.base.progress import SILENT
from molexa_core.io.lmf import LmfFile
from molexa_core.pipeline.runs.mock import mock
from molexa_core.pipeline.watching.watch import Watch, WatchOptions
from molexa_core.reduction import growing

EVENTS = 200_000
ENOUGH = 2000


def grow(source: Path, target: Path, rate: float, seconds: float) -> None:
    """Append the events of a run to a file, at a rate in bytes per second."""
    data = source.read_bytes()
    begin = LmfFile(source).events_at
    events = data[begin:]
    with target.open("wb") as stream:
        stream.write(data[:begin])
        start, written = time.monotonic(), 0
        while (now := time.monotonic() - start) < seconds:
            wanted = int(rate * now)
            while written < wanted:
                at = written % len(events)
                piece = events[at : at + min(wanted - written, len(events) - at)]
                written += stream.write(piece)
            stream.flush()
            time.sleep(0.2)


def memory_mib() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", default="nitrogen")
    parser.add_argument("--rate", type=float, default=10.0, help="in 1e6 bytes per second")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--no-structure", action="store_true")
    parser.add_argument(
        "--sample-mib",
        type=int,
        help="for momenta of the structure; fewer are full sooner",
    )
    given = parser.parse_args()
    if given.sample_mib is not None:
        growing.SAMPLE_BYTES = given.sample_mib * 2**20
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "data")
        folder.mkdir()
        source = Path(scratch, "source.lmf")
        mock(given.channel, EVENTS, out=source, seed=1, layout="lmf")
        measure(given, folder, source, Path(scratch, "state.npz"))


class _OverError(Exception):
    """The time is over."""


def measure(given: argparse.Namespace, folder: Path, source: Path, state: Path) -> None:
    """Watch while another process writes."""
    rows: list[tuple[float, float, float, float]] = []
    marks: dict[str, float] = {}
    start = time.monotonic()

    def note(summary: dict[str, Any]) -> None:
        now = time.monotonic() - start
        found = summary.get("coincidences", 0)
        rows.append((now, memory_mib(), summary["behind_bytes"] / 1e6, found))
        if found >= ENOUGH:
            marks.setdefault("coincidences", now)
        if summary["structure"]["newest"] is not None:
            marks.setdefault("structure", now)
        print(
            f"{now:7.1f} s  {rows[-1][1]:7.1f} MiB  behind {rows[-1][2]:7.2f} MB  "
            f"{found:9.0f} coincidences  load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        if now > 60 * given.minutes:
            raise _OverError

    options = WatchOptions(folder, state=state, structure=not given.no_structure)
    warm = Watch(WatchOptions(source.parent, state=state, structure=False), lambda _: None)
    warm.run(once=True)  # compiled before the clock starts
    state.unlink()
    seconds = 60 * given.minutes
    writer = Process(target=grow, args=(source, folder / "run.lmf", 1e6 * given.rate, seconds))
    writer.start()
    start = time.monotonic()
    with suppress(_OverError):
        Watch(options, note, SILENT).run()
    writer.join()
    report(given.rate, np.array(rows), marks)


def report(rate: float, rows: np.ndarray, marks: dict[str, float]) -> None:
    """Print what was measured."""
    late = rows[rows[:, 0] > rows[-1, 0] / 2]
    slope = np.polyfit(late[:, 0] / 3600, late[:, 1], 1)[0]
    print(f"memory: {late[0, 1]:.1f} to {late[-1, 1]:.1f} MiB, slope {slope:+.1f} MiB/h")
    print(
        f"behind at {rate:g} MB/s: at most {rows[:, 2].max():.1f} MB, at the end {rows[-1, 2]:.1f}"
    )
    if "structure" in marks and "coincidences" in marks:
        after = marks["structure"] - marks["coincidences"]
        print(f"first structure {after:.1f} s after the first {ENOUGH} coincidences")


if __name__ == "__main__":
    main()
