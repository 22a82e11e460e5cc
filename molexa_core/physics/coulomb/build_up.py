"""Charge build-up: the rise of the charges during an explosion.

Usually all charges rise with the same factor f(t) from 0 to 1: q_i(t) = q_i f(t), so that the force
between two ions is q_i q_j f(t)^2 / r^2; or each atom has a factor of its own (`AtomRises`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import ChargeBuildUp
from molexa_core.base.units import ATOMIC_TIME_FS

STEEPNESS: Final = 6.3
"""Dimensionless steepness of `ErrorFunctionRise`; with it tau is the full window of the rise."""

FADES: Final = 0.7
"""How the rate of a rise fades behind its middle, over its width."""
LEAST_TAU_FS: Final = 1e-3
"""Shortest window that is followed: 4 orders of magnitude below the motion of the fastest ions."""


class BuildUp(Protocol):
    """A charge build-up as used by the integrator. Times in atomic units."""

    def factor(self, time: Tensor) -> Tensor:
        """f(t): same shape [B] as `time`, or [atoms, B] where the atoms differ."""

    def rate(self, time: Tensor) -> Tensor:
        """[B] inverse characteristic time of f, which limits the time step; 0 if f is constant."""


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
        return (0.5 - FADES * behind).clamp(0.0, 1.0) * (STEEPNESS / self.tau)


@dataclass(frozen=True, slots=True)
class AtomRises:
    """Each atom has its own `ErrorFunctionRise`, which begins when it will.

    Attributes:
        tau_fs: window of the rise of each atom, femtosecond, 0 or more; below `LEAST_TAU_FS` the
            charge is as good as there at once.
        onset_fs: when the rise of each atom begins, femtosecond after the first may begin, 0 or
            more.

    Raises:
        UsageError: a window or an onset that is no time.
    """

    tau_fs: tuple[float, ...]
    onset_fs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.tau_fs) != len(self.onset_fs):
            raise UsageError(
                f"{len(self.tau_fs)} windows and {len(self.onset_fs)} onsets",
                do="Give one of each for every atom.",
            )
        for name, values in (("tau", self.tau_fs), ("onset", self.onset_fs)):
            bad = [value for value in values if not 0.0 <= value < float("inf")]
            if bad:
                raise UsageError(f"{name} is {bad[0]} fs", do="Give a time of 0 or more.")

    @property
    def taus(self) -> tuple[float, ...]:
        """Windows in atomic units of time, above 0."""
        return tuple(max(value, LEAST_TAU_FS) / ATOMIC_TIME_FS for value in self.tau_fs)

    @property
    def onsets(self) -> tuple[float, ...]:
        """Beginnings in atomic units of time."""
        return tuple(value / ATOMIC_TIME_FS for value in self.onset_fs)

    def factor(self, time: Tensor) -> Tensor:
        """[atoms, B] f of each atom."""
        tau, since = self._since(time)
        return torch.erfc(STEEPNESS * (0.5 - since / tau)) * 0.5

    def rate(self, time: Tensor) -> Tensor:
        """Inverse width of the fastest rise; before a rise, the time until then counts as well."""
        tau, since = self._since(time)
        behind = STEEPNESS * (since / tau - 0.5) - 2.5
        width = tau + STEEPNESS * (-since).clamp_min(0.0)
        return ((0.5 - FADES * behind).clamp(0.0, 1.0) * STEEPNESS / width).amax(0)

    def _since(self, time: Tensor) -> tuple[Tensor, Tensor]:
        tau = torch.tensor(self.taus, dtype=time.dtype, device=time.device).unsqueeze(1)
        onset = torch.tensor(self.onsets, dtype=time.dtype, device=time.device).unsqueeze(1)
        return tau, time.unsqueeze(0) - onset


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


def rises_of_atoms(stated: ChargeBuildUp, symbols: Sequence[str]) -> BuildUp:
    """The build-up of a molecule, from the parameters of hydrogen and of the other atoms.

    Args:
        stated: the parameters.
        symbols: element of each atom.

    Returns:
        A common rise where all atoms have the same, else one for each atom, the first from time 0.
    """
    light = stated.tau_fs if stated.hydrogen_tau_fs is None else stated.hydrogen_tau_fs
    each = [
        (light, stated.hydrogen_onset_fs) if symbol == "H" else (stated.tau_fs, stated.onset_fs)
        for symbol in symbols
    ]
    first = min(onset for _, onset in each)
    if len(set(each)) == 1 and each[0][0] > 0.0:
        return ErrorFunctionRise(each[0][0])
    return AtomRises(tuple(tau for tau, _ in each), tuple(onset - first for _, onset in each))
