"""What does a network for all explosions lose against one for a single pulse?

    python benchmarks/one_pulse_loss.py --steps 900 --device cuda --workers 12 --rows rows.jsonl

Networks of the preset `told` begin anew and are trained in the same number of steps of the same
size on a stream of new X-ray explosions: one in the pulses of the whole family, each of the others
in one pulse alone, with the same molecules left out and the same physics drawn. All are told
everything. Measured on the molecules that were left out, in that pulse: error of the mean of eight
samples, coverage, ratio of errors to spread. Stated: ratio of the errors of the network for all to
those of the one for the pulse. Each measurement is a line of ROWS as it comes. Short trainings: how
well such networks can become is not asked.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from molexa_core.network.config import TOLD
from molexa_core.network.network import Network
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.physics.mcmd.photon_tables import PHOTON_GRID_EV, pack_photon_tables
from molexa_core.pipeline.datasets.family_draws import Box
from molexa_core.pipeline.datasets.measurement_split import PULSES, SHARE, MeasuredPulse
from molexa_core.pipeline.evaluation.evaluate_told import ToldMeasurement, measure_told
from molexa_core.pipeline.training.told_stream import StreamRecipe, ToldSource
from molexa_core.pipeline.training.xray_pairs import PairRecipe

ALL: Final = "all"
NEAR: Final = 1e-6
"""Width of the range of fluence and duration of a single pulse, in their logarithm."""
SEED: Final = 64_260_000


def stream(measured: MeasuredPulse | None, pairs: PairRecipe, blocks: int) -> StreamRecipe:
    """X-ray explosions in one pulse, or in those of the whole family."""
    box, energies = Box(), PHOTON_GRID_EV
    if measured is not None:
        low, high = 1.0 - NEAR, 1.0 + NEAR
        fluence, duration = measured.fluence_um2, measured.pulse.duration_fs
        box = replace(
            box,
            fluence_um2=(low * fluence, high * fluence),
            duration_fs=(low * duration, high * duration),
            durations=2,
        )
        energies = (measured.pulse.photon_ev,)
    return StreamRecipe(
        pairs=replace(pairs, box=box, share=SHARE, seed=SEED),
        classical=None,
        pair_blocks=blocks,
        photon_ev=energies,
    )


def trained(recipe: StreamRecipe, given: argparse.Namespace) -> tuple[Network, dict[str, Any]]:
    """A new network after the training, and how that went."""
    begun = time.perf_counter()
    torch.manual_seed(0)
    network = Network(TOLD.network).to(given.device)
    source = ToldSource(recipe, given.batch, given.device, 1, workers=given.workers)
    settings = replace(
        TOLD.training, batch=given.batch, warm_up=min(100, given.steps), uncertainty_weight=0.0
    )
    run = TrainingRun(
        settings, given.steps, report_every=100, compile=given.device.startswith("cuda")
    )
    try:
        train(network, source, run)
    finally:
        source.close()
    last = run.reports[-1]
    taken = {"seconds": time.perf_counter() - begun, "loss": last["position_loss"]}
    fresh = Network(TOLD.network)  # without compiled parts
    fresh.load_state_dict(network.state_dict())
    return fresh.to(given.device).eval(), {**taken, "visits": recipe.visits(given.batch)}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--pulses", default="AC", help="letters of the pulses")
    parser.add_argument("--smallest", type=int, default=2)
    parser.add_argument("--largest", type=int, default=7)
    parser.add_argument("--geometries", type=int, default=4)
    parser.add_argument("--explosions", type=int, help="of a block of the stream")
    parser.add_argument("--blocks", type=int, default=64, help="of the stream in memory")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rows", type=Path, required=True)
    given = parser.parse_args()
    sizes = range(given.smallest, given.largest + 1)
    pairs = PairRecipe()
    pairs = replace(pairs, atoms={n: w for n, w in pairs.atoms.items() if n in sizes})
    if given.explosions is not None:
        pairs = replace(pairs, explosions=given.explosions)
    chosen = [one for one in PULSES if one.name in given.pulses]
    plan = ToldMeasurement(
        pulses=tuple(chosen),
        tellings=("everything",),
        geometries=given.geometries,
        atoms=(given.smallest, given.largest),
    )
    tables = pack_photon_tables()
    found: dict[str, dict[str, Any]] = {}
    with given.rows.open("w", encoding="utf-8") as stream_of_rows:
        for measured in (None, *chosen):
            name = ALL if measured is None else measured.name
            network, taken = trained(stream(measured, pairs, given.blocks), given)
            own = plan if measured is None else replace(plan, pulses=(measured,))
            rows = measure_told(network, own, device=given.device, tables=tables)
            found[name] = {pulse: told["everything"] for pulse, told in rows.items()}
            line = {"network": name, "steps": given.steps, "batch": given.batch, **taken}
            stream_of_rows.write(json.dumps({**line, "pulses": found[name]}) + "\n")
            stream_of_rows.flush()
            print(f"{name}: {taken}", flush=True)
            for pulse, groups in found[name].items():
                for group in ("2", "3-7"):
                    if group not in groups:
                        continue
                    row = groups[group]
                    said = f"{row['mean']:.3f} bohr, {100 * row['inside']:.0f} % inside"
                    if name == pulse:
                        loss = found[ALL][pulse][group]["mean"] / row["mean"]
                        said += f", the network for all has {loss:.2f} times the error"
                    print(f"  {pulse}, {group} atoms: {said}, ratio {row['ratio']:.2f}", flush=True)


if __name__ == "__main__":
    main()
