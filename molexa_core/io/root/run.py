"""Reader for runs of hits in ROOT trees: choice of the tree and of its columns.

Presets (`root_layouts`): the tree `Data` of LMF2Root, the tree `hits` with variable-length
columns, the tree `resortedData` of sp8-analysis, the tree `SortedEvent` of lma2root. The columns of
other trees are recognised by their names, or named in `columns` of the setup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.errors import ColumnError, InputFileError, UsageError, listing
from molexa_core.base.settings.columns import Columns
from molexa_core.io.root.contents import RootFileTable, doubts, named_with_cycle, open_table
from molexa_core.io.root.file import open_root, reading, tree_names
from molexa_core.io.root.layouts import PRESETS, SACLA_TREE, preset_for, sacla_detectors
from molexa_core.io.root.writer import RunLayout, write_root_run
from molexa_core.io.tables.guess import Choice, NoHitsError, choose, preset
from molexa_core.io.tables.run import TableRun, open_tables
from molexa_core.io.tables.slots import checked_slots
from molexa_core.io.tables.units_of_columns import in_units

__all__ = ["RootRun", "RunLayout", "open_root_run", "write_root_run"]

RootRun = TableRun


def open_root_run(
    paths: Sequence[Path | str] | Path | str, columns: Columns | None = None
) -> TableRun:
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
    found = []
    for path in map(Path, names):
        file = open_root(path)
        with reading(path):
            found.append(run_tree(file, path, columns))
    return open_trees(found, columns)


@dataclass(frozen=True)
class RunTree:
    """The tree with the hits in an open file.

    Attributes:
        table: the tree.
        choice: its layout.
        doubts: what may be missing of the hits.
    """

    table: RootFileTable
    choice: Choice
    doubts: tuple[str, ...]


def run_tree(file: Any, path: Path, columns: Columns | None) -> RunTree:
    """The tree with the hits in an open file.

    Raises:
        InputFileError: there is none, or there are several.
        ColumnError: a column is missing or of the wrong type.
    """
    table, choice = _choose(file, path, columns)
    return RunTree(table, named_with_cycle(file, table, choice), tuple(doubts(file, table)))


def open_trees(found: Sequence[RunTree], columns: Columns | None) -> TableRun:
    """One run of trees, in the order given; see `open_root_run`."""
    run = open_tables([of.table for of in found], columns, [of.choice for of in found])
    run.doubt(list(dict.fromkeys(doubt for of in found for doubt in of.doubts)))
    return run


def _has_hits_of(table: RootFileTable, columns: Columns) -> bool:
    """Whether the table has columns of the hits, or their number, in the form of the layout."""
    held = "number" if columns.layout == "flat" else "list"
    names = [columns.slot(name, 0) for name in (columns.x, columns.y, columns.time)]
    if columns.count in table.kinds:
        return True
    return any(table.kinds[name].held == held for name in names if name in table.kinds)


def _preset(file: Any, path: Path, name: str) -> tuple[RootFileTable, Choice] | ColumnError:
    """The tree of a preset, or what is wrong where it has nothing of the preset but the name.

    Raises:
        ColumnError: columns of the preset are missing.
    """
    table = open_table(file, str(PRESETS[name].tree), path)
    choice = preset(table, name)
    try:
        checked_slots(table, choice.columns)
    except ColumnError as error:
        if _has_hits_of(table, choice.columns):
            raise
        return error
    return table, choice


def _choose(file: Any, path: Path, columns: Columns | None) -> tuple[RootFileTable, Choice]:
    """The tree with the hits and its layout."""
    trees = tree_names(file)
    if columns is not None and (
        columns.tree in trees or (columns.tree is None and len(trees) == 1)
    ):
        table = open_table(file, columns.tree or trees[0], path)
        return table, choose(table, columns)
    name = preset_for(trees)
    known_as = None if name is None else _preset(file, path, name)
    if isinstance(known_as, tuple):
        return known_as
    if SACLA_TREE in trees:
        table = open_table(file, SACLA_TREE, path)
        detectors = sacla_detectors(
            [name for name, kind in table.kinds.items() if kind.held == "list"]
        )
        if detectors:
            others = len(detectors) - 1
            more = f"; {others} other detector(s) left aside" if others else ""
            why = f"{table.label} is that of lma2root; hits of {detectors[0].x!r}{more}"
            return table, in_units(table, Choice("lma2root", detectors[0], why), fixed=True)
    found, unknown = [], []
    for tree in trees:
        table = open_table(file, tree, path)
        try:
            found.append((table, choose(table, None)))
        except NoHitsError as error:
            unknown.append(error)
    if known_as is not None and not found:
        raise known_as
    if len(found) == 1:
        return found[0]
    if found:
        raise InputFileError(
            f"several trees can hold the hits: {listing(table.label for table, _ in found)}",
            where=path,
            do="Say which in `columns` of the setup.",
        )
    if columns is None and len(unknown) == 1:
        raise unknown[0]  # it names the columns that there are
    known = listing([f"{name} ({preset.tree})" for name, preset in PRESETS.items()])
    wanted = (
        f"no tree {columns.tree!r}"
        if columns is not None
        else "no tree with hits of a known layout"
    )
    raise InputFileError(
        f"{wanted}; the file has the trees: {listing(trees)}",
        where=path,
        do=f"Known are {known}, lma2root ({SACLA_TREE}) and lists or numbers named x, y, t; "
        "others need `columns` in the setup.",
    )
