"""Means in frames of their own: every event is turned by its own momenta before it is averaged.

So the chain averages a measured run (`frame.align`): one ion of each event is along x, a second one
in the x-y plane. Momenta of vibrating molecules differ from event to event, and what turning and
averaging does to them is not what one geometry would give.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

OTHER_FRAMES: Final = 0.25
"""Share of the means whose frame is not the usual one, but that of any two ions."""
_LEAST: Final = 1e-6


def usual_ions(numbers: Tensor, momenta: Tensor) -> tuple[Tensor, Tensor]:
    """The heaviest ion that moves, and the one with the largest momentum perpendicular to it.

    Args:
        numbers: [m, n] atomic numbers.
        momenta: [m, n, 3] mean momenta in a common frame.

    Returns:
        [m] numbers of both ions, as `network.molecule_frame.batch_frames` chooses them.
    """
    size = momenta.norm(dim=2)
    share = size / size.amax(1, keepdim=True).clamp_min(1e-12)
    rank = torch.where(share > 0.05, numbers + 0.5 * share, torch.full_like(share, -1.0))
    reference = rank.argmax(1)
    x = momenta[torch.arange(len(momenta), device=momenta.device), reference]
    x = x / x.norm(dim=1, keepdim=True).clamp_min(_LEAST)
    beside = momenta - torch.einsum("mnc,mc->mn", momenta, x)[..., None] * x[:, None]
    length = beside.norm(dim=2)
    length.scatter_(1, reference[:, None], -1.0)
    return reference, length.argmax(1)


def other_ions(
    reference: Tensor, second: Tensor, atoms: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The same, with any two ions in place of some of them."""
    m, device = len(reference), reference.device
    other = torch.rand(m, device=device, generator=generator) < OTHER_FRAMES
    order = torch.rand(m, atoms, device=device, generator=generator).argsort(1)
    return (
        torch.where(other, order[:, 0], reference),
        torch.where(other, order[:, 1], second),
    )


def axes(momenta: Tensor, reference: Tensor, second: Tensor) -> Tensor:
    """[m, 3, 3] the axes of the frames, as rows: x along one ion, the other in the x-y plane."""
    rows = torch.arange(len(momenta), device=momenta.device)
    x = _unit(momenta[rows, reference])
    y = momenta[rows, second]
    y = y - (y * x).sum(1, keepdim=True) * x
    # Where both are on one line, any direction.
    axis = torch.nn.functional.one_hot(x.abs().argmin(1), 3).to(x.dtype)
    axis = axis - (axis * x).sum(1, keepdim=True) * x
    straight = y.norm(dim=1, keepdim=True) < _LEAST * momenta[rows, reference].norm(
        dim=1, keepdim=True
    )
    y = _unit(torch.where(straight, axis, y))
    return torch.stack((x, y, torch.linalg.cross(x, y)), dim=1)


def turned(vectors: Tensor, frames: Tensor) -> Tensor:
    """[m, n, 3] vectors in frames [m, 3, 3]; of two ions only what is along x is kept."""
    found = torch.einsum("mxc,mnc->mnx", frames, vectors)
    if vectors.shape[1] == 2:
        found[..., 1:] = 0.0
    return found


def _unit(vector: Tensor) -> Tensor:
    unit: Tensor = vector / vector.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return unit
