"""Reduction of a run that still grows: ranges of shots are added as they come.

The sum gate is found from what there is, and found again whenever the momentum sums have become
half as many again, until there are as many as `Reducer` takes: then it is the gate that a reduction
of the whole run finds. Until then the hits that can be ions of a coincidence are kept, and with
every new gate all coincidences are searched again. What is kept in memory has a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ComputationError
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.tables import Coincidences, FloatArray, Hits, offsets_of
from molexa_core.base.units import HARTREE_EV
from molexa_core.reduction.coincidences import Search, SumGate, Tally
from molexa_core.reduction.energy import EnergySpectrum, KineticEnergyRelease
from molexa_core.reduction.first_pass import FirstPass, with_odds
from molexa_core.reduction.gate import FEWEST_SUMS, gate_around
from molexa_core.reduction.history import History
from molexa_core.reduction.laboratory import Dropped, calibrate
from molexa_core.reduction.peak import Peak
from molexa_core.reduction.purity import Purity, purity
from molexa_core.reduction.run_histograms import HitSpectra, sum_spectra

Arrays = dict[str, NDArray[Any]]
Peaks = tuple[Peak, Peak, Peak]
GROWTH: Final = 1.5
"""The gate is found again when there are this many times as many sums."""
MOST_KEPT: Final = 1_000_000
"""Hits that are kept until the gate is final, as many as the first pass of a reduction keeps."""
SAMPLE_BYTES: Final = 24 * 2**20
"""Momenta of coincidences that are kept: evenly spaced ones where there are more."""
SUM, KER, TOF = "sum", "ker", "tof"
"""Columns of the history: `sum x` ..., `ker`, `tof O+` ... ."""


class Sample:
    """Momenta of every coincidence, and of every second, fourth ... where they are too many.

    Args:
        most: number that is kept.
        ions: of a coincidence.

    Attributes:
        step: of so many coincidences one is kept.
        seen: coincidences so far.
    """

    def __init__(self, most: int, ions: int) -> None:
        self.step, self.seen = 1, 0
        self._held = np.empty((most, ions, 3))
        self._n = 0

    @property
    def momentum(self) -> FloatArray:
        """(n, ions, 3) a.u., in the order of the shots."""
        held: FloatArray = self._held[: self._n]
        return held

    def add(self, momentum: FloatArray) -> None:
        """Add those of further coincidences."""
        rows = np.arange(-self.seen % self.step, len(momentum), self.step)
        while len(rows):
            now = rows[: len(self._held) - self._n]
            self._held[self._n : self._n + len(now)] = momentum[now]
            self._n += len(now)
            rows = rows[len(now) :]
            if len(rows):
                half = self._held[: self._n : 2].copy()
                self._n, self.step = len(half), 2 * self.step
                self._held[: self._n] = half
                rows = rows[(self.seen + rows) % self.step == 0]
        self.seen += len(momentum)

    def clear(self) -> None:
        """Forget all."""
        self.step, self.seen, self._n = 1, 0, 0

    def put_back(self, momentum: FloatArray, step: int, seen: int) -> None:
        """Go on from a stored sample."""
        self.step, self.seen, self._n = step, seen, len(momentum)
        self._held[: self._n] = momentum


class GrowingReduction:
    """The coincidences of a channel in ranges of shots that are added one by one.

    Args:
        channel: ions, windows, gates.
        setup: spectrometer, detector, calibration, jet.
        longest: intervals of the history.

    Attributes:
        shots, hits: numbers of those added.
        dropped: hits that cannot be ions.
        gate: the gate on the momentum sum; None while it is not known, and for partial channels.
        peaks: peaks of the momentum sums on each axis; None where none was found.
        final: whether the gate stays as it is.
        trouble: why there is no gate yet; empty where there is one.
        gate_from: shots from which the gate was found.
        history: rates, sums, energies and times of flight against the shots.

    Raises:
        ComputationError: a complete channel of one ion without half widths of the gate.
        SettingsError: the spectrometer gives two momenta the same time of flight.
    """

    def __init__(self, channel: Channel, setup: Setup, *, longest: int = 360) -> None:
        self.channel, self.setup = channel, setup
        self.search = Search(channel, setup)
        self.ions = self.search.ions
        if channel.is_complete and len(self.ions) == 1 and channel.gates.sum_half_width is None:
            raise ComputationError(
                f"channel {channel.name} has one ion, whose momentum nothing balances: its "
                "momentum sum has no peak",
                do="Give the half widths in the channel (gates -> sum_half_width).",
            )
        self.shots = self.hits = self.gate_from = 0
        self.dropped = Dropped()
        self.gate: SumGate | None = None
        self.peaks: Peaks | None = None
        self.final = not channel.is_complete
        self.trouble = "" if self.final else "too few coincidences to find the gate"
        self._hit_spectra = HitSpectra(channel, setup, self.search.windows)
        self._kept: list[tuple[int, Hits]] = []
        self._n_kept = self._found_from = 0
        self._narrow = False
        """Whether the gate was looked for in a narrow range, as false sums are too many."""
        self._first = self._new_first()
        kinds = list(self.search.windows)
        self._kind_of = np.array([kinds.index(str(ion)) for ion in self.ions])
        columns = [f"{SUM} {axis}" for axis in "xyz"] + [KER] + [f"{TOF} {ion}" for ion in kinds]
        self.history = History(columns, longest)
        self.sample = Sample(SAMPLE_BYTES // (24 * len(self.ions)), len(self.ions))
        self._clear()

    def _new_first(self) -> FirstPass:
        centre = self.channel.gates.sum_centre
        return FirstPass(self.search, np.zeros(3) if centre is None else np.array(centre))

    def _clear(self) -> None:
        """Forget all coincidences."""
        limit = self.channel.gates.max_momentum
        highest = sum(limit**2 / (2.0 * ion.mass) for ion in self.ions)
        self.tally = Tally()
        self.energy = EnergySpectrum(highest * HARTREE_EV)
        self.sample.clear()
        self.history.clear_values()

    @property
    def coincidences(self) -> int:
        """Coincidences found so far."""
        return self.tally.found

    def add(self, hits: Hits, at: float) -> None:
        """Add a range of shots.

        Args:
            hits: uncalibrated.
            at: when they came, in seconds of any clock.
        """
        calibrated, dropped = calibrate(hits, self.setup)
        self.dropped.add(dropped)
        self.shots += hits.n_shots
        self.hits += hits.n_hits
        self._hit_spectra.fill(calibrated)
        interval = self.history.add(at, hits.n_shots, hits.n_hits)
        if not self.final:
            self._keep(interval, calibrated)
            if self._is_due() and self.find_gate():
                return
        if self.gate is not None or self.final:
            self._count(interval, calibrated)

    def _is_due(self) -> bool:
        """Whether there is so much more that the gate is found again."""
        if self._first.filled < FEWEST_SUMS or self._n_kept == self._found_from:
            return False
        return self._n_kept >= min(GROWTH * self._found_from, MOST_KEPT) or (
            self._first.full and not self._narrow
        )

    def find_gate(self) -> bool:
        """Find the gate from what there is and search all coincidences again.

        Returns:
            Whether there is a new gate.
        """
        gates = self.channel.gates
        self._found_from = self._n_kept
        first, peaks = copy(self._first), None
        self._narrow = False
        try:
            peaks = first.find(())
            self._narrow = first.filled != self._first.filled
            self.trouble = ""
        except ComputationError as error:
            self._narrow = True  # more sums will not help, more hits may
            if gates.sum_half_width is None:
                kept = "" if self.gate is None else "; the gate found earlier is kept"
                self.trouble = f"{error.what}{kept}"
                return False
        sums, self.peaks = first.sums, peaks
        gate = gate_around(
            peaks,
            sigmas=gates.sum_sigmas,
            centre=gates.sum_centre,
            half_width=gates.sum_half_width,
            spread=np.sqrt(sums[:, 3:].mean(axis=0)) if len(sums) else None,
        )
        self.gate = with_odds(gate, peaks, sums)
        self._clear()
        for interval, hits in self._kept:
            self._count(interval, hits)
        self.tally.shots = self.gate_from = self.shots
        if (self._first.full and not self._narrow) or self._n_kept >= MOST_KEPT:
            self.final = True
            self._kept, self._first = [], self._new_first()
        return True

    def _keep(self, interval: int, hits: Hits) -> None:
        """Keep the hits that can belong to a coincidence until the gate is final."""
        if self._n_kept >= MOST_KEPT:
            return
        compact = self._possible(hits)
        self._first.add(compact)
        self._kept.append((interval, compact))
        self._n_kept += compact.n_hits

    def _possible(self, hits: Hits) -> Hits:
        """The hits in windows of ions, of the shots that have enough of them."""
        inside = np.zeros(hits.n_hits, np.bool_)
        enough = np.ones(hits.n_shots, np.bool_)
        for (low, high), wanted in zip(
            self.search.windows.values(), self.search.wanted, strict=True
        ):
            of_kind = (hits.t_ns >= low) & (hits.t_ns <= high)
            enough &= np.diff(offsets_of(of_kind)[hits.offsets]) >= wanted
            inside |= of_kind
        chosen = hits.select(inside & np.repeat(enough, hits.counts))
        counts = chosen.counts[enough]
        return replace(chosen, first_shot=0, offsets=offsets_of(counts), tags={})

    def _count(self, interval: int, hits: Hits) -> None:
        """Search calibrated hits and count the coincidences."""
        found = self.search.solve(hits, self.tally, self.gate)
        if not len(found):
            return
        momentum = self.search.momenta(hits, found.rows)
        table = Coincidences.of(self.ions, momentum)
        energy = table.kinetic_energy().sum(axis=1)
        self.energy.fill(energy)
        self.sample.add(momentum)
        times = hits.t_ns[found.rows]
        by_kind = [times[:, self._kind_of == kind].mean(axis=1) for kind in self._kinds]
        values = [*table.momentum_sum().T, energy * HARTREE_EV, *by_kind]
        self.history.add_values(interval, np.column_stack(values))

    @property
    def _kinds(self) -> range:
        return range(len(self.search.windows))

    @property
    def purity(self) -> Purity | None:
        """Purity of the coincidences from side bands; None without a gate."""
        if self.gate is None or not self.coincidences:
            return None
        return purity(self.tally.elsewhere, self.gate)

    @property
    def release(self) -> KineticEnergyRelease | None:
        """Kinetic energy release; None without coincidences."""
        return self.energy.release() if self.coincidences else None

    def spectra(self) -> dict[str, Spectrum]:
        """The histograms by name; those of coincidences only where there are some."""
        spectra = self._hit_spectra.spectra()
        if self.coincidences:
            spectra |= sum_spectra(self.tally, self.search.sum_range, self.gate)
            spectra |= self.energy.spectra()
        return spectra

    def table(self) -> Coincidences:
        """The sample of coincidences, with channel and setup as later stages need them."""
        meta = {
            "channel": self.channel.model_dump(mode="json"),
            "setup": self.setup.model_dump(mode="json"),
        }
        return Coincidences.of(self.ions, self.sample.momentum, meta=meta)

    def stored(self) -> tuple[dict[str, Any], Arrays]:
        """Everything as plain values and arrays, for `restore`."""
        fine, total = self.energy.counts
        values = {
            "shots": self.shots,
            "hits": self.hits,
            "gate_from": self.gate_from,
            "dropped": [getattr(self.dropped, one.name) for one in fields(self.dropped)],
            "final": self.final,
            "trouble": self.trouble,
            "gate": None if self.gate is None else _plain(self.gate),
            "peaks": None if self.peaks is None else [_plain(peak) for peak in self.peaks],
            "found_from": self._found_from,
            "narrow": self._narrow,
            "energy": total,
            "sample": [self.sample.step, self.sample.seen],
            "tally": {
                name: getattr(self.tally, name)
                for name in ("shots", "combinations", "crowded", "truncated", "found", "ambiguous")
            },
        }
        arrays: Arrays = {f"hits_{name}": one for name, one in self._hit_spectra.counts.items()}
        arrays |= {
            "energy": fine,
            "sample": self.sample.momentum,
            "sums": self.tally.sums,
            "elsewhere": self.tally.elsewhere,
            "history": self.history.rows,
        }
        if self._kept:
            kept = [hits for _, hits in self._kept]
            arrays |= {
                "kept_interval": np.array([interval for interval, _ in self._kept]),
                "kept_shots": np.array([hits.n_shots for hits in kept]),
                "kept_counts": np.concatenate([hits.counts for hits in kept]),
                "kept": np.stack(
                    [np.concatenate([getattr(one, name) for one in kept]) for name in _COLUMNS]
                ),
            }
        return values, arrays

    def restore(self, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `stored` gave, for the same channel and setup."""
        self.shots, self.hits = values["shots"], values["hits"]
        self.gate_from = values["gate_from"]
        self.dropped = Dropped(*values["dropped"])
        self.final, self.trouble = values["final"], values["trouble"]
        self._found_from, self._narrow = values["found_from"], values["narrow"]
        gate, peaks = values["gate"], values["peaks"]
        self.gate = None if gate is None else SumGate(**_arrays(gate))
        if peaks is not None:
            x, y, z = (Peak(**peak) for peak in peaks)
            self.peaks = (x, y, z)
        for name, counts in self._hit_spectra.counts.items():
            counts[:] = arrays[f"hits_{name}"]
        self.history.put_back(arrays["history"])
        for interval, hits in _chunks(arrays):
            self._first.add(hits)
            self._kept.append((interval, hits))
            self._n_kept += hits.n_hits
        self.energy.put_back(arrays["energy"], values["energy"])
        step, seen = values["sample"]
        self.sample.put_back(arrays["sample"], step, seen)
        self.tally = Tally(**values["tally"], sums=arrays["sums"], elsewhere=arrays["elsewhere"])


_COLUMNS: Final = ("x_mm", "y_mm", "t_ns")


def _chunks(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[int, Hits]]:
    """The kept hits, interval by interval."""
    if "kept" not in arrays:
        return
    counts, columns = arrays["kept_counts"], arrays["kept"]
    shot = hit = 0
    for interval, n_shots in zip(arrays["kept_interval"], arrays["kept_shots"], strict=True):
        offsets = offsets_of(counts[shot : shot + n_shots])
        part = slice(hit, hit + int(offsets[-1]))
        x, y, t = (column[part].copy() for column in columns)
        yield int(interval), Hits(0, offsets, x, y, t, np.zeros(len(t), np.int16))
        shot, hit = shot + int(n_shots), part.stop


def _plain(item: SumGate | Peak) -> dict[str, Any]:
    values = {one.name: getattr(item, one.name) for one in fields(item)}
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def _arrays(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: np.array(value) if isinstance(value, list) else value
        for name, value in values.items()
    }
