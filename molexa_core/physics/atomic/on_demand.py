"""Tables of atoms with too many configurations to compute all: they grow where they are reached.

Bromine has 87 318 configurations that photons of 2 keV can make, iodine 960 498. A pulse reaches a
small part of them. `GrowingTables` computes those that random walks of one atom reach, and those
that trajectories of molecules ask for, and keeps them on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.base.errors import OutputError, UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.units import HARTREE_EV
from molexa_core.physics.atomic.configuration import Configuration, describe, mesh_for
from molexa_core.physics.atomic.element_tables import AtomicTables, changed, link, open_subshells
from molexa_core.physics.atomic.ionization import first_ionization
from molexa_core.physics.atomic.kept_rows import read_rows, rows_folder, write_rows
from molexa_core.physics.atomic.rows import (
    Finder,
    Numbering,
    Rows,
    capture_level,
    join_rows,
    rows_of,
)
from molexa_core.physics.atomic.scf import Orbitals, solve_orbitals
from molexa_core.physics.atomic.shells import (
    ON_DEMAND,
    SUBSHELLS,
    Occupation,
    covered_element,
    ground_occupation,
    valence_subshells,
)
from molexa_core.physics.atomic.walks import Chances, Exposure, next_events

SAVE_EVERY: Final = 2000
"""So many new rows are written together."""


class GrowingTables:
    """The tables of one element at one photon energy, as far as they have been computed.

    Rows are only ever added: a row keeps its number for the life of the object. What a row holds
    depends on its configuration alone, not on when or why it was computed.

    Attributes:
        symbol: element.
        photon_ev: photon energy, eV.
        can_open: (s) which subshells can get holes.
    """

    def __init__(
        self, symbol: str, photon_ev: float, *, use_cache: bool = True, progress: Progress = SILENT
    ) -> None:
        """Read what has been computed before; the neutral atom is always there.

        Args:
            symbol: element, one of `ON_DEMAND`.
            photon_ev: photon energy, eV; taken to 1 meV.
            use_cache: read and write the user's cache folder.
            progress: where to report, now and later.

        Raises:
            UnknownIonError: the element is not covered.
            UsageError: the photon energy is not usable, or the element has complete tables.
            ComputationError: the neutral atom did not converge.
        """
        self._number = covered_element(symbol).number
        if symbol not in ON_DEMAND:
            raise UsageError(
                f"the tables of {symbol} are complete and do not grow", do="Use atomic_tables."
            )
        self.symbol, self.photon_ev = symbol, round(photon_ev, 3)
        self.can_open = open_subshells(symbol, photon_ev)
        self._ground = ground_occupation(self._number)
        self._photon = self.photon_ev / HARTREE_EV
        self._valence = valence_subshells(self._number)
        innermost = SUBSHELLS[self.can_open.index(True)].n
        self._mesh = mesh_for(self._number, self._photon, innermost=innermost)
        self._numbering = Numbering(self._ground)
        self._progress = progress
        self._folder = rows_folder(symbol, self.photon_ev) if use_cache else None
        if use_cache and self._folder is None:
            progress.say("no cache folder can be written; the tables are not kept")
        self._new: list[Rows] = []
        self._references: dict[int, Orbitals] = {}
        self._tables: AtomicTables | None = None
        self._rows = self._first_rows()

    def __len__(self) -> int:
        """How many configurations have been computed."""
        return len(self._rows)

    @property
    def tables(self) -> AtomicTables:
        """What there is now; what is not computed yet is `MISSING` in it."""
        if self._tables is None:
            self._tables = link(self.symbol, self.photon_ev, self._rows, growing=self.can_open)
        return self._tables

    def report_to(self, progress: Progress) -> None:
        """Report to another progress from now on."""
        self._progress = progress

    def covers(self, occupation: Occupation) -> bool:
        """Whether these tables may come to hold a configuration."""
        return all(
            count <= most and (is_open or count == most)
            for count, most, is_open in zip(occupation, self._ground, self.can_open, strict=True)
        )

    def add(self, occupations: NDArray[np.integer] | Iterable[Occupation]) -> int:
        """Compute those configurations that are not there yet.

        Args:
            occupations: (n, s); repetitions are taken once.

        Returns:
            How many rows are new.

        Raises:
            UsageError: a configuration that these tables cannot hold.
            ComputationError: a configuration did not converge.
        """
        wanted = np.unique(self._numbering.numbers(occupations))
        missing = np.setdiff1d(wanted, self._numbering.numbers(self._rows.occupation))
        if not len(missing):
            return 0
        todo = [tuple(map(int, row)) for row in self._numbering.occupations(missing)]
        solved: list[Configuration] = []
        captured: list[float] = []
        label = f"{self.symbol} at {self.photon_ev:g} eV"
        try:
            with self._progress.task(label, len(todo), "configurations") as task:
                for occupation in todo:
                    configuration, bound = self._compute(occupation)
                    solved.append(configuration)
                    captured.append(bound)
                    task.advance()
        finally:  # an interruption loses nothing that is finished
            if solved:
                self._append(rows_of(solved, self._photon, captured))
            if interruption.requested():
                self.save()
        return len(solved)

    def prefetch(self, exposure: Exposure, *, walks: int, seed: int) -> int:
        """Compute what random walks of the atom reach in a pulse, from the neutral atom on.

        Args:
            exposure: the pulse.
            walks: how many; each is one atom from before the pulse to its last decay.
            seed: of the walks.

        Returns:
            How many rows are new.
        """
        rng = np.random.default_rng(seed)
        start = np.zeros(walks, dtype=np.int64)
        return self._walk(start, np.full(walks, -10.0 * exposure.sigma), exposure, rng)

    def grow(self, occupations: NDArray[np.integer], exposure: Exposure, *, seed: int) -> int:
        """Compute configurations that are missing, and what a walk from each of them reaches.

        Walking on means that few rounds are needed until trajectories find all that they need.

        Args:
            occupations: (n, s) the configurations, repeated as often as they were missed.
            exposure: the pulse.
            seed: of the walks, which begin at random times in the pulse.

        Returns:
            How many rows are new.
        """
        new = self.add(occupations)
        numbers = self._numbering.numbers(occupations)
        rows = Finder(self._numbering.numbers(self._rows.occupation)).rows(numbers)
        rng = np.random.default_rng(seed)
        return new + self._walk(rows, rng.normal(0.0, exposure.sigma, len(rows)), exposure, rng)

    def save(self) -> None:
        """Write rows that are not on disk yet; where that is not possible, say so."""
        if self._folder is None or not self._new:
            return
        try:
            with interruption.held():
                write_rows(self._folder, self.symbol, self.photon_ev, join_rows(self._new))
        except (OSError, OutputError) as error:
            self._progress.say(f"the tables are not kept: {error}")
            self._folder = None
        self._new = []

    def _walk(
        self,
        rows: NDArray[np.int64],
        times: NDArray[np.float64],
        exposure: Exposure,
        rng: np.random.Generator,
    ) -> int:
        """Walk from these rows to the ends, computing on the way; the number of new rows."""
        before = len(self)
        while len(rows):
            tables = self.tables
            transition, times = next_events(Chances(tables), rows, times, exposure, rng)
            goes_on = transition >= 0
            rows, transition, times = rows[goes_on], transition[goes_on], times[goes_on]
            target = tables.target[transition].astype(np.int64)
            lost = target < 0
            if lost.any():
                numbers = self._numbering.numbers(tables.occupation[rows[lost]])
                steps = transition[lost]
                numbers += self._numbering.changes(tables.kind[steps], tables.shells[steps])
                self.add(self._numbering.occupations(numbers))
                target[lost] = self.tables.target[steps]  # transitions keep their numbers too
            rows = target
        self.save()
        return len(self) - before

    def _first_rows(self) -> Rows:
        """The rows on disk with the neutral atom before all others."""
        kept = None
        if self._folder is not None:
            kept = read_rows(self._folder, self.symbol, self.photon_ev, progress=self._progress)
        if kept is not None:
            numbers = self._numbering.numbers(kept.occupation)
            neutral = numbers == self._numbering.numbers([self._ground])[0]
            if neutral.any():
                return kept.select(np.argsort(~neutral, kind="stable"))
        configuration, bound = self._compute(self._ground)
        first = rows_of([configuration], self._photon, [bound])
        first.outer_binding[0] = first_ionization(self.symbol)
        self._new.append(first)
        return first if kept is None else join_rows([first, kept])

    def _compute(self, occupation: Occupation) -> tuple[Configuration, float]:
        """A configuration, and the binding energy of an electron that it captures."""
        if not self.covers(occupation):
            raise UsageError(f"the tables of {self.symbol} cannot hold {occupation}")
        start = self._reference(sum(occupation))
        orbitals = solve_orbitals(self._number, occupation, start=start)
        configuration = describe(orbitals, self._photon, self._mesh)
        level = int(
            capture_level(np.array([occupation], dtype=np.int8), self._ground, self._valence)[0]
        )
        if level < 0:
            return configuration, 0.0
        taken = changed(occupation, {level: 1})
        if taken == self._ground:
            return configuration, first_ionization(self.symbol)
        other = solve_orbitals(self._number, taken, start=orbitals)
        return configuration, -float(other.energy[level])

    def _reference(self, electrons: int) -> Orbitals:
        """The ion with so many electrons and no inner holes, to begin other ones with.

        Every configuration of an ion begins with the same one, so that what is computed does not
        depend on what was computed before.
        """
        if electrons not in self._references:
            occupation, left = [], electrons
            for count in self._ground:
                occupation.append(min(count, left))
                left -= occupation[-1]
            self._references[electrons] = solve_orbitals(self._number, tuple(occupation))
        return self._references[electrons]

    def _append(self, rows: Rows) -> None:
        self._rows = join_rows([self._rows, rows])
        self._tables = None
        self._new.append(rows)
        if sum(map(len, self._new)) >= SAVE_EVERY:
            self.save()


def growing_tables(
    symbol: str, photon_ev: float, *, use_cache: bool = True, progress: Progress = SILENT
) -> GrowingTables:
    """The tables of an element of `ON_DEMAND`, with all that was computed before.

    Args, Raises: see `GrowingTables`.
    """
    return GrowingTables(symbol, photon_ev, use_cache=use_cache, progress=progress)
