"""Charge build-up: the rise of the charges during an explosion.

All charges rise with the same factor f(t) from 0 to 1: q_i(t) = q_i f(t), so that the force between
two ions is q_i q_j f(t)^2 / r^2.
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
    """A charge build-up as used by the integrator. Times in atomic units."""

    def factor(self, time: Tensor) -> Tensor:
        """f(t), same shape as `time`."""

    def rate(self, time: Tensor) -> Tensor:
        """Inverse characteristic time of f, which limits the time step; 0 if f is constant."""


@dataclass(frozen=True, slots=True)
class Instant:
    """Instantaneous ionization: all atoms have their final charges from time 0."""

    def factor(self, time: Tensor) -> Tensor:
        """f(t) = 1."""
        return torch.ones_like(time)

    def rate(self, time: Tensor) -> Tensor:
        """Zero, since f is constant."""
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
        """Inverse width of the rise; it decreases to zero after the rise."""
        behind = STEEPNESS * (time / self.tau - 0.5) - 2.5
        return torch.erfc(2.0 * behind) * (0.5 * STEEPNESS / self.tau)


def build_up(model: str, tau_fs: float) -> BuildUp:
    """The charge build-up of a classical model.

    Args:
        model: `instant`, or `classical` for the error-function rise.
        tau_fs: window of the rise in femtosecond; ignored for `instant`.

    Raises:
        UsageError: no such model, or tau not above 0.
    """
    if model == "instant":
        return Instant()
    if model == "classical":
        return ErrorFunctionRise(tau_fs)
    raise UsageError(f"unknown explosion model {model!r}", do="Choose instant or classical.")
