"""What must vanish in the momenta of true break-ups, as mean values over coincidences.

For momenta p_i of all ions of molecules that break up completely, with S their sum:

* `sum`: the peak of S lies at zero, along each axis;
* `turn`: S does not depend on where the ions fly: the mean of (S x u)_z, u the direction of an ion,
  is zero. A magnetic field or lenses that are left out turn light and heavy ions differently;
* `size` of an ion and `release` (kinetic energy): they do not depend on the direction of flight,
  however the molecules are aligned: no correlation with u_x, u_y, u_z (a shift of the momenta),
  u_z^2 - 1/3 and u_x^2 - u_y^2 (scales);
* `direction`, only where molecules are known to be oriented at random: the means of the same
  functions of u are zero.

S is the sum of a narrow peak and of false coincidences around it: each coincidence counts with its
probability to belong to the peak (a Gaussian on a uniform background, by expectation maximisation).
The centre found so is an M-estimator (Huber, Robust Statistics, 1981): coincidence e contributes
psi(S_e) / mean(psi') to its error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from molexa_core.base.matter.ions import Ion
from molexa_core.base.settings import Setup
from molexa_core.base.tables import BoolArray, FloatArray
from molexa_core.base.units import ATOMIC_VELOCITY_MM_NS
from molexa_core.reduction.resolution import Resolution, resolution_of

_ROUNDS: Final = 60
_SETTLED: Final = 1e-10
_TAPER: Final = 2.5
"""Sizes beyond this many standard deviations from the median count less and less."""
_SOFT_EDGE: Final = 0.02
EDGE: Final = 0.93
"""Ions are used up to this share of the size at which they miss the detector in some direction."""
_SLOW: Final = 4.0
"""Ions slower than this many widths of the momentum sums have no direction worth the name."""
_NOISE_PAIRS: Final = 3
_NOISE_SEED: Final = 20
DIRECTIONS: Final = ("x", "y", "z", "zz", "xx-yy")
AXES: Final = ("x", "y", "z")


@dataclass(frozen=True)
class Condition:
    """One mean value that must be zero.

    Attributes:
        kind: `sum`, `turn`, `size`, `release` or `direction`.
        ion: the kind of ion, empty for sums.
        along: an axis, or one of `DIRECTIONS`.
        channel: the channel that it is of.
    """

    kind: str
    ion: str
    along: str
    channel: str


@dataclass
class PeakState:
    """Peak of the momentum sums and typical sizes, carried from one evaluation to the next.

    Attributes:
        centre: (3) of the peak, a.u.
        sigma: (3) standard deviations.
        share: of the coincidences in the peak.
        middle: (3) median of all sums when the centre was found.
        resolution: errors of the momenta.
        size: median and width of the momentum of each kind of ion, and (under an empty name) of
            the root of the release.
        shifts: what the errors of the momenta change of each correlation, see `noise_shifts`.
    """

    centre: FloatArray
    sigma: FloatArray
    share: float
    middle: FloatArray
    resolution: Resolution | None = None
    size: dict[str, tuple[float, float]] = field(default_factory=dict)
    shifts: dict[tuple[str, str, str], tuple[float, FloatArray]] = field(default_factory=dict)

    def has_direction(self, kind: str) -> bool:
        """Whether ions of this kind are faster than the errors of the sums."""
        return self.size[kind][0] > _SLOW * float(self.sigma.min())


@dataclass(frozen=True)
class Means:
    """Values of conditions.

    Attributes:
        conditions: (m) what they are.
        values: (m) the means.
        parts: (n, m) what each coincidence contributes to their errors; its mean is zero.
        weight: (n) probability of each coincidence to belong to the peak.
        uncertain: (m, m) what the correction for errors of the detector adds to the covariance.
    """

    conditions: tuple[Condition, ...]
    values: FloatArray
    parts: FloatArray
    weight: FloatArray
    uncertain: FloatArray | None = None

    @property
    def covariance(self) -> FloatArray:
        """(m, m) of the values."""
        own = _covariance(self.parts)
        return own if self.uncertain is None else own + self.uncertain


def _covariance(parts: FloatArray) -> FloatArray:
    """(m, m) covariance of means, from the (n, m) parts of each coincidence."""
    n = len(parts)
    moments: FloatArray = parts.T @ parts / max(n - 1, 1) / max(n, 1)
    return moments


def _of_shifts(found: Means, state: PeakState) -> FloatArray | None:
    """(m, m) covariance that the effect of the errors of the detector adds."""
    if not state.shifts:
        return None
    n = len(next(iter(state.shifts.values()))[1])
    parts = np.zeros((n, len(found.conditions)))
    for place, one in enumerate(found.conditions):
        shift = state.shifts.get((one.kind, one.ion, one.along))
        if shift is not None:
            parts[:, place] = shift[1]
    return _covariance(parts)


def first_state(sums: FloatArray, sigma: FloatArray, centre: FloatArray) -> PeakState:
    """The state to begin with, from a peak that was found before.

    Args:
        sums: (n, 3) momentum sums.
        sigma: (3) standard deviation of the peak.
        centre: (3) its centre.
    """
    return PeakState(
        np.array(centre, np.float64),
        np.array(sigma, np.float64),
        0.5,
        np.asarray(np.nanmedian(sums, axis=0)),
    )


def settle(
    momenta: FloatArray, ions: Sequence[Ion], volume: float, state: PeakState, setup: Setup
) -> PeakState:
    """The state for these momenta: centre, widths and share of the peak, sizes of the momenta.

    Args:
        momenta: (n, ions, 3) a.u.
        ions: the ion of each column.
        volume: of the box of momentum sums in which coincidences were collected, a.u.^3.
        state: that before.
        setup: with which the momenta were computed; tells the resolution.
    """
    sums = momenta.sum(axis=1)
    good = np.isfinite(sums).all(axis=1)
    sums = sums[good]
    middle = np.asarray(np.median(sums, axis=0))
    centre, sigma, share = state.centre + middle - state.middle, state.sigma, state.share
    for _ in range(_ROUNDS):
        weight = _weights(sums, centre, sigma, share, volume)
        total = max(float(weight.sum()), 1e-300)
        moved = weight @ sums / total
        width = np.sqrt(weight @ (sums - moved) ** 2 / total)
        settled = np.abs(moved - centre).max() < 1e-4 * sigma.min()
        centre, sigma = moved, np.maximum(width, 1e-9)
        share = min(total / len(sums), 1.0 - 1e-3)
        if settled:
            break
    weight = np.zeros(len(good))
    weight[good] = _weights(sums, centre, sigma, share, volume)
    inside = weight > 0.5
    resolution = resolution_of(ions, setup, momenta[inside].sum(axis=1))
    found = PeakState(centre, sigma, share, middle, resolution)
    alone = resolution.without_sum(momenta)
    sizes = np.linalg.norm(alone, axis=2)
    for kind, columns in columns_of(ions).items():
        found.size[kind] = _typical(sizes[inside][:, columns])
    found.size[""] = _typical(np.sqrt(_release(alone[inside], ions)))
    return found


def _typical(values: FloatArray) -> tuple[float, float]:
    """Median, and standard deviation of the core."""
    if values.size == 0:
        return 0.0, 1.0
    middle = float(np.median(values))
    return middle, max(1.4826 * float(np.median(np.abs(values - middle))), 1e-9)


def columns_of(ions: Sequence[Ion]) -> dict[str, list[int]]:
    """The columns of each kind of ion."""
    columns: dict[str, list[int]] = {}
    for column, ion in enumerate(ions):
        columns.setdefault(str(ion), []).append(column)
    return columns


def _release(momenta: FloatArray, ions: Sequence[Ion]) -> FloatArray:
    """(n) kinetic energy release in hartree."""
    mass = np.array([ion.mass for ion in ions])
    return np.asarray(((momenta**2).sum(axis=2) / (2.0 * mass)).sum(axis=1))


def _weights(
    sums: FloatArray, centre: FloatArray, sigma: FloatArray, share: float, volume: float
) -> FloatArray:
    """(n) probability that a sum belongs to the peak and not to a uniform background."""
    scaled = (sums - centre) / sigma
    peak = np.exp(-0.5 * (scaled**2).sum(axis=1))
    level = (1.0 - share) / share * (2.0 * np.pi) ** 1.5 * float(np.prod(sigma)) / volume
    return np.asarray(peak / (peak + level))


def means(
    momenta: FloatArray,
    ions: Sequence[Ion],
    state: PeakState,
    *,
    volume: float,
    channel: str = "",
    reach: dict[str, float] | None = None,
    isotropic: bool = False,
    sums_only: bool = False,
) -> Means:
    """The conditions for the momenta of coincidences.

    Args:
        momenta: (n, ions, 3) a.u.; rows with NaN do not count.
        ions: the ion of each column.
        state: peak and sizes from `settle`, which are not changed.
        volume: of the box of momentum sums in which coincidences were collected, a.u.^3.
        channel: its name, for the conditions.
        reach: size of momentum, by ion, up to which all directions reach the detector.
        isotropic: molecules are oriented at random, so that directions are uniform.
        sums_only: centres of the sums and mean momenta alone, for a first guess.
    """
    good: BoolArray = np.asarray(np.isfinite(momenta).all(axis=(1, 2)))
    momenta = np.where(good[:, None, None], momenta, 0.0)
    sums = momenta.sum(axis=1)
    centre = state.centre + np.median(sums[good], axis=0) - state.middle
    weight = np.zeros(len(sums))
    for _ in range(_ROUNDS):
        weight[good] = _weights(sums[good], centre, state.sigma, state.share, volume)
        moved = weight @ sums / max(float(weight.sum()), 1e-300)
        step = np.abs(moved - centre).max()
        centre = moved
        if step < _SETTLED * state.sigma.min():
            break
    apart = (sums - centre) * good[:, None]
    slope = weight[:, None] * (1.0 - (1.0 - weight[:, None]) * (apart / state.sigma) ** 2)
    names = [Condition("sum", "", axis, channel) for axis in AXES]
    values = list(centre)
    parts = [weight * apart[:, axis] / max(float(slope[:, axis].mean()), 1e-3) for axis in range(3)]
    scale = max(float(weight.mean()), 1e-300)

    def add(kind: str, ion: str, along: str, each: FloatArray) -> None:
        """A mean over the peak of what each coincidence gives."""
        value = float((weight * each).mean()) / scale
        names.append(Condition(kind, ion, along, channel))
        values.append(value)
        parts.append(weight * (each - value) / scale)

    if sums_only:
        for kind, columns in columns_of(ions).items():
            for axis in range(3):
                add("mean", kind, AXES[axis], momenta[:, columns, axis].mean(axis=1))
        return Means(tuple(names), np.array(values), np.stack(parts, axis=1), weight)
    units = momenta / np.maximum(np.linalg.norm(momenta, axis=2), 1e-300)[..., None]
    for kind, columns in columns_of(ions).items():
        if state.has_direction(kind):
            unit = units[:, columns].mean(axis=1)
            add("turn", kind, "z", apart[:, 0] * unit[:, 1] - apart[:, 1] * unit[:, 0])
    resolution = state.resolution
    alone = momenta if resolution is None else resolution.without_sum(momenta)
    edges = {} if reach is None else {kind: EDGE * size for kind, size in reach.items()}
    for name, value, each in correlations(alone, ions, state, weight, edges, isotropic=isotropic):
        names.append(Condition(*name, channel))
        values.append(value - state.shifts[name][0] if name in state.shifts else value)
        parts.append(each)
    found = Means(tuple(names), np.array(values), np.stack(parts, axis=1), weight)
    return replace(found, uncertain=_of_shifts(found, state))


def correlations(
    momenta: FloatArray,
    ions: Sequence[Ion],
    state: PeakState,
    weight: FloatArray,
    edges: Mapping[str, float],
    *,
    isotropic: bool = False,
) -> Iterator[tuple[tuple[str, str, str], float, FloatArray]]:
    """Correlations of sizes and release with directions: name, value, part of each coincidence.

    Args:
        momenta: (n, ions, 3) with their sum taken out, a.u.
        ions: the ion of each column.
        state: typical sizes.
        weight: (n) of the coincidences.
        edges: size up to which ions are used, by kind.
        isotropic: also the mean directions.
    """
    kinds = columns_of(ions)
    sizes = np.linalg.norm(momenta, axis=2)
    units = momenta / np.maximum(sizes, 1e-300)[..., None]
    complete = len(ions) > 1
    for kind, columns in kinds.items():
        (middle, width), edge = state.size[kind], edges.get(kind, np.inf)
        complete &= middle + _TAPER * width < edge
        if not state.has_direction(kind) or middle > edge:
            continue  # at rest, or most of these ions are lost in some directions
        score = (sizes[:, columns] - middle) / width
        core = np.exp(-0.5 * (score / _TAPER) ** 2) * weight[:, None]
        if np.isfinite(edge):
            core = core / (1.0 + np.exp((sizes[:, columns] - edge) / (_SOFT_EDGE * edge)))
        for along, way in zip(DIRECTIONS, _functions(units[:, columns]), strict=True):
            yield ("size", kind, along), *_correlation(core, score, way)
            if isotropic:
                total = max(float(core.mean()), 1e-300)
                value = float((core * way).mean()) / total
                each = (core * (way - value)).mean(axis=1) / total
                yield ("direction", kind, along), value, each
    if not complete:
        return
    middle, width = state.size[""]
    score = (np.sqrt(_release(momenta, ions)) - middle) / width
    core = np.exp(-0.5 * (score / _TAPER) ** 2) * weight
    for kind, columns in kinds.items():
        if not state.has_direction(kind):
            continue
        for along, way in zip(DIRECTIONS, _functions(units[:, columns]), strict=True):
            one = way.mean(axis=1, keepdims=True)
            yield ("release", kind, along), *_correlation(core[:, None], score[:, None], one)


def noise_shifts(
    momenta: FloatArray,
    ions: Sequence[Ion],
    state: PeakState,
    weight: FloatArray,
    edges: Mapping[str, float],
    *,
    isotropic: bool = False,
) -> dict[tuple[str, str, str], tuple[float, FloatArray]]:
    """What the errors of the detector change of the correlations, in second order.

    Errors that differ between the axes make sizes seem to depend on the direction. Noise like that
    of the detector is added once more, with both signs, and the change is what the first one made
    (Cook and Stefanski, J. Am. Stat. Assoc. 89, 1314 (1994)).

    Returns:
        by name the change, and (n) the part of each coincidence in it.
    """
    resolution = state.resolution
    if resolution is None:
        return {}
    alone = resolution.without_sum(momenta)
    random = np.random.default_rng(_NOISE_SEED)
    before = list(correlations(alone, ions, state, weight, edges, isotropic=isotropic))
    shifts = {name: (-value, -each) for name, value, each in before}
    share = 1.0 / (2 * _NOISE_PAIRS)
    for _ in range(_NOISE_PAIRS):
        noise = resolution.draw(random, len(momenta))
        for sign in (1.0, -1.0):
            for name, value, each in correlations(
                alone + sign * noise, ions, state, weight, edges, isotropic=isotropic
            ):
                total, parts = shifts[name]
                shifts[name] = (total + share * value, parts + share * each)
    return shifts


def _functions(unit: FloatArray) -> tuple[FloatArray, ...]:
    """The functions of `DIRECTIONS` of unit vectors (..., 3)."""
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    return x, y, z, z * z - 1.0 / 3.0, x * x - y * y


def _correlation(core: FloatArray, score: FloatArray, way: FloatArray) -> tuple[float, FloatArray]:
    """Covariance of score and way under the weights of the core, and the part of each event.

    All (n, like ions); the weights are relative to their mean.
    """
    total = max(float(core.mean()), 1e-300)
    own = score - float((core * score).mean()) / total
    other = way - float((core * way).mean()) / total
    value = float((core * own * other).mean()) / total
    each = (core * (own * other - value)).mean(axis=1) / total
    return value, each


def reaches(
    ions: Sequence[Ion], times: Sequence[float], *, radius: float, offset: float, speed: float
) -> dict[str, float]:
    """Size of momentum of each kind up to which ions of all directions reach the detector.

    Args:
        ions: the ion of each column.
        times: time of flight of each at rest, ns.
        radius: of the detector, mm.
        offset: of the interaction point's image from its centre, mm.
        speed: of the jet, mm/ns.
    """
    found = {}
    for ion, time in zip(ions, times, strict=True):
        room = max(radius - offset - speed * time, 0.0)
        found[str(ion)] = room / time * ion.mass / ATOMIC_VELOCITY_MM_NS
    return found
