"""Explosions of point charges in which every atom of every molecule has a rise of its own.

The charge of atom i rises as (1 + erf(6.3 (t - c_i) / tau_i)) / 2 about its middle c_i within the
window tau_i (`coulomb.build_up`). Only differences of the middles matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS
from molexa_core.physics.coulomb.batches import with_last_atom
from molexa_core.physics.coulomb.build_up import LEAST_TAU_FS, STEEPNESS
from molexa_core.physics.coulomb.explosion import Accuracy
from molexa_core.physics.coulomb.follow import Charging, Directions, follow
from molexa_core.physics.coulomb.tangents import RISES

ACCURACY: Final = Accuracy(400, 0.4)
"""Errors of 4e-6, far below what is learned."""
QUICK: Final = Accuracy(300, 0.7)
"""Momenta to 2e-5, derivatives to 1e-3 at worst."""
ROUGH: Final = Accuracy(200, 1.1)
"""Derivatives to some per cent, for errors."""
Derivatives = Literal["none", "rises", "all"]


@dataclass(frozen=True)
class Explosions:
    """Momenta and derivatives of n molecules of N atoms.

    Attributes:
        momenta: (n, N, 3) a.u.
        by_positions: (n, 3 N, 3 N) per bohr; None if not asked for.
        by_rises: (n, 3 N, 2 N) by ln of the windows, then by the middles per femtosecond.
    """

    momenta: FloatArray
    by_positions: FloatArray | None = None
    by_rises: FloatArray | None = None


def explode_rises(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    log_tau: FloatArray,
    middle_fs: FloatArray,
    *,
    derivatives: Derivatives = "none",
    accuracy: Accuracy = ACCURACY,
) -> Explosions:
    """Explode molecules on one core, in single precision; may run in several threads.

    Where two atoms lie in one place, the results are not numbers.

    Args:
        positions: (n, N, 3) bohr.
        charges: (N) or (n, N) elementary charges, above 0.
        masses: (N) or (n, N) electron masses.
        log_tau: (n, N) ln of the windows in fs.
        middle_fs: (n, N) middles of the rises.
        derivatives: which to compute.
        accuracy: of the integration.
    """
    n, atoms = positions.shape[:2]
    tau = np.maximum(np.exp(log_tau), LEAST_TAU_FS)
    # A rise begins half a window before its middle, the first one at time 0.
    middle = middle_fs - (middle_fs - 0.5 * tau).min(axis=1, keepdims=True)
    rate = STEEPNESS / tau * ATOMIC_TIME_FS
    phase = STEEPNESS * middle / tau
    charging = Charging(
        kind=RISES,
        rise=np.arange(atoms),
        law=np.stack([phase, rate], axis=2).reshape(n, 2 * atoms),
        numbers=2,
        screening=np.zeros(1),
        reach=np.zeros(atoms * (atoms - 1) // 2),
    )
    directions = None
    if derivatives != "none":
        weights = np.zeros((n, 2 * atoms, atoms, 2))
        for i in range(atoms):
            weights[:, i, i, 0] = -phase[:, i]
            weights[:, i, i, 1] = -rate[:, i]
            weights[:, atoms + i, i, 0] = STEEPNESS / tau[:, i]
        directions = Directions(weights, np.zeros((1, 2 * atoms)))
    momenta, changes = follow(
        *(positions, charges, masses, charging, accuracy),
        single=True,
        by_positions=derivatives == "all",
        directions=directions,
    )
    if derivatives == "none":
        return Explosions(momenta)
    if derivatives == "rises":
        return Explosions(momenta, None, changes)
    moved = 3 * (atoms - 1)
    return Explosions(momenta, with_last_atom(changes[..., :moved]), changes[..., moved:])
