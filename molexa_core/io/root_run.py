"""Runs as ROOT trees: opening, describing and reading them in chunks of shots.

Presets (`root_layouts`): the tree `Data` of LMF2Root, the tree `hits` with variable-length
columns, the tree `resortedData` of sp8-analysis. Other trees need `columns` in the setup.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.settings.setup import Columns
from molexa_core.base.tables import FloatArray, Hits, IntArray
from molexa_core.io.root_file import (
    numbers_of,
    open_root,
    reading,
    require_columns,
    require_numbers,
    tree_names,
)
from molexa_core.io.root_layouts import METADATA_KEY, PRESETS, is_tag, numbered_from, preset_for
from molexa_core.io.root_write import RunLayout, write_root_run

__all__ = ["RootRun", "RunLayout", "open_root_run", "write_root_run"]

CHUNK_BYTES: Final = 24 * 2**20
"""Aim for the columns of one chunk as stored; working copies stay a few times this."""
_MOST_SHOTS: Final = 100_000
_METADATA_LIMIT: Final = 64 * 2**20


@dataclass(frozen=True)
class _Part:
    """One file of the run: its tree, its layout, the number of its first shot."""

    path: Path
    tree: Any
    columns: Columns
    slots: int
    tags: tuple[str, ...]
    first_shot: int

    @property
    def n_shots(self) -> int:
        return int(self.tree.num_entries)


class RootRun:
    """A run in one or several ROOT files, read as often as wanted.

    Iterating over it gives `Hits`, chunk by chunk, in a size that keeps memory low.

    Attributes:
        paths: the files in order.
        layout: name of the preset, or `columns` for a layout from the setup.
        n_shots: shots in all files.
    """

    def __init__(self, parts: Sequence[_Part], layout: str, metadata: dict[str, Any]) -> None:
        self._parts = tuple(parts)
        self._metadata = metadata
        self.layout = layout
        self.paths = tuple(part.path for part in self._parts)
        self.n_shots = sum(part.n_shots for part in self._parts)

    def metadata(self) -> dict[str, Any]:
        """What the first file knows about itself (virtual runs: setup, channel); may be empty."""
        return dict(self._metadata)

    def __iter__(self) -> Iterator[Hits]:
        return self.iterate()

    def iterate(
        self, chunk_shots: int | None = None, *, with_method: bool = False
    ) -> Iterator[Hits]:
        """The hits of all shots in order.

        Args:
            chunk_shots: shots per chunk; chosen by the size of a shot where not given.
            with_method: also read the resort method of each hit (0 otherwise).

        Raises:
            InputFileError: a file is damaged or says something impossible.
        """
        if chunk_shots is not None and chunk_shots < 1:
            raise UsageError(f"chunk_shots is {chunk_shots}", do="Use 1 or more.")
        for part in self._parts:
            for start, stop in _ranges(part, chunk_shots):
                with reading(part.path):
                    hits = _read(part, start, stop, with_method=with_method)
                yield hits


def open_root_run(
    paths: Sequence[Path | str] | Path | str, columns: Columns | None = None
) -> RootRun:
    """Open a run; several files count as one, in the order given.

    Args:
        paths: the files.
        columns: layout from the setup; used where a file has its tree, otherwise the presets are.

    Raises:
        InputFileError: a file is missing, not ROOT, truncated, without a known tree, of another
            layout than the first, or has no shots in all.
        ColumnError: a column is missing or of the wrong type.
    """
    names = [paths] if isinstance(paths, str | Path) else list(paths)
    if not names:
        raise UsageError("no run given", do="Name at least one ROOT file.")
    parts: list[_Part] = []
    layouts: list[str] = []
    metadata: dict[str, Any] = {}
    first_shot = 0
    for path in map(Path, names):
        file = open_root(path)
        with reading(path):
            layout, part = _part(file, path, columns, first_shot)
            if not parts:
                metadata = _metadata(file, path)
        parts.append(part)
        layouts.append(layout)
        if layout != layouts[0]:
            raise InputFileError(
                f"the layout is {layout}, but that of {parts[0].path} is {layouts[0]}",
                where=path,
                do="Reduce files of different layouts one by one.",
            )
        first_shot += part.n_shots
    if first_shot == 0:
        raise InputFileError(
            "there are no shots in the run",
            where=listing(names, limit=3),
            do=f"The tree {parts[0].tree.name!r} is empty; check how the run was written.",
        )
    common = set(parts[0].tags).intersection(*(part.tags for part in parts))
    parts = [_with_tags(part, common) for part in parts]
    return RootRun(parts, layouts[0], metadata)


def _with_tags(part: _Part, names: set[str]) -> _Part:
    tags = tuple(name for name in part.tags if name in names)
    return _Part(part.path, part.tree, part.columns, part.slots, tags, part.first_shot)


def _part(file: Any, path: Path, columns: Columns | None, first_shot: int) -> tuple[str, _Part]:
    trees = tree_names(file)
    if columns is not None and columns.tree in trees:
        layout, chosen = "columns", columns
    elif (preset := preset_for(trees)) is not None:
        layout, chosen = preset, PRESETS[preset]
    else:
        known = listing([f"{name} ({preset.tree})" for name, preset in PRESETS.items()])
        wanted = f"no tree {columns.tree!r}" if columns is not None else "no tree of a known layout"
        raise InputFileError(
            f"{wanted}; the file has the trees: {listing(trees)}",
            where=path,
            do=f"Known are {known}; others need `columns` in the setup.",
        )
    tree = file[chosen.tree]
    branches = list(tree.keys(recursive=False))
    if layout != "columns":
        chosen = numbered_from(chosen, branches)
    slots = _check(tree, chosen, branches, path)
    tags = tuple(name for name in branches if is_tag(name))
    require_numbers(tree, tags, jagged=False, where=path)
    return layout, _Part(path, tree, chosen, slots, tags, first_shot)


def _check(tree: Any, columns: Columns, branches: Sequence[str], path: Path) -> int:
    """Check names and types of the columns; the number of slots of a flat layout."""
    present = set(branches)
    if columns.layout == "jagged":
        names = [columns.x, columns.y, columns.time]
        require_columns(tree, names, where=path)
        if columns.method in present:
            names.append(columns.method)
        require_numbers(tree, names, jagged=True, where=path)
        return 0
    count = columns.count or ""
    patterns = (columns.x, columns.y, columns.time)
    slots = 0
    while any(pattern.format(i=columns.first + slots) in present for pattern in patterns):
        slots += 1
    names = [
        pattern.format(i=columns.first + i) for i in range(max(slots, 1)) for pattern in patterns
    ]
    require_columns(tree, [count, *names], where=path)
    methods = [name for name in _methods(columns, slots) if name in present]
    require_numbers(tree, [count, *names, *methods], jagged=False, where=path)
    return slots


def _methods(columns: Columns, slots: int) -> list[str]:
    if columns.method is None:
        return []
    return [columns.method.format(i=columns.first + i) for i in range(slots)]


def _ranges(part: _Part, chunk_shots: int | None) -> Iterator[tuple[int, int]]:
    """Chunks of shots; by default they end where baskets end, so that none is unpacked twice."""
    if chunk_shots is not None:
        for start in range(0, part.n_shots, chunk_shots):
            yield start, min(start + chunk_shots, part.n_shots)
        return
    goal = _goal(part)
    with reading(part.path):
        ends = np.asarray(part.tree.common_entry_offsets(filter_name=_names(part)), np.int64)
    start = 0
    while start < part.n_shots:
        stop = min(start + goal, part.n_shots)
        whole = ends[(ends > start) & (ends <= stop)]
        stop = int(whole[-1]) if len(whole) else stop
        yield start, stop
        start = stop


def _goal(part: _Part) -> int:
    if part.columns.layout == "flat":
        row = 8 * (1 + 3 * part.slots + len(part.tags))
    else:
        stored = sum(part.tree[name].uncompressed_bytes for name in _names(part))
        row = max(8, stored // max(1, part.n_shots))
    return int(min(_MOST_SHOTS, max(1, CHUNK_BYTES // row)))


def _names(part: _Part) -> list[str]:
    columns = part.columns
    patterns = (columns.x, columns.y, columns.time)
    if columns.layout == "jagged":
        return [*patterns, *part.tags]
    slots = [p.format(i=columns.first + i) for i in range(part.slots) for p in patterns]
    return [str(columns.count), *slots, *part.tags]


def _read(part: _Part, start: int, stop: int, *, with_method: bool) -> Hits:
    if part.columns.layout == "jagged":
        offsets, values = _read_jagged(part, start, stop, with_method=with_method)
    else:
        offsets, values = _read_flat(part, start, stop, with_method=with_method)
    tags = _arrays(part, list(part.tags), start, stop) if part.tags else {}
    x, y, t, method = values
    columns = part.columns
    return Hits(
        first_shot=part.first_shot + start,
        offsets=offsets,
        x_mm=x * columns.x_unit_mm if columns.x_unit_mm != 1.0 else x,
        y_mm=y * columns.x_unit_mm if columns.x_unit_mm != 1.0 else y,
        t_ns=t * columns.time_unit_ns if columns.time_unit_ns != 1.0 else t,
        method=_as_method(method),
        tags=tags,
    )


def _arrays(part: _Part, names: list[str], start: int, stop: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = part.tree.arrays(
        names, entry_start=start, entry_stop=stop, library="np", array_cache=None
    )
    return arrays


def _read_flat(
    part: _Part, start: int, stop: int, *, with_method: bool
) -> tuple[IntArray, list[FloatArray]]:
    columns = part.columns
    count_name = str(columns.count)
    stored = _arrays(part, [count_name], start, stop)[count_name]
    counts = _checked_counts(part, stored, start)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    used = int(counts.max(initial=0))
    patterns = [columns.x, columns.y, columns.time]
    methods = _methods(columns, used) if with_method else []
    if methods and all(name in part.tree for name in methods):
        patterns.append(str(columns.method))
    names = [p.format(i=columns.first + i) for i in range(used) for p in patterns]
    dense = _arrays(part, names, start, stop) if names else {}
    values = [np.zeros(int(offsets[-1])) for _ in range(4)]
    for i in range(used):
        shots = np.flatnonzero(counts > i)
        places = offsets[shots] + i
        for value, pattern in zip(values, patterns, strict=False):
            value[places] = dense[pattern.format(i=columns.first + i)][shots]
    return offsets, values


def _checked_counts(part: _Part, stored: NDArray[Any], start: int) -> IntArray:
    bad = ~((stored >= 0) & (stored <= part.slots))  # also true where it is not a number
    whole = np.zeros(len(stored), np.int64)
    np.copyto(whole, stored, where=~bad, casting="unsafe")
    bad |= whole != stored
    if bad.any():
        shot = int(np.argmax(bad))
        raise InputFileError(
            f"column {part.columns.count!r} says {stored[shot]:g} hits in shot {start + shot}, but "
            f"there are columns for 0 to {part.slots}",
            where=part.path,
            do="The run is damaged, or `columns` of the setup names the wrong column.",
        )
    return whole


def _read_jagged(
    part: _Part, start: int, stop: int, *, with_method: bool
) -> tuple[IntArray, list[FloatArray]]:
    columns = part.columns
    names = [columns.x, columns.y, columns.time]
    if with_method and columns.method is not None and columns.method in part.tree:
        names.append(columns.method)
    lists = part.tree.arrays(
        names, entry_start=start, entry_stop=stop, library="ak", array_cache=None
    )
    counts = [ak.to_numpy(ak.num(lists[name])) for name in names]
    for name, count in zip(names[1:], counts[1:], strict=True):
        differs = count != counts[0]
        if differs.any():
            shot = int(np.argmax(differs))
            raise InputFileError(
                f"shot {start + shot} has {counts[0][shot]} values in {names[0]!r}, but "
                f"{count[shot]} in {name!r}",
                where=part.path,
                do="The run is damaged.",
            )
    offsets = np.concatenate([[0], np.cumsum(counts[0])]).astype(np.int64)
    values = [numbers_of(ak.to_numpy(ak.flatten(lists[name]))) for name in names]
    values += [np.zeros(int(offsets[-1]))] * (4 - len(values))
    return offsets, values


def _as_method(values: FloatArray) -> NDArray[np.int16]:
    """Methods are small whole numbers; what is not (-1 pads, NaN) becomes -1."""
    known = (values >= 0) & (values < 2**15)
    return np.where(known, values, -1.0).astype(np.int16)


def _metadata(file: Any, path: Path) -> dict[str, Any]:
    if METADATA_KEY not in file.keys(cycle=False, recursive=False):
        return {}
    key = file.key(METADATA_KEY)
    if key.fClassName != "TObjString" or key.data_uncompressed_bytes > _METADATA_LIMIT:
        return {}
    try:
        values = json.loads(str(file[METADATA_KEY]))
    except ValueError as error:
        raise InputFileError(
            f"the string {METADATA_KEY!r} is not readable as JSON",
            where=path,
            do="The file is damaged; make the run again.",
        ) from error
    return values if isinstance(values, dict) else {}
