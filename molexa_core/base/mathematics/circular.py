"""Angles on a full circle, such as dihedrals: median direction, differences without jumps.

-179 and 179 degrees are 2 degrees apart. A mean or a median of the numbers would be 0, so angles
are first laid out on a line around their median direction, the direction with the least mean
distance to all of them (N. I. Fisher, Statistical Analysis of Circular Data, Cambridge 1993,
section 2.3.2).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from molexa_core.base.tables import FloatArray

TURN: Final = 360.0
UNDETERMINED: Final = 0.6827 * 180.0
"""Half-width of 68 % in degrees of a direction of which nothing is known."""

_TIE: Final = 1e-9


def wrapped(degrees: ArrayLike) -> FloatArray:
    """The same directions between -180 (excluded) and 180 degrees.

    Example:
        >>> wrapped([190.0, -180.0, 540.0, 30.0]).tolist()
        [-170.0, 180.0, 180.0, 30.0]
    """
    values = np.asarray(degrees, dtype=np.float64)
    return np.asarray(180.0 - np.mod(180.0 - values, TURN))


def around(centre: ArrayLike, degrees: ArrayLike) -> FloatArray:
    """The same directions as numbers within 180 degrees of a centre.

    Example:
        >>> around(179.0, [-179.0, 175.0]).tolist()
        [181.0, 175.0]
    """
    middle = np.asarray(centre, dtype=np.float64)
    return np.asarray(middle + wrapped(np.asarray(degrees, dtype=np.float64) - middle))


def median_direction(degrees: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The direction with the least mean distance to all others, in degrees, -180 to 180.

    Args:
        degrees: (n) directions.
        weights: (n) of any sum; equal if not given.

    Returns:
        One of the directions, or the middle of two that are equally good.
    """
    values = np.mod(np.asarray(degrees, dtype=np.float64), TURN)
    share = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(values)
    values, share = values[order], share[order]
    far = _distances(values, share)
    best = float(values[int(np.argmin(far))])
    alike = values[far <= far.min() + _TIE * max(float(share.sum()), 1e-300)]
    return float(wrapped(np.mean(around(best, alike))))


def laid_out(degrees: ArrayLike) -> FloatArray:
    """Directions as numbers on a line that is cut in the widest gap between them.

    Example:
        >>> laid_out([170.0, -175.0, -150.0]).tolist()
        [170.0, 185.0, 210.0]
    """
    values = wrapped(degrees)
    rising = np.sort(values)
    gaps = np.append(rising[1:], rising[0] + TURN) - rising
    first = float(rising[(int(np.argmax(gaps)) + 1) % len(rising)])
    return np.asarray(first + np.mod(values - first, TURN))


def _distances(values: FloatArray, share: FloatArray) -> FloatArray:
    """(n) sum of the weighted distances of all directions to each, from sums along the circle.

    Args:
        values: (n) degrees from 0 to 360 in rising order.
        share: (n) weights.
    """
    twice = np.concatenate([values, values + TURN])
    weight = np.concatenate([[0.0], np.cumsum(np.tile(share, 2))])
    moment = np.concatenate([[0.0], np.cumsum(np.tile(share, 2) * twice)])
    n = len(values)
    first = np.arange(n)
    half = np.searchsorted(twice, values + 0.5 * TURN, side="right")
    ahead = moment[half] - moment[first] - values * (weight[half] - weight[first])
    rest = weight[first + n] - weight[half]
    behind = rest * (values + TURN) - (moment[first + n] - moment[half])
    return np.asarray(ahead + behind)
