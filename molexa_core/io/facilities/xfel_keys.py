"""Reader for runs of European XFEL whose detector has its own time-to-digital converter.

Such a source (`.../TDC/...:daqOutput`) has no `rec/hits`: x, y, time and pulse number are in arrays
with a row per train, padded to one length. `keys` of `facility` in the setup names the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError, listing, near_matches
from molexa_core.base.fields import TAG_DELAY, TAG_PULSE, TAG_PULSE_ENERGY, TAG_TRAIN
from molexa_core.base.settings.columns import Facility, SourceKeys
from molexa_core.base.tables import BoolArray, Hits, offsets_of
from molexa_core.io.facilities.xfel_file import MOST_PULSES, TrainIndex, XfelFile
from molexa_core.io.facilities.xfel_trains import (
    in_order,
    left_out_remark,
    no_trains,
    rows_of,
    train_ranges,
)
from molexa_core.io.facilities.xfel_values import NO_VALUE, PulseEnergy, TrainValue
from molexa_core.io.hdf5.file import reading_hdf5
from molexa_core.io.hits import filler
from molexa_core.io.stored_run import Fact, StoredRun
from molexa_core.io.tables.hdf5_table import stored_metadata
from molexa_core.io.tables.part import as_method

_CHUNK_BYTES: Final = 16 * 2**20
_LOOKS_LIKE: Final = {
    "x": ("posx", "xpos", "/x"),
    "y": ("posy", "ypos", "/y"),
    "time": ("time", "tof", "/t"),
    "pulse": ("pulseid", "pulse"),
}
"""How the names of such arrays end, in lower case."""


@dataclass(frozen=True)
class _Part:
    """The arrays of one file by what they hold, and the trains that have rows."""

    file: XfelFile
    index: TrainIndex
    arrays: Mapping[str, h5py.Dataset]


class KeyedRun(StoredRun):
    """A run of hits in arrays of a source, which can be read repeatedly; iterating gives `Hits`.

    Args:
        paths: the files.
        facility: the source, its keys and units, where pulse energy and delay are.
        handles: the open files, where they are open already.

    Attributes:
        paths, layout, choice, n_shots: as in `StoredRun`.
        source: name of the source.
        first_pulse, n_pulses: lowest number of a pulse with a hit, and pulses per train from there;
            None where a row is a shot.
        n_trains: trains with rows.
        remarks: what the user should know.
        warnings: why what is made of the run may be wrong.

    Raises:
        InputFileError: no source has these keys, or several; damaged files.
    """

    layout = "xfel-keys"

    def __init__(
        self,
        paths: Sequence[Path | str],
        facility: Facility,
        handles: Sequence[h5py.File] | None = None,
    ) -> None:
        if facility.keys is None:
            raise UsageError("no keys of a source", do="Give `keys` of `facility` in the setup.")
        self._facility, keys = facility, facility.keys.named
        files = XfelFile.each(paths, handles, suspect=facility.trains == "all")
        self.paths = tuple(file.path for file in files)
        self.source = _choose(files, facility.source, facility.keys)
        found = [_part(file, self.source, keys) for file in files if _has(file, self.source, keys)]
        self._parts = in_order(found)
        self.n_trains = sum(len(part.index.train_id) for part in self._parts)
        self.choice = f"{self.source}: hits in arrays, " + ", ".join(
            f"{what} from {key}" for what, key in keys.items()
        )
        self.first_pulse: int | None = None
        self.n_pulses: int | None = None
        self.n_shots: int | None = sum(int(part.index.count.sum()) for part in self._parts)
        if "pulse" in keys:
            self.first_pulse, self.n_pulses = self._pulses()
            self.n_shots = self.n_trains * self.n_pulses
        self._delay = TrainValue.find(files, facility.delay) if facility.delay else None
        named = facility.pulse_energy not in {None, NO_VALUE}
        self._energy = PulseEnergy.find(files, facility.pulse_energy) if named else None
        self._remarks: list[str] = []
        self._warnings: list[str] = unit_warnings(facility)
        self._left_out = sum(part.file.left_out for part in self._parts)
        if self._left_out:
            self._remarks.append(left_out_remark(self._left_out, self.n_trains))

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
        rows: list[Fact] = [("detector", self.source, ""), ("trains", self.n_trains, "")]
        if self.n_pulses is not None and self.first_pulse is not None:
            rows += [
                ("pulses per train", self.n_pulses, ""),
                ("first pulse with a hit", self.first_pulse, ""),
            ]
        return rows

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the first file; empty for files of the facility."""
        return stored_metadata(self._parts[0].file.handle)

    def __iter__(self) -> Iterator[Hits]:
        if self.n_trains == 0:
            raise self._nothing()
        shot = 0
        for part, low, high in self._ranges():
            with reading_hdf5(part.file.path):
                hits = self._hits(part, low, high, shot)
            shot += hits.n_shots
            yield hits

    def _nothing(self) -> InputFileError:
        where = listing(self.paths, limit=3)
        if self._left_out:
            return no_trains(self._left_out, where)
        return InputFileError(
            f"no train of the run has data of {self.source}",
            where=where,
            do="Give other files of the run, or name another `source` of `facility`.",
        )

    def _ranges(self) -> Iterator[tuple[_Part, int, int]]:
        for part in self._parts:
            width = sum(8 * int(np.prod(array.shape[1:])) for array in part.arrays.values())
            for low, high in train_ranges(part.index.count, max(1, _CHUNK_BYTES // max(1, width))):
                yield part, low, high

    def _filled(
        self, part: _Part, low: int, high: int
    ) -> tuple[dict[str, NDArray[Any]], BoolArray]:
        """The arrays of some trains (rows, slots), and which slots hold a hit."""
        first, count = part.index.first[low:high], part.index.count[low:high]
        stored = {what: rows_of(array, first, count) for what, array in part.arrays.items()}
        return stored, ~filler(stored["x"], stored["y"], stored["time"])

    def _hits(self, part: _Part, low: int, high: int, shot: int) -> Hits:
        stored, real = self._filled(part, low, high)
        trains, count = part.index.train_id[low:high], part.index.count[low:high]
        row = np.nonzero(real)[0]
        if self.n_pulses is None or self.first_pulse is None:
            place, n_shots = row, len(real)
            per_train = count
            number = np.arange(n_shots) - np.repeat(np.cumsum(count) - count, count)
        else:
            train = np.repeat(np.arange(len(trains)), count)[row]
            place = train * self.n_pulses + stored["pulse"][real].astype(np.int64)
            place -= self.first_pulse
            n_shots = len(trains) * self.n_pulses
            per_train = np.full(len(trains), self.n_pulses)
            number = np.tile(self.first_pulse + np.arange(self.n_pulses), len(trains))
        order = np.argsort(place, kind="stable")
        x, y, t = (stored[what][real][order].astype(np.float64) for what in ("x", "y", "time"))
        method = stored.get("method")
        none = np.zeros(len(x), np.int16)
        tags: dict[str, NDArray[Any]] = {
            TAG_TRAIN: np.repeat(trains, per_train),
            TAG_PULSE: number.astype(np.int32),
        }
        if self._energy is not None:
            tags[TAG_PULSE_ENERGY] = self._energy.of(trains, per_train, None)
        if self._delay is not None:
            value = np.repeat(self._delay.of(trains), per_train)
            tags[TAG_DELAY] = (value - self._facility.delay_zero) * self._facility.delay_unit_fs
        counts = np.bincount(place, minlength=n_shots)
        return Hits(
            first_shot=shot,
            offsets=offsets_of(counts),
            x_mm=x * self._facility.x_unit_mm,
            y_mm=y * self._facility.x_unit_mm,
            t_ns=t * self._facility.time_unit_ns,
            method=none if method is None else as_method(method[real][order].astype(np.float64)),
            tags=tags,
        )

    def _pulses(self) -> tuple[int, int]:
        """Lowest number of a pulse with a hit, and pulses from it to the highest.

        Raises:
            InputFileError: a hit has a number that cannot be that of a pulse.
        """
        lowest, highest = MOST_PULSES, -1
        for part, low, high in self._ranges():
            with reading_hdf5(part.file.path):
                stored, real = self._filled(part, low, high)
            pulse = np.asarray(stored["pulse"][real], np.float64)
            good = (pulse >= 0) & (pulse < MOST_PULSES) & (pulse == np.floor(pulse))
            if not good.all():
                row = np.nonzero(real)[0][int(np.argmin(good))]
                train = np.repeat(part.index.train_id[low:high], part.index.count[low:high])[row]
                raise InputFileError(
                    f"{self.source} names pulse {pulse[~good][0]:g} in train {train}; a train has "
                    f"at most {MOST_PULSES}",
                    where=part.file.path,
                    do="Correct `pulse` of `keys`, or leave it out if a row is a shot.",
                )
            if len(pulse):
                lowest, highest = min(lowest, int(pulse.min())), max(highest, int(pulse.max()))
        return (lowest, highest - lowest + 1) if highest >= 0 else (0, 1)


def unit_warnings(facility: Facility) -> list[str]:
    """Warnings if positions or times are integer steps and the setup gives no unit."""
    names = {"x_unit_mm": facility.x_unit_mm, "time_unit_ns": facility.time_unit_ns}
    missing = [name for name, value in names.items() if value == 1.0]
    if not missing:
        return []
    what = {"x_unit_mm": "positions", "time_unit_ns": "times"}
    told = (
        f"{' and '.join(what[name] for name in missing)} are taken in the steps that the file "
        f"stores, as if one were 1 mm or 1 ns: give {' and '.join(missing)} of `facility` in the "
        "setup"
    )
    return [told]


def _has(file: XfelFile, source: str, keys: Mapping[str, str]) -> bool:
    return all(file.holds(f"INSTRUMENT/{source}/{key}") for key in keys.values())


def _choose(files: Sequence[XfelFile], wanted: str | None, keys: SourceKeys) -> str:
    """The source that has the keys.

    Raises:
        InputFileError: none or several.
    """
    sources = list(dict.fromkeys(name for file in files for name in file.sources()))
    named = [name for name in sources if wanted is None or wanted in name]
    if wanted in named:
        named = [str(wanted)]
    found = [name for name in named if any(_has(file, name, keys.named) for file in files)]
    if len(found) == 1:
        return found[0]
    where = listing((file.path for file in files), limit=3)
    if found:
        raise InputFileError(
            f"several sources have these keys: {listing(found)}",
            where=where,
            do="Say which as `source` of `facility` in the setup.",
        )
    if not named:
        near = near_matches(str(wanted), sources)
        raise InputFileError(
            f"there is no source {wanted!r}; there are: {listing(sources, limit=6)}",
            where=where,
            do=f"Did you mean {listing(near)}?" if near else "Correct `source` of `facility`.",
        )
    held = {name: sorted(_arrays(file, name)) for file in files for name in named}
    told = "; ".join(f"{name} has {listing(keys_, limit=8)}" for name, keys_ in held.items())
    raise InputFileError(
        f"no source has all the keys {listing(keys.named.values())}: {told}",
        where=where,
        do="Correct `keys` of `facility` in the setup.",
    )


def _part(file: XfelFile, source: str, keys: Mapping[str, str]) -> _Part:
    arrays: dict[str, h5py.Dataset] = {}
    indices: dict[str, TrainIndex] = {}
    for what, key in keys.items():
        name = f"INSTRUMENT/{source}/{key}"
        array = file.dataset(name, ndim=2)
        shape = next(iter(arrays.values())).shape if arrays else array.shape
        if array.dtype.kind not in "iufb" or array.shape != shape:
            raise InputFileError(
                f"{name} holds {array.dtype} of shape {array.shape}, expected numbers of shape "
                f"{shape}",
                where=file.path,
                do="Correct `keys` of `facility` in the setup.",
            )
        arrays[what] = array
        group = key.partition("/")[0]
        if group not in indices:
            indices[group] = file.index(source, group)
            file.check_index(indices[group], len(array), source)
    if any(
        (index.first != other.first).any() or (index.count != other.count).any()
        for other in indices.values()
        for index in indices.values()
    ):
        raise InputFileError(
            f"the groups {listing(sorted(indices))} of {source} have different rows for a train",
            where=file.path,
            do="Name keys of one group in `keys` of `facility`.",
        )
    index = next(iter(indices.values()))
    held = index.count > 0
    return _Part(
        file, TrainIndex(index.train_id[held], index.first[held], index.count[held]), arrays
    )


def _arrays(file: XfelFile, source: str) -> dict[str, tuple[int, ...]]:
    """Arrays of numbers of a source with two axes, by key."""
    found: dict[str, tuple[int, ...]] = {}

    def add(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.dtype.kind in "iuf":
            found[name] = tuple(item.shape)
        return True if len(found) >= 64 else None

    with reading_hdf5(file.path):
        group = file.handle.get(f"INSTRUMENT/{source}")
        if isinstance(group, h5py.Group):
            group.visititems(add)
    return found


def arrays_hint(files: Sequence[XfelFile]) -> InputFileError | None:
    """Advice if no file has `rec/hits`, but a source has arrays that look like hits."""
    for file in files:
        for source in file.sources():
            told: dict[str, str] = {}
            arrays = _arrays(file, source)
            for what, endings in _LOOKS_LIKE.items():
                for key in arrays:
                    if f"/{key}".lower().endswith(endings) and what not in told:
                        told[what] = key
            if {"x", "y", "time"} <= set(told) and len({arrays[k] for k in told.values()}) == 1:
                keys = ", ".join(f"{what}: {key}" for what, key in told.items())
                shape = " x ".join(map(str, arrays[told["x"]]))
                return InputFileError(
                    "no detector with rec/hits or raw/edges in the files; the source "
                    f"{source} has arrays ({shape}) named like hits: {listing(arrays, limit=8)}",
                    where=file.path,
                    do="If they are the hits, say so in the setup, with the units of its steps: "
                    f'facility: {{source: "{source}", keys: {{{keys}}}, x_unit_mm: ..., '
                    "time_unit_ns: ...}",
                )
    return None
