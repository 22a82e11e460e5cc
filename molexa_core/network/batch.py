"""The input of the network: molecules of up to N atoms in dense tensors with a mask."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from molexa_core.network.conditions import Told


@dataclass(frozen=True)
class Batch:
    """A batch of explosions, padded to one number of atoms N. Atomic units.

    Attributes:
        numbers: (B, N) int64 atomic numbers, 0 where padded.
        charges: (B, N) float charges, 0 where padded.
        masses: (B, N) float masses in electron masses, 1 where padded.
        momenta: (B, N, 3) asymptotic momenta, 0 where padded.
        mask: (B, N) bool, True for atoms; None if every molecule has N atoms.
        positions: (B, N, 3) exploded geometry in bohr, None for measured data.
        predicted: (B, N, 3) positions predicted by a network, bohr; only for training its error
            estimate.
        told: what is told of the experiment; None if nothing is.
    """

    numbers: Tensor
    charges: Tensor
    masses: Tensor
    momenta: Tensor
    mask: Tensor | None = None
    positions: Tensor | None = None
    predicted: Tensor | None = None
    told: Told | None = None

    def __len__(self) -> int:
        return self.numbers.shape[0]

    @property
    def atoms(self) -> int:
        """The number of atoms N, padding included."""
        return self.numbers.shape[1]

    @property
    def present(self) -> Tensor:
        """(B, N, 1) float, 1 for atoms and 0 for padding."""
        if self.mask is None:
            return torch.ones_like(self.charges)[..., None]
        return self.mask[..., None].to(self.charges.dtype)

    def to(self, device: torch.device | str) -> Batch:
        """The batch on another device."""
        moved = {
            field.name: value.to(device)
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return replace(self, **moved)

    def first(self, count: int) -> Batch:
        """The first molecules of the batch."""
        return self.rows(slice(0, count))

    def rows(self, which: slice) -> Batch:
        """A slice of the molecules of the batch."""
        return self._taken(which)

    def picked(self, which: Tensor) -> Batch:
        """The molecules of the batch with these indices."""
        return self._taken(which)

    def _taken(self, which: slice | Tensor) -> Batch:
        cut: dict[str, Any] = {
            field.name: value.taken(which) if isinstance(value, Told) else value[which]
            for field in fields(self)
            if (value := getattr(self, field.name)) is not None
        }
        return replace(self, **cut)

    def with_frame(self, rotation: Tensor) -> Batch:
        """Momenta and centred positions rotated by (B, 3, 3) matrices whose rows are the axes."""
        momenta = torch.einsum("bxk,bnk->bnx", rotation, self.momenta)
        positions = self.positions
        if positions is not None:
            present = self.present
            mean = (positions * present).sum(1, keepdim=True) / present.sum(1, keepdim=True)
            positions = torch.einsum("bxk,bnk->bnx", rotation, (positions - mean) * present)
        predicted = self.predicted
        if predicted is not None:
            predicted = torch.einsum("bxk,bnk->bnx", rotation, predicted)
        return replace(self, momenta=momenta, positions=positions, predicted=predicted)
