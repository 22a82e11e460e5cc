"""What is said of the error bars of a structure: whom they were calibrated for."""

from __future__ import annotations

from typing import Final

NOT_CALIBRATED: Final = "not calibrated for these weights"
CALIBRATED: Final = {
    "all": "calibrated",
    "known": "calibrated on known molecules: this formula was in the training",
    "new": "calibrated on new molecules: this formula was not in the training",
}
"""By the kind that a record names, see `model.calibration.KINDS`."""


def calibrated(kind: object) -> str:
    """Words for the kind of calibration in a record; what it does not name was not calibrated."""
    return CALIBRATED.get(str(kind), NOT_CALIBRATED)
