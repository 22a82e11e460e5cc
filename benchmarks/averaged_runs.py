"""Are the error bars of bond lengths right for means over vibrating molecules?

    python benchmarks/averaged_runs.py --weights W --device cuda:0 --workers 12 --out averaged.json

Virtual runs, each with another molecule that the weights were not trained on, another pulse and
other random numbers: a vibrating molecule at rest explodes by the Monte-Carlo model, every event is
turned at random, momenta get errors of 1 %, like ions come in any order, and `molexa align` and
`molexa centroid` average them in frames of every event. The weights are told the experiment. Beside
them OCS, formaldehyde, methanol, water and ethanol, each in pulses of its own, and in explosions of
point charges whose charges rise within 45 fs, as in the virtual runs of `molexa demo`.

Printed: share of bond lengths inside their 68 % interval, share beyond four half-widths, bias of
each bond of the five. The lengths that count as true are those of the geometry about which the
molecule vibrates; `mean` are those of all geometries that exploded. With `--posterior` the
structure is that of `molexa reconstruct`, the samples as its starts. `--frames` takes the same runs
in several ways: `chain`; `known`: like ions keep their numbers, and events are turned by two ions
that are the same in every event, as in the training (what is left then is not the work of the
frame); `event`: event by event, `molexa align --like equivalent`. Each run is a line of ROWS.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import MolexaError
from molexa_core.base.known_explosion import ClassicalExplosion, Kind
from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import Coincidences, FloatArray, Geometry, IntArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.geometry.bonds import bonds
from molexa_core.geometry.measures import pair_distances
from molexa_core.geometry.superposition import superpose
from molexa_core.network.inference.engine import Engine
from molexa_core.network.weights import load_network
from molexa_core.physics.coulomb.batches import explode_many
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.mcmd.gpu.launch import batches, device_index
from molexa_core.physics.mcmd.mixed_job import run_mixed_on_cpu
from molexa_core.physics.mcmd.photon_tables import PhotonTables, pack_photon_tables
from molexa_core.physics.molecules.library import molecule
from molexa_core.physics.molecules.vibrations import sample_ground_state
from molexa_core.pipeline.chain.align import align
from molexa_core.pipeline.chain.centroid import centroid
from molexa_core.pipeline.datasets.family_draws import (
    DrawnGeometries,
    draw_settings,
    molecule_number,
)
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.calibration_run import population_of
from molexa_core.pipeline.evaluation.known_explosions import told_kind
from molexa_core.pipeline.reconstruction.by_told import errors_of_means
from molexa_core.pipeline.reconstruction.momenta_input import read_columns
from molexa_core.pipeline.reconstruction.reconstruct import reconstruct
from molexa_core.pipeline.reconstruction.told_samples import ToldEntry, sample
from molexa_core.pipeline.training.event_frames import axes, turned, usual_ions
from molexa_core.pipeline.training.xray_pairs import assembled

FIVE: Final = ("ocs", "formaldehyde", "methanol", "water", "ethanol")
MOST_EVENTS: Final = 2000
LEAST_EVENTS: Final = 200
LEAST_SHARE: Final = 0.03
"""Settings in which hardly any molecule could lose an electron from every atom are drawn anew."""
RESOLUTION: Final = 0.01
"""Error of a momentum component, share of the rms momentum."""
SAMPLES: Final = 64
TAU_FS: Final = 45.0
ROUNDS: Final = 12
AT_ONCE: Final = 2**20
"""Explosions of one launch."""
SEED: Final = 90_260_000
WAYS: Final = {
    "chain": "samples",
    "known": "samples, frames of the training",
    "event": "samples, frames event by event",
}
FRAMES: Final = tuple(WAYS)


@dataclass(frozen=True)
class Run:
    """Coincidences of one vibrating molecule.

    Attributes:
        group: `others`, or the name of the molecule and the kind of explosion.
        name: of the molecule.
        ions: (N).
        momenta: (n, N, 3) a.u., molecules not turned.
        rest: (N, 3) bohr, geometry about which the molecule vibrates.
        mean: (pairs) mean distances of the geometries that exploded, bohr.
        told: what is known of the explosion.
        seed: of the orientations and errors.
    """

    group: str
    name: str
    ions: tuple[Ion, ...]
    momenta: FloatArray
    rest: FloatArray
    mean: FloatArray
    told: Kind | None
    seed: int


@dataclass(frozen=True)
class Averaged:
    """Mean momenta of a run as `molexa centroid` gives them, with what `molexa align` says."""

    ions: tuple[Ion, ...]
    momenta: FloatArray
    errors: FloatArray
    events: int
    table: Any
    align: dict[str, Any] | None = None


def alike_combination(numbers: IntArray, charges: IntArray, least: int) -> IntArray | None:
    """Rows of the most frequent combination in which like atoms have the same charge."""
    full = (charges > 0).all(axis=1)
    for number in np.unique(numbers):
        of = charges[:, numbers == number]
        full &= (of == of[:, :1]).all(axis=1)
    if not full.any():
        return None
    rows = np.flatnonzero(full)
    _, place, counts = np.unique(charges[rows], axis=0, return_inverse=True, return_counts=True)
    if counts.max() < least:
        return None
    return rows[place.reshape(-1) == counts.argmax()][:MOST_EVENTS]


def xray_runs(
    names: Sequence[tuple[str, str]],
    tables: PhotonTables,
    population: Any,
    *,
    device: str,
    trajectories: int,
    least: int,
    seed: int,
) -> list[Run]:
    """A run of each molecule (group, name) in a pulse of its own."""
    found: list[Run] = []
    by_size: dict[int, list[int]] = {}
    for row, (_, name) in enumerate(names):
        by_size.setdefault(len(molecule(name).geometry), []).append(row)
    for atoms, rows in sorted(by_size.items()):
        todo = list(rows)
        for round_ in range(ROUNDS):
            left: list[int] = []
            many = max(1, AT_ONCE // trajectories)
            for first in range(0, len(todo), many):
                part = todo[first : first + many]
                random = np.random.default_rng([seed, atoms, round_, first])
                chosen = [names[row] for row in part]
                made = _exploded(chosen, tables, population, random, device, trajectories, least)
                found += [one for one in made if one is not None]
                left += [row for row, one in zip(part, made, strict=True) if one is None]
            todo = left
            if not todo:
                break
    return found


def _exploded(
    chosen: Sequence[tuple[str, str]],
    tables: PhotonTables,
    population: Any,
    random: np.random.Generator,
    device: str,
    trajectories: int,
    least: int,
) -> list[Run | None]:
    geometries = [molecule(name).geometry for _, name in chosen]
    numbers = np.array([_numbers(one) for one in geometries])
    positions = np.array([one.positions - one.positions.mean(axis=0) for one in geometries])
    settings = draw_settings(random, numbers, tables, population.box, least_share=LEAST_SHARE)
    drawn = DrawnGeometries(
        numbers, positions, np.array([molecule_number(name) for _, name in chosen])
    )
    # Longest pulses come first in a block: the order is undone by the settings.
    order = np.argsort(-settings.columns[:, 2], kind="stable")
    block = assembled(
        drawn,
        settings,
        tables,
        random,
        trajectories=trajectories,
        vibrates=True,
        number=0,
        seed=int(random.integers(2**62)),
    )
    charges, momenta, lost = _followed(block.job, tables, device)
    n = numbers.shape[1]
    charges, lost = charges.reshape(len(chosen), -1, n), lost.reshape(len(chosen), -1)
    momenta = momenta.reshape(len(chosen), -1, n, 3)
    moved = block.job.positions.reshape(len(chosen), -1, n, 3)
    result: list[Run | None] = [None] * len(chosen)
    for place, row in enumerate(order):
        kept = np.flatnonzero(~lost[place])
        rows = alike_combination(numbers[row], charges[place][kept], least)
        if rows is None:
            continue
        events = kept[rows]
        symbols = geometries[row].symbols
        ions = tuple(
            parse_ion(f"{symbol}{int(q)}+")
            for symbol, q in zip(symbols, charges[place][events[0]], strict=True)
        )
        group, name = chosen[row]
        each = trajectories // moved.shape[1]
        result[row] = Run(
            group=group,
            name=name,
            ions=ions,
            momenta=momenta[place][events].astype(np.float64),
            rest=positions[row],
            mean=pair_distances(moved[place][events // each]).mean(axis=0),
            told=told_kind(block.settings[place], "everything"),
            seed=int(random.integers(2**31)),
        )
    return result


def _followed(
    job: Any, tables: PhotonTables, device: str
) -> tuple[IntArray, FloatArray, np.ndarray]:
    job = replace(job, tables=tables)
    index = device_index(device)
    if index is None:
        run = run_mixed_on_cpu(job, workers=1)
        return run.charges, run.momenta, run.lost
    parts = [
        (one.charges.cpu().numpy(), one.momenta.cpu().numpy(), one.lost.cpu().numpy())
        for one in batches(job, index, whole_geometries=True)
    ]
    n = job.positions.shape[1]
    return (
        np.concatenate([one.reshape(-1, n) for one, _, _ in parts]),
        np.concatenate([one.reshape(-1, n, 3) for _, one, _ in parts]),
        np.concatenate([one.reshape(-1) for _, _, one in parts]),
    )


def _numbers(geometry: Geometry) -> list[int]:
    by_symbol = {one.symbol: number for number, one in BY_NUMBER.items()}
    return [by_symbol[symbol] for symbol in geometry.symbols]


def classical_run(name: str, seed: int) -> Run:
    """A run of singly charged point charges whose charges rise within `TAU_FS`."""
    random = np.random.default_rng([seed, 45])
    known = molecule(name)
    modes = known.modes()
    if modes is None:
        raise AssertionError(name)
    rest = known.geometry.positions - known.geometry.positions.mean(axis=0)
    x = sample_ground_state(rest, modes.stiffened(), MOST_EVENTS, random)
    momenta = explode_many(
        x, np.ones(len(rest)), known.masses, build_up=ErrorFunctionRise(TAU_FS), strict=False
    )
    good = np.isfinite(momenta).all(axis=(1, 2))
    return Run(
        group=f"{name}, point charges",
        name=name,
        ions=tuple(parse_ion(f"{symbol}+") for symbol in known.geometry.symbols),
        momenta=momenta[good],
        rest=rest,
        mean=pair_distances(x[good]).mean(axis=0),
        told=ClassicalExplosion(Uncertain(TAU_FS)),
        seed=seed,
    )


def averaged(run: Run, *, frames: str = "chain") -> Averaged | str:
    """The mean momenta of a run; or why there are none.

    Args:
        run: the events.
        frames: one of `FRAMES`.
    """
    random = np.random.default_rng([run.seed, 7])
    momenta = run.momenta + RESOLUTION * np.sqrt((run.momenta**2).mean()) * random.standard_normal(
        run.momenta.shape
    )
    if frames == "known":
        return _as_in_the_training(run, momenta - momenta.mean(axis=1, keepdims=True))
    turns = Rotation.random(len(momenta), rng=random).as_matrix()
    momenta = np.einsum("exy,eny->enx", turns, momenta)
    for ion in set(run.ions):  # a detector does not number like ions
        of = [n for n, one in enumerate(run.ions) if one == ion]
        order = np.argsort(random.random((len(momenta), len(of))), axis=1)
        momenta[:, of] = np.take_along_axis(momenta[:, of], order[..., None], axis=1)
    try:
        events = Coincidences.of(run.ions, momenta)
        aligned = align(events, like="equivalent" if frames == "event" else None)
        table = centroid(aligned.table)
        ions, mean, errors = read_columns(table)
    except MolexaError as error:
        return str(error)
    if errors is None or (error := errors_of_means(table, errors)) is None:
        return "no errors"
    told = {name: aligned.summary.get(name) for name in ("second", "assignment", "frame_quality")}
    told["reference"] = aligned.frame["reference"]
    return Averaged(tuple(ions), mean, error, len(momenta), table, told)


def _as_in_the_training(run: Run, momenta: FloatArray) -> Averaged:
    """Means in frames of two ions that are the same in every event."""
    p = torch.from_numpy(momenta)
    numbers = torch.tensor([[ion.element.number for ion in run.ions]])
    reference, second = usual_ions(numbers, p.mean(0, keepdim=True))
    events = len(p)
    own = turned(p, axes(p, reference.expand(events), second.expand(events)))
    error = (own.var(0).mean(-1) / events).sqrt()
    return Averaged(run.ions, own.mean(0).numpy(), error.numpy(), events, None)


def judged(run: Run, symbols: Sequence[str], lengths: FloatArray, middle: FloatArray) -> list[Any]:
    """Rows of the bonds: true and claimed lengths in bohr.

    Args:
        run: the truth.
        symbols: of the answer.
        lengths: (3, pairs) low, median and high of each distance of the answer.
        middle: (N, 3) the structure.
    """
    truth = [ion.element.symbol for ion in run.ions]
    fitted = superpose(middle, run.rest, symbols, symbols_b=truth, allow_mirror=True)
    n = len(truth)
    pair = np.zeros((n, n), dtype=int)
    pair[np.triu_indices(n, 1)] = np.arange(n * (n - 1) // 2)
    pair += pair.T
    rest = pair_distances(run.rest[None])[0]
    joined = {frozenset(one) for one in bonds(Geometry(tuple(truth), run.rest))}
    rows = []
    for i in range(n):
        for j in range(i + 1, n):
            a, b = int(fitted.assignment[i]), int(fitted.assignment[j])
            if frozenset((a, b)) not in joined:
                continue
            low, median, high = lengths[:, pair[i, j]]
            rows.append(
                {
                    "bond": "-".join(sorted((truth[a], truth[b]))),
                    "atoms": sorted((a, b)),
                    "true": float(rest[pair[a, b]]),
                    "mean": float(run.mean[pair[a, b]]),
                    "median": float(median),
                    "low": float(low),
                    "high": float(high),
                }
            )
    return rows


def by_samples(runs: Sequence[tuple[Run, Averaged]], engine: Engine, seed: int) -> list[list[Any]]:
    """Rows of each run from samples of the network."""
    drawn = sample(
        engine,
        [ToldEntry(a.ions, a.momenta, "mean", float(a.events), a.errors) for _, a in runs],
        [run.told for run, _ in runs],
        SAMPLES,
        seed,
    )
    found = []
    for (run, one), samples in zip(runs, drawn, strict=True):
        distances = pair_distances(samples)
        ends = np.quantile(distances, [0.15865, 0.5, 0.84135], axis=0)
        middle = samples[int(np.square(distances - ends[1]).sum(axis=1).argmin())]
        found.append(judged(run, [ion.element.symbol for ion in one.ions], ends, middle))
    return found


class Lines:
    """A file of lines, one for each run as it comes; nothing where there is no file."""

    def __init__(self, path: Path | None) -> None:
        self._stream = None if path is None else path.open("w", encoding="utf-8")

    def __call__(
        self, way: str, number: int, run: Run, rows: list[Any] | str, align: Any = None
    ) -> None:
        """Write one."""
        if self._stream is not None:
            line = {"way": way, "run": number, "group": run.group, "molecule": run.name}
            line["align"] = align
            line["ions"] = [str(one) for one in run.ions]
            self._stream.write(json.dumps({**line, "rows": rows}) + "\n")
            self._stream.flush()


_LOADED: dict[str, Any] = {}


def by_posterior(task: tuple[int, Run, Averaged, str]) -> tuple[int, list[Any] | str]:
    """Rows of a run, by its number, from `molexa reconstruct`; or why it gives no error bars."""
    number, run, one, name = task
    torch.set_num_threads(1)
    if name not in _LOADED:
        _LOADED[name] = load_network(name, "cpu")
    try:
        record = reconstruct(
            one.table,
            options=ReconstructOptions(seed=run.seed),
            network=_LOADED[name],
            explosion=Explosion.of(run.told),
        )
    except MolexaError as error:
        return number, str(error)
    if record.uncertainty_reason is not None:
        return number, record.uncertainty_reason
    keys = ("low", "median", "high")
    ends = np.array([[row[key] for row in record.distances] for key in keys])
    return number, judged(run, record.symbols, ends, record.positions_bohr)


def summary(rows: Iterable[dict[str, Any]], seed: int = 0) -> dict[str, float]:
    """Coverage, share beyond four half-widths and errors of bonds; runs resampled for the error."""
    every = list(rows)
    if not every:
        return {"bonds": 0}
    true, low, median, high = (
        np.array([row[key] for row in every]) for key in ("true", "low", "median", "high")
    )
    inside = (low < true) & (true < high)
    half = 0.5 * (high - low)
    pull = np.abs(median - true) / np.maximum(half, 1e-9)
    owner = np.unique([row["run"] for row in every], return_inverse=True)[1]
    random = np.random.default_rng(seed)
    count = int(owner.max()) + 1
    times = random.multinomial(count, np.full(count, 1 / count), 400)
    weight = times[:, owner]
    resampled = (weight @ inside) / np.maximum(weight.sum(axis=1), 1)
    return {
        "bonds": len(every),
        "runs": count,
        "inside_68": float(inside.mean()),
        "inside_68_low": float(np.quantile(resampled, 0.025)),
        "inside_68_high": float(np.quantile(resampled, 0.975)),
        "beyond_4": float((pull > 4.0).mean()),
        "ratio": float(np.sqrt(np.mean((median - true) ** 2) / np.mean(half**2))),
        "mean_error_angstrom": float(np.abs(median - true).mean() * BOHR_ANGSTROM),
        "median_error_angstrom": float(np.median(np.abs(median - true)) * BOHR_ANGSTROM),
        "half_width_angstrom": float(half.mean() * BOHR_ANGSTROM),
    }


def biases(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each bond of one molecule: mean error over runs, its own error, mean half-width."""
    by_bond: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row in rows:
        by_bond.setdefault(tuple(row["atoms"]), []).append(row)
    found = []
    for atoms, some in sorted(by_bond.items()):
        off = np.array([row["median"] - row["true"] for row in some]) * BOHR_ANGSTROM
        half = np.array([row["high"] - row["low"] for row in some]) * 0.5 * BOHR_ANGSTROM
        found.append(
            {
                "bond": some[0]["bond"],
                "atoms": list(atoms),
                "runs": len(some),
                "bias_angstrom": float(off.mean()),
                "error_of_bias": float(off.std(ddof=1) / math.sqrt(len(off)))
                if len(off) > 1
                else None,
                "half_width_angstrom": float(half.mean()),
            }
        )
    return found


