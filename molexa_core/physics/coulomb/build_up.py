"""How the charge of the atoms builds up during an explosion.

A build-up is a factor f(t) from 0 to 1 that all charges share: q_i(t) = q_i f(t), so that a pair
repels with q_i q_j f(t)^2 / r^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from molexa_core.base.errors import UsageError
from molexa_core.base.units import ATOMIC_TIME_FS

STEEPNESS: Final = 6.3
"""Dimensionless steepness of `ErrorFunctionRise`; with it tau is the full window of the rise."""


class BuildUp(Protocol):
    """What the integrator needs to know of a charge build-up. Times in atomic units."""

    def factor(self, time: Tensor) -> Tensor:
        """f(t), same shape as `time`."""

    def rate(self, time: Tensor) -> Tensor:
        """How fast f changes, 1 / characteristic time, where that limits the step; else 0."""


@dataclass(frozen=True, slots=True)
class Instant:
    """All charges are there at once, at time 0."""

    def factor(self, time: Tensor) -> Tensor:
        """All of the charge."""
        return torch.ones_like(time)

    def rate(self, time: Tensor) -> Tensor:
        """Nothing changes."""
        return torch.zeros_like(time)


@dataclass(frozen=True, slots=True)
class ErrorFunctionRise:
    """f(t) = (1 + erf(6.3 (t / tau - 1/2))) / 2.

    tau is the full window of the rise: 10 to 90 per cent take about 0.29 tau. As tau goes to 0
    this becomes `Instant`; a finite tau gives a softer explosion with less kinetic energy.

    Attributes:
        tau_fs: window of the rise in femtosecond, above 0.

    Raises:
        UsageError: tau is not above 0.
    """

    tau_fs: float

    def __post_init__(self) -> None:
        if not 0.0 < self.tau_fs < float("inf"):
            raise UsageError(
                f"tau is {self.tau_fs} fs", do="Give a time above 0, or the model instant."
            )

    @property
    def tau(self) -> float:
        """Window of the rise in atomic units of time."""
        return self.tau_fs / ATOMIC_TIME_FS

    def factor(self, time: Tensor) -> Tensor:
        """f(t), written with erfc so that small values keep their digits."""
        return torch.erfc(STEEPNESS * (0.5 - time / self.tau)) * 0.5

    def rate(self, time: Tensor) -> Tensor:
        """Inverse width of the rise while it lasts, fading out behind it."""
        behind = STEEPNESS * (time / self.tau - 0.5) - 2.5
        return torch.erfc(2.0 * behind) * (0.5 * STEEPNESS / self.tau)


def build_up(model: str, tau_fs: float) -> BuildUp:
    """The build-up that `--model` and `--tau-fs` name.

    Args:
        model: `instant`, or `classical` for the error-function rise.
        tau_fs: window of the rise; not looked at for `instant`.

    Raises:
        UsageError: no such model, or tau not above 0.
    """
    if model == "instant":
        return Instant()
    if model == "classical":
        return ErrorFunctionRise(tau_fs)
    raise UsageError(f"unknown explosion model {model!r}", do="Choose instant or classical.")
