"""How much faster do several processes reduce a long run than one? The same bits are checked too.

End to end with `molexa reduce` as a user starts it: start of all processes, first pass, search,
event mixing, fold, events file. One process and several alternate, so that other load on the
machine meets both. Where it is great, the seconds of the processor say more: those of all processes
together, and those of the process that was started, which no other can take over. The run is a
virtual one repeated until it is long enough; it lies in the memory cache of the system after the
first reading. `--workers 2 16 64` on a machine of many cores.
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
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import yaml
from _record import store

from molexa_core.base.tables import Hits
from molexa_core.io.results.events import read_events
from molexa_core.io.run import write_hits
from molexa_core.pipeline.runs.mock import default_setup, mock
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
    mock("water", BASE_SHOTS, out=base, setup=folder / "setup.yaml", seed=SEED)
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


@dataclass(frozen=True)
class Taken:
    """What a reduction took.

    Attributes:
        wall_s: seconds from its start to its end.
        digest: of the coincidences.
        memory_mib: largest of a worker.
        cpu_s: of all processes together.
        serial_s: of the process that was started: what others cannot take from it.
    """

    wall_s: float
    digest: str
    memory_mib: float
    cpu_s: float
    serial_s: float


def reduce_once(path: Path, workers: int, mixing: bool) -> Taken:
    """Reduce a run with so many processes."""
    out = path.with_name("out.events.h5")
    line = [sys.executable, "-m", "molexa_cli.main", "reduce", str(path), "--out", str(out)]
    line += ["--workers", str(workers), "--quiet", "--mixing" if mixing else "--no-mixing"]
    began = time.perf_counter()
    watched = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    most = serial = 0.0
    while not (ended := os.wait4(watched.pid, os.WNOHANG))[0]:
        serial = max(serial, seconds_of(watched.pid))
        most = max([most, *(memory_of(number) for number in children_of(watched.pid))])
        time.sleep(0.1)
    took = time.perf_counter() - began
    if code := os.waitstatus_to_exitcode(ended[1]):
        raise SystemExit(code)
    cpu = ended[2].ru_utime + ended[2].ru_stime  # with the processes that it has waited for
    table = read_events(out)[0]
    state = hashlib.sha256(table.momentum.tobytes())
    if table.false is not None:
        state.update(table.false.weight.tobytes())
    return Taken(took, state.hexdigest(), most, cpu, cpu if workers == 1 else serial)


def seconds_of(process: int) -> float:
    """Seconds of the processor that a process has used itself."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


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
        found: dict[int, list[Taken]] = {number: [] for number in (1, *asked.workers)}
        for repeat in range(asked.repeats):
            for number, each in found.items():
                one = reduce_once(path, number, not asked.no_mixing)
                each.append(one)
                print(
                    f"{repeat}: {number} processes {one.wall_s:.1f} s, processor {one.cpu_s:.1f} s "
                    f"({one.serial_s:.1f} s one after the other), {one.memory_mib:.0f} MiB",
                    flush=True,
                )
        if len({one.digest for each in found.values() for one in each}) > 1:
            raise SystemExit("the results differ")
        times = {number: [one.wall_s for one in each] for number, each in found.items()}
        memory = max(one.memory_mib for each in found.values() for one in each)
        cpu = {n: statistics.median(one.cpu_s for one in each) for n, each in found.items()}
        serial = {n: statistics.median(one.serial_s for one in each) for n, each in found.items()}
        # Without other load: the serial part, then the rest by n, or all cores busy throughout.
        possible = {n: cpu[1] / max(serial[n], cpu[n] / n) for n in times if n > 1}
        print("by seconds of the processor at most", {n: round(x, 2) for n, x in possible.items()})
        alone = statistics.median(times[1])
        ratios = {n: alone / statistics.median(taken) for n, taken in times.items() if n > 1}
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
                       **{f"ratio_{n}": round(ratio, 2) for n, ratio in ratios.items()},
                       **{f"cpu_s_{n}": round(x, 1) for n, x in cpu.items()},
                       **{f"serial_s_{n}": round(x, 1) for n, x in serial.items() if n > 1},
                       **{f"possible_{n}": round(x, 2) for n, x in possible.items()}},
                baseline=("one process", times[1]),
                notes=f"alternating; largest memory of a process {memory:.0f} MiB; load average "
                f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            )  # fmt: skip
