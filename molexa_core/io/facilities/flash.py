"""Reader for runs of FLASH with a delay-line detector, in the facility's HDF5 files.

The dataset `.../DLD1/value` has the axes (train, row, hit): y, x, number of the pulse, time and an
auxiliary value, padded with NaN; `.../DLD1/index` numbers the trains (layout as read by the
package sed of OpenCOMPES). A shot is a pulse of a train.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.fields import TAG_DELAY, TAG_PULSE, TAG_PULSE_ENERGY, TAG_TRAIN
from molexa_core.base.settings.columns import Facility
from molexa_core.base.tables import Hits, IntArray, offsets_of
from molexa_core.io.facilities.xfel_keys import unit_warnings
from molexa_core.io.hdf5.file import dataset_at, open_handle, read_array, reading_hdf5
from molexa_core.io.stored_run import Fact, StoredRun
from molexa_core.io.tables.hdf5_table import stored_metadata

DETECTOR: Final = re.compile(r"(.*/)?DLD\d*")
ROWS: Final = ("y", "x", "pulse", "time", "auxiliary")
"""What the rows of the middle axis hold."""
MOST_PULSES: Final = 20_000
_CHUNK_BYTES: Final = 24 * 2**20


def flash_detectors(file: h5py.File) -> list[str]:
    """Groups of an HDF5 file that hold hits in the layout of FLASH."""
    found = []

    def look(name: str, item: Any) -> None:
        value = item.get("value") if isinstance(item, h5py.Group) else None
        if DETECTOR.fullmatch(name) and isinstance(value, h5py.Dataset) and value.ndim == 3:
            found.append(name)

    file.visititems(look)
    return found


@dataclass(frozen=True)
class _Part:
    path: Path
    file: h5py.File
    value: h5py.Dataset
    train: IntArray


class FlashRun(StoredRun):
    """A run of FLASH, which can be read repeatedly; iterating over it gives `Hits`.

    Args:
        paths: the files.
        facility: which detector, its units, where pulse energy and delay are.
        handles: the open files, where they are open already.

    Attributes:
        paths, layout, choice, n_shots: as in `StoredRun`.
        source: the group of the detector.
        first_pulse, n_pulses: lowest number of a pulse with a hit, and pulses per train from there.
        remarks: what the user should know.
        warnings: why what is made of the run may be wrong.

    Raises:
        InputFileError: no such detector, or several to choose from; damaged files.
    """

    layout = "flash"
    anywhere = True

    def __init__(
        self,
        paths: Sequence[Path | str],
        facility: Facility | None = None,
        handles: Sequence[h5py.File] | None = None,
    ) -> None:
        self._facility = facility or Facility()
        if not paths:
            raise UsageError("no run given", do="Name at least one file.")
        self.paths = tuple(Path(path) for path in paths)
        files = [open_handle(path) for path in self.paths] if handles is None else list(handles)
        self.source = _choose(files, self._facility.source)
        self._parts = [
            _part(path, file, self.source) for path, file in zip(self.paths, files, strict=True)
        ]
        self.choice = f"{self.source}: hits of FLASH, rows {', '.join(ROWS)}"
        self.first_pulse, self.n_pulses = self._pulses()
        self.n_trains = sum(len(part.train) for part in self._parts)
        self.n_shots: int | None = self.n_trains * self.n_pulses
        self._remarks: list[str] = []
        self._warnings: list[str] = [] if self.metadata() else unit_warnings(self._facility)

    @property
    def remarks(self) -> list[str]:
        """What the user should know."""
        return self._remarks

    @property
    def warnings(self) -> list[str]:
        """Why what is made of the run may be wrong."""
        return self._warnings

    def facts(self) -> list[Fact]:
        """The detector, trains and pulses."""
        return [
            ("detector", self.source, ""),
            ("trains", self.n_trains, ""),
            ("pulses per train", self.n_pulses, ""),
            ("first pulse with a hit", self.first_pulse, ""),
        ]

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the first file (virtual runs)."""
        return stored_metadata(self._parts[0].file)

    def __iter__(self) -> Iterator[Hits]:
        return self.between(0, self.n_shots or 0)

    def between(self, first: int, last: int) -> Iterator[Hits]:
        """See `StoredRun.between`."""
        begin = 0
        for part in self._parts:
            for low, high in _ranges(part):
                shot, begin = begin, begin + (high - low) * self.n_pulses
                if begin <= first or shot >= last:
                    continue
                with reading_hdf5(part.path):
                    stored = np.asarray(part.value[low:high], np.float64)
                    hits = self._hits(part, stored, low, shot)
                yield hits.shots(max(first - shot, 0), min(last - shot, hits.n_shots))

    def _hits(self, part: _Part, stored: NDArray[np.float64], low: int, shot: int) -> Hits:
        pulse = stored[:, 2]
        real = np.isfinite(stored[:, :4]).all(axis=1) & (pulse >= 0)
        train, _ = np.nonzero(real)
        place = train * self.n_pulses + pulse[real].astype(np.int64) - self.first_pulse
        order = np.argsort(place, kind="stable")
        trains = part.train[low : low + len(stored)]
        n_shots = len(trains) * self.n_pulses
        counts = np.bincount(place, minlength=n_shots)
        numbers = self.first_pulse + np.arange(self.n_pulses)
        tags: dict[str, NDArray[Any]] = {
            TAG_TRAIN: np.repeat(trains, self.n_pulses),
            TAG_PULSE: np.tile(numbers.astype(np.int32), len(trains)),
        }
        tags |= self._values(part, low, len(trains))
        y, x, _, t = (stored[:, row][real][order] for row in range(4))
        return Hits(
            first_shot=shot,
            offsets=offsets_of(counts),
            x_mm=x * self._facility.x_unit_mm,
            y_mm=y * self._facility.x_unit_mm,
            t_ns=t * self._facility.time_unit_ns,
            method=np.zeros(len(x), np.int16),
            tags=tags,
        )

    def _values(self, part: _Part, low: int, n_trains: int) -> dict[str, NDArray[Any]]:
        """Pulse energy and delay, where the setup names them."""
        found: dict[str, NDArray[Any]] = {}
        facility = self._facility
        rows = slice(low, low + n_trains)
        if facility.delay is not None:
            data = _beside(part, facility.delay)
            value = np.asarray(data[rows], np.float64).reshape(n_trains, -1)[:, 0]
            delay = (value - facility.delay_zero) * facility.delay_unit_fs
            found[TAG_DELAY] = np.repeat(delay, self.n_pulses)
        if facility.pulse_energy not in {None, "none"}:
            data = _beside(part, str(facility.pulse_energy))
            stored = np.asarray(data[rows], np.float64)
            stored = stored[:, 0] if stored.ndim == 3 else stored.reshape(n_trains, -1)
            energy = np.full((n_trains, self.n_pulses), np.nan)
            n = min(self.n_pulses, stored.shape[1])
            energy[:, :n] = stored[:, :n]
            found[TAG_PULSE_ENERGY] = energy.ravel()
        return found

    def _pulses(self) -> tuple[int, int]:
        """Lowest number of a pulse in the run, and the number of pulses from it to the highest."""
        lowest, highest = np.inf, -np.inf
        for part in self._parts:
            for low, high in _ranges(part):
                with reading_hdf5(part.path):
                    pulse = np.asarray(part.value[low:high, 2], np.float64)
                pulse = pulse[np.isfinite(pulse) & (pulse >= 0)]
                if len(pulse):
                    lowest, highest = min(lowest, pulse.min()), max(highest, pulse.max())
        if highest < lowest:
            return 0, 1
        if highest >= MOST_PULSES:
            raise InputFileError(
                f"{self.source} names pulse {highest:g}; a train has at most {MOST_PULSES}",
                where=listing(self.paths, limit=3),
                do="The rows of the detector are not y, x, pulse, time; use `columns` instead.",
            )
        return int(lowest), int(highest) - int(lowest) + 1


