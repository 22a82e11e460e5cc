"""The tables passed between stages: hits, edges, coincidences, geometries.

Momenta and lengths in atomic units. Every row keeps its `event_id`: a filter is a mask, and
`select` cuts all columns together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UnknownIonError, UsageError
from molexa_core.base.fields import EVENT_DETECTOR, EVENT_ID, EVENT_WEIGHT, MOMENTUM
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.matter.isotopes import Masses, nuclide, nuclide_name, split_nuclides
from molexa_core.base.shown import Shown

if TYPE_CHECKING:
    import pandas as pd

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def offsets_of(counts: NDArray[Any]) -> IntArray:
    """(n + 1) index at which the values of each of n shots begin, and the end of the last.

    Example:
        >>> offsets_of(np.array([2, 0, 1])).tolist()
        [0, 2, 2, 3]
    """
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


class OfShots(Shown):
    """Values of consecutive shots, end to end: what hits and edges have in common.

    The values of shot `first_shot + s` are `offsets[s]:offsets[s + 1]` of every column in `VALUES`.
    """

    VALUES: ClassVar[tuple[str, ...]]
    """The columns with a value per hit or edge."""
    first_shot: int
    offsets: IntArray
    tags: Mapping[str, NDArray[Any]]

    @property
    def n_shots(self) -> int:
        """Number of shots, empty ones included."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> IntArray:
        """(shots) number of values of each shot."""
        return np.diff(self.offsets)

    @property
    def shot(self) -> IntArray:
        """(values) number of the shot of each value."""
        shots = np.arange(self.first_shot, self.first_shot + self.n_shots, dtype=np.int64)
        return np.repeat(shots, self.counts)

    def shots(self, start: int, stop: int) -> Self:
        """The shots from `start` to before `stop`, counted within the chunk."""
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        return self._with(
            first_shot=self.first_shot + start,
            offsets=self.offsets[start : stop + 1] - low,
            tags={name: column[start:stop] for name, column in self.tags.items()},
            **{name: getattr(self, name)[low:high] for name in self.VALUES},
        )

    def select(self, mask: BoolArray) -> Self:
        """The same shots with some of their values, by a mask over all values."""
        return self._with(
            offsets=offsets_of(mask)[self.offsets],
            **{name: getattr(self, name)[mask] for name in self.VALUES},
        )

    def empty(self, first_shot: int, shots: int) -> Self:
        """Shots without a value, with the same tags, which are not numbers."""
        return self._with(
            first_shot=first_shot,
            offsets=np.zeros(shots + 1, np.int64),
            tags={name: np.full(shots, np.nan) for name in self.tags},
            **{name: getattr(self, name)[:0] for name in self.VALUES},
        )

    @classmethod
    def concatenate(cls, chunks: Sequence[Self]) -> Self:
        """Consecutive chunks as one; the tags are those of the first."""
        if len(chunks) == 1:
            return chunks[0]
        first = chunks[0]
        return first._with(  # noqa: SLF001  # its own class
            offsets=offsets_of(np.concatenate([chunk.counts for chunk in chunks])),
            tags={
                name: np.concatenate([chunk.tags[name] for chunk in chunks]) for name in first.tags
            },
            **{
                name: np.concatenate([getattr(chunk, name) for chunk in chunks])
                for name in cls.VALUES
            },
        )

    def in_chunks(self, shots: int) -> Iterator[Self]:
        """All shots in chunks of `shots`; the last may be shorter."""
        for start in range(0, self.n_shots, shots):
            yield self.shots(start, min(start + shots, self.n_shots))

    def _with(self, **columns: Any) -> Self:
        this: Any = self
        changed: Self = replace(this, **columns)
        return changed


