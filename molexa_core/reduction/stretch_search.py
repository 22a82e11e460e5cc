"""The part of a reduction that looks at hits, stretch by stretch, and what it counts.

Nothing here depends on the stretches before except counts that are added up; so the stretches of a
run may be searched by several processes (`absorb`), with the same result to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.cuda.graphics_card import Processor
from molexa_core.base.errors import ComputationError, UsageError
from molexa_core.base.fields import TAG_HITS, TAG_PROBABILITY, TAG_SHOT
from molexa_core.base.options.gate_options import Solutions
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.storage.named_arrays import as_part, part_of
from molexa_core.base.tables import Coincidences, DetectorValues, Hits, IntArray
from molexa_core.base.units import HARTREE_EV
from molexa_core.reduction.coincidences import Found, Search, SumGate, Tally
from molexa_core.reduction.competition import Contest, compete
from molexa_core.reduction.counted_rows import CountedRows
from molexa_core.reduction.laboratory import Dropped, calibrate
from molexa_core.reduction.mixing.mixer import Mixed, Mixer, MixingTally
from molexa_core.reduction.run_histograms import HitSpectra
from molexa_core.reduction.suspected_units import UnitCheck

_SAMPLED: Final = 64
"""Stretches, from the beginning of the run, whose hits are checked for wrong units."""


@dataclass(frozen=True)
class StretchFound:
    """What a stretch of shots gives.

    Attributes:
        table: the coincidences, with the false ones where shots were mixed; numbers of events
            count from 0 in every stretch.
        shots: tags of all its shots; empty where the run has none.
        mixing: sums of event mixing, None without.
        close: (2) see `Mixed.close`; zeros without mixing.
        counted: counts of the rows of the table, where they were made at once (`counted`).
    """

    table: Coincidences
    shots: Mapping[str, NDArray[Any]]
    mixing: MixingTally | None
    close: IntArray
    counted: CountedRows | None = None


class StretchSearch:
    """Searches stretches of a run for the coincidences of a channel.

    Args:
        channel: ions, windows, gates.
        setup: spectrometer, detector, calibration, jet.
        rivals: other channels that compete for the hits.
        solutions: of combinations that share hits, the `best` set, or `all`.
        card: the graphics card that searches; None for the processor.

    Attributes:
        search: the search of the channel.
        rivals: those of the others.
        gate, rival_gates: gates on the momentum sums, set before the first stretch.
        mixer: what builds the false coincidences; set before the first stretch, None without.
        hits: hits read.
        dropped: hits left out.
        inside: hits in the window of each ion, counted until there is a coincidence.
        stretch: number of the next stretch.
        tally, rival_tallies, contest: counts of the searches and of the competition.
        spectra: histograms of the hits.
        units: check of units by the first hits.

    Raises:
        SettingsError: the spectrometer gives two momenta the same time of flight.
    """

    def __init__(
        self,
        channel: Channel,
        setup: Setup,
        *,
        rivals: Sequence[Channel] = (),
        solutions: Solutions = "best",
        card: Processor | None = None,
    ) -> None:
        self.search = Search(channel, setup, card)
        self.rivals = [Search(rival, setup, card) for rival in rivals]
        self.gate: SumGate | None = None
        self.rival_gates: list[SumGate | None] = []
        self.mixer: Mixer | None = None
        self.hits = 0
        self.dropped = Dropped()
        self.inside = dict.fromkeys(self.search.windows, 0)
        self.tally = Tally()
        self.rival_tallies = [Tally() for _ in rivals]
        self.contest = Contest(1 + len(rivals))
        self.spectra = HitSpectra(channel, setup, self.search.windows)
        self.units = UnitCheck(
            self.search.ions, self.search.windows, setup, complete=channel.is_complete
        )
        self.stretch = 0
        self._setup, self._limit = setup, channel.gates.max_momentum
        self._solutions = solutions

    def find(self, raw: Hits) -> StretchFound:
        """The coincidences of the next stretch of hits as the run stores them."""
        hits, dropped = calibrate(raw, self._setup)
        self.dropped.add(dropped)
        self.hits += raw.n_hits
        if self.tally.found == 0:
            self.count_inside(hits, self.inside)
        tags: dict[str, NDArray[Any]] = {}
        if hits.tags:
            number = hits.first_shot + np.arange(hits.n_shots)
            tags = {TAG_SHOT: number, TAG_HITS: hits.counts, **hits.tags}
        self.spectra.fill(hits)
        if self.stretch < _SAMPLED:
            self.units.add_hits(hits)
        self.stretch += 1
        found = self._found(hits)
        if self.mixer is not None:
            mixed = self.mixer.stretch(hits)
            return StretchFound(self._mixed_table(mixed), tags, mixed.tally, mixed.close)
        table = self._table(hits, found.shot, found.rows)
        if self._solutions == "all" or self.rivals or self.search.overlaps:
            table = replace(table, tags={**table.tags, TAG_PROBABILITY: found.probability})
        if self._solutions == "all":
            table = replace(table, weight=found.probability)
        return StretchFound(table, tags, None, np.zeros(2, np.int64))

    @property
    def highest_ev(self) -> float:
        """The highest kinetic energy release that the limit of the momenta allows, eV."""
        energies = (self._limit**2 / (2.0 * ion.mass) for ion in self.search.ions)
        return sum(energies) * HARTREE_EV

    def counted(self, found: StretchFound) -> StretchFound:
        """The same with its rows counted, for whoever puts stretches together."""
        shots = None if found.mixing is None else found.mixing.last_shots
        return replace(found, counted=CountedRows.of(found.table, self.highest_ev, shots))

    def new_mixer(self, setup: Setup, mixing: bool | None, *, complete: bool) -> str | None:
        """Make what builds the false coincidences, if they are wanted and can be built.

        Args:
            setup: dead time and radius of the detector.
            mixing: whether they are wanted; None: if the channel is complete, and it can be done.
            complete: whether the channel names all ions of the break-up.

        Returns:
            why they cannot be built, where that is to be said.

        Raises:
            ComputationError: they are wanted and cannot be built.
        """
        self.mixer = None
        if mixing is False or (mixing is None and not complete) or len(self.search.ions) < 2:
            return None
        try:
            self.mixer = Mixer(self.search, setup, self.gate)
        except ComputationError as error:
            if mixing:
                raise
            return error.what
        return None

    def count_inside(self, hits: Hits, inside: dict[str, int]) -> None:
        """Count the hits in the window of each ion, for the message if there is no coincidence."""
        for name, (first, last) in self.search.windows.items():
            inside[name] += int(np.count_nonzero((hits.t_ns >= first) & (hits.t_ns <= last)))

    def counts(self) -> dict[str, NDArray[Any]]:
        """All counts so far as arrays by name, for `absorb`; those of mixing are with the rows."""
        return {
            "hits": np.array(self.hits),
            "dropped": np.array(list(asdict(self.dropped).values()), np.int64),
            "inside": np.array(list(self.inside.values()), np.int64),
            **as_part("tally", self.tally.as_arrays()),
            **{
                name: values
                for number, tally in enumerate(self.rival_tallies)
                for name, values in as_part(f"rival{number}", tally.as_arrays()).items()
            },
            **as_part("contest", self.contest.as_arrays()),
            **as_part("spectra", self.spectra.counts),
            **as_part("units", self.units.hits_as_arrays()),
        }

    def absorb(self, counts: Mapping[str, NDArray[Any]]) -> None:
        """Add what was counted in the stretches that follow, by another `StretchSearch`."""
        if self.tally.found == 0:
            for name, number in zip(self.inside, counts["inside"].tolist(), strict=True):
                self.inside[name] += number
        self.hits += int(counts["hits"])
        self.dropped.add(Dropped(*counts["dropped"].tolist()))
        self.tally.add(Tally.of_arrays(part_of(counts, "tally")))
        for number, tally in enumerate(self.rival_tallies):
            tally.add(Tally.of_arrays(part_of(counts, f"rival{number}")))
        self.contest.add(part_of(counts, "contest"))
        self.spectra.add(part_of(counts, "spectra"))
        self.units.add_arrays(part_of(counts, "units"))

    def _found(self, hits: Hits) -> Found:
        every = self._solutions == "all"
        if not self.rivals:
            return self.search.solve(hits, self.tally, self.gate, every=every)
        return compete(
            hits,
            [self.search, *self.rivals],
            [self.gate, *self.rival_gates],
            [self.tally, *self.rival_tallies],
            self.contest,
            every=every,
        )[0]

    def _table(self, hits: Hits, shots: IntArray, rows: IntArray) -> Coincidences:
        """Coincidences from the hits of each."""
        tags = {name: column[shots] for name, column in hits.tags.items()}
        return Coincidences.of(
            self.search.ions,
            self.search.momenta(hits, rows),
            tags={TAG_SHOT: hits.first_shot + shots, TAG_HITS: hits.counts[shots]} | tags,
            detector=DetectorValues(hits.t_ns[rows], hits.x_mm[rows], hits.y_mm[rows]),
        )

    def _mixed_table(self, mixed: Mixed) -> Coincidences:
        """Coincidences of a stretch of shots, with the false ones."""
        table = self._table(mixed.hits, mixed.shots, mixed.rows)
        hits, shots, rows = mixed.hits, mixed.false_shots[:, 0], mixed.false_rows
        others = mixed.false_shots
        new = np.ones(others.shape, np.bool_)
        for column in range(1, others.shape[1]):
            new[:, column] = (others[:, :column] != others[:, column : column + 1]).all(axis=1)
        # The hits of a shot with these explosions: those of the shots, the unrelated ones once.
        usual = hits.n_hits / max(hits.n_shots, 1)
        together = (hits.counts[others] * new).sum(axis=1) - (new.sum(axis=1) - 1) * usual
        false = Coincidences(
            ions=self.search.ions,
            event_id=np.arange(len(rows), dtype=np.int64),
            momentum=self.search.momenta(hits, rows),
            weight=mixed.weight,
            tags={
                TAG_SHOT: hits.first_shot + shots,
                TAG_HITS: np.maximum(np.rint(together), rows.shape[1]).astype(np.int64),
                **{name: column[shots] for name, column in hits.tags.items()},
            },
            detector=DetectorValues(hits.t_ns[rows], hits.x_mm[rows], hits.y_mm[rows]),
            source=hits.first_shot + others,
        )
        return replace(table, false=false)


def require_no_mixing(mixing: bool | None, *, rivals: bool, solutions: Solutions) -> bool | None:
    """Whether to mix; no where combinations compete or are all kept.

    Raises:
        UsageError: both are wanted.
    """
    if not rivals and solutions == "best":
        return mixing
    if mixing:
        raise UsageError(
            "false coincidences that are built by mixing do not compete for hits",
            do="Leave out `mixing=`, or `rivals=` and `solutions=`.",
        )
    return False
