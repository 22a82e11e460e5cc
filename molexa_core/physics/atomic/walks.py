"""Random walks of one atom through its configurations, in a pulse that is Gaussian in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.element_tables import AtomicTables
from molexa_core.physics.atomic.rows import PHOTO


@dataclass(frozen=True)
class Exposure:
    """The exposure of an atom to a pulse.

    Attributes:
        fluence: photons per bohr^2 in the whole pulse.
        sigma: standard deviation of the pulse in time, atomic units; its peak is at 0.
    """

    fluence: float
    sigma: float


class Chances:
    """Cumulative sums over the transitions of the rows, for random choices."""

    def __init__(self, tables: AtomicTables) -> None:
        """Sum cross sections and decay rates separately."""
        photo = tables.kind == PHOTO
        self._sums = [
            np.concatenate([[0.0], np.cumsum(np.where(some, tables.value, 0.0))])
            for some in (photo, ~photo)
        ]
        self._first = tables.first

    def rates(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """(n) cross section in bohr^2 and (n) decay rate per atomic unit of time of the rows."""
        begin, end = self._first[rows], self._first[rows + 1]
        cross_section, decay = (total[end] - total[begin] for total in self._sums)
        return cross_section, decay

    def choose(
        self, rows: NDArray[np.int64], photon: NDArray[np.bool_], share: FloatArray
    ) -> NDArray[np.int64]:
        """(n) transitions: ionization where `photon`, else decay; `share` in [0, 1) selects one."""
        chosen = np.empty(len(rows), dtype=np.int64)
        for which, total in zip((photon, ~photon), self._sums, strict=True):
            begin, end = self._first[rows[which]], self._first[rows[which] + 1]
            wanted = total[begin] + share[which] * (total[end] - total[begin])
            found = np.searchsorted(total, wanted, side="right") - 1
            chosen[which] = np.clip(found, begin, end - 1)
        return chosen


def next_events(
    chances: Chances,
    rows: NDArray[np.int64],
    times: FloatArray,
    exposure: Exposure,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], FloatArray]:
    """The next transition of every atom and its time.

    Photoabsorption and decay compete: a photon is absorbed when the elapsed share of the pulse has
    grown by -ln U / (sigma F), a decay happens after the time -ln U / rate.

    Args:
        chances: cumulative sums of the tables.
        rows: (n) current configurations of the atoms.
        times: (n) times of their last transitions, atomic units.
        exposure: the pulse.
        rng: random number generator.

    Returns:
        (n) transitions, -1 if there is none any more, and (n) their times.
    """
    cross_section, decay = chances.rates(rows)
    waits = rng.exponential(size=(2, len(rows)))
    with np.errstate(divide="ignore"):
        after = times + waits[0] / np.maximum(decay, 0.0)
        passed = ndtr(times / exposure.sigma) + waits[1] / (cross_section * exposure.fluence)
    arrival = np.where(passed < 1.0, exposure.sigma * ndtri(np.minimum(passed, 1.0)), np.inf)
    photon = arrival < after
    when: FloatArray = np.minimum(arrival, after)
    transition = chances.choose(rows, photon, rng.random(len(rows)))
    return np.where(np.isfinite(when), transition, -1), when
