"""The published layout: all N x N ordered pairs of atoms are the tokens.

Embedding, Dynamics Extraction, Structure Denoising and Uncertainty Estimation modules of the
paper (Fig. 1, Supplementary Note 1), on dense padded tensors.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from molexa_core.network.batch import Batch
from molexa_core.network.config import NetworkSettings
from molexa_core.network.layouts.pair_layers import (
    BlockStack,
    LinearResidual,
    PairMerge,
    SelfAttention,
)

TABLE: Final = 20
"""Entries of the published embedding tables for atomic number and charge."""
COORDINATES: Final = 256
"""Width of the embedding of positions."""
FOURIER: Final = 256
"""Channels of the embedding of the noise level."""
FOURIER_SCALE: Final = 16.0


def pair_bias(mask: Tensor | None) -> Tensor | None:
    """(B, 1, 1, N * N) additive attention bias that hides pairs with a padded atom."""
    if mask is None:
        return None
    both = (mask[:, :, None] & mask[:, None]).flatten(1)
    return torch.zeros_like(both, dtype=torch.float32).masked_fill(~both, -1e9)[:, None, None]


class FourierNoise(nn.Module):
    """Random Fourier features of the noise level (Karras et al. 2022, appendix F)."""

    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(FOURIER // 2) * FOURIER_SCALE)
        self.linear = nn.Linear(FOURIER, FOURIER)

    def forward(self, sigma: Tensor) -> Tensor:
        """(B) noise levels to (B, 256)."""
        phase = 2.0 * math.pi * self.frequencies * (sigma.log() / 4.0)[:, None]
        out: Tensor = self.linear(torch.cat((phase.cos(), phase.sin()), dim=1))
        return out


class PairDynamics(nn.Module):
    """Embedding and Dynamics Extraction: from the momenta to pair tokens."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.embedding
        self.number = nn.Embedding(TABLE, width)
        self.charge = nn.Embedding(TABLE, width)
        self.momentum = nn.Linear(3, width)
        self.merge = PairMerge(3 * width, 0, settings.width)
        self.stack = BlockStack(
            settings.dynamics_blocks, settings.width, settings.heads, memory=settings.memory
        )

    def forward(self, batch: Batch) -> Tensor:
        """(B, N * N, width) conditioning."""
        charge = batch.charges.round().long().clamp(0, TABLE - 1)
        momentum = batch.momenta / 100.0
        # 100 a.u. is a typical momentum of an ion: the input of the linear layer is then near 1.
        atoms = torch.cat(
            (self.number(batch.numbers), self.charge(charge), self.momentum(momentum)),
            dim=-1,
        )
        out: Tensor = self.stack(self.merge(atoms, None), pair_bias(batch.mask))
        return out


class PairDenoiser(nn.Module):
    """Structure Denoising: one pass from a noisy structure to an estimate of the clean one."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.noise = FourierNoise()
        self.position = nn.Linear(3, COORDINATES)
        self.merge = PairMerge(COORDINATES + FOURIER, width, width)
        self.stack = BlockStack(
            settings.denoiser_blocks, width, settings.heads, memory=settings.memory
        )
        self.gather_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, settings.heads)
        self.attention_norm = nn.LayerNorm(width)
        self.decode = LinearResidual(width, 3)

    def prepare(self, dynamics: Tensor) -> tuple[Tensor, Tensor]:
        """The contribution of the conditioning, which is the same at every noise level."""
        return self.merge.prepare(dynamics)

    def at_levels(self, sigma: Tensor) -> list[Tensor]:
        """(1, 256) embedding of each of the noise levels (L)."""
        return list(self.noise(sigma).split(1))

    def at_level(self, sigma: Tensor) -> Tensor:
        """(B or 1, 256) embedding of the noise levels (B or 1) of the molecules."""
        out: Tensor = self.noise(sigma)
        return out

    def forward(
        self, noisy: Tensor, level: Tensor, prepared: tuple[Tensor, Tensor], batch: Batch
    ) -> Tensor:
        """Raw output (B, N, 3) for scaled noisy positions (B, N, 3)."""
        count, n, _ = noisy.shape
        noise = level[:, None].expand(count, n, -1)
        atoms = torch.cat((self.position(noisy), noise), dim=-1)
        tokens = self.merge(atoms, prepared)
        tokens = self.stack(tokens, pair_bias(batch.mask))
        gathered = self.gather_norm(sum_over_second(tokens, n, batch.mask))
        bias = None if batch.mask is None else atom_bias(batch.mask)
        gathered = self.attention_norm(gathered + self.attention(gathered, bias))
        out: Tensor = self.decode(gathered)
        return out


class PairUncertainty(nn.Module):
    """Uncertainty Estimation: probabilities of the bins of the error of each coordinate."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width = settings.width
        self.bins = settings.uncertainty_bins
        self.position = nn.Linear(3, COORDINATES)
        self.merge = PairMerge(COORDINATES, width, width)
        self.stack = BlockStack(
            settings.uncertainty_blocks, width, settings.heads, memory=settings.memory
        )
        self.gather_norm = nn.LayerNorm(width)
        self.decode = LinearResidual(width, 3 * settings.uncertainty_bins)

    def forward(self, predicted: Tensor, dynamics: Tensor, batch: Batch) -> Tensor:
        """(B, N, 3, bins) logits for scaled predicted positions (B, N, 3)."""
        n = predicted.shape[1]
        tokens = self.merge(self.position(predicted), self.merge.prepare(dynamics))
        tokens = self.stack(tokens, pair_bias(batch.mask))
        atoms = self.gather_norm(sum_over_second(tokens, n, batch.mask))
        out: Tensor = self.decode(atoms)
        return out.view(*atoms.shape[:2], 3, self.bins)


def sum_over_second(tokens: Tensor, n: int, mask: Tensor | None) -> Tensor:
    """(B, N * N, w) pair tokens to (B, N, w) atoms: the sum over the second atom."""
    pairs = tokens.view(tokens.shape[0], n, n, tokens.shape[2])
    if mask is not None:
        pairs = pairs * mask[:, None, :, None].to(pairs.dtype)
    return pairs.sum(2)


def atom_bias(mask: Tensor) -> Tensor:
    """(B, 1, 1, N) additive attention bias that hides padded atoms."""
    return torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, -1e9)[:, None, None]