@dataclass(frozen=True, repr=False)
class Hits(OfShots):
    """Hits of consecutive shots, as a run stores them: laboratory units, uncalibrated.

    Attributes:
        first_shot: number of the first shot, counted from 0 over all files of the run.
        offsets: (shots + 1) int64, starts at 0.
        x_mm, y_mm, t_ns: (hits) detector position and time of flight.
        method: (hits) int16 resort method of the hit, 0 where the run has none.
        tags: per-shot values by name, each (shots).
    """

    VALUES = ("x_mm", "y_mm", "t_ns", "method")

    first_shot: int
    offsets: IntArray
    x_mm: FloatArray
    y_mm: FloatArray
    t_ns: FloatArray
    method: NDArray[np.int16]
    tags: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Hits:
        """No shots."""
        empty = np.empty(0)
        return cls(0, np.zeros(1, np.int64), empty, empty, empty, np.empty(0, np.int16))

    @property
    def n_hits(self) -> int:
        """Number of hits."""
        return len(self.t_ns)


@dataclass(frozen=True, repr=False)
class Edges(OfShots):
    """Signal edges (MCP and wire ends) of consecutive shots, not yet sorted into hits.

    Within a shot they are in the order of channels, and within a channel in the order of time.

    Attributes:
        first_shot: number of the first shot, counted from 0 over all files of the run.
        offsets: (shots + 1) int64, starts at 0.
        channel: (edges) int16 input of the time-to-digital converter, counted from 0.
        t_ns: (edges) time of the edge, relative to the trigger of its shot.
        tags: per-shot values by name, each (shots).
    """

    VALUES = ("channel", "t_ns")

    first_shot: int
    offsets: IntArray
    channel: NDArray[np.int16]
    t_ns: FloatArray
    tags: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def none(cls) -> Edges:
        """No shots."""
        return cls(0, np.zeros(1, np.int64), np.empty(0, np.int16), np.empty(0))

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.t_ns)


@dataclass(frozen=True)
class DetectorValues:
    """What the detector measured of each ion of a coincidence: calibrated hits.

    Attributes:
        tof_ns: (n, ions) time of flight, time zero removed.
        x_mm, y_mm: (n, ions) position, centre removed, rotated and scaled as calibrated.
    """

    tof_ns: FloatArray
    x_mm: FloatArray
    y_mm: FloatArray

    @property
    def columns(self) -> dict[str, FloatArray]:
        """The arrays by the names they have in events files."""
        return {name: getattr(self, name) for name in EVENT_DETECTOR}

    def select(self, rows: BoolArray | IntArray) -> DetectorValues:
        """The rows of a mask or of row numbers."""
        return DetectorValues(**{name: column[rows] for name, column in self.columns.items()})

    def reordered(self, order: IntArray) -> DetectorValues:
        """The ions of each row in another order.

        Args:
            order: (n, ions) the present column of each new one.
        """
        return DetectorValues(
            **{
                name: np.take_along_axis(column, order, axis=1)
                for name, column in self.columns.items()
            }
        )

    @classmethod
    def concatenate(cls, parts: Sequence[DetectorValues]) -> DetectorValues:
        """The rows of all parts, one after the other."""
        return cls(
            **{
                name: np.concatenate([part.columns[name] for part in parts])
                for name in EVENT_DETECTOR
            }
        )


