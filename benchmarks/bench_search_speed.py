"""How many shots per second does the coincidence search go through? Against two baselines.

The same hits for all: shots of one molecule and unrelated ions of its kinds, with a fixed number of
hits. The baselines are what one would write for an analysis of one's own: joins of whole columns in
numpy, and loops over the hits of a shot compiled by numba, with like ions as combinations, partial
sums and a bound on what the remaining ions can compensate. They count the combinations in the gate
and take the best of each shot; the search also counts the side bands for the purity, settles which
of the coincidences that share hits are accepted, and fills the histograms of the sums.

Seeded, on one core, in processor time; the ratios are of the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")

import numba
import numpy as np
from _record import store

from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Channel, parse_settings
from molexa_core.base.settings.setup import Setup
from molexa_core.base.tables import Hits, offsets_of
from molexa_core.base.units import ATOMIC_VELOCITY_MM_NS
from molexa_core.pipeline.runs.mock import default_setup
from molexa_core.reduction.coincidences import Search, SumGate, Tally

SEED = 14
SIZES = {"H+": 40.0, "C+": 90.0, "O+": 110.0}
"""Typical momentum of an ion in a.u."""
SIGMA = np.array([2.0, 2.0, 1.0])
"""Standard deviation of the momentum sum, a.u."""
MAX_MOMENTUM = 250.0
CASES = {
    "three ions, 8 hits": ((("O+", 1), ("H+", 2)), 8, 500_000.0),
    "nine ions, 20 hits": ((("O+", 1), ("C+", 2), ("H+", 6)), 20, 20_000.0),
}
"""Ions, hits of a shot, and the bar in shots per second."""


def channel_of(ions: tuple[tuple[str, int], ...]) -> Channel:
    """The channel of these ions."""
    values = {
        "name": "benchmark",
        "ions": [{"ion": ion, "count": count} for ion, count in ions],
        "gates": {"max_momentum": MAX_MOMENTUM},
    }
    return parse_settings(Channel, values, where="benchmark")


def directions(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random unit vectors."""
    vectors = rng.normal(size=(*shape, 3))
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def make_hits(
    ions: tuple[Ion, ...], kinds: list[Ion], shots: int, per_shot: int, setup: Setup
) -> Hits:
    """Shots of one molecule each and of unrelated ions, in random order."""
    rng = np.random.default_rng(SEED)
    share = np.array([ions.count(kind) for kind in kinds]) / len(ions)
    which = rng.choice(len(kinds), size=(shots, per_shot - len(ions)), p=share)
    mass = np.array([ion.mass for ion in ions])
    size = np.array([SIZES[str(ion)] for ion in ions])
    p = directions((shots, len(ions)), rng) * size[:, None]
    p -= (p.sum(axis=1, keepdims=True) - rng.normal(size=(shots, 1, 3)) * SIGMA) * (
        mass / mass.sum()
    )[:, None]
    others = directions(which.shape, rng)
    others *= np.array([SIZES[str(kind)] for kind in kinds])[which][..., None]
    momenta = np.concatenate([p, others], axis=1)
    all_mass = np.concatenate(
        [np.tile(mass, (shots, 1)), np.array([kind.mass for kind in kinds])[which]], axis=1
    )
    t = flight_time(momenta[..., 2], np.ones_like(all_mass), all_mass, setup.spectrometer.regions)
    jet = setup.jet.velocity_m_per_s * 1e-6
    x = momenta[..., 0] / all_mass * ATOMIC_VELOCITY_MM_NS * t
    y = (momenta[..., 1] / all_mass * ATOMIC_VELOCITY_MM_NS + jet) * t
    order = np.argsort(rng.random(t.shape), axis=1)
    x, y, t = (np.take_along_axis(values, order, axis=1).ravel() for values in (x, y, t))
    counts = np.full(shots, per_shot)
    return Hits(0, offsets_of(counts), x, y, t, np.zeros(len(t), np.int16))


class Baseline:
    """What a baseline needs: windows, masses and accelerations of the kinds in one region."""

    def __init__(self, channel: Channel, setup: Setup) -> None:
        search = Search(channel, setup)
        (region,) = setup.spectrometer.regions
        self.kinds = [(parse_ion(entry.ion), entry.wanted) for entry in channel.ions]
        self.windows = [search.windows[entry.ion] for entry in channel.ions]
        self.length = region.length_mm
        self.field = region.field_v_per_cm
        self.jet = setup.jet.velocity_m_per_s * 1e-6

    def momenta(self, hits: Hits) -> tuple[np.ndarray, np.ndarray]:
        """(kinds, hits, 3) momentum of each hit as each ion; (kinds, hits) whether it can be."""
        p = np.empty((len(self.kinds), hits.n_hits, 3))
        able = np.empty((len(self.kinds), hits.n_hits), np.bool_)
        for row, ((ion, _), (first, last)) in enumerate(zip(self.kinds, self.windows, strict=True)):
            scale = ion.mass / ATOMIC_VELOCITY_MM_NS
            # 1 V/cm accelerates a charge e on m_e by 0.0175882 mm/ns^2
            acceleration = 0.01758820 * self.field * ion.charge / ion.mass
            p[row, :, 0] = scale * hits.x_mm / hits.t_ns
            p[row, :, 1] = scale * (hits.y_mm / hits.t_ns - self.jet)
            p[row, :, 2] = scale * (self.length / hits.t_ns - 0.5 * acceleration * hits.t_ns)
            able[row] = (hits.t_ns >= first) & (hits.t_ns <= last)
            able[row] &= np.einsum("ij,ij->i", p[row], p[row]) <= MAX_MOMENTUM**2
        return p, able


