"""Hot spots of a detector (hits at all times of flight), and columns that never change.

Ions without recoil (cold residual gas, the intact molecule) also give a bright spot, but at one
time of flight each. Hits of a hot spot of the plate, or hits whose position was not found, are
distributed over all times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.numbers import percent
from molexa_core.base.tables import BoolArray, FloatArray, IntArray

_SAMPLE: Final = 60_000
_MOST_HALVINGS: Final = 63
_CELLS: Final = 100
"""Cells of the image along each axis; a hot spot is three by three cells."""
_TIMES: Final = 32
"""Number of equal parts of the range of times."""
_OUTSIDE: Final = 0.002
_LEAST_SHARE: Final = 0.01
_LEAST: Final = 30
_ABOVE: Final = 10.0
"""Least ratio of the rate of a hot spot to that of its surroundings."""
_MOST_PLACES: Final = 40
"""Most bright places that are checked."""


class Sample:
    """A sample of at most 60 000 hits (unless one shot has more), spread evenly over a run.

    All hits of some shots: those whose scrambled number is divisible by a power of two. Which they
    are does not depend on how the run is read, so that samples of parts of a run can be joined;
    and nothing that repeats from shot to shot, such as the pulses of a train, is picked out.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[IntArray, FloatArray]] = []
        self._count = 0
        self._halvings = 0

    def add(
        self, first_shot: int, counts: IntArray, x: FloatArray, y: FloatArray, t: FloatArray
    ) -> None:
        """Add the hits of further shots.

        Args:
            first_shot: number of the first shot.
            counts: (shots) hits of each.
            x: (hits) positions in mm.
            y: (hits) likewise.
            t: (hits) times in ns.
        """
        shots = np.arange(first_shot, first_shot + len(counts), dtype=np.int64)
        taken = np.repeat(self._takes(shots), counts)
        self._append(np.repeat(shots, counts)[taken], np.stack([x[taken], y[taken], t[taken]]))

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """The sample as arrays by name."""
        return {
            "sample_shot": np.concatenate([np.empty(0, np.int64), *(s for s, _ in self._parts)]),
            "sample_hits": np.concatenate([np.empty((3, 0)), *(h for _, h in self._parts)], axis=1),
        }

    def absorb(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add the sample of the shots that follow, as `as_arrays` gave it."""
        shots = arrays["sample_shot"]
        taken = self._takes(shots)
        self._append(shots[taken], arrays["sample_hits"][:, taken])

    def values(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Positions in mm and times in ns of the sampled hits; hits with NaN are left out."""
        x, y, t = self.as_arrays()["sample_hits"]
        good = np.isfinite(x) & np.isfinite(y) & np.isfinite(t)
        return x[good], y[good], t[good]

    def _takes(self, shots: IntArray) -> BoolArray:
        """(n) whether the hits of shots are in the sample (SplitMix64 of their number)."""
        z = shots.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        taken: BoolArray = ((z ^ (z >> np.uint64(31))) & np.uint64(2**self._halvings - 1)) == 0
        return taken

    def _append(self, shots: IntArray, hits: FloatArray) -> None:
        self._parts.append((shots, hits))
        self._count += len(shots)
        while self._count > _SAMPLE and self._halvings < _MOST_HALVINGS:
            self._halvings += 1
            shots, hits = self.as_arrays().values()
            taken = self._takes(shots)
            self._parts = [(shots[taken], hits[:, taken])]
            self._count = int(taken.sum())


@dataclass(frozen=True)
class HotSpot:
    """A place of the detector with hits at all times of flight.

    Attributes:
        x_mm, y_mm: position.
        share: share of all hits.
        exact: whether all these hits have exactly this position.
    """

    x_mm: float
    y_mm: float
    share: float
    exact: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"x_mm": self.x_mm, "y_mm": self.y_mm, "share": self.share, "exact": self.exact}

    def place(self) -> str:
        """Position and share in words."""
        return f"{self.x_mm:.4g}, {self.y_mm:.4g} ({percent(self.share)} % of the hits)"

    def sentence(self) -> str:
        """The warning about the hot spot."""
        at = f"x = {self.x_mm:.4g} mm, y = {self.y_mm:.4g} mm"
        share = f"{percent(self.share)} % of the hits"
        if self.exact:
            return (
                f"{share} are exactly at {at}: a place that stands for a position that was not "
                "found, or a hot spot of the detector; they make false coincidences"
            )
        return (
            f"{share} are at one place, {at}, at all times of flight: a hot spot of the detector, "
            "or ions that do not belong to the trigger; they make false coincidences"
        )


