"""Values of coincidences against the shots of a measurement, in a bounded number of intervals.

An interval holds sums alone, so that neighbours can be joined: where there are too many, those of
the older half are joined in pairs, and the newest stay as fine as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from molexa_core.base.tables import FloatArray, IntArray

NUMBER, AT, SHOTS, HITS, FOUND = range(5)
"""Columns of an interval: number and time of the last that was added to it, shots, hits,
coincidences; then sums and squares of the values."""
_HEAD: Final = 5
_LEAST_SHARE: Final = 0.2
"""An interval with a smaller share of the usual number of shots is shown with the one before."""


@dataclass(frozen=True)
class Means:
    """Mean values of coincidences in intervals.

    Attributes:
        count: (n) coincidences.
        mean: (n, columns); NaN where there are none.
        error: (n, columns) standard errors of the means; NaN below two coincidences.
    """

    count: IntArray
    mean: FloatArray
    error: FloatArray


class History:
    """Shots, hits, coincidences and values of them, interval by interval.

    Args:
        columns: names of the values.
        longest: intervals that are kept, a multiple of four.

    Attributes:
        columns: names of the values.
        rows: (1 + intervals, 5 + 2 columns) see `NUMBER` to `FOUND`; sums are counted from the
            first value of each column, for the sake of precision, which stands in the first row.
    """

    def __init__(self, columns: Sequence[str], longest: int) -> None:
        self.columns = tuple(columns)
        self._longest = longest
        self.rows: FloatArray = np.zeros((1, _HEAD + 2 * len(columns)))
        self.rows[0, NUMBER] = -1.0

    def __len__(self) -> int:
        return len(self.rows) - 1

    @property
    def _origin(self) -> FloatArray:
        """(columns) what the sums are counted from; it stands in the first row."""
        origin: FloatArray = self.rows[0, _HEAD : _HEAD + len(self.columns)]
        return origin

    @property
    def intervals(self) -> FloatArray:
        """(intervals, 5 + 2 columns) without the row of the origin."""
        part: FloatArray = self.rows[1:]
        return part

    def add(self, at: float, shots: int, hits: int) -> int:
        """Begin an interval; the number by which `add_values` finds it."""
        number = int(self.rows[-1, NUMBER]) + 1
        row = np.zeros((1, self.rows.shape[1]))
        row[0, :FOUND] = number, at, shots, hits
        self.rows = np.concatenate([self.rows, row])
        if len(self) > self._longest:
            self._join()
        return number

    def add_values(self, interval: int, values: FloatArray) -> None:
        """Add values (n, columns) of coincidences to an interval."""
        if not len(values):
            return
        if self.rows[0, FOUND] == 0.0:
            self.rows[0, FOUND] = 1.0
            self._origin[:] = values[0]
        place = int(np.searchsorted(self.rows[:, NUMBER], interval))
        away = values - self._origin
        n = len(self.columns)
        self.rows[place, FOUND] += len(values)
        self.rows[place, _HEAD : _HEAD + n] += away.sum(axis=0)
        self.rows[place, _HEAD + n :] += np.square(away).sum(axis=0)

    def clear_values(self) -> None:
        """Forget the coincidences; the intervals stay."""
        self.rows[:, FOUND:] = 0.0

    def put_back(self, rows: FloatArray) -> None:
        """Go on from stored `rows`."""
        self.rows = rows.copy()

    def _join(self) -> None:
        half = self._longest // 2
        old = self.rows[1 : 1 + half]
        joined = old[0::2] + old[1::2]
        joined[:, : AT + 1] = old[1::2, : AT + 1]
        self.rows = np.concatenate([self.rows[:1], joined, self.rows[1 + half :]])

    def joined(self, most: int) -> FloatArray:
        """The intervals, neighbours joined to at most so many of about as many shots."""
        rows = self.intervals
        cumulative = np.cumsum(rows[:, SHOTS])
        middle = cumulative - 0.5 * rows[:, SHOTS]
        group = np.floor(middle / max(cumulative[-1], 1.0) * most)
        edges = np.flatnonzero(np.diff(group, prepend=-1.0) > 0)
        shots = np.add.reduceat(rows[:, SHOTS], edges)
        large = shots >= _LEAST_SHARE * np.median(shots)
        large[0] = True
        edges = edges[large]
        found: FloatArray = np.add.reduceat(rows, edges, axis=0)
        ends = np.append(edges[1:], len(rows)) - 1
        found[:, : AT + 1] = rows[ends, : AT + 1]
        return found

    def last(self, fewest: float, of: int = FOUND) -> tuple[Means, FloatArray]:
        """Mean values of the newest coincidences, and of all before.

        Args:
            fewest: so many of them, or a few more.
            of: what is counted: `FOUND` or `SHOTS`.

        Returns:
            The means of two intervals, earlier and newest, and (2, 5) their shots, hits ...
        """
        counts = np.cumsum(self.intervals[::-1, of])
        split = max(len(self) - 1 - int(np.searchsorted(counts, fewest)), 0)
        rows = np.stack([self.intervals[:split].sum(axis=0), self.intervals[split:].sum(axis=0)])
        return self.means_of(rows), rows[:, :_HEAD]

    def means_of(self, rows: FloatArray) -> Means:
        """Mean values of the coincidences of intervals, as `intervals` and `joined` have them."""
        n = len(self.columns)
        count = rows[:, FOUND]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = rows[:, _HEAD : _HEAD + n] / count[:, None]
            square = rows[:, _HEAD + n :] / count[:, None] - mean**2
            error = np.sqrt(np.maximum(square, 0.0) / (count[:, None] - 1.0))
        error[count < 2] = np.nan
        return Means(count.astype(np.int64), mean + self._origin, error)
