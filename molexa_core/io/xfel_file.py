"""One file of European XFEL: its trains, its sources, and where their data stand.

Layout as the facility documents it: `INDEX/trainId`, `INDEX/SOURCE/GROUP/{first,count}` with one
entry per train, data below `INSTRUMENT/SOURCE/GROUP/...` and `CONTROL/SOURCE/...`, parameters of
the run below `RUN/SOURCE/...`. Read with h5py alone: `extra-data` would add nothing here but a
dependency, since several files and missing trains have to be dealt with per pulse anyway.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.tables import IntArray
from molexa_core.io.hdf5 import open_handle, read_array, reading_hdf5, require_readable

DETECTOR: Final = re.compile(r"\w+/DET/\w+:output")
"""Sources with hits: `SQS_REMI_DLD6/DET/TOP:output`; their device ends in `_DLD` and a number."""
_DEVICE: Final = re.compile(r"\w{3}_\w+_DLD\d+/")
MONITOR: Final = re.compile(r".+/XGM/.+:output")
MOST_TRAINS: Final = 50_000_000
MOST_PULSES: Final = 100_000
"""Pulses in a train; the machine makes 2700."""


@dataclass(frozen=True)
class TrainIndex:
    """Where the rows of each train stand in the data of a source.

    Attributes:
        train_id: (trains) numbers of the trains.
        first, count: (trains) first row and number of rows.
    """

    train_id: IntArray
    first: IntArray
    count: IntArray


class XfelFile:
    """An open file.

    Raises:
        InputFileError: missing, not HDF5, damaged, or without an index of trains.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = open_handle(path)
        with reading_hdf5(path):
            stored = read_array(self.handle, "INDEX/trainId", kinds="iu", ndim=1)
        self.train_id = self._whole(stored, "INDEX/trainId")
        self._real = self.train_id > 0  # trains of number 0 fill up the last chunk of the file
        ids = self.train_id[self._real]
        back = np.flatnonzero(np.diff(ids) <= 0)
        if len(back):
            raise InputFileError(
                f"train {ids[back[0] + 1]} follows train {ids[back[0]]} in INDEX/trainId",
                where=path,
                do="The file is damaged; ask for the run to be written again.",
            )

    @property
    def trains(self) -> IntArray:
        """Numbers of the trains, fillers left out."""
        return self.train_id[self._real]

    def sources(self) -> list[str]:
        """Names of the sources with fast data, such as `SQS_REMI_DLD6/DET/TOP:output`."""
        with reading_hdf5(self.path):
            root = self.handle.get("INSTRUMENT")
            if not isinstance(root, h5py.Group):
                return []
            found: list[str] = []
            _collect(root, "", found, depth=3)
            return found

    def detectors(self) -> list[str]:
        """Sources that are delay-line detectors."""
        return [
            name
            for name in self.sources()
            if (DETECTOR.fullmatch(name) and _DEVICE.match(name))
            or self.holds(f"INSTRUMENT/{name}/rec/hits")
        ]

    def holds(self, name: str) -> bool:
        """Whether there is such a group or dataset."""
        with reading_hdf5(self.path):
            return name in self.handle

    def index(self, source: str, group: str | None) -> TrainIndex:
        """The index of the trains of a source.

        Args:
            source: name of the source.
            group: `raw`, `rec`, `data`; None for slow data.

        Raises:
            InputFileError: it is missing or does not fit the trains.
        """
        base = f"INDEX/{source}" if group is None else f"INDEX/{source}/{group}"
        columns = []
        for name in ("first", "count"):
            with reading_hdf5(self.path):
                stored = read_array(self.handle, f"{base}/{name}", kinds="iu", ndim=1)
            if len(stored) != len(self.train_id):
                raise InputFileError(
                    f"{base}/{name} has {len(stored)} entries for {len(self.train_id)} trains",
                    where=self.path,
                    do="The file is damaged; ask for the run to be written again.",
                )
            columns.append(self._whole(stored, f"{base}/{name}")[self._real])
        return TrainIndex(self.trains, columns[0], columns[1])

    def dataset(self, name: str, *, ndim: int, fields: tuple[str, ...] = ()) -> h5py.Dataset:
        """A dataset, checked for shape, fields and a size that the file can hold.

        Raises:
            InputFileError: it is missing or another one than expected.
        """
        with reading_hdf5(self.path):
            item = self.handle.get(name)
            if not isinstance(item, h5py.Dataset):
                raise InputFileError(
                    f"{name} is missing", where=self.path, do="Give the CORR files of the run."
                )
            missing = [field for field in fields if field not in (item.dtype.names or ())]
            if item.ndim != ndim or missing:
                raise InputFileError(
                    f"{name} has shape {item.shape} and fields {item.dtype.names}, expected "
                    f"{ndim} axes" + (f" and the fields {', '.join(fields)}" if fields else ""),
                    where=self.path,
                    do="The layout is not the documented one.",
                )
            require_readable(item, str(self.path))
            return item

    def check_index(self, index: TrainIndex, rows: int, source: str) -> None:
        """Refuse an index that points behind the data.

        Raises:
            InputFileError: names the first train concerned.
        """
        bad = (index.count > 0) & ((index.first + index.count > rows) | (index.count > MOST_PULSES))
        if bad.any():
            at = int(np.argmax(bad))
            raise InputFileError(
                f"train {index.train_id[at]}: the index of {source} names rows {index.first[at]} "
                f"to {index.first[at] + index.count[at]}, but there are {rows}",
                where=self.path,
                do="The file is damaged or not closed; ask for the run to be written again.",
            )

    def text(self, name: str) -> str | None:
        """A short text or number of `METADATA`, None where it has none."""
        with reading_hdf5(self.path):
            item = self.handle.get(f"METADATA/{name}")
            if not isinstance(item, h5py.Dataset) or item.size != 1:
                return None
            value = np.ravel(item[()])[0]
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)

    def parameters(self, device: str, limit: int = 500) -> dict[str, Any]:
        """Short parameters of a device in `RUN`, by name."""
        found: dict[str, Any] = {}
        with reading_hdf5(self.path):
            group = self.handle.get(f"RUN/{device}")
            if not isinstance(group, h5py.Group):
                return {}

            def add(name: str, item: Any) -> bool | None:
                if name.endswith("/value") and isinstance(item, h5py.Dataset) and item.size <= 64:
                    found[name.removesuffix("/value")] = _plain(item[()])
                return True if len(found) >= limit else None

            group.visititems(add)
        return found

    def _whole(self, stored: NDArray[Any], name: str) -> IntArray:
        if len(stored) > MOST_TRAINS or (len(stored) and stored.max() >= 2**62):
            raise InputFileError(
                f"{name} holds numbers that cannot be", where=self.path, do="The file is damaged."
            )
        return stored.astype(np.int64)


def _collect(group: h5py.Group, prefix: str, found: list[str], depth: int) -> None:
    for name, item in group.items():
        if not isinstance(item, h5py.Group):
            continue
        path = f"{prefix}{name}"
        if ":" in name or depth == 1:
            found.append(path)
        else:
            _collect(item, f"{path}/", found, depth - 1)


def _plain(value: Any) -> Any:
    values = np.ravel(value)
    plain = [v.decode("latin-1") if isinstance(v, bytes) else v for v in values.tolist()]
    return plain[0] if len(plain) == 1 else plain
