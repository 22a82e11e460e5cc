"""Fast inference: momenta to positions and expected errors, for many molecules or one.

On a GPU the few small layers of the denoiser finish before Python can launch the next ones.
Conditioning, sampling and error estimate are therefore captured once per shape of the input as a
CUDA graph and replayed, with 16-bit weights and, if requested, compiled parts. Batches are padded
to a few sizes, so that few shapes occur. On a CPU the large matrices are stored in 16 bits where
no precision is lost (`half`), and a few molecules run on one thread.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from molexa_core.base import interruption
from molexa_core.network.batch import Batch
from molexa_core.network.conditions import Told
from molexa_core.network.config import SamplerSettings
from molexa_core.network.diffusion import churn_noise, sample
from molexa_core.network.inference.threads import threads_for
from molexa_core.network.layouts.atom_tokens import AtomBlock
from molexa_core.network.layouts.half import halved
from molexa_core.network.layouts.pair_layers import (
    Block,
    LinearResidual,
    Memory,
    PairMerge,
    ResidualLayer,
    SelfAttention,
)
from molexa_core.network.network import Network

MOST_ROWS: Final = {"atoms": 4096, "pairs": 2048}
"""Largest number of molecules times samples in one pass, by layout of the network."""
MOST_GRAPHS: Final = 24
"""Largest number of captured graphs in memory; each holds its own inputs and outputs."""
REDUCED_PARTS: Final = (AtomBlock, Block, Memory, PairMerge, SelfAttention, LinearResidual)
"""Modules whose matrix products may run in bf16."""
HALVED_PARTS: Final = (AtomBlock, Memory, ResidualLayer, SelfAttention)
"""Modules whose large matrices are stored in 16 bits on a CPU."""
_WARM_UP: Final = 2


@dataclass(frozen=True)
class Drawn:
    """Predictions for a batch, one sample per row.

    Attributes:
        positions: (B, N, 3) bohr, centred, in the frame of the batch.
        expected: (B, N, 3) expected absolute error of each coordinate, bohr.
    """

    positions: Tensor
    expected: Tensor


@torch.no_grad()
def draw(
    network: Network,
    batch: Batch,
    noise: Tensor,
    settings: SamplerSettings,
    *,
    fresh: Sequence[Tensor],
    samples: int = 1,
    reduced: bool = False,
) -> Drawn:
    """Run conditioning, sampler and error estimate.

    Args:
        network: in evaluation mode, on the device of the batch.
        batch: (B) molecules in the model frame.
        noise: (B * samples, N, 3) standard normal numbers; the samples of a molecule are
            consecutive.
        settings: of the sampler.
        fresh: noise of the churned steps, each in the shape of `noise`
            (`diffusion.churn_noise`).
        samples: samples per molecule, which share one pass of the dynamics module.
        reduced: whether matrix products may run in bf16 (inputs are embedded in fp32 anyway).

    Returns:
        One sample per row of `noise`.
    """
    with torch.autocast(noise.device.type, torch.bfloat16, enabled=reduced):
        conditioning = network.condition(batch).repeat(samples)
        scaled = sample(network, conditioning, noise, settings, fresh=fresh)
        expected = network.expected_error(network.uncertainty_logits(scaled, conditioning))
    return Drawn(scaled * conditioning.scale, expected)


class Engine:
    """A network prepared for inference on its device.

    The engine uses the weights as they are now; later training does not change it.

    Args:
        network: in evaluation mode; it is not changed.
        reduced: matrix products in bf16 (GPU only; inputs are embedded in fp32 anyway).
        compiled: compile the repeated parts (GPU only); this takes about ten seconds per number of
            atoms and is worth it for more than about ten thousand molecules.
        rows: largest number of molecules times samples in one pass.
    """

    def __init__(
        self,
        network: Network,
        *,
        reduced: bool = True,
        compiled: bool = False,
        rows: int | None = None,
    ) -> None:
        self.device = next(network.parameters()).device
        self.on_gpu = self.device.type == "cuda"
        self.reduced = reduced and self.on_gpu
        self.network = network
        if not self.on_gpu:
            self.network = halved_copy(network)
        elif self.reduced:
            self.network = lean_copy(network)
        elif compiled:
            self.network = copy.deepcopy(network)
        self.rows = rows or MOST_ROWS[network.settings.tokens]
        if compiled and self.on_gpu:
            self.network.compile_for_inference()
        self._graphs: OrderedDict[tuple[object, ...], _Graph] = OrderedDict()
        self._seen: set[tuple[object, ...]] = set()
        self._pool = torch.cuda.graph_pool_handle() if self.on_gpu else None

    def __call__(
        self,
        batch: Batch,
        noise: Tensor,
        settings: SamplerSettings | None = None,
        *,
        fresh: Sequence[Tensor] = (),
        samples: int = 1,
    ) -> Drawn:
        """Predict as `draw` does, in pieces of at most `rows` rows."""
        chosen = settings or self.network.settings.sampler
        most = max(1, self.rows // samples)
        parts = []
        for start in range(0, len(batch), most):
            interruption.check()
            rows = slice(start * samples, (start + most) * samples)
            part = _rows(batch, slice(start, start + most))
            parts.append(
                self._draw(part, noise[rows], chosen, [added[rows] for added in fresh], samples)
            )
        if len(parts) == 1:
            return parts[0]
        return Drawn(
            torch.cat([part.positions for part in parts]),
            torch.cat([part.expected for part in parts]),
        )

    def predict(self, batch: Batch, *, seed: int, sampler: SamplerSettings | None = None) -> Drawn:
        """One sample per molecule of a batch in the model frame, with noise drawn from the seed."""
        settings = sampler or self.network.settings.sampler
        device = self.device
        generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn(batch.momenta.shape, device=device, generator=generator)
        return self(batch, noise, settings, fresh=churn_noise(settings, noise, generator))

    def _draw(
        self,
        batch: Batch,
        noise: Tensor,
        settings: SamplerSettings,
        fresh: list[Tensor],
        samples: int,
    ) -> Drawn:
        def run(batch: Batch, noise: Tensor, fresh: list[Tensor]) -> Drawn:
            return draw(
                self.network,
                batch,
                noise,
                settings,
                fresh=fresh,
                samples=samples,
                reduced=self.reduced,
            )

        if not self.on_gpu:
            with threads_for(len(noise) * batch.atoms):
                return run(batch, noise, fresh)
        count = len(batch)
        size = _padded_size(count, max(1, self.rows // samples))
        key = (size, samples, batch.atoms, batch.mask is None, batch.told is None, settings)
        batch = _padded_batch(batch, size)
        noise = _padded(noise, size * samples)
        fresh = [_padded(added, size * samples) for added in fresh]
        if key not in self._seen:
            # A shape that occurs only once is not worth capturing.
            self._seen.add(key)
            result = run(batch, noise, fresh)
        else:
            if key not in self._graphs:
                self._graphs[key] = _Graph(run, batch, noise, fresh, self._pool)
                if len(self._graphs) > MOST_GRAPHS:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            result = self._graphs[key](batch, noise, fresh)
        rows = count * samples
        return Drawn(result.positions[:rows].clone(), result.expected[:rows].clone())


class _Graph:
    """A captured CUDA graph with its own inputs and outputs."""

    def __init__(
        self,
        run: Callable[[Batch, Tensor, list[Tensor]], Drawn],
        batch: Batch,
        noise: Tensor,
        fresh: list[Tensor],
        pool: Any,
    ) -> None:
        self._batch = _mapped(batch, torch.clone)
        self._noise = noise.clone()
        self._fresh = [added.clone() for added in fresh]
        side_stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(_WARM_UP):
                run(self._batch, self._noise, self._fresh)
        torch.cuda.current_stream().wait_stream(side_stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._out = run(self._batch, self._noise, self._fresh)

    def __call__(self, batch: Batch, noise: Tensor, fresh: list[Tensor]) -> Drawn:
        """Replay the graph; the next call overwrites the result."""
        for field in fields(batch):
            value = getattr(batch, field.name)
            if value is not None:
                getattr(self._batch, field.name).copy_(value)
        self._noise.copy_(noise)
        for target, added in zip(self._fresh, fresh, strict=True):
            target.copy_(added)
        self._graph.replay()
        return self._out


def lean_copy(network: Network) -> Network:
    """A copy whose blocks hold their matrices in bf16, as autocast would make them every time."""
    reduced = copy.deepcopy(network).eval().requires_grad_(False)
    for module in reduced.modules():
        if isinstance(module, REDUCED_PARTS):
            for part in module.modules():
                if isinstance(part, nn.Linear):
                    part.to(torch.bfloat16)
    return reduced


def halved_copy(network: Network) -> Network:
    """A copy whose large matrices are stored in 16 bits where no precision is lost.

    The copy shares all other tensors with the network.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    halved_network = copy.deepcopy(network, shared)
    layers = [
        (module, name, part)
        for module in halved_network.modules()
        if isinstance(module, HALVED_PARTS)
        for name, part in module.named_children()
        if isinstance(part, nn.Linear)
    ]
    with threads_for(0):
        for module, name, part in layers:
            setattr(module, name, halved(part))
    return halved_network


def _padded_size(count: int, most: int) -> int:
    """The next power of two, up to the size of a full piece."""
    return min(most, 1 << max(0, count - 1).bit_length())


def _mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    changed: dict[str, Any] = {
        field.name: value.mapped(change) if isinstance(value, Told) else change(value)
        for field in fields(batch)
        if (value := getattr(batch, field.name)) is not None
    }
    return replace(batch, **changed)


def _rows(batch: Batch, rows: slice) -> Batch:
    if rows.start == 0 and rows.stop >= len(batch):
        return batch
    return _mapped(batch, lambda value: value[rows])


def _padded_batch(batch: Batch, size: int) -> Batch:
    # Inference does not need the true positions.
    batch = replace(batch, positions=None, predicted=None)
    return _mapped(batch, lambda value: _padded(value, size))


def _padded(value: Tensor, size: int) -> Tensor:
    """The rows, extended to `size` rows by copies of the first one."""
    missing = size - len(value)
    if missing <= 0:
        return value
    return torch.cat((value, value[:1].expand(missing, *value.shape[1:])))
