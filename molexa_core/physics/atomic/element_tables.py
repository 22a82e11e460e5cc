"""Tables of one element at one photon energy: configurations and the transitions between them.

The configurations are those that the neutral atom can reach by photoionization, Auger decay,
fluorescence and capture of electrons into its valence shell, with no subshell fuller than in the
neutral atom. The transitions of configuration c have the numbers `first[c]` to `first[c + 1] - 1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.tables import FloatArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.configuration import Configuration, compute_configuration, mesh_for
from molexa_core.physics.atomic.decay import Decay
from molexa_core.physics.atomic.energies import average_energy
from molexa_core.physics.atomic.ionization import first_ionization
from molexa_core.physics.atomic.rows import (
    AUGER,
    FLUORESCENCE,
    MISSING,
    NONE,
    PHOTO,
    ROW_ARRAYS,
    Finder,
    Numbering,
    Rows,
    capture_level,
    outermost_level,
    rows_of,
)
from molexa_core.physics.atomic.scf import solve_orbitals
from molexa_core.physics.atomic.shells import (
    NAMES,
    ON_DEMAND,
    SUBSHELLS,
    Occupation,
    covered_element,
    ground_occupation,
    occupation_text,
    valence_subshells,
)

__all__ = ["AUGER", "FLUORESCENCE", "MISSING", "NONE", "PHOTO"]
HIGHEST_PHOTON_EV: Final = 20_000.0
"""Highest photon energy, eV, at which the nonrelativistic dipole approximation makes sense."""


@dataclass(frozen=True)
class AtomicTables(Rows):
    """Configurations of one element and their connections. n rows, s subshells, t transitions.

    Row 0 is the neutral atom. In addition to the arrays of `Rows` there are:

    Attributes:
        symbol: element.
        photon_ev: photon energy, eV.
        charge: (n) charge.
        removed: (n, s) row with one electron less in the subshell; `NONE` if no such
            configuration is reached, `MISSING` if it has not been computed yet.
        added: (n, s) row with one electron more in the subshell; likewise.
        target: (t) row of the final configuration; likewise.

    Charge transfer uses `outer_binding` and `capture_binding`: the measured value for the neutral
    atom, differences of average energies for ions of H to Ar, orbital energies for heavier ions.
    """

    symbol: str
    photon_ev: float
    charge: NDArray[np.int8]
    removed: NDArray[np.int32]
    added: NDArray[np.int32]
    target: NDArray[np.int32]

    def find(self, occupation: Occupation) -> int | None:
        """The row of a configuration, None if there is none."""
        rows = np.flatnonzero((self.occupation == np.array(occupation)).all(axis=1))
        return int(rows[0]) if len(rows) else None

    def configuration(self, row: int) -> Configuration:
        """One row as a `Configuration`."""
        cross_section = np.zeros(self.occupation.shape[1])
        decays = []
        for t in range(self.first[row], self.first[row + 1]):
            i, j, k = (int(shell) for shell in self.shells[t])
            if self.kind[t] == PHOTO:
                cross_section[i] = self.value[t]
            else:
                rate, energy = float(self.value[t]), float(self.released[t])
                how: Any = "auger" if self.kind[t] == AUGER else "fluorescence"
                decays.append(Decay(how, i, j, k, rate, energy))
        occupation = tuple(int(count) for count in self.occupation[row])
        return Configuration(
            number=int(self.charge[row]) + sum(occupation),
            occupation=occupation,
            energy=self.energy[row],
            cross_section=cross_section,
            decays=tuple(decays),
            average_energy=float(self.average_energy[row]),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ARRAYS}


ARRAYS: Final = tuple(
    item.name for item in fields(AtomicTables) if item.name not in {"symbol", "photon_ev"}
)
"""Names of the arrays of the tables."""


def build_tables(symbol: str, photon_ev: float, *, progress: Progress = SILENT) -> AtomicTables:
    """Compute the tables of one element.

    Args:
        symbol: element, H to Ar.
        photon_ev: photon energy, eV.
        progress: where to report.

    Raises:
        UnknownIonError: the element is not covered.
        UsageError: the photon energy is not usable, see `require_photon`, or the element has too
            many configurations.
        ComputationError: a configuration did not converge.
    """
    number = covered_element(symbol).number
    if symbol in ON_DEMAND:
        raise UsageError(
            f"{symbol} has too many configurations to compute all of them",
            do="Use molexa_core.physics.atomic.on_demand.growing_tables.",
        )
    can_open = open_subshells(symbol, photon_ev)
    photon = photon_ev / HARTREE_EV
    candidates = _candidates(ground_occupation(number), can_open)
    mesh = mesh_for(number, photon, innermost=SUBSHELLS[can_open.index(True)].n)
    solved = []
    label = f"{symbol} at {photon_ev:g} eV"
    with progress.task(label, len(candidates), "configurations") as task:
        for occupation in candidates:
            solved.append(compute_configuration(number, occupation, photon, mesh))
            task.advance()
    everything = rows_of(solved, photon)
    linked = link(symbol, photon_ev, everything)
    outer, captured = _bindings(symbol, linked)
    everything = replace(everything, outer_binding=outer, capture_binding=captured)
    lost = np.flatnonzero(linked.target < 0)
    if len(lost):
        row = int(np.searchsorted(linked.first, lost[0], side="right")) - 1
        raise ComputationError(
            f"{symbol} {occupation_text(candidates[row])} goes over to a configuration that is "
            "not among those computed"
        )
    keep = _reachable(linked, valence_subshells(number))
    return link(symbol, photon_ev, everything.select(keep))


def link(
    symbol: str, photon_ev: float, rows: Rows, *, growing: tuple[bool, ...] | None = None
) -> AtomicTables:
    """Find the final rows of all transitions and the neighbours of all rows.

    Args:
        symbol: element.
        photon_ev: photon energy, eV.
        rows: configurations, each once.
        growing: for tables that grow: (s) subshells in which holes can be created. Configurations
            that can be reached and are not among the rows are then `MISSING`, otherwise `NONE`.
    """
    ground = np.array(ground_occupation(covered_element(symbol).number))
    numbering = Numbering(tuple(ground))
    numbers = numbering.numbers(rows.occupation)
    finder = Finder(numbers)
    absent = NONE if growing is None else MISSING

    def find(wanted: NDArray[np.int64], possible: NDArray[np.bool_]) -> NDArray[np.int32]:
        found = finder.rows(wanted)
        return np.where(possible, np.where(found < 0, absent, found), NONE).astype(np.int32)

    can_open = np.ones(len(ground), dtype=bool) if growing is None else np.array(growing)
    target = np.repeat(numbers, np.diff(rows.first)) + numbering.changes(rows.kind, rows.shells)
    return AtomicTables(
        **{name: getattr(rows, name) for name in ROW_ARRAYS},
        symbol=symbol,
        photon_ev=photon_ev,
        charge=(ground.sum() - rows.occupation.sum(axis=1)).astype(np.int8),
        removed=find(numbering.neighbours(rows.occupation, -1), (rows.occupation > 0) & can_open),
        added=find(numbering.neighbours(rows.occupation, 1), rows.occupation < ground),
        target=find(target, np.ones(len(target), dtype=bool)),
    )


def require_photon(symbol: str, photon_ev: float) -> dict[str, float]:
    """Check a photon energy and return the binding energies of the neutral atom, eV, by subshell.

    Raises:
        UnknownIonError: the element is not covered.
        UsageError: not a finite positive number, too high, or below every edge of the atom.
    """
    number = covered_element(symbol).number
    ground = ground_occupation(number)
    if not 0.0 < photon_ev <= HIGHEST_PHOTON_EV:  # false for nan too
        raise UsageError(
            f"the photon energy is {photon_ev:g} eV",
            do=f"Choose one above 0 and up to {HIGHEST_PHOTON_EV:g} eV.",
        )
    energy = solve_orbitals(number, ground).energy
    edges = {
        name: -float(value) * HARTREE_EV
        for name, value, electrons in zip(NAMES, energy, ground, strict=False)
        if electrons
    }
    lowest = min(edges.values())
    if photon_ev <= lowest:
        raise UsageError(
            f"a photon of {photon_ev:g} eV ionizes no subshell of {symbol}",
            do=f"The lowest edge of this model is {lowest:.2f} eV.",
        )
    return edges


def open_subshells(symbol: str, photon_ev: float) -> tuple[bool, ...]:
    """The subshells that the photons can ionize in the neutral atom.

    In ions every subshell is bound more strongly.

    Raises:
        UnknownIonError, UsageError: as `require_photon`.
    """
    edges = require_photon(symbol, photon_ev)
    ground = ground_occupation(covered_element(symbol).number)
    return tuple(edges.get(name, np.inf) < photon_ev for name in NAMES[: len(ground)])


def _candidates(ground: Occupation, can_open: tuple[bool, ...]) -> list[Occupation]:
    """All occupations with holes only in subshells that can be ionized, the neutral atom first."""
    ranges = [
        range(count, -1 if is_open else count - 1, -1)
        for count, is_open in zip(ground, can_open, strict=True)
    ]
    return list(product(*ranges))


def _bindings(symbol: str, tables: AtomicTables) -> tuple[FloatArray, FloatArray]:
    """Binding energies from average energies; for the neutral atom (row 0) the measured value.

    Orbital energies bind the outermost electrons of ions of low charge too weakly, see `energies`.
    """
    number = covered_element(symbol).number
    every, total = np.arange(len(tables)), tables.average_energy
    outer = outermost_level(tables.occupation, tables.energy)
    ion = tables.removed[every, outer]
    leaving = np.where(ion >= 0, total[ion], 0.0) - total
    for row in np.flatnonzero((ion < 0) & tables.occupation.any(axis=1)):
        # These photons cannot ionize the outermost subshell, but it takes part in transfer.
        ionized = changed(tuple(map(int, tables.occupation[row])), {int(outer[row]): -1})
        leaving[row] += average_energy(solve_orbitals(number, ionized))
    leaving[~tables.occupation.any(axis=1)] = 0.0
    leaving[0] = first_ionization(symbol)
    level = capture_level(tables.occupation, ground_occupation(number), valence_subshells(number))
    taker = tables.added[every, level]
    captured = np.where(level >= 0, total - total[taker], 0.0)
    captured[(level >= 0) & (taker == 0)] = leaving[0]
    return leaving, captured


def changed(occupation: Occupation, changes: Mapping[int, int]) -> Occupation:
    """The occupation with electrons added to subshells (or removed, if negative)."""
    return tuple(count + changes.get(index, 0) for index, count in enumerate(occupation))


def _reachable(tables: AtomicTables, valence: tuple[int, ...]) -> NDArray[np.int64]:
    """The rows that are reached from row 0 by transitions and electron capture, in their order."""
    seen = np.zeros(len(tables), dtype=bool)
    seen[0] = True
    start = np.repeat(np.arange(len(tables)), np.diff(tables.first))
    captured = tables.added[:, valence]
    while True:
        found = seen.copy()
        found[tables.target[seen[start]]] = True
        more = captured[seen]
        found[more[more >= 0]] = True
        if (found == seen).all():
            return np.flatnonzero(seen)
        seen = found
