"""`events.h5` and `aligned.h5`: ion momenta of coincidences, one row each.

Layout (docs/files.md), readable with plain h5py:

    events/event_id (n) int64          events/momentum (n, ions, 3) float64, a.u.
    events/ion (ions) strings          events/weight (n) float64
    events/tof_ns (n, ions) float64    events/x_mm, events/y_mm (n, ions) float64
    events/tag/NAME (n)                spectra/NAME/{counts, edges0[, edges1]}
    shots/NAME (shots)                 the tags of all shots, where the run has tags
    meta/NAME  JSON strings            meta: attributes `format`, `provenance` (JSON)
    false/...                          false coincidences, with the columns of events/, and
    false/source (n, ions) int64       the shot from which the hit of each ion was taken

The detector values `tof_ns`, `x_mm`, `y_mm` (calibrated hits) are missing in files of earlier
versions and in tables from elsewhere. Every dataset has a `units` attribute. The columns are
chunked, compressed and extendable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, UnknownIonError, UsageError, listing
from molexa_core.base.fields import (
    EVENT_DETECTOR,
    EVENT_GROUP,
    EVENT_ID,
    EVENT_ION,
    EVENT_MOMENTUM,
    EVENT_SOURCE,
    EVENT_TAG,
    EVENT_WEIGHT,
    FALSE_GROUP,
    META,
    SHOTS,
    SPECTRA,
    TAG_UNITS,
    UNITS,
)
from molexa_core.base.matter.ions import Ion, parse_ion
from molexa_core.base.spectrum import Spectrum
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences, DetectorValues, IntArray
from molexa_core.io.hdf5.file import (
    member,
    new_column,
    new_hdf5,
    open_hdf5,
    read_array,
    read_json,
    read_provenance,
    read_strings,
    read_text,
    write_provenance,
    write_strings,
)
from molexa_core.io.hdf5.packed_column import PackedColumn, Packers
from molexa_core.io.results.spectrum_groups import read_spectrum, write_spectrum

__all__ = [
    "EventsFile",
    "EventsWriter",
    "read_events",
    "read_shots",
    "read_spectra",
    "read_spectrum",
    "write_events",
    "write_spectrum",
]

MOMENTUM_UNIT: Final = "a.u."
MAX_IONS: Final = 512
_CHUNK_BYTES: Final = 2**18
_LARGE_CHUNK_BYTES: Final = 2**19
"""Of a large file, which several threads or processes pack."""


class EventsWriter:
    """Writer of an events file, block by block; the file gets its name at the end.

    A context manager: the file is renamed into place when the block ends without an error, and
    removed otherwise.

    Args:
        path: the file to write.
        ions: the ion of each column.
        threads: that pack; 0 if the thread that appends does.
        processes: that pack what is appended, besides.

    Raises:
        OutputError: the folder does not exist or cannot be written.

    Example:
        >>> with EventsWriter("run.events.h5", table.ions) as writer:  # doctest: +SKIP
        ...     writer.append(table)
        ...     writer.finish(Provenance.of("notebook"))
    """

    def __init__(
        self, path: Path | str, ions: Sequence[Ion], *, threads: int = 0, processes: int = 0
    ) -> None:
        self._ions = tuple(ions)
        self._chunk_bytes = _LARGE_CHUNK_BYTES if threads else _CHUNK_BYTES
        self._packers = Packers(threads, processes=processes, chunk_bytes=self._chunk_bytes)
        self._new = new_hdf5(path)
        self._file: h5py.File | None = None
        self._columns: dict[str, PackedColumn] = {}
        self._finished = False
        self._rows = 0

    @property
    def rows(self) -> int:
        """Number of rows written so far."""
        return self._rows

    def __enter__(self) -> Self:
        self._file = self._new.__enter__()
        self._new_group(self._file, EVENT_GROUP)
        return self

    def _new_group(self, file: h5py.File, name: str) -> h5py.Group:
        group = file.create_group(name)
        write_strings(group, EVENT_ION, self._ions, unit="")
        group.create_group(EVENT_TAG)
        self._column(f"{name}/{EVENT_ID}", np.empty(0, np.int64), "")
        self._column(f"{name}/{EVENT_MOMENTUM}", np.empty((0, len(self._ions), 3)), MOMENTUM_UNIT)
        self._column(f"{name}/{EVENT_WEIGHT}", np.empty(0), "")
        return group

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._packers.__exit__(kind, error, trace)
        if kind is None and not self._finished:
            forgotten = UsageError("the events file was not finished", do="Call finish() last.")
            if not self._new.__exit__(UsageError, forgotten, None):
                raise forgotten
        self._new.__exit__(kind, error, trace)

    def append(self, table: Coincidences) -> None:
        """Add the rows of a table; its ions and tags must be those of the rows before.

        Raises:
            UsageError: other ions or other tags, or detector values for some rows only.
        """
        self._append(EVENT_GROUP, table, first=self._rows == 0)
        self._rows += len(table)
        if table.false is not None:
            self.append_false(table.false)

    def append_false(self, table: Coincidences) -> None:
        """Add false coincidences, as `append` adds rows.

        Raises:
            UsageError: as `append`.
        """
        file = self._open()
        first = FALSE_GROUP not in file
        if first:
            self._new_group(file, FALSE_GROUP)
            self._column(
                f"{FALSE_GROUP}/{EVENT_SOURCE}", np.empty((0, len(self._ions)), np.int64), ""
            )
        if table.source is None:
            raise UsageError("false coincidences need the shots of their hits (`source`)")
        self._append(FALSE_GROUP, table, first=first)
        self._columns[f"{FALSE_GROUP}/{EVENT_SOURCE}"].append(table.source)

    def scale_false(self, factor: float) -> None:
        """Multiply the weights of all false coincidences written so far."""
        self._open()
        weight = self._columns.get(f"{FALSE_GROUP}/{EVENT_WEIGHT}")
        if weight is not None and factor != 1.0:
            weight.scale(factor)

    def _append(self, name: str, table: Coincidences, *, first: bool) -> None:
        self._open()
        if table.ions != self._ions:
            raise UsageError(
                f"cannot append ions {listing(table.ions)} to a file of {listing(self._ions)}"
            )
        of_tags, known = f"{name}/{EVENT_TAG}/", self._columns
        if first:
            for tag, column in table.tags.items():
                if of_tags + tag not in known:
                    self._column(of_tags + tag, column[:0], TAG_UNITS.get(tag, ""))
            if table.detector is not None and f"{name}/tof_ns" not in known:
                for value, unit in EVENT_DETECTOR.items():
                    self._column(f"{name}/{value}", np.empty((0, len(self._ions))), unit)
        there = {path.removeprefix(of_tags) for path in known if path.startswith(of_tags)}
        if set(table.tags) != there:
            raise UsageError(
                f"cannot append tags {listing(sorted(table.tags))} to a file of "
                f"{listing(sorted(there))}"
            )
        detector = {} if table.detector is None else table.detector.columns
        if set(detector) != {value for value in EVENT_DETECTOR if f"{name}/{value}" in known}:
            raise UsageError("some rows have detector values and others have none")
        columns = {EVENT_ID: table.event_id, EVENT_MOMENTUM: table.momentum}
        columns |= {EVENT_WEIGHT: table.weight, **detector}
        columns |= {f"{EVENT_TAG}/{tag}": column for tag, column in table.tags.items()}
        for path, values in columns.items():
            known[f"{name}/{path}"].append(values)

    def append_shots(self, tags: Mapping[str, NDArray[Any]]) -> None:
        """Add the tags of consecutive shots; their names must be those of the shots before."""
        self._open()
        for name, column in tags.items():
            path = f"{SHOTS}/{name}"
            if path not in self._columns:
                self._column(path, column[:0], TAG_UNITS.get(name, ""))
            self._columns[path].append(column)

    def finish(
        self,
        provenance: Provenance,
        *,
        meta: Mapping[str, Any] | None = None,
        spectra: Mapping[str, Spectrum] | None = None,
    ) -> None:
        """Write provenance, meta data and histograms; the last call in the block.

        Args:
            provenance: provenance of the rows.
            meta: plain values that JSON can hold, by name.
            spectra: histograms by name.
        """
        file = self._open()
        for column in self._columns.values():
            column.finish()
        group = write_provenance(file, provenance)
        for name, value in (meta or {}).items():
            group.create_dataset(name, data=json.dumps(value), dtype=h5py.string_dtype())
            group[name].attrs[UNITS] = ""
        for name, spectrum in (spectra or {}).items():
            write_spectrum(file.create_group(f"{SPECTRA}/{name}"), spectrum)
        self._finished = True

    def _open(self) -> h5py.File:
        if self._file is None or self._finished:
            raise UsageError("the events file is not open for writing")
        return self._file

    def _column(self, path: str, empty: NDArray[Any], unit: str) -> None:
        row = max(1, int(np.prod(empty.shape[1:]))) * empty.dtype.itemsize
        dataset = new_column(self._open(), path, empty, unit, chunk_rows=self._chunk_bytes // row)
        self._columns[path] = PackedColumn(dataset, self._packers)


def write_events(
    path: Path | str,
    table: Coincidences,
    provenance: Provenance,
    *,
    spectra: Mapping[str, Spectrum] | None = None,
) -> None:
    """Write a whole table at once, with its `meta`.

    Raises:
        OutputError: the file cannot be written there.
    """
    with EventsWriter(path, table.ions) as writer:
        writer.append(table)
        writer.finish(provenance, meta=table.meta, spectra=spectra)


def read_events(path: Path | str) -> tuple[Coincidences, Provenance]:
    """The table in an `events.h5` or `aligned.h5` file, and its provenance.

    Raises:
        InputFileError: the file is missing, not HDF5, damaged, of a newer format, or lacks a part.
    """
    with _opened(path) as file:
        provenance = read_provenance(file)
        ions = _read_ions(file)
        meta = _read_meta(file)
        table = _table(file, ions, meta)
        if FALSE_GROUP in file:
            table = replace(table, false=_table(file, ions, {}, group=FALSE_GROUP))
        return table, provenance


class EventsFile:
    """An `events.h5` or `aligned.h5` file, which can be read repeatedly in chunks.

    Attributes:
        path: the file.
        ions: the ion of each column.
        provenance: provenance of the rows.
        meta: description of the table, plain values.
        n_rows: number of rows.
        n_shots: number of shots whose tags the file holds.
        none: the table without a row, which has all columns.
        n_false: number of rows of false coincidences; None where the file has none.

    Raises:
        InputFileError: as `read_events`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with _opened(path) as file:
            self.provenance = read_provenance(file)
            self.ions = _read_ions(file)
            self.meta = _read_meta(file)
            self.none = _table(file, self.ions, self.meta, slice(0, 0))
            self.n_rows = self._length(file, EVENT_GROUP)
            self.n_false = self._length(file, FALSE_GROUP) if FALSE_GROUP in file else None
            shots = list(file[SHOTS].values()) if SHOTS in file else []
            self.n_shots = len(shots[0]) if shots else 0

    def _length(self, file: h5py.File, group: str) -> int:
        """Number of rows of a group, after a check that all its columns have as many."""
        table = _table(file, self.ions, self.meta, slice(0, 0), group=group)
        n_rows = len(member(file, f"{group}/{EVENT_ID}"))
        known = () if table.detector is None else tuple(EVENT_DETECTOR)
        known += () if table.source is None else (EVENT_SOURCE,)
        tags = (f"{EVENT_TAG}/{name}" for name in table.tags)
        for name in (EVENT_MOMENTUM, EVENT_WEIGHT, *tags, *known):
            rows = len(member(file, f"{group}/{name}"))
            if rows != n_rows:
                raise InputFileError(
                    f"{name} has {rows} rows, but {EVENT_ID} has {n_rows}", where=self.path
                )
        return n_rows

    def chunks(self, rows: int, *, false: bool = False) -> Iterator[Coincidences]:
        """All rows in order, or all rows of the false coincidences.

        Where false coincidences were looked for and none was drawn, one chunk without rows says so.

        Args:
            false: those of the false coincidences.
            rows: most rows of a chunk.

        Raises:
            InputFileError: the file is damaged, or holds values that are not numbers.
        """
        group, number = (FALSE_GROUP, self.n_false or 0) if false else (EVENT_GROUP, self.n_rows)
        with _opened(self.path) as file:
            none_drawn = (0,) if false and self.n_false == 0 else ()
            for start in range(0, number, rows) or none_drawn:
                interruption.check()
                part = slice(start, min(start + rows, number))
                yield _table(file, self.ions, self.meta, part, group=group)