@dataclass(frozen=True, repr=False)
class Coincidences(Shown):
    """Ion momenta, one row per coincidence (events.h5) or per assignment (aligned.h5).

    Attributes:
        ions: the ion of each column, in the order of the channel.
        event_id: (n) identifies the coincidence.
        momentum: (n, ions, 3) a.u.
        weight: (n) weight of the row in averages; ones unless rows share an event.
        tags: per-row values by name, each (n).
        meta: description of the table (channel, frame, summary) as plain values.
        detector: what the detector measured of each ion, in the laboratory whatever the frame of
            the momenta; None where it is not known, such as in files of earlier versions.
        false: false coincidences to be subtracted, built from hits of different shots: rows of the
            same ions, each standing for `weight` expected ones (negative where it corrects others).
            None where they are not known.
        source: (n, ions) in a table of false coincidences the shot of the hit of each ion; None in
            others.
        spectra: histograms (`Spectrum`) of all hits of the run that it was found in, by name, where
            they are at hand; a selection of rows does not change them.
    """

    ions: tuple[Ion, ...]
    event_id: IntArray
    momentum: FloatArray
    weight: FloatArray
    tags: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    detector: DetectorValues | None = None
    false: Coincidences | None = None
    source: IntArray | None = None
    spectra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.event_id)
        shape = (n, len(self.ions), 3)
        if self.momentum.shape != shape:
            raise UsageError(f"momentum has shape {self.momentum.shape}, expected {shape}")
        for name, column in ((EVENT_WEIGHT, self.weight), *self.tags.items()):
            if len(column) != n:
                raise UsageError(f"column {name!r} has {len(column)} rows, expected {n}")
        for name, column in ({} if self.detector is None else self.detector.columns).items():
            if column.shape != shape[:2]:
                raise UsageError(f"{name} has shape {column.shape}, expected {shape[:2]}")
        if self.source is not None and self.source.shape != shape[:2]:
            raise UsageError(f"source has shape {self.source.shape}, expected {shape[:2]}")
        if self.false is not None and self.false.ions != self.ions:
            raise UsageError("the false coincidences have other ions")

    def __len__(self) -> int:
        return len(self.event_id)

    @classmethod
    def of(
        cls,
        ions: Sequence[Ion | str],
        momentum: FloatArray,
        *,
        event_id: IntArray | None = None,
        tags: Mapping[str, NDArray[Any]] | None = None,
        meta: Mapping[str, Any] | None = None,
        detector: DetectorValues | None = None,
    ) -> Coincidences:
        """A table from bare momenta (n, ions, 3) in a.u., for example from a notebook."""
        momentum = np.asarray(momentum, dtype=np.float64)
        n = len(momentum)
        return cls(
            ions=tuple(parse_ion(ion) if isinstance(ion, str) else ion for ion in ions),
            event_id=np.arange(n, dtype=np.int64) if event_id is None else event_id,
            momentum=momentum,
            weight=np.ones(n),
            tags=dict(tags or {}),
            meta=dict(meta or {}),
            detector=detector,
        )

    def select(self, mask: BoolArray | IntArray) -> Coincidences:
        """The rows of a mask or of row numbers, all columns together; `false` stays as it is."""
        return replace(
            self,
            source=None if self.source is None else self.source[mask],
            event_id=self.event_id[mask],
            momentum=self.momentum[mask],
            weight=self.weight[mask],
            tags={name: column[mask] for name, column in self.tags.items()},
            detector=None if self.detector is None else self.detector.select(mask),
        )

    @classmethod
    def concatenate(
        cls, tables: Sequence[Coincidences], *, meta: Mapping[str, Any] | None = None
    ) -> Coincidences:
        """The rows of tables of the same ions and tags, one after the other.

        Detector values are kept if all tables have them; false coincidences are joined, and a
        table without them counts as having none.

        Args:
            tables: at least one.
            meta: of the whole; that of the first if None.

        Raises:
            UsageError: other ions, or a tag of the first table that another lacks.
        """
        first = tables[0]
        for table in tables:
            if table.ions != first.ions:
                raise UsageError(
                    f"the tables have other ions: {', '.join(map(str, first.ions))} and "
                    f"{', '.join(map(str, table.ions))}"
                )
            if missing := sorted(set(first.tags) - set(table.tags)):
                raise UsageError(f"tag {', '.join(missing)} is missing in some of the tables")
        detector = [table.detector for table in tables if table.detector is not None]
        sources = [table.source for table in tables if table.source is not None]
        false = [table.false for table in tables if table.false is not None]
        return cls(
            ions=first.ions,
            event_id=np.concatenate([table.event_id for table in tables]),
            momentum=np.concatenate([table.momentum for table in tables]),
            weight=np.concatenate([table.weight for table in tables]),
            tags={
                name: np.concatenate([table.tags[name] for table in tables]) for name in first.tags
            },
            meta=dict(first.meta if meta is None else meta),
            detector=DetectorValues.concatenate(detector) if len(detector) == len(tables) else None,
            false=cls.concatenate(false) if false else None,
            source=np.concatenate(sources) if len(sources) == len(tables) else None,
        )

    def with_meta(self, meta: Mapping[str, Any]) -> Coincidences:
        """The same rows with another description."""
        return replace(self, meta=dict(meta))

    def kinetic_energy(self) -> FloatArray:
        """(n, ions) kinetic energy of each ion in hartree, p^2 / 2m."""
        mass = np.array([ion.mass for ion in self.ions])
        energy: FloatArray = np.sum(self.momentum**2, axis=2) / (2.0 * mass)
        return energy

    def momentum_sum(self) -> FloatArray:
        """(n, 3) sum of the momenta of all ions, a.u."""
        total: FloatArray = self.momentum.sum(axis=1)
        return total

    def to_pandas(self) -> pd.DataFrame:
        """One row per event, columns `event_id`, `O+.px`, ..., weight and tags.

        With detector values also `O+.tof_ns`, `O+.x_mm`, `O+.y_mm`, ... . Like ions are numbered
        from the second on: `H+`, `H+#2`.
        """
        import pandas as pd  # noqa: PLC0415  # takes half a second, for this alone

        columns: dict[str, NDArray[Any]] = {EVENT_ID: self.event_id}
        for index, label in enumerate(ion_labels(self.ions)):
            for axis, name in enumerate(MOMENTUM):
                columns[f"{label}.{name}"] = self.momentum[:, index, axis]
            for name, values in ({} if self.detector is None else self.detector.columns).items():
                columns[f"{label}.{name}"] = values[:, index]
        columns[EVENT_WEIGHT] = self.weight
        columns |= dict(self.tags)
        return pd.DataFrame(columns)


