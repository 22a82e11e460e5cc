"""Sums over the shots of a run for covariances, block by block of whole stretches.

Sums of floating-point numbers depend on their order. They are formed in blocks of some stretches,
each for itself, and added in the order of the blocks, so that the result does not depend on who
computes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError, listing
from molexa_core.base.fields import TAG_PULSE_ENERGY
from molexa_core.base.settings import Setup
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.reduction.coincidences import Search
from molexa_core.reduction.cumulants.cumulant_maps import CumulantMap, Kind
from molexa_core.reduction.cumulants.windows import MOST_SHOTS, HiddenPairs, counts_from
from molexa_core.reduction.laboratory import calibrate
from molexa_core.reduction.stretches import STRETCH

_FEWEST: Final = 4
"""Stretches of a block, at least."""
_BLOCK_BYTES: Final = 8 * 2**20
"""A block has more stretches where its maps are larger than this."""
_SUMS: Final = 75
"""Arrays of the shape of a map that a block has, about: of three maps, one of them in slices."""
_AXIS: Final = re.compile(r"^\s*(tof|px|py|pz|p)\s*(?:\(\s*([^()]+?)\s*\))?\s*$")
_ROOM: Final = 1.02


def stretches_of_block(bins: int) -> int:
    """Stretches of a block, by the size of the maps."""
    return _FEWEST * max(1, math.ceil(8 * _SUMS * bins**2 / _BLOCK_BYTES))


@dataclass(frozen=True)
class Axis:
    """One axis of the maps: the time of flight of any hit, or an observable of one kind of ion."""

    name: str
    kind: int | None
    component: int | None
    edges: FloatArray
    unit: str

    @classmethod
    def of(cls, text: str, search: Search, bins: int) -> Axis:
        """The axis of a text such as `tof` or `pz(O+)`.

        Raises:
            UsageError: it is none, or of another ion.
        """
        found = _AXIS.match(text)
        kinds = list(search.windows)
        if found is None or (found[2] is None) != (found[1] == "tof"):
            raise UsageError(
                f"{text!r} is not an axis of a map",
                setting="axes",
                do="Use tof, or px, py, pz, p of an ion of the channel, such as pz(O+).",
            )
        if found[1] == "tof":
            last = _ROOM * max(high for _, high in search.windows.values())
            first = min(low for low, _ in search.windows.values()) / _ROOM
            return cls("time of flight", None, None, np.linspace(first, last, bins + 1), "ns")
        if found[2] not in kinds:
            raise UsageError(
                f"{found[2]} is not an ion of the channel",
                setting="axes",
                do=f"There are {listing(kinds)}.",
            )
        size = search.sum_range
        low = 0.0 if found[1] == "p" else -size
        component = None if found[1] == "p" else "xyz".index(found[1][1])
        edges = np.linspace(low, size, bins + 1)
        return cls(text.strip(), kinds.index(found[2]), component, edges, "a.u.")

    def bins_of(self, hits: Hits, found: list[tuple[IntArray, FloatArray]]) -> IntArray:
        """(hits) bin of each hit, -1 for none."""
        if self.kind is None:
            return self._placed(hits.t_ns, np.arange(hits.n_hits), hits.n_hits)
        rows, momenta = found[self.kind]
        size = np.linalg.norm(momenta, axis=1)
        values = size if self.component is None else momenta[:, self.component]
        return self._placed(values, rows, hits.n_hits)

    def _placed(self, values: FloatArray, rows: IntArray, hits: int) -> IntArray:
        place = np.full(hits, -1, np.int64)
        bins = np.searchsorted(self.edges, values, side="right") - 1
        inside = (bins >= 0) & (bins < len(self.edges) - 1)
        place[rows[inside]] = bins[inside]
        return place


@dataclass(frozen=True)
class Counting:
    """What is counted before the maps.

    Attributes:
        bins: of the maps, by which the blocks have their size.
        control: tag that is wanted as a control variable; None: the pulse energy, if there.
    """

    bins: int
    control: str | None


class BlockCounts:
    """The numbers of ions in the shots of a block, and their control variable.

    Args:
        search: the channel.
        setup: the apparatus.
        control: tag that is wanted as a control variable; the pulse energy, if there, where None.
        first: number of the first stretch of the block.

    Attributes:
        hidden: pairs lost in the dead time; looked for at the beginning of the run only.
    """

    def __init__(self, search: Search, setup: Setup, control: str | None, first: int) -> None:
        self._search, self._setup, self._control = search, setup, control
        self._look = first * STRETCH < MOST_SHOTS
        detector = setup.detector
        self.hidden = HiddenPairs(
            list(search.windows), detector.dead_time_ns, detector.dead_radius_mm
        )
        self._counts: list[IntArray] = []
        self._values: list[FloatArray] = []

    @property
    def name(self) -> str:
        """The tag of the control variable."""
        return self._control or TAG_PULSE_ENERGY

    def add(self, chunk: Hits) -> None:
        """Count the ions of a stretch.

        Raises:
            UsageError: it has not the tag that is wanted.
        """
        hits, _ = calibrate(chunk, self._setup)
        self._counts.append(counts_from(list(self._search.candidates(hits)), hits))
        if self._look:
            self.hidden.add(hits, self._search)
        if self._control is not None and self._control not in chunk.tags:
            raise UsageError(
                f"the run has no tag {self._control!r}", setting="control",
                do=f"There are {listing(sorted(chunk.tags)) or 'none'}.",
            )  # fmt: skip
        if self.name in chunk.tags:
            self._values.append(np.asarray(chunk.tags[self.name], np.float64))

    @property
    def counts(self) -> IntArray:
        """(kinds, shots) hits in the windows."""
        return np.concatenate(self._counts, axis=1)

    @property
    def values(self) -> FloatArray | None:
        """(shots) the control variable; None where stretches have none."""
        known = self._values and len(self._values) == len(self._counts)
        return np.concatenate(self._values) if known else None

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """As arrays by name; the numbers of ions as small as they are."""
        counts = self.counts
        small = np.uint8 if counts.max(initial=0) < 2**8 else np.int64
        arrays = {
            "counts": counts.astype(small),
            "close": self.hidden.close,
            "looked": np.array(self.hidden.shots),
        }
        values = self.values
        return arrays if values is None else arrays | {"values": values}


@dataclass(frozen=True)
class MapPlan:
    """What maps are made of, with the values over all shots that each shot is compared with.

    Attributes:
        axes, bins, beside: as the call says.
        name: tag of the control variable; None without.
        shots: of the run.
        slices: number of slices; 0 for none.
        edges: between slices of the control; None for slices of time.
        middle: means of the numbers of hits beside.
        fill, mean, std: value in place of an unknown one of the control variable, then its mean and
            standard deviation.
    """

    axes: tuple[str, str]
    bins: int
    beside: tuple[str, ...]
    name: str | None
    shots: int
    slices: int
    edges: tuple[float, ...] | None
    middle: tuple[float, ...] = ()
    fill: float = 0.0
    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def of(
        cls,
        counts: IntArray,
        kinds: Sequence[str],
        control: FloatArray | None,
        *,
        axes: tuple[str, str],
        bins: int,
        beside: Sequence[str],
        name: str | None,
        slices: int,
    ) -> Self:
        """The plan for a run.

        Args:
            counts: (kinds, shots).
            kinds: names of the kinds of ions.
            control: (shots) control variable.
            axes: see the class, as what follows.
            bins: of each axis.
            beside: further ions.
            name: of the control variable.
            slices: how many.
        """
        further = counts[[kinds.index(ion) for ion in beside]].astype(np.float64)
        middle = tuple(further.mean(axis=1).tolist())
        plan = cls(
            (axes[0], axes[1]), bins, tuple(beside), name, counts.shape[1], slices, None, middle
        )
        if control is None:
            return plan
        known = np.isfinite(control)
        edges = None
        if slices > 0:
            shares = np.linspace(0.0, 1.0, slices + 1)[1:-1]
            edges = tuple(np.quantile(control[known], shares).tolist())
        fill = float(control[known].mean())
        filled = np.where(known, control, fill)
        return replace(
            plan, edges=edges, fill=fill, mean=float(filled.mean()), std=float(filled.std())
        )

    def as_values(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def of_values(cls, values: Mapping[str, Any]) -> Self:
        """What `as_values` gave, lists in place of tuples included."""
        given: dict[str, Any] = {
            name: tuple(one) if isinstance(one, list) else one for name, one in values.items()
        }
        return cls(**given)

    def slices_of(self, control: FloatArray | None, first: int, shots: int) -> IntArray | None:
        """(shots) slice of each shot: quantiles of the control, or stretches of time.

        Args:
            control: (shots) their values; None for slices of time.
            first: place of the first of them in the run.
            shots: how many.
        """
        if self.slices < 1:
            return None
        if self.edges is None or control is None:
            place = np.arange(first, first + shots) * self.slices // max(self.shots, 1)
            return place.astype(np.int64)
        place = np.full(shots, -1, np.int64)
        known = np.isfinite(control)
        place[known] = np.searchsorted(np.array(self.edges), control[known], side="right")
        return place

    def titles(self) -> dict[str, tuple[Kind, int]]:
        """The maps by name: which kind, and of how many slices."""
        if self.beside:
            kind: Kind = "three" if len(self.beside) == 1 else "four"
            return {f"cumulant with {' and '.join(self.beside)}": (kind, 1)}
        wanted: dict[str, tuple[Kind, int]] = {"covariance": ("plain", 1)}
        if self.name is not None:
            wanted[f"partial covariance ({self.name})"] = ("partial", 1)
            if self.slices > 0:
                wanted[f"contingent covariance ({self.name})"] = ("plain", self.slices)
        return wanted


class MapSums:
    """Sums for the maps of a run, or of a block of it.

    Args:
        plan: which maps.
        search: the channel.
        setup: the apparatus.
    """

    def __init__(self, plan: MapPlan, search: Search, setup: Setup) -> None:
        self._plan, self._search, self._setup = plan, search, setup
        self._kinds = list(search.windows)
        self._axes = tuple(Axis.of(text, search, plan.bins) for text in plan.axes)
        self._wanted = plan.titles()
        shape = (plan.bins, plan.bins)
        self._sums = {
            title: [CumulantMap(shape, kind) for _ in range(number)]
            for title, (kind, number) in self._wanted.items()
        }

    def add(self, chunk: Hits, first: int) -> None:
        """Add a stretch of shots.

        Args:
            chunk: as the run stores them.
            first: place of the first of them in the run.
        """
        plan = self._plan
        hits, _ = calibrate(chunk, self._setup)
        found = list(self._search.candidates(hits))
        x, y = (axis.bins_of(hits, found) for axis in self._axes)
        beside = [self._kinds.index(ion) for ion in plan.beside]
        for column in beside:
            x[found[column][0]] = -1
            y[found[column][0]] = -1
        further = counts_from(found, hits)[beside].astype(np.float64).T - np.array(plan.middle)
        control = away = None
        if plan.name is not None:
            control = np.asarray(chunk.tags[plan.name], np.float64)
            known = np.where(np.isfinite(control), control, plan.fill)
            away = ((known - plan.mean) / plan.std)[:, None]
        of = plan.slices_of(control, first, hits.n_shots)
        for title, (kind, number) in self._wanted.items():
            centred = away if kind == "partial" and away is not None else further
            self._add(title, hits, x, y, centred, of if number > 1 else None)

    def _add(
        self,
        title: str,
        hits: Hits,
        x: IntArray,
        y: IntArray,
        centred: FloatArray,
        of: IntArray | None,
    ) -> None:
        maps = self._sums[title]
        if of is None:
            maps[0].add(hits.offsets, x, y, centred)
            return
        shot = hits.shot - hits.first_shot
        for number, one in enumerate(maps):
            inside = of == number
            offsets = np.concatenate([[0], np.cumsum(hits.counts[inside])])
            chosen = inside[shot]
            one.add(offsets, x[chosen], y[chosen], centred[inside])

    def as_arrays(self) -> dict[str, NDArray[Any]]:
        """All sums as arrays by name."""
        return {
            f"{place}.{number}.{name}": values
            for place, maps in enumerate(self._sums.values())
            for number, one in enumerate(maps)
            for name, values in one.as_arrays().items()
        }

    def absorb(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add the sums of the block that follows."""
        for place, maps in enumerate(self._sums.values()):
            for number, one in enumerate(maps):
                begins = f"{place}.{number}."
                one.absorb(
                    {
                        name.removeprefix(begins): values
                        for name, values in arrays.items()
                        if name.startswith(begins)
                    }
                )

    def spectra(self) -> dict[str, Spectrum]:
        """The maps by name, with errors."""
        return {title: _spectrum(maps, self._axes) for title, maps in self._sums.items()}


def blocks(stretches: Iterable[Hits], size: int) -> Iterator[tuple[int, int, Hits]]:
    """Each stretch of a run with the number of its block, and its first shot counted from 0.

    Args:
        stretches: of the run.
        size: stretches of a block.
    """
    first = 0
    for number, hits in enumerate(stretches):
        yield number // size, first, hits
        first += hits.n_shots


def _spectrum(parts: list[CumulantMap], axes: Sequence[Axis]) -> Spectrum:
    usable = [part for part in parts if part.shots >= 10]
    shots = float(sum(part.shots for part in usable))
    shape = tuple(len(axis.edges) - 1 for axis in axes)
    value, variance = np.zeros(shape), np.zeros(shape)
    for part in usable:
        found, error = part.result()
        value += part.shots / shots * found
        variance += (part.shots / shots * error) ** 2
    return Spectrum(
        counts=value,
        edges=tuple(axis.edges for axis in axes),
        labels=tuple(axis.name for axis in axes),
        units=tuple(axis.unit for axis in axes),
        errors=np.sqrt(variance),
    )
