"""Explosions of numpy arrays of any length, in batches that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np
import torch

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.base.units import ATOMIC_TIME_FS, BOHR_ANGSTROM
from molexa_core.physics.coulomb.build_up import (
    STEEPNESS,
    AtomRises,
    BuildUp,
    ErrorFunctionRise,
    Instant,
)
from molexa_core.physics.coulomb.derivatives import explode_with_derivatives
from molexa_core.physics.coulomb.explosion import (
    Accuracy,
    accuracy_of,
    explode,
    steps_of,
)
from molexa_core.physics.coulomb.follow import Charging, Directions, follow, parts
from molexa_core.physics.coulomb.tangents import RISES
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
    single: bool = False,
) -> FloatArray:
    """Asymptotic momenta of many molecules, on one core of the CPU.

    Compiled (`kernel`) for the build-ups of `build_up`; any other goes the way of `explosion`.
    Each molecule is integrated by itself: the size of a batch changes nothing.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (n, atoms) or (atoms), elementary charges.
        masses: (n, atoms) or (atoms), electron masses.
        build_up: charge build-up, instant by default.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.
        batch: molecules per batch; chosen from the number of atoms by default.
        strict: whether a momentum that is not a number is an error; a search that tries any
            geometry leaves such molecules out by itself.
        single: whether to compute in single precision, at twice the rate; relative errors are
            then 5e-7 at least.

    Returns:
        (n, atoms, 3) momenta in a.u., in double precision.

    Raises:
        ComputationError: a momentum is not a number (atoms in one place), if strict.
        UsageError: a build-up for another number of atoms.
    """
    n, atoms = positions.shape[:2]
    charges = np.broadcast_to(charges, (n, atoms))
    masses = np.broadcast_to(masses, (n, atoms))
    rise = Instant() if build_up is None else build_up
    cut = accuracy_of(accuracy)
    found = charging_of(rise, atoms)
    if found is not None:
        momenta, _ = follow(
            *(positions, charges, masses, found, _steps(cut, rise)), single=single, batch=batch
        )
    else:
        momenta = np.empty((n, atoms, 3))
        for part in parts(n, batch or _molecules_per_batch(atoms)):
            momenta[part] = _plain(positions[part], charges[part], masses[part], rise, cut)
    if strict and not np.isfinite(momenta).all():
        bad = int(np.flatnonzero(~np.isfinite(momenta).all(axis=(1, 2)))[0])
        raise ComputationError(
            f"the explosion of molecule {bad} gave momenta that are not numbers",
            do="Check its geometry: two atoms may lie in one place.",
        )
    return momenta


def charging_of(rise: BuildUp, atoms: int) -> Charging | None:
    """The build-up as compiled code takes it; None for those that it does not know.

    Raises:
        UsageError: a build-up for another number of atoms.
    """
    plain = Charging.at_once(atoms)
    if isinstance(rise, Instant):
        return plain
    if isinstance(rise, ErrorFunctionRise):
        each = [(rise.tau, 0.0)] * atoms
    elif isinstance(rise, AtomRises):
        each = list(zip(rise.taus, rise.onsets, strict=True))
        if len(each) != atoms:
            raise UsageError(
                f"the build-up is for {len(each)} atoms, the molecule has {atoms}",
                do="Give a window and an onset for each atom.",
            )
    else:
        return None
    kinds = list(dict.fromkeys(each))
    law = np.array([rise_law(tau, onset) for tau, onset in kinds]).reshape(1, -1)
    own: IntArray = np.array([kinds.index(one) for one in each], dtype=np.int64)
    return replace(plain, kind=RISES, rise=own, law=law, numbers=2)


def rise_law(tau: FloatArray | float, onset: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Parameters s and r of `kernel.explode_blocks` of rises with these windows and onsets."""
    rate = np.asarray(STEEPNESS / np.asarray(tau))
    return 0.5 * STEEPNESS + rate * onset, rate


def _steps(cut: Accuracy, rise: BuildUp) -> Accuracy:
    return Accuracy(steps_of(cut, rise), cut.fraction)


