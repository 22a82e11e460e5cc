"""The histograms that `reduce` fills on its way, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.elements import element
from molexa_core.base.fields import (
    SPECTRUM_IMAGE,
    SPECTRUM_KER,
    SPECTRUM_PIPICO,
    SPECTRUM_SUM,
    SPECTRUM_TOF,
)
from molexa_core.base.flight import flight_time
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.spectra import Spectrum
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.reduction.coincidences import SumGate, Tally
from molexa_core.reduction.compiled import compiled

_TOF_BINS: Final = 4000
_IMAGE_BINS: Final = 240
_PIPICO_BINS: Final = 400
_KER_FINE: Final = 2**16
_KER_BINS: Final = 160
_KER_SHARE: Final = 0.9995
_SUM_STEPS: Final = 1e6
"""Energies are summed in whole millionths of an eV, so that no order of summing shows."""


@compiled
def _fill(
    offsets: IntArray,
    x: FloatArray,
    y: FloatArray,
    t: FloatArray,
    radius: float,
    longest: float,
    pair_longest: float,
    tof: IntArray,
    image: IntArray,
    pairs: IntArray,
) -> None:
    tof_scale = len(tof) / longest
    image_scale = len(image) / (2.0 * radius)
    pair_scale = len(pairs) / pair_longest
    for shot in range(len(offsets) - 1):
        for hit in range(offsets[shot], offsets[shot + 1]):
            if t[hit] < longest:
                tof[int(t[hit] * tof_scale)] += 1
            column, row = (x[hit] + radius) * image_scale, (y[hit] + radius) * image_scale
            if 0.0 <= column < len(image) and 0.0 <= row < len(image):
                image[int(column), int(row)] += 1
            for other in range(offsets[shot], hit):
                first, last = min(t[hit], t[other]), max(t[hit], t[other])
                if last < pair_longest:
                    pairs[int(first * pair_scale), int(last * pair_scale)] += 1


class HitSpectra:
    """Time-of-flight spectrum, detector image and coincidence map (PIPICO) of all hits.

    Args:
        channel: the time axis reaches to the intact molecule, or to argon if that is lighter.
        setup: spectrometer and detector.
        windows: time-of-flight windows of the ions in ns; the coincidence map reaches a bit beyond
            the last.
    """

    def __init__(
        self, channel: Channel, setup: Setup, windows: Mapping[str, tuple[float, float]]
    ) -> None:
        mass = max(sum(ion.mass for ion in channel.all_ions), element("Ar").isotope_mass)
        slowest = float(flight_time(0.0, 1.0, mass, setup.spectrometer.regions))
        self._windows = dict(windows)
        self._pair_longest = 1.05 * max(last for _, last in windows.values())
        self._longest = max(1.1 * slowest, self._pair_longest)
        self._radius = setup.detector.radius_mm
        self._tof = np.zeros(_TOF_BINS, np.int64)
        self._image = np.zeros((_IMAGE_BINS, _IMAGE_BINS), np.int64)
        self._pairs = np.zeros((_PIPICO_BINS, _PIPICO_BINS), np.int64)

    def fill(self, hits: Hits) -> None:
        """Count calibrated hits."""
        _fill(
            np.ascontiguousarray(hits.offsets, np.int64),
            np.ascontiguousarray(hits.x_mm, np.float64),
            np.ascontiguousarray(hits.y_mm, np.float64),
            np.ascontiguousarray(hits.t_ns, np.float64),
            self._radius,
            self._longest,
            self._pair_longest,
            self._tof,
            self._image,
            self._pairs,
        )

    def spectra(self) -> dict[str, Spectrum]:
        """The histograms by name."""
        marks: dict[str, float] = {}
        for name, (first, last) in self._windows.items():
            marks |= {f"{name} first": first, f"{name} last": last}
        place = np.linspace(-self._radius, self._radius, _IMAGE_BINS + 1)
        pair = np.linspace(0.0, self._pair_longest, _PIPICO_BINS + 1)
        return {
            SPECTRUM_TOF: Spectrum(
                self._tof,
                (np.linspace(0.0, self._longest, _TOF_BINS + 1),),
                ("time of flight",),
                ("ns",),
                marks,
            ),
            SPECTRUM_IMAGE: Spectrum(self._image, (place, place), ("x", "y"), ("mm", "mm")),
            SPECTRUM_PIPICO: Spectrum(
                self._pairs,
                (pair, pair),
                ("time of flight of the first ion", "time of flight of the second ion"),
                ("ns", "ns"),
                marks,
            ),
        }


@dataclass(frozen=True)
class KineticEnergyRelease:
    """The kinetic energy release, eV: sum of p^2 / 2m of the ions of a coincidence.

    In the laboratory frame with the mean jet velocity subtracted; the momentum sum is not removed
    (its share of the energy is that of the whole molecule at thermal speed, some meV).

    Attributes:
        mean: mean of all coincidences.
        std: standard deviation of all coincidences.
        peak: position of the maximum, of a Gaussian through the upper half of the peak.
        fwhm: full width at half maximum of that Gaussian.
    """

    mean: float
    std: float
    peak: float
    fwhm: float


class EnergySpectrum:
    """Counts kinetic energy releases in bins fine enough to be joined later.

    Args:
        highest: largest value in eV that can occur.
    """

    def __init__(self, highest: float) -> None:
        self._highest = highest
        self._fine = np.zeros(_KER_FINE, np.int64)
        self._sum = 0
        self._n = 0

    def fill(self, energy_hartree: FloatArray) -> None:
        """Count the kinetic energy releases (n) of coincidences, in hartree."""
        energy = energy_hartree * HARTREE_EV
        place = np.minimum(energy * (_KER_FINE / self._highest), _KER_FINE - 1).astype(np.int64)
        self._fine += np.bincount(place, minlength=_KER_FINE)
        self._sum += int(np.rint(energy * _SUM_STEPS).astype(np.int64).sum())
        self._n += len(energy)

    def spectrum(self) -> Spectrum:
        """The histogram, over the range that holds nearly all values."""
        reached = np.cumsum(self._fine) / max(1, self._fine.sum())
        last = int(np.searchsorted(reached, _KER_SHARE)) + 1
        join = max(1, int(np.ceil(1.1 * last / _KER_BINS)))
        bins = min(_KER_BINS, _KER_FINE // join)
        counts = self._fine[: bins * join].reshape(bins, join).sum(axis=1)
        edges = np.linspace(0.0, bins * join * self._highest / _KER_FINE, bins + 1)
        release = self.release()
        marks = {"peak": release.peak, "fwhm": release.fwhm, "mean": release.mean}
        return Spectrum(counts, (edges,), ("kinetic energy release",), ("eV",), marks)

    def release(self) -> KineticEnergyRelease:
        """Mean, peak and widths."""
        n = max(1, self._n)
        mean = self._sum / _SUM_STEPS / n
        centres = (np.arange(_KER_FINE) + 0.5) * (self._highest / _KER_FINE)
        std = float(np.sqrt((self._fine * (centres - mean) ** 2).sum() / n))
        peak, fwhm = self._peak(std)
        return KineticEnergyRelease(mean, std, peak, fwhm)

    def _peak(self, std: float) -> tuple[float, float]:
        """Maximum and width from a parabola through the logarithm of the counts above half.

        The bins are as wide as Scott's rule says (Biometrika 66, 605 (1979)), which suits the
        number of coincidences; the parabola is weighted by the counts.
        """
        fine = self._highest / _KER_FINE
        join = max(1, round(3.5 * std * max(1, self._n) ** (-1 / 3) / fine))
        bins = _KER_FINE // join
        counts = self._fine[: bins * join].reshape(bins, join).sum(axis=1).astype(np.float64)
        centres = (np.arange(bins) + 0.5) * join * fine
        top = int(np.argmax(np.convolve(counts, np.ones(3), mode="same")))
        half = 0.5 * counts[max(0, top - 1) : top + 2].mean()
        low = high = top
        while low > 0 and counts[low - 1] >= half:
            low -= 1
        while high < bins - 1 and counts[high + 1] >= half:
            high += 1
        chosen = slice(low, high + 1)
        if high - low < 2 or std == 0.0:
            return float(centres[top]), 2.0 * np.sqrt(2.0 * np.log(2.0)) * std
        place = (centres[chosen] - centres[top]) / std
        fit = np.polynomial.Polynomial.fit(
            place, np.log(counts[chosen]), 2, w=np.sqrt(counts[chosen]), domain=[]
        ).convert()
        slope, bend = float(fit.coef[1]), float(fit.coef[2])
        if bend >= 0.0:
            return float(centres[top]), 2.0 * np.sqrt(2.0 * np.log(2.0)) * std
        shift = float(np.clip(-slope / (2.0 * bend), place[0], place[-1]))
        width = 2.0 * np.sqrt(2.0 * np.log(2.0)) * np.sqrt(-0.5 / bend) * std
        return float(centres[top] + shift * std), float(width)


def sum_spectra(tally: Tally, half_range: float, gate: SumGate | None) -> dict[str, Spectrum]:
    """Momentum sums of all combinations before the gate, by name, with the gate in the marks."""
    edges = np.linspace(-half_range, half_range, tally.sums.shape[1] + 1)
    spectra = {}
    for axis, name in enumerate(SPECTRUM_SUM):
        marks = {}
        if gate is not None:
            centre, half = float(gate.centre[axis]), float(gate.half_width[axis])
            marks = {"gate low": centre - half, "gate high": centre + half, "centre": centre}
            if gate.sigma is not None:
                marks["sigma"] = float(gate.sigma[axis])
        label = f"momentum sum along {'xyz'[axis]}"
        spectra[name] = Spectrum(tally.sums[axis].copy(), (edges,), (label,), ("a.u.",), marks)
    return spectra


def ker_spectrum(spectrum: EnergySpectrum) -> dict[str, Spectrum]:
    """The kinetic energy release by name."""
    return {SPECTRUM_KER: spectrum.spectrum()}