def with_numpy(base: Baseline, hits: Hits, gate: SumGate, block: int) -> tuple[int, int]:
    """Combinations in the gate and shots with one, by joins of whole columns of many shots."""
    in_gate, with_one = 0, 0
    for start in range(0, hits.n_shots, block):
        part = hits.shots(start, min(start + block, hits.n_shots))
        p, able = base.momenta(part)
        shot_of = np.repeat(np.arange(part.n_shots), part.counts)
        shots, total, used, previous = None, None, [], None
        for row, (_, wanted) in enumerate(base.kinds):
            mine = np.flatnonzero(able[row])
            counts = np.bincount(shot_of[mine], minlength=part.n_shots)
            offsets = offsets_of(counts)
            for nth in range(wanted):
                if shots is None:
                    shots, total = shot_of[mine], p[row, mine]
                    used, previous = [mine], np.arange(len(mine))
                    continue
                # like ions in ascending order: only hits behind the previous one
                first = previous + 1 if nth else offsets[shots]
                number = offsets[shots + 1] - first
                rows = np.repeat(np.arange(len(shots)), number)
                place = np.arange(len(rows)) - np.repeat(np.cumsum(number) - number, number)
                previous = first[rows] + place
                hit = mine[previous]
                fresh = np.ones(len(rows), np.bool_)
                for column in used:
                    fresh &= column[rows] != hit
                rows, hit, previous = rows[fresh], hit[fresh], previous[fresh]
                shots, total = shots[rows], total[rows] + p[row, hit]
                used = [*(column[rows] for column in used), hit]
        apart = np.abs(total - gate.centre)
        inside = np.flatnonzero((apart <= gate.half_width).all(axis=1))
        chi_square = ((apart[inside] / gate.deviation) ** 2).sum(axis=1)
        best = inside[np.lexsort((chi_square, shots[inside]))]
        in_gate += len(inside)
        with_one += len(np.unique(shots[best]))
    return in_gate, with_one


@numba.njit(cache=True)
def loops(  # noqa: C901, PLR0912, PLR0915  # one compiled loop
    offsets: np.ndarray,
    p: np.ndarray,
    able: np.ndarray,
    kind_of: np.ndarray,
    centre: np.ndarray,
    half: np.ndarray,
    sigma: np.ndarray,
    best: np.ndarray,
) -> tuple[int, int]:
    """Combinations in the gate and shots with one; `best` (shots, ions) the hits of the best."""
    ions = len(kind_of)
    kinds = able.shape[0]
    most = 0
    for shot in range(len(offsets) - 1):
        most = max(most, offsets[shot + 1] - offsets[shot])
    members = np.empty((kinds, most), np.int64)
    q = np.empty((kinds, most, 3))
    count = np.empty(kinds, np.int64)
    largest = np.empty(kinds)
    reach = np.empty(ions + 1)
    choice = np.empty(ions, np.int64)
    hits = np.empty(ions, np.int64)
    sums = np.zeros((ions + 1, 3))
    in_gate, with_one = 0, 0
    for shot in range(len(offsets) - 1):
        enough = True
        for kind in range(kinds):
            n = 0
            largest[kind] = 0.0
            for hit in range(offsets[shot], offsets[shot + 1]):
                if able[kind, hit]:
                    members[kind, n] = hit
                    squared = 0.0
                    for axis in range(3):
                        q[kind, n, axis] = p[kind, hit, axis]
                        squared += p[kind, hit, axis] ** 2
                    largest[kind] = max(largest[kind], squared)
                    n += 1
            largest[kind] = np.sqrt(largest[kind])
            count[kind] = n
        for kind in range(kinds):
            wanted = 0
            for column in range(ions):
                wanted += kind_of[column] == kind
            enough = enough and count[kind] >= wanted
        if not enough:
            continue
        reach[ions] = 0.0
        for column in range(ions - 1, -1, -1):
            reach[column] = reach[column + 1] + largest[kind_of[column]]
        found = 0
        least = 1e300
        column = 0
        choice[0] = -1
        last = ions - 1
        while column >= 0:
            kind = kind_of[column]
            if column == last:
                x = sums[column, 0] - centre[0]
                y = sums[column, 1] - centre[1]
                z = sums[column, 2] - centre[2]
                for i in range(choice[column] + 1, count[kind]):
                    dx = x + q[kind, i, 0]
                    dy = y + q[kind, i, 1]
                    dz = z + q[kind, i, 2]
                    if abs(dx) > half[0] or abs(dy) > half[1] or abs(dz) > half[2]:
                        continue
                    taken = False
                    for earlier in range(column):
                        taken |= hits[earlier] == members[kind, i]
                    if taken:
                        continue
                    found += 1
                    chi = (dx / sigma[0]) ** 2 + (dy / sigma[1]) ** 2 + (dz / sigma[2]) ** 2
                    if chi < least:
                        least = chi
                        hits[column] = members[kind, i]
                        best[shot] = hits
                column -= 1
                continue
            choice[column] += 1
            i = choice[column]
            if i >= count[kind]:
                column -= 1
                continue
            taken = False
            for earlier in range(column):
                taken |= hits[earlier] == members[kind, i]
            if taken:
                continue
            outside = False
            for axis in range(3):
                sums[column + 1, axis] = sums[column, axis] + q[kind, i, axis]
                outside |= (
                    abs(sums[column + 1, axis] - centre[axis]) > reach[column + 1] + half[axis]
                )
            if outside:
                continue
            hits[column] = members[kind, i]
            column += 1
            choice[column] = choice[column - 1] if kind_of[column] == kind else -1
        in_gate += found
        with_one += found > 0
    return in_gate, with_one


