"""The frame in which the network sees a molecule, built from the momenta alone.

As in the paper (main text, "Training"), x points along the momentum of the heaviest ion and y along
the component of a second momentum perpendicular to it. Where this rule is ambiguous or fails:

* Several heaviest ions: the fastest of them, not the first in the input.
* A heaviest ion at rest (C in CH4, Si in SiF4) has no direction. It is skipped, as is any ion with
  less than `REST` of the largest momentum, and the next heaviest is taken.
* The second ion is the one with the largest momentum perpendicular to x, instead of the largest
  angle, which an ion at rest would win with a meaningless direction.
* In a symmetric molecule several ions are equally good and give equivalent frames: `tied_frames`
  returns all of them, and inference averages over them, so that the result does not depend on the
  order of the input.
* Momenta on one line leave y undefined: any perpendicular direction is taken, and inference
  projects the structure onto the line.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from molexa_core.base.tables import FloatArray, IntArray

REST: Final = 0.05
"""An ion with less than this share of the largest momentum gives no reference direction."""
TIE: Final = 1e-6
"""Relative difference below which two ions are equally good references."""
COLLINEAR: Final = 1e-6
"""Share of the largest momentum below which perpendicular momenta count as zero."""


def batch_frames(numbers: Tensor, momenta: Tensor) -> Tensor:
    """One frame per molecule, for training.

    Args:
        numbers: (B, N) atomic numbers, 0 where padded.
        momenta: (B, N, 3) momenta, 0 where padded.

    Returns:
        (B, 3, 3) rotations; the rows are the x, y and z axes.
    """
    size = momenta.norm(dim=2)
    largest = size.amax(1, keepdim=True).clamp_min(1e-12)
    share = size / largest
    rank = numbers.to(share.dtype) + 0.5 * share
    reference = torch.where(share > REST, rank, torch.full_like(rank, -1.0)).argmax(1)
    x = _unit(_pick(momenta, reference), torch.zeros_like(momenta[:, 0]))
    perpendicular = momenta - (momenta * x[:, None]).sum(2, keepdim=True) * x[:, None]
    second = perpendicular.norm(dim=2).argmax(1)
    axis = torch.nn.functional.one_hot(x.abs().argmin(1), 3).to(x.dtype)
    fallback = _unit(axis - (axis * x).sum(1, keepdim=True) * x, axis)
    direction = _pick(perpendicular, second)
    straight = direction.norm(dim=1, keepdim=True) < COLLINEAR * largest
    y = _unit(torch.where(straight, fallback, direction), fallback)
    # In single precision the perpendicular part is perpendicular to x only up to rounding.
    y = _unit(y - (y * x).sum(1, keepdim=True) * x, fallback)
    return torch.stack((x, y, torch.linalg.cross(x, y)), dim=1)


def tied_frames(numbers: IntArray, momenta: FloatArray) -> tuple[FloatArray, bool]:
    """All equivalent frames of one molecule, in double precision.

    Args:
        numbers: (N) atomic numbers.
        momenta: (N, 3) momenta.

    Returns:
        (F, 3, 3) rotations whose rows are the axes, and whether all momenta lie on one line.
    """
    size = np.linalg.norm(momenta, axis=1)
    largest = size.max()
    share = size / largest
    rank = np.where(share > REST, numbers + 0.5 * share, -1.0)
    frames: list[FloatArray] = []
    collinear = False
    for reference in np.flatnonzero(rank > rank.max() - TIE):
        x = momenta[reference] / size[reference]
        perpendicular = momenta - np.outer(momenta @ x, x)
        length = np.linalg.norm(perpendicular, axis=1)
        if length.max() < COLLINEAR * largest:
            collinear = True
            axis = np.eye(3)[np.abs(x).argmin()]
            y = axis - (axis @ x) * x
            frames.append(_right_handed(x, y))
            continue
        seconds = np.flatnonzero(length > length.max() * (1.0 - TIE))
        frames.extend(_right_handed(x, perpendicular[second]) for second in seconds)
    return np.array(frames), collinear


def canonical_order(numbers: IntArray, charges: FloatArray, momenta: FloatArray) -> IntArray:
    """An order of the atoms that does not depend on the order of the input.

    Sorted by element, charge, and the momentum in the frame along an oblique direction, which
    like ions in symmetric positions do not share.

    Args:
        numbers: (N) atomic numbers.
        charges: (N) charges.
        momenta: (N, 3) in the frame.

    Returns:
        (N) indices into the input.
    """
    oblique = momenta @ np.array([0.5379, 0.3187, 0.7805])
    return np.lexsort((oblique, charges, numbers)).astype(np.int64)


def _right_handed(x: FloatArray, y: FloatArray) -> FloatArray:
    y = y - (y @ x) * x
    y = y / np.linalg.norm(y)
    return np.array([x, y, np.cross(x, y)])


def _pick(vectors: Tensor, index: Tensor) -> Tensor:
    return vectors.gather(1, index[:, None, None].expand(-1, 1, 3))[:, 0]


def _unit(vector: Tensor, fallback: Tensor) -> Tensor:
    length = vector.norm(dim=1, keepdim=True)
    return torch.where(length > 0, vector / length.clamp_min(1e-30), fallback)
