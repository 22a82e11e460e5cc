"""Timing runs and storing them: `benchmarks/results/NAME.json`, one file per question.

A benchmark file asks one question, seeds its inputs, and ends with `store(...)`. What is stored
names machine, commit, versions, sizes, every single run, and the ratio to a stated baseline.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("molexa", "numpy", "torch", "numba", "uproot", "awkward", "h5py")


def time_runs(
    work: Callable[[], object],
    *,
    repeats: int = 5,
    warm_up: int = 1,
    synchronise: Callable[[], object] | None = None,
) -> list[float]:
    """Wall seconds of each run of `work`, after `warm_up` runs that are not counted.

    Args:
        work: what is timed.
        repeats: counted runs.
        warm_up: runs before the first counted one (compilation, caches).
        synchronise: waits for a device to finish, such as `torch.cuda.synchronize`.
    """
    wait = synchronise or (lambda: None)
    for _ in range(warm_up):
        work()
    runs = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        runs.append(time.perf_counter() - start)
    return runs


def measurement(runs: Sequence[float], amount: float) -> dict[str, Any]:
    """Runs in seconds as a measurement: runs, median, spread, and amount per second."""
    median = statistics.median(runs)
    return {
        "runs_s": [round(run, 6) for run in runs],
        "median_s": round(median, 6),
        "spread_s": [round(min(runs), 6), round(max(runs), 6)],
        "per_second": amount / median,
    }


def store(
    name: str,
    question: str,
    runs: Sequence[float],
    *,
    amount: float,
    unit: str,
    sizes: Mapping[str, Any],
    baseline: tuple[str, Sequence[float]] | None = None,
    notes: str = "",
    device: str = "cpu",
    dtype: str = "float64",
) -> Path:
    """Write one result and print its line.

    Args:
        name: file name without suffix.
        question: what was asked, one sentence.
        runs: wall seconds of each run.
        amount: how much one run does, in `unit`.
        unit: what is counted, such as `hits` or `molecules`.
        sizes: sizes of the input and every setting that matters.
        baseline: what it is compared with, and its runs on the same amount.
        notes: what a reader must know about the numbers.
        device: `cpu` or the name of the accelerator.
        dtype: number format of the computation.

    Returns:
        The file written.
    """
    result: dict[str, Any] = {
        "name": name,
        "question": question,
        "unit": unit,
        "amount": amount,
        "sizes": dict(sizes),
        "device": device,
        "dtype": dtype,
        "measured": measurement(runs, amount),
        "baseline": None,
        "ratio_to_baseline": None,
        "notes": notes,
        "machine": machine(),
        "commit": commit(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    line = f"{name}: {result['measured']['per_second']:.4g} {unit}/s"
    if baseline is not None:
        what, base_runs = baseline
        result["baseline"] = {"what": what, **measurement(base_runs, amount)}
        ratio = result["measured"]["median_s"] / result["baseline"]["median_s"]
        result["ratio_to_baseline"] = ratio
        line += f"; takes {ratio:.3g} times as long as: {what}"
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(line)
    return path


def machine() -> dict[str, Any]:
    """Processor, cores available to this process, memory in GiB and accelerators."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        found["accelerators"] = [torch.cuda.get_device_name(i) for i in range(count)]
    return found


def commit() -> str:
    """The commit measured, with `+changes` where tracked source files differ from it.

    `MOLEXA_COMMIT` names it where only the files of a checkout were copied to a machine.
    """
    if named := os.environ.get("MOLEXA_COMMIT"):
        return named
    here = Path(__file__).resolve().parent.parent
    try:
        head = _git(here, "rev-parse", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "molexa_core")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+changes" if changed else "")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for speed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