def names_of_runs(held: Sequence[str], runs: int, each: int, seed: int) -> list[tuple[str, str]]:
    """Groups and molecules: those held out in turn, then the five."""
    random = np.random.default_rng(seed)
    usable = [name for name in sorted(held) if molecule(name).modes() is not None]
    usable = [name for name in usable if len(molecule(name).geometry) <= 9]
    order = [usable[n] for n in random.permutation(len(usable))]
    found = [("others", order[n % len(order)]) for n in range(runs)]
    return found + [(f"{name}, X-rays", name) for name in FIVE for _ in range(each)]


def posteriors(
    pool: Any,
    runs: Sequence[tuple[Run, Averaged]],
    chosen: Sequence[int],
    weights: str,
    end: float,
    lines: Lines,
) -> dict[str, Any]:
    """Summaries of those that `molexa reconstruct` could answer until a time, in random order."""
    order = np.random.default_rng(SEED).permutation(chosen).tolist()
    found = pool.imap_unordered(by_posterior, [(n, *runs[n], weights) for n in order], chunksize=1)
    answers: dict[int, list[Any]] = {}
    refused: list[str] = []
    for _ in order:
        try:
            number, one = found.next(end - time.perf_counter())
        except multiprocessing.TimeoutError:
            break
        if isinstance(one, str):
            refused.append(one)
        else:
            answers[number] = one
        lines("posterior", number, runs[number][0], one)
    result = _shown("posterior", answers, runs)
    print(f"posterior without error bars: {len(refused)} runs")
    for text in sorted({one.split("(")[0] for one in refused}):
        print(f"  {sum(one.startswith(text) for one in refused)}: {text}")
    return result | {"without error bars": refused}


