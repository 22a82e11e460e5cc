"""The one way from momenta to positions and errors, for many molecules or one.

On a GPU a denoiser of a few small layers is over before the next launch arrives from Python, so
the whole way is captured once per shape as a CUDA graph and replayed, with 16-bit weights and, if
asked for, compiled parts. Molecules of one number of atoms are padded to a few batch sizes, so that
few shapes occur. On a CPU the large matrices are stored in 16 bits where that loses nothing
(`half`), and few molecules run on one thread.
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
"""Molecules times samples that run at once, by layout of the network."""
MOST_GRAPHS: Final = 24
"""Captured graphs that are kept; each holds its own inputs and outputs."""
REDUCED_PARTS: Final = (AtomBlock, Block, Memory, PairMerge, SelfAttention, LinearResidual)
"""Modules whose matrix products may run in bf16."""
HALVED_PARTS: Final = (AtomBlock, Memory, ResidualLayer, SelfAttention)
"""Modules whose large matrices are stored in 16 bits on a CPU."""
_WARM_UP: Final = 2


@dataclass(frozen=True)
class Drawn:
    """What the network answers for a batch, one sample per row.

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
    """Condition, sample and judge.

    Args:
        network: in evaluation mode, on the device of the batch.
        batch: (B) molecules in the model frame.
        noise: (B * samples, N, 3) standard normal; the samples of a molecule are neighbours.
        settings: of the sampler.
        fresh: noise of the churned steps, each as `noise` (`diffusion.churn_noise`).
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
    """A network prepared for inference on its device, as it is now: later training is not seen.

    Args:
        network: in evaluation mode; it is left as it is.
        reduced: matrix products in bf16 (GPU only; inputs are embedded in fp32 anyway).
        compiled: compile the repeated parts (GPU only); takes some ten seconds per number of
            atoms and pays from some ten thousand molecules on.
        rows: most molecules times samples that run at once.
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
        """As `draw`, in pieces of at most `rows` rows."""
        chosen = settings or self.network.settings.sampler
        most = max(1, self.rows // samples)
        parts = []
        for start in range(0, len(batch), most):
            interruption.check()
            rows = slice(start * samples, (start + most) * samples)
            part = _rows(batch, slice(start, start + most))
            parts.append(
                self._draw(part, noise[rows], chosen, [one[rows] for one in fresh], samples)
            )
        if len(parts) == 1:
            return parts[0]
        return Drawn(
            torch.cat([part.positions for part in parts]),
            torch.cat([part.expected for part in parts]),
        )

    def predict(self, batch: Batch, *, seed: int, sampler: SamplerSettings | None = None) -> Drawn:
        """One sample per molecule of a batch in the model frame, from the seed's noise."""
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
        def work(batch: Batch, noise: Tensor, fresh: list[Tensor]) -> Drawn:
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
                return work(batch, noise, fresh)
        count = len(batch)
        size = _padded_size(count, max(1, self.rows // samples))
        key = (size, samples, batch.atoms, batch.mask is None, settings)
        batch = _padded_batch(batch, size)
        noise = _padded(noise, size * samples)
        fresh = [_padded(one, size * samples) for one in fresh]
        if key not in self._seen:
            # A shape that comes once is not worth capturing.
            self._seen.add(key)
            whole = work(batch, noise, fresh)
        else:
            if key not in self._graphs:
                self._graphs[key] = _Graph(work, batch, noise, fresh, self._pool)
                if len(self._graphs) > MOST_GRAPHS:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(key)
            whole = self._graphs[key](batch, noise, fresh)
        rows = count * samples
        return Drawn(whole.positions[:rows].clone(), whole.expected[:rows].clone())


class _Graph:
    """One captured run with its own inputs and outputs."""

    def __init__(
        self,
        work: Callable[[Batch, Tensor, list[Tensor]], Drawn],
        batch: Batch,
        noise: Tensor,
        fresh: list[Tensor],
        pool: Any,
    ) -> None:
        self._batch = _mapped(batch, torch.clone)
        self._noise = noise.clone()
        self._fresh = [one.clone() for one in fresh]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                work(self._batch, self._noise, self._fresh)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._out = work(self._batch, self._noise, self._fresh)

    def __call__(self, batch: Batch, noise: Tensor, fresh: list[Tensor]) -> Drawn:
        """Replay; the result is overwritten by the next call."""
        for field in fields(batch):
            value = getattr(batch, field.name)
            if value is not None:
                getattr(self._batch, field.name).copy_(value)
        self._noise.copy_(noise)
        for mine, given in zip(self._fresh, fresh, strict=True):
            mine.copy_(given)
        self._graph.replay()
        return self._out


def lean_copy(network: Network) -> Network:
    """A copy whose blocks hold their matrices in bf16, as autocast would make them every time."""
    lean = copy.deepcopy(network).eval().requires_grad_(False)
    for module in lean.modules():
        if isinstance(module, REDUCED_PARTS):
            for part in module.modules():
                if isinstance(part, nn.Linear):
                    part.to(torch.bfloat16)
    return lean


def halved_copy(network: Network) -> Network:
    """A copy whose large matrices are stored in 16 bits where that loses nothing.

    It shares all other tensors with the network.
    """
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    lean = copy.deepcopy(network, shared)
    layers = [
        (module, name, part)
        for module in lean.modules()
        if isinstance(module, HALVED_PARTS)
        for name, part in module.named_children()
        if isinstance(part, nn.Linear)
    ]
    with threads_for(0):
        for module, name, part in layers:
            setattr(module, name, halved(part))
    return lean


def _padded_size(count: int, most: int) -> int:
    """The next power of two, up to the size of a full piece."""
    return min(most, 1 << max(0, count - 1).bit_length())


def _mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    changed = {
        field.name: change(value)
        for field in fields(batch)
        if (value := getattr(batch, field.name)) is not None
    }
    return replace(batch, **changed)


def _rows(batch: Batch, rows: slice) -> Batch:
    if rows.start == 0 and rows.stop >= len(batch):
        return batch
    return _mapped(batch, lambda value: value[rows])


def _padded_batch(batch: Batch, size: int) -> Batch:
    # The answer needs no truth.
    batch = replace(batch, positions=None, predicted=None)
    return _mapped(batch, lambda value: _padded(value, size))


def _padded(value: Tensor, size: int) -> Tensor:
    """The rows and, up to `size`, copies of the first one."""
    missing = size - len(value)
    if missing <= 0:
        return value
    return torch.cat((value, value[:1].expand(missing, *value.shape[1:])))
