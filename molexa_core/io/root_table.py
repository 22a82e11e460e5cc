"""Trees of ROOT files as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from molexa_core.io.root_file import reading
from molexa_core.io.root_layouts import METADATA_KEY
from molexa_core.io.table import CHUNK_BYTES, MOST_ROWS, Kind, View, even_ranges, numbers_of

_METADATA_LIMIT: Final = 64 * 2**20


class RootTable:
    """A tree; see `table.Table`.

    Args:
        file: the open file.
        name: name of the tree.
        path: for messages.
    """

    def __init__(self, file: Any, name: str, path: Path) -> None:
        self.path = path
        self.label = f"tree {name!r}"
        tree = file[name]
        self._file = file
        self._branches: dict[str, Any] = dict(tree.items(recursive=True))
        self.n_rows: int | None = int(tree.num_entries)
        self.kinds: Mapping[str, Kind] = {key: _kind(of) for key, of in self._branches.items()}

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """By default views end where baskets end, so that none is unpacked twice."""
        n_rows = self.n_rows or 0
        if rows is not None:
            for start, stop in even_ranges(n_rows, 1, rows):
                yield _RootView(self._branches, start, stop)
            return
        stored = sum(8 if columns.layout == "flat" else self._row_bytes(name) for name in names)
        goal = int(min(MOST_ROWS, max(1, CHUNK_BYTES // max(8, stored))))
        baskets = [np.asarray(self._branches[name].entry_offsets, np.int64) for name in names]
        ends = baskets[0] if baskets else np.empty(0, np.int64)
        for others in baskets[1:]:
            ends = np.intersect1d(ends, others)
        start = 0
        while start < n_rows:
            stop = min(start + goal, n_rows)
            whole = ends[(ends > start) & (ends <= stop)]
            stop = int(whole[-1]) if len(whole) else stop
            yield _RootView(self._branches, start, stop)
            start = stop

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the file."""
        return root_metadata(self._file, self.path)

    def _row_bytes(self, name: str) -> int:
        return int(self._branches[name].uncompressed_bytes) // max(1, self.n_rows or 0)


@dataclass(frozen=True)
class _RootView:
    branches: Mapping[str, Any]
    start: int
    stop: int

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        return {name: self._array(name, "np") for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        found = {}
        for name in dict.fromkeys(names):
            values = self._array(name, "ak")
            counts = np.asarray(ak.to_numpy(ak.num(values)), np.int64)
            found[name] = counts, numbers_of(ak.to_numpy(ak.flatten(values)))
        return found

    def _array(self, name: str, library: str) -> Any:
        return self.branches[name].array(
            entry_start=self.start, entry_stop=self.stop, library=library, array_cache=None
        )


def _kind(branch: Any) -> Kind:
    typename = str(branch.typename)
    held = branch.interpretation
    inner = held.content if isinstance(held, AsJagged) else held
    if not (
        isinstance(inner, AsDtype) and inner.to_dtype.shape == () and inner.to_dtype.kind in "iufb"
    ):
        return Kind("other", typename)
    return Kind("list" if isinstance(held, AsJagged) else "number", typename)


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
