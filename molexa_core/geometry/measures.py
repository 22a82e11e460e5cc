"""Errors of one structure against another, as defined in the paper ("Model Performance").

* MAE, mean absolute error: mean of |difference| over all coordinates, in one common frame.
* DE, distance error: |difference of an interatomic distance|, over all pairs of atoms.
* AE, angle error: |difference of an angle| in degrees, over all directional triplets, that is
  over every atom as vertex with every pair of other atoms. (For three atoms the three angles sum
  to 180 degrees, so the mean is two thirds of the maximum, as in the paper's water: 18.459 and
  27.689 degrees.)

DE and AE need no common frame but do need the same order of atoms. `superposition.superpose`
finds both.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray


@dataclass(frozen=True)
class StructureErrors:
    """The errors of one structure against another; lengths in bohr, angles in degrees.

    Attributes:
        mae: mean absolute coordinate difference.
        rmsd: root of the mean over atoms of the squared distance.
        mean_distance_error, max_distance_error: over all pairs; None for one atom.
        mean_angle_error, max_angle_error: over all triplets; None below three atoms.
    """

    mae: float
    rmsd: float
    mean_distance_error: float | None
    max_distance_error: float | None
    mean_angle_error: float | None
    max_angle_error: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def structure_errors(a: ArrayLike, b: ArrayLike) -> StructureErrors:
    """All errors of structure `a` against `b`, atom by atom, in the frame they are given in.

    Args:
        a: (atoms, 3) bohr.
        b: (atoms, 3) bohr.

    Raises:
        UsageError: the shapes differ or are not (atoms, 3).
    """
    first, second = _pair(a, b)
    if first.ndim != 2:
        raise UsageError(f"expected positions (atoms, 3), found shape {first.shape}")
    distance, angle = distance_errors(first, second), angle_errors(first, second)
    return StructureErrors(
        mae=float(mean_absolute_error(first, second)),
        rmsd=float(root_mean_square_distance(first, second)),
        mean_distance_error=float(distance.mean()) if distance.size else None,
        max_distance_error=float(distance.max()) if distance.size else None,
        mean_angle_error=float(angle.mean()) if angle.size else None,
        max_angle_error=float(angle.max()) if angle.size else None,
    )


def mean_absolute_error(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """MAE over atoms and axes: (..., atoms, 3) -> (...), in the unit of the positions."""
    first, second = _pair(a, b)
    error: FloatArray = np.abs(first - second).mean(axis=(-2, -1))
    return error


def root_mean_square_distance(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """RMSD without superposition: (..., atoms, 3) -> (...), in the unit of the positions."""
    first, second = _pair(a, b)
    error: FloatArray = np.sqrt(np.square(first - second).sum(axis=-1).mean(axis=-1))
    return error


def distance_errors(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """|difference| of each pair distance: (..., atoms, 3) -> (..., pairs).

    Take `.mean(-1)` and `.max(-1)` for the paper's mean and maximum DE.
    """
    first, second = _pair(a, b)
    error: FloatArray = np.abs(pair_distances(first) - pair_distances(second))
    return error


def angle_errors(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """|difference| of each triplet angle in degrees: (..., atoms, 3) -> (..., triplets).

    Take `.mean(-1)` and `.max(-1)` for the paper's mean and maximum AE.
    """
    first, second = _pair(a, b)
    error: FloatArray = np.abs(triplet_angles(first) - triplet_angles(second))
    return error


def pair_distances(positions: FloatArray) -> FloatArray:
    """Distance of each pair i < j: (..., atoms, 3) -> (..., pairs), i slowest."""
    i, j = np.triu_indices(positions.shape[-2], k=1)
    distances: FloatArray = np.linalg.norm(positions[..., i, :] - positions[..., j, :], axis=-1)
    return distances


def triplet_angles(positions: FloatArray) -> FloatArray:
    """Angle at each vertex between each pair of others: (..., atoms, 3) -> (..., triplets).

    Degrees, 0 to 180; n (n - 1) (n - 2) / 2 triplets, vertex slowest. An angle at two atoms in the
    same place is 0. atan2 of cross and dot product is accurate near 0 and 180 degrees too.
    """
    n = positions.shape[-2]
    triplets = [
        (vertex, i, j)
        for vertex in range(n)
        for i, j in combinations([other for other in range(n) if other != vertex], 2)
    ]
    vertex, i, j = np.array(triplets, dtype=np.intp).reshape(-1, 3).T
    to_i = positions[..., i, :] - positions[..., vertex, :]
    to_j = positions[..., j, :] - positions[..., vertex, :]
    sine = np.linalg.norm(np.cross(to_i, to_j), axis=-1)
    angles: FloatArray = np.degrees(np.arctan2(sine, np.sum(to_i * to_j, axis=-1)))
    return angles


def dihedral_angles(positions: FloatArray, chains: ArrayLike) -> FloatArray:
    """Dihedral of each chain of four atoms: (..., atoms, 3) -> (..., chains).

    Degrees, above -180 to 180; positive where the last bond is turned clockwise from the first for
    who looks along the middle one (IUPAC, Pure Appl. Chem. 46, 11 (1976)). atan2 is accurate
    everywhere. Three atoms in a line have no dihedral; it is 0 or 180 then.

    Args:
        positions: (..., atoms, 3) in any unit.
        chains: (chains, 4) atoms, bonded one to the next.
    """
    i, j, k, m = np.asarray(chains, dtype=np.intp).reshape(-1, 4).T
    first = positions[..., j, :] - positions[..., i, :]
    middle = positions[..., k, :] - positions[..., j, :]
    last = positions[..., m, :] - positions[..., k, :]
    one, other = np.cross(first, middle), np.cross(middle, last)
    length = np.linalg.norm(middle, axis=-1)
    sine = length * np.sum(first * other, axis=-1)
    angles: FloatArray = np.degrees(np.arctan2(sine, np.sum(one * other, axis=-1)))
    angles[angles <= -180.0] = 180.0
    return angles


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape or first.ndim < 2 or first.shape[-1] != 3:
        raise UsageError(
            f"positions of shapes {first.shape} and {second.shape} cannot be compared",
            do="Both must be (..., atoms, 3) with the same number of atoms.",
        )
    return first, second
