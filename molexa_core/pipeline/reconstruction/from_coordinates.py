"""Reconstruct: distances and angles with half-widths that follow from those of coordinates.

The error bars of the network are calibrated for coordinates alone. Those of distances and angles
are their linear propagation, as if the errors of coordinates were independent of each other:

    w^2 = sum over coordinates of (dq/dx)^2 w_x^2.

How the network's errors go together is not known. Errors of two neighbours that are alike make
distances more certain than this says, opposite ones up to sqrt(2) less. An angle near 0 or 180
degrees has no derivative; its half-width there is that across the line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray
from molexa_core.geometry.measures import pair_distances, triplet_angles
from molexa_core.pipeline.reconstruction.from_posterior import names_of

STEP: Final = 1e-4
"""Of differences, as a share of the half-width of a coordinate, and at least in bohr."""


def propagated_lengths(
    positions: FloatArray, half_width: FloatArray | None, ions: Sequence[Ion]
) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """All distances (bohr) and angles (degrees) with 68 % intervals, as they are recorded.

    Args:
        positions: (N, 3) bohr.
        half_width: (N, 3) of 68 % intervals, bohr; None where there are none.
        ions: of the atoms.
    """
    pairs, triplets = names_of(ions)
    return (
        _rows(pairs, pair_distances, positions, half_width),
        _rows(triplets, triplet_angles, positions, half_width) if triplets else (),
    )


def _rows(
    names: Sequence[str],
    measure: Callable[[FloatArray], FloatArray],
    positions: FloatArray,
    half_width: FloatArray | None,
) -> tuple[dict[str, Any], ...]:
    values = measure(positions[None])[0].tolist()
    if half_width is None:
        nothing = {"half_width": None, "low": None, "high": None}
        return tuple({"of": n, "median": v} | nothing for n, v in zip(names, values, strict=True))
    size = positions.size
    moved = STEP * np.maximum(half_width.ravel(), 1e-2)
    steps = (np.eye(size) * moved).reshape(size, *positions.shape)
    there, back = measure(positions + steps), measure(positions - steps)
    # The larger of both sides: at 180 degrees a step either way makes the angle smaller.
    here = np.array(values)
    slope = np.maximum(np.abs(there - here), np.abs(here - back)) / moved[:, None]
    widths = np.sqrt((slope**2 * np.square(half_width.ravel())[:, None]).sum(axis=0)).tolist()
    return tuple(
        {
            "of": name,
            "median": value,
            "half_width": width,
            "low": value - width,
            "high": value + width,
        }
        for name, value, width in zip(names, values, widths, strict=True)
    )
