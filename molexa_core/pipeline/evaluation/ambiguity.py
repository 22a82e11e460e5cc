"""Ambiguity: geometries with equal momenta, and the distribution of samples over them.

The map from geometry to momenta is not one-to-one. For a molecule drawn from a known distribution
all geometries with its momenta (modes) can be searched without the network, by refinement from many
starts. The share of the network's samples at each mode is then compared with its probability: with
the frequency at which such a mode is the truth, or with Bayes' rule if the density of the
distribution is known.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from molexa_core.base.mathematics.rotations import rotations_of
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.network.inference.refinement import refine
from molexa_core.physics.coulomb.batches import explode_many, far_shape, momentum_map
from molexa_core.physics.coulomb.build_up import ErrorFunctionRise
from molexa_core.physics.coulomb.explosion import ROUGH

EXACT: Final = 1e-6
"""Relative misfit of the momenta below which a geometry counts as a mode."""
APART: Final = 0.05
"""Mean absolute difference, bohr, below which two modes are considered the same."""
BETWEEN: Final = 0.35
"""A sample lies between modes if its distance from the nearest mode exceeds this share of the
distance of that mode from its neighbour."""
_NEAR_EXACT: Final = 3e-3
_ITERATIONS: Final = 18
_NEWTON: Final = 6
_DIFFERENCE: Final = 1e-3
_LONGEST: Final = 0.2
_ROTATIONS: Final = 512


def exact_momenta(
    positions: FloatArray, charges: FloatArray, masses: FloatArray, tau_fs: float
) -> FloatArray:
    """(B, N, 3) momenta of the classical model at the highest accuracy, with sum zero.

    Args:
        positions: (B, N, 3) bohr.
        charges: (B, N) or (N).
        masses: (B, N) or (N), electron masses.
        tau_fs: window of the charge build-up.
    """
    momenta = explode_many(
        positions, charges, masses, build_up=ErrorFunctionRise(tau_fs), accuracy="fine"
    )
    return np.asarray(momenta - momenta.mean(axis=1, keepdims=True))


def modes_of(
    truth: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    momenta: FloatArray,
    *,
    tau_fs: float,
    starts: int = 24,
    seed: int = 0,
) -> list[FloatArray]:
    """For each molecule the (modes, N, 3) geometries with its momenta, the truth first.

    Starts are drawn near the truth, in a box and along the momenta. They are refined with cheap
    explosions; those near a solution converge with Newton's method and exact explosions to `EXACT`.
    The network is not used. More starts may find more modes.

    Args:
        truth: (B, N, 3) bohr.
        charges: (B, N).
        masses: (B, N) electron masses.
        momenta: (B, N, 3) from `exact_momenta`.
        tau_fs: window of the charge build-up.
        starts: number of starts for each molecule.
        seed: of the starts.

    Returns:
        Centred positions, bohr.
    """
    centred = truth - truth.mean(axis=1, keepdims=True)
    near, owner = [], []
    rise = ErrorFunctionRise(tau_fs)
    for row, one in enumerate(centred):
        draft = momentum_map(charges[row], masses[row], build_up=rise, accuracy="draft")
        rough = momentum_map(charges[row], masses[row], build_up=rise, accuracy=ROUGH)
        drawn = _starts(one, masses[row], momenta[row], starts, [seed, row])
        found = refine(draft, drawn, momenta[row], rough=rough, iterations=_ITERATIONS)
        others = _different([one, *found.positions[found.residual < _NEAR_EXACT]])[1:]
        near += others
        owner += [row] * len(others)
    if not near:
        return [one[None] for one in centred]
    place = np.array(owner)
    known = (charges[place], masses[place], momenta[place])
    exact, residual = _newton(np.stack(near), *known, tau_fs)
    return [
        np.stack(_different([one, *exact[(place == row) & (residual < EXACT)]]))
        for row, one in enumerate(centred)
    ]


def nearest_modes(samples: FloatArray, modes: FloatArray) -> tuple[IntArray, FloatArray, BoolArray]:
    """The nearest mode of each sample, its distance, and whether the sample lies between modes.

    Args:
        samples: (K, N, 3) bohr, centred.
        modes: (modes, N, 3) bohr, centred.

    Returns:
        (K) numbers of modes; (K) mean absolute differences, bohr; (K) whether the sample lies
        between modes (`BETWEEN`).
    """
    distance = np.abs(samples[:, None] - modes[None]).mean(axis=(2, 3))
    nearest = distance.argmin(axis=1).astype(np.int64)
    best = distance[np.arange(len(samples)), nearest]
    apart = np.abs(modes[:, None] - modes[None]).mean(axis=(2, 3))
    apart[np.diag_indices(len(modes))] = np.inf
    return nearest, best, best > BETWEEN * apart.min(axis=1)[nearest]


def box_probabilities(
    modes: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    *,
    tau_fs: float,
    half_width: float,
    contact: float,
    seed: int = 0,
) -> FloatArray:
    """(modes) probability of each mode given the momenta, atoms uniform in a cube (Bayes' rule).

    P(x | p) ~ density(x) / |det dp/dx|. The density of a shape is proportional to the volume of its
    possible translations inside the cube, averaged over orientations; it is zero if two atoms are
    closer than `contact`.

    Args:
        modes: (modes, N, 3) bohr, all with the same momenta.
        charges: (N).
        masses: (N) electron masses.
        tau_fs: window of the charge build-up.
        half_width: of the cube, bohr.
        contact: smallest distance of two atoms, bohr.
        seed: of the orientations.
    """
    turns = rotations_of(np.random.default_rng(seed).standard_normal((_ROTATIONS, 4)).T)
    one, two = np.triu_indices(modes.shape[1], k=1)
    weights = np.zeros(len(modes))
    for number, mode in enumerate(modes):
        if np.linalg.norm(mode[one] - mode[two], axis=1).min() < contact:
            continue
        turned = np.einsum("rxk,nk->rnx", turns, mode)
        room = np.maximum(2.0 * half_width - np.ptp(turned, axis=1), 0.0)
        slope = determinant(mode, charges, masses, tau_fs=tau_fs)
        weights[number] = room.prod(axis=1).mean() / slope
    total = weights.sum()
    return np.asarray(weights / total) if total > 0 else weights


def determinant(
    positions: FloatArray, charges: FloatArray, masses: FloatArray, *, tau_fs: float
) -> float:
    """|det dp/dx| of one geometry (N, 3) without translations, a.u."""
    known = (charges[None], masses[None])
    return float(abs(np.linalg.det(_jacobians(positions[None], *known, tau_fs, "fine")[0])))


def _jacobians(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    tau_fs: float,
    accuracy: str,
) -> FloatArray:
    """(B, 3 N - 3, 3 N - 3) dp/dx without translations, by central differences."""
    count, atoms = positions.shape[:2]
    basis = _without_translations(atoms)
    shifts = np.einsum("an,xy->axny", basis, np.eye(3)).reshape(-1, atoms, 3)
    moves = _DIFFERENCE * np.concatenate([shifts, -shifts])
    moved = (positions[:, None] + moves).reshape(-1, atoms, 3)
    repeats = len(moves)
    momenta = explode_many(
        moved,
        np.repeat(charges, repeats, axis=0),
        np.repeat(masses, repeats, axis=0),
        build_up=ErrorFunctionRise(tau_fs),
        accuracy=accuracy,
        strict=False,
    ).reshape(count, 2, len(shifts), atoms, 3)
    change = (momenta[:, 0] - momenta[:, 1]) / (2.0 * _DIFFERENCE)
    rows = np.einsum("an,bknx->bkax", basis, change).reshape(count, len(shifts), -1)
    return np.asarray(rows.transpose(0, 2, 1))


def _newton(
    positions: FloatArray,
    charges: FloatArray,
    masses: FloatArray,
    momenta: FloatArray,
    tau_fs: float,
) -> tuple[FloatArray, FloatArray]:
    """Newton's method: (B, N, 3) positions of nearby solutions, and (B) their relative misfits."""
    atoms = positions.shape[1]
    basis = _without_translations(atoms)
    x, scale = positions.copy(), np.sqrt((momenta**2).sum(axis=(1, 2)))
    best, least = x.copy(), np.full(len(x), np.inf)
    rise = ErrorFunctionRise(tau_fs)
    for _ in range(_NEWTON):
        reached = explode_many(x, charges, masses, build_up=rise, accuracy="fine", strict=False)
        misfit = momenta - reached
        residual = np.nan_to_num(np.sqrt((misfit**2).sum(axis=(1, 2))) / scale, nan=np.inf)
        better = residual < least
        best[better], least[better] = x[better], residual[better]
        if (least < 0.1 * EXACT).all():
            break
        jacobian = np.nan_to_num(_jacobians(x, charges, masses, tau_fs, "draft"))
        right = np.einsum("an,bnx->bax", basis, misfit).reshape(len(x), -1, 1)
        step = (np.linalg.pinv(jacobian) @ right).reshape(len(x), atoms - 1, 3)
        moved = np.einsum("an,bax->bnx", basis, np.nan_to_num(step))
        x = best + np.clip(moved, -_LONGEST, _LONGEST) * better[:, None, None]
    return best, least


def _starts(
    truth: FloatArray, masses: FloatArray, momenta: FloatArray, count: int, seed: list[int]
) -> FloatArray:
    """(count, N, 3) in turns: near and far from the truth, along the momenta, in a box."""
    generator = np.random.default_rng(seed)
    size = float(np.sqrt((truth**2).sum(axis=1).mean()))
    away = far_shape(momenta, masses)
    found = []
    for number in range(count):
        noise = generator.standard_normal(truth.shape)
        if number % 4 == 0:
            found.append(truth + 0.25 * size * noise)
        elif number % 4 == 1:
            found.append(truth + 0.6 * size * noise)
        elif number % 4 == 2:
            stretch = np.exp(0.3 * generator.standard_normal())
            found.append(size * (stretch * away + 0.2 * noise))
        else:
            found.append(size * 1.8 * generator.uniform(-1.0, 1.0, truth.shape))
    drawn = np.stack(found)
    return np.asarray(drawn - drawn.mean(axis=1, keepdims=True))


def _different(positions: list[FloatArray]) -> list[FloatArray]:
    """The positions that differ from all earlier ones."""
    kept: list[FloatArray] = []
    for one in positions:
        if all(np.abs(one - other).mean() > APART for other in kept):
            kept.append(one)
    return kept


def _without_translations(atoms: int) -> FloatArray:
    """(N - 1, N) orthonormal rows that sum to zero."""
    matrix = np.eye(atoms) - 1.0 / atoms
    return np.asarray(np.linalg.svd(matrix)[2][: atoms - 1])
