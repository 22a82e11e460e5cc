"""Layers of the pair-token network: residual layer, attention, gated memory.

They follow the published network layer by layer (paper, Supplementary Note 1, Fig. 1b), on dense
tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molexa_core.network.layouts.attention import token_attention


class ResidualLayer(nn.Module):
    """lin(n, n), ReLU, lin(n, m), ReLU, plus the input (projected if n != m), then layer norm."""

    def __init__(self, width_in: int, width_out: int, *, norm: bool = True) -> None:
        super().__init__()
        self.inner = nn.Linear(width_in, width_in)
        self.outer = nn.Linear(width_in, width_out)
        self.skip = nn.Identity() if width_in == width_out else nn.Linear(width_in, width_out)
        self.norm = nn.LayerNorm(width_out) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m)."""
        out: Tensor = self.norm(
            functional.relu(self.outer(functional.relu(self.inner(x)))) + self.skip(x)
        )
        return out


class LinearResidual(ResidualLayer):
    """A residual layer as decoder: without final ReLU and norm, so that outputs are unbounded."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m)."""
        out: Tensor = self.outer(functional.relu(self.inner(x))) + self.skip(x)
        return out


class PairMerge(nn.Module):
    """A residual layer on (first atom, second atom, pair), without building that concatenation.

    A linear layer on a concatenation is the sum of linear layers on its parts. The atoms' parts
    are computed for N atoms instead of N^2 pairs, and the pair's part, which is the same for all
    noise levels, only once.
    """

    def __init__(self, atoms: int, pairs: int, width_out: int) -> None:
        super().__init__()
        width = 2 * atoms + pairs
        self.widths = [atoms, atoms, pairs] if pairs else [atoms, atoms]
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width_out)
        self.skip = nn.Linear(width, width_out)
        self.norm = nn.LayerNorm(width_out)

    def prepare(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The pair's part of both linear layers, from (B, T, pairs)."""
        return (
            functional.linear(pairs, self._parts(self.inner)[2]),
            functional.linear(pairs, self._parts(self.skip)[2]),
        )

    def forward(self, atoms: Tensor, prepared: tuple[Tensor, Tensor] | None) -> Tensor:
        """(B, N, atoms) and the result of `prepare` to (B, N * N, width_out)."""
        hidden = self._pairwise(self.inner, atoms, None if prepared is None else prepared[0])
        skip = self._pairwise(self.skip, atoms, None if prepared is None else prepared[1])
        out: Tensor = self.norm(functional.relu(self.outer(functional.relu(hidden))) + skip)
        return out.to(skip.dtype)

    def _parts(self, linear: nn.Linear) -> tuple[Tensor, ...]:
        return torch.split(linear.weight, self.widths, dim=1)

    def _pairwise(self, linear: nn.Linear, atoms: Tensor, pairs: Tensor | None) -> Tensor:
        batch, n, _ = atoms.shape
        parts = self._parts(linear)
        first = functional.linear(atoms, parts[0], linear.bias)[:, :, None]
        second = functional.linear(atoms, parts[1])[:, None]
        both = (first + second).reshape(batch, n * n, -1)
        return both if pairs is None else both + pairs


class SelfAttention(nn.Module):
    """Multi-head self-attention without biases."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend among the tokens of each molecule.

        Args:
            x: (B, T, width).
            bias: (B, 1, 1, T) added to the scores; minus infinity at padding. None: no padding.
        """
        batch, tokens, width = x.shape
        packed = self.query_key_value(x).view(batch, tokens, 3, self.heads, width // self.heads)
        out: Tensor = self.output(token_attention(packed, bias))
        return out


class Memory(nn.Module):
    """The gated memory between blocks (paper, Fig. 1b, right side).

    candidate = tanh(W_t h), c = update * candidate + forget * c, h = output * tanh(c), with
    sigmoid gates. One set of weights serves all blocks of a module.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Linear(width, 4 * width)

    def forward(self, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """New block output and new memory, both (B, T, width)."""
        candidate, update, forget, output = self.gates(h).chunk(4, dim=-1)
        c = torch.sigmoid(update) * torch.tanh(candidate) + torch.sigmoid(forget) * c
        return torch.sigmoid(output) * torch.tanh(c), c


class Block(nn.Module):
    """Attention over tokens with residual and norm, then a residual layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.feed = ResidualLayer(width, width)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T, width) to the same shape."""
        # The norms compute in fp32; tensors between blocks keep the precision of the input.
        h = self.norm(x + self.attention(x, bias)).to(x.dtype)
        out: Tensor = self.feed(h).to(x.dtype)
        return out


class BlockStack(nn.Module):
    """Blocks with gated memory between them, or with plain skip connections."""

    def __init__(self, blocks: int, width: int, heads: int, *, memory: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
        self.memory = Memory(width) if memory else None

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, T, width) to the same shape; the memory starts as the input."""
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        c = x
        for block in self.blocks:
            h = block(x, bias)
            if self.memory is None:
                x = x + h
            else:
                x, c = self.memory(h, c)
        return x
