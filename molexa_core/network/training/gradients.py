"""The gradients of a training step: the losses, in parts that fit into memory, or recorded.

On a GPU a step of the atom layout is some 1700 launches of small kernels, and launching them takes
longer than running them. `RecordedGradients` records the launches of one step as a CUDA graph and
replays it with the numbers of every further step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from molexa_core.base.errors import ComputationError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.network.batch import Batch
from molexa_core.network.config import TrainingSettings
from molexa_core.network.diffusion import Losses, StepNoise, position_loss, uncertainty_loss
from molexa_core.network.molecule_frame import batch_frames
from molexa_core.network.network import Network

T = TypeVar("T")
Work = Callable[[Batch, StepNoise], Tensor]
_STEP_SEEDS: Final = 1_000_003
_PLAIN_STEPS: Final = 3
"""Steps before one is recorded: they compile the blocks and allocate the gradients."""


class StepGradients:
    """Gradients of the steps of a training.

    Args:
        network: the trained network; its gradients are overwritten by every call.
        settings: the recipe.
        part: `all` trains all modules, `uncertainty` the uncertainty module alone.
        record: whether steps may be recorded, which needs a GPU.
        progress: display of the progress.

    Attributes:
        count: parts into which a batch is divided so that the memory of the GPU suffices.
    """

    def __init__(
        self,
        network: Network,
        settings: TrainingSettings,
        *,
        part: str = "all",
        record: bool = False,
        progress: Progress = SILENT,
    ) -> None:
        self.network, self.settings, self.part = network, settings, part
        self.count = 1
        self._progress = progress
        on_gpu = next(network.parameters()).is_cuda
        # The sampler of the uncertainty loss reads numbers back, which no graph can contain.
        simple = part == "all" and settings.uncertainty_weight <= 0
        self._recorded: RecordedGradients | None = None
        if record and on_gpu and simple:
            self._recorded = RecordedGradients(network, self._whole)

    def __call__(self, batch: Batch, seed: int, step: int) -> Tensor:
        """Gradients of one step; returns (3) total, position and uncertainty loss.

        The random numbers are drawn for the whole batch and each part is weighted by its number of
        molecules, so the number of parts changes the result only by rounding.

        Raises:
            ComputationError: the memory of the GPU does not hold one molecule.
        """
        batch, noise = self._prepared(batch, seed, step)
        while True:
            try:
                if self.count == 1 and self._recorded is not None:
                    return self._recorded(batch, noise)
                clear_gradients(self.network)
                return self._in_parts(batch, noise)
            except torch.OutOfMemoryError as error:
                if self.count >= len(batch):
                    raise ComputationError(
                        "the memory of the GPU does not hold the training of one molecule",
                        do="Choose a smaller network, or another GPU.",
                    ) from error
            self._recorded = None
            self.count = min(2 * self.count, len(batch))
            if batch.momenta.is_cuda:
                torch.cuda.empty_cache()
            rows = -(-len(batch) // self.count)
            self._progress.say(
                f"the memory of the GPU is too small for {len(batch)} molecules at once; "
                f"gradients are summed over {self.count} parts of {rows} (the batch stays the same)"
            )

    def _prepared(self, batch: Batch, seed: int, step: int) -> tuple[Batch, StepNoise]:
        """The batch in the frames of its molecules, and the random numbers of the step."""
        generator = torch.Generator(batch.momenta.device).manual_seed(seed * _STEP_SEEDS + step)
        batch = batch.with_frame(batch_frames(batch.numbers, batch.momenta))
        draws = 0 if self.part == "uncertainty" else self.settings.draws
        sampler = self.network.settings.sampler
        return batch, StepNoise.of(batch, draws, self._judged(batch), sampler, generator)

    def _judged(self, batch: Batch) -> int:
        """Molecules in the uncertainty loss."""
        if self.part != "uncertainty" and self.settings.uncertainty_weight <= 0:
            return 0
        return max(1, round(len(batch) * self.settings.uncertainty_share))

    def _whole(self, batch: Batch, noise: StepNoise) -> Tensor:
        return self._backward(batch, noise, slice(0, len(batch)))

    def _in_parts(self, batch: Batch, noise: StepNoise) -> Tensor:
        total = torch.zeros(3, device=batch.momenta.device)
        size = -(-len(batch) // self.count)
        for start in range(0, len(batch), size):
            total += self._backward(batch, noise, slice(start, min(start + size, len(batch))))
        return total

    def _backward(self, batch: Batch, noise: StepNoise, rows: slice) -> Tensor:
        """Add the gradients of a slice of the batch; returns its share of the losses."""
        device = batch.momenta.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            losses = self._losses(batch, noise, rows)
        losses.total.backward()  # type: ignore[no-untyped-call]
        return torch.stack((losses.total, losses.position, losses.uncertainty)).detach()

    def _losses(self, batch: Batch, noise: StepNoise, rows: slice) -> Losses:
        """The contribution of a slice of the batch to the losses of a step."""
        settings, network, judged = self.settings, self.network, self._judged(batch)
        uncertainty_only = self.part == "uncertainty"
        position = uncertainty = torch.zeros((), device=batch.momenta.device)
        part = batch.rows(rows)
        with torch.set_grad_enabled(not uncertainty_only):
            conditioning = network.condition(part)
        if not uncertainty_only:
            drawn = slice(rows.start * settings.draws, rows.stop * settings.draws)
            repeated = conditioning.repeat(settings.draws)
            position = position_loss(
                network, repeated, settings, noise.levels[drawn], noise.positions[drawn]
            )
            position = position * (len(part) / len(batch))
        stop = min(rows.stop, judged)
        if stop > rows.start:
            if stop < rows.stop:
                part = batch.rows(slice(rows.start, stop))
                with torch.set_grad_enabled(not uncertainty_only):
                    conditioning = network.condition(part)
            selected = slice(rows.start, stop)
            churned = [noise_of_step[selected] for noise_of_step in noise.churned]
            start = noise.sampler[selected]
            uncertainty = uncertainty_loss(network, conditioning, start, churned)
            present = batch.present
            uncertainty = uncertainty * (present[selected].sum() / present[:judged].sum())
        weight = 1.0 if uncertainty_only else settings.uncertainty_weight
        total = settings.position_weight * position + weight * uncertainty
        return Losses(total, position, uncertainty)


class RecordedGradients:
    """Steps recorded as a CUDA graph, one for batches of one shape.

    The first steps run as they are written. A batch of another shape does so, too; the graph stays
    for those that follow.

    Args:
        network: its gradients are overwritten.
        work: adds the gradients of a batch to those of the network and returns the losses.
    """

    def __init__(self, network: nn.Module, work: Work) -> None:
        self._network, self._work = network, work
        self._plain = 0
        self._inputs: tuple[Batch, StepNoise] | None = None
        self._shapes: list[tuple[torch.Size, torch.dtype]] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._losses: Tensor | None = None

    def __call__(self, batch: Batch, noise: StepNoise) -> Tensor:
        """Gradients of a step; returns its losses."""
        if self._graph is None:
            if self._plain < _PLAIN_STEPS:
                self._plain += 1
                return self._as_written(batch, noise)
            self._record(batch, noise)
        shapes = _shapes((batch, noise))
        if shapes != self._shapes or self._graph is None or self._losses is None:
            return self._as_written(batch, noise)
        for kept, new in zip(tensors(self._inputs), tensors((batch, noise)), strict=True):
            kept.copy_(new)
        self._graph.replay()
        return self._losses.clone()

    def _as_written(self, batch: Batch, noise: StepNoise) -> Tensor:
        clear_gradients(self._network)
        return self._work(batch, noise)

    def _record(self, batch: Batch, noise: StepNoise) -> None:
        self._inputs = (copied(batch), copied(noise))
        self._shapes = _shapes(self._inputs)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._as_written(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as those that watch the other processes, go on using the GPU.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._losses = self._as_written(*self._inputs)
        self._graph = graph


def clear_gradients(network: nn.Module) -> None:
    """Set gradients to zero where they are: those of a graph stay in their place."""
    there = [one.grad for one in network.parameters() if one.grad is not None]
    if there:
        torch._foreach_zero_(there)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of a dataclass or tuple, and of what they contain, in the order of the fields."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from tensors(one)
    elif is_dataclass(value):
        for item in fields(value):
            yield from tensors(getattr(value, item.name))


def copied(value: T) -> T:
    """A dataclass or tuple with copies of all its tensors, and of those of what it contains."""
    if isinstance(value, Tensor):
        return value.clone()  # type: ignore[return-value]
    if isinstance(value, tuple):
        return tuple(copied(one) for one in value)  # type: ignore[return-value]
    if is_dataclass(value) and not isinstance(value, type):
        parts = {item.name: copied(getattr(value, item.name)) for item in fields(value)}
        return replace(value, **parts)
    return value


def _shapes(value: Any) -> list[tuple[torch.Size, torch.dtype]]:
    return [(one.shape, one.dtype) for one in tensors(value)]
