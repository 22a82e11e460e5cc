"""Does `molexa watch` run for hours at the same memory, with its page open?

    python benchmarks/watch_soak.py --rate 0.3 --minutes 60

The command is started as a user starts it, on a folder into which list-mode files are written at a
rate in 1e6 bytes per second: a long first one, which fills the samples that a watch keeps, then one
after the other, each of some minutes. Page and summary are fetched every ten seconds, as a browser
does. Sampled: resident memory of the process that reads and of the one that makes structures, bytes
that were not read yet, seconds until the page came. In the end: slope of the memory over the second
half of the time with its standard error (of twelve blocks, since neighbouring samples are not
independent), and whether every event was counted once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from _record import commit, machine

from molexa_core.io.lmf import LmfFile
from molexa_core.pipeline.runs.mock import mock

EVENTS = 200_000
"""Events of the virtual run, which are written again and again."""
FIRST = 6
"""How often they are in the first file."""
PORT = 8743
LOOK_S = 10.0
BLOCKS = 12


class Writer(threading.Thread):
    """Writes list-mode files at a rate until it is told to stop.

    Args:
        source: file with the events.
        folder: where the files are written.
        rate: bytes per second.
        each_s: seconds in which one file grows.
    """

    def __init__(self, source: Path, folder: Path, rate: float, each_s: float) -> None:
        super().__init__(daemon=True)
        data = source.read_bytes()
        begin = LmfFile(source).events_at
        self._head, self._events = data[:begin], data[begin:]
        self._folder, self._rate, self._each_s = folder, rate, each_s
        self.stop = threading.Event()
        self.whole = 0
        """How often the events of the source were written."""

    def first(self) -> None:
        """The first file, at once."""
        path = self._folder / "run_0000.lmf"
        path.write_bytes(self._head + FIRST * self._events)
        self.whole += FIRST

    def run(self) -> None:
        """Files with whole repetitions of the events."""
        number = 0
        repeats = max(1, round(self._rate * self._each_s / len(self._events)))
        while not self.stop.is_set():
            number += 1
            with (self._folder / f"run_{number:04d}.lmf").open("wb") as stream:
                stream.write(self._head)
                data = memoryview(repeats * self._events)
                begun, written = time.monotonic(), 0
                while written < len(data) and not self.stop.is_set():
                    wanted = min(int(self._rate * (time.monotonic() - begun)), len(data))
                    written += stream.write(data[written:wanted])
                    stream.flush()
                    self.stop.wait(0.25)
                stream.write(data[written:])
            self.whole += repeats


def memory_mib(process: int) -> float:
    """Resident memory of a process."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def children_of(process: int) -> list[int]:
    """The processes that a process started."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    except OSError:
        return []
    return [int(number) for number in text.split()]


def fetch(path: str) -> bytes:
    """What the page server answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=60) as answer:
        body: bytes = answer.read()
    return body


def look(process: int) -> tuple[list[float], dict[str, Any]]:
    """Memory, time of the page, and the summary."""
    begun = time.monotonic()
    try:
        page = fetch("/")
        summary: dict[str, Any] = json.loads(fetch("/summary.json"))
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        page, summary = b"", {}
    took = time.monotonic() - begun
    others = sum(memory_mib(child) for child in children_of(process))
    behind = summary.get("behind_bytes", 0) / 1e6
    row = [memory_mib(process), others, behind, took, len(page), summary.get("shots", 0)]
    return row, summary


