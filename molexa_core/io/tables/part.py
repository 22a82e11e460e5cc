"""One file of a run as a table, and conversion of its values to hits without empty slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, Hits, IntArray, offsets_of
from molexa_core.io.hits import filler
from molexa_core.io.tables.interface import Table

_MOST_ALIKE: Final = 8
_SUSPECT: Final = 0.01
"""Share of hits with one number for x, y and time above which it is taken for an empty place."""


@dataclass
class Tally:
    """Counts of a reading.

    Attributes:
        hits: hits read.
        empty: hits that were left out because x, y and time are 0 or not numbers, in layouts
            without empty slots.
        restarts: number of overflows of a 32-bit counter.
        beyond: slots with values beyond the stated number of hits.
        alike: number of hits whose x, y and time are the same number, by this number.
    """

    hits: int = 0
    empty: int = 0
    restarts: int = 0
    beyond: int = 0
    alike: dict[float, int] = field(default_factory=dict)

    def as_values(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "alike": list(self.alike.items())}

    def add(self, values: Mapping[str, Any]) -> None:
        """Add the counts of the shots that follow, as `as_values` gave them."""
        self.hits += values["hits"]
        self.empty += values["empty"]
        self.restarts += values["restarts"]
        self.beyond += values["beyond"]
        for value, count in values["alike"]:
            self.count_alike(value, count)

    def count_alike(self, value: float, count: int) -> None:
        """Count hits whose x, y and time are this number."""
        if len(self.alike) < _MOST_ALIKE or value in self.alike:
            self.alike[value] = self.alike.get(value, 0) + count

    def remarks(self) -> list[str]:
        """Remarks for the user."""
        remarks = []
        if self.empty:
            remarks.append(
                f"left out {self.empty} rows or entries whose x, y and time are all 0 or not "
                "numbers (filled-up places)"
            )
        if self.restarts:
            remarks.append(
                f"the 32-bit counter of the shots began again at 0 {self.restarts} time(s); shots "
                "were counted on"
            )
        return remarks

    def warnings(self) -> list[str]:
        """Warnings about the hits."""
        warnings = []
        if self.beyond:
            warnings.append(
                f"{self.beyond} places hold values behind the number of hits that `count` states; "
                "they were left out"
            )
        return warnings + [
            f"{count} of {self.hits} hits have x = y = time = {value:g}, which looks like an empty "
            f"place; if it is, say so with `empty: {value:g}` in `columns` of the setup"
            for value, count in self.alike.items()
            if count > max(2, _SUSPECT * self.hits)
        ]


@dataclass(frozen=True)
class Part:
    """One file of a run: its table, its layout, the number of its first shot.

    Attributes:
        slots: slots of a flat layout.
        tags: columns with a value per shot.
        edges: whether the rows are edges, for which zeros do not mean empty slots.
        tally: counts of the reading.
    """

    table: Table
    columns: Columns
    slots: int
    tags: tuple[str, ...]
    first_shot: int = 0
    edges: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def path(self) -> Path:
        """The file."""
        return self.table.path

    @property
    def n_shots(self) -> int | None:
        """Number of shots, if known without reading."""
        return None if self.columns.layout == "rows" else self.table.n_rows

    @property
    def filled(self) -> bool:
        """Whether the layout has a fixed number of slots per shot, so that some are empty."""
        kind = self.table.kinds.get(self.columns.time)
        return self.columns.layout == "flat" or (kind is not None and kind.filled)


def empty_places(part: Part, x: FloatArray, y: FloatArray, t: FloatArray) -> NDArray[np.bool_]:
    """Mask of slots without a hit, by the rule of `hits.filler` or because the time is `empty`.

    Edges, whose x and y are their TDC channel, have empty slots only in padded rows.
    """
    empty = np.zeros(len(t), np.bool_)
    if part.edges and not part.filled:
        return empty
    if ((t == 0) | ~np.isfinite(t)).any():
        empty = filler(x, y, t)
    kind = part.table.kinds.get(part.columns.time)
    for value in (part.columns.empty, None if kind is None else kind.empty):
        if value is not None:
            empty |= t == value
    return empty


def hits_of(
    part: Part,
    first_shot: int,
    offsets: IntArray,
    values: Sequence[FloatArray],
    tags: dict[str, NDArray[Any]],
) -> Hits:
    """Hits in mm and ns from the values of a layout; empty slots are left out."""
    x, y, t, method = values
    empty = empty_places(part, x, y, t)
    if empty.any():
        if not part.filled:
            part.tally.empty += int(empty.sum())
        offsets = offsets_of(~empty)[offsets]
        x, y, t, method = x[~empty], y[~empty], t[~empty], method[~empty]
    part.tally.hits += len(t)
    if not part.edges:
        _note_alike(part.tally, x, y, t)
    mm, ns = part.columns.x_unit_mm or 1.0, part.columns.time_unit_ns or 1.0
    y_mm = part.columns.y_unit_mm or mm
    return Hits(
        first_shot=first_shot,
        offsets=offsets,
        x_mm=x if mm == 1.0 else x * mm,
        y_mm=y if y_mm == 1.0 else y * y_mm,
        t_ns=t if ns == 1.0 else t * ns,
        method=as_method(method),
        tags={name.rpartition("/")[2]: column for name, column in tags.items()},
    )


def _note_alike(tally: Tally, x: FloatArray, y: FloatArray, t: FloatArray) -> None:
    alike = t[(x == t) & (y == t)]
    if len(alike):
        for value, count in zip(*np.unique(alike, return_counts=True), strict=True):
            tally.count_alike(float(value), int(count))


def as_method(values: FloatArray) -> NDArray[np.int16]:
    """Method numbers as small integers; other values (padding with -1, NaN) become -1."""
    valid = (values >= 0) & (values < 2**15)
    return np.where(valid, values, -1.0).astype(np.int16)
