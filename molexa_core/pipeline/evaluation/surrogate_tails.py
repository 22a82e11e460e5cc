"""Whether the error of the surrogate is known entry by entry: its size, and the tails.

All momenta of an entry are compared at once: residuals r with the covariance V + s E, V that of
the means over explosions, E the one claimed, s the factor whose distribution is
`error_size.ErrorSize`. If it is right, the probability of a larger r' (V + E)^-1 r is uniform over
entries. The factor of E and the degrees of freedom are those that make the entries most likely.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.optimize import minimize

from molexa_core.base.matter.elements import BY_NUMBER
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.tables import FloatArray
from molexa_core.physics.family.error_size import Block, ErrorSize, SumOfSquares
from molexa_core.physics.family.family import Fragments
from molexa_core.physics.surrogate.entries import FamilyEntries
from molexa_core.physics.surrogate.surrogate_model import SurrogateModel

_FLAT: Final = 1e-3
"""Relative thickness below which a molecule is in a plane, or on a line."""
_FREEDOM: Final = (1.0, 300.0)


@dataclass(frozen=True)
class Entry:
    """One entry compared with the surrogate, in the directions that its shape allows.

    Residuals are those divided by the root of V + E, and turned so that both are diagonal.

    Attributes:
        residuals: (d).
        share: (d) of the variance that is claimed; the rest is that of the means.
        atoms: their number.
        molecule: its number.
    """

    residuals: FloatArray
    share: FloatArray
    atoms: int
    molecule: int

    def p_value(self, size: ErrorSize, factor: float = 1.0) -> float:
        """Probability of a larger sum of squares.

        Args:
            size: distribution of the factor of the claimed covariance.
            factor: of it, in addition.
        """
        variance = 1.0 - self.share + factor * self.share
        own = np.diag(factor * self.share / variance)
        block = Block(slice(0, len(own)), own, size)
        value = float((self.residuals**2 / variance).sum())
        return float(SumOfSquares(np.eye(len(own)), [block]).exceeded(value))

    def log_density(self, size: ErrorSize, factor: float = 1.0) -> float:
        """Ln of the density of the residuals."""
        scale = factor * size.squares[:, None]
        variance = 1.0 - self.share + scale * self.share
        each = -0.5 * (self.residuals**2 / variance + np.log(variance)).sum(axis=1)
        return float(np.logaddexp.reduce(each + size.log_shares))


def compared(model: SurrogateModel, entries: FamilyEntries) -> list[Entry]:
    """Compare entries, of at least two atoms each, with the surrogate.

    Args:
        model: the surrogate.
        entries: of the Monte-Carlo model.
    """
    found = []
    for row in range(len(entries)):
        one = entries.select(torch.tensor([row])).narrowed()
        charges = [int(q) for q in one.charges[0]]
        symbols = [BY_NUMBER[int(z)].symbol for z in one.numbers[0]]
        fragments = Fragments.of(
            [parse_ion(f"{s}{q}+") for s, q in zip(symbols, charges, strict=True)]
        )
        positions = one.positions.double().numpy()
        settings = one.settings.double().numpy()
        off = model.explode(fragments, positions, settings) - one.momenta.double().numpy()
        inside = _directions(positions[0])
        own = inside.T @ model.error(fragments, positions, settings)[0] @ inside
        means = inside.T @ np.diag(one.errors.double().numpy().reshape(-1) ** 2) @ inside
        inverse = np.linalg.inv(np.linalg.cholesky(own + means))
        share, turn = np.linalg.eigh(inverse @ own @ inverse.T)
        residuals = turn.T @ (inverse @ (inside.T @ off.reshape(-1)))
        found.append(
            Entry(residuals, np.clip(share, 0.0, 1.0), len(fragments), int(one.molecule[0]))
        )
    return found


def fitted(entries: Sequence[Entry]) -> tuple[ErrorSize, float]:
    """The distribution of the factor, and a further factor, that make entries most likely."""

    def cost(at: FloatArray) -> float:
        size = ErrorSize(math.exp(at[0]))
        return -sum(one.log_density(size, math.exp(at[1])) for one in entries)

    start = np.array([math.log(4.0), 0.0])
    bounds = [tuple(np.log(_FREEDOM)), (-5.0, 5.0)]
    found = minimize(cost, start, method="L-BFGS-B", bounds=bounds)
    return ErrorSize(math.exp(found.x[0])), math.exp(found.x[1])


def _directions(positions: FloatArray) -> FloatArray:
    """(3 N, d) orthonormal directions of momenta of sum zero in the plane or line of the atoms.

    Momenta across it are zero by symmetry, and tell nothing.
    """
    atoms = len(positions)
    _, size, axes = np.linalg.svd(positions - positions.mean(axis=0))
    inside = axes[: int((size > _FLAT * size[0]).sum())].T
    start = np.concatenate([np.ones((atoms, 1)), np.eye(atoms)[:, 1:]], axis=1)
    rest = np.linalg.qr(start)[0][:, 1:]
    return np.asarray(np.kron(rest, inside))
