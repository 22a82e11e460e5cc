"""Fit of the quantities of a setup to the conditions: generalised method of moments.

The changes theta minimise g' W g, g(theta) being the means that must vanish and W the inverse of
their covariance, measured over the coincidences (Hansen, Econometrica 50, 1029 (1982)). Their
covariance is F^-1 with the information matrix F = G' W G, G = dg/dtheta. The minimum itself is
chi-square distributed if the conditions agree with each other. Directions in which F says less than
what is plausible anyway are left where they are and named (`directions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.linalg import block_diag
from scipy.special import gammaincc

from molexa_core.base.errors import ComputationError
from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Setup
from molexa_core.base.tables import FloatArray
from molexa_core.reduction.calibration.quantities import Quantity, changed
from molexa_core.reduction.calibration.vanishing import (
    EDGE,
    Condition,
    Means,
    PeakState,
    means,
    noise_shifts,
    reaches,
    settle,
)
from molexa_core.reduction.momentum import hit_momenta, jet_mm_ns

_ROUNDS: Final = 12
_ROUGH_ROUNDS: Final = 4
_SETTLED: Final = 0.01
"""Steps below this many standard errors end the fit."""
_STEP: Final = 1e-4
"""Step of the derivatives, in plausible changes."""
_SINGULAR: Final = 1e-9
_SLOPE_SAMPLE: Final = 10_000
"""Coincidences from which derivatives are taken."""
_NOISE_SAMPLE: Final = 20_000
"""Coincidences from which the effect of the errors of the detector is found."""
_LARGEST: Final = 1.0
"""Largest step, in plausible changes."""


@dataclass
class ChannelSample:
    """Coincidences of a channel as the detector recorded them.

    Attributes:
        name: of the channel.
        ions: the ion of each column.
        x_mm, y_mm, t_ns: (n, ions) as recorded.
        volume: of the box of momentum sums in which they were collected, a.u.^3.
        state: peak of the sums and sizes of the momenta at the present setup.
    """

    name: str
    ions: tuple[Ion, ...]
    x_mm: FloatArray
    y_mm: FloatArray
    t_ns: FloatArray
    volume: float
    state: PeakState

    def __len__(self) -> int:
        return len(self.x_mm)

    def first(self, count: int) -> ChannelSample:
        """The first coincidences."""
        part = slice(0, count)
        return replace(self, x_mm=self.x_mm[part], y_mm=self.y_mm[part], t_ns=self.t_ns[part])

    def momenta(self, setup: Setup) -> FloatArray:
        """(n, ions, 3) momenta in a.u. with this setup."""
        x, y, t = setup.calibration.to_laboratory(self.x_mm, self.y_mm, self.t_ns)
        momenta = np.empty((*x.shape, 3))
        for column, ion in enumerate(self.ions):
            momenta[:, column] = hit_momenta(
                x[:, column],
                y[:, column],
                t[:, column],
                ion,
                setup.spectrometer,
                jet_velocity_m_per_s=setup.jet.velocity_m_per_s,
            )
        return momenta


@dataclass(frozen=True)
class Measured:
    """A further condition: a measured value minus what the setup says.

    Attributes:
        words: what it is.
        of: the difference for a setup; zero where the setup is right.
        error: its standard error.
    """

    words: str
    of: Callable[[Setup], float]
    error: float


@dataclass(frozen=True)
class Fit:
    """The outcome of a fit.

    Attributes:
        quantities: (k) the free ones.
        changes: (k) what is added to the setup, see `quantities`.
        covariance: (k, k) of the changes within the directions that are determined.
        information: (k, k) in units of plausible changes.
        chi_square: minimum of the conditions.
        degrees: conditions less quantities determined.
        setup: the setup with the changes.
        conditions: (m) the conditions used.
        values: (m) their values at the end, in standard errors.
    """

    quantities: tuple[Quantity, ...]
    changes: FloatArray
    covariance: FloatArray
    information: FloatArray
    chi_square: float
    degrees: int
    setup: Setup
    conditions: tuple[Condition, ...]
    values: FloatArray

    @property
    def probability(self) -> float:
        """That a chi-square this large occurs by chance."""
        return float(gammaincc(0.5 * max(self.degrees, 1), 0.5 * self.chi_square))


def fit(
    samples: Sequence[ChannelSample],
    setup: Setup,
    quantities: Sequence[Quantity],
    *,
    further: Sequence[Measured] = (),
    isotropic: bool = False,
    rough: bool = False,
) -> Fit:
    """Determine changes of the setup.

    Args:
        samples: coincidences of each channel; their states are updated.
        setup: the setup to begin with.
        quantities: what may change.
        further: conditions that do not come from coincidences.
        isotropic: molecules are oriented at random.
        rough: centres of the sums and mean momenta alone, with the plausible changes as a prior.

    Raises:
        ComputationError: too few coincidences.
    """
    plausible = np.array([one.plausible for one in quantities])
    total = np.zeros(len(quantities))
    problem = _Problem(samples, setup, tuple(quantities), tuple(further), isotropic, rough)
    part = replace(problem, samples=[sample.first(_SLOPE_SAMPLE) for sample in samples])
    problem.settle(total)
    previous = np.inf
    for turn in range(_ROUGH_ROUNDS if rough else _ROUNDS):
        part.share_states(problem)
        here = problem.evaluated(total)
        weight = _inverse(here.covariance)
        slopes = part.slopes(total)
        information = slopes.T @ weight @ slopes
        pull = slopes.T @ weight @ here.values
        if rough:
            information = information + np.eye(len(quantities))
            pull = pull + total / plausible
        values, vectors = np.linalg.eigh(information)
        determined = values > (0.0 if rough else 1.0)
        if not determined.any():
            raise ComputationError(
                "the coincidences determine none of the free quantities",
                do="Give a longer run, or fix quantities that are known.",
            )
        inverse = (vectors[:, determined] / values[determined]) @ vectors[:, determined].T
        step = -inverse @ pull
        step *= min(1.0, _LARGEST / max(float(np.abs(step).max()), 1e-300))
        total = total + step * plausible
        problem.settle(total)
        errors = np.sqrt(np.maximum(np.diag(inverse), 1e-300))
        moved = float(np.max(np.abs(step) / errors))
        chi_square = float(here.values @ weight @ here.values)
        if moved < _SETTLED or (turn > 4 and moved < 10 * _SETTLED and chi_square >= previous):
            break
        previous = chi_square
    here = problem.evaluated(total)
    return Fit(
        quantities=tuple(quantities),
        changes=total,
        covariance=inverse * np.outer(plausible, plausible),
        information=information,
        chi_square=float(here.values @ _inverse(here.covariance) @ here.values),
        degrees=len(here.values) - int(determined.sum()),
        setup=problem.changed(total),
        conditions=here.conditions,
        values=here.values / np.sqrt(np.maximum(np.diag(here.covariance), 1e-300)),
    )


def _settle(sample: ChannelSample, setup: Setup, *, isotropic: bool, rough: bool) -> None:
    """Bring the state of a sample up to a setup."""
    momenta = sample.momenta(setup)
    sample.state = settle(momenta, sample.ions, sample.volume, sample.state, setup)
    if rough:
        return
    found = means(momenta, sample.ions, sample.state, volume=sample.volume, sums_only=True)
    few = np.flatnonzero(found.weight > 0.5)[:_NOISE_SAMPLE]
    edges = {kind: EDGE * size for kind, size in reach_of(sample.ions, setup).items()}
    sample.state.shifts = noise_shifts(
        momenta[few],
        sample.ions,
        sample.state,
        found.weight[few],
        edges,
        isotropic=isotropic,
    )


def conditions_at(sample: ChannelSample, setup: Setup, *, isotropic: bool = False) -> Means:
    """The conditions of a sample at a setup; its state is updated."""
    _settle(sample, setup, isotropic=isotropic, rough=False)
    return means(
        sample.momenta(setup),
        sample.ions,
        sample.state,
        volume=sample.volume,
        channel=sample.name,
        reach=reach_of(sample.ions, setup),
        isotropic=isotropic,
    )


@dataclass(frozen=True)
class Linear:
    """Conditions of a sample at a setup, and how they change with its quantities.

    Attributes:
        conditions: (m) what they are.
        values: (m) their values, zero where the setup is right.
        covariance: (m, m) of the values.
        weight: (m, m) its inverse.
        slopes: (m, k) derivatives by the quantities, in plausible changes.
    """

    conditions: tuple[Condition, ...]
    values: FloatArray
    covariance: FloatArray
    weight: FloatArray
    slopes: FloatArray

    @property
    def explained(self) -> FloatArray:
        """(k) chi-square that a change of each quantity alone can explain.

        The square of a scalar product with the values over that of the slopes with themselves: by
        the inequality of Cauchy and Schwarz never more than the chi-square of all conditions.
        """
        pulls = self.slopes.T @ self.weight @ self.values
        return np.asarray(pulls**2 / self.strength)

    @property
    def strength(self) -> FloatArray:
        """(k) chi-square of a plausible change of each quantity alone."""
        strength = np.einsum("mk,mn,nk->k", self.slopes, self.weight, self.slopes)
        return np.asarray(np.maximum(strength, 1e-300))


def linear_at(
    sample: ChannelSample,
    setup: Setup,
    quantities: Sequence[Quantity],
    *,
    least: float,
    for_slopes: int = 4000,
) -> Linear | None:
    """The conditions at a setup with their derivatives; the state of the sample is updated.

    Args:
        sample: coincidences of a channel.
        setup: the setup.
        quantities: by which derivatives are taken, which takes most of the time.
        least: chi-square that one of them must explain to be of interest.
        for_slopes: number of coincidences from which derivatives are taken.

    Returns:
        None where all conditions together have less than the chi-square `least`, so that no
        quantity can explain as much.
    """
    problem = _Problem([sample], setup, tuple(quantities), (), isotropic=False, rough=False)
    nothing = np.zeros(len(quantities))
    problem.settle(nothing)
    here = problem.evaluated(nothing)
    weight = _inverse(here.covariance)
    if not here.values @ weight @ here.values >= 0.999 * least:
        return None  # also where a condition is no number
    part = replace(problem, samples=[sample.first(for_slopes)])
    slopes = part.slopes(nothing)
    # Quantities whose changes leave ions that do not arrive explain nothing.
    slopes = np.where(np.isfinite(slopes).all(axis=0), slopes, 0.0)
    return Linear(here.conditions, here.values, here.covariance, weight, slopes)


def _inverse(covariance: FloatArray) -> FloatArray:
    """Inverse of a covariance, well conditioned by scaling to standard errors."""
    errors = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    scaled = covariance / np.outer(errors, errors)
    inverse: FloatArray = np.linalg.pinv(scaled, rcond=_SINGULAR, hermitian=True)
    return np.asarray(inverse / np.outer(errors, errors))


@dataclass(frozen=True)
class _Evaluated:
    values: FloatArray
    covariance: FloatArray
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class _Problem:
    """Conditions as a function of the changes."""

    samples: Sequence[ChannelSample]
    setup: Setup
    quantities: tuple[Quantity, ...]
    further: tuple[Measured, ...]
    isotropic: bool
    rough: bool

    def changed(self, changes: FloatArray) -> Setup:
        """The setup with these changes."""
        names = [one.name for one in self.quantities]
        return changed(self.setup, dict(zip(names, map(float, changes), strict=True)))

    def settle(self, changes: FloatArray) -> None:
        """Bring the states of all samples up to these changes."""
        setup = self.changed(changes)
        for sample in self.samples:
            _settle(sample, setup, isotropic=self.isotropic, rough=self.rough)

    def share_states(self, other: _Problem) -> None:
        """Take the states of another problem, whose samples are longer."""
        for own, one in zip(self.samples, other.samples, strict=True):
            own.state = one.state

    def evaluated(self, changes: FloatArray) -> _Evaluated:
        """Values of all conditions with their covariance."""
        setup = self.changed(changes)
        found = [self._means(sample, setup) for sample in self.samples]
        names = [name for one in found for name in one.conditions]
        names += [Condition("measured", "", one.words, "") for one in self.further]
        values = [*(one.values for one in found), np.array([m.of(setup) for m in self.further])]
        blocks = [*(one.covariance for one in found)]
        blocks += [np.array([[one.error**2]]) for one in self.further]
        return _Evaluated(np.concatenate(values), block_diag(*blocks), tuple(names))

    def slopes(self, changes: FloatArray) -> FloatArray:
        """(conditions, quantities) derivatives by changes in units of plausible ones."""
        columns = []
        for place, one in enumerate(self.quantities):
            step = np.zeros(len(self.quantities))
            step[place] = _STEP * one.plausible
            ahead, behind = self._values(changes + step), self._values(changes - step)
            columns.append((ahead - behind) / (2.0 * _STEP))
        return np.stack(columns, axis=1)

    def _values(self, changes: FloatArray) -> FloatArray:
        setup = self.changed(changes)
        values = [self._means(sample, setup).values for sample in self.samples]
        return np.concatenate([*values, np.array([one.of(setup) for one in self.further])])

    def _means(self, sample: ChannelSample, setup: Setup) -> Means:
        return means(
            sample.momenta(setup),
            sample.ions,
            sample.state,
            volume=sample.volume,
            channel=sample.name,
            reach=reach_of(sample.ions, self.setup),
            isotropic=self.isotropic,
            sums_only=self.rough,
        )


def reach_of(ions: Sequence[Ion], setup: Setup) -> dict[str, float]:
    """Size of momentum of each kind of ion up to which all directions reach the detector."""
    times = [
        float(flight_time(0.0, float(ion.charge), ion.mass, setup.spectrometer)) for ion in ions
    ]
    # the active area of `reduce` is a circle around the calibrated centre
    return reaches(
        ions,
        times,
        radius=setup.detector.radius_mm,
        offset=0.0,
        speed=abs(jet_mm_ns(setup.jet.velocity_m_per_s)),
    )