@dataclass(frozen=True, repr=False)
class Geometry(Shown):
    """A molecular structure.

    Attributes:
        symbols: element of each atom.
        positions: (atoms, 3) bohr.
        charges: final charge of each atom, where known.
        uncertainty: (atoms, 3) one standard uncertainty of each coordinate in bohr, where known.
        comment: free text of the file it came from.
        isotopes: mass number of each atom, 0 where it is not stated; None where none is.
        warnings: warnings about the file it came from.
    """

    symbols: tuple[str, ...]
    positions: FloatArray
    charges: tuple[int, ...] | None = None
    uncertainty: FloatArray | None = None
    comment: str = ""
    isotopes: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=np.float64))
        if self.isotopes is not None and len(self.isotopes) != len(self.symbols):
            raise InputFileError(f"{len(self.symbols)} atoms but {len(self.isotopes)} isotopes")
        if self.positions.shape != (len(self.symbols), 3):
            raise InputFileError(
                f"{len(self.symbols)} atoms but positions of shape {self.positions.shape}"
            )

    def __len__(self) -> int:
        return len(self.symbols)

    @classmethod
    def of_atoms(
        cls, names: Sequence[str], positions: FloatArray, *, where: object = None
    ) -> Geometry:
        """A structure of atoms as a file names them: `O`, `D`, `13C`.

        Raises:
            InputFileError: no such element or isotope.
        """
        try:
            symbols, isotopes = split_nuclides(tuple(names))
        except UnknownIonError as error:
            raise InputFileError(error.what, where=where, do="Make the file again.") from error
        return cls(symbols, positions, isotopes=isotopes)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each atom, isotope included: `O`, `D`, `13C`."""
        numbers = self.isotopes or (0,) * len(self)
        return tuple(nuclide_name(s, n) for s, n in zip(self.symbols, numbers, strict=True))

    def masses(self, kind: Masses = "isotope") -> FloatArray:
        """(atoms) masses of the neutral atoms in electron masses.

        Args:
            kind: `isotope` or `average`, for atoms whose isotope is not stated.
        """
        return np.array([nuclide(name).mass_as(kind) for name in self.names])

    def centred(self) -> Geometry:
        """The same structure with the mean of its positions (not of its mass) at the origin."""
        return replace(self, positions=self.positions - self.positions.mean(axis=0))


def ion_labels(ions: Sequence[Ion]) -> list[str]:
    """A label for each ion, like ions numbered from the second on.

    Example:
        >>> ion_labels([parse_ion(text) for text in ("O+", "H+", "H+")])
        ['O+', 'H+', 'H+#2']
    """
    seen: dict[str, int] = {}
    labels = []
    for ion in ions:
        name = str(ion)
        seen[name] = seen.get(name, 0) + 1
        labels.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return labels
