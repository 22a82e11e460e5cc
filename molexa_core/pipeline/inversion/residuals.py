"""Measured momenta against those of a forward model: residuals, derivatives and covariances.

Momenta have a sum of zero and no orientation. The first channel of a molecule gives positions their
frame: all its 3 N - 3 momentum components are data, where the three that only turn the molecule
have an error as large as the others (a frame that is made from the momenta has no error there,
which says nothing about the geometry). Of every further channel, whose frame is its own, the model
is turned onto the measured momenta (W. Kabsch, Acta Cryst. A 32, 922 (1976)), and the 3 N - 6
components that remain are data. The turn is part of the derivatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import BoolArray, FloatArray
from molexa_core.physics.family.family import Family, Fragments

FLOOR: Final = 1e-5
"""Smallest error of a momentum component, shares of the rms momentum: with exact momenta the
solution is exact to this."""
_RANK: Final = 1e-9
"""Singular values of the turns below this share of the largest count as zero: linear momenta."""


@dataclass(frozen=True)
class MeasuredChannel:
    """Mean momenta of one channel.

    Attributes:
        fragments: the ions.
        momenta: (N, 3) a.u., in any frame.
        covariance: (3 N, 3 N) of these means, a.u.; zero where they are exact, or where the frame
            was chosen such that a component is zero.

    Raises:
        UsageError: shapes that do not fit, fewer than two ions, or numbers that are none.
    """

    fragments: Fragments
    momenta: FloatArray
    covariance: FloatArray

    def __post_init__(self) -> None:
        atoms = len(self.fragments)
        size = 3 * atoms
        if self.momenta.shape != (atoms, 3) or self.covariance.shape != (size, size):
            raise UsageError(
                f"{atoms} ions with momenta {self.momenta.shape} and a covariance "
                f"{self.covariance.shape}"
            )
        if atoms < 2:
            raise UsageError("a channel needs at least two ions")
        if not (np.isfinite(self.momenta).all() and np.isfinite(self.covariance).all()):
            raise UsageError("a momentum or its error is not a number")
        if not self.momenta.any():
            raise UsageError("all momenta of a channel are zero")


@dataclass(frozen=True)
class Residuals:
    """What a channel says about n geometries; d data.

    Attributes:
        values: (n, d) model less measurement, a.u.
        turns: (n, 3, 3) rotations of the model into the frame of the channel.
        by_positions: (n, d, 3 N) derivatives; empty if not asked for.
        by_parameters: (n, d, P).
    """

    values: FloatArray
    turns: FloatArray
    by_positions: FloatArray
    by_parameters: FloatArray

    def of_rows(self, chosen: BoolArray) -> Residuals:
        """Those of some of the geometries."""
        return Residuals(
            self.values[chosen],
            self.turns[chosen],
            self.by_positions[chosen],
            self.by_parameters[chosen],
        )


class ChannelData:
    """A measured channel made ready for comparison with forward models.

    Args:
        channel: the measured momenta.
        gives_frame: whether the positions are in the frame of this channel.

    Attributes:
        basis: (3 N, d) orthonormal directions of the components that are data.
        noise: (d, d) covariance of the measurement of these.
        measured: (N, 3) momenta with sum zero.
        scale: their rms.
    """

    def __init__(self, channel: MeasuredChannel, *, gives_frame: bool) -> None:
        self.fragments, self.gives_frame = channel.fragments, gives_frame
        self.measured = channel.momenta - channel.momenta.mean(axis=0)
        self.scale = float(np.sqrt((self.measured**2).mean()))
        still = without_translations(len(self.measured))
        turns = still.T @ _turns(self.measured[None])[0]
        # Directions of the turns, in order; two where all momenta lie on a line.
        left, size, _ = np.linalg.svd(turns, full_matrices=True)
        rank = int((size > _RANK * size[0]).sum())
        covariance = still.T @ channel.covariance @ still
        if gives_frame:
            self.basis = still
            mean_variance = float(np.trace(covariance)) / len(covariance)
            along = left[:, :rank]
            noise = covariance + mean_variance * along @ along.T
        else:
            rest = left[:, rank:]
            self.basis = still @ rest
            noise = rest.T @ covariance @ rest
        self.noise: FloatArray = noise + (FLOOR * self.scale) ** 2 * np.eye(len(noise))

    @property
    def count(self) -> int:
        """Number d of data."""
        return len(self.basis.T)

    def compare(self, family: Family, positions: FloatArray, parameters: FloatArray) -> Residuals:
        """Residuals of (n, N, 3) positions with (n, P) parameters."""
        with np.errstate(all="ignore"):
            momenta = family.explode(self.fragments, positions, parameters)
        turned, turns = self._turned(momenta)
        none = np.empty((len(positions), self.count, 0))
        return Residuals(self._values(turned), turns, none, none)

    def linearise(self, family: Family, positions: FloatArray, parameters: FloatArray) -> Residuals:
        """The same with derivatives."""
        with np.errstate(all="ignore"):
            found = family.linearise(self.fragments, positions, parameters)
        turned, turns = self._turned(found.momenta)
        change = np.concatenate([found.by_positions, found.by_parameters], axis=2)
        change = np.nan_to_num(change, posinf=0.0, neginf=0.0)
        if not self.gives_frame:
            n, size = len(change), change.shape[1]
            change = np.einsum("nij,najk->naik", turns, change.reshape(n, size // 3, 3, -1))
            change = change.reshape(n, size, -1)
            # The turn keeps the torque T^T p of the model on the measured momenta at zero.
            fixed, moving = _turns(self.measured[None])[0], _turns(turned)
            system = fixed.T @ moving
            ridge = 1e-9 * np.trace(system, axis1=1, axis2=2)
            system = system + np.maximum(ridge, 1e-300)[:, None, None] * np.eye(3)
            change = change - moving @ np.linalg.solve(system, fixed.T @ change)
        change = self.basis.T @ change
        coordinates = positions[0].size
        return Residuals(
            self._values(turned), turns, change[:, :, :coordinates], change[:, :, coordinates:]
        )

    def covariance(
        self, family: Family, positions: FloatArray, parameters: FloatArray, turns: FloatArray
    ) -> FloatArray:
        """(n, d, d) of the residuals: measurement, and what the family leaves open."""
        with np.errstate(all="ignore"):
            error = family.error(self.fragments, positions, parameters)
        error = np.nan_to_num(error, posinf=0.0, neginf=0.0)
        n, size = len(error), error.shape[1]
        basis = np.broadcast_to(self.basis, (n, *self.basis.shape))
        if not self.gives_frame:
            split = self.basis.reshape(size // 3, 3, -1)
            basis = np.einsum("nij,aik->najk", turns, split).reshape(n, size, -1)
        return np.asarray(self.noise + np.swapaxes(basis, 1, 2) @ error @ basis)

    def in_space(self, values: FloatArray) -> FloatArray:
        """(n, N, 3) momenta in the frame of the channel, from (n, d) data components."""
        return np.asarray((values @ self.basis.T).reshape(len(values), -1, 3))

    def _values(self, turned: FloatArray) -> FloatArray:
        return np.asarray((turned - self.measured).reshape(len(turned), -1) @ self.basis)

    def _turned(self, momenta: FloatArray) -> tuple[FloatArray, FloatArray]:
        if self.gives_frame:
            return momenta, np.broadcast_to(np.eye(3), (len(momenta), 3, 3))
        turns = turns_onto(self.measured, momenta)
        return np.asarray(momenta @ np.swapaxes(turns, 1, 2)), turns


def turns_onto(target: FloatArray, vectors: FloatArray) -> FloatArray:
    """(n, 3, 3) rotations R with least |vectors R^T - target|, from (N, 3) and (n, N, 3)."""
    finite = np.nan_to_num(vectors, posinf=0.0, neginf=0.0)
    left, _, right = np.linalg.svd(target.T @ finite)
    sign = np.sign(np.linalg.det(left) * np.linalg.det(right))
    left = left * np.stack([np.ones_like(sign), np.ones_like(sign), sign], axis=1)[:, None, :]
    return np.asarray(left @ right)


def without_translations(atoms: int) -> FloatArray:
    """(3 N, 3 N - 3) orthonormal directions in which the sum of N vectors stays zero."""
    common = np.ones((atoms, 1)) / np.sqrt(atoms)
    rest = np.linalg.qr(np.concatenate([common, np.eye(atoms)[:, 1:]], axis=1))[0][:, 1:]
    return np.asarray(np.kron(rest, np.eye(3)))


def whitening(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(n, d, d) lower triangular W with W C W' = 1 of (n, d, d) covariances, and (n) ln det C.

    Where C is not positive definite (a model that fails), W is one and ln det C infinite.
    """
    n, size = covariance.shape[:2]
    good: BoolArray = np.asarray(np.isfinite(covariance).all(axis=(1, 2)))
    root = np.broadcast_to(np.eye(size), covariance.shape).copy()
    try:
        root[good] = np.linalg.cholesky(covariance[good])
    except np.linalg.LinAlgError:
        for row in range(n):
            try:
                root[row] = np.linalg.cholesky(covariance[row]) if good[row] else root[row]
            except np.linalg.LinAlgError:
                good[row] = False
    logarithm: FloatArray = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    logarithm[~good] = np.inf
    return np.asarray(np.linalg.inv(root)), logarithm


def _turns(vectors: FloatArray) -> FloatArray:
    """(n, 3 N, 3) changes of (n, N, 3) vectors in turns about the axes."""
    change = np.cross(np.eye(3)[:, None, None, :], vectors[None])
    return np.asarray(change.reshape(3, len(vectors), -1).transpose(1, 2, 0))
