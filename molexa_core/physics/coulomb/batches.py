"""Explosions of numpy arrays of any length, in batches that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch

from molexa_core.base import interruption
from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import BOHR_ANGSTROM
from molexa_core.physics.coulomb.build_up import BuildUp
from molexa_core.physics.coulomb.derivatives import explode_with_derivatives
from molexa_core.physics.coulomb.explosion import Accuracy, explode
from molexa_core.physics.coulomb.trajectory import trajectory

CLOSEST_BOHR: Final = 0.5
"""Distance, bohr, below which two atoms are considered a mistake; the bond of H2 is 1.4 bohr."""
_PAIRS_PER_BATCH: Final = 20_000
"""Number of pairs of atoms in one batch on the CPU, so that arrays fit into the L2 cache."""


def explode_many(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    *,
    build_up: BuildUp | None = None,
    accuracy: str | Accuracy = "fast",
    batch: int | None = None,
    strict: bool = True,
) -> FloatArray:
    """Asymptotic momenta of many molecules, on the CPU in double precision.

    Each molecule is integrated independently; the size of a batch affects at most the last digits.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (n, atoms) or (atoms), elementary charges.
        masses: (n, atoms) or (atoms), electron masses.
        build_up: charge build-up, instant by default.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.
        batch: molecules per batch; chosen from the number of atoms by default.
        strict: whether a momentum that is not a number is an error; a search over arbitrary
            geometries ignores such molecules itself.

    Returns:
        (n, atoms, 3) momenta in a.u.

    Raises:
        ComputationError: if strict: a momentum is not a number, since two atoms coincide.
    """
    n, atoms = positions.shape[:2]
    charges = np.broadcast_to(charges, (n, atoms))
    masses = np.broadcast_to(masses, (n, atoms))
    size = batch or _molecules_per_batch(atoms)
    momenta = np.empty((n, atoms, 3))
    with torch.no_grad(), _one_thread():
        for part in _parts(n, size):
            momenta[part] = explode(
                _tensor(positions[part]),
                _tensor(charges[part]),
                _tensor(masses[part]),
                build_up=build_up,
                accuracy=accuracy,
            ).numpy()
    if strict and not np.isfinite(momenta).all():
        bad = int(np.flatnonzero(~np.isfinite(momenta).all(axis=(1, 2)))[0])
        raise ComputationError(
            f"the explosion of molecule {bad} gave momenta that are not numbers",
            do="Check its geometry: two atoms may lie in one place.",
        )
    return momenta


def linearise_many(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    *,
    build_up: BuildUp,
    accuracy: str | Accuracy,
) -> tuple[FloatArray, FloatArray]:
    """Asymptotic momenta and their derivatives with respect to the positions; see `derivatives`.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (atoms) elementary charges, not 0.
        masses: (atoms) electron masses.
        build_up: charge build-up.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.

    Returns:
        (n, atoms, 3) momenta in a.u. and (n, 3 atoms, 3 atoms) derivatives (rows: momenta); NaN if
        two atoms coincide.
    """
    n, atoms = positions.shape[:2]
    charges = np.broadcast_to(charges, (n, atoms))
    masses = np.broadcast_to(masses, (n, atoms))
    size = _molecules_per_batch(atoms)
    momenta, changes = np.empty((n, atoms, 3)), np.empty((n, 3 * atoms, 3 * atoms))
    with torch.no_grad(), _one_thread():
        for part in _parts(n, size):
            found = explode_with_derivatives(
                _tensor(positions[part]),
                _tensor(charges[part]),
                _tensor(masses[part]),
                build_up=build_up,
                accuracy=accuracy,
            )
            momenta[part], changes[part] = found[0].numpy(), found[1].numpy()
    return momenta, changes


def momentum_map(
    charges: FloatArray, masses: FloatArray, *, build_up: BuildUp, accuracy: str | Accuracy
) -> Callable[[FloatArray], FloatArray]:
    """The classical model of one molecule as a function of the positions alone.

    Args:
        charges: (atoms) elementary charges.
        masses: (atoms) electron masses.
        build_up: charge build-up.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.

    Returns:
        Function from (n, atoms, 3) positions in bohr to (n, atoms, 3) momenta in a.u., which are
        not numbers where atoms lie in one place.
    """

    def momenta_of(positions: FloatArray) -> FloatArray:
        return explode_many(
            positions, charges, masses, build_up=build_up, accuracy=accuracy, strict=False
        )

    return momenta_of


def linearised_map(
    charges: FloatArray, masses: FloatArray, *, build_up: BuildUp, accuracy: str | Accuracy
) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """The same with the derivatives of the momenta by the positions; see `linearise_many`."""

    def linearised(positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        return linearise_many(positions, charges, masses, build_up=build_up, accuracy=accuracy)

    return linearised


def far_shape(momenta: FloatArray, masses: FloatArray) -> FloatArray:
    """The shape that the ions form far away: their velocities, scaled to an rms radius of 1.

    Args:
        momenta: (atoms, 3) a.u.
        masses: (atoms) electron masses.
    """
    velocities = momenta / masses[:, None]
    return velocities / max(float(np.sqrt((velocities**2).sum(axis=1).mean())), 1e-300)


def path_of(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    times: FloatArray,
    *,
    build_up: BuildUp | None = None,
    accuracy: str | Accuracy = "fine",
) -> FloatArray:
    """(times, atoms, 3) positions in bohr of one exploding molecule; see `trajectory`."""
    with torch.no_grad(), _one_thread():
        path = trajectory(
            _tensor(positions),
            _tensor(charges),
            _tensor(masses),
            _tensor(times),
            build_up=build_up,
            accuracy=accuracy,
        )
    return np.asarray(path.numpy(), dtype=np.float64)


def require_explosive(
    symbols: Sequence[str], positions: FloatArray, charges: Sequence[float], *, where: object
) -> None:
    """Check that a geometry with these charges can explode.

    Args:
        symbols: element of each atom, for the message.
        positions: (atoms, 3) bohr.
        charges: (atoms) elementary charges.
        where: source of the geometry, for the message.

    Raises:
        UsageError: fewer than two charged atoms, coordinates that are not numbers, or two atoms
            within `CLOSEST_BOHR`.
    """
    if sum(1 for charge in charges if charge != 0) < 2:
        raise UsageError(
            "at least two charged atoms are needed for a Coulomb explosion",
            where=where,
            do="Give the charges of more atoms.",
        )
    require_apart(symbols, positions, where=where)


def require_apart(symbols: Sequence[str], positions: FloatArray, *, where: object = None) -> None:
    """Check that no two atoms of a geometry, or of several, overlap.

    Args:
        symbols: element of each atom, for the message.
        positions: (atoms, 3) or (geometries, atoms, 3) bohr.
        where: source of the geometry, for the message; with several, it is their number instead.

    Raises:
        UsageError: coordinates that are not numbers, or two atoms within `CLOSEST_BOHR`.
    """
    if not np.isfinite(positions).all():
        raise UsageError("a coordinate is not a number", where=where, do="Correct the geometry.")
    if len(symbols) < 2:
        return
    several = positions if positions.ndim == 3 else positions[None]
    one, other = np.triu_indices(len(symbols), 1)
    distance = np.linalg.norm(several[:, one] - several[:, other], axis=-1)
    row, pair = np.unravel_index(int(distance.argmin()), distance.shape)
    if distance[row, pair] < CLOSEST_BOHR:
        i, j = int(one[pair]), int(other[pair])
        raise UsageError(
            f"atoms {i + 1} ({symbols[i]}) and {j + 1} ({symbols[j]}) overlap: "
            f"their distance is {_both_units(float(distance[row, pair]))}",
            where=where if positions.ndim == 2 else f"geometry {row + 1}",
            do=f"Atoms must be at least {_both_units(CLOSEST_BOHR)} apart; are the units angstrom?",
        )


def _molecules_per_batch(atoms: int) -> int:
    return max(64, _PAIRS_PER_BATCH // atoms**2)


def _parts(n: int, size: int) -> Iterator[slice]:
    """The batches one after the other; an interruption is noticed between them."""
    for start in range(0, n, size):
        interruption.check()
        yield slice(start, start + size)


def _both_units(bohr: float) -> str:
    return f"{bohr:.3g} bohr ({bohr * BOHR_ANGSTROM:.2g} angstrom)"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread: for small batches threads mostly wait for each other.

    On two busy cores two threads took several times as long as one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensor(values: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))
