"""Atomic tables of several elements at several photon energies, in one.

A launch then holds geometries in pulses of any of these energies: an atom begins at the row of its
element at the energy of its pulse, and all transitions stay within the rows of that table.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import UsageError
from molexa_core.base.matter.elements import BY_NUMBER, ELEMENTS
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.physics.atomic.cache import atomic_tables, cache_file
from molexa_core.physics.atomic.element_tables import AtomicTables
from molexa_core.physics.mcmd.molecule_tables import pack_tables
from molexa_core.physics.mcmd.trajectories import available_cores

PHOTON_GRID_EV: Final = (
    *(300.0, 360.0, 450.0, 600.0, 760.0, 960.0, 1200.0, 1500.0),
    *(1750.0, 2000.0, 2300.0, 2700.0, 3300.0, 4500.0, 6500.0, 10_000.0),
)
"""Photon energies, eV, of the family of X-ray pulses. Between two K edges of neighbouring elements
(C 291, N 405, O 537, F 688, Si 1824, P 2124, S 2448, Cl 2794 in this model) there is one at least;
where edges are far apart, neighbours differ by a factor of 1.15 to 1.5."""
ELEMENTS_OF_TABLES: Final = ("H", "C", "N", "O", "F", "Si", "P", "S", "Cl")
"""The elements of the molecules that the family is learned on."""
_ROUGH_SIZE: Final = {"H": 2, "C": 27, "N": 36, "O": 45, "F": 54, "Si": 567, "P": 756, "S": 945}
"""Configurations at most, by element: what takes longest is begun first."""


@dataclass(frozen=True)
class PhotonTables:
    """Configurations and transitions, as in `molecule_tables.MoleculeTables`.

    Attributes:
        photon_ev: (e) photon energies, eV, ascending.
        config_int: (c + 1, 4) int32.
        config_real: (c + 1, 4) float32.
        move_int: (t, 2) int32.
        move_real: (t, 2) float32.
        start: (e, z) int32, row of the neutral atom by photon energy and atomic number; -1 without
            tables.
    """

    photon_ev: FloatArray
    config_int: NDArray[np.int32]
    config_real: NDArray[np.float32]
    move_int: NDArray[np.int32]
    move_real: NDArray[np.float32]
    start: NDArray[np.int32]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays used by the trajectories, by name, without the starts."""
        names = ("config_int", "config_real", "move_int", "move_real")
        return {name: getattr(self, name) for name in names}

    def starts(
        self, numbers: NDArray[np.signedinteger], photon_ev: FloatArray
    ) -> NDArray[np.int32]:
        """(g, n) int32, row of each neutral atom.

        Args:
            numbers: (g, n) atomic numbers.
            photon_ev: (g) photon energies, eV, each one of those of the tables.

        Raises:
            UsageError: no tables for a photon energy or an element.
        """
        place = np.searchsorted(self.photon_ev, photon_ev - 1e-3)
        place = np.minimum(place, len(self.photon_ev) - 1)
        wrong = np.abs(self.photon_ev[place] - photon_ev) > 1e-3
        if wrong.any():
            known = ", ".join(f"{value:g}" for value in self.photon_ev)
            raise UsageError(
                f"there are no tables for photons of {photon_ev[wrong][0]:g} eV",
                do=f"There are: {known} eV.",
            )
        rows: NDArray[np.int32] = self.start[place[:, None], numbers]
        if (rows < 0).any():
            number = int(numbers[rows < 0][0])
            raise UsageError(f"there are no tables for {BY_NUMBER[number].symbol}")
        return np.ascontiguousarray(rows)

    def nearest(self, photon_ev: FloatArray) -> FloatArray:
        """The photon energies of the tables nearest to these, by their ratio; eV."""
        ratio = np.abs(np.log(np.asarray(photon_ev)[..., None] / self.photon_ev))
        found: FloatArray = self.photon_ev[ratio.argmin(-1)]
        return found

    def cross_section(self) -> FloatArray:
        """(e, z) photoionization cross section of the neutral atom, bohr^2; 0 without tables."""
        found = np.where(self.start >= 0, self.config_real[self.start, 0], 0.0)
        return np.asarray(found, dtype=np.float64)


