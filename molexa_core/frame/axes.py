"""The axes of the molecular frame of an event, and the momentum of its centre of mass."""

from __future__ import annotations

from typing import Literal

import numpy as np

from molexa_core.base.tables import FloatArray

Plane = Literal["xy", "xz"]


def without_recoil(momentum: FloatArray, mass: FloatArray) -> FloatArray:
    """Momenta in the frame of the centre of mass: each ion loses its share of the sum, by mass.

    p_i - (m_i / M) sum_j p_j. This is the Galilean change to the frame in which the fragments sum
    to zero; it removes the recoil from photons and electrons, the thermal motion of the gas and
    the part of the measuring errors that all ions share.

    Args:
        momentum: (n, ions, 3) a.u.
        mass: (ions) electron masses.
    """
    share = mass / mass.sum()
    centred: FloatArray = momentum - share[:, None] * momentum.sum(axis=1, keepdims=True)
    return centred


def sine_between(one: FloatArray, two: FloatArray) -> FloatArray:
    """(...) sine of the angle between vectors (..., 3); 0 where one of them is zero."""
    scale = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
    area = np.linalg.norm(np.cross(one, two), axis=-1)
    sine: FloatArray = np.divide(area, scale, out=np.zeros_like(area), where=scale > 0)
    return sine


def cosine_between(one: FloatArray, two: FloatArray) -> FloatArray:
    """(...) cosine of the angle between vectors (..., 3); 1 where one of them is zero.

    A zero vector has no direction; 1 makes it the last choice as the most orthogonal one.
    """
    scale = np.linalg.norm(one, axis=-1) * np.linalg.norm(two, axis=-1)
    dot = np.sum(one * two, axis=-1)
    cosine: FloatArray = np.divide(dot, scale, out=np.ones_like(dot), where=scale > 0)
    return cosine


def rows_of_axes(reference: FloatArray, second: FloatArray, plane: Plane) -> FloatArray:
    """Rotation matrices whose rows are the x, y and z axes of each event.

    x along the reference. The part of the second across x is y (`plane` xy) or z (xz), so that
    the second lies in that plane with a positive component; the third axis makes a right-handed
    frame (Gram-Schmidt; paper, Methods, "Coordinate frame transformations").

    Args:
        reference: (n, 3) not zero.
        second: (n, 3) not collinear with the reference.
        plane: where the second lies.

    Returns:
        (n, 3, 3); `rotation @ p` gives the components in the molecular frame.
    """
    x = reference / np.linalg.norm(reference, axis=-1, keepdims=True)
    across = second - np.sum(second * x, axis=-1, keepdims=True) * x
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    third = np.cross(x, across)
    rows = (x, across, third) if plane == "xy" else (x, -third, across)
    return np.stack(rows, axis=-2)
