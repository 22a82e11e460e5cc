"""HDF5 files of other programs as tables: datasets of equal length, compounds, hits end to end.

The columns are the datasets below the group that `columns.tree` names (the file without one), by
their path, and the fields of compound datasets as `DATASET/FIELD`. A dataset of two axes holds the
hits of each shot in a row padded with NaN. With `count` the hits of all shots are stored end to
end, and that dataset gives the number of hits of each shot.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import ColumnError, InputFileError, listing
from molexa_core.base.settings.columns import Columns, EdgeColumns
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.hdf5.file import (
    attribute,
    open_handle,
    read_json,
    reading_hdf5,
    require_readable,
)
from molexa_core.io.tables.column_names import also_called, shot_options
from molexa_core.io.tables.column_units import stated
from molexa_core.io.tables.edge_rows import layout_of
from molexa_core.io.tables.guess import Choice
from molexa_core.io.tables.interface import Held, Kind, View, even_ranges, numbers_of
from molexa_core.io.tables.packed_values import OFFSET, SCALE, Packing
from molexa_core.io.tables.units_of_columns import in_units

MOST_COLUMNS: Final = 4096
_FILLED: Final = 2
"""Axes of hits in rows that are filled up; with more, all but the last count shots."""
_MOST_ATTRIBUTES: Final = 256
_NO_VALUE: Final = ("_FillValue", "missing_value")
_OF_UNITS: Final = re.compile("unit|uom|einheit", re.IGNORECASE)
METADATA_KEY: Final = "molexa"
"""Attribute of the file that holds what molexa knows about the run, as JSON."""

RUN_COLUMNS: Final = Columns(
    layout="jagged",
    x="hits/x",
    y="hits/y",
    time="hits/t",
    method="hits/method",
    count="shots/n_hits",
)
"""Layout of the HDF5 runs that molexa writes; tags stand below `shots`."""


class Hdf5Table:
    """The datasets of a file or of a group in it; see `table.Table`.

    Args:
        path: the file.
        group: path of the group; the whole file where not given.
        file: the open file, where it is open already.
        shots: columns of the shot number that the setup names.

    Raises:
        InputFileError: the file or the group is missing or damaged.
    """

    def __init__(
        self,
        path: Path,
        group: str | None = None,
        file: h5py.File | None = None,
        shots: Sequence[str] = (),
    ) -> None:
        self.path = path
        self._file = open_handle(path) if file is None else file
        if group is not None and not isinstance(self._file.get(group), h5py.Group | h5py.Dataset):
            raise InputFileError(
                f"there is no group {group!r}; the file has: {listing(self._file)}",
                where=path,
                do="Correct `tree` in `columns` of the setup.",
            )
        self.label = f"group {group!r}" if group is not None else "the HDF5 file"
        self._limits: tuple[int, int] | None = None
        self._columns = _columns(self._file if group is None else self._file[group])
        self._grids = {
            dataset.shape[:-1] for dataset, _ in self._columns.values() if dataset.ndim > _FILLED
        } | _vectors(self._columns, shots)
        self._packings = {
            name: packing
            for name, (dataset, field) in self._columns.items()
            if field is None and (packing := _packing(name, dataset)) is not None
        }
        self.kinds: Mapping[str, Kind] = {
            name: _kind(name, dataset, field, self._grids, self._packings.get(name))
            for name, (dataset, field) in self._columns.items()
        }
        lengths = {self._length(dataset) for dataset, _ in self._columns.values()}
        self.n_rows: int | None = max(lengths) if lengths else 0

    def settle(self, columns: Columns) -> None:
        """Check that the columns of a layout have as many rows as each other.

        Raises:
            InputFileError: they do not, or they claim more than the file holds.
        """
        hits = (columns.x, columns.y, columns.time, *columns.shots)
        shots = [columns.count] if columns.count is not None else []
        for names in (hits, shots):
            for name in names:
                if name in self._columns:
                    require_readable(self._columns[name][0], str(self.path))
        lengths = {
            name: self._length(self._columns[name][0]) for name in hits if name in self._columns
        }
        if len(set(lengths.values())) > 1:
            told = listing(f"{name} {length}" for name, length in lengths.items())
            raise InputFileError(
                f"the columns have different numbers of rows: {told}",
                where=self.path,
                do="Name columns of one table in `columns` of the setup.",
            )
        if lengths:
            self.n_rows = next(iter(lengths.values()))
        if shots and shots[0] in self._columns:
            counted = self._length(self._columns[shots[0]][0])
            if self.n_rows != counted and columns.x in self.kinds and self.kinds[columns.x].filled:
                raise InputFileError(
                    f"{columns.x} has {self.n_rows} rows, but {shots[0]} has {counted}",
                    where=self.path,
                    do="Name columns of one table in `columns` of the setup.",
                )
            self.n_rows = counted

    def limited(self, first: int, last: int) -> Hdf5Table:
        """See `table.LimitedTable`."""
        part = copy(self)
        part._limits = first, last  # noqa: SLF001  (its own class)
        return part

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Ranges of equal length; where hits follow each other the place among them goes on."""
        n_rows = self.n_rows or 0
        total = sum(self._bytes(name) for name in names if name in self._columns)
        first, last = (0, n_rows) if self._limits is None else self._limits
        row_bytes, at = total // max(1, n_rows), 0
        for start, stop in even_ranges(first, row_bytes, None):
            at = _Hdf5View(self, columns, start, stop, at).end
        for start, stop in even_ranges(last - first, row_bytes, rows):
            view = _Hdf5View(self, columns, first + start, first + stop, at)
            yield view
            at = view.end
        if last < n_rows:
            return
        if columns.count is not None and at and at != (found := self._rows_of(columns.x)):
            raise InputFileError(
                f"{columns.count} adds up to {at} hits, but {columns.x} has {found}",
                where=self.path,
                do="The file is damaged, or `columns` of the setup names the wrong column.",
            )

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the file."""
        return stored_metadata(self._file)

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Rows of a column.

        Raises:
            InputFileError: they cannot be read.
        """
        dataset, field = self._columns[name]
        require_readable(dataset, str(self.path))
        if stop > self._length(dataset):
            raise InputFileError(
                f"{name} ends after {self._length(dataset)} rows, but {stop} are needed",
                where=self.path,
                do="The file is damaged, or `columns` of the setup names the wrong column.",
            )
        if field is not None:
            return np.asarray(dataset.fields(field)[start:stop])
        axes = self._shot_axes(dataset)
        inner = math.prod(dataset.shape[1:axes])
        first, last = start // inner, -(-stop // inner)
        if axes == dataset.ndim and dataset.shape[:-1] == (1,):
            rows = np.asarray(dataset[0, start:stop])
        else:
            rows = np.asarray(dataset[first:last])
            rows = rows.reshape(-1, *dataset.shape[axes:])
            rows = rows[start - first * inner : stop - first * inner]
        packing = self._packings.get(name)
        return rows if packing is None else packing.unpack(rows)

    @property
    def unpacked(self) -> tuple[str, ...]:
        """Columns whose values are stored with a scale or an offset."""
        return tuple(self._packings)

    def _shot_axes(self, dataset: h5py.Dataset) -> int:
        """How many axes count shots: all but the last of hits in three or more (train, pulse)."""
        return _shot_axes(dataset, self._grids)

    def _length(self, dataset: h5py.Dataset) -> int:
        return math.prod(dataset.shape[: self._shot_axes(dataset)])

    def _rows_of(self, name: str) -> int:
        return self._length(self._columns[name][0])

    def _bytes(self, name: str) -> int:
        dataset, field = self._columns[name]
        kind = dataset.dtype if field is None else dataset.dtype[field]
        return int(dataset.size * kind.itemsize)


