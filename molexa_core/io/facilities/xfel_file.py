"""One file of European XFEL: its trains, its sources, and the location of their data.

Layout as the facility documents it: `INDEX/trainId`, `INDEX/SOURCE/GROUP/{first,count}` with one
entry per train, data below `INSTRUMENT/SOURCE/GROUP/...` and `CONTROL/SOURCE/...`, parameters of
the run below `RUN/SOURCE/...`. Read with h5py alone: `extra-data` would add nothing here but a
dependency, since several files and missing trains have to be dealt with per pulse anyway.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError
from molexa_core.base.tables import BoolArray, IntArray
from molexa_core.io.hdf5.file import (
    dataset_at,
    open_handle,
    read_array,
    reading_hdf5,
    require_readable,
)

DETECTOR: Final = re.compile(r"\w+/DET/\w+:output")
"""Sources with hits: `SQS_REMI_DLD6/DET/TOP:output`; their device ends in `_DLD` and a number."""
_DEVICE: Final = re.compile(r"\w{3}_\w+_DLD\d+/")
MONITOR: Final = re.compile(r".+/XGM/.+:output")
MOST_TRAINS: Final = 50_000_000
_LONGEST: Final = 65_536
"""A longer parameter or text, in bytes, is not shown."""
MOST_PULSES: Final = 100_000
"""Pulses in a train; the machine makes 2700."""


@dataclass(frozen=True)
class TrainIndex:
    """The rows of each train in the data of a source.

    Attributes:
        train_id: (trains) numbers of the trains.
        first, count: (trains) first row and number of rows.
    """

    train_id: IntArray
    first: IntArray
    count: IntArray


class XfelFile:
    """An open file.

    Args:
        path: the file.
        handle: the open file, where it is open already.
        suspect: whether to keep trains of which `INDEX/flag` says that their number did not come
            from the time server.

    Attributes:
        left_out: trains that the flag leaves out.

    Raises:
        InputFileError: missing, not HDF5, damaged, or without an index of trains.
    """

    def __init__(
        self, path: Path, handle: h5py.File | None = None, *, suspect: bool = False
    ) -> None:
        self.path = path
        self.handle = open_handle(path) if handle is None else handle
        with reading_hdf5(path):
            stored = read_array(self.handle, "INDEX/trainId", kinds="iu", ndim=1)
        self.train_id = self._whole(stored, "INDEX/trainId")
        self._real = self.train_id > 0  # trains of number 0 fill up the last chunk of the file
        doubtful = self._real & self._flagged()
        self.left_out = 0 if suspect else int(doubtful.sum())
        if not suspect:
            self._real &= ~doubtful
        ids = self.train_id[self._real]
        back = np.flatnonzero(np.diff(ids) <= 0)
        if len(back):
            raise InputFileError(
                f"train {ids[back[0] + 1]} follows train {ids[back[0]]} in INDEX/trainId",
                where=path,
                do="The file is damaged; ask for the run to be written again.",
            )

    @classmethod
    def each(
        cls,
        paths: Sequence[Path | str],
        handles: Sequence[h5py.File] | None,
        *,
        suspect: bool,
    ) -> list[XfelFile]:
        """Several files; `handles` where they are open already.

        Raises:
            UsageError: there is none.
            InputFileError: see the class.
        """
        if not paths:
            raise UsageError("no run given", do="Name at least one file.")
        opened = [None] * len(paths) if handles is None else handles
        pairs = zip(paths, opened, strict=True)
        return [cls(Path(path), handle, suspect=suspect) for path, handle in pairs]

    @property
    def trains(self) -> IntArray:
        """Numbers of the trains; fillers, and those that the flag leaves out, are not here."""
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
        first = self._per_train(f"{base}/first")
        if self.holds(f"{base}/count") or not self.holds(f"{base}/last"):
            count = self._per_train(f"{base}/count")
        else:  # files from before 2018
            last, status = (self._per_train(f"{base}/{name}") for name in ("last", "status"))
            count = np.where(status > 0, np.maximum(last - first + 1, 0), 0)
        return TrainIndex(self.trains, first[self._real], count[self._real])

    def _per_train(self, name: str) -> IntArray:
        """A column of an index, as long as `INDEX/trainId`; only fillers may lack an entry."""
        with reading_hdf5(self.path):
            stored = self._whole(read_array(self.handle, name, kinds="iu", ndim=1), name)
        n_trains, filled = len(self.train_id), int(np.count_nonzero(self.train_id))
        lacking = self.train_id[len(stored) :].any()
        if lacking or (stored[n_trains:].any() and name.endswith("/count")):
            raise InputFileError(
                f"{name} has {len(stored)} entries for {filled} trains",
                where=self.path,
                do="The file is damaged; ask for the run to be written again.",
            )
        column = np.zeros(n_trains, np.int64)
        column[: len(stored)] = stored[:n_trains]
        return column

    def _flagged(self) -> BoolArray:
        """Trains whose number may be wrong, by `INDEX/flag`; in format 1.1 it counts from 0."""
        doubtful = np.zeros(len(self.train_id), np.bool_)
        version = self.text("dataFormatVersion")
        if version == "0.5" or not self.holds("INDEX/flag"):
            return doubtful
        with reading_hdf5(self.path):
            stored = read_array(self.handle, "INDEX/flag", kinds="iub", ndim=1)
        n = min(len(stored), len(doubtful))
        set_ = stored[:n].astype(np.bool_)
        doubtful[:n] = set_ if version == "1.1" else ~set_
        return doubtful

    def dataset(self, name: str, *, ndim: int, fields: tuple[str, ...] = ()) -> h5py.Dataset:
        """A dataset, checked for shape, fields and a size that the file can hold.

        Raises:
            InputFileError: it is missing or another one than expected.
        """
        with reading_hdf5(self.path):
            item = dataset_at(self.handle, name)
            if item is None:
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
            item = dataset_at(self.handle, f"METADATA/{name}")
            if item is None or item.size != 1 or item.dtype.itemsize > _LONGEST:
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
                if name.endswith("/value") and isinstance(item, h5py.Dataset) and _short(item):
                    require_readable(item, str(self.path))
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


def _short(dataset: h5py.Dataset) -> bool:
    """Whether a parameter is a number, a text or a few of them."""
    size = dataset.size
    return size is not None and size <= 64 and size * dataset.dtype.itemsize <= _LONGEST


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
