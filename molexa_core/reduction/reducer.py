"""Reduction of a run in two passes: first the momentum-sum gate, then all coincidences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.cuda.graphics_card import Processor
from molexa_core.base.errors import ComputationError, InputFileError, NoEventsError, listing
from molexa_core.base.matter.ions import Ion
from molexa_core.base.numbers import percent
from molexa_core.base.options.gate_options import Solutions
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import Coincidences, Hits
from molexa_core.reduction.coincidences import (
    MOST_CANDIDATES,
    MOST_COMBINATIONS,
    MOST_WORK,
    Search,
    SumGate,
    Tally,
)
from molexa_core.reduction.counted_rows import CountedRows
from molexa_core.reduction.energy import EnergySpectrum
from molexa_core.reduction.first_pass import FirstPass, Peaks, with_odds
from molexa_core.reduction.gate import gate_around
from molexa_core.reduction.laboratory import Dropped, calibrate
from molexa_core.reduction.mixing.false_summary import (
    FalseCoincidences,
    false_coincidences,
    scale_of,
)
from molexa_core.reduction.mixing.mixer import Mixer
from molexa_core.reduction.purity import purity
from molexa_core.reduction.run_histograms import sum_spectra
from molexa_core.reduction.stretch_search import (
    StretchFound,
    StretchSearch,
    require_no_mixing,
)
from molexa_core.reduction.stretches import stretches
from molexa_core.reduction.summary import ReduceSummary, SumAxis
from molexa_core.reduction.suspected_units import setup_doubts, unseen

_OFTEN: Final = 0.01
"""Share of ambiguous coincidences from which it is said."""
_MANY: Final = 0.2
"""The same from which they can be the cause of what looks like a wrong calibration."""


@dataclass(frozen=True)
class FoundGates:
    """The gates of a first pass.

    Attributes:
        gate: on the momentum sum; None for partial channels.
        peaks: the peaks it was set around, where they were found.
        rivals: gates of the channels that compete.
    """

    gate: SumGate | None
    peaks: Peaks | None
    rivals: tuple[SumGate | None, ...] = ()


class Reducer:
    """Reduction of one run to the coincidences of one channel, in bounded memory.

    Args:
        channel: ions, windows, gates.
        setup: spectrometer, detector, calibration, jet.
        progress: receives progress and remarks.
        select: takes those coincidences of a block that pass further gates.
        mixing: whether to build false coincidences by mixing shots; None: if the channel is
            complete, and if it can be done.
        note_shots: receives the tags of all shots, block by block, where the run has tags.
        rivals: other channels that compete for the hits; nothing is mixed then.
        solutions: of combinations that share hits, the `best` set, or `all` with their
            probabilities as weights; nothing is mixed then.
        card: the graphics card that searches; None for the processor.

    Raises:
        SettingsError: the spectrometer gives two momenta the same time of flight.
    """

    def __init__(
        self,
        channel: Channel,
        setup: Setup,
        progress: Progress = SILENT,
        select: Callable[[Coincidences], Coincidences] | None = None,
        *,
        mixing: bool | None = None,
        note_shots: Callable[[dict[str, NDArray[Any]]], None] | None = None,
        rivals: Sequence[Channel] = (),
        solutions: Solutions = "best",
        card: Processor | None = None,
    ) -> None:
        self._mixing = require_no_mixing(mixing, rivals=bool(rivals), solutions=solutions)
        self._stretches = StretchSearch(
            channel, setup, rivals=rivals, solutions=solutions, card=card
        )
        self._rival_channels = tuple(rivals)
        self._n_rows = self._n_false = 0
        self._channel = channel
        self._setup = setup
        self._progress = progress
        self._select = select
        self._note_shots = note_shots
        self._kept = 0
        self._peaks: Peaks | None = None
        self._energy = EnergySpectrum(self._stretches.highest_ev)
        self._remarks: list[str] = []
        self._warnings: list[str] = []
        for doubt in setup_doubts(setup):
            self.warn(doubt)
        for name, ranges in self._search.nodes.items():
            if ranges:
                times = listing(f"{low:.0f} to {high:.0f} ns" for low, high in ranges)
                self.warn(
                    f"in the magnetic field of {setup.spectrometer.magnetic_field_gauss:g} G, "
                    f"{name} returns to the axis whatever its momentum (nodes): its hits at "
                    f"{times} are left out, so that some directions of flight are missing; use "
                    "another field for this ion"
                )

    @property
    def _search(self) -> Search:
        return self._stretches.search

    @property
    def _tally(self) -> Tally:
        return self._stretches.tally

    @property
    def _gate(self) -> SumGate | None:
        return self._stretches.gate

    @property
    def _mixer(self) -> Mixer | None:
        return self._stretches.mixer

    def find_gate(self, run: Iterable[Hits], n_shots: int | None = None) -> None:
        """First pass: the momentum-sum gate, as given by the channel or found in the data.

        Args:
            run: chunks of shots; read until there are enough combinations.
            n_shots: shots in the run, for the progress.

        Raises:
            ComputationError: no half widths are given and there is no peak in the data.
        """
        gates = self._channel.gates
        if not self._channel.is_complete:
            self.say(
                "partial channel: not all ions of the break-up are asked for, so there is no gate "
                "on the momentum sum; combinations that share a hit are all kept"
            )
            return
        if len(self._search.ions) == 1 and gates.sum_half_width is None:
            raise ComputationError(
                f"channel {self._channel.name} has one ion, whose momentum nothing balances: its "
                "momentum sum has no peak",
                do="Name the other ions of the break-up (with `detected: 0` if they are not asked "
                "for), or give the half widths with `gate_sum=`.",
            )
        first = _first_pass(self._search, self._channel)
        others = [
            _first_pass(search, channel)
            for search, channel in zip(self._stretches.rivals, self._rival_channels, strict=True)
        ]
        dropped, n_hits, inside = Dropped(), 0, self._none_inside()
        chunks = iter(run)
        with self._progress.task("momentum-sum gate", n_shots, "shots") as task:
            for chunk in chunks:
                hits, bad = calibrate(chunk, self._setup)
                dropped.add(bad)
                n_hits += chunk.n_hits
                if first.tally.combinations == 0:
                    self._stretches.count_inside(hits, inside)
                for one in (first, *others):
                    one.add(hits)
                task.advance(chunk.n_shots)
                if all(one.full for one in (first, *others)):
                    break
        if first.none and gates.sum_half_width is None:
            raise self._nothing(first.tally, dropped, n_hits, inside)
        rest = (calibrate(chunk, self._setup)[0] for chunk in chunks)
        self._stretches.gate, self._peaks = self._gate_of(self._channel, first, rest)
        for channel, other in zip(self._rival_channels, others, strict=True):
            try:
                self._stretches.rival_gates.append(self._gate_of(channel, other, ())[0])
            except ComputationError as error:
                raise ComputationError(
                    f"channel {channel.name} cannot compete: {error.what}",
                    do="Leave it out, or give its half widths in the channel (gates -> "
                    "sum_half_width).",
                ) from error

    def _gate_of(
        self, channel: Channel, first: FirstPass, rest: Iterable[Hits]
    ) -> tuple[SumGate, Peaks | None]:
        """The gate of a channel, and the peak where it is found."""
        gates, peaks = channel.gates, None
        of = "" if channel is self._channel else f"channel {channel.name}: "
        try:
            peaks = first.find(rest)
        except ComputationError as error:
            if gates.sum_half_width is None:
                raise
            self.say(f"{of}{error.what}; the gate is the one given")
        if first.remark:
            self.say(f"{of}{first.remark}")
        gate = gate_around(
            peaks,
            sigmas=gates.sum_sigmas,
            centre=gates.sum_centre,
            half_width=gates.sum_half_width,
            spread=np.sqrt(first.sums[:, 3:].mean(axis=0)) if first.filled else None,
        )
        return with_odds(gate, peaks, first.sums), peaks

    def gates(self) -> FoundGates:
        """The gates, after `find_gate`, for others that search the same run."""
        return FoundGates(self._gate, self._peaks, tuple(self._stretches.rival_gates))

    def take_gates(self, gates: FoundGates, remarks: Sequence[str] = ()) -> None:
        """Use gates that were found before, instead of `find_gate`.

        Args:
            gates: of the same run and channels.
            remarks: what was said of them.
        """
        self._stretches.gate, self._peaks = gates.gate, gates.peaks
        self._stretches.rival_gates = list(gates.rivals)
        for remark in remarks:
            self.say(remark)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was said so far."""
        return tuple(self._remarks)

    def blocks(
        self,
        run: Iterable[Hits],
        n_shots: int | None = None,
        look: Callable[[Hits], None] | None = None,
    ) -> Iterator[Coincidences]:
        """Second pass: the coincidences, stretch by stretch.

        Args:
            run: the same shots again.
            n_shots: shots in the run, for the progress.
            look: receives every stretch of hits before it is searched.

        Raises:
            InputFileError: no shots, no hits, or no hit that can be an ion.
            NoEventsError: no coincidence.
        """
        self.begin()
        with self._progress.task("coincidences", n_shots, "shots") as task:
            for hits in stretches(run):
                if look is not None:
                    look(hits)
                yield from self.accept(self._stretches.find(hits))
                task.advance(hits.n_shots)
        self.end()

    def begin(self) -> None:
        """Begin the second pass."""
        complete = self._channel.is_complete
        why = self._stretches.new_mixer(self._setup, self._mixing, complete=complete)
        if why is not None:
            self.warn(f"nothing is subtracted: {why}")

    @property
    def mixer(self) -> Mixer | None:
        """What builds the false coincidences, after `begin`; None without."""
        return self._mixer

    @property
    def ions(self) -> tuple[Ion, ...]:
        """The ion of each column of the coincidences."""
        return self._search.ions

    @property
    def wanted(self) -> tuple[int, ...]:
        """How many ions of each kind a coincidence has."""
        return self._search.wanted

    def absorb(self, counts: Mapping[str, NDArray[Any]]) -> None:
        """Add the counts of stretches that were searched elsewhere (`StretchSearch.counts`)."""
        self._stretches.absorb(counts)

    @property
    def takes_all(self) -> bool:
        """Whether there are no further gates, so that counts of whole stretches hold."""
        return self._select is None

    def accept(self, found: StretchFound) -> Iterator[Coincidences]:
        """What further gates leave of the coincidences of the next stretch, counted."""
        yield from self._noted(self._numbered(found.table, found.shots), found.counted)

    def accept_counted(
        self,
        table: Coincidences,
        shots: Mapping[str, NDArray[Any]],
        counted: Sequence[CountedRows],
    ) -> Iterator[Coincidences]:
        """As `accept`, for several stretches at once where `takes_all`.

        Args:
            table: the coincidences of all of them.
            shots: tags of all their shots; empty where the run has none.
            counted: counts of each.
        """
        table = self._numbered(table, shots)
        for one in counted:
            self._count(one)
        self._stretches.units.add_rows(table)
        if len(table) or (table.false is not None and len(table.false)):
            yield table

    def _numbered(self, table: Coincidences, shots: Mapping[str, NDArray[Any]]) -> Coincidences:
        """The table with the numbers that its events have in the run, after the tags are noted."""
        if self._note_shots is not None and shots:
            self._note_shots(dict(shots))
        false = table.false
        table = replace(table, event_id=table.event_id + self._n_rows)
        self._n_rows += len(table)
        if false is not None:
            table = replace(table, false=replace(false, event_id=false.event_id + self._n_false))
            self._n_false += len(false)
        return table

    def end(self) -> None:
        """End the second pass.

        Raises:
            InputFileError: no shots, no hits, or no hit that can be an ion.
            NoEventsError: no coincidence.
        """
        if self._mixer is not None:
            self._energy.normalise(*scale_of(self._mixer.tally))
        self._check_end()

    def _noted(self, table: Coincidences, counted: CountedRows | None) -> Iterator[Coincidences]:
        """What further gates leave of the table, unless it is empty, after it was counted."""
        if self._select is not None:
            table = self._select(table)
        if self._select is not None or counted is None:
            shots = None if self._mixer is None else self._mixer.tally.last_shots
            counted = CountedRows.of(table, self._energy.highest, shots)
        self._count(counted)
        self._stretches.units.add_rows(table)
        if len(table) or (table.false is not None and len(table.false)):
            yield table

    def _count(self, counted: CountedRows) -> None:
        self._kept += counted.rows
        if self._mixer is not None:
            counted.add_to(self._mixer.tally)
        self._energy.add(counted.energies, mixed=counted.mixed)

    @property
    def false_scale(self) -> float:
        """Factor on the weights of the false coincidences, known after the last block."""
        return 1.0 if self._mixer is None else scale_of(self._mixer.tally)[0]

    def summary(self) -> ReduceSummary:
        """Counts, gate, purity and kinetic energy release; call it after the last block."""
        sums: tuple[SumAxis, ...] = ()
        if self._gate is not None:
            gate, peaks = self._gate, self._peaks or (None, None, None)
            sums = tuple(
                SumAxis.of(axis, peaks[axis], gate.centre[axis], gate.half_width[axis])
                for axis in range(3)
            )
        return ReduceSummary(
            channel=self._channel.name,
            ions=tuple(str(ion) for ion in self._search.ions),
            shots=self._tally.shots,
            hits=self._stretches.hits,
            dropped=self._stretches.dropped,
            crowded_shots=self._tally.crowded,
            combinations=self._tally.combinations,
            coincidences=self._kept,
            windows_ns=self._search.windows,
            momentum_sums=sums,
            purity=None if self._gate is None else purity(self._tally.elsewhere, self._gate),
            ker=self._energy.release(),
            false=self._false,
            remarks=tuple(self._remarks),
            warnings=tuple(self._warnings),
        )

    def spectra(self) -> dict[str, Spectrum]:
        """The histograms by name; call it after the last block."""
        spectra = self._stretches.spectra.spectra()
        spectra |= sum_spectra(self._tally, self._search.sum_range, self._gate)
        return spectra | self._energy.spectra()

    @property
    def _false(self) -> FalseCoincidences | None:
        if self._mixer is None or not self._mixer.tally.shots:
            return None
        kinds = tuple(self._search.windows)
        found = false_coincidences(self._mixer.tally, kinds, self._tally.found)
        # Without one ion there is no gate, and where windows overlap hits count in several roles.
        return replace(found, efficiencies=()) if self._search.overlaps else found

    def _check_mixing(self, mixer: Mixer) -> None:
        """Say what is doubtful about the false coincidences."""
        try:
            mixer.check()
        except ComputationError as error:
            if self._mixing:
                raise
            self.warn(f"nothing is subtracted: {error.what}")
            return
        tally, false = mixer.tally, self._false
        if tally.crowded:
            self.warn(
                f"left out {tally.crowded} shots with more than {MOST_COMBINATIONS} combinations "
                "of hits, which cannot be mixed; make the windows narrower, or switch mixing off"
            )
        if tally.dead_time_off:
            self.say(
                "hits follow each other within the dead time and radius of the setup, so that no "
                "dead time is taken into account in the false coincidences"
            )
        if tally.alone:
            self.warn(
                f"{tally.alone} of {tally.alone + tally.shots} shots have too few others that are "
                "alike (flags, delay, pulse energy): no false coincidences are subtracted there"
            )
        if false is not None and false.scale_error > 0.0:
            self.warn(
                f"beside the gate there are {false.scale:.3f} +- {false.scale_error:.3f} times as "
                "many combinations as in mixed shots: the rate varies from shot to shot in a way "
                "that no tag shows, or other break-ups lie there; false coincidences are scaled by "
                "this factor, so look at the momentum sums, and give the pulse energy as a tag"
            )
        if false is not None and (odd := [one for one in false.efficiencies if one.impossible]):
            self.warn(
                f"the efficiency of {listing([one.ion for one in odd])} comes out above 1: the "
                "molecule has more ions than the channel names, or other break-ups give them too"
            )
        if false is not None and false.found and false.true <= 2.0 * false.true_error:
            self.warn(
                f"{false.true:.0f} +- {false.true_error:.0f} true coincidences of {false.found}: "
                "none is certain; make the gates narrower or take data at a lower rate"
            )

    def _check_end(self) -> None:
        if self._stretches.dropped.total:
            self.say(
                f"left out {self._stretches.dropped.total} of {self._stretches.hits} hits: "
                f"{_reasons(self._stretches.dropped, self._setup)}"
            )
        if self._tally.crowded:
            limit = (
                f"more than {MOST_COMBINATIONS} combinations of hits"
                if self._gate is None
                else f"so many hits that the search for one would take over {MOST_WORK:g} steps"
            )
            self.say(f"left out {self._tally.crowded} of {self._tally.shots} shots with {limit}")
        if self._tally.truncated:
            self.say(
                f"in {self._tally.truncated} of {self._tally.shots} shots only the best "
                f"{MOST_CANDIDATES} candidates, in the gate and beside it, were compared"
            )
        self._say_ambiguities()
        self.warn_of_hits()
        if self._tally.found == 0:
            raise self._nothing(
                self._tally, self._stretches.dropped, self._stretches.hits, self._stretches.inside
            )
        if self._mixer is not None:
            self._check_mixing(self._mixer)
        half = None if self._gate is None else self._gate.half_width
        doubts = self._stretches.units.about_momenta(self._peaks, self._energy.release().peak, half)
        for doubt in (*self._taken_for_each_other(doubts), *doubts):
            self.warn(doubt)
        if self._channel.is_complete and len(self._search.ions) > 1:
            self.say(unseen(self._setup))

    def _say_ambiguities(self) -> None:
        """What is not certain about the roles of hits."""
        if self._stretches.rivals:
            names = [self._channel.name, *(rival.name for rival in self._rival_channels)]
            self.say(self._stretches.contest.remark(names))
        if self._gate is None or not self._tally.found:
            return
        share = self._tally.ambiguous / self._tally.found
        if overlaps := self._search.overlaps:
            pairs = listing(f"{one} and {other}" for one, other in overlaps)
            self.say(
                f"the windows of {pairs} overlap: the momentum sum decides which ion a hit is; "
                f"{percent(share)} % of the coincidences are ambiguous (likelihood ratio below "
                "10 to others that share hits with them)"
            )
        elif share > _OFTEN:
            self.say(
                f"{percent(share)} % of the coincidences are ambiguous: others that share hits "
                "with them fit nearly as well (likelihood ratio below 10)"
            )

    def _taken_for_each_other(self, doubts: Sequence[str]) -> list[str]:
        """A warning of another cause of what looks like a wrong calibration, where there is one."""
        overlaps = self._search.overlaps
        if not doubts or not overlaps or not self._tally.found:
            return []
        share = self._tally.ambiguous / self._tally.found
        if share < _MANY:
            return []
        pairs = listing(f"{one} and {other}" for one, other in overlaps)
        warning = (
            f"{pairs} are hard to tell apart ({percent(share)} % of the coincidences are "
            "ambiguous): ions that are taken for each other move momentum sums and energies as a "
            "wrong calibration does; make their windows narrower (window_ns, max_momentum) before "
            "the calibration is changed"
        )
        return [warning]

    def examine(self, chunk: Hits) -> None:
        """Look at the units of hits without searching for coincidences."""
        hits, dropped = calibrate(chunk, self._setup)
        self._stretches.dropped.add(dropped)
        self._stretches.hits += chunk.n_hits
        self._stretches.units.add_hits(hits)

    def warn_of_hits(self) -> None:
        """Warn of positions and times of the hits seen so far that cannot be in their units."""
        for doubt in self._stretches.units.about_hits(
            self._stretches.dropped.off_detector, self._stretches.hits
        ):
            self.warn(doubt)

    def _none_inside(self) -> dict[str, int]:
        return dict.fromkeys(self._search.windows, 0)

    def _nothing(
        self, tally: Tally, dropped: Dropped, n_hits: int, inside: Mapping[str, int]
    ) -> InputFileError | NoEventsError:
        """The error for a run without coincidences, which says why there are none."""
        if tally.shots == 0:
            return InputFileError("there are no shots in the run", do="Check how it was written.")
        if dropped.total == n_hits:
            why = _reasons(dropped, self._setup) if n_hits else "there are no hits"
            return InputFileError(
                f"no hit of the run can be an ion ({why})",
                do="Check the columns and the calibration in the setup.",
            )
        ions = listing(self._search.ions)
        windows = listing(
            f"{name} {first:.0f} to {last:.0f} ns: {_hits(inside[name])}"
            for name, (first, last) in self._search.windows.items()
        )
        if (times := self._stretches.units.times()) is not None:
            windows += f"; most hits come after {times}"
        after = "" if tally.combinations == 0 else " inside the momentum-sum gate"
        if dropped.total:
            after += (
                f"; {dropped.total} of {n_hits} hits are left out: {_reasons(dropped, self._setup)}"
            )
        return NoEventsError(
            f"no coincidence of {ions} in {tally.shots} shots{after}",
            do=f"Check channel, setup, units and the windows ({windows}).",
        )

    def say(self, text: str) -> None:
        """Report a remark and keep it for the summary."""
        self._remarks.append(text)
        self._progress.say(text)

    def warn(self, text: str) -> None:
        """Report once that the result may be wrong, and keep the warning for the summary."""
        if text not in self._warnings:
            self._warnings.append(text)
            self._progress.warn(text)


def _hits(count: int) -> str:
    return "1 hit" if count == 1 else f"{count or 'no'} hits"


def _reasons(dropped: Dropped, setup: Setup) -> str:
    """Numbers of dropped hits by reason, with the setting responsible."""
    detector = setup.detector
    reasons = {
        "not a number": dropped.not_a_number,
        "negative time": dropped.negative_time,
        f"before the light pulse (time_zero_ns {setup.calibration.time_zero_ns:g})": (
            dropped.before_light
        ),
        f"off the detector (radius_mm {detector.radius_mm:g})": dropped.off_detector,
        f"made from too few signals (max_method {detector.max_method})": dropped.uncertain,
    }
    return listing(f"{count} {reason}" for reason, count in reasons.items() if count)


def _first_pass(search: Search, channel: Channel) -> FirstPass:
    centre = channel.gates.sum_centre
    return FirstPass(search, np.zeros(3) if centre is None else np.array(centre))
