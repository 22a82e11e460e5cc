"""The training loop: steps, reports, checkpoints.

The random numbers of a step follow from (seed, step), so a run that was stopped and resumed
equals a straight run. Batches are handed in; where they come from is not this room's business.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from molexa_core.base.errors import ComputationError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.model.batch import Batch
from molexa_core.model.checkpoint import load_checkpoint, save_checkpoint
from molexa_core.model.config import TrainingSettings
from molexa_core.model.diffusion import Losses, position_loss, uncertainty_loss
from molexa_core.model.frame import batch_frames
from molexa_core.model.network import Network

BatchSource = Callable[[int], Batch]
"""The batch of a step, with positions, on the device of the training."""
_STEP_SEEDS: Final = 1_000_003


@dataclass
class TrainingRun:
    """Everything a training needs beside network and data.

    Attributes:
        settings: the recipe.
        steps: planned number of steps; the schedule ends there.
        seed: of noise levels and noise.
        part: `all` trains everything, `uncertainty` that module alone with the rest frozen.
        checkpoint: file to resume from and to save to; None keeps nothing.
        log: file that gets one JSON line per report; None writes none.
        report_every, checkpoint_every: steps between them.
        stop_after_s: stop, with a checkpoint, after this many seconds; None runs to the end.
        compile: whether to compile the repeated parts of the network.
    """

    settings: TrainingSettings
    steps: int
    seed: int = 0
    part: str = "all"
    checkpoint: Path | None = None
    log: Path | None = None
    report_every: int = 100
    checkpoint_every: int = 1000
    stop_after_s: float | None = None
    compile: bool = False
    reports: list[dict[str, Any]] = field(default_factory=list)


def train(
    network: Network, source: BatchSource, run: TrainingRun, *, progress: Progress = SILENT
) -> int:
    """Train in place; at the end the network holds the averaged weights.

    Args:
        network: on the device of the training.
        source: gives the batch of a step.
        run: the plan.
        progress: where to show it.

    Returns:
        The number of steps done, resumed ones included.

    Raises:
        ComputationError: the loss is no longer a number; the last checkpoint is kept.
        WeightsError: the checkpoint does not fit the network.
    """
    device = next(network.parameters()).device
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(run.part == "all" or name.startswith("uncertainty."))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = _optimizer(trained, run.settings, device)
    average = WeightAverage(network, run.settings.ema)
    start = 0
    if run.checkpoint is not None and run.checkpoint.exists():
        start = load_checkpoint(run.checkpoint, network, optimizer, average.weights)
        progress.say(f"resuming {run.checkpoint} at step {start}")
    if run.compile:
        network.compile_parts()
    network.train()
    began = last_time = time.monotonic()
    last_step = step = start
    total = torch.zeros(3, device=device)
    with progress.task("training", run.steps - start, "steps") as task:
        while step < run.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(run.settings, step, run.steps)
            losses = training_step(network, source(step), run, step)
            optimizer.zero_grad(set_to_none=True)
            losses.total.backward()  # type: ignore[no-untyped-call]
            if run.settings.clip > 0:
                nn.utils.clip_grad_norm_(trained, run.settings.clip)
            optimizer.step()
            average.update(network, step)
            total += torch.stack(
                (losses.total.detach(), losses.position.detach(), losses.uncertainty.detach())
            )
            step += 1
            task.advance()
            out_of_time = (
                run.stop_after_s is not None
                and step % 10 == 0
                and time.monotonic() - began > run.stop_after_s
            )
            if step % run.report_every == 0 or step == run.steps or out_of_time:
                means = (total / (step - last_step)).tolist()
                _require_numbers(means, step, run.checkpoint)
                now = time.monotonic()
                rate = (step - last_step) * run.settings.batch / (now - last_time)
                _report(run, step, means, rate, now - began, device)
                task.note(f"loss {means[0]:.4g}, {rate:.0f} molecules/s")
                total.zero_()
                last_step, last_time = step, now
            finished = step == run.steps or out_of_time
            if run.checkpoint is not None and (step % run.checkpoint_every == 0 or finished):
                save_checkpoint(run.checkpoint, network, optimizer, average.weights, step)
            if out_of_time:
                break
    average.copy_to(network)
    network.eval()
    return step


def training_step(network: Network, batch: Batch, run: TrainingRun, step: int) -> Losses:
    """The losses of one step."""
    device = batch.momenta.device
    generator = torch.Generator(device).manual_seed(run.seed * _STEP_SEEDS + step)
    settings = run.settings
    batch = batch.with_frame(batch_frames(batch.numbers, batch.momenta))
    zero = torch.zeros((), device=device)
    position, uncertainty = zero, zero
    weight = settings.uncertainty_weight
    share = batch.first(max(1, round(len(batch) * settings.uncertainty_share)))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        if run.part == "uncertainty":
            with torch.no_grad():
                conditioning = network.condition(batch)
            uncertainty, weight = uncertainty_loss(network, conditioning, generator), 1.0
        else:
            conditioning = network.condition(batch)
            repeated = conditioning.repeat(settings.draws)
            position = position_loss(network, repeated, settings, generator)
            if weight > 0:
                if len(share) < len(batch):
                    conditioning = network.condition(share)
                uncertainty = uncertainty_loss(network, conditioning, generator)
    return Losses(settings.position_weight * position + weight * uncertainty, position, uncertainty)


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """The learning rate of a step: linear warm-up, then constant or a cosine to zero."""
    rise = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    if settings.schedule == "constant":
        return settings.learning_rate * rise
    return settings.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / steps)))


class WeightAverage:
    """Exponential moving average of the weights, with a warm-up that forgets the start."""

    def __init__(self, network: Network, decay: float) -> None:
        self.decay = decay
        self.weights = (
            {name: value.detach().clone() for name, value in network.named_parameters()}
            if decay > 0
            else {}
        )

    @torch.no_grad()
    def update(self, network: Network, step: int) -> None:
        """Take in the weights after a step."""
        if not self.weights:
            return
        decay = min(self.decay, (step + 1.0) / (step + 10.0))
        now = [value.detach() for value in network.parameters()]
        torch._foreach_lerp_(list(self.weights.values()), now, 1.0 - decay)

    @torch.no_grad()
    def copy_to(self, network: Network) -> None:
        """Put the averaged weights into the network."""
        for name, value in network.named_parameters():
            if name in self.weights:
                value.copy_(self.weights[name])


@contextmanager
def evaluation_mode(network: Network) -> Iterator[None]:
    """The network without training behaviour for the duration of a block."""
    was = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was)


def _optimizer(
    parameters: list[nn.Parameter], settings: TrainingSettings, device: torch.device
) -> torch.optim.AdamW:
    # Norms and biases are not decayed.
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    others = [parameter for parameter in parameters if parameter.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=device.type == "cuda",
    )


def _require_numbers(means: list[float], step: int, checkpoint: Path | None) -> None:
    if all(math.isfinite(value) for value in means):
        return
    kept = "no checkpoint was kept"
    if checkpoint is not None and checkpoint.exists():
        kept = f"the last good state is in {checkpoint}"
    raise ComputationError(
        f"the loss is not a number at step {step}",
        where="training",
        do=f"Lower the learning rate; {kept}.",
    )


def _report(
    run: TrainingRun,
    step: int,
    means: list[float],
    rate: float,
    elapsed: float,
    device: torch.device,
) -> None:
    record = {
        "step": step,
        "molecules": step * run.settings.batch,
        "loss": means[0],
        "position_loss": means[1],
        "uncertainty_loss": means[2],
        "learning_rate": learning_rate(run.settings, step - 1, run.steps),
        "molecules_per_s": round(rate, 1),
        "elapsed_s": round(elapsed, 2),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)
        if device.type == "cuda"
        else None,
    }
    run.reports.append(record)
    if run.log is not None:
        with run.log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
