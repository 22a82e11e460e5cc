"""How time is cut in a trajectory: equal steps through the pulse, growing ones behind it."""

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
"""Where time begins, in standard deviations before the peak; what comes earlier (3e-5 of the
photons) is put into the first step."""
GROWTH_FROM: Final = 3.0
"""Where the steps begin to grow, in standard deviations behind the peak."""
STEPS_PER_SIGMA: Final = 10.0
"""At least so many steps in a standard deviation: the flux is constant within a step."""
_MOST_STEPS: Final = 1_000_000


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
