"""The momentum-sum gate from the data, and the purity of what it lets through.

Ions of one molecule have a momentum sum near zero, spread by the jet, the size of the interaction
point and the resolution. Combinations with ions of other molecules, residual gas or dark counts
have sums spread about as widely as single momenta. The peak is looked for in three dimensions,
where it stands out even when most combinations are false.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.ndimage import uniform_filter

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.coincidences import FAR, SumGate
from molexa_core.reduction.peak import Peak, fit_peak

FEWEST_SUMS: Final = 30
_CELLS: Final = 32
_ROUNDS: Final = 12
_WINDOW_SIGMAS: Final = 10.0
_OTHERS_SIGMAS: Final = 3.0
_GAIN: Final = 30.0
_HOPELESS: Final = 10.0
_FEWEST_SIGNAL: Final = 15.0
_STARTS: Final = (1 / 200, 1 / 64, 1 / 16)
"""First guesses of the standard deviation, in half ranges."""
_WIDEST: Final = 0.5
"""Largest standard deviation, in that of false combinations."""
_MOST_RISE: Final = 5.0
"""Largest ratio of near to far counts that is believed."""
_ADVICE: Final = (
    "Check channel, calibration and jet velocity, or give the half widths with --gate-sum."
)


@dataclass(frozen=True)
class Purity:
    """How many of the coincidences are thought to be true.

    Attributes:
        false: expected number of false coincidences among those found.
        false_error: its standard error, from the counts beside the peak.
        purity: 1 - false / found.
        purity_error: standard error of the purity, with the fluctuation of the false ones that
            lie in the gate.
    """

    false: float
    false_error: float
    purity: float
    purity_error: float


def find_peak(sums: FloatArray, half_range: float) -> tuple[Peak, Peak, Peak]:
    """The peak of the momentum sums on each axis.

    Starts at the cell of a coarse grid that stands out most from its surroundings, and fits each
    axis in turn with the other two gated on the peak until nothing changes; first as a narrow
    peak, then as wider ones. A peak counts only if the momenta of its ions cancel: false
    combinations make a hump too, whose variance is the sum of the squared momenta.

    Args:
        sums: (n, 6) momentum sums of combinations and sums of their squared momenta on each axis,
            a.u., as `Search.collect_sums` gives them.
        half_range: they were collected from -range to +range on each axis.

    Raises:
        ComputationError: too few sums, or no peak.
    """
    if len(sums) < FEWEST_SUMS:
        raise ComputationError(
            f"only {len(sums)} combinations of ions, too few to find the momentum-sum gate",
            do=f"At least {FEWEST_SUMS} are needed; give the half widths with --gate-sum.",
        )
    uncancelled = np.sqrt(sums[:, 3:].mean(axis=0))
    middle = _densest(sums[:, :3], half_range)
    for start in _STARTS:
        peaks = _iterate(sums[:, :3], middle, np.full(3, half_range * start), half_range)
        clear = all(peak.gain > _GAIN and peak.signal > _FEWEST_SIGNAL for peak in peaks)
        widths = np.array([peak.sigma for peak in peaks])
        if clear and np.all(widths < _WIDEST * uncancelled):
            return peaks
    raise ComputationError(
        f"no peak in the momentum sums of {len(sums)} combinations of ions", do=_ADVICE
    )


def _iterate(
    sums: FloatArray, centre: FloatArray, sigma: FloatArray, half_range: float
) -> tuple[Peak, Peak, Peak]:
    for turn in range(_ROUNDS):
        x, y, z = (_fit_axis(sums, axis, centre, sigma, half_range) for axis in range(3))
        moved = np.array([x.centre, y.centre, z.centre]) - centre
        grown = np.array([x.sigma, y.sigma, z.sigma]) - sigma
        centre, sigma = centre + moved, sigma + grown
        if np.all(np.abs(grown) < 0.01 * sigma) and np.all(np.abs(moved) < 0.05 * sigma):
            break
        if turn >= 2 and min(x.gain, y.gain, z.gain) < _HOPELESS:
            break
    return x, y, z


def _fit_axis(
    sums: FloatArray, axis: int, centre: FloatArray, sigma: FloatArray, half_range: float
) -> Peak:
    inside = np.ones(len(sums), np.bool_)
    for other in range(3):
        if other != axis:
            inside &= np.abs(sums[:, other] - centre[other]) <= _OTHERS_SIGMAS * sigma[other]
    low = max(-half_range, centre[axis] - _WINDOW_SIGMAS * sigma[axis])
    high = min(half_range, centre[axis] + _WINDOW_SIGMAS * sigma[axis])
    return fit_peak(sums[inside, axis], low, high, centre[axis], sigma[axis])


def _densest(sums: FloatArray, half_range: float) -> FloatArray:
    """Where sums crowd most, compared with the surroundings."""
    edges = [np.linspace(-half_range, half_range, _CELLS + 1)] * 3
    cells = np.histogramdd(sums, bins=edges)[0]
    near = uniform_filter(cells, 3, mode="constant") * 3**3
    around = uniform_filter(cells, 11, mode="constant") * 3**3
    excess = (near - around) / np.sqrt(around + 1.0)
    best = np.unravel_index(int(np.argmax(excess)), excess.shape)
    middle = np.array(
        [edges[axis][place] + edges[axis][place + 1] for axis, place in enumerate(best)]
    )
    centre = 0.5 * middle
    close = np.all(np.abs(sums - centre) <= 3.0 * half_range / _CELLS, axis=1)
    median: FloatArray = np.median(sums[close], axis=0) if close.any() else centre
    return median


def gate_around(
    peaks: tuple[Peak, Peak, Peak] | None,
    *,
    sigmas: float,
    centre: tuple[float, float, float] | None,
    half_width: tuple[float, float, float] | None,
) -> SumGate:
    """The gate from what is given, completed by the peaks.

    Args:
        peaks: of the three axes, None where they are not known.
        sigmas: half width in standard deviations where it is not given.
        centre: given centre.
        half_width: given half widths.

    Raises:
        ComputationError: neither half widths nor peaks are known.
    """
    sigma = None if peaks is None else np.array([peak.sigma for peak in peaks])
    if half_width is None and sigma is None:
        raise ComputationError("the width of the momentum-sum peak is not known", do=_ADVICE)
    if centre is not None:
        middle = np.array(centre, np.float64)
    else:
        middle = np.zeros(3) if peaks is None else np.array([peak.centre for peak in peaks])
    half = (
        np.array(half_width, np.float64) if half_width is not None else np.asarray(sigma) * sigmas
    )
    return SumGate(centre=middle, half_width=half, sigma=sigma)


def purity(counts: IntArray) -> Purity:
    """The purity from the coincidences in the gate and in boxes of the same size beside it.

    A combination in a displaced box counts if it would have been accepted, had its sum fallen into
    the gate with the same distance from its centre: it competes with the coincidences that were.
    The false ones in the gate follow from the near boxes, and their fall towards the far boxes,
    taken as Gaussian in the distance: with means n1 at distance d and n2 at r d, the value at the
    centre is n1 (n1 / n2)^(1 / (r^2 - 1)). Boxes on opposite sides cancel a slope.

    Args:
        counts: (boxes) coincidences in the gate, then in each displaced box.
    """
    found = int(counts[0])
    near, far = (float(counts[part].sum()) for part in (slice(1, 7), slice(7, 13)))
    power = 1.0 / (FAR**2 - 1.0)
    rise = float(np.clip((near + 0.5) / (far + 0.5), 1.0, _MOST_RISE)) ** power
    false = near / 6.0 * rise
    relative2 = (1.0 + power) ** 2 / (near + 1.0) + power**2 / (far + 1.0)
    false_error = (near + 1.0) / 6.0 * rise * float(np.sqrt(relative2))
    if found == 0:
        return Purity(false, false_error, 0.0, 1.0)
    spread = float(np.sqrt(false_error**2 + false))
    return Purity(false, false_error, max(0.0, 1.0 - false / found), min(1.0, spread / found))
