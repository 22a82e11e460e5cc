"""Time steps of a trajectory: equal steps during the pulse, growing ones after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_TIME_FS

EARLIEST: Final = 4.0
"""Start of the grid, in standard deviations before the peak; earlier photons (3e-5 of all) are
added to the first step."""
GROWTH_FROM: Final = 3.0
"""Time from which on the steps grow, in standard deviations after the peak."""
STEPS_PER_SIGMA: Final = 10.0
"""Smallest number of steps per standard deviation: the flux is constant within a step."""
_MOST_STEPS: Final = 1_000_000


@dataclass(frozen=True)
class StepGrid:
    """The time steps, the same for all trajectories.

    Attributes:
        length: (s) lengths of the steps, atomic units.
        fraction: (s) share of the photons in each step; the sum is 1.
        start: time of the first step, atomic units; the peak of the pulse is at 0.
    """

    length: FloatArray
    fraction: FloatArray
    start: float

    def __len__(self) -> int:
        """Number of steps."""
        return len(self.length)

    @property
    def times(self) -> FloatArray:
        """(s + 1) start times of the steps, and the end of the last one."""
        return self.start + np.concatenate([[0.0], np.cumsum(self.length)])


def step_grid(pulse: Pulse, *, step_fs: float, growth: float, until_fs: float) -> StepGrid:
    """The time grid: equal steps during the pulse, growing ones after it.

    Args:
        pulse: its duration determines start and end of the equal steps.
        step_fs: length of the steps during the pulse; it is reduced for pulses so short that the
            flux would change within a step.
        growth: increase of a step after the pulse, as a share of the elapsed time.
        until_fs: end time relative to the peak, but not before the end of the pulse.

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