class _Hdf5View:
    def __init__(self, table: Hdf5Table, columns: Columns, start: int, stop: int, at: int) -> None:
        self._table, self._count, self._at = table, columns.count, at
        kind = table.kinds.get(columns.x)
        self._filled = kind is not None and kind.filled
        self.start, self.stop = start, stop
        self._counts: IntArray | None = None

    @property
    def end(self) -> int:
        """The place behind the hits of these rows, where hits follow each other."""
        if self._count is None or self._filled:
            return self._at
        return self._at + int(self._number_of_hits().sum())

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        return {name: self._table.read(name, self.start, self.stop) for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        if self._count is not None and not self._filled:
            counts, end = self._number_of_hits(), self.end
            return {
                name: (counts, numbers_of(self._table.read(name, self._at, end))) for name in names
            }
        found = {}
        for name in names:
            rows = numbers_of(self._table.read(name, self.start, self.stop))
            found[name] = np.full(len(rows), rows.shape[1], np.int64), rows.ravel()
        return found

    def _number_of_hits(self) -> IntArray:
        if self._counts is None:
            stored = self._table.read(str(self._count), self.start, self.stop)
            good = (stored >= 0) & (stored < 2**31)
            counts = np.zeros(len(stored), np.int64)
            np.copyto(counts, stored, where=good, casting="unsafe")
            good &= counts == stored
            if not good.all():
                row = int(np.argmin(good))
                raise InputFileError(
                    f"{self._count} says {stored[row]!s} hits in shot {self.start + row}",
                    where=self._table.path,
                    do="The file is damaged, or `columns` of the setup names the wrong column.",
                )
            self._counts = counts
        return self._counts


def open_hdf5_table(
    path: Path | str,
    columns: Columns | None = None,
    edge_columns: EdgeColumns | None = None,
    file: h5py.File | None = None,
) -> tuple[Hdf5Table, Choice]:
    """The table with the hits or edges in an HDF5 file and its layout.

    Args:
        path: the file.
        columns: columns of the hits as the setup names them.
        edge_columns: likewise, of edges.
        file: the open file, where it is open already.

    Raises:
        InputFileError: the file is damaged, or no datasets have names of hits.
    """
    path = Path(path)
    with reading_hdf5(path):
        given = edge_columns if columns is None else columns
        shots = () if columns is None else columns.shots
        table = Hdf5Table(path, None if given is None else given.tree, file, shots)
        if columns is None and {
            RUN_COLUMNS.x,
            RUN_COLUMNS.y,
            RUN_COLUMNS.time,
            RUN_COLUMNS.count,
        } <= set(table.kinds):
            choice = Choice("hdf5", RUN_COLUMNS, "the HDF5 file is a run of molexa")
            choice = in_units(table, choice, fixed=True)
        else:
            choice = layout_of(table, columns, edge_columns)
        used = {choice.columns.x, choice.columns.y, choice.columns.time, *choice.columns.shots}
        packed = [name for name in table.unpacked if name in used]
        if packed:
            named = listing(map(repr, packed))
            choice = replace(choice, why=f"{choice.why}; {named} by {SCALE} and {OFFSET}")
        table.settle(choice.columns)
    return table, choice


def stored_metadata(file: h5py.File) -> dict[str, Any]:
    """Metadata stored by molexa in an HDF5 run; empty for files of other programs.

    Raises:
        InputFileError: it is damaged.
    """
    with reading_hdf5(file.filename):
        stored = attribute(file, METADATA_KEY)
        if stored is None:
            return {}
        values = read_json(file, stored, f"attribute {METADATA_KEY}")
    return values if isinstance(values, dict) else {}


def _columns(group: Any) -> dict[str, tuple[h5py.Dataset, str | None]]:
    """Datasets and fields of compounds by name.

    Raises:
        ColumnError: there are too many.
    """
    found: dict[str, tuple[h5py.Dataset, str | None]] = {}

    def add(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset) and item.ndim >= 1:
            if item.dtype.names:
                found.update(
                    (f"{name}/{field}" if name else field, (item, field))
                    for field in item.dtype.names
                )
            else:
                found[name] = item, None
        return True if len(found) > MOST_COLUMNS else None

    if isinstance(group, h5py.Dataset):
        add("", group)
    else:
        group.visititems(add)
    if len(found) > MOST_COLUMNS:
        raise ColumnError(
            f"more than {MOST_COLUMNS} datasets",
            where=group.file.filename,
            do="Name the group with the hits as `tree` in `columns` of the setup.",
        )
    return found


def _vectors(
    columns: Mapping[str, tuple[h5py.Dataset, str | None]], shots: Sequence[str]
) -> set[tuple[int, ...]]:
    """Shapes (1, n) and (n, 1) of tables of single numbers, as MATLAB stores vectors.

    A number of a shot, of which there is one in each row, tells them from lists of hits.
    """
    found = set()
    named = set(shots) & set(columns)
    for folder in {name.rpartition("/")[0] for name in columns}:
        inside = [name for name in columns if name.rpartition("/")[0] == folder]
        named |= {name for rank in shot_options(inside) for option in rank for name in option}
    for name in named:
        shape = columns[name][0].shape
        if len(shape) == _FILLED and 1 in shape and columns[name][1] is None:
            found.add(shape)
    return found


def _shot_axes(dataset: h5py.Dataset, grids: Collection[tuple[int, ...]]) -> int:
    if dataset.shape in grids:
        return int(dataset.ndim)
    return max(1, int(dataset.ndim) - 1)


def _kind(
    name: str,
    dataset: h5py.Dataset,
    field: str | None,
    grids: Collection[tuple[int, ...]],
    packing: Packing | None,
) -> Kind:
    dtype = dataset.dtype if field is None else dataset.dtype[field]
    shape = dataset.shape + (dtype.subdtype[1] if dtype.subdtype else ())
    base = dtype.subdtype[0] if dtype.subdtype else dtype
    type_ = f"{base} in {dataset.shape}"
    if base.kind not in "iufb":
        return Kind("other", type_)
    held: Held = "list" if len(shape) - _shot_axes(dataset, grids) else "number"
    if len(shape) - _shot_axes(dataset, grids) > 1 or (field is not None and dataset.ndim > 1):
        held = "other"
    unit, empty = _stated(name, dataset, field)
    if packing is not None and empty is not None:
        empty = float(packing.unpack(np.asarray(empty)))
    return Kind(held, type_, unit=unit, filled=held == "list", empty=empty)


def _packing(name: str, dataset: h5py.Dataset) -> Packing | None:
    if dataset.dtype.kind not in "iuf":
        return None
    own = {key: attribute(dataset, key) for key in (SCALE, OFFSET) if key in dataset.attrs}
    return Packing.of(own, name, dataset.file.filename)


def _stated(name: str, dataset: h5py.Dataset, field: str | None) -> tuple[str | None, float | None]:
    """The unit and the number for empty places that attributes state for a column."""
    leaf = name.rpartition("/")[2]
    own, around = _attributes(dataset), _attributes(dataset.parent)
    if field is None:
        return stated(leaf, own, around, also_called(leaf)), _number(own)
    names = list(dataset.dtype.names or ())
    place = names.index(field)
    mine: dict[str, Any] = {}
    for key, value in own.items():
        listed: list[Any] = np.ravel(value).tolist() if isinstance(value, list) else []
        if len(listed) == len(names) > 1:
            mine[key] = listed[place]
        if key.upper() in {f"FIELD_{place}_UNIT", f"FIELD_{place}_UNITS"}:
            mine["unit"] = value
    return stated(leaf, mine, {**around, **own}, also_called(leaf)), None


def _attributes(item: Any) -> dict[str, Any]:
    """The attributes of an object that can state a unit, or what stands for no value.

    Raises:
        InputFileError: one is too large or not text.
    """
    return {
        name: attribute(item, name)
        for name in list(item.attrs)[:_MOST_ATTRIBUTES]
        if name in _NO_VALUE or _OF_UNITS.search(name)
    }


def _number(own: Mapping[str, Any]) -> float | None:
    """The number that an attribute states for values that are missing."""
    for key in _NO_VALUE:
        value = np.asarray(own.get(key, np.nan)).ravel()
        if len(value) == 1 and value.dtype.kind in "iuf" and np.isfinite(value[0]):
            return float(value[0])
    return None
