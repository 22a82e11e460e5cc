"""Text for values with errors, and for the kind of input that error bars were calibrated on."""

from __future__ import annotations

import math
from typing import Final

NOT_CALIBRATED: Final = "not calibrated for these weights"
CALIBRATED: Final = {
    "all": "calibrated",
    "known": "calibrated on known molecules: this formula was in the training",
    "new": "calibrated on new molecules: this formula was not in the training",
}
"""By the kind that a record names, see `network.inference.interval_calibration.KINDS`."""


def calibrated(kind: object) -> str:
    """Words for the kind of calibration named in a record; none named means not calibrated."""
    return CALIBRATED.get(str(kind), NOT_CALIBRATED)


def plus_minus(value: float | None, error: float | None, places: int = 3) -> str:
    """`value +- error` with enough decimal places that the error does not read as zero.

    Args:
        value: None or not a number where it is not known.
        error: its standard error, or a half width; zero or not a number where it is not known.
        places: decimal places, more where the error needs them.

    Example:
        >>> plus_minus(1.5, 0.25), plus_minus(0.00123456, 0.000021), plus_minus(0.2, 0.0)
        ('1.500 +- 0.250', '0.001235 +- 0.000021', '0.200 (error not determined)')
    """
    if value is None or not math.isfinite(value):
        return "not determined"
    if error is None or not math.isfinite(error) or error <= 0.0:
        return f"{value:.{places}f} (error not determined)"
    if error < 10.0**-places:
        places = min(1 - math.floor(math.log10(error)), 12)
    return f"{value:.{places}f} +- {error:.{places}f}"
