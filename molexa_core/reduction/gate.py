"""The sum gate: the gate on the momentum sum of a coincidence, found from the data.

The ions of one molecule have a momentum sum near zero, broadened by the jet, the size of the
interaction point and the resolution. False combinations, which contain ions of other molecules,
residual gas or dark counts, have momentum sums about as broad as single momenta. The peak is
searched in three dimensions, where it stands out even if most combinations are false.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.ndimage import uniform_filter

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray
from molexa_core.reduction.coincidences import SumGate
from molexa_core.reduction.peak import Peak, fit_peak

FEWEST_SUMS: Final = 30
_CELLS: Final = 32
_ROUNDS: Final = 12
_WINDOW_SIGMAS: Final = 10.0
_OTHERS_SIGMAS: Final = 3.0
_GAIN: Final = 30.0
_HOPELESS: Final = 10.0
_LOOK: Final = 2
"""The iteration in which a search without a clear peak is given up."""
_FEWEST_SIGNAL: Final = 15.0
_STARTS: Final = (1 / 64, 1 / 200, 1 / 16)
"""First guesses of the standard deviation, in half ranges."""
_WIDEST: Final = 0.5
"""Largest standard deviation of a peak, in units of that of false combinations."""
_ADVICE: Final = (
    "Check that the channel names all ions of the break-up, the calibration and the jet velocity, "
    "or give the half widths with `gate_sum=`."
)


def find_peak(sums: FloatArray, half_range: float) -> tuple[Peak, Peak, Peak]:
    """The peak of the momentum sums on each axis.

    Starts at the cell of a coarse grid that stands out most from its surroundings, and fits each
    axis in turn, with gates on the other two axes, until the peak no longer changes; this is
    repeated for several first guesses of the width. A peak is accepted only if it is narrower
    than the momenta: false combinations also form a broad peak, whose variance is the sum of the
    squared momenta.

    Args:
        sums: (n, 6) momentum sums of combinations and sums of their squared momenta on each axis,
            a.u., as `Search.collect_sums` gives them.
        half_range: sums were collected from -range to +range on each axis.

    Raises:
        ComputationError: too few sums, or no peak.
    """
    if len(sums) < FEWEST_SUMS:
        raise ComputationError(
            f"only {len(sums)} combinations of ions, too few to find the momentum-sum gate",
            do=f"At least {FEWEST_SUMS} are needed; give the half widths with `gate_sum=`.",
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
        look = turn == _LOOK
        x, y, z = _fit_axes(sums, centre, sigma, half_range, with_gain=look)
        moved = np.array([x.centre, y.centre, z.centre]) - centre
        grown = np.array([x.sigma, y.sigma, z.sigma]) - sigma
        centre, sigma = centre + moved, sigma + grown
        if look and min(x.gain, y.gain, z.gain) < _HOPELESS:
            return x, y, z
        if np.all(np.abs(grown) < 0.01 * sigma) and np.all(np.abs(moved) < 0.05 * sigma):
            break
    return _fit_axes(sums, centre, sigma, half_range, with_gain=True)


def _fit_axes(
    sums: FloatArray, centre: FloatArray, sigma: FloatArray, half_range: float, *, with_gain: bool
) -> tuple[Peak, Peak, Peak]:
    """Fit each axis with the other two gated on the peak."""
    inside = np.abs(sums - centre) <= _OTHERS_SIGMAS * sigma
    peaks = []
    for axis in range(3):
        others = inside[:, (axis + 1) % 3] & inside[:, (axis + 2) % 3]
        low = max(-half_range, centre[axis] - _WINDOW_SIGMAS * sigma[axis])
        high = min(half_range, centre[axis] + _WINDOW_SIGMAS * sigma[axis])
        values = sums[others, axis]
        peaks.append(fit_peak(values, low, high, centre[axis], sigma[axis], with_gain=with_gain))
    return peaks[0], peaks[1], peaks[2]


def _densest(sums: FloatArray, half_range: float) -> FloatArray:
    """(3) the momentum sum with the highest density compared with its surroundings."""
    edges = [np.linspace(-half_range, half_range, _CELLS + 1)] * 3
    cells = np.histogramdd(sums, bins=edges)[0]
    near = uniform_filter(cells, 3, mode="reflect") * 3**3
    around = uniform_filter(cells, 11, mode="reflect") * 3**3
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
    spread: FloatArray | None = None,
) -> SumGate:
    """The gate from given centre and half widths; what is not given follows from the peaks.

    Args:
        peaks: fitted peaks along the three axes, None where they are not known.
        sigmas: half width in standard deviations of the peak, used where it is not given.
        centre: (3) given centre, a.u.
        half_width: (3) given half widths, a.u.
        spread: (3) standard deviation of the momentum sums of unrelated ions, a.u.

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
    return SumGate(centre=middle, half_width=half, sigma=sigma, spread=spread)
