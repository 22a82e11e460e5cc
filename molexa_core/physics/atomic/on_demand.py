"""Growing tables for heavy atoms, whose configurations are computed only when they are reached.

Photons of 2 keV can create 87 318 configurations of bromine and 960 498 of iodine, of which a pulse
reaches a small part. `GrowingTables` computes those that random walks of one atom reach and those
that occur in trajectories of molecules, and stores them on disk.
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
"""Number of new rows that are written together."""


class GrowingTables:
    """The part of the tables of one element at one photon energy that has been computed.

    Rows are only added and keep their numbers. The contents of a row depend only on its
    configuration, not on the order of computation.

    Attributes:
        symbol: element.
        photon_ev: photon energy, eV.
        can_open: (s) subshells in which holes can be created.
    """

    def __init__(
        self, symbol: str, photon_ev: float, *, use_cache: bool = True, progress: Progress = SILENT
    ) -> None:
        """Read the rows that were computed earlier; the neutral atom is always included.

        Args:
            symbol: element, one of `ON_DEMAND`.
            photon_ev: photon energy, eV; rounded to 1 meV.
            use_cache: read and write the cache folder of the user.
            progress: display of the progress, now and later.

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
        """Number of configurations that have been computed."""
        return len(self._rows)

    @property
    def tables(self) -> AtomicTables:
        """The current tables; configurations that are not computed yet are `MISSING`."""
        if self._tables is None:
            self._tables = link(self.symbol, self.photon_ev, self._rows, growing=self.can_open)
        return self._tables

    def report_to(self, progress: Progress) -> None:
        """Use another display of the progress from now on."""
        self._progress = progress

    def covers(self, occupation: Occupation) -> bool:
        """Whether a configuration can occur in these tables."""
        return all(
            count <= most and (is_open or count == most)
            for count, most, is_open in zip(occupation, self._ground, self.can_open, strict=True)
        )

    def add(self, occupations: NDArray[np.integer] | Iterable[Occupation]) -> int:
        """Compute the configurations that are missing.

        Args:
            occupations: (n, s) electrons in the subshells; may contain repetitions.

        Returns:
            The number of new rows.

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
        finally:  # after an interruption the finished rows are kept
            if solved:
                self._append(rows_of(solved, self._photon, captured))
            if interruption.requested():
                self.save()
        return len(solved)

    def prefetch(self, exposure: Exposure, *, walks: int, seed: int) -> int:
        """Compute the configurations that random walks from the neutral atom reach in a pulse.

        Args:
            exposure: the pulse.
            walks: their number; each follows one atom from before the pulse to its last decay.
            seed: of the walks.

        Returns:
            The number of new rows.
        """
        rng = np.random.default_rng(seed)
        start = np.zeros(walks, dtype=np.int64)
        return self._walk(start, np.full(walks, -10.0 * exposure.sigma), exposure, rng)

    def grow(self, occupations: NDArray[np.integer], exposure: Exposure, *, seed: int) -> int:
        """Compute missing configurations and those that a walk from each of them reaches.

        With these walks few rounds are needed until trajectories find all configurations.

        Args:
            occupations: (n, s) the configurations, repeated as often as they were missed.
            exposure: the pulse.
            seed: of the walks, which begin at random times in the pulse.

        Returns:
            The number of new rows.
        """
        new = self.add(occupations)
        numbers = self._numbering.numbers(occupations)
        rows = Finder(self._numbering.numbers(self._rows.occupation)).rows(numbers)
        rng = np.random.default_rng(seed)
        return new + self._walk(rows, rng.normal(0.0, exposure.sigma, len(rows)), exposure, rng)

    def save(self) -> None:
        """Write rows that are not on disk yet; a notice is given if that is not possible."""
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
        """Walk from these rows to the last decay, computing missing rows; returns their number."""
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
        """A configuration, and the binding energy of a captured electron."""
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
        """The ion with this number of electrons and no inner holes, as start of the iteration.

        All configurations of an ion start from the same orbitals, so that results do not depend on
        the order of computation.
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
    """The tables of an element of `ON_DEMAND`, with all rows that were computed earlier.

    Args, Raises: see `GrowingTables`.
    """
    return GrowingTables(symbol, photon_ev, use_cache=use_cache, progress=progress)
