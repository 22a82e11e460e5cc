"""How many hits per second does a graphics card search for three-fold coincidences?

Windows, candidates, momenta, all combinations, momentum sums with their histograms, gate, boxes
beside it, candidates that compete, and the table of coincidences with momenta in the order of the
shots. Hits lie in the memory of the card (kernels alone, by its own clock), or in that of the host
(copying to the card and back included). A virtual run of water with about four hits per shot is
made in blocks with seeds of their own and repeated until it is long enough. The baseline is one
core of the same machine on a part, whose results are compared number by number.

    python benchmarks/bench_reduce_gpu.py --hits 1e8
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Self

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numpy as np
from _record import machine, store

from molexa_core.base.cuda.compiler import nvrtc
from molexa_core.base.cuda.graphics_card import Card, Kernels, Stopwatch
from molexa_core.base.settings import load_channel
from molexa_core.base.settings.setup import Setup
from molexa_core.base.tables import Hits
from molexa_core.pipeline.runs.mock import default_setup, mock, with_virtual
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.combinations.shot import BEST
from molexa_core.reduction.gpu.device_search import DeviceFound, DeviceSearch, HitsOnDevice
from molexa_core.reduction.laboratory import calibrate

SEED = 5
VIRTUAL = {"molecules_per_shot": 2.0, "dark_counts_per_shot": 0.7, "explosion": "instant"}
SHOTS = 50_000
"""Shots of a block."""
PEAK_BYTES = {"H100": 3.35e12, "H200": 4.8e12}
"""Bytes per second of the card's memory by its data sheet."""


def block(number: int) -> Hits:
    """Calibrated hits of a block of shots."""
    setup = apparatus()
    run = mock(load_channel("water"), SHOTS, setup=setup, seed=SEED + number)
    return calibrate(run.hits, setup)[0]


def apparatus() -> Setup:
    """The setup of the virtual run."""
    return with_virtual(default_setup(), VIRTUAL)


