"""Purity of the coincidences, estimated from side bands of the momentum-sum peak.

False coincidences are counted in boxes displaced from the gate. A combination in a displaced box
counts if it would have been accepted at the same distance from the centre of the gate, in
competition with the accepted coincidences. The number of false coincidences in the gate is
extrapolated from the boxes with the two distributions of false momentum sums:

* unrelated ions: a Gaussian whose variance is the sum of the squared momenta;
* an undetected ion of one molecule is replaced by the same ion of another molecule in the shot:
  the sum is the difference of two momenta of equal size and random direction, whose density is
  proportional to 1 / distance from the centre (two points on a sphere), so that these false
  coincidences concentrate in the gate.

Side bands cannot show the replacement of an ion that is at rest in every molecule (C+ of CF4): the
sum stays zero. Such coincidences count as true here; they do not change the momenta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import chdtri, pdtrc

from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.reduction.coincidences import SumGate

_MODEL_ERROR: Final = 0.25
"""Relative error of the extrapolation. Virtual runs with known truth (two to five ions, 0.3 to 3
molecules per shot): off by -6 to +25 %, and +58 % where the second kind does not occur."""
_STEPS: Final = 9
_ROUNDS: Final = 500


@dataclass(frozen=True)
class Purity:
    """Estimated share of true coincidences.

    Attributes:
        false: expected number of false coincidences among those found.
        false_error: its standard error, from the counts beside the peak alone.
        purity: 1 - false / found.
        purity_error: standard error of the purity: counting statistics of the side bands, a
            quarter of the false coincidences for the extrapolation, and the Poisson fluctuation of
            the false coincidences in the gate.
        at_least: lower limit of the purity at 95 % confidence; None without coincidences.
    """

    false: float
    false_error: float
    purity: float
    purity_error: float
    at_least: float | None = None


def purity(counts: IntArray, gate: SumGate) -> Purity:
    """The purity from the counts in the gate and in boxes of the same size beside it.

    Args:
        counts: (boxes) coincidences in the gate, then in each displaced box.
        gate: the gate, with its displaced boxes.
    """
    accepted, side_bands = int(counts[0]), np.asarray(counts[1:], np.float64)
    shapes = _shapes(gate)
    shares, covariance = _mixture(side_bands, shapes[1:])
    false = float(shapes[0] @ shares)
    false_error = float(np.sqrt(shapes[0] @ covariance @ shapes[0]))
    if accepted == 0:
        return Purity(false, false_error, 0.0, 1.0)
    most = _most_false(side_bands, false, shapes)
    spread = float(np.sqrt(false_error**2 + (_MODEL_ERROR * false) ** 2 + false))
    return Purity(
        false,
        false_error,
        max(0.0, 1.0 - false / accepted),
        min(1.0, spread / accepted),
        max(0.0, 1.0 - most / accepted),
    )


def purity_text(values: Mapping[str, Any]) -> str:
    """The purity in per cent as text for a summary.

    A one-sided limit where the error would round to zero or no false coincidence was counted.

    Args:
        values: the attributes of a `Purity` by name.
    """
    share, error = 100.0 * float(values["purity"]), 100.0 * float(values["purity_error"])
    limit = values.get("at_least")
    if error >= 100.0 or (limit is None and round(error, 2) <= 0.0):
        return "not determined"
    if limit is None or (round(error, 2) > 0.0 and round(share, 2) < 100.0):
        return f"{share:.2f} +- {error:.2f}"
    if limit <= 0.0:
        return "not determined (too few coincidences)"
    return f"above {math.floor(1e4 * float(limit)) / 100.0:.2f} (95 % confidence)"


def _most_false(side_bands: FloatArray, false: float, shapes: FloatArray) -> float:
    """Upper limit of the number of false coincidences in the gate, at 95 % confidence.

    The upper limit of the side-band counts gives the expected number in the gate, whose Poisson
    fluctuation is added.
    """
    counted = float(side_bands.sum())
    share = false / counted if counted > 0 else float((1.0 / shapes[1:].sum(axis=0)).max())
    expected = chdtri(2.0 * (counted + 1.0), 0.05) / 2.0 * share * (1.0 + _MODEL_ERROR)
    most = 0
    while pdtrc(most, expected) > 0.05:
        most += 1 + most // 64
    return float(most)


def _shapes(gate: SumGate) -> FloatArray:
    """(boxes, 2) mean density of the two kinds of false sums in each box, relative to the gate."""
    steps = (np.arange(_STEPS) + 0.5) * (2.0 / _STEPS) - 1.0
    points = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * gate.half_width
    shifted = points[None] + gate.shifts[:, None]
    spread = np.full(3, np.inf) if gate.spread is None else gate.spread
    gaussian = np.exp(-0.5 * ((shifted / spread) ** 2).sum(axis=2)).mean(axis=1)
    # 1/r diverges in the middle of the gate: that cell gets the mean over a ball of its volume
    cell = float(np.prod(2.0 * gate.half_width / _STEPS) * 3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    cusp = (1.0 / np.maximum(np.linalg.norm(shifted, axis=2), cell / 1.5)).mean(axis=1)
    return np.stack([gaussian / gaussian[0], cusp / cusp[0]], axis=1)


def _mixture(counts: FloatArray, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(2) non-negative weight of each shape in the counts, and (2, 2) covariance.

    Maximum of the Poisson likelihood by expectation maximisation (Shepp and Vardi, IEEE Trans.
    Med. Imaging 1, 113 (1982)).
    """
    total = shapes.sum(axis=0)
    shares = np.full(2, max(float(counts.sum()), 0.5)) / (2.0 * total)
    for _ in range(_ROUNDS):
        shares = shares * (shapes.T @ (counts / (shapes @ shares + 1e-12))) / total
    expected = shapes @ shares + 1.0 / len(counts)  # one count in all boxes: errors are never 0
    information = shapes.T @ (shapes / expected[:, None])
    return shares, np.linalg.pinv(information)
