"""How well the momenta of one event are measured, and what its momentum sum says about that.

The momentum of ion i along an axis is m_i v_i from the explosion and

    e_i + (m_i / t_i) X + m_i V        (x, y),         e_i + (dp/dz)_i Z + m_i V        (z),

e_i being the error of position or time on the detector, independent of the other ions; X or Z the
distance of the explosion from the interaction point, and V the velocity of the molecule relative to
that of the jet. The explosion alone has momentum sum zero, so the measured sum S is one of these
errors. With their covariance C the best estimate of the errors of the ions is C 1 S / (1' C 1)
(conditional mean of a normal distribution); it is taken out, and C - C 1 1' C / (1' C 1) remains.

Errors of the detector and spread of the jet are those of the setup. The size of the interaction
region follows from the width of the measured sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.matter.flight import flight_time
from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Setup
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import ATOMIC_VELOCITY_M_S, ATOMIC_VELOCITY_MM_NS

_MAD: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
_STEP: Final = 1e-3
"""Step of finite differences: share of a typical momentum, and mm."""
_AXES: Final = 3
FEWEST: Final = 20
"""Fewest events whose sums give a width."""
_NO_SUM: Final = 1e-6
"""Sums below this share of the momenta are rounding: the recoil was taken out before."""


@dataclass(frozen=True)
class Resolution:
    """Errors of the momenta of single events. N ions.

    Attributes:
        share: (3, N) what of the momentum sum along x, y, z is taken out of each ion.
        covariance: (3, N, N) of the momenta along each axis that remain, a.u.^2.
        source: where it comes from, as a sentence.
        measured: (3, N, N) covariance of the momenta as measured, with their sum.
    """

    share: FloatArray
    covariance: FloatArray
    source: str
    measured: FloatArray | None = None

    def without_sum(self, momenta: FloatArray) -> FloatArray:
        """(n, N, 3) momenta with sum zero, from measured ones in the laboratory frame."""
        total = momenta.sum(axis=1)
        return np.asarray(momenta - np.einsum("an,ka->kna", self.share, total))

    def draw(self, random: np.random.Generator, count: int) -> FloatArray:
        """(count, N, 3) errors of the momenta in the laboratory frame, a.u."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        normal = random.standard_normal((count, _AXES, self.covariance.shape[1]))
        return np.asarray(np.einsum("ank,cak->cna", root, normal))

    @property
    def of_ions(self) -> FloatArray:
        """(N) standard deviation of a momentum component of each ion, rms over the axes, a.u."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance.mean(axis=0))))

    def averaged(self) -> Resolution:
        """The same on average over all orientations, for momenta in a molecular frame."""
        mean = self.covariance.mean(axis=0)
        return Resolution(self.share, np.repeat(mean[None], _AXES, axis=0), self.source)


def resolution_of(ions: Sequence[Ion], setup: Setup, sums: FloatArray) -> Resolution:
    """The errors of momenta from the setup and the measured momentum sums.

    Args:
        ions: (N) ions of an event.
        setup: spectrometer, resolution of the detector, jet.
        sums: (n, 3) momentum sums of the events in the laboratory frame, a.u.
    """
    detector, jet = setup.detector, setup.jet
    mass = np.array([ion.mass for ion in ions])
    time, by_start, by_time = _flights(ions, setup)
    place = mass / time / ATOMIC_VELOCITY_MM_NS
    across = np.array([jet.transverse_spread_m_per_s, jet.spread_m_per_s] * 2)[:_AXES]
    speed = across / ATOMIC_VELOCITY_M_S
    own = (
        detector.position_resolution_mm * place,
        detector.position_resolution_mm * place,
        detector.time_resolution_ns * by_time,
    )
    share, covariance = np.empty((_AXES, len(mass))), np.empty((_AXES, len(mass), len(mass)))
    as_measured = np.empty_like(covariance)
    for axis, start in enumerate((place, place, by_start)):
        alone, together = np.diag(own[axis] ** 2), speed[axis] ** 2 * np.outer(mass, mass)
        measured = _variance(sums[:, axis])
        size = 0.0
        if measured is None:
            size = setup.virtual.interaction_size_mm[axis]
        else:
            rest = measured - alone.sum() - together.sum()
            lever = float(np.abs(start.sum()))  # 0 where the start does not change the time
            size = float(np.sqrt(max(rest, 0.0))) / lever if lever > 0.0 else 0.0
        whole = alone + together + size**2 * np.outer(start, start)
        if measured is not None and whole.sum() > measured:
            whole *= measured / whole.sum()
        as_measured[axis] = whole
        share[axis], covariance[axis] = _conditional(whole)
    source = (
        f"resolution of single events from the setup ({detector.position_resolution_mm:g} mm, "
        f"{detector.time_resolution_ns:g} ns) and the widths of the momentum sums"
    )
    return Resolution(share, covariance, source, as_measured)


def resolution_from_sums(ions: Sequence[Ion], sums: FloatArray, size: float) -> Resolution | None:
    """The same where no setup is known: errors in proportion to sqrt(mass * charge), as of a
    position or time on the detector, that explain the whole width of the momentum sums.

    Args:
        ions: (N) ions of an event.
        sums: (n, 3) momentum sums in the laboratory frame, a.u.
        size: typical momentum of an ion, a.u.

    Returns:
        None if there are too few events, or their recoil was taken out before.
    """
    widths = [_variance(sums[:, axis]) for axis in range(_AXES)]
    found = [width for width in widths if width is not None]
    if len(found) < _AXES or max(found) < (_NO_SUM * size) ** 2:
        return None
    kind = np.array([ion.mass * ion.charge for ion in ions])
    parts = [_conditional(np.diag(kind / kind.sum() * width)) for width in found]
    source = "resolution of single events from the widths of the momentum sums alone"
    return Resolution(np.stack([s for s, _ in parts]), np.stack([c for _, c in parts]), source)


def by_mass(ions: Sequence[Ion], resolution: Resolution) -> Resolution:
    """The resolution where the sum was taken out in proportion to the masses before."""
    mass = np.array([ion.mass for ion in ions])
    keep = np.eye(len(mass)) - np.outer(mass / mass.sum(), np.ones(len(mass)))
    whole = resolution.covariance if resolution.measured is None else resolution.measured
    covariance = np.einsum("ij,ajk,lk->ail", keep, whole, keep)
    share = np.repeat((mass / mass.sum())[None], _AXES, axis=0)
    return Resolution(share, covariance, resolution.source)


def _flights(ions: Sequence[Ion], setup: Setup) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(N) times of flight of ions at rest in ns, and how their pz changes with place and time.

    pz changes by `by_start` a.u. per mm of the start along z and `by_time` a.u. per ns.
    """
    spectrometer = setup.spectrometer
    mass = np.array([ion.mass for ion in ions])
    charge = np.array([float(ion.charge) for ion in ions])
    kick = _STEP * np.sqrt(mass)
    time = flight_time(0.0, charge, mass, spectrometer)
    by_momentum = (
        flight_time(kick, charge, mass, spectrometer)
        - flight_time(-kick, charge, mass, spectrometer)
    ) / (2.0 * kick)
    ahead = flight_time(0.0, charge, mass, spectrometer, start_z_mm=_STEP)
    behind = flight_time(0.0, charge, mass, spectrometer, start_z_mm=-_STEP)
    by_place = (ahead - behind) / (2.0 * _STEP)
    return time, by_place / by_momentum, np.abs(1.0 / by_momentum)


def _conditional(covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What of the sum belongs to each component, and the covariance once it is taken out."""
    row = covariance.sum(axis=1)
    total = float(row.sum())
    if total <= 0.0:
        return np.full(len(row), 1.0 / len(row)), covariance
    return row / total, covariance - np.outer(row, row) / total


def _variance(values: FloatArray) -> float | None:
    """Variance of the core of a distribution about its median; None for too few values."""
    if len(values) < FEWEST:
        return None
    return float((_MAD * np.median(np.abs(values - np.median(values)))) ** 2)
