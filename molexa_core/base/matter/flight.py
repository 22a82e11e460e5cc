"""Flight of an ion through a spectrometer: time of flight, and where it lands.

The virtual experiment computes flights with it, and the reduction inverts it
(`reduction.momentum`). Laboratory units: mm, ns, V/cm, gauss; momenta and masses in a.u.

The spectrometer is a row of homogeneous field regions, or a flight map (`base.matter.flight_map`)
where lenses bend the trajectories. With regions there may be a homogeneous magnetic field along z,
positive towards the ion detector. It leaves the motion along z unchanged and turns transverse
velocities with the cyclotron frequency omega = q B / m, clockwise for an observer towards whom +z
points (for positive ions and a positive field). After the time t an ion that started with the
transverse velocity v is at the distance v |2 sin(omega t / 2) / omega| from its start, in a
direction that is turned by -omega t / 2 against its start velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import ArrayLike

from molexa_core.base.matter.flight_map import FlightPieces
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import (
    ACCELERATION_MM_NS2,
    ATOMIC_VELOCITY_MM_NS,
    CYCLOTRON_RAD_NS,
)


class FieldRegion(Protocol):
    """A field region as the flight needs it; `base.settings.setup.Region` is one."""

    @property
    def length_mm(self) -> float:
        """Length along the extraction field."""

    @property
    def field_v_per_cm(self) -> float:
        """Field strength, positive towards the detector."""


class Optics(Protocol):
    """A spectrometer as the flight needs it; `base.settings.setup.Spectrometer` is one."""

    @property
    def regions(self) -> Sequence[FieldRegion]:
        """In the order of flight, the first with a field above 0; empty with a flight map."""

    @property
    def magnetic_field_gauss(self) -> float:
        """Magnetic field along z, positive towards the ion detector."""

    @property
    def pieces(self) -> FlightPieces | None:
        """The flight map, where there is one."""


AnySpectrometer = Optics | Sequence[FieldRegion]
"""A spectrometer, or field regions without magnetic field."""


def regions_of(spectrometer: AnySpectrometer) -> Sequence[FieldRegion]:
    """The field regions; empty for a flight map."""
    return spectrometer if isinstance(spectrometer, Sequence) else spectrometer.regions


def pieces_of(spectrometer: AnySpectrometer) -> FlightPieces | None:
    """The flight map, where there is one."""
    return None if isinstance(spectrometer, Sequence) else spectrometer.pieces


def cyclotron_frequency(
    charge: ArrayLike, mass: ArrayLike, spectrometer: AnySpectrometer
) -> FloatArray:
    """Cyclotron frequency q B / m in rad/ns, with the sign of the magnetic field.

    Args:
        charge: charge in elementary charges.
        mass: mass in electron masses.
        spectrometer: tells the field.
    """
    gauss = 0.0 if isinstance(spectrometer, Sequence) else spectrometer.magnetic_field_gauss
    charge, mass = np.asarray(charge, float), np.asarray(mass, float)
    return cast("FloatArray", CYCLOTRON_RAD_NS * gauss * charge / mass)


def flight_time(
    pz: ArrayLike,
    charge: ArrayLike,
    mass: ArrayLike,
    spectrometer: AnySpectrometer,
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
        spectrometer: the spectrometer, or its regions in the order of flight.
        start_z_mm: where the flight starts along the extraction field, relative to the
            interaction point; must lie within the first region's length of the detector side.

    Returns:
        Time of flight with the broadcast shape of pz, charge, mass and start_z_mm; NaN outside a
        flight map.
    """
    pz, charge, mass, start = np.broadcast_arrays(
        np.asarray(pz, float),
        np.asarray(charge, float),
        np.asarray(mass, float),
        np.asarray(start_z_mm, float),
    )
    pieces = pieces_of(spectrometer)
    if pieces is not None:
        mapped = pieces.time_and_scale(pz, charge, mass)[0]
        delay = pieces.time_per_mm * pieces.time_factor(charge, mass)
        return cast("FloatArray", mapped - delay * start)
    velocity = pz / mass * ATOMIC_VELOCITY_MM_NS
    time = np.zeros(velocity.shape)
    for number, region in enumerate(regions_of(spectrometer)):
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


def displacement(
    momentum: ArrayLike,
    time: ArrayLike,
    charge: ArrayLike,
    mass: ArrayLike,
    spectrometer: AnySpectrometer,
) -> FloatArray:
    """How far from its start in x and y an ion lands.

    Args:
        momentum: (..., 3) at the start, a.u., with the motion of the jet.
        time: (...) time of flight in ns.
        charge: (...) charge in elementary charges.
        mass: (...) mass in electron masses.
        spectrometer: the spectrometer, or its regions.

    Returns:
        (..., 2) along x and y, mm.
    """
    momentum = np.asarray(momentum, float)
    time, charge, mass = np.broadcast_arrays(
        np.asarray(time, float), np.asarray(charge, float), np.asarray(mass, float)
    )
    across = (momentum[..., 0] + 1j * momentum[..., 1]) / mass * ATOMIC_VELOCITY_MM_NS
    pieces = pieces_of(spectrometer)
    if pieces is not None:
        shape = np.broadcast_shapes(momentum.shape[:-1], time.shape)
        pz, of_charge, of_mass = (
            np.broadcast_to(values, shape) for values in (momentum[..., 2], charge, mass)
        )
        place = across * time * pieces.time_and_scale(pz, of_charge, of_mass)[1]
    else:
        half = 0.5 * cyclotron_frequency(charge, mass, spectrometer) * time
        place = across * time * np.sinc(half / np.pi) * np.exp(-1j * half)
    return np.stack([place.real, place.imag], axis=-1)