def main() -> None:
    """Print the table and store the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="weights that are told the experiment")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--each", type=int, default=20, help="runs of each of the five")
    parser.add_argument("--trajectories", type=int, default=65_536, help="explosions of a run")
    parser.add_argument("--least", type=int, default=LEAST_EVENTS, help="fewest coincidences")
    parser.add_argument("--posterior", action="store_true", help="also by `molexa reconstruct`")
    parser.add_argument("--largest-posterior", type=int, default=6, help="its largest molecule")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", nargs="+", choices=FRAMES, default=["chain"])
    parser.add_argument("--rows", type=Path, help="file of lines for the runs as they come")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.perf_counter()
    device = take_device(given.device)
    network, card = load_network(given.weights, device)
    population = population_of(card)
    held = population.held_out
    if held is None:
        held = frozenset(name for n in range(2, 10) for name in population.names(n, held_out=True))
    tables = pack_photon_tables()
    names = names_of_runs(sorted(held), given.runs, given.each, SEED)
    runs = xray_runs(
        names,
        tables,
        population,
        device=device,
        trajectories=given.trajectories,
        least=given.least,
        seed=SEED,
    )
    runs += [
        classical_run(name, 100 * n + k) for n, name in enumerate(FIVE) for k in range(given.each)
    ]
    print(f"{len(runs)} runs exploded in {time.perf_counter() - begun:.0f} s", flush=True)
    result: dict[str, Any] = {"weights": card.name, "files": card.files, "seed": SEED}
    result |= {"trajectories": given.trajectories, "asked": len(names) + given.each * len(FIVE)}
    lines = Lines(given.rows)
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        for frames in given.frames:
            means = pool.map(partial(averaged, frames=frames), runs, chunksize=1)
            good = [
                (run, one)
                for run, one in zip(runs, means, strict=True)
                if isinstance(one, Averaged)
            ]
            print(f"{frames}: {len(good)} averaged after {time.perf_counter() - begun:.0f} s")
            failed = [one for one in means if isinstance(one, str)]
            drawn = by_samples(good, Engine(network), SEED)
            for number, some in enumerate(drawn):
                lines(frames, number, good[number][0], some, good[number][1].align)
            shown = _shown(frames, dict(enumerate(drawn)), good)
            result[WAYS[frames]] = shown | {"averaging failed": failed}
            if given.posterior and frames == "chain":
                end = begun + given.seconds
                few = [
                    n for n, one in enumerate(good) if len(one[0].ions) <= given.largest_posterior
                ]
                result["posterior"] = posteriors(pool, good, few, given.weights, end, lines)
            if given.out is not None:
                given.out.write_text(json.dumps(result) + "\n", encoding="utf-8")
    print(f"{time.perf_counter() - begun:.0f} s")


def _shown(
    way: str, found: dict[int, list[Any]], runs: Sequence[tuple[Run, Averaged]]
) -> dict[str, Any]:
    """Summaries by group of runs, printed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, some in sorted(found.items()):
        run = runs[number][0]
        added = [{**row, "run": number, "molecule": run.name} for row in some]
        rows.setdefault(run.group, []).extend(added)
    groups = {group: summary(some) for group, some in rows.items()}
    known = {group: biases(some) for group, some in rows.items() if group != "others"}
    _print(way, groups, known)
    return {"groups": groups, "bias": known, "rows": rows}


def _print(way: str, groups: dict[str, Any], known: dict[str, Any]) -> None:
    for group, one in groups.items():
        if one["bonds"]:
            print(
                f"{way:9} {group:30} {one['runs']:4d} runs {one['bonds']:5d} bonds: "
                f"{100 * one['inside_68']:.0f} % inside "
                f"[{100 * one['inside_68_low']:.0f}, {100 * one['inside_68_high']:.0f}], beyond 4 "
                f"{100 * one['beyond_4']:.1f} %, ratio {one['ratio']:.2f}, mean error "
                f"{one['mean_error_angstrom']:.3f} A, half-width {one['half_width_angstrom']:.3f} A"
            )
    for group, some in known.items():
        text = ", ".join(
            f"{one['bond']} {one['bias_angstrom']:+.3f} (claimed {one['half_width_angstrom']:.3f})"
            for one in some
        )
        print(f"{way:9} {group}: bias {text}", flush=True)


if __name__ == "__main__":
    main()
