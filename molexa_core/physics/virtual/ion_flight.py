"""Flight of the ions to a position-sensitive detector, and the hits that it stores.

The effects in order: flight through the spectrometer, active area and acquisition window, detection
efficiency, dark counts, dead time, resolution, slots, calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.flight import displacement, flight_time
from molexa_core.base.settings.setup import Calibration, Detector, Setup
from molexa_core.base.tables import BoolArray, FloatArray, IntArray
from molexa_core.physics.virtual.sources import Emission


@dataclass(frozen=True)
class Arrivals:
    """Hits on the detector in laboratory coordinates, flat over all shots.

    Attributes:
        shot: (n) number of the shot within its block.
        x_mm, y_mm, t_ns: (n) position and time of flight.
        molecule, ion: (n) molecule and ion of the hit, -1 for background.
    """

    shot: IntArray
    x_mm: FloatArray
    y_mm: FloatArray
    t_ns: FloatArray
    molecule: IntArray
    ion: IntArray

    def __len__(self) -> int:
        return len(self.shot)

    def select(self, rows: BoolArray | IntArray) -> Arrivals:
        """The hits selected by a mask or by row numbers."""
        return Arrivals(
            self.shot[rows],
            self.x_mm[rows],
            self.y_mm[rows],
            self.t_ns[rows],
            self.molecule[rows],
            self.ion[rows],
        )

    def in_order(self) -> Arrivals:
        """The hits sorted by shot and time of flight."""
        return self.select(np.lexsort((self.t_ns, self.shot)))


def fly(ions: Emission, setup: Setup) -> Arrivals:
    """Arrival positions and times of ions; those outside a flight map have none (NaN).

    Raises:
        UsageError: an ion starts outside the first region.
    """
    spectrometer = setup.spectrometer
    regions = spectrometer.regions
    if regions and len(ions) and ions.start_mm[:, 2].max() >= regions[0].length_mm:
        raise UsageError(
            f"an ion starts {ions.start_mm[:, 2].max():.3g} mm along z, behind the first region "
            f"of {regions[0].length_mm:g} mm",
            where="virtual -> interaction_size_mm",
            do="Make the interaction smaller along z.",
        )
    t = flight_time(
        ions.momentum[:, 2], ions.charge, ions.mass, spectrometer, start_z_mm=ions.start_mm[:, 2]
    )
    place = ions.start_mm[:, :2] + displacement(
        ions.momentum, t, ions.charge, ions.mass, spectrometer
    )
    return Arrivals(ions.shot, place[:, 0], place[:, 1], t, ions.molecule, ions.ion)


def dark_counts(setup: Setup, shots: int, random: np.random.Generator) -> Arrivals:
    """Hits without an ion: uniform over the active area and the acquisition window."""
    counts = random.poisson(setup.virtual.dark_counts_per_shot, size=shots)
    shot = np.repeat(np.arange(shots, dtype=np.int64), counts)
    n = len(shot)
    radius = setup.detector.radius_mm * np.sqrt(random.uniform(size=n))
    angle = random.uniform(0.0, 2.0 * np.pi, size=n)
    time = setup.virtual.window_ns * (1.0 - random.uniform(size=n))
    background = np.full(n, -1, np.int64)
    return Arrivals(
        shot, radius * np.cos(angle), radius * np.sin(angle), time, background, background
    )


def arriving(hits: Arrivals, setup: Setup) -> tuple[BoolArray, BoolArray]:
    """Whether a hit is on the active area, (n), and within the acquisition window, (n)."""
    on_area = hits.x_mm**2 + hits.y_mm**2 <= setup.detector.radius_mm**2
    return on_area, hits.t_ns <= setup.virtual.window_ns


def survives_dead_time(hits: Arrivals, dead_time_ns: float, dead_radius_mm: float) -> BoolArray:
    """(n) whether no earlier hit of the shot lies within both dead time and dead radius.

    An earlier hit counts whether or not it was itself recorded, since its charge cloud is present.

    Args:
        hits: in order of shot and time.
        dead_time_ns: 0 switches the effect off.
        dead_radius_mm: 0 switches the effect off.
    """
    alive = np.ones(len(hits), dtype=np.bool_)
    for lag in range(1, len(hits)):
        later, earlier = slice(lag, None), slice(None, -lag)
        close = (hits.shot[later] == hits.shot[earlier]) & (
            hits.t_ns[later] - hits.t_ns[earlier] < dead_time_ns
        )
        if not close.any():
            break
        distance2 = (hits.x_mm[later] - hits.x_mm[earlier]) ** 2
        distance2 += (hits.y_mm[later] - hits.y_mm[earlier]) ** 2
        alive[later] &= ~(close & (distance2 < dead_radius_mm**2))
    return alive


def smeared(hits: Arrivals, detector: Detector, random: np.random.Generator) -> Arrivals:
    """The hits smeared with the resolution of the detector; times do not become negative."""
    noise = random.normal(size=(3, len(hits)))
    return Arrivals(
        hits.shot,
        hits.x_mm + detector.position_resolution_mm * noise[0],
        hits.y_mm + detector.position_resolution_mm * noise[1],
        np.abs(hits.t_ns + detector.time_resolution_ns * noise[2]),
        hits.molecule,
        hits.ion,
    )


def within_slots(hits: Arrivals, slots: int) -> BoolArray:
    """(n) whether a hit is among the first `slots` of its shot; hits must be sorted."""
    first = np.searchsorted(hits.shot, hits.shot, side="left")
    within: BoolArray = np.arange(len(hits)) - first < slots
    return within


def as_written(
    hits: Arrivals, calibration: Calibration
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x, y, t as stored in a run; the inverse of the calibration in `reduce`."""
    return calibration.as_recorded(hits.x_mm, hits.y_mm, hits.t_ns)


def detect(
    ions: Emission, dark: Arrivals, setup: Setup, random: np.random.Generator
) -> tuple[Arrivals, dict[str, IntArray]]:
    """The stored hits and the losses.

    Returns:
        The stored hits, sorted by shot and time, and for each reason of loss the shots of the lost
        hits.
    """
    detector = setup.detector
    hits = fly(ions, setup)
    on_area, in_window = arriving(hits, setup)
    seen = random.uniform(size=len(ions)) < ions.efficiency
    lost = {
        "off_area": hits.shot[~on_area],
        "late": hits.shot[on_area & ~in_window],
        "inefficiency": hits.shot[on_area & in_window & ~seen],
    }
    hits = _joined(hits.select(on_area & in_window & seen), dark).in_order()
    alive = survives_dead_time(hits, detector.dead_time_ns, detector.dead_radius_mm)
    lost["dead_time"] = hits.shot[~alive]
    hits = smeared(hits.select(alive), detector, random).in_order()
    stored = within_slots(hits, detector.slots)
    lost["slots"] = hits.shot[~stored]
    return hits.select(stored), lost


def _joined(one: Arrivals, other: Arrivals) -> Arrivals:
    return Arrivals(
        np.concatenate([one.shot, other.shot]),
        np.concatenate([one.x_mm, other.x_mm]),
        np.concatenate([one.y_mm, other.y_mm]),
        np.concatenate([one.t_ns, other.t_ns]),
        np.concatenate([one.molecule, other.molecule]),
        np.concatenate([one.ion, other.ion]),
    )
