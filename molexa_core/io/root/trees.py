"""Trees of ROOT files as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from uproot.interpretation.jagged import AsJagged
from uproot.interpretation.numerical import AsDtype

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.root.baskets import CheckedUnpacking
from molexa_core.io.root.file import reading
from molexa_core.io.root.flat_numbers import is_plain, plain_numbers
from molexa_core.io.root.layouts import METADATA_KEY
from molexa_core.io.tables.column_units import unit_in_title
from molexa_core.io.tables.interface import (
    CHUNK_BYTES,
    MOST_ROWS,
    Kind,
    View,
    even_ranges,
    numbers_of,
)

_METADATA_LIMIT: Final = 64 * 2**20
_UNPACKING: Final = CheckedUnpacking()


class RootTable:
    """A tree; see `table.Table`.

    Args:
        file: the open file.
        name: name of the tree.
        path: for messages.
    """

    def __init__(self, file: Any, name: str, path: Path) -> None:
        self.path, self.name = path, name
        self.label = f"tree {name!r}"
        self.tree = file[name]
        self._file = file
        self.n_rows: int | None = int(self.tree.num_entries)
        self._leaves: dict[str, _Leaf] = {}
        for key, branch in self.tree.items(recursive=True):
            found = _leaves(key, branch)
            unit = unit_in_title(str(getattr(branch, "title", "")))
            if len(found) == 1 and unit is not None:
                found = {
                    of: replace(leaf, kind=replace(leaf.kind, unit=unit))
                    for of, leaf in found.items()
                }
            self._leaves |= found
        self.kinds: Mapping[str, Kind] = {key: leaf.kind for key, leaf in self._leaves.items()}
        self._limits = 0, self.n_rows or 0

    def limited(self, first: int, last: int) -> RootTable:
        """See `table.LimitedTable`."""
        part = copy(self)
        part._limits = first, last  # noqa: SLF001  (its own class)
        return part

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """By default views end where baskets end, so that none is unpacked twice."""
        start, n_rows = self._limits
        if rows is not None:
            for low, high in even_ranges(n_rows - start, 1, rows):
                yield _RootView(self._leaves, start + low, start + high)
            return
        stored = sum(8 if columns.layout == "flat" else self._row_bytes(name) for name in names)
        goal = int(min(MOST_ROWS, max(1, CHUNK_BYTES // max(8, stored))))
        branches = [self._leaves[name].branch for name in names]
        baskets = [np.asarray(branch.entry_offsets, np.int64) for branch in branches]
        ends = baskets[0] if baskets else np.empty(0, np.int64)
        for others in baskets[1:]:
            ends = np.intersect1d(ends, others)
        while start < n_rows:
            stop = min(start + goal, n_rows)
            whole = ends[(ends > start) & (ends <= stop)]
            stop = int(whole[-1]) if len(whole) else stop
            yield _RootView(self._leaves, start, stop)
            start = stop

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the file."""
        return root_metadata(self._file, self.path)

    def _row_bytes(self, name: str) -> int:
        return int(self._leaves[name].branch.uncompressed_bytes) // max(1, self.n_rows or 0)


@dataclass(frozen=True)
class _Leaf:
    """A column: a branch, or one of the values that stand together in it."""

    branch: Any
    kind: Kind
    field: str | None = None

    @cached_property
    def plain(self) -> bool:
        """Whether it has one number per row, stored as it is."""
        return self.field is None and is_plain(self.branch.interpretation)

    def array(self, start: int, stop: int, library: str) -> Any:
        if self.plain and (found := plain_numbers(self.branch, start, stop)) is not None:
            return found
        values = self.branch.array(
            entry_start=start,
            entry_stop=stop,
            library=library,
            array_cache=None,
            decompression_executor=_UNPACKING,
        )
        return values if self.field is None else values[self.field]


@dataclass(frozen=True)
class _RootView:
    leaves: Mapping[str, _Leaf]
    start: int
    stop: int

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        return {name: self._array(name, "np") for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        found = {}
        for name in dict.fromkeys(names):
            if self.leaves[name].kind.filled:
                rows = self._array(name, "np")
                found[name] = np.full(len(rows), rows.shape[1], np.int64), numbers_of(rows).ravel()
                continue
            values = self._array(name, "ak")
            counts = np.asarray(ak.to_numpy(ak.num(values)), np.int64)
            found[name] = counts, numbers_of(ak.to_numpy(ak.flatten(values)))
        return found

    def _array(self, name: str, library: str) -> Any:
        return self.leaves[name].array(self.start, self.stop, library)


def _leaves(key: str, branch: Any) -> dict[str, _Leaf]:
    """The columns of a branch: itself, or `BRANCH.LEAF` where it holds several values."""
    typename = str(branch.typename)
    held = branch.interpretation
    inner = held.content if isinstance(held, AsJagged) else held
    if not isinstance(inner, AsDtype):
        return {key: _Leaf(branch, Kind("other", typename))}
    dtype = inner.to_dtype
    if dtype.names is None or isinstance(held, AsJagged):
        return {key: _Leaf(branch, _kind(dtype, typename, in_list=isinstance(held, AsJagged)))}
    return {
        f"{key}.{name}": _Leaf(branch, _kind(dtype[name], str(dtype[name])), name)
        for name in dtype.names
    }


def _kind(dtype: np.dtype[Any], typename: str, *, in_list: bool = False) -> Kind:
    """Numbers, lists of numbers, or C arrays padded to one length."""
    base, shape = dtype.subdtype or (dtype, ())
    if base.kind not in "iufb" or len(shape) > 1 or (shape and in_list):
        return Kind("other", typename)
    if shape:
        return Kind("list", typename, filled=True)
    return Kind("list" if in_list else "number", typename)


def root_metadata(file: Any, path: Path) -> dict[str, Any]:
    """The plain values that molexa stored in a ROOT file.

    Raises:
        InputFileError: they are damaged.
    """
    with reading(path):
        if METADATA_KEY not in file.keys(cycle=False, recursive=False):
            return {}
        key = file.key(METADATA_KEY)
        if key.fClassName != "TObjString" or key.data_uncompressed_bytes > _METADATA_LIMIT:
            return {}
        stored = str(file[METADATA_KEY])
    try:
        values = json.loads(stored)
    except ValueError as error:
        raise InputFileError(
            f"the string {METADATA_KEY!r} is not readable as JSON",
            where=path,
            do="The file is damaged; make the run again.",
        ) from error
    return values if isinstance(values, dict) else {}
