"""The line of residual-gas ions on the detector, which shows the direction of the light beam.

Ions of the residual gas arise along the whole light beam and start with thermal velocities. On the
detector they form a narrow line, whose direction is that of the light, x, whatever the electric and
magnetic fields along z: the velocity that a magnetic field turns has no preferred direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import parse_ion
from molexa_core.base.settings import Setup
from molexa_core.base.tables import FloatArray, Hits
from molexa_core.base.units import BOLTZMANN_HARTREE_K
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.momentum import momentum_per_time

RESIDUAL_GAS: Final = ("H2O+", "(N2)+", "(O2)+", "(CO2)+", "Ar+", "(H2)+", "He+")
_KELVIN: Final = 300.0
_SIGMAS: Final = 3.0
_ANGLES: Final = np.arange(-90.0, 90.0, 1.0)
_ROUNDS: Final = 100
_FEWEST: Final = 60
_LONG: Final = 6.0
"""A line is this many times longer than wide."""
_CLEAR: Final = 8.0
"""Standard deviations above the hits around it."""


@dataclass(frozen=True)
class BeamLine:
    """A line on the detector, in recorded coordinates.

    Attributes:
        angle_deg: its direction, counter-clockwise from the recorded x axis.
        error_deg: standard error.
        hits: number of hits that belong to it.
        ions: the residual-gas ions used.
    """

    angle_deg: float
    error_deg: float
    hits: int
    ions: tuple[str, ...]

    def tilt_deg(self, setup: Setup) -> float:
        """Angle between the line and the x axis of the laboratory with this setup."""
        angle = np.deg2rad(self.angle_deg + setup.calibration.rotation_deg)
        x = np.cos(angle) * setup.calibration.scale_x
        y = np.sin(angle) * setup.calibration.scale_y
        return float(np.rad2deg(np.arctan(y / x))) if x else 90.0


def beam_line(chunks: Sequence[Hits], setup: Setup) -> BeamLine | None:
    """Find the line; None where residual-gas ions show none.

    Args:
        chunks: hits as recorded.
        setup: with time zero and fields right to about a nanosecond.
    """
    places: list[FloatArray] = []
    used = []
    for name in RESIDUAL_GAS:
        near = _around(chunks, setup, name)
        if len(near) >= _FEWEST and _line(near) is not None:
            places.append(near)
            used.append(name)
    if not places:
        return None
    found = _line(np.concatenate(places))
    return None if found is None else BeamLine(*found, tuple(used))


def _around(chunks: Sequence[Hits], setup: Setup, name: str) -> FloatArray:
    """(n, 2) recorded places of the hits at the time of flight of a thermal ion, in mm."""
    ion = parse_ion(name)
    middle = float(flight_time(0.0, float(ion.charge), ion.mass, setup.spectrometer))
    thermal = np.sqrt(ion.mass * BOLTZMANN_HARTREE_K * _KELVIN)
    half = _SIGMAS * thermal / momentum_per_time(ion, setup.spectrometer) + 1.0
    places = []
    for chunk in chunks:
        hits, _ = calibrate(chunk, setup)
        near = np.abs(hits.t_ns - middle) < half
        x, y, _ = setup.calibration.as_recorded(hits.x_mm[near], hits.y_mm[near], hits.t_ns[near])
        places.append(np.stack([x, y], axis=1))
    return np.concatenate(places) if places else np.empty((0, 2))


def _line(places: FloatArray) -> tuple[float, float, int] | None:
    """Direction in degrees, its error and the number of hits of the line among these places."""
    middle = np.median(places, axis=0)
    apart = places - middle
    extent = float(np.quantile(np.hypot(apart[:, 0], apart[:, 1]), 0.95))
    best = (0, 0.0, 0.0, 1.0)
    width = max(extent / 40.0, 1e-6)
    for angle in np.deg2rad(_ANGLES):
        away = apart[:, 1] * np.cos(angle) - apart[:, 0] * np.sin(angle)
        counts, edges = np.histogram(away, bins=np.arange(-extent, extent + width, width))
        top = int(np.argmax(counts))
        if counts[top] > best[0]:
            best = int(counts[top]), float(angle), float(edges[top] + 0.5 * width), width
    _, angle, offset, sigma = best
    share = 0.5
    for _ in range(_ROUNDS):
        along = apart[:, 0] * np.cos(angle) + apart[:, 1] * np.sin(angle)
        away = apart[:, 1] * np.cos(angle) - apart[:, 0] * np.sin(angle) - offset
        near = np.exp(-0.5 * (away / sigma) ** 2) / (np.sqrt(2.0 * np.pi) * sigma)
        weight = share * near / (share * near + (1.0 - share) / (2.0 * extent))
        total = float(weight.sum())
        if total < 10.0:
            return None
        centre = float(weight @ along) / total
        spread = float(weight @ (along - centre) ** 2) / total
        shift = float(weight @ away) / total
        slope = float(weight @ (away * (along - centre))) / max(total * spread, 1e-300)
        sigma = float(np.sqrt(max(weight @ (away - shift) ** 2 / total, 1e-12)))
        share = min(total / len(places), 0.999)
        angle += float(np.arctan(slope))
        offset += shift - slope * centre
        if abs(slope) < 1e-7 and abs(shift) < 1e-6 * sigma:
            break
    around = len(places) * (1.0 - share) * min(4.0 * sigma / extent, 1.0)
    clear = total > _CLEAR * np.sqrt(around + 1.0) and total > 0.5 * _FEWEST
    if not clear or np.sqrt(spread) < _LONG * sigma:
        return None
    score = weight * away * (along - centre)
    error = float(np.sqrt(score @ score)) / (total * spread)
    degrees = float(np.rad2deg(angle))
    return (degrees + 90.0) % 180.0 - 90.0, float(np.rad2deg(error)), round(total)
