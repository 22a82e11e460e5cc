"""Numbers in other units than atomic ones."""

from __future__ import annotations

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
)

UNITS: Final[dict[str, dict[str, float]]] = {
    "momentum": {"a.u.": 1.0, "kg m/s": ATOMIC_MOMENTUM_SI},
    "length": {
        "bohr": 1.0,
        "angstrom": BOHR_ANGSTROM,
        "Å": BOHR_ANGSTROM,
        "nm": BOHR_ANGSTROM / 10.0,
        "pm": BOHR_ANGSTROM * 100.0,
        "m": BOHR_ANGSTROM * 1e-10,
    },
    "energy": {"hartree": 1.0, "eV": HARTREE_EV, "meV": HARTREE_EV * 1e3},
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
    "mass": {"m_e": 1.0, "u": 1.0 / DALTON_ME},
}
"""Value of one atomic unit of each quantity in every unit there is."""


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

    of, wanted = _quantity(unit), _quantity(to)
    if of != wanted:
        raise UsageError(f"{unit} is a unit of {of}, and {to} one of {wanted}")
    factor = UNITS[of][to] / UNITS[of][unit]
    converted: FloatArray = np.asarray(values, dtype=np.float64) * factor
    return converted


def _quantity(unit: str) -> str:
    for quantity, units in UNITS.items():
        if unit in units:
            return quantity
    known = [name for units in UNITS.values() for name in units]
    near = near_matches(unit, known)
    hint = f"Did you mean {listing(near)}? " if near else ""
    raise UsageError(f"unknown unit {unit!r}", do=f"{hint}There are: {listing(known, limit=40)}.")
