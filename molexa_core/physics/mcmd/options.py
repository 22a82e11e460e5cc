"""What is switched on in the model, and how finely time is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from molexa_core.base.errors import UsageError, listing, near_matches
from molexa_core.base.units import ATOMIC_TIME_FS

Transfer = Literal["none", "neutral", "low", "full", "pair"]
TRANSFERS: Final[dict[str, str]] = {
    "none": "no electron changes its atom",
    "neutral": "neutral atoms give electrons, over the barrier in the field of all ions",
    "low": "neutral and singly charged atoms give electrons, in the field of all ions",
    "full": "all atoms give electrons, in the field of all ions",
    "pair": "all atoms give electrons, to ions within the critical distance of an isolated pair",
}
"""The rules of electron transfer."""
HIGHEST_DONOR: Final[dict[str, int]] = {"none": -1, "neutral": 0, "low": 1, "full": 99, "pair": 99}
"""Highest charge that an atom that gives an electron may have, by rule."""
FOCUS: Final = ("axis", "volume")
MASSES: Final = ("isotope", "average")


@dataclass(frozen=True)
class Options:
    """The switches of the model.

    Attributes:
        transfer: the rule of electron transfer, one of `TRANSFERS`.
        transfer_time_fs: mean time until an electron goes over a barrier that is open,
            femtosecond; 0 means at once.
        recapture: electrons too slow to leave the field of the other ions are captured by them.
        double_auger: probability that an Auger decay of an inner hole releases a second electron.
        shake_off: probability that the ionization of an inner subshell releases a second electron.
        focus: `axis`, or `volume`: every trajectory draws its fluence as it occurs in a
            two-dimensional Gaussian focus, dP ~ dF / F.
        lowest_fluence: with `volume`, the lowest fluence drawn, relative to that on the axis.
        masses: `isotope` (most abundant) or `average` (standard atomic weight).
        step_fs: length of a step in the pulse, femtosecond.
        growth: growth of the steps behind the pulse, per time passed.
        until_fs: end of the trajectory, femtosecond after the peak; the momentum that is gained
            later is added in closed form.
        accuracy: longest step in units of the shortest time scale of the motion; longer steps of
            the grid are divided.

    Raises:
        UsageError: an unknown name or a value out of range.
    """

    transfer: str = "neutral"
    transfer_time_fs: float = 1.0
    recapture: bool = False
    double_auger: float = 0.0
    shake_off: float = 0.0
    focus: str = "axis"
    lowest_fluence: float = 0.01
    masses: str = "isotope"
    step_fs: float = 0.1
    growth: float = 0.02
    until_fs: float = 1000.0
    accuracy: float = 0.1

    def __post_init__(self) -> None:
        for name, known in (("transfer", TRANSFERS), ("focus", FOCUS), ("masses", MASSES)):
            _require_name(name, getattr(self, name), tuple(known))
        for name, low, high in (
            ("transfer_time_fs", 0.0, 1e4),
            ("double_auger", 0.0, 1.0),
            ("shake_off", 0.0, 1.0),
            ("lowest_fluence", 1e-6, 0.999),
            ("step_fs", 1e-3, 10.0),
            ("growth", 1e-4, 0.5),
            ("until_fs", 1.0, 1e6),
            ("accuracy", 1e-3, 0.5),
        ):
            _require_range(name, getattr(self, name), low, high)

    @property
    def transfer_time(self) -> float:
        """`transfer_time_fs` in atomic units."""
        return self.transfer_time_fs / ATOMIC_TIME_FS


def _require_name(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        near = near_matches(str(value), known)
        hint = f"Did you mean {listing(near)}? " if near else ""
        raise UsageError(
            f"unknown {option} {value!r}", where=option, do=f"{hint}There are: {listing(known)}."
        )


def _require_range(option: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for nan too
        raise UsageError(
            f"{value:g} is out of range", where=option, do=f"Choose from {low:g} to {high:g}."
        )
