"""The tables that stages hand to each other.

Momenta and lengths in atomic units. `event_id` travels with every row: a filter is a mask, and
`select` cuts all columns together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.fields import EVENT_ID, EVENT_WEIGHT, MOMENTUM
from molexa_core.base.ions import Ion, parse_ion
from molexa_core.base.isotopes import Masses, nuclide, nuclide_name

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Hits:
    """Hits of consecutive shots, as a run stores them: laboratory units, uncalibrated.

    The hits of shot `first_shot + s` are `offsets[s]:offsets[s + 1]`.

    Attributes:
        first_shot: number of the first shot, counted from 0 over all files of the run.
        offsets: (shots + 1) int64, starts at 0.
        x_mm, y_mm, t_ns: (hits) detector position and time of flight.
        method: (hits) int16 resort method of the hit, 0 where the run has none.
        tags: per-shot values by name, each (shots).
    """

    first_shot: int
    offsets: IntArray
    x_mm: FloatArray
    y_mm: FloatArray
    t_ns: FloatArray
    method: NDArray[np.int16]
    tags: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def n_shots(self) -> int:
        """Number of shots, empty ones included."""
        return len(self.offsets) - 1

    @property
    def n_hits(self) -> int:
        """Number of hits."""
        return len(self.t_ns)

    @property
    def shot(self) -> IntArray:
        """(hits) number of the shot of each hit."""
        shots = np.arange(self.first_shot, self.first_shot + self.n_shots, dtype=np.int64)
        return np.repeat(shots, np.diff(self.offsets))


@dataclass(frozen=True)
class Edges:
    """Edges of a detector's signals in consecutive shots, before hits are made of them.

    The edges of shot `first_shot + s` are `offsets[s]:offsets[s + 1]`. Within a shot they are in
    the order of channels, and within a channel in the order of time.

    Attributes:
        first_shot: number of the first shot, counted from 0 over all files of the run.
        offsets: (shots + 1) int64, starts at 0.
        channel: (edges) int16 input of the edge, counted from 0.
        t_ns: (edges) time of the edge, relative to the trigger of its shot.
        tags: per-shot values by name, each (shots).
    """

    first_shot: int
    offsets: IntArray
    channel: NDArray[np.int16]
    t_ns: FloatArray
    tags: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def n_shots(self) -> int:
        """Number of shots, empty ones included."""
        return len(self.offsets) - 1

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return len(self.t_ns)

    @property
    def shot(self) -> IntArray:
        """(edges) number of the shot of each edge."""
        shots = np.arange(self.first_shot, self.first_shot + self.n_shots, dtype=np.int64)
        return np.repeat(shots, np.diff(self.offsets))


@dataclass(frozen=True)
class Coincidences:
    """Ion momenta, one row per coincidence (events.h5) or per assignment (aligned.h5).

    Attributes:
        ions: the ion of each column, in the order of the channel.
        event_id: (n) identifies the coincidence.
        momentum: (n, ions, 3) a.u.
        weight: (n) weight of the row in averages; ones unless rows share an event.
        tags: per-row values by name, each (n).
        meta: what a reader may want to know: channel, frame, summary; plain values.
    """

    ions: tuple[Ion, ...]
    event_id: IntArray
    momentum: FloatArray
    weight: FloatArray
    tags: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.event_id)
        shape = (n, len(self.ions), 3)
        if self.momentum.shape != shape:
            raise UsageError(f"momentum has shape {self.momentum.shape}, expected {shape}")
        for name, column in ((EVENT_WEIGHT, self.weight), *self.tags.items()):
            if len(column) != n:
                raise UsageError(f"column {name!r} has {len(column)} rows, expected {n}")

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
        )

    def select(self, mask: BoolArray | IntArray) -> Coincidences:
        """The rows of a mask or of row numbers, all columns together."""
        return replace(
            self,
            event_id=self.event_id[mask],
            momentum=self.momentum[mask],
            weight=self.weight[mask],
            tags={name: column[mask] for name, column in self.tags.items()},
        )

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

        Like ions are numbered from the second on: `H+`, `H+#2`.
        """
        columns: dict[str, NDArray[Any]] = {EVENT_ID: self.event_id}
        for index, label in enumerate(ion_labels(self.ions)):
            for axis, name in enumerate(MOMENTUM):
                columns[f"{label}.{name}"] = self.momentum[:, index, axis]
        columns[EVENT_WEIGHT] = self.weight
        columns |= dict(self.tags)
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class Geometry:
    """A molecular structure.

    Attributes:
        symbols: element of each atom.
        positions: (atoms, 3) bohr.
        charges: final charge of each atom, where known.
        uncertainty: (atoms, 3) one standard uncertainty of each coordinate in bohr, where known.
        comment: free text of the file it came from.
        isotopes: mass number of each atom, 0 where it is not stated; None where none is.
    """

    symbols: tuple[str, ...]
    positions: FloatArray
    charges: tuple[int, ...] | None = None
    uncertainty: FloatArray | None = None
    comment: str = ""
    isotopes: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.isotopes is not None and len(self.isotopes) != len(self.symbols):
            raise InputFileError(f"{len(self.symbols)} atoms but {len(self.isotopes)} isotopes")
        if self.positions.shape != (len(self.symbols), 3):
            raise InputFileError(
                f"{len(self.symbols)} atoms but positions of shape {self.positions.shape}"
            )

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def names(self) -> tuple[str, ...]:
        """How each atom is written, isotope included: `O`, `D`, `13C`."""
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
