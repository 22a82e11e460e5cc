"""Check of the hits for detector faults: double hits, hot spots, full slots, gaps.

The hits are checked as they are in the file, before calibration, and none is left out. Anomalies
are reported because they produce false coincidences or lose true ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.compiled import compiled
from molexa_core.base.fields import TAG_TIMESTAMP, TAG_TRAIN
from molexa_core.base.numbers import percent
from molexa_core.base.settings.setup import Detector
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.detector.hot_spots import HotSpot, Sample, constant_columns, hot_spots

# Places of the counts of the loop.
SAME, TWIN, DEAD, RUN, LONGEST, BEGIN = range(6)
_SUMMED: Final = (SAME, TWIN, DEAD)
_LOOKED_AT: Final = 256
"""Most hits of a shot that are compared with each other."""
_MOST_SIZES: Final = 1024
_MOST_SHOTS: Final = 2_000_000
"""Number of shots, from the beginning of a run, whose hits are compared with all other shots."""
_INSIDE: Final = 0.7
"""Share of dead time and dead radius in which there can be no second hit despite the resolution."""
_ENOUGH: Final = 50
"""Least number of hits for a check."""
_GAP: Final = 100.0
"""A step of the clock this many times the usual one is a gap."""
_TRAIN_S: Final = 0.1
_MOST_FULL: Final = 1e-3
"""Share of shots with full slots above which there is a warning."""
_MOST_LOST: Final = 5e-3
"""Share of lost hits above which there is a warning in any case."""


@compiled
def look(
    offsets: IntArray, x: FloatArray, y: FloatArray, t: FloatArray, bits: NDArray[Any],
    limits: FloatArray, shot: int, counts: IntArray, sizes: IntArray, marks: NDArray[Any],
) -> None:  # fmt: skip
    """Compare the hits of each shot.

    Args:
        offsets: where the hits of each shot begin.
        x: positions in mm.
        y: likewise.
        t: times in ns.
        bits: (3, hits) the same as whole numbers.
        limits: time and distance of a double, dead time and radius.
        shot: number of the first shot.
        counts: added to.
        sizes: shots by their number of hits; added to.
        marks: receives a number that stands for all hits of the shot, 0 for fewer than two.
    """
    for row in range(len(offsets) - 1):
        low, high = offsets[row], offsets[row + 1]
        size = high - low
        sizes[min(size, len(sizes) - 1)] += 1
        if size:
            counts[RUN] = 0
        else:
            counts[RUN] += 1
            if counts[RUN] > counts[LONGEST]:
                counts[LONGEST] = counts[RUN]
                counts[BEGIN] = shot + row + 1 - counts[RUN]
        mark = np.uint64(14695981039346656037)
        for hit in range(low, min(high, low + _LOOKED_AT)):
            for axis in range(3):
                mark = (mark ^ bits[axis, hit]) * np.uint64(1099511628211)
                mark ^= mark >> np.uint64(29)
            same = twin = dead = False
            for other in range(low, hit):
                late = abs(t[hit] - t[other])
                if not (late <= limits[0] or late <= limits[2]):
                    continue
                dx, dy = abs(x[hit] - x[other]), abs(y[hit] - y[other])
                same |= late == 0 and dx == 0 and dy == 0
                twin |= late <= limits[0] and dx <= limits[1] and dy <= limits[1]
                dead |= late <= limits[2] and dx * dx + dy * dy <= limits[3] * limits[3]
            counts[SAME] += same
            counts[TWIN] += twin
            counts[DEAD] += dead
        marks[row] = mark if size > 1 else np.uint64(0)


@dataclass(frozen=True)
class FullSlots:
    """Shots with the largest number of hits that the file can store.

    Attributes:
        slots: largest number of hits per shot.
        full: number of shots with this many hits.
        before: number of shots with one hit less.
        shots, hits: numbers for the whole run.
    """

    slots: int
    full: int
    before: int
    shots: int
    hits: int

    @property
    def lost(self) -> int:
        """Largest likely number of lost hits.

        If the number of shots falls by a factor q or less from each number of hits to the next, and
        n shots have one hit less than the slots, the full shots are n (q + q^2 + ...) and the lost
        hits n (q^2 + 2 q^3 + ...), which is the square of the former over n.
        """
        return round(self.full**2 / max(self.before, 1))

    @property
    def counts(self) -> bool:
        """Whether the loss is large enough to affect results."""
        return self.full >= _MOST_FULL * self.shots or self.lost >= _MOST_LOST * self.hits

    def sentence(self) -> str:
        """The warning about lost hits."""
        return (
            f"{self.full} of {self.shots} shots have {self.slots} hits, the most that there is "
            f"room for: further hits of these shots are lost, at most about {self.lost} "
            f"({percent(self.lost / self.hits)} % of the hits)"
        )


class HitHealth:
    """Anomalies in the hits of a run, counted chunk by chunk.

    Args:
        detector: resolution, dead time and slots; without it double hits are those within 0.5 ns
            and 0.3 mm, and the dead time is not checked.

    Attributes:
        shots, hits: counted so far.
    """

    def __init__(self, detector: Detector | None = None) -> None:
        self.shots = self.hits = 0
        self._detector = detector
        double_ns, double_mm, dead_ns, dead_mm = 0.5, 0.3, -1.0, 0.0
        if detector is not None:
            double_ns = max(0.1, 2.0 * detector.time_resolution_ns)
            double_mm = max(0.1, 2.0 * detector.position_resolution_mm)
            if {"dead_time_ns", "dead_radius_mm"} <= detector.model_fields_set:
                dead_ns = _INSIDE * detector.dead_time_ns
                dead_mm = _INSIDE * detector.dead_radius_mm
        self._limits = np.array([double_ns, double_mm, dead_ns, dead_mm])
        self._counts = np.zeros(6, np.int64)
        self._sizes = np.zeros(_MOST_SIZES, np.int64)
        self._marks: list[NDArray[np.uint64]] = []
        self._leading: int | None = None
        self._alike: int | None = None
        self._sample = Sample()
        self._clock = _Clock()
        self._spots: tuple[int, list[HotSpot]] | None = None

    def watch(self, run: Iterable[Hits]) -> Iterator[Hits]:
        """The chunks of a run, unchanged; each is counted as it passes."""
        for chunk in run:
            self.add(chunk)
            yield chunk

    def add(self, chunk: Hits) -> None:
        """Count the hits of a chunk."""
        x, y, t = (
            np.ascontiguousarray(column, np.float64)
            for column in (chunk.x_mm, chunk.y_mm, chunk.t_ns)
        )
        bits = np.stack([column.view(np.uint64) for column in (x, y, t)])
        marks = np.zeros(chunk.n_shots, np.uint64)
        look(
            np.ascontiguousarray(chunk.offsets, np.int64), x, y, t, bits, self._limits,
            chunk.first_shot, self._counts, self._sizes, marks,
        )  # fmt: skip
        if self._leading is None and chunk.n_hits:
            self._leading = self.shots + int(np.argmax(chunk.counts > 0))
        self.shots += chunk.n_shots
        self.hits += chunk.n_hits
        marks = marks[: max(_MOST_SHOTS - chunk.first_shot, 0)]
        if len(marks):
            self._marks.append(marks[marks != 0])
        self._sample.add(chunk.first_shot, chunk.counts, x, y, t)
        self._clock.add(chunk.first_shot, chunk.tags)

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """All counts as arrays by name, for `absorb`; those of the clock are not among them."""
        return {
            "shots": np.array(self.shots),
            "hits": np.array(self.hits),
            "leading": np.array(self.shots if self._leading is None else self._leading),
            "counts": self._counts,
            "sizes": self._sizes,
            "marks": np.concatenate([np.empty(0, np.uint64), *self._marks]),
            **self._sample.as_arrays(),
        }

    def absorb(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add what another counted in the shots that follow; their clock goes to `tick`."""
        counts, leading = arrays["counts"], int(arrays["leading"])
        for place in _SUMMED:
            self._counts[place] += counts[place]
        first = self._counts[RUN] + leading
        if first > self._counts[LONGEST]:
            self._counts[LONGEST] = first
            self._counts[BEGIN] = self.shots - self._counts[RUN]
        if counts[LONGEST] > self._counts[LONGEST]:
            self._counts[[LONGEST, BEGIN]] = counts[[LONGEST, BEGIN]]
        empty = leading == int(arrays["shots"])
        self._counts[RUN] = first if empty else counts[RUN]
        if self._leading is None and not empty:
            self._leading = self.shots + leading
        self.shots += int(arrays["shots"])
        self.hits += int(arrays["hits"])
        self._sizes += arrays["sizes"]
        if len(arrays["marks"]):
            self._marks.append(arrays["marks"])
        self._sample.absorb(arrays)

    def tick(self, first_shot: int, tags: Mapping[str, NDArray[Any]]) -> None:
        """Look at the time stamps of consecutive shots.

        Args:
            first_shot: number of the first.
            tags: values per shot by name.
        """
        self._clock.add(first_shot, tags)

    def as_dict(self) -> dict[str, Any]:
        """The counts of anomalies as plain values; zeros are left out."""
        repeated, several = self._repeated()
        full, slots = self._full()
        begin, empty = self._stretch()
        anomalies: dict[str, Any] = {
            "hits_twice_exactly": int(self._counts[SAME]),
            "hits_twice_nearly": int(self._counts[TWIN] - self._counts[SAME]),
            "hits_within_dead_time": int(self._counts[DEAD]),
            "shots_repeated": repeated if several else 0,
            "shots_with_full_slots": full,
            "slots": slots if full else 0,
            "longest_stretch_without_hits": empty,
            "stretch_without_hits_from_shot": begin if empty else 0,
            "share_of_time_without_shots": round(self._clock.share, 6),
            "hot_spots": [spot.as_dict() for spot in self._hot()],
            "constant": self._constant(),
        }
        return {name: value for name, value in anomalies.items() if value}

    def warnings(self) -> list[str]:
        """Warnings about anomalies that may affect results."""
        if self.hits < _ENOUGH:
            return []
        warnings = [
            *self._constant(),
            *self._doubles(),
            *(spot.sentence() for spot in self._hot()),
        ]
        repeated, several = self._repeated()
        if repeated > max(10, 0.01 * several):
            warnings.append(
                f"{repeated} of {several} shots with two hits or more hold exactly the hits of "
                "another shot: a file may be in the run twice"
            )
        full = self._full_slots()
        if full is not None and full.counts:
            warnings.append(full.sentence())
        begin, empty = self._stretch()
        if empty:
            warnings.append(
                f"there are no hits in {empty} shots in a row from shot {begin} on "
                f"({100 * empty / self.shots:.0f} % of the run): the detector may have been off"
            )
        gap = self._clock.sentence()
        return [*warnings, gap] if gap else warnings

    def remarks(self) -> list[str]:
        """Remarks about anomalies that do not affect results."""
        full = self._full_slots() if self.hits >= _ENOUGH else None
        return [] if full is None or full.counts else [full.sentence()]

    def rows(self) -> list[tuple[str, str | int | float, str]]:
        """Name, value and unit of the counts that are not 0, for a table."""
        labels = {
            "hits_twice_exactly": ("hits that are there twice", ""),
            "hits_twice_nearly": ("hits nearer than the resolution to another", ""),
            "hits_within_dead_time": ("hits within dead time and radius", ""),
            "shots_repeated": ("shots that are there twice", ""),
            "shots_with_full_slots": ("shots with all slots full", ""),
            "longest_stretch_without_hits": ("shots in a row without hits", ""),
            "share_of_time_without_shots": ("share of the time without shots", ""),
        }
        known = self.as_dict()
        rows: list[tuple[str, str | int | float, str]] = [
            (label, known[name], unit) for name, (label, unit) in labels.items() if name in known
        ]
        rows += [("hot spot", spot.place(), "mm") for spot in self._hot()]
        return rows

    def _doubles(self) -> list[str]:
        same, twin, dead = (int(self._counts[k]) for k in (SAME, TWIN, DEAD))
        detector = self._detector
        if same > max(3, 0.005 * self.hits):
            told = (
                f"{self._share(same)} stand in their shot a second time, to the last digit: they "
                "make coincidences with themselves; check how the file was written"
            )
        elif twin > max(5, 0.02 * self.hits):
            told = (
                f"{self._share(twin)} are within {self._limits[0]:g} ns and {self._limits[1]:g} mm "
                "of another in their shot, nearer than the detector tells hits apart: sorting "
                "makes two of one, or the file holds them twice"
            )
        elif dead > max(10, 0.05 * self.hits) and detector is not None:
            told = (
                f"{self._share(dead)} lie within the dead time and radius of the setup "
                f"({detector.dead_time_ns:g} ns, {detector.dead_radius_mm:g} mm) of another in "
                "their shot, where the detector loses hits: `detector` of the setup is wrong, or "
                "hits are made up"
            )
        else:
            return []
        return [told]

    def _share(self, count: int) -> str:
        return f"{count} of {self.hits} hits ({percent(count / self.hits)} %)"

    def _repeated(self) -> tuple[int, int]:
        """Number of shots that repeat another shot, and of shots with two hits or more."""
        if not self._marks:
            return 0, 0
        if len(self._marks) > 1 or self._alike is None:
            marks = np.sort(np.concatenate(self._marks))
            self._marks = [marks]
            self._alike = int(np.count_nonzero(marks[1:] == marks[:-1]))
        return self._alike, len(self._marks[0])

    def _full(self) -> tuple[int, int]:
        """Number of shots with all slots filled (0 if there is no sign of it), and of slots.

        Without a limit the number of shots decreases ever faster, or increases ever more slowly,
        from each number of hits to the next (except for an alternation of odd and even numbers,
        where ions come in pairs). If the largest number of hits is more frequent than that, further
        hits were lost.
        """
        most = int(np.flatnonzero(self._sizes)[-1]) if self._sizes.any() else 0
        if most < 3 or most == _MOST_SIZES - 1:
            return 0, most
        last, before, earlier, first = (int(self._sizes[most - k]) for k in range(4))
        steep = 0 < 1.5 * before**2 < earlier * last
        piled = steep and last >= max(10, 1.2 * before, 1.2 * earlier, 1.2 * first * (most > 3))
        slots = self._detector.slots if self._detector is not None else 0
        reached = most == slots and last > max(10, 0.005 * self.shots)
        return (last, most) if piled or reached else (0, most)

    def _full_slots(self) -> FullSlots | None:
        full, slots = self._full()
        if not full:
            return None
        before = int(self._sizes[slots - 1])
        return FullSlots(slots, full, before, shots=self.shots, hits=self.hits)

    def _stretch(self) -> tuple[int, int]:
        """First shot and length of a stretch without hits too long to be chance, or 0."""
        longest = int(self._counts[LONGEST])
        others = self.shots - longest
        if longest < max(1000, 0.05 * self.shots) or others < 100:
            return 0, 0
        empty = (int(self._sizes[0]) - longest) / others
        likely = np.log(self.shots) + longest * np.log(max(empty, 1e-300))
        return (int(self._counts[BEGIN]), longest) if likely < np.log(1e-9) else (0, 0)

    def _hot(self) -> list[HotSpot]:
        if self.hits < _ENOUGH:
            return []
        if self._spots is None or self._spots[0] != self.hits:
            self._spots = self.hits, hot_spots(*self._sample.values())
        return self._spots[1]

    def _constant(self) -> list[str]:
        return constant_columns(*self._sample.values()) if self.hits >= _ENOUGH else []


