"""Time-of-flight inversion: ion momentum from time of flight and detector position.

The mass and charge of the ion are assumed. Axes: z along the extraction field, x along the light,
y along the jet. No magnetic field. The inverse of `base.matter.flight.flight_time`:

* one homogeneous region of length L and acceleration a: L = v t + a t^2 / 2, hence
  pz = m (L / t - a t / 2);
* several regions: Newton iteration on the starting velocity v in t(v) = t, kept inside a bracket;
* px = m x / t and py = m (y / t - v_jet).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled
from molexa_core.base.errors import SettingsError
from molexa_core.base.matter.flight import FieldRegion, flight_time
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import (
    ACCELERATION_MM_NS2,
    ATOMIC_VELOCITY_M_S,
    ATOMIC_VELOCITY_MM_NS,
)

_STEPS: Final = 80
_TOLERANCE: Final = 1e-13


@compiled
def _time_and_slope(
    velocity: float, lengths: FloatArray, accelerations: FloatArray
) -> tuple[float, float]:
    """Time of flight in ns at this starting velocity, and its derivative."""
    entering, change, total, slope = velocity, 1.0, 0.0, 0.0
    for region in range(len(lengths)):
        doubled = 2.0 * lengths[region]
        leaving = np.sqrt(entering * entering + accelerations[region] * doubled)
        if entering > 0.0:
            passing = doubled / (entering + leaving)
        else:
            passing = (leaving - entering) / accelerations[region]
        total += passing
        if region == 0:  # the general form is 0/0 for ions that start away from the detector
            slope -= passing / leaving
        else:
            slope -= passing * (change + velocity / leaving) / (entering + leaving)
        entering, change = leaving, velocity / leaving
    return total, slope


@compiled
def starting_velocity(time: float, lengths: FloatArray, accelerations: FloatArray) -> float:
    """Starting velocity along z in mm/ns for a time of flight; NaN if there is none.

    The time of flight decreases with the starting velocity (`require_single_valued` checks this),
    so that every trial value narrows a bracket. Where a Newton step leaves the bracket, the bracket
    is halved, or extended while one side is still open.

    Args:
        time: time of flight in ns.
        lengths: (regions) mm.
        accelerations: (regions) mm/ns^2.
    """
    if not time > 0.0:
        return np.nan
    if len(lengths) == 1:
        return float(lengths[0] / time - 0.5 * accelerations[0] * time)
    scale = np.sqrt(2.0 * accelerations[0] * lengths[0])
    low, high = -np.inf, np.inf
    velocity = 0.0
    for _ in range(_STEPS):
        total, slope = _time_and_slope(velocity, lengths, accelerations)
        if total > time:
            low = velocity
        else:
            high = velocity
        trial = velocity + (time - total) / slope if slope < 0.0 else np.nan
        if not low <= trial <= high:
            if high - low < np.inf:
                trial = 0.5 * (low + high)
            else:
                trial = 2.0 * velocity + (scale if total > time else -scale)
        if abs(trial - velocity) <= _TOLERANCE * (scale + abs(trial)):
            return trial
        velocity = trial
    return np.nan


@compiled
def _starting_velocities(
    times: FloatArray, lengths: FloatArray, accelerations: FloatArray
) -> FloatArray:
    velocities = np.empty(len(times))
    for index in range(len(times)):
        velocities[index] = starting_velocity(times[index], lengths, accelerations)
    return velocities


def hit_momenta(
    x_mm: FloatArray,
    y_mm: FloatArray,
    t_ns: FloatArray,
    ion: Ion,
    regions: Sequence[FieldRegion],
    *,
    jet_velocity_m_per_s: float = 0.0,
) -> FloatArray:
    """Initial momentum of each hit on the assumption that it is this ion.

    Args:
        x_mm: (hits) calibrated position along the light.
        y_mm: (hits) calibrated position along the jet.
        t_ns: (hits) calibrated time of flight.
        ion: the assumed ion, which gives mass and charge.
        regions: field regions from the interaction point to the detector.
        jet_velocity_m_per_s: mean velocity of the molecules along y.

    Returns:
        (hits, 3) a.u.; NaN where the ion cannot have that time of flight.
    """
    lengths, accelerations = region_arrays(ion, regions)
    t_ns = np.ascontiguousarray(t_ns, np.float64)
    velocity = np.empty((len(t_ns), 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        velocity[:, 0] = x_mm / t_ns
        velocity[:, 1] = y_mm / t_ns - jet_mm_ns(jet_velocity_m_per_s)
    velocity[:, 2] = _starting_velocities(t_ns, lengths, accelerations)
    velocity[~np.isfinite(velocity).all(axis=1)] = np.nan
    momenta: FloatArray = velocity * (ion.mass / ATOMIC_VELOCITY_MM_NS)
    return momenta


def region_arrays(ion: Ion, regions: Sequence[FieldRegion]) -> tuple[FloatArray, FloatArray]:
    """(regions) lengths in mm and (regions) accelerations of this ion in mm/ns^2."""
    lengths = np.array([region.length_mm for region in regions])
    fields = np.array([region.field_v_per_cm for region in regions])
    return lengths, fields * (ACCELERATION_MM_NS2 * ion.charge / ion.mass)


def jet_mm_ns(velocity_m_per_s: float) -> float:
    """Convert a velocity from m/s to mm/ns."""
    return velocity_m_per_s / ATOMIC_VELOCITY_M_S * ATOMIC_VELOCITY_MM_NS


def flight_window(
    ion: Ion, regions: Sequence[FieldRegion], max_momentum: float
) -> tuple[float, float]:
    """Shortest and longest time of flight in ns of ions with at most this momentum in a.u.

    Raises:
        SettingsError: the spectrometer gives two momenta the same time of flight.
    """
    require_single_valued(ion, regions, max_momentum)
    edges = np.array([max_momentum, -max_momentum])
    first, last = flight_time(edges, ion.charge, ion.mass, regions)
    return float(first), float(last)


def require_single_valued(ion: Ion, regions: Sequence[FieldRegion], max_momentum: float) -> None:
    """Check that the time of flight decreases with pz, so that it determines pz uniquely.

    A drift much longer than the first region (more than about 8 times) makes ions that start away
    from the detector arrive in reversed order.

    Raises:
        SettingsError: two momenta have the same time of flight.
    """
    momenta = np.linspace(-max_momentum, max_momentum, 2001)
    times = flight_time(momenta, ion.charge, ion.mass, regions)
    if not np.all(np.diff(times) < 0):
        turn = momenta[np.flatnonzero(np.diff(times) >= 0)[-1]]
        raise SettingsError(
            f"{ion} of pz around {turn:.0f} a.u. has the time of flight of another pz",
            where="spectrometer -> regions",
            do="Shorten the drift or lower gates -> max_momentum.",
        )
