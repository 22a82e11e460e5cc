"""How long does the reduction of a large run take, end to end, and what of 1e9 hits?

`molexa reduce` as a user starts it on all cores: start of the processes, first pass, search, fold,
events file; without event mixing unless asked for. The files of the run hold the hits of one
virtual run of water, about four in a shot, each file with a jitter of its own (no two shots are
the same); they lie in the memory cache of the system. From three lengths the law time = a + b hits
is fitted, with what is left over, and continued to 1e9.

    python benchmarks/large_run.py --hits 1e7 3e7 1e8 --workers 16
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from _record import store

from molexa_core.base.settings import load_channel
from molexa_core.base.tables import Hits
from molexa_core.io.results.events import read_events
from molexa_core.io.run import write_hits
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual
from molexa_core.pipeline.runs.open_run import open_run

SEED = 5
VIRTUAL = {"molecules_per_shot": 2.0, "dark_counts_per_shot": 0.7, "explosion": "instant"}
SHOTS = 50_000
"""Shots of a block that is made at once."""
JITTER = 0.02
"""Of each hit of a file, mm and ns."""
GOAL = 1e9
CORES = len(os.sched_getaffinity(0))


def block(number: int) -> Hits:
    """Hits of a block of shots, as the detector gives them."""
    setup = with_virtual(default_setup(), VIRTUAL)
    return mock(load_channel("water"), SHOTS, setup=setup, seed=SEED + number).hits


def make_hits(blocks: int) -> Hits:
    """The hits of one file."""
    with ProcessPoolExecutor(min(blocks, CORES)) as pool:
        return Hits.concatenate(list(pool.map(block, range(blocks))))


def make_file(path: Path) -> Path:
    """A file of the run: `base` with a jitter of its own."""
    rng = np.random.default_rng([SEED, int(path.stem.removeprefix("run_"))])
    shake = rng.normal(0.0, JITTER, (3, base.n_hits))
    x, y, t = base.x_mm + shake[0], base.y_mm + shake[1], base.t_ns + shake[2]
    hits = replace(base, x_mm=x, y_mm=y, t_ns=t)
    write_hits(path, hits.in_chunks(SHOTS), "root-jagged", meta=meta)
    return path


def reduce_once(files: list[Path], out: Path, asked: argparse.Namespace) -> float:
    """Seconds of one call of the command."""
    line = [sys.executable, "-m", "molexa_cli.main", "reduce", *map(str, files), "--out", str(out)]
    line += ["--workers", str(asked.workers), "--channel", "water", "--force", "--quiet"]
    line += ["--mixing" if asked.mixing else "--no-mixing", "--device", asked.device]
    began = time.perf_counter()
    done = subprocess.run(line, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return time.perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=float, nargs="+", default=[1e7, 3e7, 1e8])
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--blocks", type=int, default=16, help="blocks of shots in one file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--mixing", action="store_true")
    parser.add_argument("--seconds", type=float, default=1e9, help="lengths that take longer wait")
    parser.add_argument("--dry", action="store_true", help="store nothing")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mock("water", 10, out=folder / "small.root", seed=SEED)
        meta = open_run(folder / "small.root").metadata()
        base = make_hits(asked.blocks)
        per_file, out = base.n_hits, folder / "out.events.h5"
        made = time.perf_counter()
        paths = [folder / f"run_{n:04d}.root" for n in range(-int(-max(asked.hits) // per_file))]
        with ProcessPoolExecutor(min(len(paths), CORES)) as pool:  # by fork: `base` is there
            paths = list(pool.map(make_file, paths))
        print(
            f"{len(paths)} files of {per_file} hits, {paths[0].stat().st_size / 2**20:.0f} MiB, "
            f"made in {time.perf_counter() - made:.1f} s",
            flush=True,
        )
        reduce_once(paths[:1], out, asked)  # compiled
        hits, seconds = [], []
        for wanted in sorted(asked.hits):
            left = asked.seconds - (time.perf_counter() - began)
            if hits and seconds[-1] * wanted / hits[-1] > left:
                print(f"{wanted:.3g} hits would take longer than the {left:.0f} s that are left")
                break
            files = paths[: -int(-wanted // per_file)]
            seconds.append(reduce_once(files, out, asked))
            hits.append(len(files) * per_file)
            found = len(read_events(out)[0]) if hits[-1] < 5e7 else -1
            print(
                f"{hits[-1]:.3g} hits: {seconds[-1]:.2f} s, {hits[-1] / seconds[-1]:.3g} hits/s, "
                f"events file {out.stat().st_size / 2**20:.0f} MiB"
                + (f", {found} coincidences" if found >= 0 else ""),
                flush=True,
            )
        n, t = np.array(hits, float), np.array(seconds)
        law = "one length only"
        if len(n) > 1:
            slope, start = np.polyfit(n, t, 1)
            rest = t - (start + slope * n)
            goal = start + slope * GOAL
            last = (t[-1] - t[-2]) / (n[-1] - n[-2])
            law = (
                f"time = {start:.2f} s + {1e9 * slope:.2f} s per 1e9 hits, left over "
                + ", ".join(f"{one:+.2f}" for one in rest)
                + f" s; {GOAL:g} hits: {goal:.0f} s; with the slope of the last two lengths "
                f"{t[-1] + last * (GOAL - n[-1]):.0f} s"
            )
        print(law)
        if not asked.dry and len(n) > 2:
            store(
                "large_run",
                "How long does the reduction of a run of 1e9 hits take, continued from 1e8?",
                seconds,
                amount=float(np.median(n)),
                unit="hits",
                sizes={"hits": hits, "seconds": [round(one, 3) for one in seconds],
                       "workers": asked.workers, "mixing": asked.mixing, "device": asked.device,
                       "seed": SEED},
                notes=f"{law}; the runs are those of the lengths in `sizes`, in turn",
            )  # fmt: skip
