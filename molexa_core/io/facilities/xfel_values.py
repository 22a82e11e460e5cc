"""Pulse energy and pump-probe delay in files of European XFEL, by train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import h5py
import numpy as np

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.tables import BoolArray, FloatArray, IntArray, offsets_of
from molexa_core.io.facilities.xfel_file import MONITOR, TrainIndex, XfelFile
from molexa_core.io.hdf5.file import dataset_at, reading_hdf5

NO_VALUE: Final = "none"
_ENERGY_KEYS: Final = ("intensityTD", "intensitySa1TD", "intensitySa2TD", "intensitySa3TD")


@dataclass(frozen=True)
class _Rows:
    """The rows of one file: a value per train, or a list of values."""

    file: XfelFile
    index: TrainIndex
    data: h5py.Dataset

    def at(self, trains: IntArray) -> tuple[IntArray, BoolArray]:
        """The row of each train, and whether it has one here."""
        ids = self.index.train_id
        if not len(ids):
            return np.zeros(len(trains), np.int64), np.zeros(len(trains), np.bool_)
        position = np.minimum(np.searchsorted(ids, trains), len(ids) - 1)
        has_row = (ids[position] == trains) & (self.index.count[position] > 0)
        return self.index.first[position], has_row


class _Values:
    """The values of a source in all files."""

    def __init__(self, parts: Sequence[_Rows], name: str) -> None:
        self._parts = tuple(parts)
        self.name = name

    def missing(self, trains: IntArray) -> int:
        """Number of these trains without a value."""
        has_value = np.zeros(len(trains), np.bool_)
        for part in self._parts:
            has_value |= part.at(trains)[1]
        return int((~has_value).sum())

    @classmethod
    def find(cls, files: Sequence[XfelFile], name: str) -> Self:
        """The values under `SOURCE/KEY`.

        Raises:
            InputFileError: no file has them; says which sources there are.
        """
        parts = [part for file in files if (part := _locate(file, name)) is not None]
        if not parts:
            sources = [source for file in files for source in file.sources()]
            raise InputFileError(
                f"there is no {name!r} (looked for it below CONTROL and INSTRUMENT, and for its "
                f"index); sources with fast data: {listing(dict.fromkeys(sources), limit=6)}",
                where=listing((file.path for file in files), limit=3),
                do="Correct it in `facility` of the setup, as SOURCE/KEY, and give its files too.",
            )
        return cls(parts, name)


class TrainValue(_Values):
    """A number per train, such as the position of a delay stage."""

    def of(self, trains: IntArray) -> FloatArray:
        """(trains) the value of each, NaN where there is none."""
        values = np.full(len(trains), np.nan)
        for part in self._parts:
            rows, has_row = part.at(trains)
            for train in np.flatnonzero(has_row):
                values[train] = float(np.ravel(part.data[int(rows[train])])[0])
        return values


class PulseEnergy(_Values):
    """The energy of each pulse from a gas monitor: the n-th value of a train is its n-th pulse."""

    @classmethod
    def find(  # type: ignore[override]
        cls, files: Sequence[XfelFile], name: str | None
    ) -> PulseEnergy | None:
        """The monitor named, or the only one there is; None for none.

        Raises:
            InputFileError: the one named is not there.
        """
        if name == NO_VALUE:
            return None
        if name is not None:
            return super().find(files, name)
        monitors: list[str] = []
        for file in files:
            for source in filter(MONITOR.fullmatch, file.sources()):
                keys = (f"{source}/data/{key}" for key in _ENERGY_KEYS)
                monitors += [key for key in keys if file.holds(f"INSTRUMENT/{key}")][:1]
        names = list(dict.fromkeys(monitors))
        return super().find(files, names[0]) if len(names) == 1 else None

    def of(self, trains: IntArray, count: IntArray, fired: BoolArray | None) -> FloatArray:
        """Energy of the pulses of these trains.

        Args:
            trains: (trains) their numbers.
            count: (trains) pulses of each.
            fired: (pulses) whether the laser fired; those without light have none and are skipped
                in counting.

        Returns:
            (pulses) in the unit of the monitor (uJ), NaN where there is no value.
        """
        lit = np.ones(int(count.sum()), np.bool_) if fired is None else fired
        begins = np.cumsum(count) - count
        before = offsets_of(lit)
        number = before[:-1] - np.repeat(before[begins], count)  # of a pulse with light
        values = np.full(len(lit), np.nan)
        for part in self._parts:
            rows, has_row = part.at(trains)
            for train in np.flatnonzero(has_row & (count > 0)):
                pulses = slice(begins[train], begins[train] + count[train])
                stored = np.ravel(part.data[int(rows[train])]).astype(np.float64)
                has_energy = lit[pulses] & (number[pulses] < len(stored))
                values[pulses][has_energy] = stored[number[pulses][has_energy]]
        return values


def _locate(file: XfelFile, name: str) -> _Rows | None:
    """Data and index of `SOURCE/KEY` in a file."""
    with reading_hdf5(file.path):
        for path in (f"CONTROL/{name}/value", f"CONTROL/{name}", f"INSTRUMENT/{name}"):
            data = dataset_at(file.handle, path)
            if data is not None and data.ndim in {1, 2} and data.dtype.kind in "iuf":
                break
        else:
            return None
        parts = name.split("/")
        for length in range(len(parts) - 1, 0, -1):
            base = f"INDEX/{'/'.join(parts[:length])}"
            if isinstance(file.handle.get(f"{base}/first"), h5py.Dataset):
                index = file.index("/".join(parts[:length]), None)
                file.check_index(index, len(data), name)
                return _Rows(file, index, data)
    return None
