"""The momenta as dimensionless features that stay smooth for ions at rest.

The kinetic energy release sets the scales: with K = sum p_i^2 / 2 m_i, point charges at mean
harmonic distance R0 = sum_{i<j} q_i q_j / K would release exactly K (instant explosion). For two
ions R0 is the classical bond length q1 q2 / K. Positions are divided by R0, velocities by
sqrt(2 K / M). No feature divides by a momentum or takes its logarithm, so that an ion at rest by
symmetry (C in CF4) is an ordinary input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from molexa_core.network.batch import Batch

SIZE_LIMITS: Final = (0.5, 200.0)
"""Limits to which R0 is clipped, bohr."""
WAVES: Final = (2.0, 4.0, 8.0)
"""Wave numbers, in units of pi, of the Fourier features of the momentum shares. Small differences
of the momenta matter, and a linear layer alone is slow to resolve them."""
ATOM_FEATURES: Final = 15 + 6 * len(WAVES)
PAIR_FEATURES: Final = 10


@dataclass(frozen=True)
class Features:
    """Features of a batch.

    Attributes:
        atoms: (B, N, ATOM_FEATURES).
        pairs: (B, N, N, PAIR_FEATURES).
        size: (B, 1, 1) R0 in bohr.
    """

    atoms: Tensor
    pairs: Tensor
    size: Tensor


def energy_size(charges: Tensor, masses: Tensor, momenta: Tensor) -> tuple[Tensor, Tensor]:
    """Kinetic energy release (B) in hartree and R0 (B) in bohr (see the module's docstring)."""
    energy = ((momenta**2).sum(2) / (2.0 * masses)).sum(1).clamp_min(1e-6)
    total = charges.sum(1)
    products = 0.5 * (total**2 - (charges**2).sum(1))
    return energy, (products / energy).clamp(*SIZE_LIMITS)


def momentum_features(batch: Batch) -> Features:
    """The features of a batch whose momenta are in the model frame."""
    present = batch.present
    energy, size = energy_size(batch.charges, batch.masses, batch.momenta)
    count = present.sum((1, 2))
    mass = (batch.masses * present[..., 0]).sum(1)
    charge = batch.charges.sum(1)
    speed = (2.0 * energy / mass).sqrt()

    velocity = batch.momenta / batch.masses[..., None] / speed[:, None, None]
    share = batch.momenta / (2.0 * batch.masses * energy[:, None]).sqrt()[..., None]
    # Duration of the explosion, R0 over the mean speed, to compare with the charge build-up.
    duration = size / speed
    common = torch.stack(
        (energy.log(), size.log() - 1.5, duration.log() - 6.0, count / 5.0, charge / 10.0), dim=1
    )
    waves = [math.pi * wave * share for wave in WAVES]
    atoms = torch.cat(
        (
            share,
            *(wave.sin() for wave in waves),
            *(wave.cos() for wave in waves),
            0.3 * velocity,
            share.norm(dim=2, keepdim=True),
            torch.log1p(velocity.norm(dim=2, keepdim=True)),
            0.3 * batch.charges[..., None],
            (batch.masses[..., None].log() - 10.0) / 2.0,
            common[:, None].expand(-1, batch.atoms, -1),
        ),
        dim=2,
    )

    difference = velocity[:, :, None] - velocity[:, None]
    squared = (difference**2).sum(3, keepdim=True)
    product = batch.charges[:, :, None] * batch.charges[:, None]
    reduced = (
        batch.masses[:, :, None]
        * batch.masses[:, None]
        / (batch.masses[:, :, None] + batch.masses[:, None])
    )
    # Energy of the relative motion over q_i q_j: R0 over the start distance of an isolated pair.
    nearness = (0.5 * reduced / mass[:, None, None] * 2.0)[..., None] * squared
    nearness = nearness * energy[:, None, None, None] * size[:, None, None, None]
    nearness = nearness / product.clamp_min(1.0)[..., None]
    itself = torch.eye(batch.atoms, device=product.device, dtype=product.dtype)
    pairs = torch.cat(
        (
            0.3 * difference,
            torch.log1p(squared),
            torch.log1p(nearness),
            torch.einsum("bnx,bmx->bnm", share, share)[..., None],
            0.1 * product[..., None],
            (product.clamp_min(1.0).log() * 0.5)[..., None],
            (reduced.log() - 9.0)[..., None] / 2.0,
            itself.expand(len(batch), -1, -1)[..., None],
        ),
        dim=3,
    )
    return Features(atoms * present, pairs, size[:, None, None])
