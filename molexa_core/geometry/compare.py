"""Comparison of two structures: superposition and the errors of the paper."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from molexa_core.geometry.measures import (
    StructureErrors,
    angle_errors,
    distance_errors,
    mean_absolute_error,
    pair_distances,
    root_mean_square_distance,
    structure_errors,
    triplet_angles,
)
from molexa_core.geometry.superposition import Superposition, superpose

__all__ = [
    "StructureErrors",
    "Superposition",
    "angle_errors",
    "distance_errors",
    "mean_absolute_error",
    "pair_distances",
    "root_mean_square_distance",
    "structure_errors",
    "superpose",
    "superposed_errors",
    "triplet_angles",
]


def superposed_errors(
    a: ArrayLike,
    b: ArrayLike,
    symbols: Sequence[str],
    *,
    symbols_b: Sequence[str] | None = None,
    allow_mirror: bool = False,
) -> tuple[StructureErrors, Superposition]:
    """The errors of structure `a` against the reference `b` after the best superposition.

    The MAE is taken in the frame of `a`: for a reconstruction this is the molecular frame of the
    momenta, as in the paper. The structures are superposed by least squares, with like atoms
    exchanged where that fits better.

    Arguments and errors are those of `superpose`.
    """
    result = superpose(a, b, symbols, symbols_b=symbols_b, allow_mirror=allow_mirror)
    return structure_errors(a, result.moved), result
