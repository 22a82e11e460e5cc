"""Tables of one element at one photon energy: configurations and the transitions between them.

The configurations are those that the neutral atom can reach by photoionization, Auger decay,
fluorescence and capture of electrons into its valence shell, with no subshell fuller than in the
neutral atom. Transitions lie in compressed rows: those of configuration c are `first[c]` to
`first[c + 1]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
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
"""Beyond this the nonrelativistic dipole approximation is not worth computing."""


@dataclass(frozen=True)
class AtomicTables(Rows):
    """Rows of one element and how they hang together. n rows, s subshells, t transitions.

    Row 0 is the neutral atom. To the arrays of `Rows` come:

    Attributes:
        symbol: element.
        photon_ev: photon energy, eV.
        charge: (n) charge.
        removed: (n, s) row with one electron less in the subshell; `NONE` where no such
            configuration is reached, `MISSING` where it has not been computed yet.
        added: (n, s) row with one electron more in the subshell; the same.
        target: (t) row of the configuration that it becomes; the same.
        outer_binding: (n) energy that the outermost electron needs to leave, hartree: what charge
            transfer goes by. Better than the orbital energy for ions of low charge, and measured
            for the neutral atom; 0 for the nucleus alone.
    """

    symbol: str
    photon_ev: float
    charge: NDArray[np.int8]
    removed: NDArray[np.int32]
    added: NDArray[np.int32]
    target: NDArray[np.int32]
    outer_binding: FloatArray

    def find(self, occupation: Occupation) -> int | None:
        """The row of a configuration, None if there is none."""
        rows = np.flatnonzero((self.occupation == np.array(occupation)).all(axis=1))
        return int(rows[0]) if len(rows) else None

    def configuration(self, row: int) -> Configuration:
        """One row as the record it was made from."""
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
    linked = link(symbol, photon_ev, everything, _outer_bindings(symbol, everything))
    lost = np.flatnonzero(linked.target < 0)
    if len(lost):
        row = int(np.searchsorted(linked.first, lost[0], side="right")) - 1
        raise ComputationError(
            f"{symbol} {occupation_text(candidates[row])} goes over to a configuration that is "
            "not among those computed"
        )
    keep = _reachable(linked, valence_subshells(number))
    return link(symbol, photon_ev, everything.select(keep), linked.outer_binding[keep])


def link(symbol: str, photon_ev: float, rows: Rows, outer_binding: FloatArray) -> AtomicTables:
    """Find where transitions lead and which rows are neighbours.

    Args:
        symbol: element.
        photon_ev: photon energy, eV.
        rows: configurations, each once.
        outer_binding: (n) see `AtomicTables`.

    Returns:
        The tables, with `NONE` for configurations that are not among the rows.
    """
    ground = np.array(ground_occupation(covered_element(symbol).number))
    numbering = Numbering(tuple(ground))
    numbers = numbering.numbers(rows.occupation)
    finder = Finder(numbers)
    start = np.repeat(numbers, np.diff(rows.first))
    near = {
        sign: np.where(
            rows.occupation > 0 if sign < 0 else rows.occupation < ground,
            finder.rows(numbering.neighbours(rows.occupation, sign)),
            NONE,
        ).astype(np.int32)
        for sign in (-1, 1)
    }
    target = finder.rows(start + numbering.changes(rows.kind, rows.shells))
    return AtomicTables(
        **{name: getattr(rows, name) for name in ROW_ARRAYS},
        symbol=symbol,
        photon_ev=photon_ev,
        charge=(ground.sum() - rows.occupation.sum(axis=1)).astype(np.int8),
        removed=near[-1],
        added=near[1],
        target=target.astype(np.int32),
        outer_binding=outer_binding,
    )


def outermost_level(rows: Rows) -> NDArray[np.int64]:
    """(n) index of the occupied subshell that is bound most weakly; 0 for the nucleus alone."""
    level: NDArray[np.int64] = np.where(rows.occupation > 0, rows.energy, -np.inf).argmax(axis=1)
    return level


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
    """Which subshells can get holes: every later hole is bound more tightly than in the neutral.

    Raises:
        UnknownIonError, UsageError: as `require_photon`.
    """
    edges = require_photon(symbol, photon_ev)
    ground = ground_occupation(covered_element(symbol).number)
    return tuple(edges.get(name, np.inf) < photon_ev for name in NAMES[: len(ground)])


def _candidates(ground: Occupation, can_open: tuple[bool, ...]) -> list[Occupation]:
    """All occupations with holes in open subshells only, the neutral atom first."""
    ranges = [
        range(count, -1 if is_open else count - 1, -1)
        for count, is_open in zip(ground, can_open, strict=True)
    ]
    return list(product(*ranges))


def _outer_bindings(symbol: str, rows: Rows) -> FloatArray:
    """(n) differences of average energies; of the neutral atom, row 0, the measured one."""
    number = covered_element(symbol).number
    numbering = Numbering(ground_occupation(number))
    outer = outermost_level(rows)
    every = np.arange(len(rows))
    ion = Finder(numbering.numbers(rows.occupation)).rows(
        numbering.neighbours(rows.occupation, -1)[every, outer]
    )
    binding = np.where(ion >= 0, rows.average_energy[ion], 0.0) - rows.average_energy
    for row in np.flatnonzero(ion < 0):
        occupation = tuple(int(count) for count in rows.occupation[row])
        if any(
            occupation
        ):  # its outermost subshell is closed to these photons, but not to transfer
            ionized = changed(occupation, {int(outer[row]): -1})
            binding[row] += average_energy(solve_orbitals(number, ionized))
    binding[rows.occupation.sum(axis=1) == 0] = 0.0
    binding[0] = first_ionization(symbol)
    result: FloatArray = binding
    return result


def changed(occupation: Occupation, changes: Mapping[int, int]) -> Occupation:
    """The occupation with electrons added to subshells (or removed, if negative)."""
    return tuple(count + changes.get(index, 0) for index, count in enumerate(occupation))


def _reachable(tables: AtomicTables, valence: tuple[int, ...]) -> NDArray[np.int64]:
    """Those rows that row 0 reaches, by transitions and capture of electrons, in their order."""
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
