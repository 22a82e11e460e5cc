"""RNTuples of ROOT files as tables; newer ROOT and uproot write them instead of trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import FloatArray, IntArray
from molexa_core.io.root.file import reading
from molexa_core.io.root.trees import root_metadata
from molexa_core.io.tables.interface import (
    CHUNK_BYTES,
    MOST_ROWS,
    Kind,
    View,
    even_ranges,
    numbers_of,
)

MOST_FIELDS: Final = 4096
_KEPT_BYTES: Final = 512 * 2**20
"""Fields of clusters are unpacked once for all their views if they take no more than this."""


class NtupleTable:
    """An RNTuple; see `table.Table`.

    Its rows come in clusters, which can only be unpacked as a whole.

    Args:
        file: the open file.
        name: name of the RNTuple.
        path: for messages.

    Raises:
        InputFileError: it has too many fields.
    """

    def __init__(self, file: Any, name: str, path: Path) -> None:
        self.path, self.name = path, name
        self.label = f"RNTuple {name!r}"
        self._file = file
        self._ntuple = file[name]
        names = [str(key) for key in self._ntuple.keys()]  # noqa: SIM118 - no mapping
        if len(names) > MOST_FIELDS:
            raise InputFileError(
                f"{self.label} has {len(names)} fields, at most {MOST_FIELDS} are read",
                where=path,
                do="Write the hits without the others.",
            )
        self.n_rows: int | None = int(self._ntuple.num_entries)
        self.kinds: Mapping[str, Kind] = {key: self._kind(key) for key in names}
        self._limits = 0, self.n_rows

    def limited(self, first: int, last: int) -> NtupleTable:
        """See `table.LimitedTable`."""
        part = copy(self)
        part._limits = first, last  # noqa: SLF001  (its own class)
        return part

    def views(self, columns: Columns, names: Sequence[str], rows: int | None) -> Iterator[View]:
        """Views within groups of whole clusters, which are unpacked once."""
        del columns
        n_rows = self.n_rows or 0
        if rows is None:
            rows = int(min(MOST_ROWS, max(1, CHUNK_BYTES // (8 * max(1, len(names))))))
        ends = [int(cluster.num_first_entry) for cluster in self._ntuple.cluster_summaries]
        first, last = self._limits
        for start, stop in pairwise(_grouped([*ends, n_rows], rows)):
            if stop <= first or start >= last:
                continue
            clusters = _Clusters(self, start, stop)
            length = max(1, clusters.row_bytes(names)) if len(names) else 1
            step = int(min(rows, max(1, CHUNK_BYTES // length)))
            begin, end = max(start, first), min(stop, last)
            for low, high in even_ranges(end - begin, 1, step):
                yield _NtupleView(clusters, begin + low, begin + high)

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the file."""
        return root_metadata(self._file, self.path)

    def read(self, name: str, start: int, stop: int) -> Any:
        """Rows of a field, as an array of awkward."""
        with reading(self.path):
            return self._ntuple[name].array(entry_start=start, entry_stop=stop)

    def _kind(self, name: str) -> Kind:
        """By the first row, since the names of types are those of C++."""
        typename = str(self._ntuple[name].typename)
        try:
            held = ak.type(self.read(name, 0, min(1, self.n_rows or 0))).content
        except InputFileError:  # a type that the reader does not know
            return Kind("other", f"{typename}, which cannot be read")
        if _is_number(held):
            return Kind("number", typename)
        if isinstance(held, ak.types.ListType) and not held.parameters and _is_number(held.content):
            return Kind("list", typename)
        if isinstance(held, ak.types.RegularType) and _is_number(held.content):
            return Kind("list", typename, filled=True)
        return Kind("other", typename or str(held))


def _is_number(held: Any) -> bool:
    return isinstance(held, ak.types.NumpyType) and (
        held.primitive == "bool" or held.primitive.startswith(("int", "uint", "float"))
    )


def _grouped(ends: Sequence[int], rows: int) -> list[int]:
    """Limits of groups of whole clusters with about `rows` rows."""
    limits = [0]
    for before, end in pairwise([*ends, ends[-1]]):
        if end - limits[-1] > rows and before > limits[-1]:
            limits.append(before)
    if ends[-1] > limits[-1]:
        limits.append(ends[-1])
    return limits


@dataclass
class _Clusters:
    """Rows of whole clusters; small ones are kept while their views are read."""

    table: NtupleTable
    start: int
    stop: int
    kept: dict[str, Any] = field(default_factory=dict)
    room: int = _KEPT_BYTES

    def rows(self, name: str, start: int, stop: int) -> Any:
        """Rows of a field."""
        return self.whole(name)[start - self.start : stop - self.start]

    def whole(self, name: str) -> Any:
        """All rows of a field."""
        if name in self.kept:
            return self.kept[name]
        values = self.table.read(name, self.start, self.stop)
        if values.nbytes <= self.room:
            self.room -= int(values.nbytes)
            self.kept[name] = values
        return values

    def row_bytes(self, names: Sequence[str]) -> int:
        """Bytes of a row in working copies, by the longest field."""
        longest = max(int(self.whole(name).nbytes) for name in names[:2])
        return longest * len(names) // max(1, self.stop - self.start)


@dataclass(frozen=True)
class _NtupleView:
    clusters: _Clusters
    start: int
    stop: int

    def numbers(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        return {name: ak.to_numpy(self._rows(name)) for name in names}

    def lists(self, names: Sequence[str]) -> dict[str, tuple[IntArray, FloatArray]]:
        found = {}
        for name in dict.fromkeys(names):
            values = self._rows(name)
            counts = np.asarray(ak.to_numpy(ak.num(values)), np.int64)
            found[name] = counts, numbers_of(ak.to_numpy(ak.flatten(values)))
        return found

    def _rows(self, name: str) -> Any:
        return self.clusters.rows(name, self.start, self.stop)
