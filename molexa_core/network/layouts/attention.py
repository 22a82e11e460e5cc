"""Attention of both layouts in plain torch, or with a GPU kernel where there is one.

The kernels (`triton_tokens`, `triton_atoms`) are used on a GPU with Triton, for 16-bit numbers.
Otherwise, and in training of the atom layout, the functions here compute the same in plain torch.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

KERNELS: Final = torch.cuda.is_available() and find_spec("triton") is not None
"""Whether Triton is installed, which the kernels need."""
if KERNELS:
    from molexa_core.network.layouts import triton_atoms, triton_tokens

REDUCED: Final = (torch.bfloat16, torch.float16)
RELATIVE_FEATURES: Final = 6
"""Features of a relative position."""
LONGEST: Final = 128
"""Largest number of tokens for which a row of scores fits in the registers of a program."""


def token_attention(packed: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention of every head among the tokens of each molecule.

    Args:
        packed: (B, T, 3, H, W) queries, keys and values.
        bias: (B, 1, 1, T) added to the scores; minus infinity at padding. None: no padding.

    Returns:
        (B, T, H * W).
    """
    batch, tokens, _, heads, width = packed.shape
    if _fits(packed) and tokens <= LONGEST:
        flat = None if bias is None else bias.reshape(batch, tokens)
        out: Tensor = triton_tokens.token_attention(packed.contiguous(), flat)
        return out
    q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
    if bias is not None:
        bias = bias.to(q.dtype)
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return mixed.transpose(1, 2).reshape(batch, tokens, heads * width)


def atom_attention(packed: Tensor, pairs: Tensor, bias: Tensor, hide: Tensor | None) -> Tensor:
    """Attention among atoms with pair features as bias and as values.

    Args:
        packed: (B, N, 3, H, W) queries, keys and values.
        pairs: (B, N, N, P).
        bias: (B, N, N, H) added to the scores; computed from the pair features for each head.
        hide: (B, 1, 1, N), 0 for atoms and a large negative number for padding; None: no padding.

    Returns:
        (B, N, H * W + H * P): weighted means of the values and of the pair features.
    """
    batch, tokens, _, heads, width = packed.shape
    fits = _fits(packed) and tokens <= 16 and heads <= 16 and hide is not None
    if fits and not torch.is_grad_enabled():
        pairs = pairs.to(packed.dtype).contiguous()
        if bias.stride(3) != 1 or bias.stride(1) != tokens * bias.stride(2):
            bias = bias.contiguous()
        out: Tensor = triton_atoms.atom_attention(packed.contiguous(), pairs, bias, hide)
        return out
    q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
    scores = q @ k.transpose(2, 3) / math.sqrt(width)
    scores = scores.float() + bias.permute(0, 3, 1, 2).float()
    if hide is not None:
        scores = scores + hide
    weights = scores.softmax(3).to(v.dtype)
    mixed = (weights @ v).transpose(1, 2).reshape(batch, tokens, heads * width)
    # (B, N, H, N) @ (B, N, N, P): for each atom the weighted mean of its pair features.
    paired = weights.transpose(1, 2) @ pairs.to(v.dtype)
    return torch.cat((mixed, paired.reshape(batch, tokens, -1)), dim=2)


def relative_positions(positions: Tensor) -> Tensor:
    """(B, N, N, RELATIVE_FEATURES) features of scaled relative positions."""
    difference = positions[:, :, None] - positions[:, None]
    distance = (difference**2).sum(3, keepdim=True).add(1e-6).sqrt()
    return torch.cat(
        (difference, distance, torch.log(distance + 0.01), 0.3 / (distance + 0.1)), dim=3
    )


def relative_pairs(positions: Tensor, known: Tensor, layers: torch.nn.Sequential) -> Tensor:
    """Pair features of relative positions, added to given ones.

    Args:
        positions: (B, N, 3) scaled.
        known: (B, N, N, P) features to which they are added.
        layers: linear, GELU, linear.

    Returns:
        (B, N, N, P), in single precision, or in bf16 where the caller's products are in bf16.
    """
    reduced = torch.is_autocast_enabled(positions.device.type)
    single = positions.dtype == torch.float32
    if KERNELS and positions.is_cuda and single and not torch.is_grad_enabled() and reduced:
        inner, _, outer = layers
        out: Tensor = triton_atoms.relative_pairs(
            positions.contiguous(),
            known.contiguous(),
            inner.weight,
            inner.bias,
            outer.weight,
            outer.bias,
            reduced,
        )
        return out
    with full_precision(positions):
        made: Tensor = known + layers(relative_positions(positions))
        return made


def linear_gelu(x: Tensor, layer: torch.nn.Linear) -> Tensor:
    """A linear layer followed by GELU (its tanh form), in one kernel if the library has it."""
    if KERNELS and x.is_cuda and layer.weight.dtype in REDUCED and not torch.is_grad_enabled():
        flat = x.reshape(-1, x.shape[-1]).to(layer.weight.dtype)
        out = torch._addmm_activation(  # noqa: SLF001
            layer.bias, flat, layer.weight.t(), use_gelu=True
        )
        return out.view(*x.shape[:-1], -1)
    return functional.gelu(layer(x), approximate="tanh")


def full_precision(x: Tensor) -> torch.autocast:
    """Switch reduced precision off: 1 % of momentum can mean 0.5 bohr, and bf16 resolves 0.4 %."""
    return torch.autocast(x.device.type, enabled=False)


def _fits(packed: Tensor) -> bool:
    """Whether a kernel exists for this type of numbers and width of the heads."""
    width = packed.shape[4]
    power = width >= 16 and width & (width - 1) == 0
    return KERNELS and packed.is_cuda and packed.dtype in REDUCED and power
