"""Time-of-flight inversion: ion momentum from time of flight and detector position.

The mass and charge of the ion are assumed. Axes: z along the extraction field, x along the light,
y along the jet. The inverse of `base.matter.flight`:

* one homogeneous region of length L and acceleration a: L = v t + a t^2 / 2, hence
  pz = m (L / t - a t / 2);
* several regions: Newton iteration on the starting velocity v in t(v) = t, kept inside a bracket;
* px = m x / t and py = m (y / t - v_jet);
* in a magnetic field along z, with the cyclotron frequency omega = q B / m: the size of the
  transverse momentum is m omega R / |2 sin(omega t / 2)|, its direction that of the hit turned by
  +omega t / 2. At multiples of the gyration period all ions return to the axis, whatever their
  momentum: such hits have none (`near_node`);
* flight map: Newton iteration on pz in the polynomials of the map; positions over their scale.

The compiled coincidence search and `hit_momenta` share `initial_momentum`. What it needs to know of
an ion and the spectrometer is packed into one row of numbers, `flight_row`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from molexa_core.base.compiled import compiled, inner, integer
from molexa_core.base.errors import SettingsError
from molexa_core.base.matter.flight import (
    AnySpectrometer,
    FieldRegion,
    cyclotron_frequency,
    flight_time,
    pieces_of,
    regions_of,
)
from molexa_core.base.matter.ions import Ion
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import (
    ACCELERATION_MM_NS2,
    ATOMIC_VELOCITY_M_S,
    ATOMIC_VELOCITY_MM_NS,
)

STEPS: Final = 80
TOLERANCE: Final = 1e-13
_MASS: Final = 0
_OMEGA: Final = 1
_JET: Final = 2
_REGIONS: Final = 3
_PIECES: Final = 4
_ORDERS: Final = 5
_FACTOR: Final = 6
_START: Final = 7
"""Columns of a flight row: mass over `ATOMIC_VELOCITY_MM_NS`, cyclotron frequency in rad/ns, jet
velocity in mm/ns, number of regions, then those of a flight map: pieces, orders and the momentum of
the ion over that of the ion of the map. Lengths and accelerations of the regions follow, or break
points and coefficients of times and scales, order by order."""
NODE_SINE: Final = 0.05
"""Hits have no momentum where |sin(omega t / 2)| is below, at multiples of the gyration period."""


@inner
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


@inner
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
    for _ in range(STEPS):
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
        if abs(trial - velocity) <= TOLERANCE * (scale + abs(trial)):
            return trial
        velocity = trial
    return np.nan


@inner
def _from_map(time: float, flight: FloatArray) -> tuple[float, float]:
    """Momentum pz in a.u. in a flight map, and scale of the image; NaN outside the map."""
    pieces, orders = int(flight[_PIECES]), int(flight[_ORDERS])
    breaks = flight[_START : _START + pieces + 1]
    times = flight[_START + pieces + 1 : _START + pieces + 1 + pieces * orders]
    scales = flight[_START + pieces + 1 + pieces * orders :]
    low, high = 0, pieces - 1
    while low < high:  # the last piece that begins at this time or later
        middle = (low + high + 1) // 2
        if times[middle * orders] >= time:
            low = middle
        else:
            high = middle - 1
    first, last = 0.0, breaks[low + 1] - breaks[low]
    beyond = 0.5 * last
    found = 0.0
    for _ in range(STEPS):
        found, slope = 0.0, 0.0
        for order in range(orders - 1, -1, -1):
            slope = slope * beyond + found
            found = found * beyond + times[low * orders + order]
        if found > time:
            first = beyond
        else:
            last = beyond
        trial = beyond + (time - found) / slope if slope < 0.0 else np.nan
        if not first <= trial <= last:
            trial = 0.5 * (first + last)
        moved = abs(trial - beyond)
        beyond = trial
        if moved <= 1e-14 * (breaks[pieces] - breaks[0]):
            break
    if not abs(found - time) <= 1e-9 * time:
        return np.nan, np.nan
    scale = 0.0
    for order in range(orders - 1, -1, -1):
        scale = scale * beyond + scales[low * orders + order]
    return flight[_FACTOR] * (breaks[low] + beyond), scale


@inner
def near_node(half: float) -> bool:
    """Whether omega t / 2 is so near a multiple of pi that positions tell nothing of momenta."""
    return abs(half) > 1.0 and abs(np.sin(half)) < NODE_SINE


@inner
def _in_any_field(
    x: float, y: float, time: float, flights: FloatArray, kind: int
) -> tuple[float, float, float]:
    """`initial_momentum` where there is more than one homogeneous electric field."""
    if not time > 0.0:
        return np.nan, np.nan, np.nan
    flight = flights[kind]
    mass = flight[_MASS]
    regions = int(flight[_REGIONS])
    if regions == 0:
        pz, scale = _from_map(time, flight)
        stretched = 1.0 / (scale * time)
        return mass * x * stretched, mass * (y * stretched - flight[_JET]), pz
    per_time = 1.0 / time
    lengths = flight[_START : _START + regions]
    accelerations = flight[_START + regions : _START + 2 * regions]
    velocity = starting_velocity(time, lengths, accelerations)
    if np.isnan(velocity):
        return np.nan, np.nan, np.nan
    along, across = x * per_time, y * per_time
    if flight[_OMEGA] != 0.0:
        half = 0.5 * flight[_OMEGA] * time
        if near_node(half):
            return np.nan, np.nan, np.nan
        sine, cosine = np.sin(half), np.cos(half)
        stretch = half / sine if half != 0.0 else 1.0
        along, across = (
            stretch * (cosine * along - sine * across),
            stretch * (sine * along + cosine * across),
        )
    return mass * along, mass * (across - flight[_JET]), mass * velocity


@inner
def initial_momentum(
    x: float, y: float, time: float, flights: FloatArray, kind: int
) -> tuple[float, float, float]:
    """Momentum in a.u. of a hit on the assumption that it is the ion of a flight row.

    Args:
        x: calibrated position along the light, mm.
        y: calibrated position along the jet, mm.
        time: calibrated time of flight, ns.
        flights: (kinds, numbers) rows from `flight_row`.
        kind: the row of the ion.

    Returns:
        px, py, pz; NaN where the ion cannot have that time of flight, and at a node.
    """
    if flights[kind, _REGIONS] == 1.0 and flights[kind, _OMEGA] == 0.0 and time > 0.0:
        mass, per_time = flights[kind, _MASS], 1.0 / time
        velocity = flights[kind, _START] * per_time - 0.5 * flights[kind, _START + 1] * time
        across = y * per_time - flights[kind, _JET]
        return mass * (x * per_time), mass * across, mass * velocity
    return _in_any_field(x, y, time, flights, kind)


@compiled
def _momenta(x: FloatArray, y: FloatArray, t: FloatArray, flights: FloatArray) -> FloatArray:
    momenta = np.empty((len(t), 3))
    for hit in range(len(t)):
        px, py, pz = initial_momentum(x[hit], y[hit], t[hit], flights, integer(0))
        momenta[hit, 0], momenta[hit, 1], momenta[hit, 2] = px, py, pz
        if not np.isfinite(px + py + pz):
            momenta[hit] = np.nan
    return momenta


def hit_momenta(
    x_mm: FloatArray,
    y_mm: FloatArray,
    t_ns: FloatArray,
    ion: Ion,
    spectrometer: AnySpectrometer,
    *,
    jet_velocity_m_per_s: float = 0.0,
) -> FloatArray:
    """Initial momentum of each hit on the assumption that it is this ion.

    Args:
        x_mm: (hits) calibrated position along the light.
        y_mm: (hits) calibrated position along the jet.
        t_ns: (hits) calibrated time of flight.
        ion: the assumed ion, which gives mass and charge.
        spectrometer: the spectrometer, or its regions from the interaction point to the detector.
        jet_velocity_m_per_s: mean velocity of the molecules along y.

    Returns:
        (hits, 3) a.u.; NaN where the ion cannot have that time of flight, and at the nodes of a
        magnetic field.
    """
    momenta: FloatArray = _momenta(
        np.ascontiguousarray(x_mm, np.float64),
        np.ascontiguousarray(y_mm, np.float64),
        np.ascontiguousarray(t_ns, np.float64),
        flight_row(ion, spectrometer, jet_velocity_m_per_s)[None],
    )
    return momenta


def flight_row(
    ion: Ion, spectrometer: AnySpectrometer, jet_velocity_m_per_s: float = 0.0
) -> FloatArray:
    """What `initial_momentum` needs of an ion, a spectrometer and the jet, in one row of numbers.

    The rows of all ions in one spectrometer have the same length.
    """
    pieces = pieces_of(spectrometer)
    regions = regions_of(spectrometer)
    head = np.zeros(_START)
    head[_MASS] = ion.mass / ATOMIC_VELOCITY_MM_NS
    head[_JET] = jet_mm_ns(jet_velocity_m_per_s)
    if pieces is None:
        head[_OMEGA] = float(cyclotron_frequency(ion.charge, ion.mass, spectrometer))
        head[_REGIONS] = len(regions)
        return np.concatenate([head, *region_arrays(ion, regions)])
    charge, mass = np.array(float(ion.charge)), np.array(ion.mass)
    head[_PIECES], head[_ORDERS] = pieces.time.shape
    head[_FACTOR] = float(pieces.momentum_factor(charge, mass))
    times = pieces.time * float(pieces.time_factor(charge, mass))
    return np.concatenate([head, pieces.breaks, times.ravel(), pieces.scale.ravel()])


def node_ranges(
    ion: Ion, spectrometer: AnySpectrometer, first: float, last: float
) -> list[tuple[float, float]]:
    """Times of flight in ns, between two limits, at which the magnetic field hides the momentum.

    Args:
        ion: gives the gyration period 2 pi m / (q B).
        spectrometer: tells the field.
        first: earliest time of flight.
        last: latest time of flight.
    """
    omega = abs(float(cyclotron_frequency(ion.charge, ion.mass, spectrometer)))
    if omega == 0.0:
        return []
    margin = float(np.arcsin(NODE_SINE)) * 2.0 / omega
    period = 2.0 * np.pi / omega
    ranges = []
    for turn in range(max(1, int(first / period)), int(last / period) + 2):
        low, high = max(first, turn * period - margin), min(last, turn * period + margin)
        if low < high:
            ranges.append((low, high))
    return ranges


def region_arrays(ion: Ion, regions: Sequence[FieldRegion]) -> tuple[FloatArray, FloatArray]:
    """(regions) lengths in mm and (regions) accelerations of this ion in mm/ns^2."""
    lengths = np.array([region.length_mm for region in regions])
    fields = np.array([region.field_v_per_cm for region in regions])
    return lengths, fields * (ACCELERATION_MM_NS2 * ion.charge / ion.mass)


def momentum_per_time(ion: Ion, spectrometer: AnySpectrometer) -> float:
    """How much pz in a.u. of an ion at rest grows where it arrives 1 ns earlier.

    q E of the first region, or what a flight map says.
    """
    step = 1e-3 * np.sqrt(ion.mass)
    times = flight_time(np.array([-step, step]), ion.charge, ion.mass, spectrometer)
    return float(2.0 * step / (times[0] - times[1]))


def jet_mm_ns(velocity_m_per_s: float) -> float:
    """Convert a velocity from m/s to mm/ns."""
    return velocity_m_per_s / ATOMIC_VELOCITY_M_S * ATOMIC_VELOCITY_MM_NS


def flight_window(
    ion: Ion, spectrometer: AnySpectrometer, max_momentum: float
) -> tuple[float, float]:
    """Shortest and longest time of flight in ns of ions with at most this momentum in a.u.

    Where a flight map ends before this momentum, the window ends with the map.

    Raises:
        SettingsError: the spectrometer gives two momenta the same time of flight.
    """
    require_single_valued(ion, spectrometer, max_momentum)
    edges = np.array([max_momentum, -max_momentum])
    pieces = pieces_of(spectrometer)
    if pieces is not None:
        factor = float(pieces.momentum_factor(np.array(float(ion.charge)), np.array(ion.mass)))
        within = np.nextafter(factor * pieces.breaks[[0, -1]], 0.0) * (1.0 - 1e-15)
        edges = np.clip(edges, within[0], within[1])
    first, last = flight_time(edges, ion.charge, ion.mass, spectrometer)
    return float(first), float(last)


def require_single_valued(ion: Ion, spectrometer: AnySpectrometer, max_momentum: float) -> None:
    """Check that the time of flight decreases with pz, so that it determines pz uniquely.

    A drift much longer than the first region (more than about 8 times) makes ions that start away
    from the detector arrive in reversed order.

    Raises:
        SettingsError: two momenta have the same time of flight.
    """
    if pieces_of(spectrometer) is not None:
        return  # checked when it was read
    momenta = np.linspace(-max_momentum, max_momentum, 2001)
    times = flight_time(momenta, ion.charge, ion.mass, spectrometer)
    if not np.all(np.diff(times) < 0):
        turn = momenta[np.flatnonzero(np.diff(times) >= 0)[-1]]
        raise SettingsError(
            f"{ion} of pz around {turn:.0f} a.u. has the time of flight of another pz",
            where="spectrometer -> regions",
            do="Shorten the drift or lower gates -> max_momentum.",
        )
