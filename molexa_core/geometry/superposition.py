"""Best superposition of two structures whose like atoms may be in any order.

Minimises the RMSD over rotations, translations and assignments of like atoms together. With the
positions centred at their means the best rotation for one assignment follows from the singular
values s of H = sum_i a_i b_i^T (Kabsch, Acta Cryst. A 32, 922 (1976)):

    n RMSD^2 = |a|^2 + |b|^2 - 2 (s1 + s2 + d s3),  d = sign det H,  or d = 1 with mirror images.

If there are at most `EXHAUSTIVE` assignments of like atoms, all are tried and the result is the
global minimum (`exact` is True). Otherwise rotation and assignment are improved in turns (each step
optimal) from many starts: every alignment of a pair of rare atoms of one structure with a pair of
like atoms of the other, and a grid of rotations. Two structures that are the same up to small
displacements are then matched correctly, because one of the starts is close; for very different
structures the result may be a local minimum, and `exact` is False.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations, product
from math import factorial, prod
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.tables import FloatArray, IntArray

EXHAUSTIVE: Final = 5040
"""Largest number of assignments of like atoms that is searched completely."""
_GRID: Final = 576
_PAIR_STARTS: Final = 20000
_BATCH: Final = 4096


@dataclass(frozen=True)
class Superposition:
    """The second structure, moved onto the first.

    Attributes:
        assignment: (atoms) atom `assignment[i]` of the second structure belongs to atom i of the
            first.
        moved: (atoms, 3) the second structure in the order and the frame of the first.
        rotation: (3, 3) `moved = (b - centre_b)[assignment] @ rotation.T + centre_a`; determinant
            -1 where it was mirrored.
        mirrored: whether the mirror image of the second structure fits best.
        rmsd: root of the mean squared distance, in the unit of the positions.
        exact: whether this is certainly the global minimum.
    """

    assignment: IntArray
    moved: FloatArray
    rotation: FloatArray
    mirrored: bool
    rmsd: float
    exact: bool


def superpose(
    a: ArrayLike,
    b: ArrayLike,
    symbols: Sequence[str],
    *,
    symbols_b: Sequence[str] | None = None,
    allow_mirror: bool = False,
) -> Superposition:
    """Move structure `b` onto `a` with like atoms assigned so that the RMSD is smallest.

    Args:
        a: (atoms, 3) positions, any unit; the structure that stays.
        b: (atoms, 3) positions in the same unit; the structure that is moved.
        symbols: element of each atom of `a`.
        symbols_b: element of each atom of `b`; the same as of `a` where not given.
        allow_mirror: whether the mirror image of `b` may be used.

    Returns:
        The superposition; of equally good ones (symmetric structures) the first in the order of
        assignments.

    Raises:
        UsageError: the structures do not have the same atoms.
    """
    first, second, names_b = _checked(a, b, symbols, symbols_b)
    centre_a, centre_b = first.mean(axis=0), second.mean(axis=0)
    first, second = first - centre_a, second - centre_b
    count = prod(factorial(number) for number in Counter(symbols).values())
    exact = count <= EXHAUSTIVE
    if exact:
        assignment = _best(first, second, _assignments(symbols, names_b), mirror=allow_mirror)
    else:
        assignment = _search(first, second, symbols, names_b, mirror=allow_mirror)
    rotation = _kabsch(first, second[assignment], mirror=allow_mirror)
    moved = second[assignment] @ rotation.T
    return Superposition(
        assignment=assignment,
        moved=moved + centre_a,
        rotation=rotation,
        mirrored=bool(np.linalg.det(rotation) < 0),
        rmsd=float(np.sqrt(np.square(moved - first).sum() / len(first))),
        exact=exact,
    )


def _checked(
    a: ArrayLike, b: ArrayLike, symbols: Sequence[str], symbols_b: Sequence[str] | None
) -> tuple[FloatArray, FloatArray, Sequence[str]]:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    names_b = symbols if symbols_b is None else symbols_b
    for positions, names in ((first, symbols), (second, names_b)):
        if positions.shape != (len(names), 3) or not len(names):
            raise UsageError(f"{len(names)} atoms but positions of shape {positions.shape}")
        if not np.isfinite(positions).all():
            raise UsageError("a position is not a finite number")
    if Counter(symbols) != Counter(names_b):
        raise UsageError(
            f"the structures have different atoms: {_formula(symbols)} and {_formula(names_b)}",
            do="Compare structures of the same molecule.",
        )
    return first, second, names_b


def _formula(symbols: Sequence[str]) -> str:
    return listing(f"{count} {name}" for name, count in sorted(Counter(symbols).items()))


def _assignments(symbols: Sequence[str], names_b: Sequence[str]) -> Iterator[IntArray]:
    """Every assignment of like atoms, in lexicographic order."""
    kinds = sorted(set(symbols))
    groups = [[i for i, name in enumerate(symbols) if name == kind] for kind in kinds]
    choices = [
        permutations([i for i, name in enumerate(names_b) if name == kind]) for kind in kinds
    ]
    for chosen in product(*choices):
        assignment = np.empty(len(symbols), dtype=np.int64)
        for atoms_a, atoms_b in zip(groups, chosen, strict=True):
            assignment[atoms_a] = atoms_b
        yield assignment


def _gain(first: FloatArray, second: FloatArray, *, mirror: bool) -> FloatArray:
    """s1 + s2 + d s3 for each of (batch, atoms, 3) `second`; the largest has the least RMSD."""
    covariance = np.einsum("ni,bnj->bij", first, second)
    values = np.linalg.svd(covariance, compute_uv=False)
    sign = 1.0 if mirror else np.where(np.linalg.det(covariance) < 0, -1.0, 1.0)
    gain: FloatArray = values[:, 0] + values[:, 1] + sign * values[:, 2]
    return gain


def _best(
    first: FloatArray, second: FloatArray, candidates: Iterator[IntArray], *, mirror: bool
) -> IntArray:
    best: IntArray | None = None
    best_gain = -np.inf
    # Rounding must not decide between assignments that are equal by symmetry.
    margin = 1e-12 * (np.square(first).sum() + np.square(second).sum())
    while batch := list(islice(candidates, _BATCH)):
        stack: IntArray = np.stack(batch)
        gain = _gain(first, second[stack], mirror=mirror)
        index = int(np.argmax(gain >= gain.max() - margin))
        if best is None or gain[index] > best_gain + margin:
            best, best_gain = stack[index], float(gain[index])
    if best is None:
        raise UsageError("no atoms to superpose")
    return best


def _kabsch(first: FloatArray, second: FloatArray, *, mirror: bool) -> FloatArray:
    """The rotation R (or rotoreflection, with `mirror`) with least |first - second R^T|."""
    left, _, right = np.linalg.svd(first.T @ second)
    sign = 1.0 if np.linalg.det(left) * np.linalg.det(right) > 0 or mirror else -1.0
    rotation: FloatArray = (left * np.array([1.0, 1.0, sign])) @ right
    if mirror and np.linalg.det(rotation) < 0:
        proper: FloatArray = (left * np.array([1.0, 1.0, -1.0])) @ right
        # A planar structure fits its mirror image by a rotation too: no need to mirror it.
        scale = np.square(first).sum() + np.square(second).sum()
        if np.sum(first * (second @ (rotation - proper).T)) <= 1e-9 * scale:
            return proper
    return rotation


def _search(
    first: FloatArray,
    second: FloatArray,
    symbols: Sequence[str],
    names_b: Sequence[str],
    *,
    mirror: bool,
) -> IntArray:
    groups = [
        (
            np.flatnonzero(np.array(symbols) == kind),
            np.flatnonzero(np.array(names_b) == kind),
        )
        for kind in sorted(set(symbols))
    ]
    starts = [*_pair_rotations(first, second, groups), *_rotation_grid()]
    if mirror:
        starts += [-rotation for rotation in starts]
    assignments: dict[bytes, IntArray] = {}
    for rotation in starts:
        assignment = _assign(first, second @ rotation.T, groups)
        assignments.setdefault(assignment.tobytes(), assignment)
    refined = {}
    for assignment in assignments.values():
        end = _refine(first, second, assignment, groups, mirror=mirror)
        refined[end.tobytes()] = end
    return _best(first, second, iter(refined.values()), mirror=mirror)


def _refine(
    first: FloatArray,
    second: FloatArray,
    assignment: IntArray,
    groups: list[tuple[IntArray, IntArray]],
    *,
    mirror: bool,
) -> IntArray:
    for _ in range(100):
        rotation = _kabsch(first, second[assignment], mirror=mirror)
        improved = _assign(first, second @ rotation.T, groups)
        if np.array_equal(improved, assignment):
            break
        assignment = improved
    return assignment


def _assign(
    first: FloatArray, second: FloatArray, groups: list[tuple[IntArray, IntArray]]
) -> IntArray:
    """The like atoms of `second` nearest to those of `first`, one to one (Hungarian)."""
    assignment = np.empty(len(first), dtype=np.int64)
    for atoms_a, atoms_b in groups:
        rows, columns = linear_sum_assignment(first[atoms_a] @ second[atoms_b].T, maximize=True)
        assignment[atoms_a[rows]] = atoms_b[columns]
    return assignment


def _pair_rotations(
    first: FloatArray, second: FloatArray, groups: list[tuple[IntArray, IntArray]]
) -> Iterator[FloatArray]:
    """Rotations that lay two atoms of `second` on two like atoms of `first`, rarest pairs first."""
    rare = sorted(
        (
            (
                len(atoms_a) * (len(atoms_a2) - (atoms_a is atoms_a2)),
                atoms_a,
                atoms_b,
                atoms_a2,
                atoms_b2,
            )
            for atoms_a, atoms_b in groups
            for atoms_a2, atoms_b2 in groups
        ),
        key=lambda item: item[0],
    )
    made = 0
    for count, atoms_a, atoms_b, atoms_a2, atoms_b2 in rare:
        if not count:
            continue
        for i, j in product(atoms_a, atoms_a2):
            frame = _frame(first[i], first[j])
            if i == j or frame is None:
                continue
            for k, m in product(atoms_b, atoms_b2):
                target = _frame(second[k], second[m])
                if k == m or target is None:
                    continue
                yield frame.T @ target
                made += 1
            break  # one pair of the first structure against all pairs of the second is enough
        if made > _PAIR_STARTS:
            return


def _frame(along: FloatArray, in_plane: FloatArray) -> FloatArray | None:
    """Orthonormal axes as rows: along the first vector, in the plane of both, normal to it.

    None if the vectors are collinear.
    """
    across = np.cross(along, in_plane)
    if np.linalg.norm(across) <= 1e-6 * np.linalg.norm(along) * np.linalg.norm(in_plane):
        return None
    x, z = along / np.linalg.norm(along), across / np.linalg.norm(across)
    return np.stack([x, np.cross(z, x), z])


def _rotation_grid() -> Iterator[FloatArray]:
    """Evenly spread rotations (a low-discrepancy sequence on the unit quaternions)."""
    index = np.arange(_GRID) + 0.5
    # Shoemake's uniform quaternions from a Kronecker sequence of the plastic number.
    u, v = (index * 0.7548776662466927) % 1.0, (index * 0.5698402909980532) % 1.0
    w = index / _GRID
    quaternions = np.stack(
        [
            np.sqrt(1 - w) * np.sin(2 * np.pi * u),
            np.sqrt(1 - w) * np.cos(2 * np.pi * u),
            np.sqrt(w) * np.sin(2 * np.pi * v),
            np.sqrt(w) * np.cos(2 * np.pi * v),
        ],
        axis=1,
    )
    yield from Rotation.from_quat(quaternions).as_matrix()
