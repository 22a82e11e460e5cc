"""The processes that train one network together, one per GPU, as torchrun starts them.

Every process holds the whole network and handles its share of each batch. Gradients are averaged
over the processes before every step of the optimizer, so that all have the same weights. The batch
size of the settings is that of all processes together, and the learning rate belongs to it:
neither depends on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import torch
from torch import Tensor, distributed

from molexa_core.base.device import Device
from molexa_core.base.errors import ComputationError, UsageError

PATIENCE: Final = timedelta(minutes=10)
"""Longest wait of a process for the others, which compile, simulate and save at their own pace."""
_RANK_SEEDS: Final = 104_729


@dataclass(frozen=True)
class Team:
    """This process among those of one training.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """A seed for the draws of this process alone; the given seed if there is one process."""
        return seed + _RANK_SEEDS * self.rank

    def share(self, batch: int) -> int:
        """Number of molecules of each batch that this process handles.

        Raises:
            UsageError: the batch does not divide evenly.
        """
        if batch % self.size:
            raise UsageError(
                f"a batch of {batch} cannot be shared evenly by {self.size} processes",
                do=f"Choose a `batch=` that is a multiple of {self.size}.",
            )
        return batch // self.size

    def send_from_leader(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by those of the leading process."""
        if self.size > 1:
            for tensor in tensors:
                self._collective(partial(distributed.broadcast, tensor, 0))

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [one.grad for one in parameters if one.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._collective(lambda: distributed.all_reduce(flat))
        parts = torch.split(flat / self.size, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.size == 1:
            return values
        total = values.clone()
        self._collective(lambda: distributed.all_reduce(total))
        return total / self.size

    def agree(self, wish: bool, device: torch.device) -> bool:
        """Whether the condition `wish` is true in any process."""
        return self.mean(torch.tensor(float(wish), device=device)).item() > 0

    def _collective(self, work: Callable[[], object]) -> None:
        try:
            work()
        except RuntimeError as error:
            raise ComputationError(
                "another process of this training has ended, or cannot be reached",
                where=f"process {self.rank + 1} of {self.size}",
                do="Its own message says why; `resume=True` goes on from the last checkpoint.",
            ) from error


ALONE: Final = Team()


def leads_here() -> bool:
    """Whether this process writes output for all that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def team_of(device: str) -> Iterator[tuple[Team, str]]:
    """The processes that torchrun started together with this one, and its own device.

    Args:
        device: `cpu`, or a GPU: each process of a host takes the one of its local rank.

    Raises:
        UsageError: more processes on this host than GPUs.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        yield ALONE, device
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if Device.parse(device).kind == "cuda":
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"process {local + 1} of this host finds {torch.cuda.device_count()} GPUs",
                do="Start torchrun with no more processes per host than there are GPUs.",
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size()), device
    finally:
        distributed.destroy_process_group()
