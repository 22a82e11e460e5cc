"""Recognition of the content of a ROOT file: hits, edges, or only histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from molexa_core.base.errors import InputFileError, listing
from molexa_core.io.candidate import Candidate
from molexa_core.io.root.edge_trees import EdgeTree, edge_tree, edges_in
from molexa_core.io.root.file import open_root, reading, tree_names
from molexa_core.io.root.histograms import histograms_in
from molexa_core.io.root.layouts import EDGES, PRESETS, preset_for
from molexa_core.io.root.run import RunTree, open_trees, run_tree

__all__ = ["EdgeTree", "RunTree", "Trees", "trees_in"]


@dataclass(frozen=True)
class Trees:
    """The content found in a file; one of the three.

    Attributes:
        run: the tree with the hits.
        edges: the tree with the edges.
        histograms: whether it holds histograms and no run.
    """

    run: RunTree | None = None
    edges: EdgeTree | None = None
    histograms: bool = False


def trees_in(candidate: Candidate) -> Trees:
    """The run in a file, or that it holds histograms alone.

    Raises:
        InputFileError: the file is damaged or holds neither; or what is wrong with its run.
    """
    path, columns = candidate.path, candidate.how.columns
    given = candidate.how.edge_columns
    file = candidate.opened(open_root)
    with reading(path):
        trees = tree_names(file)
        if given is not None and given.tree in {None, *trees}:
            return Trees(edges=edge_tree(file, path, given))
        if preset_for(trees) is not None or (columns is not None and columns.tree in trees):
            return Trees(run=run_tree(file, path, columns))
        if trees:
            try:
                run = run_tree(file, path, columns)
                open_trees([run], columns)  # says what is wrong with its columns
            except InputFileError:
                found = edges_in(file, path, None)
                if found is not None:
                    return Trees(edges=found)
                if not histograms_in(file):
                    raise
            else:
                return Trees(run=run)
        if histograms_in(file):
            return Trees(histograms=True)
        raise _nothing_in(file, candidate, trees)


def _nothing_in(file: Any, candidate: Candidate, trees: list[str]) -> InputFileError:
    held = trees or [f"{name} ({kind})" for name, kind in file.classnames(cycle=False).items()]
    known = listing([f"{preset.tree} ({name})" for name, preset in PRESETS.items()])
    return InputFileError(
        f"a ROOT file without a known tree and without histograms; it has: {listing(held)}",
        where=candidate.path,
        do=f"Looked for the trees {known} and {EDGES.tree} (edges), in trees and in RNTuples as "
        "ROOT writes them from 6.34 on.",
    )
