"""What should be believed about a geometry before its momenta are looked at?

    python benchmarks/geometry_priors.py --workers 20 --out geometry_priors.jsonl.gz
    python benchmarks/geometry_priors.py --tables geometry_priors.jsonl.gz

Two sets of explosions by the Monte-Carlo model, none of a molecule that any training had:
`displaced`, molecules of the measurement split in stretched and displaced geometries, in the pulse
A, told exactly, with a duration that is 30 % short, or nothing; and `written`, the isomers,
stretched and bent molecules of `unknown_to_training.py` in its pulses, told within 10 %. Each
answer is drawn once, with all bonds alike, and stored with the samples of the network (`--counted`:
these count, as in `reconstruct`). Draws are
weighed anew for every other belief, which costs nothing: bonds as often as in the library to a
power, and shares of solutions drawn towards those of the samples. Printed: error of the median
distances, of the mean of eight samples, error over claim, and how often the truth is inside.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from posterior_start import TELLINGS, told
from unknown_to_training import MOLECULES, PULSES, measured, placed
from unknown_to_training import told as roughly

from molexa_core.base.errors import MolexaError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.matter.elements import sum_formula
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.geometry.measures import pair_distances
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.told import sample
from molexa_core.network.weights import load_network
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.molecules.library import molecules
from molexa_core.pipeline.datasets.measurement_split import measured_molecules
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.calibration_run import population_of
from molexa_core.pipeline.evaluation.known_explosions import LEARNED, family_explosions
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.explosions.told_inputs import told_of
from molexa_core.pipeline.inversion.bond_weights import ATOMS, BondWeights, bonds_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import infer
from molexa_core.pipeline.inversion.residuals import MeasuredChannel
from molexa_core.pipeline.inversion.sample_shares import with_samples
from molexa_core.pipeline.inversion.weighted_draws import summary
from molexa_core.pipeline.reconstruction.from_posterior import unreliable

SAMPLES: Final = 64
STARTS: Final = 16
MEAN_OF: Final = 8
DRAWS: Final = 1500
KEPT: Final = 100
"""Draws of a solution that are stored."""
LEAST: Final = 1e-3
BELIEFS: Final = (
    (0.0, None), (0.25, None), (0.5, None), (1.0, None), (0.0, 64.0), (0.0, 16.0), (0.0, 8.0),
    (0.5, 64.0), (0.5, 32.0), (0.5, 16.0), (0.5, 8.0),
)  # fmt: skip
"""Powers of the weights in the library, and numbers that samples count against."""


class Case(NamedTuple):
    """One explosion, and what is told of it."""

    set_name: str
    name: str
    symbols: tuple[str, ...]
    charges: FloatArray
    masses: FloatArray
    momenta: FloatArray
    errors: FloatArray
    positions: FloatArray
    kind: XrayExplosion
    samples: FloatArray
    seed: int


def displaced_cases(
    engine: Engine, pulse: Pulse, of: Any, each: int, sizes: tuple[int, ...], seed: int
) -> Iterator[Case]:
    """Cases of the set `displaced`, as many of every size."""
    for size in sizes:
        found = family_explosions(
            LEARNED, each, atoms=(size, size), seed=seed, device=str(engine.device), population=of
        )
        for known in found.values():
            for telling in TELLINGS:
                kind = told(pulse, ModelOptions(), telling)
                batch = known.batch(str(engine.device))
                errors = np.sqrt((known.errors**2).mean(axis=2))
                numbers = batch.numbers.cpu()
                stated = told_of(
                    [kind] * len(known), numbers, data="still", errors=torch.from_numpy(errors)
                )
                batch = replace(batch, told=stated.to(str(engine.device)))
                drawn = sample(engine, batch, SAMPLES, seed=3).double().cpu().numpy()
                for row in range(len(known)):
                    ions = known.fragments(row)
                    yield Case(
                        f"displaced {telling}", f"{known.molecule[row]}-{row}", ions.symbols,
                        ions.charges, ions.masses, known.momenta[row], known.errors[row],
                        known.positions[row], kind, drawn[row], seed,
                    )  # fmt: skip


def written_case(task: tuple[str, str]) -> Case | None:
    """A molecule in a pulse, without samples; None where it gives too few of any channel."""
    name, pulse_name = task
    pulse = PULSES[pulse_name]
    table = measured(name, pulse, 4000)
    if table is None:
        return None
    symbols, positions = placed(MOLECULES[name])
    ions = [parse_ion(one) for one in table["ion"]]
    kind = roughly(pulse, "told").told
    if not isinstance(kind, XrayExplosion):
        raise TypeError("an X-ray pulse is told")
    return Case(
        "written", f"{name}, {pulse_name}", symbols,
        np.array([float(one.charge) for one in ions]),
        np.array([one.mass for one in ions]),
        table[["px", "py", "pz"]].to_numpy(float),
        table[["px_err", "py_err", "pz_err"]].to_numpy(float),
        positions, kind, np.empty(0), 1,
    )  # fmt: skip


def sampled(case: Case, engine: Engine) -> Case:
    """The same with samples of the network."""
    from molexa_core.network.inference.answers import reconstruct_structures  # noqa: PLC0415

    ions = [parse_ion(f"{s}{q:.0f}+") for s, q in zip(case.symbols, case.charges, strict=True)]
    errors = torch.from_numpy(np.sqrt((case.errors**2).mean(axis=1)))[None]
    numbers = torch.tensor([[ion.element.number for ion in ions]])
    stated = told_of([case.kind], numbers, data="mean", errors=errors)
    drawn = reconstruct_structures(
        engine, ions, case.momenta, samples=SAMPLES, seed=case.seed, told=stated
    )
    return case._replace(samples=drawn.samples)


def answered(task: tuple[Case, bool]) -> dict[str, Any]:
    """Draws of the posterior with all bonds alike, as they are stored."""
    case, counted = task
    torch.set_num_threads(1)
    began = time.monotonic()
    row: dict[str, Any] = {
        "set": case.set_name, "name": case.name, "symbols": case.symbols,
        "charges": case.charges.tolist(), "counted": counted,
        "true": case.positions.round(4).tolist(), "samples": case.samples.round(3).tolist(),
    }  # fmt: skip
    fragments = Fragments(case.symbols, case.charges, case.masses)
    covariance = np.diag(case.errors.ravel() ** 2)
    samples = case.samples[:STARTS]
    try:
        found = infer(
            [MeasuredChannel(fragments, case.momenta, covariance)],
            knowledge_of(Explosion.of(case.kind), case.symbols),
            geometry=GeometryPrior.of(case.symbols),
            starts=samples - samples.mean(axis=1, keepdims=True),
            samples=case.samples if counted else None,
            draws=DRAWS,
            seed=case.seed,
        )
    except MolexaError as error:
        return row | {"refused": str(error)[:200]}
    rows, weights = _kept(found.mode, found.weights, np.random.default_rng(0))
    return row | {
        "seconds": round(time.monotonic() - began, 1),
        "p_value": found.p_value,
        "effective": found.effective_samples,
        "unreliable": unreliable(found),
        "draws": found.positions[rows].round(3).tolist(),
        "weights": weights.tolist(),
        "mode": found.mode[rows].tolist(),
        "modes": [
            [one.share, one.hypothesis, one.chi_square, one.positions.round(3).tolist()]
            for one in found.modes
            if one.share >= LEAST
        ],
    }


def _kept(
    mode: IntArray, weights: FloatArray, random: np.random.Generator
) -> tuple[IntArray, FloatArray]:
    """Some draws of each solution, and their weights."""
    rows, found = [], []
    for number in np.unique(mode):
        those = np.flatnonzero(mode == number)
        share = float(weights[those].sum())
        if share < LEAST:
            continue
        places = (np.arange(KEPT) + random.random()) / KEPT * share
        chosen = np.searchsorted(np.cumsum(weights[those]), places).clip(max=len(those) - 1)
        kept, counts = np.unique(chosen, return_counts=True)
        rows.append(those[kept])
        found.append(share * counts / KEPT)
    weights = np.concatenate(found)
    return np.concatenate(rows), weights / weights.sum()


@lru_cache(maxsize=1)
def other_bonds() -> BondWeights:
    """Weights of bonds of the library without molecules of the sets that are judged here."""
    written = {sum_formula(placed(rows)[0]) for rows in MOLECULES.values()}
    held = measured_molecules()
    some = [
        one.geometry
        for one in molecules(atoms=ATOMS)
        if one.name not in held and one.formula not in written
    ]
    return bonds_of(some, f"{len(some)} other molecules")


class Answer(NamedTuple):
    """What a belief makes of one row: distances in bohr."""

    median: FloatArray
    half_width: FloatArray
    low: FloatArray
    high: FloatArray


def weighed(row: dict[str, Any], power: float, count: float | None) -> FloatArray:
    """Weights of the draws with bonds to this power, and samples that count against `count`."""
    x, weights = np.array(row["draws"]), np.array(row["weights"])
    symbols = tuple(row["symbols"])
    if power:
        plain = GeometryPrior.of(symbols)
        other = GeometryPrior.of(symbols, bonds=replace(other_bonds(), power=power))
        change = other.log_density(x) - plain.log_density(x)
        weights = weights * np.exp(change - change.max())
        weights = weights / weights.sum()
    if count is None:
        return weights
    return with_samples(x, weights, np.array(row["samples"]), count)


def answer(row: dict[str, Any], weights: FloatArray) -> Answer:
    """Median, half-width and limits of 68 % of the distances."""
    found = summary(pair_distances(np.array(row["draws"])), weights)
    return Answer(found.median, found.half_width, found.low, found.high)


def table(rows: list[dict[str, Any]], name: str, weigh: Callable[..., FloatArray]) -> str:
    """One line: errors, their ratio to those of the network, honesty."""
    network, errors, square, claims, inside, near = [], [], [], [], [], []
    for row in rows:
        true = pair_distances(np.array(row["true"])[None])[0]
        weights = weigh(row)
        found = answer(row, weights)
        mean = pair_distances(np.array(row["samples"])[:MEAN_OF]).mean(axis=0)
        network.append(np.abs(mean - true).mean())
        errors.append(np.abs(found.median - true).mean())
        square.append(((found.median - true) ** 2).mean())
        claims.append((found.half_width**2).mean())
        inside.append(((found.low <= true) & (true <= found.high)).mean())
        away = np.abs(pair_distances(np.array(row["draws"])) - true).max(axis=1)
        near.append(weights[away < 0.2 * true.mean()].sum())
    own = np.mean(network)
    return (
        f"{name:28s} {len(rows):3d}  network {own:.3f} (median {np.median(network):.3f})  "
        f"posterior {np.mean(errors):.3f} ({np.median(errors):.3f})  "
        f"ratio {np.mean(errors) / own:.2f}  error/claim "
        f"{np.sqrt(np.mean(square) / np.mean(claims)):.2f}  inside {np.mean(inside):.2f}  "
        f"half-width {np.sqrt(np.mean(claims)):.2f}  near the truth {np.mean(near):.2f}"
    )


def tables(path: Path) -> None:
    """Print what each belief makes of the stored answers."""
    every: list[dict[str, Any]] = []
    # The file of a measurement that was cut short has no end.
    with gzip.open(path, "rt", encoding="utf-8") as stream, suppress(EOFError):
        every.extend(json.loads(line) for line in stream)
    rows = [one for one in every if "draws" in one and one["unreliable"] is None]
    print(f"{len(every)} answers, {len(rows)} with error bars")
    for name in sorted({one["set"] for one in rows}):
        for size in (3, 4, 5, None):
            some = [
                one
                for one in rows
                if one["set"] == name and (size is None or len(one["symbols"]) == size)
            ]
            if not some:
                continue
            print(f"\n{name}, {size or 'all'} atoms")
            for power, count in BELIEFS[:1] if some[0].get("counted") else BELIEFS:
                label = f"power {power:g}, samples against {count}"
                print(table(some, label, partial(weighed, power=power, count=count)))


def main() -> None:
    """Draw and store, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=24, help="geometries of every size")
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--molecules", nargs="+", default=list(MOLECULES))
    parser.add_argument("--pulses", nargs="+", default=list(PULSES))
    parser.add_argument("--weights", default="molexa-told")
    parser.add_argument(
        "--counted",
        action="store_true",
        help="samples count in the draws already, as `reconstruct` does it; `--tables` then judges "
        "the first belief alone",
    )
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--tables", type=Path, help="only print the tables of such a file")
    parser.add_argument("--out", type=Path, default=Path("geometry_priors.jsonl.gz"))
    given = parser.parse_args()
    if given.tables is not None:
        tables(given.tables)
        return
    begun = time.monotonic()
    device = take_device(given.device)
    network, card = load_network(given.weights, device)
    engine, of = Engine(network), replace(population_of(card), pulse=Pulse())
    with (
        gzip.open(given.out, "wt", encoding="utf-8") as stream,
        multiprocessing.get_context("spawn").Pool(given.workers) as pool,
    ):
        asked = [(name, pulse) for name in given.molecules for pulse in given.pulses]
        written = pool.map_async(written_case, asked, chunksize=1)
        cases = list(
            displaced_cases(engine, Pulse(), of, given.each, tuple(given.sizes), given.seed)
        )
        print(f"{len(cases)} displaced after {time.monotonic() - begun:.0f} s", flush=True)
        cases += [sampled(one, engine) for one in written.get() if one is not None]
        print(f"{len(cases)} cases after {time.monotonic() - begun:.0f} s", flush=True)
        order = np.random.default_rng(1).permutation(len(cases))
        found = pool.imap_unordered(answered, [(cases[row], given.counted) for row in order])
        for done in range(len(cases)):
            try:
                row = found.next(given.seconds - (time.monotonic() - begun))
            except multiprocessing.TimeoutError:
                print(f"stopped after {done} answers", flush=True)
                break
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            shown = {key: row.get(key) for key in ("set", "name", "seconds", "refused")}
            print({**shown, "symbols": "".join(row["symbols"])}, flush=True)
        pool.terminate()


if __name__ == "__main__":
    main()
