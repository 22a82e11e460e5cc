"""Calibration of the time sums: value, width, and dependence on the position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError
from molexa_core.base.settings.anode import LAYERS
from molexa_core.base.tables import FloatArray, IntArray

BIN_NS: Final = 0.5
"""Width of the bins in the search for the time sums."""
LOW_NS, HIGH_NS = -100.0, 700.0
"""Range of the search for the time sums."""
KNOTS: Final = 49
"""Points of a correction table across a layer, as many as other programs use."""
FEWEST: Final = 25
"""Least number of hits for a point of a table."""
_CONTRAST: Final = 8.0
_TRIM_SIGMAS: Final = 4.0
ROBUST: Final = 1.4826
"""Ratio of the standard deviation of a Gaussian to its median absolute deviation."""


def peak_of(counts: IntArray, layer: int) -> float:
    """The time sum of a layer in ns: the peak in the histogram of all combinations of edges.

    Args:
        counts: (bins) from `LOW_NS` in steps of `BIN_NS`.
        layer: 0 for u, 1 for v, 2 for w; for the message.

    Raises:
        ComputationError: no peak stands out of the accidental combinations.
    """
    name = LAYERS[layer]
    smooth = np.convolve(counts, np.ones(5), mode="same")
    k = int(np.argmax(smooth))
    away = np.abs(np.arange(len(counts)) - k) > round(10.0 / BIN_NS)
    near = away & (np.abs(np.arange(len(counts)) - k) < round(60.0 / BIN_NS))
    level = float(smooth[near].mean())
    if smooth[k] < level + _CONTRAST * np.sqrt(level + 1.0) or smooth[k] < 2.0 * level + 30:
        raise ComputationError(
            f"layer {name}: no peak in the time sums {name}1 + {name}2 - 2 mcp (highest: "
            f"{smooth[k]:.0f} combinations near {_centre(k):.0f} ns over {level:.0f} beside it)",
            where="anode -> channels",
            do=f"Check the channels of {name}1, {name}2 and mcp, and that the run has signals on "
            "all of them (molexa inspect).",
        )
    return _centre(k)


def _centre(k: int) -> float:
    return LOW_NS + (k + 0.5) * BIN_NS


@dataclass(frozen=True)
class SumTable:
    """Time sum of a layer as a function of position.

    Attributes:
        place: (points) uncorrected position in mm, scale * (t1 - t2).
        value: (points) time sum in ns.
        error: (points) its standard error.
        centre, centre_error: the time sum in the middle of the layer.
        sigma, sigma_error: standard deviation about the table.
    """

    place: FloatArray
    value: FloatArray
    error: FloatArray
    centre: float
    centre_error: float
    sigma: float
    sigma_error: float

    def at(self, place: FloatArray) -> FloatArray:
        """The time sum at these positions, interpolated linearly."""
        found: FloatArray = np.interp(place, self.place, self.value)
        return found

    @property
    def correction(self) -> tuple[tuple[float, float], ...]:
        """The table as settings: the correction added to the time sum in the middle."""
        pairs = zip(self.place, self.value - self.centre, strict=True)
        return tuple((round(float(p), 4), round(float(v), 5)) for p, v in pairs)


def sum_table(total: FloatArray, place: FloatArray, reach: float) -> SumTable:
    """Mean time sum in bins of the position, outliers trimmed.

    Args:
        total: (hits) time sums in ns.
        place: (hits) uncorrected positions in mm.
        reach: half of the length that the table covers, mm.

    Raises:
        ComputationError: too few hits.
    """
    edges = np.linspace(-reach, reach, KNOTS + 1)
    row = np.clip(np.digitize(place, edges) - 1, 0, KNOTS - 1)
    middle = np.median(total)
    keep = np.abs(total - middle) < 8.0 * max(spread(total), 0.05)
    for _ in range(3):
        counts = np.bincount(row[keep], minlength=KNOTS)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.bincount(row[keep], total[keep], KNOTS) / counts
        deviation = total - mean[row]
        deviation[counts[row] == 0] = np.inf
        sigma = spread(deviation[keep])
        keep = np.abs(deviation) < _TRIM_SIGMAS * max(sigma, 1e-3)
    filled = counts >= FEWEST
    if filled.sum() < 3:
        raise ComputationError(
            f"{len(total)} clean hits are too few for a table of the time sum",
            do="Give a longer run.",
        )
    centres = 0.5 * (edges[1:] + edges[:-1])[filled]
    value, error = mean[filled], sigma / np.sqrt(counts[filled])
    centre, centre_error = _middle(centres, value, error, reach)
    return SumTable(
        place=centres,
        value=value,
        error=error,
        centre=centre,
        centre_error=centre_error,
        sigma=sigma,
        sigma_error=float(sigma / np.sqrt(2.0 * keep.sum())),
    )


def _middle(
    place: FloatArray, value: FloatArray, error: FloatArray, reach: float
) -> tuple[float, float]:
    """Value at position 0, with its error, of a parabola fitted to the inner half of the points."""
    inner = np.abs(place) <= 0.5 * reach
    if inner.sum() < 4:
        k = int(np.argmin(np.abs(place)))
        return float(value[k]), float(error[k])
    design = np.vander(place[inner] / reach, 3)[:, ::-1] / error[inner][:, None]
    normal = np.linalg.inv(design.T @ design)
    solution = normal @ design.T @ (value[inner] / error[inner])
    return float(solution[0]), float(np.sqrt(normal[0, 0]))


def spread(values: FloatArray) -> float:
    """Standard deviation from the median absolute deviation."""
    return float(ROBUST * np.median(np.abs(values - np.median(values))))
