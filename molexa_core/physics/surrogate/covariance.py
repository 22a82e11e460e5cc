"""Covariance of the surrogate's momenta, from uncertain rises and impulses.

An error of a rise moves all momenta together in the way in which the explosion depends on it, which
a covariance without correlations would deny: the whole energy of a molecule is less certain than
the differences between its atoms.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molexa_core.physics.surrogate.charge_network import pair_momentum


def error_factors(
    atom: Tensor,
    whole: Tensor,
    by_rises: Tensor,
    base: Tensor,
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
) -> Tensor:
    """[B, 3 N, K] matrices F whose product F F^T is the covariance of the momenta, a.u.

    Args:
        atom: [B, N, 3] logarithms of `charge_network.UncertaintyHead`.
        whole: [B, 2] likewise.
        by_rises: [B, 3 N, 2 N] derivatives of the momenta by ln tau and by the middles in units.
        base: [B, N, 3] momenta.
        positions: [B, N, 3] bohr.
        charges: [B, N].
        masses: [B, N] electron masses.
    """
    b, n = charges.shape
    of_tau = by_rises[..., :n]
    single = by_rises * torch.cat([atom[..., 0], atom[..., 1]], dim=1).exp().unsqueeze(1)
    common = of_tau.sum(dim=2, keepdim=True) * whole[:, :1].exp().unsqueeze(1)
    scaled = base.reshape(b, 3 * n, 1) * whole[:, 1:].exp().unsqueeze(1)
    first, second = torch.triu_indices(n, n, 1, device=charges.device)
    apart = positions[:, first] - positions[:, second]
    distance = apart.square().sum(-1).clamp_min(1e-6).sqrt()
    strength = pair_momentum(charges, masses, distance_matrix(positions))[:, first, second]
    strength = strength * (0.5 * (atom[:, first, 2] + atom[:, second, 2])).exp()
    strength = strength / distance.clamp_min(1.0)
    kick = apart / distance.unsqueeze(-1) * strength.unsqueeze(-1)
    pairs = torch.zeros(b, n, 3, len(first), dtype=base.dtype, device=base.device)
    column = torch.arange(len(first), device=base.device)
    pairs[:, first, :, column] = kick.transpose(0, 1)
    pairs[:, second, :, column] = -kick.transpose(0, 1)
    return torch.cat([single, common, scaled, pairs.reshape(b, 3 * n, -1)], dim=2)


def distance_matrix(positions: Tensor) -> Tensor:
    """[B, N, N] distances in bohr; 1 on the diagonal."""
    apart = positions.unsqueeze(2) - positions.unsqueeze(1)
    eye = torch.eye(positions.shape[1], dtype=positions.dtype, device=positions.device)
    return (apart.square().sum(-1) + eye).sqrt()
