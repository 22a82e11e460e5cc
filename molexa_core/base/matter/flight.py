"""Flight of an ion through a spectrometer of homogeneous field regions.

The virtual experiment computes times of flight with it, and the reduction inverts it
(`reduction.momentum`). Laboratory units: mm, ns, V/cm; momenta and masses in a.u.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ACCELERATION_MM_NS2, ATOMIC_VELOCITY_MM_NS


class FieldRegion(Protocol):
    """A field region as the flight needs it; `base.settings.setup.Region` is one."""

    @property
    def length_mm(self) -> float:
        """Length along the extraction field."""

    @property
    def field_v_per_cm(self) -> float:
        """Field strength, positive towards the detector."""


def flight_time(
    pz: ArrayLike,
    charge: ArrayLike,
    mass: ArrayLike,
    regions: Sequence[FieldRegion],
    start_z_mm: ArrayLike = 0.0,
) -> FloatArray:
    """Time of flight in ns from the interaction point to the detector.

    In a region of length L and acceleration a an ion of entrance velocity v leaves with
    w = sqrt(v^2 + 2 a L) after t = 2 L / (v + w). An ion that starts away from the detector
    (v < 0, first region only) turns round, and t = (w - v) / a.

    Args:
        pz: momentum along the extraction field at the start, a.u., positive towards the detector.
        charge: charge in elementary charges.
        mass: mass in electron masses.
        regions: in the order of flight, the first with a field above 0.
        start_z_mm: where the flight starts along the extraction field, relative to the
            interaction point; must lie within the first region's length of the detector side.

    Returns:
        Time of flight with the broadcast shape of pz, charge, mass and start_z_mm.
    """
    pz, charge, mass, start = np.broadcast_arrays(
        np.asarray(pz, float),
        np.asarray(charge, float),
        np.asarray(mass, float),
        np.asarray(start_z_mm, float),
    )
    velocity = pz / mass * ATOMIC_VELOCITY_MM_NS
    time = np.zeros(velocity.shape)
    for number, region in enumerate(regions):
        length = region.length_mm - start if number == 0 else region.length_mm
        acceleration = ACCELERATION_MM_NS2 * charge / mass * region.field_v_per_cm
        leaving = np.sqrt(velocity**2 + 2.0 * acceleration * length)
        forward = velocity > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            time += np.where(
                forward,
                2.0 * length / (velocity + leaving),
                (leaving - velocity) / acceleration,
            )
        velocity = leaving
    return time