def hot_spots(x: FloatArray, y: FloatArray, t: FloatArray) -> list[HotSpot]:
    """Places with at least one hundredth of all hits, at all times of flight.

    Args:
        x: (hits) position in mm.
        y: (hits) position in mm.
        t: (hits) time in ns.
    """
    exact = _exact(x, y)
    if exact is not None:
        away = (x != exact.x_mm) | (y != exact.y_mm)
        return [exact, *_anytime(x[away], y[away], t[away], len(x))]
    return _anytime(x, y, t, len(x))


def constant_columns(x: FloatArray, y: FloatArray, t: FloatArray) -> list[str]:
    """Warnings about quantities that are the same in all hits."""
    if not len(x):
        return []
    columns = {"x": (x, "mm"), "y": (y, "mm"), "the time": (t, "ns")}
    constant = [
        f"{name} is {values[0]:g} {unit} in all hits"
        for name, (values, unit) in columns.items()
        if values.min() == values.max()
    ]
    if not constant and (x == y).mean() > 0.99:
        constant.append("x and y are the same in all hits: one column may be read twice")
    return constant


def _exact(x: FloatArray, y: FloatArray) -> HotSpot | None:
    """The position that many hits share to the last digit, if few other positions repeat."""
    if len(x) < _LEAST or x.min() == x.max() or y.min() == y.max():
        return None
    key = (x + 0.0).view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ (y + 0.0).view(np.uint64)
    ordered = np.sort(key)
    begins = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [len(key)]])
    counts = np.diff(begins)
    if len(counts) < 3:
        return None
    most = int(np.argmax(counts))
    second, top = np.partition(counts, -2)[-2:].tolist()
    continuous = len(counts) > 0.5 * (len(x) - top)
    if top < max(_LEAST, _LEAST_SHARE * len(x)) or top < 5 * second or not continuous:
        return None
    at = int(np.argmax(key == ordered[begins[most]]))
    return HotSpot(float(x[at]), float(y[at]), top / len(x), exact=True)


def _anytime(x: FloatArray, y: FloatArray, t: FloatArray, total: int) -> list[HotSpot]:
    """Cells of the image that are bright in nearly every part of the range of times."""
    if len(x) < _LEAST:
        return []
    sides = [np.quantile(values, [_OUTSIDE, 1 - _OUTSIDE]) for values in (x, y, t)]
    if any(high <= low for low, high in sides):
        return []
    cells = (_CELLS, _CELLS, _TIMES)
    place = [
        np.floor(n * (values - low) / (high - low)).astype(np.int64)
        for n, values, (low, high) in zip(cells, (x, y, t), sides, strict=True)
    ]
    inside = np.logical_and.reduce(
        [(index >= 0) & (index < n) for index, n in zip(place, cells, strict=True)]
    )
    column, row, part = (index[inside] for index in place)
    bins = np.bincount((column * _CELLS + row) * _TIMES + part, minlength=int(np.prod(cells)))
    counts = bins.reshape(cells)
    padded = np.pad(counts.sum(axis=2), 1)
    boxes = sum(padded[k : k + _CELLS, m : m + _CELLS] for k in range(3) for m in range(3))
    box = np.asarray(boxes).ravel()
    least = max(_LEAST, _LEAST_SHARE * total)
    bright = np.flatnonzero(box >= least)
    spots: list[HotSpot] = []
    checked: list[tuple[int, int]] = []
    for index in bright[np.argsort(box[bright])[::-1]].tolist():
        middle, line = divmod(index, _CELLS)
        if any(max(abs(middle - k), abs(line - m)) < 3 for k, m in checked):
            continue
        checked.append((middle, line))
        here = _steady(_within(counts, middle, line, 1)[0])
        (wide, n_wide), (near, n_near) = (_within(counts, middle, line, far) for far in (5, 2))
        around = _steady(wide - near) * 9 / (n_wide - n_near)
        if here >= least and here > _ABOVE * max(around, 1.0):
            x_mm, y_mm = (
                float(low + (k + 0.5) * (high - low) / _CELLS)
                for k, (low, high) in zip((middle, line), sides[:2], strict=True)
            )
            spots.append(HotSpot(x_mm, y_mm, here / total, exact=False))
        if len(checked) == _MOST_PLACES:
            break
    return spots


def _steady(counts: IntArray) -> float:
    """Number of hits spread over all times: the lower quartile of the parts, times their number."""
    return float(_TIMES * np.sort(counts)[_TIMES // 4])


def _within(counts: IntArray, middle: int, line: int, far: int) -> tuple[IntArray, int]:
    """Hits in the cells up to `far` from a cell, by part of the times, and the number of cells."""
    cells = counts[max(middle - far, 0) : middle + far + 1, max(line - far, 0) : line + far + 1]
    hits: IntArray = cells.sum(axis=(0, 1))
    return hits, cells.shape[0] * cells.shape[1]
