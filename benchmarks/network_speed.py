"""How fast does the network train and infer on one GPU?

Training: whole steps (molecules drawn, exploded, loss, gradient, optimizer) in molecules/s.
Inference: conditioning, all denoising steps and the uncertainty, in molecules/s; many molecules
through compiled and captured graphs (`network.inference.engine`), or one at a time, as a live
display would.
Baseline: the published code, as measured on one H100 80GB (140 molecules/s trained with eight
noise draws at N = 7; 921 molecules/s inferred at N = 7, 382 at N = 9).

    python benchmarks/network_speed.py [--only paper-train-1,...] [--weights NAME]
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from typing import Any

import torch
from _record import store, time_runs

from molexa_core.network.batch import Batch
from molexa_core.network.config import PRESETS, SamplerSettings
from molexa_core.network.diffusion import churn_noise
from molexa_core.network.inference.engine import Engine
from molexa_core.network.molecule_frame import batch_frames
from molexa_core.network.network import Network
from molexa_core.network.training.loop import TrainingRun, train
from molexa_core.network.weights import default_weights, load_network
from molexa_core.pipeline.training.stage1 import StageOneData, StageOneSource

EULER = SamplerSettings(steps=16, sigma_max=10.0, sigma_min=0.001, rho=5.0)
"""What shipped before the present default, for comparison."""
TRAININGS = {
    # name: preset, largest molecule, molecules per step, noise draws, steps per run
    "paper-train-1-draw": ("paper", 7, 2048, 1, 32),
    "paper-train-8-draws": ("paper", 7, 512, 8, 32),
    "molexa-train-1-draw": ("molexa", 9, 4096, 1, 32),
}
INFERENCES = {
    # name: preset, atoms, molecules per batch, sampler (None: the preset's own)
    "paper-infer-7": ("paper", 7, 2048, None),
    "paper-infer-9": ("paper", 9, 2048, None),
    "molexa-infer-7": ("molexa", 7, 4096, None),
    "molexa-infer-9": ("molexa", 9, 4096, None),
    "molexa-infer-9-16-steps": ("molexa", 9, 4096, EULER),
}
SINGLES = {
    # name: preset, atoms, samples, sampler, compiled
    "molexa-one-9": ("molexa", 9, 1, None, True),
    "molexa-one-9-16-steps": ("molexa", 9, 1, EULER, True),
    "paper-one-9": ("paper", 9, 1, None, False),
}
PUBLISHED = {
    "paper-train-8-draws": 140.0,
    "paper-infer-7": 921.0,
    "paper-infer-9": 382.0,
    "molexa-infer-7": 921.0,
    "molexa-infer-9": 382.0,
    "molexa-infer-9-16-steps": 382.0,
    "molexa-one-9": 1 / 0.045,
    "molexa-one-9-16-steps": 1 / 0.045,
    "paper-one-9": 1 / 0.045,
}


def training_speed(name: str, device: str, repeats: int) -> None:
    """Molecules per second of whole training steps, simulation included."""
    preset_name, largest, batch, draws, steps = TRAININGS[name]
    preset = PRESETS[preset_name]
    recipe = replace(preset.training, batch=batch, draws=draws)
    torch.manual_seed(0)
    network = Network(preset.network).to(device)
    on_gpu = device == "cuda"
    data = StageOneData(largest=largest, uniform_atoms=recipe.uniform_atoms)
    source = StageOneSource(data, batch, device, 1, compiled=on_gpu)
    if on_gpu:
        network.compile_parts()

    def work() -> None:
        train(network, source, TrainingRun(recipe, steps, report_every=steps))

    work()  # every molecule size once, so that all graphs are compiled
    runs = time_runs(work, repeats=repeats, warm_up=1, synchronise=_wait(device))
    share = recipe.uncertainty_share if recipe.uncertainty_weight else 0.0
    sizes = {
        "preset": preset_name,
        "atoms": f"2 to {largest}",
        "batch": batch,
        "noise_draws": draws,
        "uncertainty_share": share,
        "parameters": network.parameter_count,
    }
    question = f"How many molecules per second does {name} train, simulation included?"
    _store(name, question, runs, batch * steps, sizes, device)


def inference_speed(name: str, device: str, repeats: int, weights: str | None) -> None:
    """Molecules per second of one sample each, with uncertainty."""
    preset_name, atoms, batch, given = INFERENCES[name]
    network, sampler, molecules = _prepared(preset_name, atoms, batch, given, device, weights)
    engine = Engine(network, reduced=True, compiled=device == "cuda")

    def work() -> None:
        for seed in range(8):
            engine.predict(molecules, seed=seed, sampler=sampler)

    runs = time_runs(work, repeats=repeats, warm_up=2, synchronise=_wait(device))
    sizes = {"preset": preset_name, "atoms": atoms, "batch": batch, "sampler_steps": sampler.steps}
    question = f"How many molecules per second does {name} reconstruct, with uncertainty?"
    _store(name, question, runs, 8 * batch, sizes, device)


def single_speed(name: str, device: str, repeats: int, weights: str | None) -> None:
    """Molecules per second, one after the other, each answer on the host before the next."""
    preset_name, atoms, samples, given, compiled = SINGLES[name]
    network, sampler, molecule = _prepared(preset_name, atoms, 1, given, device, weights)
    engine = Engine(network, reduced=True, compiled=compiled and device == "cuda")
    noise = torch.randn(samples, atoms, 3, device=device)
    fresh = churn_noise(sampler, noise, None)
    count = 50 if device == "cuda" else 5

    def work() -> None:
        for _ in range(count):
            drawn = engine(molecule, noise, sampler, fresh=fresh, samples=samples)
            torch.stack((drawn.positions, drawn.expected)).cpu()

    runs = time_runs(work, repeats=repeats, warm_up=1, synchronise=_wait(device))
    sizes = {
        "preset": preset_name,
        "atoms": atoms,
        "samples": samples,
        "sampler_steps": sampler.steps,
        "compiled": compiled and device == "cuda",
        "threads": torch.get_num_threads(),
    }
    question = f"How many single molecules per second does {name} reconstruct, warm?"
    _store(name if device == "cuda" else f"{name}-cpu", question, runs, count, sizes, device)


def _prepared(
    preset_name: str,
    atoms: int,
    batch: int,
    given: SamplerSettings | None,
    device: str,
    weights: str | None,
) -> tuple[Network, SamplerSettings, Batch]:
    torch.manual_seed(0)
    if preset_name == "molexa":
        # Those that ship: on a CPU large matrices are kept in 16 bits if that loses nothing.
        network, _ = load_network(weights or default_weights(), device)
    else:
        network = Network(PRESETS[preset_name].network).to(device)
    network.eval()
    sampler = given or network.settings.sampler
    data = StageOneData(smallest=atoms, largest=atoms, uniform_atoms=True, block=1)
    drawn = StageOneSource(data, batch, device, 1)(0)
    return network, sampler, drawn.with_frame(batch_frames(drawn.numbers, drawn.momenta))


def _store(
    name: str, question: str, runs: list[float], amount: int, sizes: dict[str, Any], device: str
) -> None:
    notes = ""
    if name in PUBLISHED:
        ratio = amount / statistics.median(runs) / PUBLISHED[name]
        notes = (
            f"published code on one H100 80GB: {PUBLISHED[name]:g} molecules/s; "
            f"this is {ratio:.0f} times as many, on the device named here"
        )
    store(
        f"network-{name}",
        question,
        runs,
        amount=amount,
        unit="molecules",
        sizes=sizes,
        notes=notes,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        dtype="bfloat16 products, float32 otherwise" if device == "cuda" else "float32",
    )


def _wait(device: str) -> Any:
    return torch.cuda.synchronize if device == "cuda" else None


def main() -> None:
    """Run the benchmarks asked for and store them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join([*TRAININGS, *INFERENCES, *SINGLES]))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", help="of the preset molexa; the default ones if not given")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in arguments.only.split(","):
        if name in TRAININGS:
            training_speed(name, device, arguments.repeats)
        else:
            measure = inference_speed if name in INFERENCES else single_speed
            measure(name, device, arguments.repeats, arguments.weights)
        torch.compiler.reset()
        if device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
