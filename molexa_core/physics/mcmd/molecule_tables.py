"""The atomic tables of a molecule in the form used by the trajectories.

The tables of the elements are concatenated; rows are configurations. Numbers that are used together
are adjacent in memory, four integers and four 32-bit floats per configuration and two and two per
transition, so that a GPU reads each group with one instruction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.elements import ELEMENTS
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.cache import atomic_tables
from molexa_core.physics.atomic.element_tables import AtomicTables
from molexa_core.physics.atomic.on_demand import GrowingTables, growing_tables
from molexa_core.physics.atomic.rows import (
    MISSING,
    NONE,
    PHOTO,
    Numbering,
    capture_level,
    outermost_level,
)
from molexa_core.physics.atomic.shells import (
    ON_DEMAND,
    SUBSHELLS,
    covered_element,
    valence_subshells,
)
from molexa_core.physics.atomic.walks import Exposure
from molexa_core.physics.mcmd.state import CHARGE, FIRST, INNER


@dataclass(frozen=True)
class MoleculeTables:
    """Configurations and transitions of all elements of a molecule. c configurations, t moves.

    Attributes:
        symbols: element of each atom.
        photon_ev: photon energy, eV.
        config_int: (c + 1, 4) int32, columns `FIRST`, `CHARGE`, `REMOVED`, `ADDED`; the last row
            only ends the transitions of the row before it.
        config_real: (c + 1, 4) float32, columns `PHOTO_SUM`, `DECAY_SUM`, `BINDING`, `CAPTURE`.
        move_int: (t, 2) int32, columns `TARGET`, `KIND`.
        move_real: (t, 2) float32, columns `VALUE`, `RELEASED`.
        start: (n) int32, row of the neutral atom, for each atom of the molecule.
        occupation: (c, s) electrons in the subshells of `shells.SUBSHELLS`.
        unknown: (u) rows that are not computed yet. They have the right charge and no transitions:
            an atom that reaches such a row stays there, and its trajectory is repeated when the
            tables have grown.
        growing: growing tables, by element.
    """

    symbols: tuple[str, ...]
    photon_ev: float
    config_int: NDArray[np.int32]
    config_real: NDArray[np.float32]
    move_int: NDArray[np.int32]
    move_real: NDArray[np.float32]
    start: NDArray[np.int32]
    occupation: NDArray[np.int8]
    unknown: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    growing: Mapping[str, GrowingTables] = field(default_factory=dict)

    def is_unknown(self, rows: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Whether these rows are not computed yet."""
        lost = np.zeros(len(self.config_int), dtype=bool)
        lost[self.unknown] = True
        return lost[rows]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays used by the trajectories, by name."""
        names = ("config_int", "config_real", "move_int", "move_real", "start")
        return {name: getattr(self, name) for name in names}

    def masses(self, kind: str) -> FloatArray:
        """(n) masses of the neutral atoms in electron masses, `isotope` or `average`."""
        average = kind == "average"
        known = [ELEMENTS[symbol] for symbol in self.symbols]
        return np.array([e.average_mass if average else e.isotope_mass for e in known])


def pack_molecule(
    symbols: Sequence[str], photon_ev: float, *, progress: Progress = SILENT
) -> MoleculeTables:
    """The tables of a molecule, each element from the cache or computed.

    Elements that the photons cannot ionize take part in electron transfer, if at least one element
    of the molecule can be ionized.

    Args:
        symbols: element of each atom.
        photon_ev: photon energy, eV.
        progress: display of the progress of the tables.

    Raises:
        UnknownIonError: an element that is not covered; the message lists those that are.
        UsageError: no atom, or a photon energy that is not usable.
    """
    if not symbols:
        raise UsageError("a molecule without atoms", do="Give at least one atom.")
    for symbol in symbols:
        covered_element(symbol)
    growing = {
        symbol: growing_tables(symbol, photon_ev, progress=progress)
        for symbol in sorted(set(symbols) & set(ON_DEMAND))
    }
    tables = [
        growing[symbol].tables
        if symbol in growing
        else atomic_tables(symbol, photon_ev, progress=progress)
        for symbol in sorted(set(symbols), key=lambda symbol: ELEMENTS[symbol].number)
    ]
    return pack_tables(symbols, tables, growing)


def pack_tables(
    symbols: Sequence[str],
    tables: Sequence[AtomicTables],
    growing: Mapping[str, GrowingTables] | None = None,
) -> MoleculeTables:
    """Join the tables of the elements.

    Args:
        symbols: element of each atom.
        tables: one per element that occurs, at the same photon energy.
        growing: the growing tables, by element.
    """
    parts: list[_Part] = []
    unknown: list[NDArray[np.int32]] = []
    row = move = 0
    row_of = {}
    for table in tables:
        row_of[table.symbol] = row
        parts.append(_pack_element(table, row, move))
        size = len(parts[-1].occupation)
        unknown.append(np.arange(row + len(table), row + size, dtype=np.int32))
        row, move = row + size, move + len(table.kind)
    last_int = np.array([[move, 0, -1, -1]], dtype=np.int32)
    last_real = np.zeros((1, 4), dtype=np.float32)
    return MoleculeTables(
        symbols=tuple(symbols),
        photon_ev=tables[0].photon_ev,
        config_int=np.concatenate([*(part.config_int for part in parts), last_int]),
        config_real=np.concatenate([*(part.config_real for part in parts), last_real]),
        move_int=np.concatenate([part.move_int for part in parts]),
        move_real=np.concatenate([part.move_real for part in parts]),
        start=np.array([row_of[symbol] for symbol in symbols], dtype=np.int32),
        occupation=np.concatenate([_widened(part.occupation) for part in parts]),
        unknown=np.concatenate(unknown),
        growing=growing or {},
    )


def prepare_tables(
    tables: MoleculeTables, exposure: Exposure, *, walks: int, seed: int, progress: Progress
) -> MoleculeTables:
    """Tables with the configurations that walks of single atoms reach, if they are growing ones."""
    if not tables.growing:
        return tables
    for growing in tables.growing.values():
        growing.report_to(progress)
        growing.prefetch(exposure, walks=walks, seed=seed)
    return _packed_again(tables)


def grow_tables(
    tables: MoleculeTables,
    lost: NDArray[np.int32],
    exposure: Exposure,
    *,
    seed: int,
    progress: Progress,
) -> MoleculeTables:
    """Tables with the missing rows at which trajectories stopped, and those that may follow.

    Args:
        tables: the tables as they are.
        lost: (l) rows that are not computed yet.
        exposure: the pulse.
        seed: of the walks that start from these rows.
        progress: display of the progress.
    """
    element = np.array([sum(map(int, row)) for row in tables.occupation[lost]])
    number = element + tables.config_int[lost, CHARGE]
    for symbol, growing in tables.growing.items():
        mine = lost[number == ELEMENTS[symbol].number]
        if len(mine):
            size = growing.tables.occupation.shape[1]
            growing.report_to(progress)
            growing.grow(tables.occupation[mine, :size], exposure, seed=seed)
    return _packed_again(tables)


def _packed_again(tables: MoleculeTables) -> MoleculeTables:
    elements = sorted(set(tables.symbols), key=lambda symbol: ELEMENTS[symbol].number)
    parts = [
        tables.growing[symbol].tables
        if symbol in tables.growing
        else atomic_tables(symbol, tables.photon_ev)
        for symbol in elements
    ]
    return pack_tables(tables.symbols, parts, tables.growing)


class _Part(NamedTuple):
    """The arrays of one element."""

    config_int: NDArray[np.int32]
    config_real: NDArray[np.float32]
    move_int: NDArray[np.int32]
    move_real: NDArray[np.float32]
    occupation: NDArray[np.int8]


def _pack_element(table: AtomicTables, row: int, move: int) -> _Part:
    """The arrays of one element whose rows begin at `row`, its transitions at `move`."""
    n = len(table)
    every = np.arange(n)
    value = table.value.astype(np.float32)
    start = np.repeat(every, np.diff(table.first))
    photo = table.kind == PHOTO
    sums = [
        np.bincount(start[some], weights=value[some].astype(np.float64), minlength=n)
        for some in (photo, ~photo)
    ]
    ground = tuple(int(count) for count in table.occupation[0])
    valence = valence_subshells(ELEMENTS[table.symbol].number)
    outer = outermost_level(table.occupation, table.energy)
    level = capture_level(table.occupation, ground, valence)
    numbering = Numbering(ground)
    target, removed, added, more = _with_unknown(table, start, outer, level, numbering)
    inner = np.arange(table.occupation.shape[1]) < min(valence)
    kind = table.kind.astype(np.int32)
    kind[inner[table.shells[:, 0]]] |= INNER
    known: NDArray[Any] = np.stack(
        [table.first[:-1] + move, table.charge, _shifted(removed, row), _shifted(added, row)],
        axis=1,
    )
    unknown = np.full((len(more), 4), NONE, dtype=np.int64)
    unknown[:, FIRST] = move + len(kind)
    unknown[:, CHARGE] = sum(ground) - more.sum(axis=1)
    real = np.stack([*sums, table.outer_binding, table.capture_binding], axis=1)
    return _Part(
        np.concatenate([known, unknown]).astype(np.int32),
        np.concatenate([real, np.zeros((len(more), 4))]).astype(np.float32),
        np.stack([target + row, kind], axis=1).astype(np.int32),
        np.stack([value, table.released], axis=1).astype(np.float32),
        np.concatenate([table.occupation, more]),
    )


def _with_unknown(
    table: AtomicTables,
    start: NDArray[np.int64],
    outer: NDArray[np.int64],
    level: NDArray[np.int64],
    numbering: Numbering,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Rows after transitions (t), loss (n) and capture (n) of an electron, and missing ones.

    Missing configurations get rows after the computed ones: (m, s) occupations.
    """
    every, number = np.arange(len(table)), numbering.numbers(table.occupation)
    rows = [
        table.target.astype(np.int64),
        np.where(table.outer_binding > 0.0, table.removed[every, outer], NONE).astype(np.int64),
        np.where(level >= 0, table.added[every, level], NONE).astype(np.int64),
    ]
    numbers = [
        number[start] + numbering.changes(table.kind, table.shells),
        numbering.neighbours(table.occupation, -1)[every, outer],
        numbering.neighbours(table.occupation, 1)[every, level],
    ]
    unknown = np.unique(
        np.concatenate([which[row == MISSING] for row, which in zip(rows, numbers, strict=True)])
    )
    for row, which in zip(rows, numbers, strict=True):
        lost = row == MISSING
        row[lost] = len(table) + np.searchsorted(unknown, which[lost])
    target, removed, added = rows
    return target, removed, added, numbering.occupations(unknown)


def _widened(occupation: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.pad(occupation, ((0, 0), (0, len(SUBSHELLS) - occupation.shape[1])))


def _shifted(rows: NDArray[np.signedinteger], by: int) -> NDArray[np.signedinteger]:
    return np.where(rows >= 0, rows + by, NONE)
