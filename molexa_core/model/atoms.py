"""The atom-token layout: atoms are the tokens, pairs enter as attention bias and values.

N tokens instead of N^2, so a molecule of nine atoms costs a ninth. What atoms i and j are to each
other (relative velocity, the distance the two alone would have had, noisy relative position)
biases their attention and is mixed into the values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from molexa_core.model.batch import Batch
from molexa_core.model.config import NetworkSettings
from molexa_core.model.features import ATOM_FEATURES, PAIR_FEATURES, momentum_features
from molexa_core.model.layers import LinearResidual

NUMBERS: Final = 56
"""Entries of the embedding of the atomic number."""
NOISE: Final = 128
"""Width of the embedding of the noise level."""
RELATIVE: Final = 6
"""Features of a noisy relative position."""


@dataclass(frozen=True)
class AtomConditioning:
    """What the dynamics module hands on: atoms (B, N, width) and pairs (B, N, N, embedding)."""

    atoms: Tensor
    pairs: Tensor

    def repeat(self, draws: int) -> AtomConditioning:
        """The same conditioning for several noise draws per molecule."""
        return AtomConditioning(
            self.atoms.repeat_interleave(draws, 0), self.pairs.repeat_interleave(draws, 0)
        )


class AtomBlock(nn.Module):
    """Pre-norm attention with pair bias and pair values, then a feed-forward layer."""

    def __init__(self, width: int, heads: int, pairs: int, *, noise: bool) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.pair_bias = nn.Linear(pairs, heads, bias=False)
        self.output = nn.Linear(width + heads * pairs, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed_in = nn.Linear(width, 4 * width)
        self.feed_out = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(NOISE, 4 * width) if noise else None
        # Blocks start as small corrections, which lets a deep stack train with a large step.
        nn.init.zeros_(self.output.bias)
        nn.init.zeros_(self.feed_out.bias)
        with torch.no_grad():
            self.output.weight.mul_(0.3)
            self.feed_out.weight.mul_(0.3)
            if self.modulation is not None:
                self.modulation.weight.mul_(0.1)
                self.modulation.bias.zero_()

    def forward(self, x: Tensor, pairs: Tensor, hide: Tensor, noise: Tensor | None) -> Tensor:
        """One block.

        Args:
            x: (B, N, width) tokens.
            pairs: (B, N, N, pairs) pair features.
            hide: (B, 1, 1, N), 0 for atoms and a large negative number for padding.
            noise: (B, NOISE) embedding of the noise level.
        """
        batch, n, width = x.shape
        y = self.attention_norm(x)
        shift = scale = None
        if self.modulation is not None and noise is not None:
            first_scale, first_shift, scale, shift = (
                self.modulation(noise)[:, None].to(x.dtype).chunk(4, dim=2)
            )
            y = y * (1.0 + first_scale) + first_shift
        q, k, v = (
            self.query_key_value(y)
            .view(batch, n, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(width // self.heads)
        scores = scores.float() + self.pair_bias(pairs).permute(0, 3, 1, 2).float() + hide
        weights = scores.softmax(3).to(v.dtype)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, n, width)
        # (B, N, H, N) @ (B, N, N, P): for each atom the weighted mean of its pair features.
        paired = weights.transpose(1, 2) @ pairs.to(v.dtype)
        x = x + self.output(torch.cat((mixed, paired.reshape(batch, n, -1)), dim=2))
        y = self.feed_norm(x)
        if scale is not None and shift is not None:
            y = y * (1.0 + scale) + shift
        out: Tensor = x + self.feed_out(functional.gelu(self.feed_in(y), approximate="tanh"))
        return out


class AtomDynamics(nn.Module):
    """What the momenta say: atom tokens and pair features."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width, pairs = settings.width, settings.embedding
        self.number = nn.Embedding(NUMBERS, width)
        self.atoms = nn.Sequential(
            nn.Linear(ATOM_FEATURES, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.elements = nn.Embedding(NUMBERS, pairs)
        self.pairs = nn.Sequential(
            nn.Linear(PAIR_FEATURES + 2 * pairs, 2 * pairs),
            nn.GELU(approximate="tanh"),
            nn.Linear(2 * pairs, pairs),
            nn.LayerNorm(pairs),
        )
        self.blocks = nn.ModuleList(
            AtomBlock(width, settings.heads, pairs, noise=False)
            for _ in range(settings.dynamics_blocks)
        )

    def forward(self, batch: Batch) -> AtomConditioning:
        """Conditioning of a batch in the model frame."""
        with full_precision(batch.momenta):
            x, pairs = self.embed(batch)
        hide = hidden(batch)
        for block in self.blocks:
            x = block(x, pairs, hide, None)
        return AtomConditioning(x, pairs)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Atoms (B, N, width) and pairs (B, N, N, embedding) before any attention."""
        features = momentum_features(batch)
        kinds = self.elements(batch.numbers)
        n = batch.atoms
        both = torch.cat(
            (
                features.pairs,
                kinds[:, :, None].expand(-1, -1, n, -1),
                kinds[:, None].expand(-1, n, -1, -1),
            ),
            dim=3,
        )
        return self.number(batch.numbers) + self.atoms(features.atoms), self.pairs(both)


class AtomDenoiser(nn.Module):
    """One pass from a noisy structure to a cleaner one."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width, pairs = settings.width, settings.embedding
        self.noise = nn.Sequential(nn.Linear(16, NOISE), nn.SiLU(), nn.Linear(NOISE, NOISE))
        self.position = nn.Linear(3, width)
        self.condition = nn.Linear(width, width)
        self.relative = _relative_layers(pairs)
        self.blocks = nn.ModuleList(
            AtomBlock(width, settings.heads, pairs, noise=True)
            for _ in range(settings.denoiser_blocks)
        )
        self.final_norm = nn.LayerNorm(width)
        self.decode = nn.Linear(width, 3)
        with torch.no_grad():
            self.decode.weight.mul_(0.1)

    def prepare(self, dynamics: AtomConditioning) -> AtomConditioning:
        """What the conditioning contributes, the same at every noise level."""
        with full_precision(dynamics.pairs):
            atoms = dynamics.atoms.to(self.condition.weight.dtype)
            return AtomConditioning(self.condition(atoms), dynamics.pairs)

    def forward(
        self, noisy: Tensor, sigma: Tensor, prepared: AtomConditioning, batch: Batch
    ) -> Tensor:
        """Raw output (B, N, 3) for scaled noisy positions (B, N, 3) and noise levels (B)."""
        with full_precision(noisy):
            noise = self.noise(_noise_waves(sigma))
            pairs = prepared.pairs + self.relative(relative_positions(noisy))
            x = prepared.atoms + self.position(noisy)
        hide = hidden(batch)
        for block in self.blocks:
            x = block(x, pairs, hide, noise)
        out: Tensor = self.decode(self.final_norm(x))
        return out


class AtomUncertainty(nn.Module):
    """How far off each predicted coordinate probably is, as probabilities of bins."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width, pairs = settings.width, settings.embedding
        self.bins = settings.uncertainty_bins
        self.position = nn.Linear(3, width)
        self.condition = nn.Linear(width, width)
        self.size = nn.Linear(1, width)
        self.relative = _relative_layers(pairs)
        self.blocks = nn.ModuleList(
            AtomBlock(width, settings.heads, pairs, noise=False)
            for _ in range(settings.uncertainty_blocks)
        )
        self.final_norm = nn.LayerNorm(width)
        self.decode = LinearResidual(width, 3 * settings.uncertainty_bins)

    def forward(
        self, predicted: Tensor, dynamics: AtomConditioning, batch: Batch, size: Tensor
    ) -> Tensor:
        """(B, N, 3, bins) logits for scaled predictions (B, N, 3) of sizes (B, 1, 1) in bohr."""
        with full_precision(predicted):
            pairs = dynamics.pairs + self.relative(relative_positions(predicted))
            atoms = dynamics.atoms.to(self.condition.weight.dtype)
            x = self.condition(atoms) + self.position(predicted)
            x = x + self.size(size.log())
        hide = hidden(batch)
        for block in self.blocks:
            x = block(x, pairs, hide, None)
        out: Tensor = self.decode(self.final_norm(x))
        return out.view(*x.shape[:2], 3, self.bins)


def full_precision(x: Tensor) -> torch.autocast:
    """A block without reduced precision: 1 % of momentum can mean 0.5 bohr, and bf16 has 0.4 %."""
    return torch.autocast(x.device.type, enabled=False)


def hidden(batch: Batch) -> Tensor:
    """(B, 1, 1, N) added to attention scores: 0 for atoms, a large negative number for padding."""
    return (batch.present[:, None, None, :, 0] - 1.0) * 1e9


def relative_positions(positions: Tensor) -> Tensor:
    """(B, N, N, RELATIVE) features of scaled relative positions."""
    difference = positions[:, :, None] - positions[:, None]
    distance = (difference**2).sum(3, keepdim=True).add(1e-6).sqrt()
    return torch.cat(
        (difference, distance, torch.log(distance + 0.01), 0.3 / (distance + 0.1)), dim=3
    )


def _relative_layers(pairs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(RELATIVE, 2 * pairs), nn.GELU(approximate="tanh"), nn.Linear(2 * pairs, pairs)
    )


def _noise_waves(sigma: Tensor) -> Tensor:
    """(B, 16) slow waves of ln(sigma)."""
    level = (sigma.log() / 4.0)[:, None]
    rate = torch.arange(1, 9, device=sigma.device, dtype=sigma.dtype)[None] * 0.7
    return torch.cat(((rate * level).sin(), (rate * level).cos()), dim=1)
