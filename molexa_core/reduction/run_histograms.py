"""Histograms filled during the reduction: time of flight, detector image, PIPICO, sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.base.fields import (
    SPECTRUM_IMAGE,
    SPECTRUM_PIPICO,
    SPECTRUM_SUM,
    SPECTRUM_TOF,
)
from molexa_core.base.matter.elements import element
from molexa_core.base.matter.flight import flight_time
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.reduction.coincidences import SumGate, Tally

_TOF_BINS: Final = 4000
_IMAGE_BINS: Final = 240
_PIPICO_BINS: Final = 400


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
        channel: its molecule sets the end of the time axis: the intact molecular ion, at least Ar+.
        setup: spectrometer and detector.
        windows: time-of-flight windows of the ions in ns; the coincidence map ends 5 % beyond the
            last.
    """

    def __init__(
        self, channel: Channel, setup: Setup, windows: Mapping[str, tuple[float, float]]
    ) -> None:
        mass = max(sum(ion.mass for ion in channel.all_ions), element("Ar").isotope_mass)
        slowest = float(flight_time(0.0, 1.0, mass, setup.spectrometer))
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

    @property
    def counts(self) -> dict[str, IntArray]:
        """The counts as they are, to be stored and put back by writing into them."""
        return {"tof": self._tof, "image": self._image, "pairs": self._pairs}

    def add(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add the `counts` of other shots."""
        self._tof += arrays["tof"]
        self._image += arrays["image"]
        self._pairs += arrays["pairs"]

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


def sum_spectra(tally: Tally, half_range: float, gate: SumGate | None) -> dict[str, Spectrum]:
    """Histograms of the momentum sum on each axis; the gate is marked.

    Of the combinations that lie in the gate on the other two axes, as far as the search looks
    beside the gate; of all combinations where there is no gate.
    """
    spectra = {}
    for axis, name in enumerate(SPECTRUM_SUM):
        marks, middle, reach = {}, 0.0, half_range
        label = f"momentum sum along {'xyz'[axis]}"
        if gate is not None:
            middle, half = float(gate.centre[axis]), float(gate.half_width[axis])
            reach = float(gate.reach[axis])
            marks = {"gate low": middle - half, "gate high": middle + half, "centre": middle}
            if gate.sigma is not None:
                marks["sigma"] = float(gate.sigma[axis])
        edges = np.linspace(middle - reach, middle + reach, tally.sums.shape[1] + 1)
        spectra[name] = Spectrum(tally.sums[axis].copy(), (edges,), (label,), ("a.u.",), marks)
    return spectra
