"""The atom-token layout: atoms are the tokens, pairs enter as attention bias and values.

With N tokens instead of N^2 a molecule of nine atoms costs a ninth. The features of a pair of atoms
(relative velocity, start distance as an isolated pair, noisy relative position) bias the attention
between the two and are mixed into the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from molexa_core.network.batch import Batch
from molexa_core.network.conditions import Told
from molexa_core.network.config import NetworkSettings
from molexa_core.network.features import ATOM_FEATURES, PAIR_FEATURES, momentum_features
from molexa_core.network.layouts.attention import (
    RELATIVE_FEATURES,
    atom_attention,
    full_precision,
    linear_gelu,
    relative_pairs,
)
from molexa_core.network.layouts.pair_layers import LinearResidual
from molexa_core.network.layouts.told_layers import ToldLayers

NUMBERS: Final = 56
"""Entries of the embedding of the atomic number."""
NOISE: Final = 128
"""Width of the embedding of the noise level."""


@dataclass(frozen=True)
class AtomConditioning:
    """Output of the dynamics module: atoms (B, N, width) and pairs (B, N, N, embedding)."""

    atoms: Tensor
    pairs: Tensor

    def repeat(self, draws: int) -> AtomConditioning:
        """The same conditioning for several noise draws per molecule."""
        return AtomConditioning(
            self.atoms.repeat_interleave(draws, 0), self.pairs.repeat_interleave(draws, 0)
        )


@dataclass(frozen=True)
class AtomLevel:
    """A noise level as the denoiser uses it, the same for all molecules.

    Attributes:
        modulations: for each block, (B or 1, 1, width) each: factor and shift before the
            attention, factor and shift before the feed-forward layer.
    """

    modulations: tuple[tuple[Tensor, ...], ...]


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
        # Blocks start as small corrections, so that a deep stack trains with a large step.
        nn.init.zeros_(self.output.bias)
        nn.init.zeros_(self.feed_out.bias)
        with torch.no_grad():
            self.output.weight.mul_(0.3)
            self.feed_out.weight.mul_(0.3)
            if self.modulation is not None:
                self.modulation.weight.mul_(0.1)
                self.modulation.bias.zero_()

    def forward(
        self,
        x: Tensor,
        pairs: Tensor,
        hide: Tensor | None,
        bias: Tensor | None = None,
        modulation: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """One block.

        Args:
            x: (B, N, width) tokens.
            pairs: (B, N, N, pairs) pair features.
            hide: (B, 1, 1, N), 0 for atoms and a large negative number for padding; None: no
                padding.
            bias: (B, N, N, heads) `pair_bias` of the pairs, if it has been computed already.
            modulation: factors and shifts from the noise level (`AtomLevel`); None in modules
                that see no noise.
        """
        batch, n, width = x.shape
        y = self.attention_norm(x)
        if modulation is not None:
            y = torch.addcmul(modulation[1].to(y.dtype), y, modulation[0].to(y.dtype))
        packed = self.query_key_value(y).view(batch, n, 3, self.heads, width // self.heads)
        near = self.pair_bias(pairs) if bias is None else bias
        x = x + self.output(atom_attention(packed, pairs, near, hide))
        y = self.feed_norm(x)
        if modulation is not None:
            y = torch.addcmul(modulation[3].to(y.dtype), y, modulation[2].to(y.dtype))
        out: Tensor = x + self.feed_out(linear_gelu(y, self.feed_in))
        return out


class AtomDynamics(nn.Module):
    """The dynamics module: from the momenta to atom tokens and pair features."""

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
        self.told = ToldLayers(width, 2 * pairs) if settings.told else None
        self.blocks = nn.ModuleList(
            AtomBlock(width, settings.heads, pairs, noise=False)
            for _ in range(settings.dynamics_blocks)
        )

    def forward(self, batch: Batch) -> AtomConditioning:
        """Conditioning of a batch in the model frame."""
        with full_precision(batch.momenta):
            x, pairs = self.embed(batch)
        hide = hidden(batch)
        seen = _reduced(pairs)
        for block, bias in zip(self.blocks, _biases(self.blocks, seen), strict=True):
            x = block(x, seen, hide, bias)
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
        atoms = self.number(batch.numbers) + self.atoms(features.atoms)
        if self.told is None:
            return atoms, self.pairs(both)
        told = batch.told
        if told is None:
            told = Told.nothing(len(batch), n, batch.momenta.device)
        to_atoms, to_pairs = self.told(*told.inputs(batch.momenta))
        pairs = self.pairs[0](both) + to_pairs
        for place in range(1, len(self.pairs)):
            pairs = self.pairs[place](pairs)
        return atoms + to_atoms, pairs


class AtomDenoiser(nn.Module):
    """The denoiser: one pass from a noisy structure to an estimate of the clean one."""

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
        """The contribution of the conditioning, which is the same at every noise level."""
        with full_precision(dynamics.pairs):
            atoms = dynamics.atoms.to(self.condition.weight.dtype)
            return AtomConditioning(self.condition(atoms), dynamics.pairs)

    def at_levels(self, sigma: Tensor) -> list[AtomLevel]:
        """Prepare the noise levels (L), all of them at once."""
        whole = self.at_level(sigma)
        return [
            AtomLevel(
                tuple(tuple(part[k : k + 1] for part in parts) for parts in whole.modulations)
            )
            for k in range(len(sigma))
        ]

    def at_level(self, sigma: Tensor) -> AtomLevel:
        """Prepare the noise levels (B or 1) of the molecules."""
        with full_precision(sigma):
            noise = self.noise(_noise_waves(sigma))
        modulations = []
        for layer in (block.modulation for block in self.blocks if isinstance(block, AtomBlock)):
            if layer is None:
                continue
            scale, shift, feed_scale, feed_shift = layer(noise)[:, None].chunk(4, dim=2)
            modulations.append((1.0 + scale, shift, 1.0 + feed_scale, feed_shift))
        return AtomLevel(tuple(modulations))

    def forward(
        self, noisy: Tensor, level: AtomLevel, prepared: AtomConditioning, batch: Batch
    ) -> Tensor:
        """Raw output (B, N, 3) for scaled noisy positions (B, N, 3)."""
        pairs = relative_pairs(noisy, prepared.pairs, self.relative)
        with full_precision(noisy):
            x = prepared.atoms + self.position(noisy)
        hide = hidden(batch)
        known = zip(_biases(self.blocks, pairs), level.modulations, strict=True)
        for block, (bias, modulation) in zip(self.blocks, known, strict=True):
            x = block(x, pairs, hide, bias, modulation)
        out: Tensor = self.decode(self.final_norm(x))
        return out


class AtomUncertainty(nn.Module):
    """The uncertainty module: probabilities of the bins of the error of each coordinate."""

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
        pairs = relative_pairs(predicted, dynamics.pairs, self.relative)
        with full_precision(predicted):
            atoms = dynamics.atoms.to(self.condition.weight.dtype)
            x = self.condition(atoms) + self.position(predicted)
            x = x + self.size(size.log())
        hide = hidden(batch)
        for block, bias in zip(self.blocks, _biases(self.blocks, pairs), strict=True):
            x = block(x, pairs, hide, bias)
        out: Tensor = self.decode(self.final_norm(x))
        return out.view(*x.shape[:2], 3, self.bins)


def hidden(batch: Batch) -> Tensor | None:
    """(B, 1, 1, N) added to attention scores: 0 for atoms, a large negative number for padding.

    None on a CPU if nothing is padded; the GPU kernels always need it.
    """
    if batch.mask is None and not batch.charges.is_cuda:
        return None
    return (batch.present[:, None, None, :, 0] - 1.0) * 1e9


def _reduced(pairs: Tensor) -> Tensor:
    """Pair features rounded, once for inference, to the precision that the blocks use."""
    kind = pairs.device.type
    if torch.is_grad_enabled() or not torch.is_autocast_enabled(kind):
        return pairs
    return pairs.to(torch.get_autocast_dtype(kind))


def _biases(blocks: nn.ModuleList, pairs: Tensor) -> Sequence[Tensor | None]:
    """The pair bias of every block in one matrix product; in training the blocks compute it."""
    if torch.is_grad_enabled():
        return [None] * len(blocks)
    weights = [block.pair_bias.weight for block in blocks if isinstance(block, AtomBlock)]
    return functional.linear(pairs, torch.cat(weights)).chunk(len(blocks), dim=3)


def _relative_layers(pairs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(RELATIVE_FEATURES, 2 * pairs),
        nn.GELU(approximate="tanh"),
        nn.Linear(2 * pairs, pairs),
    )


def _noise_waves(sigma: Tensor) -> Tensor:
    """(B, 16) slow waves of ln(sigma)."""
    level = (sigma.log() / 4.0)[:, None]
    rate = torch.arange(1, 9, device=sigma.device, dtype=sigma.dtype)[None] * 0.7
    return torch.cat(((rate * level).sin(), (rate * level).cos()), dim=1)