def make_hits(hits: int, blocks: int) -> tuple[Hits, Hits]:
    """The hits of some blocks, and as many hits as asked for, made of them."""
    workers = min(blocks, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers) as pool:
        part = Hits.concatenate(list(pool.map(block, range(blocks))))
    times = max(1, -(-hits // part.n_hits))
    counts = np.tile(part.counts, times)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    columns = (np.tile(values, times) for values in (part.x_mm, part.y_mm, part.t_ns))
    x, y, t = columns
    return part, Hits(0, offsets, x, y, t, np.zeros(len(t), np.int16))


class Clocks:
    """Adds up the time that each kernel takes, by the clock of the card."""

    def __init__(self, card: Card) -> None:
        self.seconds: dict[str, float] = {}
        self._watch = Stopwatch(card)
        self._start = Kernels.start

    def __enter__(self) -> Self:
        start, watch, seconds = self._start, self._watch, self.seconds

        def timed(kernels: Kernels, name: str, items: int, argument: Any) -> None:
            watch.begin()
            start(kernels, name, items, argument)
            seconds[name] = seconds.get(name, 0.0) + watch.end()

        Kernels.start = timed
        return self

    def __exit__(self, *of: object) -> None:
        Kernels.start = self._start


def compare(part: Hits, search: Search, gate: SumGate, device: DeviceSearch) -> str:
    """Search a part on both; raises where they differ. What was compared, in words."""
    tally = Tally()
    expected = search.solve(part, tally, gate)
    task = search.task_of(gate, BEST, weigh=True)
    there = device.hits(part.offsets, part.x_mm, part.y_mm, part.t_ns)
    found = device.find(there, task)
    table, momenta = tables(found, len(search.ions))
    if len(found.left):
        handled = ~np.isin(expected.shot, found.left)
        expected = expected.select(handled)
    else:
        np.testing.assert_array_equal(found.sums, tally.sums)
        np.testing.assert_array_equal(found.elsewhere, tally.elsewhere)
        np.testing.assert_equal(found.combinations, tally.combinations)
    rows = table[:, 1 + task.columns].astype(np.int64)
    np.testing.assert_array_equal(table[:, 0], expected.shot)
    np.testing.assert_array_equal(rows, expected.rows)
    np.testing.assert_allclose(table[:, -1], expected.probability, rtol=1e-11)
    exact = search.momenta(part, expected.rows)
    off = float(np.abs(momenta - exact).max(initial=0.0))
    np.testing.assert_allclose(momenta, exact, rtol=1e-13, atol=1e-12)
    return (
        f"{len(table)} coincidences of {part.n_hits} hits, the same on both with their sums; "
        f"largest difference of a momentum {off:.1e} a.u.; {len(found.left)} shots left"
    )


def tables(found: DeviceFound, ions: int) -> tuple[np.ndarray, np.ndarray]:
    """The coincidences in the memory of the host."""
    table = np.empty((found.number, ions + 3))
    momenta = np.empty((found.number, ions, 3))
    found.table.read(table)
    found.momenta.read(momenta)
    return table, momenta


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=float, default=1e8)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--dry", action="store_true", help="store nothing")
    asked = parser.parse_args()

    began = time.perf_counter()
    part, hits = make_hits(int(asked.hits), asked.blocks)
    print(
        f"{hits.n_hits} hits in {hits.n_shots} shots, made in {time.perf_counter() - began:.1f} s"
    )
    setup, channel = apparatus(), load_channel("water")
    search = Search(channel, setup)
    gate = SumGate(np.zeros(3), np.array([9.0, 9.0, 5.0]), np.array([3.0, 3.0, 1.7]))
    task = search.task_of(gate, BEST, weigh=True)
    small = part.shots(0, min(part.n_shots, 2 * SHOTS))
    search.solve(small, Tally(), gate)  # compiled
    core = []
    for _ in range(3):
        start = time.perf_counter()
        search.momenta(small, search.solve(small, Tally(), gate).rows)
        core.append((time.perf_counter() - start) * hits.n_hits / small.n_hits)
    print(f"one core: {hits.n_hits / statistics.median(core):.3g} hits/s")

    card = Card(0)
    device = DeviceSearch(card)
    print(f"NVRTC {nvrtc().version()}")
    start = time.perf_counter()
    same = compare(small, search, gate, device)
    print(f"compiled and compared in {time.perf_counter() - start:.1f} s: {same}")
    for program in device.programs:
        for name, used in program.resources().items():
            print(f"  {name}: {used}")

    start = time.perf_counter()
    there: HitsOnDevice = device.hits(hits.offsets, hits.x_mm, hits.y_mm, hits.t_ns)
    card.wait()
    print(f"first copy to the card: {time.perf_counter() - start:.2f} s")
    watch, runs, found = Stopwatch(card), [], device.find(there, task)
    for _ in range(asked.repeats):
        watch.begin()
        found = device.find(there, task)
        runs.append(watch.end())
    with Clocks(card) as clocks:
        device.find(there, task)
    for name, seconds in clocks.seconds.items():
        print(f"  {name}: {1e3 * seconds:.2f} ms")
    ions = len(search.ions)
    whole = []
    for _ in range(3):
        start = time.perf_counter()
        there = device.hits(hits.offsets, hits.x_mm, hits.y_mm, hits.t_ns)
        found = device.find(there, task)
        tables(found, ions)
        whole.append(time.perf_counter() - start)
    median = statistics.median(runs)
    read = 24 * hits.n_hits + 8 * hits.n_shots
    written = found.number * (8 * (ions + 3) + 24 * ions)
    peak = next((v for k, v in PEAK_BYTES.items() if k in str(machine())), float("nan"))
    rate, moved = hits.n_hits / median, (read + written) / median
    notes = (
        f"the bar is 1e8 hits/s; {rate:.3g} hits/s on the card, "
        f"{hits.n_hits / statistics.median(whole):.3g} hits/s from and to the memory of the host; "
        f"{found.number} coincidences, {found.combinations} combinations, {len(found.left)} shots "
        f"left to the processor; hits and results once are {read + written} bytes, "
        f"{moved:.3g} B/s, {100 * moved / peak:.1f} % of the memory's {peak:.3g} B/s; "
        + ", ".join(f"{name} {1e3 * s:.2f} ms" for name, s in clocks.seconds.items())
        + f"; compared: {same}"
    )
    print(notes)
    if not asked.dry:
        store(
            "reduce_gpu",
            "How many hits per second does a graphics card search for three-fold coincidences?",
            runs,
            amount=hits.n_hits,
            unit="hits",
            sizes={
                "hits": hits.n_hits,
                "shots": hits.n_shots,
                "blocks": asked.blocks,
                "coincidences": found.number,
                "from_host_s": [round(one, 4) for one in whole],
                "seed": SEED,
            },
            baseline=("one core, from a part", core),
            notes=notes,
            device=", ".join(machine().get("accelerators", ["cuda"])),
        )
