"""Reader for runs of European XFEL with a delay-line detector: hits or edges of each pulse.

Reads one file, several, or those of a run folder. The facility stores its reconstructed hits as
`rec/hits` and the edges as `raw/edges`, one row per pulse, padded with NaN; `raw/triggers` gives
the pulse of each row and whether the free-electron laser and the pump laser fired.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, listing, near_matches
from molexa_core.base.fields import (
    TAG_DELAY,
    TAG_FEL,
    TAG_PULSE,
    TAG_PULSE_ENERGY,
    TAG_PUMP,
    TAG_TRAIN,
)
from molexa_core.base.settings.columns import Facility
from molexa_core.base.tables import BoolArray, Edges, Hits, offsets_of
from molexa_core.io.facilities.xfel_file import TrainIndex, XfelFile
from molexa_core.io.facilities.xfel_keys import arrays_hint
from molexa_core.io.facilities.xfel_trains import (
    in_order,
    left_out_remark,
    no_trains,
    rows_of,
    train_ranges,
)
from molexa_core.io.facilities.xfel_values import PulseEnergy, TrainValue
from molexa_core.io.hdf5.file import reading_hdf5
from molexa_core.io.stored_run import Fact, StoredRun
from molexa_core.io.tables.hdf5_table import stored_metadata
from molexa_core.io.tables.part import as_method

_HIT: Final = ("x", "y", "t", "m")
_CHUNK_BYTES: Final = 24 * 2**20
_SELECT_ROWS: Final = 1_000_000


@dataclass(frozen=True)
class _Part:
    """The detector in one file."""

    file: XfelFile
    index: TrainIndex
    data: h5py.Dataset
    triggers: h5py.Dataset | None


class XfelRun(StoredRun):
    """A run of European XFEL, which can be read repeatedly.

    Iterating over it gives `Hits` or `Edges`, in chunks of whole trains. A shot is a pulse.

    Args:
        paths: the files; those without the detector may hold the pulse energy or the delay.
        facility: selected detector and pulses, sources of pulse energy and delay.
        handles: the open files, where they are open already.

    Attributes:
        paths, layout, choice, n_shots: as in `StoredRun`.
        source: name of the detector's source.
        edges: whether it gives `Edges`.
        n_trains, n_pulses: trains and pulses in the files, those without light included.
        remarks: what the user should know.
        warnings: why what is made of the run may be wrong.

    Raises:
        InputFileError: no such detector, or several to choose from; damaged files.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        facility: Facility | None = None,
        handles: Sequence[h5py.File] | None = None,
    ) -> None:
        facility = facility or Facility()
        files = XfelFile.each(paths, handles, suspect=facility.trains == "all")
        self.paths = tuple(file.path for file in files)
        self.source = _choose(files, facility.source)
        known = dict.fromkeys(name for file in files for name in file.detectors())
        self._others = [name for name in known if name != self.source]
        wanted = facility.data
        if wanted is None:
            wanted = "hits" if any(self._has(file, "rec") for file in files) else "edges"
        self.edges = wanted == "edges"
        self.layout = "xfel-edges" if self.edges else "xfel"
        self._remarks: list[str] = []
        self._warnings: list[str] = []
        group, name = ("raw", "edges") if self.edges else ("rec", "hits")
        self._parts = in_order(
            [_part(file, self.source, group, name) for file in files if self._has(file, group)]
        )
        if not self._parts:
            raise InputFileError(
                f"{self.source} has no {group}/{name} in any of the files",
                where=listing(self.paths, limit=3),
                do="Give the CORR files of the run, or change `data` of `facility` in the setup.",
            )
        self._left_out = sum(part.file.left_out for part in self._parts)
        self.n_trains = sum(len(part.index.train_id) for part in self._parts)
        self.n_pulses = sum(int(part.index.count.sum()) for part in self._parts)
        self._energy = PulseEnergy.find(files, facility.pulse_energy)
        self._delay = TrainValue.find(files, facility.delay) if facility.delay else None
        self._unit, self._zero = facility.delay_unit_fs, facility.delay_zero
        self._only_fel = facility.pulses == "fel" and all(
            _field(part.triggers, TAG_FEL) is not None for part in self._parts
        )
        self.n_shots: int | None = self._kept()
        self.choice = f"{self.source}: {group}/{name} of European XFEL"
        self._remark(facility)

    def _has(self, file: XfelFile, group: str) -> bool:
        name = "edges" if group == "raw" else "hits"
        return file.holds(f"INSTRUMENT/{self.source}/{group}/{name}")

    def unread(self) -> list[str]:
        """Other detectors in the files."""
        return list(self._others)

    @property
    def remarks(self) -> list[str]:
        """What the user should know."""
        return self._remarks

    @property
    def warnings(self) -> list[str]:
        """Why what is made of the run may be wrong."""
        return self._warnings

    def facts(self) -> list[Fact]:
        """Where the files come from, the detector, trains and pulses."""
        return [
            *((name, value, "") for name, value in self.about().items()),
            ("detector", self.source, ""),
            ("trains", self.n_trains, ""),
            ("pulses, those without light included", self.n_pulses, ""),
        ]

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the first file (virtual runs)."""
        return stored_metadata(self._parts[0].file.handle)

    def parameters(self) -> dict[str, Any]:
        """Parameters of the detector as the facility used them, by name."""
        return self._parts[0].file.parameters(self.source.partition(":")[0])

    def about(self) -> dict[str, str]:
        """Origin of the files: dates and versions."""
        first, last = self._parts[0].file, self._parts[-1].file
        names = {
            "proposal": (first, "proposalNumber"),
            "run": (first, "runNumber"),
            "start": (first, "creationDate"),
            "stop": (last, "updateDate"),
            "format version": (first, "dataFormatVersion"),
            "written by": (first, "daqLibrary"),
        }
        found = {what: file.text(name) for what, (file, name) in names.items()}
        return {what: text for what, text in found.items() if text is not None}

    def __iter__(self) -> Iterator[Hits | Edges]:
        return self.iterate()

    def iterate(self, chunk_shots: int | None = None) -> Iterator[Hits | Edges]:
        """Hits or edges of all pulses in the order of trains.

        Args:
            chunk_shots: aim for this many pulses per chunk; trains are not divided.

        Raises:
            InputFileError: a file is damaged or says something impossible, or nothing is left.
        """
        if self.n_shots == 0:
            raise self._nothing()
        shot = 0
        for part in self._parts:
            row_bytes = max(1, part.data.dtype.itemsize * int(np.prod(part.data.shape[1:])))
            goal = chunk_shots or max(1, _CHUNK_BYTES // row_bytes)
            for low, high in train_ranges(part.index.count, goal):
                with reading_hdf5(part.file.path):
                    chunk = self._chunk(part, low, high, shot)
                shot += chunk.n_shots
                if chunk.n_shots:
                    yield chunk

    @property
    def anywhere(self) -> bool:  # type: ignore[override]
        """Whether shots can be read from any place on."""
        return bool(self.n_shots)

    def between(self, first: int, last: int) -> Iterator[Hits | Edges]:
        """See `StoredRun.between`."""
        begin = 0
        for part in self._parts:
            row_bytes = max(1, part.data.dtype.itemsize * int(np.prod(part.data.shape[1:])))
            for low, high in train_ranges(part.index.count, max(1, _CHUNK_BYTES // row_bytes)):
                shot, begin = begin, begin + self._kept_of(part, low, high)
                if begin <= first or shot >= last:
                    continue
                with reading_hdf5(part.file.path):
                    chunk = self._chunk(part, low, high, shot)
                if chunk.n_shots:
                    yield chunk.shots(max(first - shot, 0), min(last - shot, chunk.n_shots))

    def _kept_of(self, part: _Part, low: int, high: int) -> int:
        """Pulses of some trains that are kept."""
        first, count = part.index.first[low:high], part.index.count[low:high]
        if not self._only_fel:
            return int(count.sum())
        with reading_hdf5(part.file.path):
            return int(rows_of(part.triggers, first, count)[TAG_FEL].astype(bool).sum())

    def _chunk(self, part: _Part, low: int, high: int, shot: int) -> Hits | Edges:
        first, count = part.index.first[low:high], part.index.count[low:high]
        data = rows_of(part.data, first, count)
        tags, fired = self._tags(part, low, high)
        if self._only_fel and fired is not None:
            data = data[fired]
            tags = {name: column[fired] for name, column in tags.items()}
        return _edges(data, tags, shot) if self.edges else _hits(data, tags, shot)

    def _tags(
        self, part: _Part, low: int, high: int
    ) -> tuple[dict[str, NDArray[Any]], BoolArray | None]:
        first, count = part.index.first[low:high], part.index.count[low:high]
        trains = part.index.train_id[low:high]
        tags: dict[str, NDArray[Any]] = {TAG_TRAIN: np.repeat(trains, count)}
        fired: BoolArray | None = None
        if part.triggers is not None:
            stored = rows_of(part.triggers, first, count)
            for tag, name in ((TAG_PULSE, "pulse"), (TAG_FEL, TAG_FEL), (TAG_PUMP, "ppl")):
                if name in (stored.dtype.names or ()):
                    tags[tag] = stored[name].astype(np.int32 if tag == TAG_PULSE else np.int8)
            if TAG_FEL in tags:
                fired = tags[TAG_FEL] != 0
        if TAG_PULSE not in tags:
            tags[TAG_PULSE] = (np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
                               ).astype(np.int32)  # fmt: skip
        if self._energy is not None:
            tags[TAG_PULSE_ENERGY] = self._energy.of(trains, count, fired)
        if self._delay is not None:
            value = np.repeat(self._delay.of(trains), count)
            tags[TAG_DELAY] = (value - self._zero) * self._unit
        return tags, fired

    def _kept(self) -> int:
        """Pulses that are kept."""
        if not self._only_fel:
            return self.n_pulses
        kept = 0
        for part in self._parts:
            for low, high in train_ranges(part.index.count, _SELECT_ROWS):
                kept += self._kept_of(part, low, high)
        return kept

    def _nothing(self) -> InputFileError:
        """The error for a run without pulses, which gives the reason."""
        where = listing(self.paths, limit=3)
        if self.n_pulses:
            return InputFileError(
                f"all {self.n_pulses} pulses are without light (fel)",
                where=where,
                do="`facility: {pulses: all}` in the setup reads them.",
            )
        if self._left_out and not self.n_trains:
            return no_trains(self._left_out, where)
        return InputFileError(
            f"none of the {self.n_trains} trains holds a pulse of {self.source}",
            where=where,
            do="Give other files of the run, or name another `source` of `facility`.",
        )

    def _remark(self, facility: Facility) -> None:
        dark = self.n_pulses - (self.n_shots or 0)
        if dark:
            self._remarks.append(f"{dark} of {self.n_pulses} pulses without light are left out")
        if self._left_out:
            self._remarks.append(left_out_remark(self._left_out, self.n_trains))
        elif facility.pulses == "fel" and not self._only_fel:
            self._remarks.append(
                "the run does not tell in which pulses the laser fired: all are read"
            )
        trains = np.concatenate([part.index.train_id for part in self._parts])
        empty = sum(int((part.index.count == 0).sum()) for part in self._parts)
        if empty:
            self._remarks.append(f"{empty} of {len(trains)} trains hold no pulse of {self.source}")
        for what, values in (("pulse energy", self._energy), ("delay", self._delay)):
            missing = 0 if values is None else values.missing(trains)
            if missing:
                self._remarks.append(f"{missing} of {len(trains)} trains have no {what}: NaN there")


def _choose(files: Sequence[XfelFile], wanted: str | None) -> str:
    """The detector's source: the one wanted, or the only one.

    Raises:
        InputFileError: none or several; says what there is.
    """
    known = list(dict.fromkeys(name for file in files for name in file.detectors()))
    where = listing((file.path for file in files), limit=3)
    if not known:
        if (other := arrays_hint(files)) is not None:
            raise other
        sources = list(dict.fromkeys(name for file in files for name in file.sources()))
        raise InputFileError(
            "no delay-line detector in the files; looked for INSTRUMENT/*_DLD*/DET/*:output with "
            f"rec/hits or raw/edges; there are: {listing(sources, limit=6)}",
            where=where,
            do="Hits are in the processed files (CORR-R*.h5 in proc/), not in raw/.",
        )
    found = known if wanted is None else [name for name in known if wanted in name]
    if wanted in known:
        return str(wanted)
    if len(found) == 1:
        return found[0]
    if wanted is None:
        raise InputFileError(
            f"there are several detectors: {listing(known)}",
            where=where,
            do="Say which as `source` of `facility` in the setup: that of the ions (mostly TOP); "
            "electrons (mostly BOTTOM) are not analysed.",
        )
    near = near_matches(wanted, known)
    raise InputFileError(
        f"{len(found)} detectors are like {wanted!r}; there are: {listing(known)}",
        where=where,
        do=f"Did you mean {listing(near)}?" if near else "Correct `source` of `facility`.",
    )


def _part(file: XfelFile, source: str, group: str, name: str) -> _Part:
    base = f"INSTRUMENT/{source}"
    if group == "rec":
        data = file.dataset(f"{base}/rec/hits", ndim=2, fields=_HIT)
    else:
        data = file.dataset(f"{base}/raw/edges", ndim=3)
    index = file.index(source, group)
    file.check_index(index, len(data), source)
    triggers = None
    if file.holds(f"{base}/raw/triggers"):
        triggers = file.dataset(f"{base}/raw/triggers", ndim=1)
        file.check_index(file.index(source, "raw"), len(triggers), source)
        if group == "rec" and (file.index(source, "raw").count != index.count).any():
            at = int(np.argmax(file.index(source, "raw").count != index.count))
            raise InputFileError(
                f"train {index.train_id[at]} has another number of pulses in raw/triggers than in "
                f"rec/{name}",
                where=file.path,
                do="The file is damaged; ask for the run to be processed again.",
            )
    return _Part(file, index, data, triggers)


def _field(triggers: h5py.Dataset | None, name: str) -> str | None:
    return name if triggers is not None and name in (triggers.dtype.names or ()) else None


def _hits(data: NDArray[Any], tags: dict[str, NDArray[Any]], shot: int) -> Hits:
    real = (data["m"] >= 0) & np.isfinite(data["t"])
    found = data[real]
    x, y, t = (np.ascontiguousarray(found[name], np.float64) for name in "xyt")
    offsets = offsets_of(real.sum(axis=1))
    return Hits(shot, offsets, x, y, t, as_method(found["m"].astype(np.float64)), tags)


def _edges(data: NDArray[Any], tags: dict[str, NDArray[Any]], shot: int) -> Edges:
    """Rows of `raw/edges` are channels; times are put in order, fillers end up last."""
    times = np.sort(np.asarray(data, np.float64), axis=2)
    real = np.isfinite(times)
    channel = np.broadcast_to(np.arange(data.shape[1], dtype=np.int16)[:, None], times.shape)[real]
    offsets = offsets_of(real.sum(axis=(1, 2)))
    return Edges(shot, offsets, channel, times[real], tags)