def read_spectra(path: Path | str) -> dict[str, Spectrum]:
    """The histograms in an events file by name; empty where it has none.

    Raises:
        InputFileError: the file is missing, not HDF5 or damaged.
    """
    with _opened(path) as file:
        read_provenance(file)
        if SPECTRA not in file:
            return {}
        return {name: read_spectrum(file, f"{SPECTRA}/{name}") for name in file[SPECTRA]}


def read_shots(path: Path | str, rows: slice | None = None) -> dict[str, NDArray[Any]]:
    """The tags of all shots by name; empty where the file does not hold them.

    Args:
        path: an events file.
        rows: the shots to read; all if not given.

    Raises:
        InputFileError: the file is missing, not HDF5 or damaged.
    """
    with _opened(path) as file:
        read_provenance(file)
        if SHOTS not in file:
            return {}
        tags = {
            name: read_array(file, f"{SHOTS}/{name}", kinds="iufb", ndim=1, rows=rows)
            for name in file[SHOTS]
        }
        if len({len(column) for column in tags.values()}) > 1:
            raise InputFileError(f"the columns of {SHOTS} differ in length", where=path)
        return tags


def _table(
    file: h5py.File,
    ions: tuple[Ion, ...],
    meta: Mapping[str, Any],
    rows: slice | None = None,
    *,
    group: str = EVENT_GROUP,
) -> Coincidences:
    where, base = file.filename, f"{group}/"
    event_id = read_array(file, base + EVENT_ID, kinds="iu", ndim=1, rows=rows)
    momentum = read_array(
        file, base + EVENT_MOMENTUM, kinds="f", ndim=3, unit=MOMENTUM_UNIT, rows=rows
    )
    weight = read_array(file, base + EVENT_WEIGHT, kinds="f", ndim=1, rows=rows)
    tags = {}
    for name in file[group].get(EVENT_TAG, ()):
        tags[name] = read_array(file, f"{base}{EVENT_TAG}/{name}", kinds="iufb", ndim=1, rows=rows)
    expected = (len(event_id), len(ions), 3)
    if momentum.shape != expected:
        raise InputFileError(
            f"{base}{EVENT_MOMENTUM} has shape {momentum.shape}, expected {expected} for "
            f"{len(event_id)} events of {listing(ions)}",
            where=where,
        )
    for name, column in ((EVENT_WEIGHT, weight), *tags.items()):
        if len(column) != len(event_id):
            raise InputFileError(
                f"{name} has {len(column)} rows, but {EVENT_ID} has {len(event_id)}", where=where
            )
    if not np.isfinite(momentum).all():
        bad = int((~np.isfinite(momentum)).any(axis=(1, 2)).sum())
        raise InputFileError(f"{bad} events have momenta that are not numbers", where=where)
    false = group == FALSE_GROUP
    if not (np.isfinite(weight).all() and (false or (weight >= 0).all())):
        raise InputFileError("some weights are negative or not numbers", where=where)
    return Coincidences(
        ions=ions,
        event_id=event_id.astype(np.int64, copy=False),
        momentum=momentum.astype(np.float64, copy=False),
        weight=weight.astype(np.float64, copy=False),
        tags=tags,
        meta=meta,
        detector=_detector(file, group, expected[:2], rows),
        source=_source(file, expected[:2], rows) if false else None,
    )