def _choose(files: Sequence[h5py.File], wanted: str | None) -> str:
    found: list[str] = []
    for file in files:
        with reading_hdf5(file.filename):
            found += flash_detectors(file)
    known = list(dict.fromkeys(found))
    names = known if wanted is None else [name for name in known if wanted in name]
    if len(names) == 1:
        return names[0]
    raise InputFileError(
        f"{len(names)} detectors" + (f" like {wanted!r}" if wanted else "") + " in the layout of "
        f"FLASH (groups DLD* with a `value` of 3 axes); there are: {listing(known)}",
        where=listing((file.filename for file in files), limit=3),
        do="Say which as `source` of `facility` in the setup.",
    )


def _part(path: Path, file: h5py.File, source: str) -> _Part:
    with reading_hdf5(path):
        value = dataset_at(file, f"{source}/value")
        if value is None or value.ndim != 3 or value.dtype.kind not in "iuf":
            raise InputFileError(
                f"{source}/value is missing or not a table of numbers with 3 axes", where=path
            )
        if value.shape[1] < 4:
            raise InputFileError(
                f"{source}/value has shape {value.shape}, expected 4 rows or more: "
                f"{', '.join(ROWS)}",
                where=path,
            )
        train = read_array(file, f"{source}/index", kinds="iu", ndim=1).astype(np.int64)
        if len(train) != len(value):
            raise InputFileError(
                f"{source}/index has {len(train)} trains, {source}/value {len(value)}",
                where=path,
                do="The file is damaged.",
            )
    return _Part(path, file, value, train)


def _beside(part: _Part, name: str) -> h5py.Dataset:
    item = dataset_at(part.file, f"{name}/value")
    if item is None:
        item = dataset_at(part.file, name)
    if item is None or item.ndim < 1 or len(item) != len(part.train):
        raise InputFileError(
            f"there is no {name!r} with a value for each of {len(part.train)} trains",
            where=part.path,
            do="Correct it in `facility` of the setup.",
        )
    return item


def _ranges(part: _Part) -> Iterator[tuple[int, int]]:
    n, rows, hits = part.value.shape
    step = max(1, _CHUNK_BYTES // max(1, 8 * rows * hits))
    for low in range(0, n, step):
        yield low, min(low + step, n)
