"""Samples of the posterior from a network that is told the experiment."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from molexa_core.network.batch import Batch
from molexa_core.network.config import SamplerSettings
from molexa_core.network.diffusion import churn_noise
from molexa_core.network.inference.answers import prepared
from molexa_core.network.inference.engine import Engine
from molexa_core.network.molecule_frame import batch_frames
from molexa_core.network.network import Network

_SEEDS: Final = 1_000_003


def sample(
    network: Network | Engine,
    batch: Batch,
    samples: int,
    *,
    seed: int,
    sampler: SamplerSettings | None = None,
) -> Tensor:
    """Draw structures for every entry of a batch.

    Args:
        network: in evaluation mode, on the device of the batch; pass an engine if there are several
            batches.
        batch: B entries in any frame, with `told` what is told of them.
        samples: structures for each entry.
        seed: of the samples.
        sampler: settings that replace those of the network.

    Returns:
        (B, samples, N, 3) bohr, centred, in the frame of the momenta given; zero for padding.
    """
    engine = prepared(network)
    settings = sampler or engine.network.settings.sampler
    rotation = batch_frames(batch.numbers, batch.momenta)
    framed = batch.with_frame(rotation)
    generator = torch.Generator(engine.device).manual_seed(seed * _SEEDS + samples)
    shape = (len(batch) * samples, batch.atoms, 3)
    noise = torch.randn(shape, device=engine.device, generator=generator)
    fresh = churn_noise(settings, noise, generator)
    drawn = engine(framed, noise, settings, fresh=fresh, samples=samples).positions
    drawn = drawn.view(len(batch), samples, batch.atoms, 3)
    return torch.einsum("bxk,bsnx->bsnk", rotation.to(drawn.dtype), drawn)
