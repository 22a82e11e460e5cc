"""Is the posterior that starts from the samples of a network better than the network alone?

    python benchmarks/posterior_start.py --weights molexa-stage2 --told exactly

Molecules that no training had, exploded by the Monte-Carlo model in one pulse, each geometry once.
Network: mean distance error of the mean of eight samples. Posterior: of the median distances of
draws weighted by likelihood and prior through the surrogate, the samples as starts of the search.
`--told` is what both are told: the pulse exactly, its duration 30 % too short with an uncertainty
of 30 %, or nothing but that it was an X-ray pulse. Weights for one pulse cannot be told anything.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Final, Literal

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
SAMPLES: Final = 16
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


def compared(
    engine: Engine, known: KnownExplosions, kind: XrayExplosion, seed: int
) -> list[tuple[float, float, float, float]]:
    """Of each explosion: error of the network, error and rms claim of the posterior, rms error."""
    batch = known.batch(str(engine.device))
    if engine.network.settings.told:
        errors = np.sqrt((known.errors**2).mean(axis=2))
        stated = told_of(
            [kind] * len(known), batch.numbers.cpu(), data="still", errors=torch.from_numpy(errors)
        )
        batch = replace(batch, told=stated.to(str(engine.device)))
    drawn = sample(engine, batch, SAMPLES, seed=seed).double().cpu().numpy()
    found = []
    for row in range(len(known)):
        true = pair_distances(known.positions[row : row + 1])[0]
        network = pair_distances(drawn[row, :MEAN_OF]).mean(axis=0)
        one = _posterior(known, row, kind, drawn[row], seed)
        if one is None:
            continue
        middle, half = one
        found.append(
            (
                float(np.abs(network - true).mean()),
                float(np.abs(middle - true).mean()),
                float(np.sqrt((half**2).mean())),
                float(np.sqrt(((middle - true) ** 2).mean())),
            )
        )
    return found


def _posterior(
    known: KnownExplosions, row: int, kind: XrayExplosion, starts: FloatArray, seed: int
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
            starts=starts - starts.mean(axis=1, keepdims=True),
            seed=seed,
        )
    except ComputationError:
        return None
    if unreliable(found) is not None:
        return None
    distances = found.distances()
    return distances.median, distances.half_width


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="molexa-stage2")
    parser.add_argument("--told", choices=TELLINGS, default="exactly")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--largest", type=int, default=5)
    parser.add_argument("--trajectories", type=int)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    device = take_device(given.device)
    network, card = load_network(given.weights, device)
    of = population_of(card)
    if of.pulse is None:  # weights of a whole family: the pulse A of the measurements
        of = replace(of, pulse=Pulse())
    kind = told(of.pulse or Pulse(), of.options, given.told)
    sets = family_explosions(
        LEARNED,
        given.cases,
        atoms=(2, given.largest),
        seed=17,
        device=device,
        trajectories=given.trajectories,
        population=of,
    )
    engine, every = Engine(network), []
    print("atoms  cases  network  posterior  ratio  medians        error over claim")
    for atoms, known in sorted(sets.items()):
        rows = compared(engine, known, kind, seed=3)
        every += rows
        _print(str(atoms), rows, len(known))
    _print("all", every, sum(map(len, sets.values())))


def _print(name: str, rows: list[tuple[float, float, float, float]], cases: int) -> None:
    if not rows:
        print(f"{name:5}  no error bars for {cases}")
        return
    table = np.array(rows)
    network, posterior = table[:, 0].mean(), table[:, 1].mean()
    claim = np.sqrt((table[:, 3] ** 2).mean() / (table[:, 2] ** 2).mean())
    print(
        f"{name:5}  {len(rows):2}/{cases:2}  {network:7.3f}  {posterior:9.3f}  "
        f"{posterior / network:5.2f}  {np.median(table[:, 0]):.3f} {np.median(table[:, 1]):.3f}    "
        f"{claim:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