class _Clock:
    """Gaps in the time stamps or train numbers of the shots."""

    def __init__(self) -> None:
        self._first = self._last = self._usual = np.nan
        self._gaps = self._largest = 0.0
        self._shot = 0

    def add(self, first_shot: int, tags: Mapping[str, NDArray[Any]]) -> None:
        """Add the time steps between consecutive shots, of which the first has this number."""
        if TAG_TIMESTAMP in tags:
            time = np.asarray(tags[TAG_TIMESTAMP], np.float64)
        elif TAG_TRAIN in tags:
            time = _TRAIN_S * np.asarray(tags[TAG_TRAIN], np.float64)
        else:
            return
        place = np.flatnonzero(np.isfinite(time))
        if not len(place):
            return
        known = time[place]
        if np.isnan(self._first):
            self._first = self._last = float(known[0])
        steps = np.diff(np.concatenate([[self._last], known]))
        forward = steps > 0
        if np.isnan(self._usual) and forward.sum() >= _ENOUGH:
            self._usual = float(np.median(steps[forward]))
        long = steps > max(_GAP * self._usual, 1.0) if self._usual > 0 else np.zeros(0, np.bool_)
        if long.any():
            self._gaps += float(steps[long].sum())
            at = int(np.argmax(steps))
            if steps[at] > self._largest:
                self._largest = float(steps[at])
                self._shot = first_shot + int(place[at])
        self._last = float(known[-1])

    @property
    def share(self) -> float:
        """Share of the time from first to last shot that is in gaps."""
        span = self._last - self._first
        return self._gaps / span if span > 0 else 0.0

    def sentence(self) -> str | None:
        """The warning about gaps, if there are any."""
        if self.share < 0.05:
            return None
        return (
            f"there are no shots in {100 * self.share:.0f} % of the time from first to last shot "
            f"(the longest gap, {self._largest:.4g} s, ends at shot {self._shot})"
        )
