"""Kinetic energy release (KER) of the coincidences: peak, width and histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.fields import SPECTRUM_KER
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.base.units import HARTREE_EV

_FINE: Final = 2**16
_BINS: Final = 160
_SHARE: Final = 0.0005
"""Share of the values that may lie beyond either end of the histogram."""
_REACH: Final = 6.0
"""Range of the histogram on either side of the peak, at most, in full widths at half maximum."""
_SUM_STEPS: Final = 1e6
"""Energies are summed in whole millionths of an eV, independent of the order of summing."""
FEWEST: Final = 10
"""With fewer coincidences the width is not determined."""
_MANY: Final = 200
"""Least number of values in the peak for a Gaussian fit of its upper half."""
_DISTRUST: Final = 1.6
"""A fitted width is rejected if it differs by more than this factor from the width at half
maximum read off the histogram."""
_ROUNDS: Final = 8
_HALF_OF_SIGMA: Final = 1.348979500392164
"""Width of the shortest interval that holds half of a normal distribution (and of that with a
quarter), in standard deviations."""
_QUARTER_OF_SIGMA: Final = 0.637278727923
_FWHM: Final = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True)
class KineticEnergyRelease:
    """The kinetic energy release, eV: sum of p^2 / 2m of the ions of a coincidence.

    In the laboratory frame with the mean jet velocity subtracted; the momentum sum is not removed
    (its share of the energy is that of the whole molecule at thermal speed, some meV).

    Attributes:
        mean: mean of all coincidences.
        std: standard deviation of all coincidences.
        peak: position of the maximum, of a Gaussian through the upper half of the peak.
        fwhm: full width at half maximum of that peak; None with fewer than `FEWEST` coincidences
            or where all of them have the same energy.
        mean_error: standard error of the mean; None where false coincidences are not known, whose
            share it would not contain.
    """

    mean: float
    std: float
    peak: float
    fwhm: float | None
    mean_error: float | None = None


@dataclass(frozen=True)
class Energies:
    """Kinetic energy releases of a stretch of a run, counted; small enough to be handed on.

    Attributes:
        bins, counts: the fine bins that are not empty, and the coincidences in them.
        total: sum of the energies in millionths of an eV.
        false_bins, false, squares: likewise of false coincidences: sums of weights and of their
            squares in each bin; empty without.
        sums: (2, 2) numbers and sums of energies in eV, of coincidences and of false ones.
        covariance: (2, 2) of the differences of both.
    """

    bins: IntArray
    counts: IntArray
    total: int
    false_bins: IntArray
    false: FloatArray
    squares: FloatArray
    sums: FloatArray
    covariance: FloatArray

    @classmethod
    def of(
        cls,
        energy_hartree: FloatArray,
        highest: float,
        false_hartree: FloatArray | None = None,
        weight: FloatArray | None = None,
        covariance: FloatArray | None = None,
    ) -> Energies:
        """Count energies.

        Args:
            energy_hartree: (n) kinetic energy release of each coincidence, hartree.
            highest: upper end of the bins in eV; larger values are counted in the last bin.
            false_hartree: (m) of false coincidences.
            weight: (m) how many coincidences each of these stands for.
            covariance: (2, 2) of number and sum of the energies in hartree, false ones taken off.
        """
        energy = energy_hartree * HARTREE_EV
        bins, counts = np.unique(_bins_of(energy, highest), return_counts=True)
        total = int(np.rint(energy * _SUM_STEPS).astype(np.int64).sum())
        if false_hartree is None or weight is None or covariance is None:
            none, zero = np.empty(0), np.zeros((2, 2))
            return cls(bins, counts, total, np.empty(0, np.int64), none, none, zero, zero)
        of_false = false_hartree * HARTREE_EV
        false_bins, place = np.unique(_bins_of(of_false, highest), return_inverse=True)
        weights = np.bincount(place, weights=weight, minlength=len(false_bins)).astype(np.float64)
        squares = np.bincount(place, weights=weight**2, minlength=len(false_bins))
        units = np.array([1.0, HARTREE_EV])
        real = np.array([float(len(energy)), energy_hartree.sum()]) * units
        return cls(
            bins,
            counts,
            total,
            false_bins,
            weights,
            squares.astype(np.float64),
            np.array([real, [weight.sum(), (weight * of_false).sum()]]),
            covariance * np.outer(units, units),
        )


def _bins_of(energy: FloatArray, highest: float) -> IntArray:
    return np.minimum(energy * (_FINE / highest), _FINE - 1).astype(np.int64)


class EnergySpectrum:
    """Counts kinetic energy releases in bins fine enough to be joined later.

    Args:
        highest: upper end of the bins in eV; larger values are counted in the last bin.
    """

    def __init__(self, highest: float) -> None:
        self._highest = highest
        self._fine = np.zeros(_FINE, np.int64)
        self._sum = 0
        self._n = 0
        self._false: FloatArray | None = None
        self._squares: FloatArray | None = None
        self._sums = np.zeros((2, 2))
        self._covariance = np.zeros((2, 2))
        self._scale, self._scale_error = 1.0, 0.0

    @property
    def counts(self) -> tuple[IntArray, int]:
        """The fine bins, and the sum of the energies in millionths of an eV, to be stored."""
        return self._fine, self._sum

    def put_back(self, fine: IntArray, total: int) -> None:
        """Go on from stored `counts`."""
        self._fine[:] = fine
        self._sum, self._n = int(total), int(fine.sum())

    @property
    def highest(self) -> float:
        """Upper end of the bins, eV."""
        return self._highest

    def add(self, counted: Energies, *, mixed: bool) -> None:
        """Add what was counted in a stretch.

        Args:
            counted: in bins up to `highest`.
            mixed: whether false coincidences are known there, to be taken off.
        """
        self._fine[counted.bins] += counted.counts
        self._sum += counted.total
        self._n += int(counted.counts.sum())
        if not mixed:
            return
        if self._false is None or self._squares is None:
            self._false, self._squares = np.zeros(_FINE), np.zeros(_FINE)
        self._false[counted.false_bins] += counted.false
        self._squares[counted.false_bins] += counted.squares
        self._sums += counted.sums
        self._covariance += counted.covariance

    def normalise(self, scale: float, error: float) -> None:
        """Factor on all false coincidences, and its standard error."""
        self._scale, self._scale_error = scale, error

    def fill(self, energy_hartree: FloatArray) -> None:
        """Count the kinetic energy releases (n) of coincidences, in hartree."""
        self.add(Energies.of(energy_hartree, self._highest), mixed=False)

    def spectra(self) -> dict[str, Spectrum]:
        """The histogram by its name."""
        return {SPECTRUM_KER: self.spectrum()}

    def spectrum(self) -> Spectrum:
        """The histogram around the peak; values beyond its ends are counted in `outside`."""
        release = self.release()
        cumulative = np.cumsum(self._fine) / max(1, self._n)
        first = int(np.searchsorted(cumulative, _SHARE, side="right"))
        last = int(np.searchsorted(cumulative, 1.0 - _SHARE)) + 1
        scale = _FINE / self._highest
        if release.fwhm is not None:
            first = max(first, int((release.peak - _REACH * release.fwhm) * scale))
            last = min(last, int((release.peak + _REACH * release.fwhm) * scale) + 1)
        margin = max(1, (last - first) // 10)
        first = 0 if first < last / 2 else first - margin
        join = max(1, -(-(last + margin - first) // _BINS))
        bins = min(_BINS, (_FINE - first) // join)
        inside = slice(first, first + bins * join)
        counts = self._fine[inside].reshape(bins, join).sum(axis=1)
        errors = None
        if self._false is not None and self._squares is not None:
            taken = self._scale * self._false[inside].reshape(bins, join).sum(axis=1)
            squares = self._squares[inside].reshape(bins, join).sum(axis=1)
            relative = self._scale_error / self._scale
            errors = np.sqrt(counts + self._scale**2 * squares + (relative * taken) ** 2)
            counts = counts - taken
        edges = np.linspace(first / scale, (first + bins * join) / scale, bins + 1)
        marks = {"peak": release.peak, "mean": release.mean}
        if release.fwhm is not None:
            marks["fwhm"] = release.fwhm
        outside = self._n - int(self._fine[inside].sum())
        label = ("kinetic energy release",)
        return Spectrum(counts, (edges,), label, ("eV",), marks, outside=outside, errors=errors)

    def release(self) -> KineticEnergyRelease:
        """Mean, peak and widths, of the true coincidences if false ones are known."""
        if self._false is not None and self._scale * self._sums[1, 0] < 0.98 * self._sums[0, 0]:
            return self._of_true(self._false)
        n = max(1, self._n)
        mean = self._sum / _SUM_STEPS / n
        step = self._highest / _FINE
        centres = (np.arange(_FINE) + 0.5) * step
        std = float(np.sqrt((self._fine * (centres - mean) ** 2).sum() / n))
        peak, fwhm = peak_and_width(self._fine)
        return KineticEnergyRelease(mean, std, peak * step, None if fwhm is None else fwhm * step)

    def _of_true(self, false: FloatArray) -> KineticEnergyRelease:
        (found, energies), (expected, of_false) = self._sums
        number = found - self._scale * expected
        mean = (energies - self._scale * of_false) / number
        off = np.array([-mean, 1.0])
        variance = float(off @ self._covariance @ off)
        variance += (self._scale_error * (of_false - mean * expected)) ** 2
        step = self._highest / _FINE
        centres = (np.arange(_FINE) + 0.5) * step
        true = self._fine - self._scale * false
        std = float(np.sqrt(max(float(true @ (centres - mean) ** 2) / number, 0.0)))
        # The nearest histogram without negative bins: its cumulative number only rises.
        running = np.clip(np.cumsum(true), 0.0, number)
        rising = 0.5 * (np.maximum.accumulate(running) + np.minimum.accumulate(running[::-1])[::-1])
        whole: IntArray = np.diff(np.rint(rising), prepend=0.0).astype(np.int64)
        peak, fwhm = peak_and_width(whole)
        return KineticEnergyRelease(
            float(mean),
            std,
            peak * step,
            None if fwhm is None else fwhm * step,
            float(np.sqrt(max(variance, 0.0)) / number),
        )


def peak_and_width(counts: IntArray) -> tuple[float, float | None]:
    """Maximum and full width at half maximum of the peak in a finely binned histogram.

    The shortest intervals that hold a half and a quarter of all values give a first width, which
    outliers do not change. A Gaussian is fitted to the counts above half of the maximum, in bins
    of the width given by Scott's rule (Biometrika 66, 605 (1979)) for the values in the peak; the
    bin width is updated with the fitted width until it converges. With fewer than `_MANY` values in
    the peak the width follows from the median distance to the middle instead.

    Args:
        counts: (bins) of equal width.

    Returns:
        Position and width in bins, from the left edge of the first; the width is None with fewer
        than `FEWEST` values, or where all lie in one bin.
    """
    total = int(counts.sum())
    if total == 0:
        return 0.0, None
    peak, sigma = _first_guess(counts)
    if total < FEWEST or sigma == 0.0:
        return peak, None
    sigma = max(sigma, 0.5)
    width = _FWHM * sigma
    for _ in range(_ROUNDS):
        near = int(counts[max(0, int(peak - 3 * sigma)) : int(peak + 3 * sigma) + 1].sum())
        if near < _MANY:
            return _few(counts, peak, sigma)
        join = max(1, round(3.5 * sigma * near ** (-1 / 3)))
        peak, fwhm = _top(counts, join, peak, 3.0 * sigma)
        settled = abs(fwhm - width) < 0.02 * width
        width, sigma = fwhm, max(fwhm / _FWHM, 0.5)
        if settled:
            break
    return peak, width


def _first_guess(counts: IntArray) -> tuple[float, float]:
    """Middle and standard deviation of the peak, from the shortest half and the shortest quarter.

    If the half is longer than expected for a normal distribution with this quarter, more than a
    few values lie outside the peak, and the quarter is used.
    """
    low, high = _shortest(counts, 0.5)
    first, last = _shortest(counts, 0.25)
    half, quarter = (high - low) / _HALF_OF_SIGMA, (last - first) / _QUARTER_OF_SIGMA
    if half > _DISTRUST * max(quarter, 0.5) and last > first:
        return 0.5 * (first + last) + 0.5, quarter
    return 0.5 * (low + high) + 0.5, half


def _few(counts: IntArray, middle: float, sigma: float) -> tuple[float, float]:
    """Middle of the peak, and the width from the median distance of its values to it."""
    filled = np.flatnonzero(counts)
    away = np.repeat(np.abs(filled + 0.5 - middle), counts[filled])
    near = away[away <= 4.0 * sigma]
    half = 2.0 * float(np.median(near)) if len(near) else 0.0
    return middle, float(_FWHM / _HALF_OF_SIGMA * max(half, 1.0))


def _shortest(counts: IntArray, share: float) -> tuple[int, int]:
    """First and last bin of the shortest interval that holds this share of the values."""
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    wanted = max(1, int(np.ceil(share * cumulative[-1])))
    first = np.flatnonzero(counts)
    last = np.searchsorted(cumulative, cumulative[first] + wanted) - 1
    possible = last < len(counts)
    first, last = first[possible], last[possible]
    ties = np.flatnonzero(last - first == (last - first).min())
    middle = int(ties[len(ties) // 2])
    return int(first[middle]), int(last[middle])


def _top(fine: IntArray, join: int, centre: float, reach: float) -> tuple[float, float]:
    """Maximum and full width of a Gaussian through the counts above half, near `centre`."""
    start = int(centre) % join
    bins = (len(fine) - start) // join
    counts = fine[start : start + bins * join].reshape(bins, join).sum(axis=1).astype(np.float64)
    smooth = np.convolve(counts, np.ones(3) / 3.0, mode="same")
    first = max(0, int((centre - reach - start) / join))
    last = min(bins, int((centre + reach - start) / join) + 2)
    top = first + int(np.argmax(smooth[first:last]))
    half = 0.5 * smooth[top]
    low = high = top
    while low > 0 and counts[low - 1] >= half:
        low -= 1
    while high < bins - 1 and counts[high + 1] >= half:
        high += 1
    middle = (np.arange(low, high + 1) - top).astype(np.float64)
    inside = counts[low : high + 1]
    used = inside > 0
    crossing = _crossing(counts, low, -1, half) + _crossing(counts, high, 1, half) + high - low
    position = start + join * (top + 0.5)
    if used.sum() < 3:
        return position, join * crossing
    bend, slope, _ = np.polyfit(middle[used], np.log(inside[used]), 2, w=np.sqrt(inside[used]))
    if bend >= 0.0:
        return position, join * crossing
    width = float(_FWHM * np.sqrt(-0.5 / bend))
    if not crossing / _DISTRUST < width < crossing * _DISTRUST:
        return position, join * crossing
    shift = float(np.clip(-slope / (2.0 * bend), middle[0], middle[-1]))
    return position + join * shift, join * width


def _crossing(counts: FloatArray, at: int, step: int, half: float) -> float:
    """Distance in bins from bin `at` to where the counts fall below `half`; at least 0.5."""
    beyond = counts[at + step] if 0 <= at + step < len(counts) else 0.0
    drop = counts[at] - beyond
    return float(np.clip((counts[at] - half) / drop, 0.5, 1.0)) if drop > 0 else 0.5
