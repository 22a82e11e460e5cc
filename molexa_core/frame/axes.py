"""Axes of the molecular frame of an event, and removal of its centre-of-mass momentum."""

from __future__ import annotations

from typing import Literal

import numpy as np

from molexa_core.base.tables import FloatArray

Plane = Literal["xy", "xz"]


def without_recoil(momentum: FloatArray, mass: FloatArray) -> FloatArray:
    """Momenta in the centre-of-mass frame of the ions.

    p_i - (m_i / M) sum_j p_j, a Galilean transformation to the frame in which the momentum sum is
    zero. It removes the recoil from photons and electrons, the thermal motion of the gas and the
    part of the measurement errors that all ions share.

    Args:
        momentum: (n, ions, 3) a.u.
        mass: (ions) electron masses.
    """
    share = mass / mass.sum()
    centred: FloatArray = momentum - share[:, None] * momentum.sum(axis=1, keepdims=True)
    return centred


def sine_between(a: FloatArray, b: FloatArray) -> FloatArray:
    """(...) sine of the angle between vectors (..., 3); 0 where one of them is zero."""
    scale = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    area = np.linalg.norm(np.cross(a, b), axis=-1)
    sine: FloatArray = np.divide(area, scale, out=np.zeros_like(area), where=scale > 0)
    return sine


def cosine_between(a: FloatArray, b: FloatArray) -> FloatArray:
    """(...) cosine of the angle between vectors (..., 3); 1 where one of them is zero.

    A zero vector has no direction; with 1 it is never chosen as the most orthogonal one.
    """
    scale = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    dot = np.sum(a * b, axis=-1)
    cosine: FloatArray = np.divide(dot, scale, out=np.ones_like(dot), where=scale > 0)
    return cosine


def rows_of_axes(reference: FloatArray, second: FloatArray, plane: Plane) -> FloatArray:
    """Rotation matrices whose rows are the x, y and z axes of each event.

    x is along the reference. The component of the second perpendicular to x defines y (`plane` xy)
    or z (xz), so that the second lies in that plane with a positive component; the third axis
    completes a right-handed frame (Gram-Schmidt; paper, Methods, "Coordinate frame
    transformations").

    Args:
        reference: (n, 3) momentum of the reference ion, not zero.
        second: (n, 3) momentum of the second ion, not collinear with the reference.
        plane: plane in which the second lies.

    Returns:
        (n, 3, 3); `rotation @ p` gives the components in the molecular frame.
    """
    x = reference / np.linalg.norm(reference, axis=-1, keepdims=True)
    across = second - np.sum(second * x, axis=-1, keepdims=True) * x
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    third = np.cross(x, across)
    rows = (x, across, third) if plane == "xy" else (x, -third, across)
    return np.stack(rows, axis=-2)
