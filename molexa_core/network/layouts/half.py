"""Layers for few molecules on a CPU: weights in 16 bits, everything else in single precision.

A molecule of nine atoms is nine rows; multiplying them with a matrix takes less time than reading
the matrix from memory, and half as many bytes are read in half the time. The weights that ship
are bf16 numbers, which fp16 holds exactly but for those below 6e-5, and of these it drops less
than 3e-8. Products and sums are in single precision, so answers change by rounding alone.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

SMALLEST: Final = 2**15
"""Weights of a matrix from which on reading it takes the time."""
TOLERATED: Final = 1e-6
"""Largest change of a weight, as a share of the largest of its matrix."""


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
    """The layer with weights in fp16 where this machine can and nothing is lost, else itself."""
    weight = layer.weight.detach()
    if not _possible() or weight.dtype != torch.float32 or weight.numel() < SMALLEST:
        return layer
    change = (weight.half().float() - weight).abs().max()
    # Written so that weights that are not numbers stay as they are.
    return HalfLinear(layer) if change <= TOLERATED * weight.abs().max() else layer


def _possible() -> bool:
    """Whether this processor has the kernels (of FBGEMM: x86 with AVX2)."""
    return "fbgemm" in torch.backends.quantized.supported_engines
