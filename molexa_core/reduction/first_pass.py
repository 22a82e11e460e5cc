"""The first pass over a run: the momentum sums from which the gate is found.

Where a shot has few combinations of hits, their sums show the peak at once. With many ions and many
hits nearly all combinations are false, and their number grows faster than that of the shots: the
peak drowns. Then the sums are collected from the shots with the fewest combinations, within ever
smaller ranges about zero, by the search that looks up what completes a sum (`halves`); the range in
which the peak is found is told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from molexa_core.base.errors import ComputationError
from molexa_core.base.tables import FloatArray, Hits
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.gate import FEWEST_SUMS, find_peak
from molexa_core.reduction.peak import Peak

MOST_SUMS: Final = 100_000
"""Number of momentum sums from which the gate is found."""
_EACH: Final = 1000
"""Most combinations of a shot whose sums are all taken: those of one shot share hits, so that a
peak must be made of many shots."""
_MOST_HITS: Final = 1_000_000
"""Hits that are kept for the narrower ranges."""
_MOST_NARROW: Final = 500_000
"""Number of sums of a narrow range, in which few are true."""
_NARROWER: Final = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)
_FEWEST_SHOTS: Final = 50
_ABOUT: Final = 15.0
"""Half range, in standard deviations, in which a peak found in a narrow range is fitted again."""

Peaks = tuple[Peak, Peak, Peak]


@dataclass
class FirstPass:
    """Momentum sums of a run, added chunk by chunk, and the peak in them.

    Attributes:
        search: the channel.
        centre: (3) where the peak is expected, a.u.
    """

    search: Search
    centre: FloatArray

    def __post_init__(self) -> None:
        self.tally = Tally()
        self.filled = 0
        self.remark = ""
        self._sums = np.empty((MOST_SUMS, 6))
        self._kept: list[Hits] = []
        self._n_kept = 0

    @property
    def sums(self) -> FloatArray:
        """(n, 6) the sums and the sums of squared momenta on each axis, a.u."""
        return self._sums[: self.filled]

    @property
    def none(self) -> bool:
        """Whether no shot has a combination."""
        return self.filled == 0 and self.tally.crowded == 0

    @property
    def full(self) -> bool:
        """Whether there are enough sums."""
        return self.filled >= MOST_SUMS

    def add(self, hits: Hits) -> None:
        """Collect the sums of calibrated hits."""
        if self._n_kept < _MOST_HITS:
            self._kept.append(hits)
            self._n_kept += hits.n_hits
        self.filled = self.search.collect_sums(
            hits, self.tally, self._sums, self.filled, most=_EACH
        )

    def find(self, rest: Iterable[Hits]) -> Peaks:
        """The peak of the sums on each axis; `remark` says from what it was found.

        Args:
            rest: further calibrated hits, read where the peak is not seen in those added.

        Raises:
            ComputationError: too few sums, or no peak.
        """
        try:
            peaks = find_peak(self.sums, self.search.sum_range)
        except ComputationError:
            for hits in rest:
                if self._n_kept >= _MOST_HITS:
                    break
                self._kept.append(hits)
                self._n_kept += hits.n_hits
            narrow = self._find_narrow()
            if narrow is None:
                raise
            return narrow
        if self.full:
            self.remark = f"the gate is found from the first {self.tally.shots} shots"
        return peaks

    def _find_narrow(self) -> Peaks | None:
        if not self._kept:
            return None
        hits = Hits.concatenate(self._kept)
        order = np.argsort(self.search.combinations(hits), kind="stable").astype(np.int64)
        into = np.empty((_MOST_NARROW, 6))
        for share in _NARROWER:
            reach, tally = share * self.search.sum_range, Tally()
            filled = self.search.collect_sums(
                hits, tally, into, 0, centre=self.centre, reach=reach, order=order, most=np.inf
            )
            shots = tally.shots
            if shots < _FEWEST_SHOTS or filled < FEWEST_SUMS:
                continue
            sums = into[:filled]
            sums[:, :3] -= self.centre
            try:
                peaks = _moved(find_peak(sums, reach), self.centre)
            except ComputationError:
                continue
            sums[:, :3] += self.centre
            self._sums, self.filled = sums, filled
            self.remark = (
                f"the gate is found from the {shots} shots with the fewest combinations of hits, "
                f"from momentum sums within {reach:.3g} a.u."
            )
            return self._again(hits, peaks)
        return None

    def _again(self, hits: Hits, peaks: Peaks) -> Peaks:
        """The peak fitted to more shots, in a range about it."""
        middle = np.array([peak.centre for peak in peaks])
        reach = _ABOUT * max(peak.sigma for peak in peaks)
        into = np.empty((_MOST_NARROW, 6))
        filled = self.search.collect_sums(
            hits, Tally(), into, 0, centre=middle, reach=reach, most=np.inf
        )
        sums = into[:filled].copy()
        sums[:, :3] -= middle
        try:
            better = _moved(find_peak(sums, reach), middle)
        except ComputationError:
            return peaks
        self._sums, self.filled = into[:filled], filled
        return better


def _moved(peaks: Peaks, by: FloatArray) -> Peaks:
    x, y, z = (replace(peak, centre=peak.centre + float(by[i])) for i, peak in enumerate(peaks))
    return x, y, z


def with_odds(gate: SumGate, peaks: Peaks | None, sums: FloatArray) -> SumGate:
    """The gate with the odds of a candidate: true over false sums in the gate.

    Args:
        gate: the gate.
        peaks: fitted to these sums; None where none was found.
        sums: (n, 3 or more) momentum sums, a.u.
    """
    if peaks is None or len(sums) == 0:
        return gate
    inside = (np.abs(sums[:, :3] - gate.centre) <= gate.half_width).all(axis=1).sum()
    true = min(float(np.mean([peak.signal for peak in peaks])), float(inside))
    return replace(gate, odds=(true + 0.5) / (float(inside) - true + 0.5))