def _source(file: h5py.File, expected: tuple[int, int], rows: slice | None) -> IntArray:
    """The shots of the hits of false coincidences."""
    path = f"{FALSE_GROUP}/{EVENT_SOURCE}"
    values = read_array(file, path, kinds="iu", ndim=2, rows=rows)
    if values.shape != expected:
        raise InputFileError(
            f"{path} has shape {values.shape}, expected {expected}", where=file.filename
        )
    return values.astype(np.int64, copy=False)


def _detector(
    file: h5py.File, group: str, expected: tuple[int, int], rows: slice | None
) -> DetectorValues | None:
    """The detector values of the rows; None in files without them.

    Raises:
        InputFileError: some of the columns are missing, of another shape, or not numbers.
    """
    if not any(name in file[group] for name in EVENT_DETECTOR):
        return None
    columns = {}
    for name, unit in EVENT_DETECTOR.items():
        path = f"{group}/{name}"
        values = read_array(file, path, kinds="f", ndim=2, unit=unit, rows=rows, finite=True)
        if values.shape != expected:
            raise InputFileError(
                f"{path} has shape {values.shape}, expected {expected}", where=file.filename
            )
        columns[name] = values.astype(np.float64, copy=False)
    return DetectorValues(**columns)


@contextmanager
def _opened(path: Path | str) -> Iterator[h5py.File]:
    """A file of coincidences for reading; another kind of HDF5 file is named as what it is not."""
    with open_hdf5(path) as file:
        if EVENT_GROUP not in file:
            held = f", but {listing(file)}" if len(file) else ""
            raise InputFileError(
                f"the file holds no coincidences{held}",
                where=path,
                do="Give the events file that molexa reduce writes; a raw run is reduced first.",
            )
        yield file


def _read_ions(file: h5py.File) -> tuple[Ion, ...]:
    name = f"{EVENT_GROUP}/{EVENT_ION}"
    try:
        return tuple(parse_ion(text) for text in read_strings(file, name, limit=MAX_IONS))
    except UnknownIonError as error:
        raise InputFileError(f"{name}: {error}", where=file.filename) from error


def _read_meta(file: h5py.File) -> dict[str, Any]:
    values = {}
    for name, dataset in file[META].items():
        if isinstance(dataset, h5py.Dataset) and dataset.shape == ():
            text = read_text(file, f"{META}/{name}")
            values[name] = read_json(file, text, f"{META}/{name}")
    return values