def _plain(
    positions: FloatArray, charges: FloatArray, masses: FloatArray, rise: BuildUp, cut: Accuracy
) -> FloatArray:
    with torch.no_grad(), _one_thread():
        given = (_tensor(one) for one in (positions, charges, masses))
        return np.asarray(explode(*given, build_up=rise, accuracy=cut).numpy())


def linearise_many(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    *,
    build_up: BuildUp,
    accuracy: str | Accuracy,
    single: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Asymptotic momenta with their derivatives by the positions; see `tangents`.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (atoms) elementary charges, not 0.
        masses: (atoms) electron masses.
        build_up: charge build-up.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.
        single: whether derivatives are computed in single precision: good to 1e-5 of the largest.

    Returns:
        (n, atoms, 3) momenta in a.u., those of `explode_many`, and (n, 3 atoms, 3 atoms)
        derivatives (rows: momenta), not numbers where atoms lie in one place.
    """
    n, atoms = positions.shape[:2]
    momenta = explode_many(
        positions, charges, masses, build_up=build_up, accuracy=accuracy, strict=False
    )
    cut = accuracy_of(accuracy)
    found = charging_of(build_up, atoms)
    if found is not None:
        _, moved = follow(
            *(positions, charges, masses, found, _steps(cut, build_up)),
            single=single,
            by_positions=True,
        )
        return momenta, with_last_atom(moved)
    changes = np.empty((n, 3 * atoms, 3 * atoms))
    size = _molecules_per_batch(atoms)
    charges, masses = np.broadcast_to(charges, (n, atoms)), np.broadcast_to(masses, (n, atoms))
    with torch.no_grad(), _one_thread():
        for part in parts(n, size):
            given = (_tensor(one[part]) for one in (positions, charges, masses))
            plain = explode_with_derivatives(*given, build_up=build_up, accuracy=accuracy)
            changes[part] = plain[1].numpy()
    return momenta, changes


def build_up_derivatives(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    *,
    build_up: ErrorFunctionRise | AtomRises,
    accuracy: str | Accuracy,
) -> FloatArray:
    """How asymptotic momenta change with the parameters of the build-up.

    Args:
        positions: (n, atoms, 3) bohr.
        charges: (n, atoms) or (atoms) elementary charges.
        masses: (n, atoms) or (atoms) electron masses.
        build_up: charge build-up.
        accuracy: a name in `explosion.ACCURACIES` or an `Accuracy`.

    Returns:
        (n, atoms, 3, parameters) in a.u. of momentum per femtosecond: by the window of the common
        rise, or by windows and onsets of the atoms: tau of the first, its onset, tau of the second.
    """
    n, atoms = positions.shape[:2]
    found = charging_of(build_up, atoms)
    if found is None:
        raise UsageError(f"no derivatives by the build-up {type(build_up).__name__}")
    each = isinstance(build_up, AtomRises)
    weights = np.zeros((1, 2 * atoms if each else 1, atoms, 2))
    for i in range(atoms):
        s, r = found.law[0, 2 * found.rise[i] : 2 * found.rise[i] + 2]
        tau, onset = STEEPNESS / r, (s - 0.5 * STEEPNESS) / r
        weights[0, 2 * i if each else 0, i] = -r * onset / tau, -r / tau
        if each:
            weights[0, 2 * i + 1, i] = r, 0.0
    along = Directions(weights, np.zeros(weights.shape[:2]))
    steps = _steps(accuracy_of(accuracy), build_up)
    _, changes = follow(positions, charges, masses, found, steps, directions=along)
    return np.asarray(changes.reshape(n, atoms, 3, -1) / ATOMIC_TIME_FS)


def with_last_atom(moved: FloatArray) -> FloatArray:
    """(n, 3 N, 3 N) derivatives from those by all atoms but the last.

    Nothing changes if all atoms move alike.
    """
    n, size = moved.shape[:2]
    others = moved.reshape(n, size, size // 3 - 1, 3)
    return np.concatenate([moved, -others.sum(axis=2)], axis=2)


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


def _molecules_per_batch(atoms: int, pairs: int = _PAIRS_PER_BATCH) -> int:
    return max(64, pairs // atoms**2)


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