def pack_photon_tables(
    photon_ev: Sequence[float] = PHOTON_GRID_EV,
    symbols: Sequence[str] = ELEMENTS_OF_TABLES,
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> PhotonTables:
    """The tables of these elements at these photon energies, from the cache or computed.

    Args:
        photon_ev: photon energies, eV.
        symbols: elements.
        workers: processes that compute what is not in the cache; one per core if not given. With 1
            everything is computed in this process.
        progress: display of the progress.

    Raises:
        UnknownIonError: an element that is not covered.
        UsageError: a photon energy that is not usable.
    """
    energies = tuple(sorted({round(float(value), 3) for value in photon_ev}))
    wanted = tuple(sorted(set(symbols), key=lambda symbol: ELEMENTS[symbol].number))
    return _packed(energies, wanted, workers or available_cores(), progress)


@lru_cache(maxsize=4)
def _kept(energies: tuple[float, ...], symbols: tuple[str, ...]) -> list[PhotonTables]:
    """Room for tables that were packed in this process."""
    del energies, symbols
    return []


def _packed(
    energies: tuple[float, ...], symbols: tuple[str, ...], workers: int, progress: Progress
) -> PhotonTables:
    room = _kept(energies, symbols)
    if not room:
        room.append(_joined(energies, symbols, _computed(energies, symbols, workers, progress)))
    return room[0]


def _computed(
    energies: tuple[float, ...], symbols: tuple[str, ...], workers: int, progress: Progress
) -> dict[tuple[float, str], AtomicTables]:
    wanted = [(energy, symbol) for energy in energies for symbol in symbols]
    # Large ones first, so that processes finish together.
    wanted.sort(key=lambda item: -_ROUGH_SIZE.get(item[1], 2000) * item[0] ** 0.3)
    found = {}
    with progress.task("atomic tables", len(wanted), "tables") as task:
        if workers == 1 or all(_is_kept(energy, symbol) for energy, symbol in wanted):
            for energy, symbol in wanted:
                found[energy, symbol] = atomic_tables(symbol, energy)
                task.advance()
            return found
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            jobs = {pool.submit(atomic_tables, symbol, energy): (energy, symbol)
                    for energy, symbol in wanted}  # fmt: skip
            for job in as_completed(jobs):
                found[jobs[job]] = job.result()
                task.advance()
    return found


def _is_kept(energy: float, symbol: str) -> bool:
    """Whether the cache has a table, so that reading it is faster than starting processes."""
    path = cache_file(symbol, energy)
    return path is not None and path.is_file()


def _joined(
    energies: tuple[float, ...],
    symbols: tuple[str, ...],
    tables: dict[tuple[float, str], AtomicTables],
) -> PhotonTables:
    parts: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("config_int", "config_real", "move_int", "move_real")
    }
    start = np.full((len(energies), max(BY_NUMBER) + 1), -1, dtype=np.int32)
    rows = moves = 0
    for place, energy in enumerate(energies):
        packed = pack_tables(symbols, [tables[energy, symbol] for symbol in symbols])
        config = packed.config_int.copy()
        config[:, 0] += moves
        config[:, 2:] = np.where(config[:, 2:] >= 0, config[:, 2:] + rows, config[:, 2:])
        move = packed.move_int.copy()
        move[:, 0] += rows
        parts["config_int"].append(config)
        parts["config_real"].append(packed.config_real)
        parts["move_int"].append(move)
        parts["move_real"].append(packed.move_real)
        for symbol, row in zip(symbols, packed.start, strict=True):
            start[place, ELEMENTS[symbol].number] = row + rows
        rows, moves = rows + len(config), moves + len(move)
    arrays = {name: np.ascontiguousarray(np.concatenate(some)) for name, some in parts.items()}
    return PhotonTables(np.array(energies), **arrays, start=start)
