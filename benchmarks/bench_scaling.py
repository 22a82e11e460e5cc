"""How much faster do several processes reduce a long run than one? The same bits are checked too.

End to end with `molexa reduce` as a user starts it: start of all processes, first pass, search,
event mixing, fold, events file. One process and several alternate, so that other load on the
machine meets both. The run is a virtual one repeated until it is long enough; it lies in the memory
cache of the system after the first reading. `--workers 2 16 64` on a machine of many cores.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import yaml
from _record import store

from molexa_core.base.tables import Hits
from molexa_core.io.results.events import read_events
from molexa_core.io.run import write_hits
from molexa_core.pipeline.runs.mock import default_setup, mock_file
from molexa_core.pipeline.runs.open_run import open_run

BASE_SHOTS = 200_000
SEED = 5
VIRTUAL = {"molecules_per_shot": 2.0, "dark_counts_per_shot": 0.7, "explosion": "instant"}


def make_run(folder: Path, shots: int) -> Path:
    """A run of about four hits per shot with the columns of LMF2Root's lists."""
    setup = default_setup().model_dump(mode="json")
    setup["virtual"] |= VIRTUAL
    (folder / "setup.yaml").write_text(yaml.safe_dump(setup), encoding="utf-8")
    base = folder / "base.root"
    mock_file("water", BASE_SHOTS, base, setup=folder / "setup.yaml", seed=SEED)
    run = open_run(base)
    chunks = list(run)

    def repeated() -> Iterator[Hits]:
        first = 0
        while first < shots:
            for chunk in chunks:
                part = chunk.shots(0, min(chunk.n_shots, shots - first))
                if part.n_shots:
                    yield replace(part, first_shot=first)
                first += part.n_shots

    write_hits(folder / "run.root", repeated(), "root-jagged", meta=run.metadata())
    base.unlink()
    return folder / "run.root"


def reduce_once(path: Path, workers: int, mixing: bool) -> tuple[float, str, float]:
    """Seconds, a digest of the coincidences, and the largest memory of a worker in MiB."""
    out = path.with_name("out.events.h5")
    line = [sys.executable, "-m", "molexa_cli.main", "reduce", str(path), "--out", str(out)]
    line += ["--workers", str(workers), "--quiet", "--mixing" if mixing else "--no-mixing"]
    began = time.perf_counter()
    watched = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    most = 0.0
    while watched.poll() is None:
        most = max([most, *(memory_of(number) for number in children_of(watched.pid))])
        time.sleep(0.1)
    took = time.perf_counter() - began
    if watched.returncode:
        raise SystemExit(watched.returncode)
    table = read_events(out)[0]
    state = hashlib.sha256(table.momentum.tobytes())
    if table.false is not None:
        state.update(table.false.weight.tobytes())
    return took, state.hexdigest(), most


def children_of(process: int) -> list[int]:
    """The processes that a process started."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(number) for number in text.split()]


def memory_of(process: int) -> float:
    """Resident memory in MiB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS")), 0.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=6_000_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-mixing", action="store_true")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = make_run(Path(name), asked.shots)
        times: dict[int, list[float]] = {number: [] for number in (1, *asked.workers)}
        digests, memory = set(), 0.0
        for repeat in range(asked.repeats):
            for number, taken in times.items():
                took, digest, most = reduce_once(path, number, not asked.no_mixing)
                taken.append(took)
                digests.add(digest)
                memory = max(memory, most)
                print(f"{repeat}: {number} processes {took:.1f} s, {most:.0f} MiB", flush=True)
        if len(digests) > 1:
            raise SystemExit("the results differ")
        one = statistics.median(times[1])
        ratios = {n: one / statistics.median(taken) for n, taken in times.items() if n > 1}
        print({n: round(ratio, 2) for n, ratio in ratios.items()})
        if not asked.dry:
            last = asked.workers[-1]
            store(
                "scaling",
                f"How long do {last} processes take to reduce a long run?",
                times[last],
                amount=asked.shots,
                unit="shots",
                sizes={"shots": asked.shots, "file_mib": round(path.stat().st_size / 2**20, 1),
                       "mixing": not asked.no_mixing, "seed": SEED,
                       **{f"ratio_{n}": round(ratio, 2) for n, ratio in ratios.items()}},
                baseline=("one process", times[1]),
                notes=f"alternating; largest memory of a process {memory:.0f} MiB; load average "
                f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            )  # fmt: skip
