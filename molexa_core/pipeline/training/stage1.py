"""Training data of stage 1: random molecules, drawn and exploded on the training device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from molexa_core.base.forward_model import TAU_FS
from molexa_core.base.progress import SILENT, Progress
from molexa_core.network.batch import Batch
from molexa_core.network.inference.answers import predict_batch
from molexa_core.network.inference.engine import Engine
from molexa_core.network.network import Network
from molexa_core.physics.coulomb.build_up import BuildUp, ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import (
    ACCURACIES,
    Accuracy,
    State,
    explode,
    step,
)
from molexa_core.physics.molecules.clusters import ClusterSource, Mixture

_BLOCK_SEEDS: Final = 7_919


@dataclass(frozen=True)
class StageOneData:
    """The training data of stage 1.

    Attributes:
        mixture: kinds of molecules.
        smallest, largest: limits of the number of atoms, which is drawn uniformly.
        tau_fs: window of the charge build-up.
        uniform_atoms: every batch has molecules of one size, drawn per batch; otherwise sizes are
            mixed and padded to `largest`.
        block: number of steps whose molecules are simulated together.
        accuracy: accuracy of the explosions.
    """

    mixture: Mixture = field(default_factory=Mixture)
    smallest: int = 2
    largest: int = 9
    tau_fs: float = TAU_FS
    uniform_atoms: bool = False
    block: int = 16
    accuracy: Accuracy = ACCURACIES["fast"]


class StageOneSource:
    """Source of the batch of a step, which is a function of (seed, step).

    Args:
        data: the distribution of molecules.
        batch: molecules per step.
        device: device of the simulation.
        seed: of all random draws.
        compiled: whether to compile the integrator.
        sizes_seed: seed of the numbers of atoms if each batch has one size; `seed` if not given.
            Processes that train together draw different molecules of the same size.
    """

    def __init__(
        self,
        data: StageOneData,
        batch: int,
        device: torch.device | str,
        seed: int,
        *,
        compiled: bool = False,
        sizes_seed: int | None = None,
    ) -> None:
        self.data, self.batch, self.seed = data, batch, seed
        self.sizes_seed = seed if sizes_seed is None else sizes_seed
        self.device = torch.device(device)
        self._clusters = ClusterSource(data.mixture, device, seed)
        self._rise: BuildUp = ErrorFunctionRise(data.tau_fs)
        self._step: Callable[..., State] = torch.compile(step) if compiled else step
        self._block_number = -1
        self._block: Batch | None = None

    def __call__(self, step_number: int) -> Batch:
        """The batch of this step, with positions."""
        number, place = divmod(step_number, self.data.block)
        if number != self._block_number or self._block is None:
            self._block = self._simulate(number)
            self._block_number = number
        start = place * self.batch
        width = self._width(number, place) if self.data.uniform_atoms else self.data.largest
        return _rows(self._block, start, start + self.batch, width, self.data.uniform_atoms)

    def _width(self, number: int, place: int) -> int:
        """The number of atoms of the molecules of a step, if a batch has one size."""
        generator = torch.Generator().manual_seed(
            (self.sizes_seed * _BLOCK_SEEDS + number) * 1009 + place
        )
        span = self.data.largest - self.data.smallest + 1
        return self.data.smallest + int(torch.randint(span, (1,), generator=generator))

    @torch.no_grad()
    def _simulate(self, number: int) -> Batch:
        data = self.data
        self._clusters.seed(self.seed * _BLOCK_SEEDS + number)
        total = self.batch * data.block
        if data.uniform_atoms:
            widths = [self._width(number, place) for place in range(data.block)]
            atoms = torch.tensor(widths, device=self.device).repeat_interleave(self.batch)
        else:
            atoms = torch.randint(
                data.smallest,
                data.largest + 1,
                (total,),
                device=self.device,
                generator=self._clusters.generator,
            )
        clusters = self._clusters.draw(total, atoms, data.largest)
        momenta = explode(
            clusters.positions,
            clusters.charges,
            clusters.masses,
            build_up=self._rise,
            accuracy=data.accuracy,
            advance=self._step,
        ).contiguous()
        # The explosion of one molecule in a hundred million overflows; another molecule takes its
        # place, so that the training continues.
        good = torch.isfinite(momenta).all(2).all(1)
        rows = torch.arange(total, device=self.device)
        rows = torch.where(good, rows, good.int().argmax())
        return Batch(
            numbers=clusters.numbers[rows],
            charges=clusters.charges[rows],
            masses=clusters.masses[rows],
            momenta=momenta[rows],
            mask=clusters.mask[rows],
            positions=clusters.positions[rows],
        )


class PredictionPool:
    """Molecules with predictions of a finished network, to train its error estimate.

    The rest of the network is frozen in that training. The expensive sampler therefore runs only
    once for each molecule, which is used in many steps.

    Args:
        network: finished network in evaluation mode.
        source: molecules with positions.
        batches: number of batches to draw.
        seed: of the samples and of the order of the batches.
        progress: display of the progress.
    """

    def __init__(
        self,
        network: Network,
        source: Callable[[int], Batch],
        batches: int,
        seed: int,
        *,
        progress: Progress = SILENT,
    ) -> None:
        self.seed = seed
        self._pool: list[Batch] = []
        engine = Engine(network)
        with progress.task("predicting", batches, "batches") as task:
            for number in range(batches):
                drawn = source(number)
                predicted, _, framed = predict_batch(engine, drawn, seed=seed + number)
                self._pool.append(replace(framed, predicted=predicted))
                task.advance()

    def __call__(self, step_number: int) -> Batch:
        """The batch of a step; the pool is shuffled anew in every pass."""
        around, place = divmod(step_number, len(self._pool))
        generator = torch.Generator().manual_seed(self.seed * _BLOCK_SEEDS + around)
        return self._pool[int(torch.randperm(len(self._pool), generator=generator)[place])]


def _rows(block: Batch, start: int, stop: int, width: int, uniform: bool) -> Batch:
    def cut(tensor: Tensor) -> Tensor:
        return tensor[start:stop, :width].contiguous()

    if block.mask is None or block.positions is None:
        msg = "a simulated block has a mask and positions"
        raise ValueError(msg)
    return Batch(
        numbers=cut(block.numbers),
        charges=cut(block.charges),
        masses=cut(block.masses),
        momenta=cut(block.momenta),
        mask=None if uniform else cut(block.mask),
        positions=cut(block.positions),
    )
