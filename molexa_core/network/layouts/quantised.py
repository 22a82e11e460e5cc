"""Weights in eight bits: half the size of bf16 at the same accuracy.

Thirty-two neighbouring values of a row of a matrix share one scale and are stored as integers of
-127 to 127 times it, so that the rounding error of a value is at most 1/254 of the largest of its
group, about that of bf16's eight bits. Scales have four significant bits. With the seven bits of
the integers that makes eleven, so every value is exact in float16 too, which processors multiply
faster (`half`). One scale per row instead doubled the error of small molecules. Vectors and small
matrices stay in bf16: they take little space, and the network is most sensitive to them.
docs/network-accuracy.md gives the measured loss of accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

SCALE: Final = "#scale"
"""Suffix that makes the name of the scales from that of the matrix; no parameter name has a #."""
GROUP: Final = 32
"""Values that share a scale."""
SMALL: Final = 70_000
"""Matrices of fewer values stay in bf16."""
LARGEST: Final = 127


def quantise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Large matrices as int8 with a float16 scale per group, everything else in bf16."""
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().float().cpu()
        if value.ndim != 2 or value.numel() < SMALL or value.shape[1] % GROUP:
            stored[name] = value.to(torch.bfloat16)
            continue
        groups = value.view(len(value), -1, GROUP)
        scale = _four_bits(groups.abs().amax(dim=2) / LARGEST).to(torch.float16)
        # Zeros, and groups too small for a 16-bit scale, are stored as zeros.
        divisor = torch.where(scale > 0, scale.float(), torch.inf)[..., None]
        rounded = (groups / divisor).round().clamp(-LARGEST, LARGEST)
        stored[name] = rounded.to(torch.int8).view(value.shape)
        stored[name + SCALE] = scale
    return stored


def _four_bits(scale: Tensor) -> Tensor:
    """The next larger number with four significant bits."""
    mantissa, exponent = torch.frexp(scale)
    return torch.ldexp((mantissa * 16).ceil() / 16, exponent)


def dequantise(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Back to single precision; tensors without scales are only converted.

    Raises:
        ValueError: scales without their matrix, or of a shape that does not fit it.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in stored.items():
        scale = stored.get(name + SCALE)
        if name.endswith(SCALE):
            if name.removesuffix(SCALE) not in stored:
                msg = f"{name} has no matrix"
                raise ValueError(msg)
        elif scale is None:
            tensors[name] = value.float()
        elif value.ndim != 2 or scale.shape != (value.shape[0], value.shape[1] // GROUP):
            msg = f"{name} and its scales do not fit together"
            raise ValueError(msg)
        else:
            groups = value.float().view(len(value), -1, GROUP)
            tensors[name] = (groups * scale.float()[..., None]).view(value.shape)
    return tensors
