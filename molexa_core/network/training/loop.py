"""The training loop: steps, reports, checkpoints.

The random numbers of a step are a function of (seed, step), so that a training that is stopped and
resumed gives the same weights as one without interruption. A function of the step provides the
batches.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

import torch
from torch import Tensor, nn

from molexa_core.base import interruption
from molexa_core.base.errors import ComputationError
from molexa_core.base.interruption import Interruption
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.event_file import NAME as EVENTS
from molexa_core.base.storage.event_file import append_scalars
from molexa_core.base.storage.files import cannot_write
from molexa_core.network.batch import Batch
from molexa_core.network.config import TrainingSettings
from molexa_core.network.network import Network
from molexa_core.network.training.average import WeightAverage
from molexa_core.network.training.checkpoint import load_checkpoint, save_checkpoint
from molexa_core.network.training.gradients import StepGradients
from molexa_core.network.training.team import ALONE, Team

BatchSource = Callable[[int], Batch]
"""Function of the step that returns its batch, with positions, on the device of the training."""
_LOOK_EVERY: Final = 10
"""Number of steps between two checks of the clock and of the other processes."""
_SHOWN: Final = (
    "loss",
    "position_loss",
    "uncertainty_loss",
    "learning_rate",
    "molecules_per_s",
)
"""What of a report TensorBoard shows."""


class Report(TypedDict):
    """One line of the log of a training: mean losses since the last one, speed, time."""

    step: int
    molecules: int
    loss: float
    position_loss: float
    uncertainty_loss: float
    learning_rate: float
    molecules_per_s: float
    samples_per_s: float
    elapsed_s: float
    device_s: float
    processes: int
    peak_memory_gib: float | None


@dataclass
class TrainingRun:
    """The plan of a training: everything it needs besides network and data.

    Attributes:
        settings: the recipe.
        steps: planned number of steps; the schedule ends there.
        seed: of the noise levels and the noise.
        part: `all` trains all modules, `uncertainty` the uncertainty module alone.
        checkpoint: file to resume from and to save to; None: no checkpoints.
        log: file to which one JSON line per report is appended, with a file for TensorBoard
            beside it; None: no log.
        report_every, checkpoint_every: steps between two reports and two checkpoints.
        checkpoint_every_s: seconds after which a checkpoint is saved in any case; None: never.
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
    checkpoint_every_s: float | None = None
    stop_after_s: float | None = None
    compile: bool = False
    reports: list[Report] = field(default_factory=list)


def train(
    network: Network,
    source: BatchSource,
    run: TrainingRun,
    *,
    team: Team = ALONE,
    progress: Progress = SILENT,
) -> int:
    """Train a network in place; at the end it holds the averaged weights.

    With several processes, each takes its share of every batch from its own source and draws its
    own noise; the leading process writes reports, log and checkpoint.

    Args:
        network: on the device of the training.
        source: returns the batch of a step.
        run: the plan.
        team: the processes of this training.
        progress: display of the progress.

    Returns:
        The number of completed steps, those before a resumption included.

    Raises:
        ComputationError: the loss is no longer a number, or another process has ended; the last
            checkpoint is kept.
        OutputError: a checkpoint cannot be saved; the one before it is kept.
        Interruption: a signal asked to stop; the state after the last step has been saved.
        InputFileError: there is no permission to read the checkpoint.
        WeightsError: the checkpoint is damaged or does not fit the network.
    """
    device = next(network.parameters()).device
    trained = _trained_parameters(network, run.part)
    optimizer = _optimizer(trained, run.settings, device)
    team.send_from_leader(value.data for value in network.parameters())
    average = WeightAverage(network, run.settings.ema)
    step = 0
    if run.checkpoint is not None and run.checkpoint.exists():
        kept = average.weights
        step = load_checkpoint(run.checkpoint, network, optimizer, kept, progress=progress)
        progress.say(f"resuming {run.checkpoint} at step {step}")
    if run.compile:
        network.compile_parts()
    network.train()
    meter = _Meter(run, step, device, team)
    gradients = StepGradients(
        network, run.settings, part=run.part, record=run.compile, progress=progress
    )
    seed = team.seed(run.seed)
    # Signals are handled after a step, when the state can be saved.
    with (
        interruption.held(),
        interruption.patient(),
        progress.task("training", run.steps - step, "steps") as task,
    ):
        while step < run.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(run.settings, step, run.steps)
            losses = gradients(source(step), seed, step)
            team.average_gradients(trained)
            if run.settings.clip > 0:
                nn.utils.clip_grad_norm_(trained, run.settings.clip)
            optimizer.step()
            average.update(network, step)
            step += 1
            task.advance()
            last = meter.last(losses, step)
            due = last or step % run.checkpoint_every == 0 or meter.due(step)
            saved = run.checkpoint is not None and due
            if step % run.report_every == 0 or last or saved:
                # Report before saving: it stops the training if a loss is not a number, so that a
                # bad state does not replace a good one.
                task.note(meter.report(step))
            if saved and run.checkpoint is not None and team.leads:
                save_checkpoint(run.checkpoint, network, optimizer, average.weights, step)
            if last:
                break
    if interruption.requested() and step < run.steps:
        how = f"; `resume=True` goes on from {run.checkpoint}" if run.checkpoint is not None else ""
        raise Interruption(f"the training was interrupted after step {step}{how}")
    average.copy_to(network)
    network.eval()
    return step


