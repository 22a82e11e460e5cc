"""Coincidences: all combinations of hits of a shot that can be the ions of a channel.

Every hit of a shot whose time of flight lies in the window of an ion and whose momentum, as that
ion, stays below the limit is a possible ion. All combinations are looked at, like ions as
combinations and not as permutations, and no hit twice in one. With a momentum-sum gate, those
inside compete: the one nearest to the centre (in half widths) wins, any other that shares a hit
with it is dropped, those that share none are kept too. Without a gate (partial channels) nothing
ranks the combinations, and all are kept.

Like ions in a row are ordered by time of flight, which says nothing about which atom they were.
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
    flight_window,
    hit_momenta,
    jet_mm_ns,
    region_arrays,
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
"""Shots with more combinations are left out and counted; no order of a list decides anything."""
MOST_CANDIDATES: Final = 4096
"""Shots with more candidates in the gate and the displaced boxes are left out and counted."""
SUM_BINS: Final = 400
FAR: Final = 1.6
"""Distance of the far displaced boxes from the gate in that of the near ones."""
BOXES: Final = 13
"""The gate, six near boxes, six far ones."""
_NO_GATE: Final = np.empty((0, 3))
_NO_SUMS: Final = np.empty((0, 6))


@dataclass(frozen=True)
class SumGate:
    """The gate on the momentum sum, a.u.

    Attributes:
        centre: (3) of x, y, z.
        half_width: (3).
        sigma: (3) standard deviation of the peak, where it was found in the data.
        spread: (3) standard deviation of the sums of ions without relation, where it is known.
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
    """What a search has counted so far.

    Attributes:
        shots: shots searched.
        combinations: combinations of possible ions in them.
        crowded: shots left out because of too many combinations.
        found: coincidences.
        sums: (3, bins) histograms of the momentum sums of all combinations.
        elsewhere: (boxes) coincidences in the gate (box 0) and in each displaced box.
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
        ions: the ion of each column of what is found.
        windows: time-of-flight window in ns of each kind of ion, in the order of the channel.
        sum_range: momentum sums are looked at from -range to +range, a.u.

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
        self.sum_range = channel.gates.max_momentum
        self._regions = setup.spectrometer.regions
        self._jet = setup.jet.velocity_m_per_s
        kinds, accelerations = [], []
        for entry in entries:
            ion = parse_ion(entry.ion)
            limit = channel.gates.max_momentum
            require_single_valued(ion, self._regions, limit)
            window = entry.window_ns or flight_window(ion, self._regions, limit)
            self.windows[entry.ion] = window
            kinds.append([ion.mass, *window])
            lengths, acceleration = region_arrays(ion, self._regions)
            self._lengths = lengths
            accelerations.append(acceleration)
        self._kinds = np.array(kinds, np.float64)
        self._accelerations = np.array(accelerations)
        self._wanted = np.array([entry.wanted for entry in entries], np.int64)
        self._kind_of = np.repeat(np.arange(len(entries)), self._wanted).astype(np.int64)
        self._limits = np.array(
            [
                channel.gates.max_momentum,
                jet_mm_ns(self._jet),
                MOST_COMBINATIONS,
                self.sum_range,
            ]
        )

    def collect_sums(self, hits: Hits, tally: Tally, into: FloatArray, filled: int) -> int:
        """Momentum sums of all combinations within range, from as many shots as there is room for.

        Args:
            hits: calibrated hits.
            tally: added to.
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
            tally: added to.
            gate: the gate on the momentum sum; None keeps every combination.

        Returns:
            (found) place of the shot in `hits`, and (found, ions) rows of the hits.
        """
        if gate is None:
            box, shifts = _NO_GATE, np.zeros((1, 3))
        else:
            box, shifts = np.vstack([gate.centre, gate.half_width]), gate.shifts
        found = self._run(hits, tally, box, shifts, _NO_SUMS)[1]
        return found[:, 0].copy(), found[:, 1:].copy()

    def momenta(self, hits: Hits, rows: IntArray) -> FloatArray:
        """(found, ions, 3) momenta in a.u. of the hits that `find` named."""
        momenta = np.empty((*rows.shape, 3))
        for column, ion in enumerate(self.ions):
            chosen = rows[:, column]
            momenta[:, column] = hit_momenta(
                hits.x_mm[chosen],
                hits.y_mm[chosen],
                hits.t_ns[chosen],
                ion,
                self._regions,
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
            self._lengths,
            self._accelerations,
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
