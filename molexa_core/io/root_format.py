"""Run formats in ROOT files: trees of hits, trees of edges; and files of histograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from molexa_core.io import marks
from molexa_core.io.run_format import FileFormat, Places, RunFormat, Turn, Writer

if TYPE_CHECKING:
    from molexa_core.base.tables import Edges, Hits
    from molexa_core.io.candidate import Candidate, HowToRead
    from molexa_core.io.root.probe import EdgeTree, RunTree, Trees
    from molexa_core.io.stored_run import StoredRun


def _trees(file: Candidate) -> Trees | None:
    if not file.head.startswith(marks.ROOT):
        return None
    from molexa_core.io.root.probe import trees_in  # noqa: PLC0415

    return file.once(trees_in)


def _written(file: Candidate) -> str | None:
    if not file.head.startswith(marks.ROOT):
        return None
    from molexa_core.io.root.file import open_root, reading  # noqa: PLC0415
    from molexa_core.io.root.layouts import EDGES, JAGGED, METADATA_KEY  # noqa: PLC0415

    opened = file.opened(open_root)
    with reading(file.path):
        names = opened.keys(cycle=False, recursive=False)
    if METADATA_KEY not in names:
        return None
    if EDGES.tree in names:
        return "root-edges"
    return "root-jagged" if JAGGED.tree in names else "root"


def _probe_run(file: Candidate) -> RunTree | None:
    found = _trees(file)
    return None if found is None else found.run


def _open_run(found: Sequence[RunTree], how: HowToRead) -> StoredRun:
    from molexa_core.io.root.run import open_trees  # noqa: PLC0415

    return open_trees(found, how.columns)


def _probe_edges(file: Candidate) -> EdgeTree | None:
    found = _trees(file)
    return None if found is None else found.edges


def _open_edges(found: Sequence[EdgeTree], how: HowToRead) -> StoredRun:
    from molexa_core.io.tables.edge_rows import EdgesRun  # noqa: PLC0415

    del how
    return EdgesRun(found)


def _probe_histograms(file: Candidate) -> bool | None:
    found = _trees(file)
    return (found is not None and found.histograms) or None


def _flat(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.root.writer import write_root_run  # noqa: PLC0415

    write_root_run(path, chunks, layout="lmf2root", slots=places.slots, meta=meta)


def _jagged(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.root.writer import write_root_run  # noqa: PLC0415

    del places
    write_root_run(path, chunks, layout="jagged", meta=meta)


def _edges(path: Path, chunks: Iterable[Edges], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.root.writer import write_root_edges  # noqa: PLC0415

    del places
    write_root_edges(path, chunks, meta=meta)


ROOT_RUN: Final = RunFormat(
    name="root-run",
    words="ROOT run",
    sought=("ROOT", "runs"),
    probe=_probe_run,
    open=_open_run,
    written=_written,
    suffixes=(".root",),
    in_folders=True,
    hits=(
        Writer(
            name="root",
            words="flat, as LMF2Root writes it",
            write=_flat,
            suffixes=(".root",),
            counted=True,
        ),
        Writer(name="root-jagged", write=_jagged),
    ),
)
ROOT_EDGES: Final = RunFormat(
    name="root-edges",
    words="ROOT run of edges",
    probe=_probe_edges,
    open=_open_edges,
    suffixes=(".root",),
    in_folders=True,
    edges=(Writer(name="root-edges", words="lists in ROOT", write=_edges),),
)
ROOT_RESULT: Final = FileFormat(
    name="root-result",
    words="ROOT file of histograms",
    sought=("ROOT", "LMF2Root results"),
    probe=_probe_histograms,
    turn=Turn.CONTAINER,
    do="Give the ROOT file with the hits that LMF2Root wrote beside it.",
)