def _trained_parameters(network: Network, part: str) -> list[nn.Parameter]:
    """The parameters that a training changes; the others are frozen."""
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(part == "all" or name.startswith("uncertainty."))
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def learning_rate(settings: TrainingSettings, step: int, steps: int) -> float:
    """The learning rate of a step: linear warm-up, then constant or a cosine to zero."""
    rise = min(1.0, (step + 1) / settings.warm_up) if settings.warm_up else 1.0
    if settings.schedule == "constant":
        return settings.learning_rate * rise
    return settings.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / steps)))


def _optimizer(
    parameters: list[nn.Parameter], settings: TrainingSettings, device: torch.device
) -> torch.optim.AdamW:
    # No weight decay for norms and biases.
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


class _Meter:
    """Losses and speed since the last report.

    Samples are molecules times noise draws. Device seconds are summed over all processes and over
    the parts of an interrupted training.
    """

    def __init__(self, run: TrainingRun, start: int, device: torch.device, team: Team) -> None:
        self._run, self._team, self._device = run, team, device
        self._total = torch.zeros(3, device=device)
        self._step = start
        self._before = _spent(run.log) if start > 0 else 0.0
        self._began = self._time = self._saved = time.monotonic()

    def last(self, losses: Tensor, step: int) -> bool:
        """Add the losses of a step; returns whether it is the last one."""
        self._total += losses
        limit = self._run.stop_after_s
        if step == self._run.steps:
            return True
        asked = interruption.requested()
        if self._team.size == 1 and asked:
            return True
        if step % _LOOK_EVERY or (limit is None and self._team.size == 1):
            return False
        late = limit is not None and time.monotonic() - self._began > limit
        return self._team.agree(late or asked, self._device)

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after this step, by the time since the last one."""
        every = self._run.checkpoint_every_s
        if every is None or (self._team.size > 1 and step % _LOOK_EVERY):
            return False
        over = time.monotonic() - self._saved > every
        if self._team.size > 1:
            over = self._team.agree(over, self._device)
        if over:
            self._saved = time.monotonic()
        return over

    def report(self, step: int) -> str:
        """Record mean losses and speed; returns a line to print.

        Raises:
            ComputationError: a loss is not a number.
        """
        run, steps = self._run, step - self._step
        means = (self._team.mean(self._total) / steps).tolist()
        _require_numbers(means, self._step + 1, step, run.checkpoint)
        now = time.monotonic()
        rate = steps * run.settings.batch / (now - self._time)
        memory = None
        if self._device.type == "cuda":
            memory = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        record: Report = {
            "step": step,
            "molecules": step * run.settings.batch,
            "loss": means[0],
            "position_loss": means[1],
            "uncertainty_loss": means[2],
            "learning_rate": learning_rate(run.settings, step - 1, run.steps),
            "molecules_per_s": round(rate, 1),
            "samples_per_s": round(rate * (run.settings.draws if run.part == "all" else 1), 1),
            "elapsed_s": round(now - self._began, 2),
            "device_s": round(self._before + self._team.size * (now - self._began), 2),
            "processes": self._team.size,
            "peak_memory_gib": memory,
        }
        run.reports.append(record)
        if run.log is not None and self._team.leads:
            try:
                with run.log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(record) + "\n")
            except OSError as error:
                raise cannot_write(run.log, error) from error
            scalars = {name: float(record[name]) for name in _SHOWN}
            append_scalars(run.log.with_name(EVENTS), step, scalars)
        self._total.zero_()
        self._step, self._time = step, now
        return f"loss {means[0]:.4g}, {rate:.0f} molecules/s"


def _spent(log: Path | None) -> float:
    """Device seconds of a training before it was stopped, from the last whole line of its log."""
    if log is None or not log.exists():
        return 0.0
    for line in reversed(log.read_text(encoding="utf-8").splitlines()):
        try:
            return float(json.loads(line)["device_s"])
        except (ValueError, KeyError, TypeError):
            continue  # an incomplete line, or one of an older version
    return 0.0


def _require_numbers(means: list[float], first: int, step: int, checkpoint: Path | None) -> None:
    if all(math.isfinite(value) for value in means):
        return
    kept = "no checkpoint was kept"
    if checkpoint is not None and checkpoint.exists():
        kept = f"the last good state is in {checkpoint}"
    raise ComputationError(
        f"the loss is not a number at step {step} (it was one before step {first})",
        where="training",
        do=f"Lower the learning rate; {kept}.",
    )
