"""Numbers in other units than atomic ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from numpy.typing import ArrayLike

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import (
    ATOMIC_MOMENTUM_SI,
    ATOMIC_TIME_FS,
    ATOMIC_VELOCITY_M_S,
    ATOMIC_VELOCITY_MM_NS,
    BOHR_ANGSTROM,
    DALTON_ME,
    HARTREE_EV,
    HARTREE_JOULE,
)

UNITS: Final[dict[str, dict[str, float]]] = {
    "momentum": {"a.u.": 1.0, "kg m/s": ATOMIC_MOMENTUM_SI},
    "length": {
        "bohr": 1.0,
        "angstrom": BOHR_ANGSTROM,
        "Å": BOHR_ANGSTROM,
        "nm": BOHR_ANGSTROM / 10.0,
        "pm": BOHR_ANGSTROM * 100.0,
        "mm": BOHR_ANGSTROM * 1e-7,
        "m": BOHR_ANGSTROM * 1e-10,
    },
    "energy": {"hartree": 1.0, "eV": HARTREE_EV, "meV": HARTREE_EV * 1e3, "J": HARTREE_JOULE},
    "time": {
        "a.u. of time": 1.0,
        "as": ATOMIC_TIME_FS * 1e3,
        "fs": ATOMIC_TIME_FS,
        "ns": ATOMIC_TIME_FS * 1e-6,
        "s": ATOMIC_TIME_FS * 1e-15,
    },
    "velocity": {
        "a.u. of velocity": 1.0,
        "m/s": ATOMIC_VELOCITY_M_S,
        "mm/ns": ATOMIC_VELOCITY_MM_NS,
    },
    "mass": {"m_e": 1.0, "u": 1.0 / DALTON_ME, "kg": ATOMIC_MOMENTUM_SI / ATOMIC_VELOCITY_M_S},
}
"""Value of one atomic unit of each quantity in every unit there is."""
SI: Final = {
    "momentum": "kg m/s",
    "length": "m",
    "energy": "J",
    "time": "s",
    "velocity": "m/s",
    "mass": "kg",
}
"""The SI unit of each quantity."""
Units = str | Sequence[str] | None
"""Units that are asked for, one for each quantity, such as `angstrom`; `SI` for those of SI."""


def convert_units(values: ArrayLike, unit: str, to: str) -> FloatArray:
    """Numbers of one unit in another of the same quantity.

    Args:
        values: any shape.
        unit: of the values.
        to: wanted.

    Raises:
        UsageError: an unknown unit, or units of different quantities.

    Example:
        >>> round(float(convert_units(1.0, "bohr", "angstrom")), 6)
        0.529177
    """
    import numpy as np  # noqa: PLC0415

    of, wanted = quantity_of(unit), quantity_of(to)
    if of != wanted:
        raise UsageError(f"{unit} is a unit of {of}, and {to} one of {wanted}")
    factor = UNITS[of][to] / UNITS[of][unit]
    converted: FloatArray = np.asarray(values, dtype=np.float64) * factor
    return converted


def chosen_units(units: Units) -> dict[str, str]:
    """The unit of each quantity for which one is asked.

    Raises:
        UsageError: an unknown unit, or two of one quantity.

    Example:
        >>> chosen_units(["angstrom", "kg m/s"])
        {'length': 'angstrom', 'momentum': 'kg m/s'}
    """
    found: dict[str, str] = {}
    for unit in [units] if isinstance(units, str) else units or ():
        if unit == "SI":
            found |= SI
            continue
        quantity = quantity_of(unit)
        if found.get(quantity, SI[quantity]) not in {unit, SI[quantity]}:
            raise UsageError(f"two units of {quantity}: {found[quantity]} and {unit}")
        found[quantity] = unit
    return found


def quantity_of(unit: str) -> str:
    """The quantity that a unit is one of.

    Raises:
        UsageError: an unknown unit.
    """
    for quantity, units in UNITS.items():
        if unit in units:
            return quantity
    known = [name for units in UNITS.values() for name in units]
    near = near_matches(unit, known)
    hint = f"Did you mean {listing(near)}? " if near else ""
    raise UsageError(f"unknown unit {unit!r}", do=f"{hint}There are: {listing(known, limit=40)}.")
