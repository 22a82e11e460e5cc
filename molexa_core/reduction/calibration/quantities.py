"""The quantities of a setup that a spectrometer calibration may determine.

A calibration changes a setup by a vector of changes, one for each free quantity: added to it, or as
the logarithm of a factor where the quantity is a scale (fields, lengths, scales of the image).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.base.settings import Setup
from molexa_core.base.settings.setup import Spectrometer


@dataclass(frozen=True)
class Quantity:
    """One quantity of the setup.

    Attributes:
        name: how options and results call it.
        words: what it is, as a sentence has it.
        key: where it is in the setup.
        unit: of its value; changes of a relative quantity are in per cent.
        plausible: a change as large as a first setup may need; what the data determine worse is
            called not determined. For relative quantities a logarithm.
        relative: whether the change is the logarithm of a factor.
    """

    name: str
    words: str
    key: str
    unit: str
    plausible: float
    relative: bool = False

    def shown(self, change: float) -> str:
        """A change as text, such as `+0.21 %` or `-1.3 mm`."""
        if self.relative:
            return f"{100.0 * change:+.3g} %"
        return f"{change:+.3g} {self.unit}"


QUANTITIES: Final = {
    one.name: one
    for one in (
        Quantity("time_zero", "time zero", "calibration -> time_zero_ns", "ns", 20.0),
        Quantity("field", "electric field", "spectrometer -> regions", "V/cm", 0.05, relative=True),
        Quantity("lengths", "lengths", "spectrometer -> regions", "mm", 0.05, relative=True),
        Quantity(
            "magnetic_field", "magnetic field", "spectrometer -> magnetic_field_gauss", "G", 10.0
        ),
        Quantity("centre_x", "centre along x", "calibration -> centre_x_mm", "mm", 5.0),
        Quantity("centre_y", "centre along y", "calibration -> centre_y_mm", "mm", 5.0),
        Quantity("rotation", "rotation", "calibration -> rotation_deg", "degrees", 10.0),
        Quantity("jet", "jet velocity", "jet -> velocity_m_per_s", "m/s", 500.0),
        Quantity("scale_x", "scale of x", "calibration -> scale_x", "", 0.05, relative=True),
        Quantity("scale_y", "scale of y", "calibration -> scale_y", "", 0.05, relative=True),
    )
}
"""By name, in the order of results."""
USUAL: Final = ("time_zero", "field", "centre_x", "centre_y", "rotation", "jet")
"""Free where nothing else is said; the magnetic field too where the setup has one,
and not the jet where it has none."""


def chosen(setup: Setup, free: tuple[str, ...], fixed: tuple[str, ...]) -> tuple[Quantity, ...]:
    """The free quantities in their order.

    Args:
        setup: a magnetic field in it is free too.
        free: names of further quantities.
        fixed: names of quantities that stay as they are.

    Raises:
        UsageError: an unknown name, or nothing is free, or lengths with a flight map.
    """
    for name in (*free, *fixed):
        if name not in QUANTITIES:
            near = near_matches(name, tuple(QUANTITIES))
            hint = f"Did you mean {listing(near)}? " if near else ""
            raise UsageError(
                f"unknown quantity {name!r}", do=f"{hint}There are: {listing(QUANTITIES)}."
            )
    if both := sorted(set(free) & set(fixed)):
        raise UsageError(f"{listing(both)} cannot be free and fixed")
    usual = set(USUAL)
    if setup.spectrometer.magnetic_field_gauss:
        usual.add("magnetic_field")
    if setup.jet.velocity_m_per_s == 0.0:
        usual.discard("jet")
    names = (usual | set(free)) - set(fixed)
    if setup.spectrometer.flight_map is not None and names & {"lengths", "magnetic_field"}:
        raise UsageError(
            "a flight map has no lengths or magnetic field to free",
            do="Free the field: it changes all voltages of the map.",
        )
    if not names:
        raise UsageError("no quantity is free", do="Fix fewer.")
    return tuple(one for name, one in QUANTITIES.items() if name in names)


def changed(setup: Setup, changes: Mapping[str, float]) -> Setup:
    """The setup with these changes, by name of the quantity."""
    spectrometer = _spectrometer(
        setup.spectrometer,
        field=float(np.exp(changes.get("field", 0.0))),
        lengths=float(np.exp(changes.get("lengths", 0.0))),
        gauss=changes.get("magnetic_field", 0.0),
    )
    old = setup.calibration
    calibration = old.model_copy(
        update={
            "time_zero_ns": old.time_zero_ns + changes.get("time_zero", 0.0),
            "centre_x_mm": old.centre_x_mm + changes.get("centre_x", 0.0),
            "centre_y_mm": old.centre_y_mm + changes.get("centre_y", 0.0),
            "rotation_deg": old.rotation_deg + changes.get("rotation", 0.0),
            "scale_x": old.scale_x * float(np.exp(changes.get("scale_x", 0.0))),
            "scale_y": old.scale_y * float(np.exp(changes.get("scale_y", 0.0))),
        }
    )
    velocity = setup.jet.velocity_m_per_s + changes.get("jet", 0.0)
    jet = setup.jet.model_copy(update={"velocity_m_per_s": velocity})
    return setup.model_copy(
        update={"spectrometer": spectrometer, "calibration": calibration, "jet": jet}
    )


def value_of(setup: Setup, name: str) -> float:
    """The value of a quantity: of the first region for fields and lengths, 1 for a map."""
    regions = setup.spectrometer.regions
    calibration = setup.calibration
    read: dict[str, Callable[[], float]] = {
        "time_zero": lambda: calibration.time_zero_ns,
        "field": lambda: regions[0].field_v_per_cm if regions else 1.0,
        "lengths": lambda: regions[0].length_mm if regions else 1.0,
        "magnetic_field": lambda: setup.spectrometer.magnetic_field_gauss,
        "centre_x": lambda: calibration.centre_x_mm,
        "centre_y": lambda: calibration.centre_y_mm,
        "rotation": lambda: calibration.rotation_deg,
        "jet": lambda: setup.jet.velocity_m_per_s,
        "scale_x": lambda: calibration.scale_x,
        "scale_y": lambda: calibration.scale_y,
    }
    return read[name]()


def _spectrometer(old: Spectrometer, *, field: float, lengths: float, gauss: float) -> Spectrometer:
    if old.flight_map is not None:
        return _map_at(old, field)
    regions = tuple(
        region.model_copy(
            update={
                "length_mm": region.length_mm * lengths,
                "field_v_per_cm": region.field_v_per_cm * field,
            }
        )
        for region in old.regions
    )
    magnetic = old.magnetic_field_gauss + gauss
    return old.model_copy(update={"regions": regions, "magnetic_field_gauss": magnetic})


def _map_at(old: Spectrometer, factor: float) -> Spectrometer:
    """The map with all voltages changed by a factor: energies grow with it, times shrink."""
    if old.flight_map is None or factor == 1.0:
        return old
    root = float(np.sqrt(factor))
    of = old.flight_map
    update: dict[str, Any] = {"pz_au": tuple(pz * root for pz in of.pz_au)}
    if of.time_ns is not None:
        update["time_ns"] = tuple(time / root for time in of.time_ns)
    if of.time_polynomial_ns is not None:
        update["time_polynomial_ns"] = tuple(
            value / root ** (power + 1) for power, value in enumerate(of.time_polynomial_ns)
        )
    if of.scale_polynomial is not None:
        update["scale_polynomial"] = tuple(
            value / root**power for power, value in enumerate(of.scale_polynomial)
        )
    update["time_per_mm_ns"] = of.time_per_mm_ns / root
    return old.model_copy(update={"flight_map": of.model_copy(update=update)})
