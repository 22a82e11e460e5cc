"""The X-ray pulse: how many photons meet a molecule, and when.

Gaussian in time and across the focus; widths are full widths at half maximum (FWHM). On the axis a
pulse of n photons in a focus of FWHM w brings F0 = n T 4 ln 2 / (pi w^2) photons per area.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from molexa_core.base.errors import UsageError
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import (
    ATOMIC_TIME_FS,
    BOHR_ANGSTROM,
    HARTREE_EV,
    HARTREE_JOULE,
)

SIGMA_PER_FWHM: Final = 1.0 / math.sqrt(8.0 * math.log(2.0))
"""Standard deviation of a Gaussian over its full width at half maximum."""
FLUENCE_RANGE: Final = (1e-6, 1e8)
"""Photons per bohr^2 that can be meant: below, no molecule absorbs; above, one photon energy in a
thousand cubic bohr is a field in which atoms do not keep their levels. 1 mJ at 2 keV in 1 um gives
7.7e3."""
DURATION_RANGE_FS: Final = (0.01, 2000.0)
"""FWHM in femtosecond for which the time grid is made."""
EARLIEST: Final = 4.0
"""Where time begins, in standard deviations before the peak; what comes earlier (3e-5 of the
photons) is put into the first step."""
GROWTH_FROM: Final = 3.0
"""Where the steps begin to grow, in standard deviations behind the peak."""
STEPS_PER_SIGMA: Final = 10.0
"""At least so many steps in a standard deviation: the flux is constant within a step."""
_MOST_STEPS: Final = 1_000_000
_UM_BOHR: Final = 1e4 / BOHR_ANGSTROM


@dataclass(frozen=True)
class Pulse:
    """One X-ray pulse.

    Attributes:
        photon_ev: photon energy, eV.
        energy_mj: energy of the pulse, millijoule.
        duration_fs: FWHM in time, femtosecond.
        focus_um: FWHM of the focus, micrometre, the same in both directions.
        transmission: share of the pulse that reaches the focus.
        fluence_um2: photons per square micrometre on the axis; if given, pulse energy, focus and
            transmission are not looked at.

    Raises:
        UsageError: a value that is not a positive number, a transmission above 1, or a duration or
            fluence out of range.
    """

    photon_ev: float
    energy_mj: float = 1.0
    duration_fs: float = 15.0
    focus_um: float = 1.0
    transmission: float = 1.0
    fluence_um2: float | None = None

    def __post_init__(self) -> None:
        _require_positive("photon energy", self.photon_ev, "eV")
        low, high = DURATION_RANGE_FS
        if not low <= self.duration_fs <= high:
            raise UsageError(
                f"the duration of the pulse is {self.duration_fs:g} fs",
                do=f"Choose a FWHM between {low:g} and {high:g} fs.",
            )
        if self.fluence_um2 is None:
            _require_positive("energy of the pulse", self.energy_mj, "mJ")
            _require_positive("focus", self.focus_um, "um")
            if not 0.0 < self.transmission <= 1.0:
                raise UsageError(
                    f"the transmission is {self.transmission:g}",
                    do="It is a share above 0 and up to 1.",
                )
        else:
            _require_positive("fluence", self.fluence_um2, "photons/um^2")
        low, high = FLUENCE_RANGE
        if not low <= self.fluence <= high:
            per_um2 = _UM_BOHR**2
            raise UsageError(
                f"the pulse has {self.fluence * per_um2:.3g} photons/um^2 on its axis",
                do=f"Between {low * per_um2:.3g} and {high * per_um2:.3g} can be computed; "
                "check pulse energy, focus and transmission.",
            )

    @property
    def photons(self) -> float:
        """Photons in the whole pulse that reach the focus."""
        joule = self.photon_ev / HARTREE_EV * HARTREE_JOULE
        return self.energy_mj * 1e-3 * self.transmission / joule

    @property
    def fluence(self) -> float:
        """Photons per bohr^2 on the axis."""
        if self.fluence_um2 is not None:
            return self.fluence_um2 / _UM_BOHR**2
        area = math.pi * (self.focus_um * _UM_BOHR) ** 2 / (4.0 * math.log(2.0))
        return self.photons / area

    @property
    def photon(self) -> float:
        """Photon energy, hartree."""
        return self.photon_ev / HARTREE_EV

    @property
    def sigma(self) -> float:
        """Standard deviation in time, atomic units."""
        return self.duration_fs / ATOMIC_TIME_FS * SIGMA_PER_FWHM


@dataclass(frozen=True)
class StepGrid:
    """How time is cut, the same for all trajectories.

    Attributes:
        length: (s) lengths of the steps, atomic units.
        fraction: (s) share of the photons in each; the sum is 1.
        start: time of the beginning, atomic units; the peak of the pulse is at 0.
    """

    length: FloatArray
    fraction: FloatArray
    start: float

    def __len__(self) -> int:
        """How many steps there are."""
        return len(self.length)

    @property
    def times(self) -> FloatArray:
        """(s + 1) beginnings of the steps, and the end of the last."""
        return self.start + np.concatenate([[0.0], np.cumsum(self.length)])


def step_grid(pulse: Pulse, *, step_fs: float, growth: float, until_fs: float) -> StepGrid:
    """Cut time: equal steps through the pulse, growing ones behind it.

    Args:
        pulse: its duration sets where the pulse begins and ends.
        step_fs: length of the steps in the pulse; shorter ones are taken for pulses so short that
            their flux would change within a step.
        growth: by how much of the time passed a step behind the pulse is longer.
        until_fs: time of the end, counted from the peak, but not before the pulse is over.

    Raises:
        UsageError: a value that is not a positive number, or more than a million steps.
    """
    for name, value in (("step", step_fs), ("growth", growth), ("end", until_fs)):
        _require_positive(f"{name} of the time grid", value, "")
    sigma = pulse.sigma
    step = min(step_fs / ATOMIC_TIME_FS, sigma / STEPS_PER_SIGMA)
    count = math.ceil((EARLIEST + GROWTH_FROM) * sigma / step)
    end = max(until_fs / ATOMIC_TIME_FS, EARLIEST * sigma)
    tail = math.ceil(math.log1p((end - GROWTH_FROM * sigma) * growth / step) / math.log1p(growth))
    if count + tail > _MOST_STEPS:
        raise UsageError(
            f"the time grid would have {count + tail} steps", do="Choose a longer step_fs."
        )
    step = (EARLIEST + GROWTH_FROM) * sigma / count
    length = np.concatenate([np.full(count, step), step * (1.0 + growth) ** np.arange(1, tail + 1)])
    start = -EARLIEST * sigma
    times = start + np.concatenate([[0.0], np.cumsum(length)])
    passed = np.asarray(ndtr(times / sigma), dtype=np.float64)
    passed[0], passed[-1] = 0.0, 1.0
    return StepGrid(length, np.diff(passed), start)


def _require_positive(name: str, value: float, unit: str) -> None:
    if not 0.0 < value < math.inf:  # false for nan too
        raise UsageError(f"the {name} is {value:g} {unit}".rstrip(), do="Give a number above 0.")
