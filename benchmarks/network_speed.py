"""How fast does the network train and infer on one GPU?

Training: whole steps (molecules drawn, exploded, loss, gradient, optimizer) in molecules/s.
Inference: conditioning, five or more denoising steps and the uncertainty, in molecules/s.
Baseline: the published code, as measured on one H100 80GB (140 molecules/s trained with eight
noise draws at N = 7; 921 molecules/s inferred at N = 7, 382 at N = 9).

    python benchmarks/network_speed.py [--only paper-train-1,...]
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from typing import Any

import torch
from _record import store, time_runs

from molexa_core.model.batch import Batch
from molexa_core.model.config import PRESETS
from molexa_core.model.inference import predict_batch
from molexa_core.model.network import Network
from molexa_core.model.training import TrainingRun, train
from molexa_core.pipeline.stage1 import StageOneData, StageOneSource

TRAININGS = {
    # name: preset, largest molecule, molecules per step, noise draws, steps per run
    "paper-train-1-draw": ("paper", 7, 2048, 1, 32),
    "paper-train-8-draws": ("paper", 7, 512, 8, 32),
    "molexa-train-1-draw": ("molexa", 9, 4096, 1, 32),
}
INFERENCES = {
    "paper-infer-7": ("paper", 7, 2048),
    "paper-infer-9": ("paper", 9, 2048),
    "molexa-infer-7": ("molexa", 7, 4096),
    "molexa-infer-9": ("molexa", 9, 4096),
}
PUBLISHED = {
    "paper-train-8-draws": 140.0,
    "paper-infer-7": 921.0,
    "paper-infer-9": 382.0,
    "molexa-infer-7": 921.0,
    "molexa-infer-9": 382.0,
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


def inference_speed(name: str, device: str, repeats: int) -> None:
    """Molecules per second of one sample each, with uncertainty."""
    preset_name, atoms, batch = INFERENCES[name]
    torch.manual_seed(0)
    network = Network(PRESETS[preset_name].network).to(device).eval()
    if device == "cuda":
        network.compile_parts()
    data = StageOneData(smallest=atoms, largest=atoms, uniform_atoms=True, block=1)
    molecules: Batch = StageOneSource(data, batch, device, 1)(0)

    def work() -> None:
        for seed in range(4):
            predict_batch(network, molecules, seed=seed, reduced=device == "cuda")

    runs = time_runs(work, repeats=repeats, warm_up=2, synchronise=_wait(device))
    sizes = {
        "preset": preset_name,
        "atoms": atoms,
        "batch": batch,
        "sampler_steps": network.settings.sampler.steps,
    }
    question = f"How many molecules per second does {name} reconstruct, with uncertainty?"
    _store(name, question, runs, 4 * batch, sizes, device)


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
    parser.add_argument("--only", default=",".join([*TRAININGS, *INFERENCES]))
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in arguments.only.split(","):
        measure = training_speed if name in TRAININGS else inference_speed
        measure(name, device, arguments.repeats)
        torch.compiler.reset()
        if device == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
