"""How much faster do several processes reduce a long run than one? The same bits are checked too.

End to end with `molexa reduce` as a user starts it: start of all processes, first pass, search,
event mixing, fold, events file. One process and several alternate, so that other load on the
machine meets both. Where it is great, the seconds of the processor say more: those of all processes
together, and those of the process that was started, which no other can take over. The run is a
virtual one repeated until it is long enough, in files of a million shots; it lies in the memory
cache of the system after the first reading, or in memory with `--folder /dev/shm`.

    python benchmarks/bench_scaling.py --workers 2

On a machine of many cores one process would take too long for a run that is long enough for all of
them. `--parts` gives it shorter runs: each takes a straight line, whose slope and start say what
the whole run would take; the line is checked by its middle point.

    python benchmarks/bench_scaling.py --parts 2e6 4e6 8e6 --shots 64e6 --workers 8 16 32

With `--law` each number of processes reduces a run that keeps it busy for some seconds, short runs
of few processes at the same time where there are cores for all. What they gain is said against that
line, and what limits them by phases: until the first unit is finished (start and first pass), until
the last one is, and the end (rest of the fold, checksum, removal of the units). The law for runs of
any length is that of the largest number of processes at two lengths.

    python benchmarks/bench_scaling.py --law 2:3 8:4 16:8 32:24 64:32 64:64 --parts 1e6 3e6
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
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


FILE_SHOTS = int(os.environ.get("FILE_SHOTS", "1000000"))
"""Shots of a file of the run; fewer to try the benchmark itself."""


def make_run(folder: Path, shots: int) -> list[Path]:
    """The files of a run of about four hits per shot with the columns of LMF2Root's lists."""
    setup = default_setup().model_dump(mode="json")
    setup["virtual"] |= VIRTUAL
    (folder / "setup.yaml").write_text(yaml.safe_dump(setup), encoding="utf-8")
    base = folder / "base.root"
    mock("water", BASE_SHOTS, out=base, setup=folder / "setup.yaml", seed=SEED)
    run = open_run(base)
    chunks = list(run)

    def repeated() -> Iterator[Hits]:
        first = 0
        while first < FILE_SHOTS:
            for chunk in chunks:
                yield replace(chunk, first_shot=first)
                first += chunk.n_shots

    paths = [folder / f"run_{number:04d}.root" for number in range(-(-shots // FILE_SHOTS))]
    write_hits(paths[0], repeated(), "root-jagged", meta=run.metadata())
    for path in paths[1:]:
        shutil.copyfile(paths[0], path)
    base.unlink()
    return paths


@dataclass(frozen=True)
class Taken:
    """What a reduction took.

    Attributes:
        wall_s: seconds from its start to its end.
        digest: of the coincidences.
        memory_mib: largest of a worker.
        cpu_s: of all processes together.
        serial_s: of the process that was started: what others cannot take from it.
        first_s: from the start until the first unit was finished.
        last_s: until the last one was.
        units: how many were seen.
    """

    wall_s: float
    digest: str
    memory_mib: float
    cpu_s: float
    serial_s: float
    first_s: float = field(default=0.0, compare=False)
    last_s: float = field(default=0.0, compare=False)
    units: int = field(default=0, compare=False)


def reduce_once(
    paths: list[Path], workers: int, mixing: bool, name: str = "out", *, look: bool = True
) -> Taken:
    """Reduce a run with so many processes; look at what was found, which takes a while too."""
    out = paths[0].with_name(f"{name}.events.h5")
    out.unlink(missing_ok=True)
    folder = out.with_name(f"{out.name}.units")
    line = [sys.executable, "-m", "molexa_cli.main", "reduce", *map(str, paths), "--out", str(out)]
    line += ["--workers", str(workers), "--quiet", "--mixing" if mixing else "--no-mixing"]
    began = time.perf_counter()
    watched = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    most = serial = first = last = 0.0
    units = 0
    while not (ended := os.wait4(watched.pid, os.WNOHANG))[0]:
        serial = max(serial, seconds_of(watched.pid))
        most = max([most, *(memory_of(number) for number in children_of(watched.pid))])
        there, now = units_in(folder), time.perf_counter() - began
        if there > units:
            first, last, units = (now if units <= 1 else first), now, there
        time.sleep(0.1)
    took = time.perf_counter() - began
    if code := os.waitstatus_to_exitcode(ended[1]):
        raise SystemExit(code)
    cpu = ended[2].ru_utime + ended[2].ru_stime  # with the processes that it has waited for
    found = content_of(out) if look else ""
    out.unlink()
    own = cpu if workers == 1 else serial
    return Taken(took, found, most, cpu, own, first, last, units)


def units_in(folder: Path) -> int:
    """Finished units in a folder."""
    try:
        return sum(1 for one in os.scandir(folder) if one.name.endswith(".unit"))
    except OSError:
        return 0


def content_of(path: Path) -> str:
    """Digest of the coincidences."""
    table = read_events(path)[0]
    state = hashlib.sha256(table.momentum.tobytes())
    if table.false is not None:
        state.update(table.false.weight.tobytes())
    return state.hexdigest()


def seconds_of(process: int) -> float:
    """Seconds of the processor that a process has used itself."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def children_of(process: int) -> list[int]:
    """The processes that a process started, and those that they did."""
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    own = [int(number) for number in text.split()]
    return own + [one for number in own for one in children_of(number)]


def memory_of(process: int) -> float:
    """Resident memory in MiB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS")), 0.0)


def told(what: str, one: Taken) -> Taken:
    """Print what a reduction took."""
    print(
        f"{what} {one.wall_s:.2f} s, processor {one.cpu_s:.1f} s ({one.serial_s:.1f} s of the "
        f"process that was started), {one.memory_mib:.0f} MiB, load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return one


def line_of(
    paths: list[Path], parts: list[float], mixing: bool
) -> tuple[float, float, dict[int, str]]:
    """Start in s and s per shot of one process, from runs of several lengths; what was found."""
    seconds, shots, digests = [], [], {}
    for part in sorted(parts):
        files = paths[: max(1, round(part / FILE_SHOTS))]
        shots.append(len(files) * FILE_SHOTS)
        one = told(f"one process, {shots[-1] / 1e6:.0f}e6 shots:", reduce_once(files, 1, mixing))
        seconds.append(one.wall_s)
        digests[len(files)] = one.digest
    slope, start = np.polyfit(shots, seconds, 1)
    rest = np.array(seconds) - (start + slope * np.array(shots))
    print(
        f"one process takes {start:.2f} s + {1e6 * slope:.3f} s per 1e6 shots, left over "
        + ", ".join(f"{one:+.2f}" for one in rest)
        + " s"
    )
    return float(start), float(slope), digests


def compare(
    paths: list[Path], numbers: list[int], alone: float, digests: set[str], mixing: bool
) -> None:
    """Times of several processes against one, and that all give the same bits."""
    for number in numbers:
        what = f"{number} processes, {len(paths)}e6 shots:"
        one = told(what, reduce_once(paths, number, mixing))
        digests.add(one.digest)
        print(f"    {alone / one.wall_s:.2f} times as fast as one process ({alone:.1f} s)")
    if len(digests) > 1:
        raise SystemExit("the results differ")


def of_many_cores(asked: argparse.Namespace, paths: list[Path]) -> None:
    """What a machine of many cores gains; see above."""
    mixing = not asked.no_mixing
    reduce_once(paths[:1], 1, mixing)  # compiled
    start, slope, digests = line_of(paths, asked.parts, mixing)
    if asked.small_workers:
        small = paths[: round(asked.small / FILE_SHOTS)]
        alone = start + slope * len(small) * FILE_SHOTS
        known = {one for length, one in digests.items() if length == len(small)}
        compare(small, asked.small_workers, alone, known, mixing)
    compare(paths, asked.workers, start + slope * len(paths) * FILE_SHOTS, set(), mixing)


@dataclass(frozen=True)
class Case:
    """A number of processes and the length of their run, such as `16:8`.

    Attributes:
        workers: processes.
        files: of `FILE_SHOTS` each.
    """

    workers: int
    files: int

    @classmethod
    def of(cls, text: str) -> Case:
        """As it is written in the command line."""
        workers, files = text.split(":")
        return cls(int(workers), int(files))


def law(asked: argparse.Namespace, paths: list[Path]) -> None:
    """What many processes gain against one, and what limits them."""
    mixing, cores = not asked.no_mixing, len(os.sched_getaffinity(0))
    parts = sorted({max(1, round(part / FILE_SHOTS)) for part in asked.parts})
    cases = [Case(1, length) for length in parts] + [Case.of(text) for text in asked.law]

    def measured(case: Case) -> Taken:
        name = f"out-{case.workers}-{case.files}"
        several = sum(one.files == case.files for one in cases) > 1
        one = reduce_once(paths[: case.files], case.workers, mixing, name, look=several)
        return told(f"{case.workers} processes, {case.files} files:", one)

    reduce_once(paths[:1], 1, mixing)  # compiled
    few = [case for case in cases if case.workers <= 2]
    taken: dict[Case, Taken] = {}
    if sum(case.workers + 1 for case in few) <= cores // 2:
        with ThreadPoolExecutor(len(few)) as pool:
            taken |= zip(few, pool.map(measured, few), strict=True)
    for case in cases:
        if case not in taken:
            taken[case] = measured(case)
    digests = {case.files: {one.digest for c, one in taken.items() if c.files == case.files}
               for case in cases}  # fmt: skip
    if any(len(each) > 1 for each in digests.values()):
        raise SystemExit("the results differ")
    alone = [(case.files, taken[case].wall_s) for case in cases if case.workers == 1]
    slope, start = np.polyfit([n for n, _ in alone], [took for _, took in alone], 1)
    hits = open_run(paths[0])
    per_file = sum(chunk.n_hits for chunk in hits) / 1e6
    print(f"one process: {start:.2f} s + {slope / per_file:.3f} s per 1e6 hits")
    for case in cases:
        one = taken[case]
        gain = (start + slope * case.files) / one.wall_s
        print(
            f"{case.workers} processes, {case.files * per_file:.1f}e6 hits: {one.wall_s:.2f} s, "
            f"{gain:.2f} times one process; until the first unit {one.first_s:.2f} s, units "
            f"{one.last_s - one.first_s:.2f} s ({one.units}), end {one.wall_s - one.last_s:.2f} s"
        )
    most = max(case.workers for case in cases)
    long = [(case.files, taken[case].wall_s) for case in cases if case.workers == most]
    record: dict[str, object] = {
        "one_start_s": start, "one_s_per_1e6_hits": slope / per_file, "cores": cores,
        "hits_per_file": 1e6 * per_file,
        "cases": [asdict(case) | asdict(one) for case, one in taken.items()],
    }  # fmt: skip
    if len(long) > 1:
        each, fixed = np.polyfit([n for n, _ in long], [took for _, took in long], 1)
        print(f"{most} processes: {fixed:.2f} s + {each / per_file:.4f} s per 1e6 hits")
        for total in (1e8, 1e9, 1e10):
            files = total / 1e6 / per_file
            print(f"    {total:.0e} hits: {(start + slope * files) / (fixed + each * files):.1f}")
        record |= {"many": most, "many_start_s": fixed, "many_s_per_1e6_hits": each / per_file}
    if asked.record is not None:
        asked.record.write_text(json.dumps(record, indent=1))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shots", type=float, default=6e6)
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-mixing", action="store_true")
    parser.add_argument("--parts", type=float, nargs="*", help="lengths for one process")
    parser.add_argument("--small", type=float, default=8e6, help="shots for few processes")
    parser.add_argument("--small-workers", type=int, nargs="*", default=[])
    parser.add_argument("--folder", type=Path, help="where the run is made")
    parser.add_argument("--law", nargs="*", help="PROCESSES:FILES, see above")
    parser.add_argument("--record", type=Path, help="with --law: a file for the numbers")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    asked = parser.parse_args()
    longest = max([Case.of(text).files for text in asked.law or ()], default=0)
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        began = time.perf_counter()
        paths = make_run(Path(name), longest * FILE_SHOTS or int(asked.shots))
        size = sum(path.stat().st_size for path in paths) / 2**20
        print(f"{len(paths)} files, {size:.0f} MiB, made in {time.perf_counter() - began:.1f} s")
        if asked.law:
            law(asked, paths)
        elif asked.parts:
            of_many_cores(asked, paths)
        else:
            alternating(asked, paths, size)


def alternating(asked: argparse.Namespace, paths: list[Path], size: float) -> None:
    """One process and several in turn, on the whole run."""
    found: dict[int, list[Taken]] = {number: [] for number in (1, *asked.workers)}
    for repeat in range(asked.repeats):
        for number, each in found.items():
            one = reduce_once(paths, number, not asked.no_mixing)
            each.append(told(f"{repeat}: {number} processes", one))
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
    if asked.dry:
        return
    last = asked.workers[-1]
    store(
        "scaling",
        f"How long do {last} processes take to reduce a long run?",
        times[last],
        amount=asked.shots,
        unit="shots",
        sizes={"shots": asked.shots, "file_mib": round(size, 1),
               "mixing": not asked.no_mixing, "seed": SEED,
               **{f"ratio_{n}": round(ratio, 2) for n, ratio in ratios.items()},
               **{f"cpu_s_{n}": round(x, 1) for n, x in cpu.items()},
               **{f"serial_s_{n}": round(x, 1) for n, x in serial.items() if n > 1},
               **{f"possible_{n}": round(x, 2) for n, x in possible.items()}},
        baseline=("one process", times[1]),
        notes=f"alternating; largest memory of a process {memory:.0f} MiB; load average "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    )  # fmt: skip


if __name__ == "__main__":
    main()
