"""Relative calibration of the three layers of a hexanode by the condition u - v - w = 0.

Three layers measure two coordinates. With the uncorrected positions q = scale * (t1 - t2), the true
positions are

    u = q_u + c_u(q_u),  v = (1 + a_v) q_v + c_v(q_v),  w = (1 + a_w) q_w + o + c_w(q_w)

and u - v - w = 0 for every hit determines the relative scales, the offset o of w and the correction
curves c_l. Two things are not determined and are fixed by convention: the common scale (that of u
is kept), and the linear part of the curves, which are made orthogonal to 1 and q over a uniformly
illuminated plate (or its part with hits). The scales thus do not depend on the measured image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray
from molexa_core.detector.time_sums import spread

KNOTS: Final = 25
"""Points of a curve across a layer."""
FEWEST: Final = 2000
"""Least number of hits for the calibration of the layers."""
_HEAD: Final = 3
"""The parameters a_v, a_w and o come before the points of the curves."""
_ROUNDS: Final = 4
_TRIM_SIGMAS: Final = 4.0
_BLOCK: Final = 200_000
_OUTSIDE: Final = 5e-4
"""Share of the hits beyond the points of a curve at each side."""
_SMOOTH, _SMALL = 4.0, 0.03
"""Weights, in hits, of the prior that the second difference of a curve, and the curve itself, is 0;
they matter only where hits are missing."""


@dataclass(frozen=True)
class LayerFit:
    """Relative calibration of the layers of a hexanode.

    Attributes:
        stretch: (3) factors on the scales of u, v, w; that of u is 1.
        stretch_error: (3) standard errors.
        offset, offset_error: of w in mm.
        place: (3, points) plain positions of the curves' points, mm, before stretching.
        curve: (3, points) c_l in mm.
        curve_error: (3, points) standard errors.
        sigma: standard deviation of u - v - w that is left, mm.
    """

    stretch: FloatArray
    stretch_error: FloatArray
    offset: float
    offset_error: float
    place: FloatArray
    curve: FloatArray
    curve_error: FloatArray
    sigma: float


def fit_layers(plain: FloatArray, radius: float) -> LayerFit:
    """Relative scales, offset and curves by least squares, outliers trimmed.

    Args:
        plain: (hits, 3) plain positions in mm with the scales assumed so far.
        radius: of the plate, mm.

    Raises:
        ComputationError: too few hits, or they do not cover the plate.
    """
    if len(plain) < FEWEST:
        raise ComputationError(
            f"{len(plain)} clean hits are too few to compare the layers, {FEWEST} are needed",
            do="Give a longer run.",
        )
    low, high = np.quantile(plain, [_OUTSIDE, 1.0 - _OUTSIDE], axis=0)
    knots = np.linspace(low, high, KNOTS, axis=1)
    residual = plain[:, 0] - plain[:, 1] - plain[:, 2]
    keep = np.abs(residual - np.median(residual)) < 8.0 * spread(residual)
    solution = np.zeros(_HEAD + 3 * KNOTS)
    for _ in range(_ROUNDS):
        normal, right = _normal_equations(plain[keep], knots)
        fixed = _fix(normal, int(keep.sum()), knots, radius)
        try:
            inverse = np.linalg.inv(fixed)
        except np.linalg.LinAlgError as error:
            raise ComputationError(
                "the hits do not cover enough of the plate to compare the layers",
                do="Give a run that lights the whole detector.",
            ) from error
        solution = inverse @ right
        left = _residual(plain, knots, solution)
        sigma = spread(left[keep])
        keep = np.abs(left) < _TRIM_SIGMAS * sigma
    errors = np.sqrt(np.maximum(np.diag(inverse), 0.0)) * float(np.std(left[keep]))
    return LayerFit(
        stretch=np.array([1.0, 1.0 + solution[0], 1.0 + solution[1]]),
        stretch_error=np.array([0.0, errors[0], errors[1]]),
        offset=float(solution[2]),
        offset_error=float(errors[2]),
        place=knots,
        curve=solution[_HEAD:].reshape(3, KNOTS),
        curve_error=errors[_HEAD:].reshape(3, KNOTS),
        sigma=sigma,
    )


def _design(plain: FloatArray, knots: FloatArray) -> sparse.csr_matrix:
    """Rows of the equation q_u - q_v - q_w = a_v q_v + a_w q_w + o - c_u + c_v + c_w."""
    n = len(plain)
    rows = np.arange(n)
    row = [rows, rows, rows]
    column = [np.full(n, k) for k in range(_HEAD)]
    value = [plain[:, 1], plain[:, 2], np.ones(n)]
    for layer in range(3):
        index, part = _between(plain[:, layer], knots[layer])
        sign = -1.0 if layer == 0 else 1.0
        first = _HEAD + layer * KNOTS + index
        row += [rows, rows]
        column += [first, first + 1]
        value += [sign * (1.0 - part), sign * part]
    places = (np.concatenate(row), np.concatenate(column))
    shape = (n, _HEAD + 3 * KNOTS)
    return sparse.csr_matrix((np.concatenate(value), places), shape=shape)


def _between(place: FloatArray, knots: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The curve point before each position and the fraction to the next; constant at the ends."""
    step = knots[1] - knots[0]
    along = np.clip((place - knots[0]) / step, 0.0, KNOTS - 1.0)
    index = np.minimum(along.astype(np.int64), KNOTS - 2)
    return index, along - index


def _normal_equations(plain: FloatArray, knots: FloatArray) -> tuple[FloatArray, FloatArray]:
    size = _HEAD + 3 * KNOTS
    normal, right = np.zeros((size, size)), np.zeros(size)
    for low in range(0, len(plain), _BLOCK):
        part = plain[low : low + _BLOCK]
        design = _design(part, knots)
        normal += (design.T @ design).toarray()
        right += design.T @ (part[:, 0] - part[:, 1] - part[:, 2])
    return normal, right


def _fix(normal: FloatArray, n: int, knots: FloatArray, radius: float) -> FloatArray:
    """The normal equations with the straight parts of the curves fixed, and little bending."""
    fixed = normal.copy()
    bend = np.diff(np.eye(KNOTS), 2, axis=0)
    for layer in range(3):
        part = slice(_HEAD + layer * KNOTS, _HEAD + (layer + 1) * KNOTS)
        density = np.sqrt(np.maximum(1.0 - (knots[layer] / radius) ** 2, 0.0))
        density = density / density.sum()
        for shape in (np.ones(KNOTS), knots[layer] / radius):
            row = density * shape
            fixed[part, part] += n * np.outer(row, row) * KNOTS
        fixed[part, part] += _SMOOTH * (bend.T @ bend) + _SMALL * np.eye(KNOTS)
    return fixed


def _residual(plain: FloatArray, knots: FloatArray, solution: FloatArray) -> FloatArray:
    left = plain[:, 0] - plain[:, 1] - plain[:, 2]
    for low in range(0, len(plain), _BLOCK):
        part = slice(low, low + _BLOCK)
        left[part] -= _design(plain[part], knots) @ solution
    return left
