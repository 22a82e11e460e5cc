"""The atomic tables of a molecule in the form that the trajectories read.

One copy per element, elements one behind the other; rows are configurations. Numbers that are used
together lie together, four integers and four 32-bit floats per configuration and two and two per
transition, so that a graphics processor reads each with one instruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.elements import ELEMENTS
from molexa_core.base.errors import UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.cache import atomic_tables
from molexa_core.physics.atomic.rows import NONE, PHOTO
from molexa_core.physics.atomic.shells import SUBSHELLS, covered_element, valence_subshells
from molexa_core.physics.atomic.tables import AtomicTables
from molexa_core.physics.mcmd.state import INNER


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
    """

    symbols: tuple[str, ...]
    photon_ev: float
    config_int: NDArray[np.int32]
    config_real: NDArray[np.float32]
    move_int: NDArray[np.int32]
    move_real: NDArray[np.float32]
    start: NDArray[np.int32]
    occupation: NDArray[np.int8]

    def masses(self, kind: str) -> FloatArray:
        """(n) masses of the neutral atoms in electron masses, `isotope` or `average`."""
        average = kind == "average"
        known = [ELEMENTS[symbol] for symbol in self.symbols]
        return np.array([e.average_mass if average else e.isotope_mass for e in known])


def pack_molecule(
    symbols: Sequence[str], photon_ev: float, *, progress: Progress = SILENT
) -> MoleculeTables:
    """The tables of a molecule, each element from the cache or computed.

    Elements that a photon cannot ionize take part as partners of transfer, as long as one element
    of the molecule can be ionized.

    Args:
        symbols: element of each atom.
        photon_ev: photon energy, eV.
        progress: where the computation of the tables reports.

    Raises:
        UnknownIonError: an element that is not covered; lists those that are.
        UsageError: no atom, or a photon energy that is not usable.
    """
    if not symbols:
        raise UsageError("a molecule without atoms", do="Give at least one atom.")
    for symbol in symbols:
        covered_element(symbol)
    elements = sorted(set(symbols), key=lambda symbol: ELEMENTS[symbol].number)
    tables = [atomic_tables(symbol, photon_ev, progress=progress) for symbol in elements]
    return pack_tables(symbols, tables)


def pack_tables(symbols: Sequence[str], tables: Sequence[AtomicTables]) -> MoleculeTables:
    """Join the tables of the elements.

    Args:
        symbols: element of each atom.
        tables: one per element that occurs, at the same photon energy.
    """
    rows = np.concatenate([[0], np.cumsum([len(table) for table in tables])])
    moves = np.concatenate([[0], np.cumsum([len(table.kind) for table in tables])])
    parts = [_pack_element(*item) for item in zip(tables, rows[:-1], moves[:-1], strict=True)]
    last_int = np.array([[moves[-1], 0, -1, -1]], dtype=np.int32)
    last_real = np.zeros((1, 4), dtype=np.float32)
    row_of = {table.symbol: int(row) for table, row in zip(tables, rows[:-1], strict=True)}
    return MoleculeTables(
        symbols=tuple(symbols),
        photon_ev=tables[0].photon_ev,
        config_int=np.concatenate([*(part[0] for part in parts), last_int]),
        config_real=np.concatenate([*(part[1] for part in parts), last_real]),
        move_int=np.concatenate([part[2] for part in parts]),
        move_real=np.concatenate([part[3] for part in parts]),
        start=np.array([row_of[symbol] for symbol in symbols], dtype=np.int32),
        occupation=np.concatenate([_widened(table.occupation) for table in tables]),
    )


def _pack_element(
    table: AtomicTables, row: int, move: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """The four arrays of one element whose rows begin at `row`, its transitions at `move`."""
    n = len(table)
    every = np.arange(n)
    value = table.value.astype(np.float32)
    start = np.repeat(every, np.diff(table.first))
    photo = table.kind == PHOTO
    sums = [
        np.bincount(start[some], weights=value[some].astype(np.float64), minlength=n)
        for some in (photo, ~photo)
    ]
    outer = np.where(table.occupation > 0, table.energy, -np.inf).argmax(axis=1)
    removed = np.where(table.outer_binding > 0.0, table.removed[every, outer], NONE)
    added = np.full(n, NONE)
    capture = np.zeros(n)
    valence = valence_subshells(ELEMENTS[table.symbol].number)
    for shell in valence:  # s, then p: the least bound one that has room stays
        target = table.added[:, shell]
        found = target >= 0
        added[found] = target[found]
        where = target[found]
        alone = outer[where] == shell
        capture[found] = np.where(alone, table.outer_binding[where], -table.energy[where, shell])
    inner = np.arange(table.occupation.shape[1]) < min(valence)
    kind = table.kind.astype(np.int32)
    kind[inner[table.shells[:, 0]]] |= INNER
    config_int = np.stack(
        [table.first[:-1] + move, table.charge, _shifted(removed, row), _shifted(added, row)],
        axis=1,
    )
    config_real = np.stack([*sums, table.outer_binding, capture], axis=1)
    return (
        config_int.astype(np.int32),
        config_real.astype(np.float32),
        np.stack([table.target + row, kind], axis=1).astype(np.int32),
        np.stack([value, table.released], axis=1).astype(np.float32),
    )


def _widened(occupation: NDArray[np.int8]) -> NDArray[np.int8]:
    return np.pad(occupation, ((0, 0), (0, len(SUBSHELLS) - occupation.shape[1])))


def _shifted(rows: NDArray[np.signedinteger], by: int) -> NDArray[np.signedinteger]:
    return np.where(rows >= 0, rows + by, NONE)
