"""Layers for few molecules on a CPU: weights in 16 bits, everything else in single precision.

A molecule of nine atoms has nine rows. Multiplying them by a matrix takes less time than reading
the matrix from memory, and half as many bytes are read in half the time. The shipped weights are
bf16 numbers. fp16 represents them exactly, except those below 6e-5, which it rounds by less than
3e-8. Products and sums are in single precision, so results change by rounding alone.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

SMALLEST: Final = 2**15
"""Number of weights above which reading the matrix dominates the time."""
TOLERATED: Final = 1e-6
"""Largest allowed change of a weight, relative to the largest weight of its matrix."""


class HalfLinear(nn.Module):
    """A linear layer in single precision whose weights are stored in fp16; inference on a CPU."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        bias: Tensor | None = layer.bias
        self.packed = torch.ops.quantized.linear_prepack_fp16(
            layer.weight.detach(), bias if bias is None else bias.detach()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(..., n) to (..., m)."""
        out: Tensor = torch.ops.quantized.linear_dynamic_fp16(x.contiguous(), self.packed)
        return out


def halved(layer: nn.Linear) -> nn.Module:
    """The layer with weights in fp16; unchanged if that loses precision or is not supported."""
    weight = layer.weight.detach()
    if not _possible() or weight.dtype != torch.float32 or weight.numel() < SMALLEST:
        return layer
    change = (weight.half().float() - weight).abs().max()
    # Written so that a matrix with values that are not numbers stays as it is.
    return HalfLinear(layer) if change <= TOLERATED * weight.abs().max() else layer


def _possible() -> bool:
    """Whether this processor has the kernels (of FBGEMM: x86 with AVX2)."""
    return "fbgemm" in torch.backends.quantized.supported_engines
