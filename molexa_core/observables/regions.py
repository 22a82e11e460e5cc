"""Which points lie in a region: box, polygon, ellipse."""

from __future__ import annotations

import numpy as np

from molexa_core.base.settings.region import Ellipse, Region
from molexa_core.base.tables import BoolArray, FloatArray

_EDGE = 1e-12
"""Points this close to an edge, in extents of the polygon, lie on it."""


def contains(region: Region, x: FloatArray, y: FloatArray) -> BoolArray:
    """(n) which points lie in a region or on its edge; those that are not numbers do not."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if region.box is not None:
        (left, right), (low, high) = region.box.x, region.box.y
        return np.asarray((x >= left) & (x <= right) & (y >= low) & (y <= high))
    if region.ellipse is not None:
        return _in_ellipse(region.ellipse, x, y)
    return _in_polygon(np.array(region.polygon, np.float64), x, y)


def _in_ellipse(ellipse: Ellipse, x: FloatArray, y: FloatArray) -> BoolArray:
    angle = np.radians(ellipse.angle_deg)
    along, across = x - ellipse.centre[0], y - ellipse.centre[1]
    one = np.cos(angle) * along + np.sin(angle) * across
    other = -np.sin(angle) * along + np.cos(angle) * across
    return np.asarray(
        np.square(one / ellipse.half_axes[0]) + np.square(other / ellipse.half_axes[1]) <= 1.0
    )


def _in_polygon(corners: FloatArray, x: FloatArray, y: FloatArray) -> BoolArray:
    """By the number of edges that a ray to the right crosses (Shimrat, Commun. ACM 5, 434 (1962)).

    An edge counts if it begins at or below the point and ends above it, or the other way round, so
    that a ray through a corner counts once.
    """
    inside = np.zeros(np.shape(x), np.bool_)
    on_edge = np.zeros(np.shape(x), np.bool_)
    extent = np.ptp(corners, axis=0)
    ends = np.roll(corners, -1, axis=0)
    for (x0, y0), (x1, y1) in zip(corners, ends, strict=True):
        across = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        beside = (x >= min(x0, x1)) & (x <= max(x0, x1)) & (y >= min(y0, y1)) & (y <= max(y0, y1))
        on_edge |= beside & (np.abs(across) <= _EDGE * extent[0] * extent[1])
        if y0 == y1:
            continue
        crossed = (y0 <= y) != (y1 <= y)
        inside ^= crossed & ((across > 0) == (y1 > y0))
    return np.asarray(inside | on_edge)
