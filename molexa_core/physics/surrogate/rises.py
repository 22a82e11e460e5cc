"""Explosions of point charges in which every atom of every molecule has a rise of its own.

The charge of atom i rises as f_i(t) = (1 + erf(6.3 ((t - c_i) / tau_i))) / 2 about its middle c_i
within the window tau_i (`coulomb.build_up`). Only differences of the middles matter. On the
processor the compiled engine carries derivatives by positions and rises along; on a GPU, where
training needs many momenta and no derivatives, `explosion.explode` is used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from threading import local
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from molexa_core.base import interruption
from molexa_core.base.compiled import compiled
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS
from molexa_core.physics.coulomb import kernel
from molexa_core.physics.coulomb.batches import LEFT
from molexa_core.physics.coulomb.build_up import LEAST_TAU_FS, STEEPNESS
from molexa_core.physics.coulomb.explosion import ACCURACIES, Accuracy, Step, explode
from molexa_core.physics.coulomb.kernel import add_remaining, fill, fly
from molexa_core.physics.coulomb.tangents import PER_ATOM, begin, finish, tangents

ACCURACY: Final = ACCURACIES["draft"]
"""Of all explosions here: 4e-6, far below what is learned on top of them."""
GPU_STEPS: Final = 192
"""Steps of explosions on a GPU, the same for all molecules."""
Derivatives = Literal["none", "rises", "all"]
_OF_THREAD: Final = local()
_PER_CALL: Final = 512
"""Molecules in one call of compiled code, so that an interruption is soon noticed."""


@dataclass(frozen=True)
class Explosions:
    """Momenta and derivatives of n molecules of N atoms.

    Attributes:
        momenta: (n, N, 3) a.u.
        by_positions: (n, 3 N, 3 N) per bohr; None if not asked for.
        by_rises: (n, 3 N, 2 N) per femtosecond: by the windows, then by the middles.
    """

    momenta: FloatArray
    by_positions: FloatArray | None = None
    by_rises: FloatArray | None = None


def explode_rises(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    tau_fs: FloatArray,
    middle_fs: FloatArray,
    *,
    derivatives: Derivatives = "none",
) -> Explosions:
    """Explode molecules on one core, in single precision; may run in several threads.

    Where two atoms lie in one place, the results are not numbers.

    Args:
        positions: (n, N, 3) bohr.
        charges: (N) or (n, N) elementary charges, above 0.
        masses: (N) or (n, N) electron masses.
        tau_fs: (n, N) windows.
        middle_fs: (n, N) middles of the rises.
        derivatives: which to compute.
    """
    n, atoms = positions.shape[:2]
    tau = np.maximum(tau_fs, LEAST_TAU_FS)
    onset = middle_fs - 0.5 * tau
    onset = onset - onset.min(axis=1, keepdims=True)
    room, aside = _room(atoms, derivatives)
    columns = aside.columns if aside else 0
    momenta = np.empty((n, atoms, 3), np.float32)
    changes = np.empty((n, 3 * atoms, columns), np.float32)
    values = (
        positions,
        np.broadcast_to(charges, (n, atoms)),
        np.broadcast_to(masses, (n, atoms)),
        tau / ATOMIC_TIME_FS,
        onset / ATOMIC_TIME_FS,
    )
    fraction = ACCURACY.fraction
    for part in _parts(n):
        given = [np.ascontiguousarray(value[part], dtype=np.float32) for value in values]
        _explode(
            *(*given, most_steps(atoms, ACCURACY), fraction, LEFT * fraction**2),
            *(room, aside, momenta[part], changes[part]),
        )
    if aside is None:
        return Explosions(momenta.astype(np.float64))
    coordinates = aside.coordinates
    risen = changes[..., coordinates:].astype(np.float64) / ATOMIC_TIME_FS
    by_onset = risen[..., 1::2]
    # onset = middle - tau / 2
    by_rises = np.concatenate([risen[..., 0::2] - 0.5 * by_onset, by_onset], axis=2)
    if not coordinates:
        return Explosions(momenta.astype(np.float64), None, by_rises)
    moved = changes[..., :coordinates].astype(np.float64)
    others = moved.reshape(n, 3 * atoms, atoms - 1, 3)
    by_positions = np.concatenate([moved, -others.sum(axis=2)], axis=2)
    return Explosions(momenta.astype(np.float64), by_positions, by_rises)


def most_steps(atoms: int, cut: Accuracy) -> int:
    """Largest number of steps that rises one after the other need."""
    return cut.steps + (atoms - 1) * math.ceil(3.0 * STEEPNESS / cut.fraction)


def _parts(n: int) -> Iterator[slice]:
    for start in range(0, n, _PER_CALL):
        interruption.check()
        yield slice(start, start + _PER_CALL)


def _room(atoms: int, derivatives: Derivatives) -> tuple[Any, Any]:
    """Room for the engine, one for each thread."""
    rooms = vars(_OF_THREAD).setdefault("rooms", {})
    if (atoms, derivatives) not in rooms:
        aside = None
        if derivatives != "none":
            moved = derivatives == "all"
            aside = tangents(atoms, np.float32, coordinates=moved, rises=2 * atoms)
        rooms[atoms, derivatives] = kernel.block(atoms, np.float32), aside
    return rooms[atoms, derivatives]  # type: ignore[no-any-return]


@compiled
def _explode(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    tau: FloatArray,
    onset: FloatArray,
    steps: int,
    fraction: float,
    left: float,
    b: Any,
    t: Any,
    momenta: FloatArray,
    derivatives: FloatArray,
) -> None:
    """`kernel.explode_blocks` with rises (n, atoms) that differ between the molecules."""
    n, atoms = charges.shape
    lanes = b.x.shape[1]
    for start in range(0, n, lanes):
        fill(b, positions, charges, masses, tau[start], onset[start], start)
        for lane in range(lanes):
            at = min(start + lane, n - 1)
            for i in range(atoms):
                b.tau[i, lane] = tau[at, i]
                b.onset[i, lane] = onset[at, i]
        if t is not None:
            begin(b, t)
        fly(b, t, PER_ATOM, steps, fraction, left)
        if t is not None:
            finish(b, t)
        add_remaining(b)
        for lane in range(min(lanes, n - start)):
            for i in range(atoms):
                for axis in range(3):
                    row = 3 * i + axis
                    momenta[start + lane, i, axis] = b.v[row, lane] * b.mass[i, lane]
                    if t is not None:
                        for column in range(t.columns):
                            value = t.p[3 * atoms * column + row, lane]
                            derivatives[start + lane, row, column] = value


@dataclass(frozen=True)
class RisesOfMany:
    """A build-up for `explosion.explode` in which every molecule has its own rises.

    Attributes:
        tau, onset: [N, B] atomic units of time.
    """

    tau: Tensor
    onset: Tensor

    def factor(self, time: Tensor) -> Tensor:
        """[N, B] f of each atom."""
        return torch.erfc(STEEPNESS * (0.5 - (time - self.onset) / self.tau)) * 0.5

    def rate(self, time: Tensor) -> Tensor:
        """[B] as in `build_up.AtomRises`."""
        since = time - self.onset
        behind = STEEPNESS * (since / self.tau - 0.5) - 2.5
        width = self.tau + STEEPNESS * (-since).clamp_min(0.0)
        return (torch.erfc(2.0 * behind) * (0.5 * STEEPNESS) / width).amax(0)


def explode_on_device(
    positions: Tensor,
    charges: Tensor,
    masses: Tensor,
    tau_fs: Tensor,
    middle_fs: Tensor,
    *,
    steps: int = GPU_STEPS,
    fraction: float = ACCURACY.fraction,
    advance: Step | None = None,
) -> Tensor:
    """[B, N, 3] momenta in a.u. of padded molecules, by torch; differentiable.

    Args:
        positions: [B, N, 3] bohr.
        charges: [B, N] elementary charges, 0 where padded.
        masses: [B, N] electron masses, above 0 everywhere.
        tau_fs: [B, N] windows.
        middle_fs: [B, N] middles of the rises.
        steps: number of steps.
        fraction: their length in units of the shortest time scale.
        advance: a compiled `explosion.step`.
    """
    there = charges > 0
    tau = tau_fs.clamp_min(LEAST_TAU_FS)
    onset = middle_fs - 0.5 * tau
    first = torch.where(there, onset, torch.inf).amin(1, keepdim=True)
    onset = torch.where(there, onset - first, 0.0)
    # Rises of padding must not shorten the steps: they are as slow as those of the first atom.
    tau = torch.where(there, tau, tau[:, :1])
    onset = torch.where(there, onset, onset[:, :1])
    rises = RisesOfMany(
        (tau / ATOMIC_TIME_FS).T.contiguous(), (onset / ATOMIC_TIME_FS).T.contiguous()
    )
    return explode(
        positions,
        charges,
        masses,
        build_up=rises,
        accuracy=Accuracy(steps, fraction),
        advance=advance,
    )
