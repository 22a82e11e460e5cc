"""Flight map of a spectrometer with lenses: time of flight and image scale against pz.

A map is simulated or measured for one ion. In a purely electric spectrometer it holds for every
other ion: trajectories depend on the energy over the charge alone, so that an ion of mass m and
charge q flies like the ion of the map with

    pz (map) = pz sqrt(m0 q0 / (m q)),     t = t (map) sqrt(m q0 / (m0 q)).

An ion that starts with the transverse velocity v lands at s v t from the axis; s is the scale of
the image, which lenses make smaller or larger than 1 and which may depend on pz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from molexa_core.base.errors import SettingsError
from molexa_core.base.tables import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class FlightPieces:
    """A flight map as polynomials between break points.

    In piece k the time is the sum of `time[k, j]` (pz - `breaks[k]`)^j, the scale likewise.

    Attributes:
        charge, mass: of the ion of the map, elementary charges and electron masses.
        breaks: (pieces + 1) momenta along the field, a.u., ascending.
        time: (pieces, orders) in ns.
        scale: (pieces, orders) without unit.
        time_per_mm: ns that an ion needs more per mm that it starts behind the interaction point.
    """

    charge: float
    mass: float
    breaks: FloatArray
    time: FloatArray
    scale: FloatArray
    time_per_mm: float = 0.0

    def momentum_factor(self, charge: FloatArray, mass: FloatArray) -> FloatArray:
        """Momentum pz of an ion over that of the ion of the map on the same trajectory."""
        factor: FloatArray = np.sqrt(mass * charge / (self.mass * self.charge))
        return factor

    def time_factor(self, charge: FloatArray, mass: FloatArray) -> FloatArray:
        """Time of flight of an ion over that of the ion of the map on the same trajectory."""
        factor: FloatArray = np.sqrt(mass * self.charge / (self.mass * charge))
        return factor

    def time_and_scale(
        self, pz: FloatArray, charge: FloatArray, mass: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Time of flight in ns and scale of the image; NaN outside the map. All of one shape."""
        own = pz / self.momentum_factor(charge, mass)
        inside: BoolArray = (own >= self.breaks[0]) & (own <= self.breaks[-1])
        place = np.searchsorted(self.breaks, np.where(inside, own, self.breaks[0]), "right") - 1
        piece = np.clip(place, 0, len(self.time) - 1)
        beyond = own - self.breaks[piece]
        time, scale = np.zeros(own.shape), np.zeros(own.shape)
        for order in range(self.time.shape[1] - 1, -1, -1):
            time = time * beyond + self.time[piece, order]
            scale = scale * beyond + self.scale[piece, order]
        time = time * self.time_factor(charge, mass)
        return np.where(inside, time, np.nan), np.where(inside, scale, np.nan)


@lru_cache(maxsize=16)
def flight_pieces(
    charge: float,
    mass: float,
    pz: tuple[float, ...],
    time: tuple[float, ...],
    scale: tuple[float, ...],
    *,
    polynomial: bool,
    time_per_mm: float = 0.0,
) -> FlightPieces:
    """The map from a table, through which cubic splines run, or from coefficients.

    Args:
        charge: of the ion of the map, elementary charges.
        mass: its mass in electron masses.
        pz: momenta of the table, ascending; for polynomials the first and the last allowed, a.u.
        time: times of flight in ns, or coefficients of pz^0, pz^1 ...
        scale: scales of the image at these momenta, or coefficients, or one number for all.
        polynomial: whether `time` and `scale` are coefficients.
        time_per_mm: ns per mm of the start against the direction of extraction.

    Raises:
        SettingsError: momenta that do not ascend, columns of different lengths, a time of flight
            that does not decrease with pz, or a scale that is not positive.
    """
    breaks = np.array(pz, np.float64)
    if len(breaks) < 2 or not (np.diff(breaks) > 0).all():
        raise _faulty("pz_au: two momenta or more are needed, in ascending order")
    if not breaks[0] < 0.0 < breaks[-1]:
        raise _faulty("pz_au: must begin below 0 and end above, so that an ion at rest is inside")
    if polynomial:
        found = (
            _from_coefficients(breaks[[0, -1]], time),
            _from_coefficients(breaks[[0, -1]], scale),
        )
        breaks = breaks[[0, -1]]
    else:
        found = _from_table(breaks, time, "time_ns"), _from_table(breaks, scale, "position_scale")
    orders = max(part.shape[1] for part in found)
    times, scales = (np.pad(part, ((0, 0), (0, orders - part.shape[1]))) for part in found)
    pieces = FlightPieces(charge, mass, breaks, times, scales, time_per_mm)
    fine = np.linspace(breaks[0], breaks[-1], 200 * len(times) + 1)
    shape = np.full(fine.shape, charge), np.full(fine.shape, mass)
    all_times, all_scales = pieces.time_and_scale(fine, *shape)
    if not (np.diff(all_times) < 0).all() or not (all_times > 0).all():
        worst = fine[int(np.argmax(np.diff(all_times)))]
        raise _faulty(
            f"the time of flight does not decrease with pz (around {worst:.4g} a.u.), so that it "
            "does not tell pz; pz counts positive towards the detector"
        )
    if not (all_scales > 0).all():
        raise _faulty("position_scale: must be above 0 everywhere")
    return pieces


def _from_coefficients(ends: FloatArray, values: Sequence[float]) -> FloatArray:
    """(1, orders) the polynomial around the first momentum instead of zero."""
    shifted = np.polynomial.Polynomial(np.array(values, np.float64))(
        np.polynomial.Polynomial([ends[0], 1.0])
    )
    return np.atleast_2d(np.asarray(shifted.coef, np.float64))


def _from_table(breaks: FloatArray, values: Sequence[float], name: str) -> FloatArray:
    """(pieces, 4) cubic splines through a column of the table; one number holds everywhere."""
    if len(values) == 1:
        column = np.zeros((len(breaks) - 1, 1))
        column[:] = values[0]
        return column
    if len(values) != len(breaks):
        raise _faulty(f"{name}: {len(values)} values for {len(breaks)} momenta in pz_au")
    from scipy.interpolate import CubicSpline  # noqa: PLC0415  # slow to import, rarely needed

    spline = CubicSpline(breaks, np.array(values, np.float64))
    return np.ascontiguousarray(np.asarray(spline.c, np.float64)[::-1].T)


def _faulty(what: str) -> SettingsError:
    return SettingsError(what, where="spectrometer -> flight_map", do="Correct the map.")
