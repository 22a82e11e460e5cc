"""The purity of the coincidences, from what lies beside the peak of the momentum sums.

A combination in a displaced box counts if it would have been accepted, had its sum fallen into the
gate with the same distance from its centre: it competes with the coincidences that were. From the
boxes the false ones in the gate are extrapolated with the two shapes that false sums have:

* ions without relation: a Gaussian whose variance is the sum of the squared momenta;
* one molecule lends an ion to another that lost it: the sum is the difference of two momenta of
  like size and any direction, whose density is proportional to 1 / distance from the centre
  (two points on a sphere), so that these false ones crowd in the gate.

What no side band can show: a borrowed ion that is at rest in every molecule (C+ of CF4) leaves the
sum at zero. Such coincidences count as true here; they do no harm to momenta.
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
molecules per shot): off by -6 to +25 %, and +58 % where nothing of the second kind occurs."""
_STEPS: Final = 9
_ROUNDS: Final = 500


@dataclass(frozen=True)
class Purity:
    """How many of the coincidences are thought to be true.

    Attributes:
        false: expected number of false coincidences among those found.
        false_error: its standard error, from the counts beside the peak alone.
        purity: 1 - false / found.
        purity_error: standard error of the purity: counts beside the peak, a quarter of the
            false ones for the extrapolation, and the fluctuation of those that lie in the gate.
        at_least: the purity is above this with 95 % confidence; None without coincidences.
    """

    false: float
    false_error: float
    purity: float
    purity_error: float
    at_least: float | None = None


def purity(counts: IntArray, gate: SumGate) -> Purity:
    """The purity from the coincidences in the gate and in boxes of the same size beside it.

    Args:
        counts: (boxes) coincidences in the gate, then in each displaced box.
        gate: the gate, with its displaced boxes.
    """
    found, beside = int(counts[0]), np.asarray(counts[1:], np.float64)
    shapes = _shapes(gate)
    shares, covariance = _mixture(beside, shapes[1:])
    false = float(shapes[0] @ shares)
    false_error = float(np.sqrt(shapes[0] @ covariance @ shapes[0]))
    if found == 0:
        return Purity(false, false_error, 0.0, 1.0)
    most = _most_false(beside, false, shapes)
    spread = float(np.sqrt(false_error**2 + (_MODEL_ERROR * false) ** 2 + false))
    return Purity(
        false,
        false_error,
        max(0.0, 1.0 - false / found),
        min(1.0, spread / found),
        max(0.0, 1.0 - most / found),
    )


def purity_text(values: Mapping[str, Any]) -> str:
    """The purity in per cent, as a line of a summary shows it.

    Where the error would be written as zero, or nothing false was seen, a one-sided limit.

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


def _most_false(beside: FloatArray, false: float, shapes: FloatArray) -> float:
    """So many false coincidences lie in the gate at most, with 95 % confidence.

    The upper limit of the counts beside the peak, carried into the gate, fluctuates there too.
    """
    counted = float(beside.sum())
    share = false / counted if counted > 0 else float((1.0 / shapes[1:].sum(axis=0)).max())
    expected = chdtri(2.0 * (counted + 1.0), 0.05) / 2.0 * share * (1.0 + _MODEL_ERROR)
    most = 0
    while pdtrc(most, expected) > 0.05:
        most += 1 + most // 64
    return float(most)


def _shapes(gate: SumGate) -> FloatArray:
    """(boxes, 2) mean density of the two kinds of false sums in each box, 1 at most."""
    steps = (np.arange(_STEPS) + 0.5) * (2.0 / _STEPS) - 1.0
    points = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * gate.half_width
    shifted = points[None] + gate.shifts[:, None]
    spread = np.full(3, np.inf) if gate.spread is None else gate.spread
    gaussian = np.exp(-0.5 * ((shifted / spread) ** 2).sum(axis=2)).mean(axis=1)
    # the middle point of the gate would be infinite: its cell has the mean of a ball of its size
    cell = float(np.prod(2.0 * gate.half_width / _STEPS) * 3.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    cusp = (1.0 / np.maximum(np.linalg.norm(shifted, axis=2), cell / 1.5)).mean(axis=1)
    return np.stack([gaussian / gaussian[0], cusp / cusp[0]], axis=1)


def _mixture(counts: FloatArray, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Share of each shape in the counts, none below 0, and their covariance.

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
