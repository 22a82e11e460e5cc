"""Is the posterior that starts from the samples of a network better than the network alone?

    python benchmarks/posterior_start.py --weights W --told exactly wrong nothing --workers 12

Molecules that no training had, exploded by the Monte-Carlo model in one pulse, each geometry once.
Network: mean distance error of the mean of eight samples. Posterior: of the median distances of
draws weighted by likelihood and prior through the surrogate, 16 samples as starts of the search; of
a network that is told the explosion 64 count beside the evidence, as `reconstruct` counts them.
`--told` is what both are told: the pulse exactly, its duration 30 % too short with an uncertainty
of 30 %, or nothing but that it was an X-ray pulse. Weights for one pulse cannot be told anything.
Printed: both errors in bohr, their ratio with a 95 % interval (molecules resampled), medians, and
the rms error of the posterior over its rms half-width. Each answer is a line of ROWS as soon as it
is there, so that nothing is lost where the time ends; `--tables ROWS` prints the tables of such a
file.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TextIO

import numpy as np
import torch

from molexa_core.base.errors import ComputationError
from molexa_core.base.forward_model import ModelOptions, Pulse
from molexa_core.base.known_explosion import XrayExplosion
from molexa_core.base.settings import Explosion
from molexa_core.base.tables import FloatArray
from molexa_core.base.uncertain import Uncertain
from molexa_core.geometry.measures import pair_distances
from molexa_core.network.inference.engine import Engine
from molexa_core.network.inference.told import sample
from molexa_core.network.weights import load_network
from molexa_core.pipeline.devices import take_device
from molexa_core.pipeline.evaluation.calibration_run import population_of
from molexa_core.pipeline.evaluation.known_explosions import (
    LEARNED,
    KnownExplosions,
    family_explosions,
)
from molexa_core.pipeline.explosions.knowledge import knowledge_of
from molexa_core.pipeline.explosions.told_inputs import told_of
from molexa_core.pipeline.inversion.geometry_prior import GeometryPrior
from molexa_core.pipeline.inversion.posterior import infer
from molexa_core.pipeline.inversion.residuals import MeasuredChannel
from molexa_core.pipeline.reconstruction.from_posterior import unreliable

Telling = Literal["exactly", "wrong", "nothing"]
TELLINGS: Final[tuple[Telling, ...]] = ("exactly", "wrong", "nothing")
SAMPLES: Final = 64
STARTS: Final = 16
MEAN_OF: Final = 8
TOO_SHORT: Final = 0.7


def told(pulse: Pulse, options: ModelOptions, telling: Telling) -> XrayExplosion:
    """What is said about the explosion."""
    if telling == "nothing":
        return XrayExplosion()
    short = telling == "wrong"
    duration = pulse.duration_fs * (TOO_SHORT if short else 1.0)
    return XrayExplosion(
        photon_ev=Uncertain(pulse.photon_ev),
        energy_mj=None if pulse.fluence_um2 else Uncertain(pulse.energy_mj),
        focus_um=None if pulse.fluence_um2 else Uncertain(pulse.focus_um),
        transmission=None if pulse.fluence_um2 else Uncertain(pulse.transmission),
        fluence_um2=None if pulse.fluence_um2 is None else Uncertain(pulse.fluence_um2),
        duration_fs=Uncertain(duration, 0.3 * duration if short else 0.0),
        transfer=options.transfer if options.transfer in ("neutral", "low", "full") else None,
        transfer_time_fs=Uncertain(max(options.transfer_time_fs, 0.01)),
        recapture=options.recapture,
        shake_off=Uncertain(options.shake_off),
        double_auger=Uncertain(options.double_auger),
        focus=options.focus,
    )


class Case(NamedTuple):
    """One explosion, what is told of it, and the samples of the network (samples, N, 3)."""

    known: KnownExplosions
    kind: XrayExplosion
    samples: FloatArray
    seed: int
    counted: bool


class Row(NamedTuple):
    """Errors of one explosion, bohr: of the network, of the posterior, rms claim and rms error."""

    atoms: int
    molecule: int
    network: float
    posterior: float | None
    claim: float | None
    rms: float | None


def cases_of(engine: Engine, known: KnownExplosions, kind: XrayExplosion, seed: int) -> list[Case]:
    """Each explosion with its samples."""
    batch = known.batch(str(engine.device))
    if engine.network.settings.told:
        errors = np.sqrt((known.errors**2).mean(axis=2))
        stated = told_of(
            [kind] * len(known), batch.numbers.cpu(), data="still", errors=torch.from_numpy(errors)
        )
        batch = replace(batch, told=stated.to(str(engine.device)))
    drawn = sample(engine, batch, SAMPLES, seed=seed).double().cpu().numpy()
    counted = engine.network.settings.told
    return [
        Case(known.rows(np.array([row])), kind, drawn[row], seed, counted)
        for row in range(len(known))
    ]


def compared(case: Case) -> Row:
    """Errors of one explosion; no posterior where it gives no error bars."""
    torch.set_num_threads(1)
    true = pair_distances(case.known.positions)[0]
    network = pair_distances(case.samples[:MEAN_OF]).mean(axis=0)
    size, owner = case.known.numbers.shape[1], int(case.known.molecule[0])
    error = float(np.abs(network - true).mean())
    one = _posterior(case.known, 0, case.kind, case.samples, case.seed, counted=case.counted)
    if one is None:
        return Row(size, owner, error, None, None, None)
    middle, half = one
    return Row(
        size,
        owner,
        error,
        float(np.abs(middle - true).mean()),
        float(np.sqrt((half**2).mean())),
        float(np.sqrt(((middle - true) ** 2).mean())),
    )


def _posterior(
    known: KnownExplosions,
    row: int,
    kind: XrayExplosion,
    samples: FloatArray,
    seed: int,
    *,
    counted: bool,
) -> tuple[FloatArray, FloatArray] | None:
    """Median and half-width of each distance; None where there are no error bars."""
    fragments = known.fragments(row)
    covariance = np.diag(known.errors[row].ravel() ** 2)
    channel = MeasuredChannel(fragments, known.momenta[row], covariance)
    try:
        found = infer(
            [channel],
            knowledge_of(Explosion.of(kind), fragments.symbols),
            geometry=GeometryPrior.of(fragments.symbols),
            starts=samples[:STARTS] - samples[:STARTS].mean(axis=1, keepdims=True),
            samples=samples if counted else None,
            seed=seed,
        )
    except ComputationError:
        return None
    if unreliable(found) is not None:
        return None
    distances = found.distances()
    return distances.median, distances.half_width


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="molexa-told")
    parser.add_argument("--told", choices=TELLINGS, nargs="+", default=["exactly"])
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--largest", type=int, default=5)
    parser.add_argument("--trajectories", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so many")
    parser.add_argument("--rows", type=Path, help="file of lines for the answers as they come")
    parser.add_argument("--tables", type=Path, help="only print the tables of such a file")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    begun = time.perf_counter()
    if given.tables is not None:
        head, *lines = map(json.loads, given.tables.read_text(encoding="utf-8").splitlines())
        stored: dict[str, list[Row]] = {telling: [] for telling in given.told}
        for line in lines:
            stored.setdefault(line["told"], []).append(Row(*line["row"]))
        _finish({**head, "tellings": {}}, stored, given.out)
        return
    device = take_device(given.device)
    network, card = load_network(given.weights, device)
    of = population_of(card)
    if of.pulse is None:  # weights of a whole family: the pulse A of the measurements
        of = replace(of, pulse=Pulse())
    sets = family_explosions(
        LEARNED,
        given.cases,
        atoms=(2, given.largest),
        seed=17,
        device=device,
        trajectories=given.trajectories,
        population=of,
    )
    engine = Engine(network)
    cases = {
        telling: [
            case
            for known in sets.values()
            for case in cases_of(engine, known, told(of.pulse or Pulse(), of.options, telling), 3)
        ]
        for telling in given.told
    }
    head = {"weights": card.name, "files": card.files, "cases": given.cases}
    # In turn, so that all tellings have as many cases where time ends.
    tasks = [
        (telling, cases[telling][row])
        for row in np.random.default_rng(1).permutation(len(cases[given.told[0]]))
        for telling in given.told
    ]
    print(f"{len(tasks)} answers wanted after {time.perf_counter() - begun:.0f} s", flush=True)
    rows: dict[str, list[Row]] = {telling: [] for telling in given.told}
    with (
        nullcontext() if given.rows is None else given.rows.open("w", encoding="utf-8") as stream,
        multiprocessing.get_context("spawn").Pool(given.workers) as pool,
    ):
        _write(stream, head)
        found = pool.imap_unordered(_named, tasks)
        for _ in tasks:
            try:
                telling, row = found.next(given.seconds - (time.perf_counter() - begun))
            except multiprocessing.TimeoutError:
                break
            rows[telling].append(row)
            _write(stream, {"told": telling, "row": list(row)})
    _finish({**head, "tellings": {}}, rows, given.out)


def _write(stream: TextIO | None, line: dict[str, Any]) -> None:
    if stream is not None:
        stream.write(json.dumps(line) + "\n")
        stream.flush()


def _finish(result: dict[str, Any], rows: dict[str, list[Row]], out: Path | None) -> None:
    """Print the tables and store them."""
    for telling, some in rows.items():
        result["tellings"][telling] = _table(telling, some)
        result["tellings"][telling]["rows"] = [list(row) for row in some]
    if out is not None:
        out.write_text(json.dumps(result) + "\n", encoding="utf-8")


def _named(task: tuple[Telling, Case]) -> tuple[Telling, Row]:
    return task[0], compared(task[1])


def _table(telling: str, rows: list[Row]) -> dict[str, Any]:
    """The groups of one telling, printed."""
    print(f"told {telling}")
    print("atoms  cases  network  posterior  ratio              medians        error over claim")
    found = {}
    sizes = sorted({row.atoms for row in rows})
    for name, some in [(str(n), [r for r in rows if r.atoms == n]) for n in sizes] + [
        ("all", rows)
    ]:
        good = [row for row in some if row.posterior is not None]
        if not good:
            print(f"{name:5}  no error bars for {len(some)}")
            continue
        values = np.array([row[2:] for row in good], dtype=float)
        network, posterior = values[:, :2].mean(axis=0)
        owner = np.unique([row.molecule for row in good], return_inverse=True)[1]
        count = int(owner.max()) + 1
        times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), 1000)
        sums = times[:, owner] @ values[:, :2]
        low, high = np.quantile(sums[:, 1] / np.maximum(sums[:, 0], 1e-12), [0.025, 0.975])
        claim = float(np.sqrt((values[:, 3] ** 2).mean() / (values[:, 2] ** 2).mean()))
        found[name] = {
            "cases": len(some),
            "with_error_bars": len(good),
            "network": float(network),
            "posterior": float(posterior),
            "ratio": float(posterior / network),
            "low": float(low),
            "high": float(high),
            "error_over_claim": claim,
        }
        print(
            f"{name:5}  {len(good):2}/{len(some):2}  {network:7.3f}  {posterior:9.3f}  "
            f"{posterior / network:5.2f} ({low:.2f}-{high:.2f})  {np.median(values[:, 0]):.3f} "
            f"{np.median(values[:, 1]):.3f}    {claim:.2f}",
            flush=True,
        )
    return found


if __name__ == "__main__":
    main()
