"""Reader for runs of edges in ROOT trees: choice of the tree and of its columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.settings.columns import EdgeColumns
from molexa_core.io.root.contents import open_table
from molexa_core.io.root.file import tree_names
from molexa_core.io.root.layouts import EDGES
from molexa_core.io.tables.edge_rows import MOST_CHANNELS, edge_layout, known_edges
from molexa_core.io.tables.guess import Choice
from molexa_core.io.tables.interface import Table

__all__ = ["MOST_CHANNELS", "EdgeTree", "edge_tree", "edges_in"]


EdgeTree = tuple[Table, Choice]
"""The tree with the edges in an open file, and its layout."""


def edge_tree(file: Any, path: Path, given: EdgeColumns | None) -> EdgeTree:
    """The tree with the edges; see `edges_in`.

    Raises:
        InputFileError: there is none.
    """
    found = edges_in(file, path, given)
    if found is None:
        raise InputFileError(
            f"no tree with edges; the file has the trees: {listing(tree_names(file))}",
            where=path,
            do="Name the columns in `edge_columns` of the setup.",
        )
    return found


def edges_in(file: Any, path: Path, given: EdgeColumns | None) -> EdgeTree | None:
    """The tree with the edges and its layout; None where there is none.

    Args:
        file: the open file.
        path: for messages.
        given: `edge_columns` of the setup; used where the file has its tree.

    Raises:
        InputFileError: several trees can hold the edges.
    """
    trees = tree_names(file)
    if given is not None and (given.tree in trees or (given.tree is None and len(trees) == 1)):
        table = open_table(file, given.tree or trees[0], path)
        choice = edge_layout(table, given, "edge-columns")
        return None if choice is None else (table, choice)
    if EDGES.tree in trees:
        table = open_table(file, str(EDGES.tree), path)
        if {EDGES.channel, EDGES.time} <= set(table.kinds):
            why = f"{table.label} is that of molexa (lists of edges)"
            return table, known_edges(table, EDGES, "root-edges", why)
    found = []
    for tree in trees:
        table = open_table(file, tree, path)
        choice = edge_layout(table, None, "root-edges")
        if choice is not None:
            found.append((table, choice))
    if len(found) > 1:
        raise InputFileError(
            f"several trees can hold the edges: {listing(table.label for table, _ in found)}",
            where=path,
            do="Say which in `edge_columns` of the setup.",
        )
    return found[0] if found else None
