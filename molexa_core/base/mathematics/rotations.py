"""Rotations in space from quaternions."""

from __future__ import annotations

import numpy as np

from molexa_core.base.tables import FloatArray


def rotations_of(quaternions: FloatArray) -> FloatArray:
    """The rotations of quaternions of any length above 0.

    With four normal deviates each, whose direction is uniform on the sphere in four dimensions,
    they are uniform over all orientations (K. Shoemake, Graphics Gems III, 124 (1992)).

    Args:
        quaternions: (4, n) with the real part first.

    Returns:
        (n, 3, 3) matrices.
    """
    w, x, y, z = quaternions / np.linalg.norm(quaternions, axis=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.ascontiguousarray(np.array(rows).transpose(2, 0, 1))
