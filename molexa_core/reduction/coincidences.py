"""Coincidence search: combinations of hits of one shot that fit the ions of a channel.

A hit is a candidate for an ion if its time of flight lies in the ion's window and if its momentum,
computed with the ion's mass and charge, stays below the limit. The search forms all combinations
of candidates, each hit used once per combination; like ions count as combinations and not as
permutations. With a momentum-sum gate, combinations inside the gate compete: the one nearest to
the centre (in half widths) is accepted, every other one that shares a hit with it is dropped, and
those that share none are accepted too. Without a gate (partial channels) the combinations cannot
be ranked, and all are kept.

Like ions in a row are ordered by time of flight; the order does not tell which atom each ion was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.reduction.momentum import (
    flight_row,
    flight_window,
    hit_momenta,
    node_ranges,
    require_single_valued,
)
from molexa_core.reduction.search import (
    COLLECTED,
    COMBINATIONS,
    COUNTERS,
    CROWDED,
    FOUND,
    SHOTS,
    search_shots,
)

MOST_COMBINATIONS: Final = 200_000
"""Shots with more combinations are left out and counted, so that no choice depends on the order
of the hits."""
MOST_CANDIDATES: Final = 4096
"""Shots with more candidates in the gate and the displaced boxes are left out and counted."""
SUM_BINS: Final = 400
FAR: Final = 1.6
"""Distance of the far displaced boxes from the gate, in units of that of the near ones."""
BOXES: Final = 13
"""The gate, six near boxes, six far ones."""
_NO_GATE: Final = np.empty((0, 3))
_NO_SUMS: Final = np.empty((0, 6))


@dataclass(frozen=True)
class SumGate:
    """The gate on the momentum sum, a.u.

    Attributes:
        centre: (3) centre along x, y, z.
        half_width: (3) half width along x, y, z.
        sigma: (3) standard deviation of the peak, where it was found in the data.
        spread: (3) standard deviation of the momentum sums of unrelated ions (accidental
            coincidences), where it is known.
    """

    centre: FloatArray
    half_width: FloatArray
    sigma: FloatArray | None = None
    spread: FloatArray | None = None

    @property
    def shifts(self) -> FloatArray:
        """(13, 3) displacement of the gate itself (none) and of boxes beside the peak.

        Six near boxes, on both sides on each axis, with their inner edge four standard deviations
        from the centre of the peak (a third of the half width is taken for one where the peak is
        not known), then six at `FAR` times the distance.
        """
        sigma = self.half_width / 3.0 if self.sigma is None else self.sigma
        near = np.diag(self.half_width + 4.0 * sigma)
        return np.vstack([np.zeros((1, 3)), near, -near, FAR * near, -FAR * near])


@dataclass
class Tally:
    """Counts of a coincidence search so far.

    Attributes:
        shots: shots searched.
        combinations: combinations of candidate hits in them.
        crowded: shots left out because of too many combinations.
        found: coincidences.
        sums: (3, bins) histograms of the momentum sums of all combinations.
        elsewhere: (boxes) coincidences in the gate (box 0) and in each displaced box beside it.
    """

    shots: int = 0
    combinations: int = 0
    crowded: int = 0
    found: int = 0
    sums: IntArray = field(default_factory=lambda: np.zeros((3, SUM_BINS), np.int64))
    elsewhere: IntArray = field(default_factory=lambda: np.zeros(BOXES, np.int64))


class Search:
    """The search for the coincidences of a channel in calibrated hits.

    Args:
        channel: the ions, windows and the momentum limit.
        setup: spectrometer and jet.

    Attributes:
        ions: the ion of each column of the coincidences.
        windows: time-of-flight window in ns of each kind of ion, in the order of the channel.
        nodes: times of flight in these windows at which the magnetic field hides the momentum.
        sum_range: momentum sums are collected from -range to +range, a.u.

    Raises:
        SettingsError: the spectrometer gives two momenta the same time of flight.
        UsageError: the channel asks for no ion.
    """

    def __init__(self, channel: Channel, setup: Setup) -> None:
        entries = [entry for entry in channel.ions if entry.wanted > 0]
        if not entries:
            raise UsageError(f"channel {channel.name} asks for no ion", do="Raise `detected`.")
        self.ions: tuple[Ion, ...] = channel.wanted_ions
        self.windows: dict[str, tuple[float, float]] = {}
        self.nodes: dict[str, list[tuple[float, float]]] = {}
        self.sum_range = channel.gates.max_momentum
        self._spectrometer = setup.spectrometer
        self._jet = setup.jet.velocity_m_per_s
        kinds, flights = [], []
        for entry in entries:
            ion = parse_ion(entry.ion)
            limit = channel.gates.max_momentum
            require_single_valued(ion, self._spectrometer, limit)
            window = entry.window_ns or flight_window(ion, self._spectrometer, limit)
            self.windows[entry.ion] = window
            self.nodes[entry.ion] = node_ranges(ion, self._spectrometer, *window)
            kinds.append(window)
            flights.append(flight_row(ion, self._spectrometer, self._jet))
        self._kinds = np.array(kinds, np.float64)
        self._flights = np.array(flights)
        self._wanted = np.array([entry.wanted for entry in entries], np.int64)
        self._kind_of = np.repeat(np.arange(len(entries)), self._wanted).astype(np.int64)
        self._limits = np.array(
            [
                channel.gates.max_momentum,
                MOST_COMBINATIONS,
                self.sum_range,
            ]
        )

    def collect_sums(self, hits: Hits, tally: Tally, into: FloatArray, filled: int) -> int:
        """Collect the momentum sums of all combinations within range until `into` is full.

        Args:
            hits: calibrated hits.
            tally: counts, increased.
            into: (capacity, 6) filled from row `filled` on with the sum of the momenta and the sum
                of their squares on each axis.
            filled: rows in use.

        Returns:
            rows in use afterwards.
        """
        counters = self._run(hits, tally, _NO_GATE, np.empty((0, 3)), into[filled:])[0]
        return filled + int(counters[COLLECTED])

    def find(self, hits: Hits, tally: Tally, gate: SumGate | None) -> tuple[IntArray, IntArray]:
        """The coincidences in consecutive shots.

        Args:
            hits: calibrated hits.
            tally: counts, increased.
            gate: the gate on the momentum sum; None keeps every combination.

        Returns:
            (found) index of the shot in `hits`, and (found, ions) indices of the hits.
        """
        if gate is None:
            box, shifts = _NO_GATE, np.zeros((1, 3))
        else:
            box, shifts = np.vstack([gate.centre, gate.half_width]), gate.shifts
        coincidences = self._run(hits, tally, box, shifts, _NO_SUMS)[1]
        return coincidences[:, 0].copy(), coincidences[:, 1:].copy()

    def momenta(self, hits: Hits, rows: IntArray) -> FloatArray:
        """(found, ions, 3) momenta in a.u. of the hits that `find` returned."""
        momenta = np.empty((*rows.shape, 3))
        for column, ion in enumerate(self.ions):
            hit = rows[:, column]
            momenta[:, column] = hit_momenta(
                hits.x_mm[hit],
                hits.y_mm[hit],
                hits.t_ns[hit],
                ion,
                self._spectrometer,
                jet_velocity_m_per_s=self._jet,
            )
        return momenta

    def _run(
        self, hits: Hits, tally: Tally, gate: FloatArray, shifts: FloatArray, into: FloatArray
    ) -> tuple[IntArray, NDArray[Any]]:
        counters = np.zeros(COUNTERS, np.int64)
        room = MOST_CANDIDATES if len(gate) else MOST_COMBINATIONS
        elsewhere = np.zeros(len(tally.elsewhere), np.int64)
        found: IntArray = search_shots(
            np.ascontiguousarray(hits.offsets, np.int64),
            np.ascontiguousarray(hits.x_mm, np.float64),
            np.ascontiguousarray(hits.y_mm, np.float64),
            np.ascontiguousarray(hits.t_ns, np.float64),
            self._kinds,
            self._flights,
            self._wanted,
            self._kind_of,
            self._limits,
            gate,
            shifts,
            into,
            tally.sums,
            elsewhere,
            counters,
            np.empty((room if len(shifts) else 0, 1 + len(self.ions)), np.int64),
        )
        tally.elsewhere += elsewhere
        tally.shots += int(counters[SHOTS])
        tally.combinations += int(counters[COMBINATIONS])
        tally.crowded += int(counters[CROWDED])
        tally.found += int(counters[FOUND])
        return counters, found