def with_numba(base: Baseline, hits: Hits, gate: SumGate) -> tuple[int, int]:
    """Combinations in the gate and shots with one, by compiled loops over the hits of each shot."""
    p, able = base.momenta(hits)
    kind_of = np.repeat(np.arange(len(base.kinds)), [wanted for _, wanted in base.kinds])
    best = np.empty((hits.n_shots, len(kind_of)), np.int64)
    return loops(hits.offsets, p, able, kind_of, gate.centre, gate.half_width, gate.deviation, best)


def processor_time(work: Callable[[], object], repeats: int) -> list[float]:
    """Processor seconds of each run after one that is not counted."""
    work()
    runs = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        runs.append(time.process_time() - start)
    return runs


def measure(name: str, shots: int, repeats: int) -> None:
    """One case: the search against both baselines."""
    ions, per_shot, bar = CASES[name]
    setup, channel = default_setup(), channel_of(ions)
    kinds = [parse_ion(ion) for ion, _ in ions]
    hits = make_hits(channel.wanted_ions, kinds, shots, per_shot, setup)
    gate = SumGate(np.zeros(3), 3.0 * SIGMA, SIGMA)
    search, base = Search(channel, setup), Baseline(channel, setup)
    every = search.solve(hits, Tally(), gate, every=True)
    tally = Tally()
    places = search.find(hits, tally, gate)[0]
    ours = len(every), len(np.unique(places))
    few = hits.shots(0, max(shots // 50, 20))
    block = 5000 if len(channel.wanted_ions) < 5 else 2
    counts = {
        "numba": with_numba(base, hits, gate),
        "numpy": with_numpy(base, few, gate, block),
    }
    of_few = every.shot < few.n_shots
    expected = {"numba": ours, "numpy": (int(of_few.sum()), len(np.unique(every.shot[of_few])))}
    if counts != expected:
        raise AssertionError((counts, expected))
    runs = processor_time(lambda: search.find(hits, Tally(), gate), repeats)
    loop_runs = processor_time(lambda: with_numba(base, hits, gate), repeats)
    scaled = shots / few.n_shots
    numpy_runs = [
        run * scaled for run in processor_time(lambda: with_numpy(base, few, gate, block), 3)
    ]
    middle, loop, joins = (statistics.median(r) for r in (runs, loop_runs, numpy_runs))
    store(
        f"search_speed_{per_shot}_hits",
        f"How many shots per second does the search go through ({name} a shot)?",
        runs,
        amount=shots,
        unit="shots",
        sizes={
            "shots": shots,
            "hits_per_shot": per_shot,
            "combinations_per_shot": round(tally.combinations / shots, 1),
            "combinations_in_the_gate": ours[0],
            "coincidences": tally.found,
            "seed": SEED,
        },
        baseline=("loops over the hits of a shot, numba", loop_runs),
        notes=f"processor time on one core; the bar is {bar:.0f} shots/s; ratio to numba "
        f"{loop / middle:.2f} (bar 1), to joins of columns in numpy {joins / middle:.1f} (bar 5); "
        f"same combinations in the gate and same shots with one; load average "
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=0, help="of each case; default by case")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    for case, (_, hits_per_shot, _) in CASES.items():
        measure(case, given.shots or (200_000 if hits_per_shot < 10 else 4000), given.runs)