def slope_of(hours: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope per hour and its standard error, from the means of blocks of neighbouring samples."""
    blocks = min(BLOCKS, len(hours))
    if blocks < 3:
        return float("nan"), float("nan")
    t = np.array([part.mean() for part in np.array_split(hours, blocks)])
    v = np.array([part.mean() for part in np.array_split(values, blocks)])
    slope, start = np.polyfit(t, v, 1)
    rest = v - (start + slope * t)
    error = np.sqrt((rest @ rest) / (blocks - 2) / ((t - t.mean()) ** 2).sum())
    return float(slope), float(error)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channel", default="nitrogen")
    parser.add_argument("--rate", type=float, default=0.3, help="in 1e6 bytes per second")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--each", type=float, default=5.0, help="minutes of one file")
    parser.add_argument("--out", type=Path, help="file for all samples and the result, JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "data")
        folder.mkdir()
        source = Path(scratch, "source.lmf")
        mock(given.channel, EVENTS, out=source, seed=1, layout="lmf")
        writer = Writer(source, folder, 1e6 * given.rate, 60.0 * given.each)
        writer.first()
        with Path(scratch, "log.txt").open("wb") as log:
            line = [sys.executable, "-m", "molexa_cli.main", "watch", str(folder)]
            line += ["--port", str(PORT), "--state", str(Path(scratch, "state.npz"))]
            watched = subprocess.Popen(line, stdout=log, stderr=log, cwd=scratch)
            writer.start()
            try:
                rows = sampled(watched, 60.0 * given.minutes)
                writer.stop.set()
                writer.join()
                last = at_the_end(watched)
            finally:
                watched.send_signal(signal.SIGINT)
                code = watched.wait(120)
        print(Path(scratch, "log.txt").read_text(encoding="utf-8", errors="replace")[-1500:])
        result(given, rows, last, writer.whole * EVENTS, code)


def sampled(watched: subprocess.Popen[bytes], seconds: float) -> np.ndarray:
    """(samples, 7) time in s and what `look` gives, every ten seconds."""
    rows: list[list[float]] = []
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds and watched.poll() is None:
        row, summary = look(watched.pid)
        rows.append([now, *row])
        if len(rows) % 6 == 1:
            print(
                f"{now:7.1f} s  reads {row[0]:.1f} MiB, structures {row[1]:.1f} MiB, "
                f"behind {row[2]:.1f} MB, page {row[3]:.2f} s, {row[5]:.0f} shots, "
                f"{summary.get('coincidences', 0)} coincidences, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        time.sleep(LOOK_S)
    return np.array(rows)


def at_the_end(watched: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The summary when all is read."""
    summary: dict[str, Any] = {}
    deadline = time.monotonic() + 300.0
    while time.monotonic() < deadline:
        time.sleep(LOOK_S)
        summary = look(watched.pid)[1]
        if summary.get("behind_bytes") == 0:
            break
    return summary


def result(
    given: argparse.Namespace, rows: np.ndarray, last: dict[str, Any], events: int, code: int
) -> None:
    """Print and keep what was measured."""
    late = rows[rows[:, 0] > rows[-1, 0] / 2]
    found = {}
    for name, column in (("reads", 1), ("makes structures", 2)):
        slope, error = slope_of(late[:, 0] / 3600.0, late[:, column])
        found[name] = {
            "slope_mib_per_hour": slope,
            "error": error,
            "largest_mib": float(rows[:, column].max()),
            "last_mib": float(rows[-1, column]),
        }
        print(
            f"memory of the process that {name}: {late[0, column]:.1f} to "
            f"{late[-1, column]:.1f} MiB, slope {slope:+.2f} +- {error:.2f} MiB/h"
        )
    missed = int((rows[:, 5] == 0).sum())
    print(
        f"behind at most {rows[:, 3].max():.1f} MB, in the second half {late[:, 3].max():.1f} MB; "
        f"page within {np.median(rows[:, 4]):.2f} s (longest {rows[:, 4].max():.2f} s), "
        f"{missed} of {len(rows)} times not"
    )
    print(f"{last.get('shots')} shots counted of {events} written; exit code {code}")
    if given.out is not None:
        values = {
            "question": "Does a watch run for an hour at the same memory?",
            "minutes": given.minutes, "rate_mb_per_s": given.rate, "channel": given.channel,
            "memory": found, "shots": last.get("shots"), "written": events,
            "page_s": float(np.median(rows[:, 4])), "page_missed": missed, "samples": len(rows),
            "machine": machine(), "commit": commit(),
            "rows": np.round(rows, 2).tolist(),
        }  # fmt: skip
        given.out.write_text(json.dumps(values) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
