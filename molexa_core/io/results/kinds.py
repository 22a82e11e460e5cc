"""Recognition of molexa's result files and their kinds, by content and provenance.

File names are not used. A result with damaged values is still recognised, so that it can be
replaced; a file that cannot be opened is not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import MolexaError
from molexa_core.base.fields import (
    COMBINATIONS,
    EVENT_GROUP,
    EVENT_MOMENTUM,
    META,
    PROVENANCE,
    RECIPE_DIGEST,
    TRUTH_HITS,
    TRUTH_MOLECULES,
)
from molexa_core.base.storage.outputs import FileKind, run_kind
from molexa_core.base.storage.provenance import FIGURE_MARK, GENERATOR, SETUP_MARK

_HEAD: Final = 64 * 1024
"""Bytes at the beginning of a text that are looked at."""
_LARGEST: Final = 256 * 2**20
"""A longer file is none of the kinds that are JSON or YAML."""
_LONGEST_HEADER: Final = 64 * 2**20
_HDF5_MAGIC: Final = b"\x89HDF\r\n\x1a\n"
_JSON_KINDS: Final[tuple[tuple[FileKind, frozenset[str]], ...]] = (
    (FileKind.RECONSTRUCTION, frozenset({"symbols", "positions_bohr", PROVENANCE})),
    (FileKind.EVALUATION, frozenset({"conditions", "errors", PROVENANCE})),
    (FileKind.FIGURE_VALUES, frozenset({"format", "sizes", "rows", "coverage", "geometries"})),
    (FileKind.CARD, frozenset({"network", "files", "training", "parameters", "versions"})),
    (FileKind.TRAINING, frozenset({"preset", "stage", "steps", "seconds", "stage_1_molecules"})),
    (FileKind.RECIPE, frozenset({"format", "recipe"})),
)
"""Kinds of JSON by keys that all of them have."""
_LOG_KEYS: Final = frozenset({"step", "learning_rate", "molecules_per_s", "processes"})


def kind_of_result(path: Path | str) -> FileKind | None:
    """The kind of result of a file; None if molexa did not write it.

    Recognised by the provenance inside: an attribute in HDF5 and Parquet, a string in ROOT, the
    comment of a virtual list-mode file, a line of comment in CSV, the comment line in XYZ, a key in
    JSON and YAML, an element in SVG and HTML; recipes, model cards and what a training writes by
    their keys. A converted list-mode file keeps the headers of the run that it was made from and
    cannot be told from one of an acquisition.

    Raises:
        OSError: the file cannot be read.
    """
    path = Path(path)
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    try:
        return _kind(path, head)
    except (MolexaError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _kind(path: Path, head: bytes) -> FileKind | None:
    for begins, kind in _BINARY_KINDS:
        if begins(head):
            return kind(path)
    try:
        text = head.decode("utf-8", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    return _of_text(path, text)


def _of_hdf5(path: Path) -> FileKind | None:
    # HDF5 alone takes a tenth of a second to import, which a command with text need not pay.
    from molexa_core.io.facilities.xfel_write import SOURCE  # noqa: PLC0415
    from molexa_core.io.hdf5.checks import refuse_foreign_links  # noqa: PLC0415
    from molexa_core.io.hdf5.file import reading_hdf5  # noqa: PLC0415
    from molexa_core.io.hdf5.heap_bytes import open_checked  # noqa: PLC0415
    from molexa_core.io.results.structures import STRUCTURES  # noqa: PLC0415
    from molexa_core.io.tables.hdf5_table import METADATA_KEY  # noqa: PLC0415

    # Whether values are damaged does not matter for what will be replaced: no checksum.
    with reading_hdf5(path), open_checked(path) as file:
        refuse_foreign_links(file)
        if METADATA_KEY in file.attrs:
            if "INDEX" not in file:
                return FileKind.RUN_HDF5
            has_edges = f"INSTRUMENT/{SOURCE}/raw/edges" in file
            return FileKind.RUN_EDGES if has_edges else FileKind.RUN_XFEL
        if META not in file or PROVENANCE not in file[META].attrs:
            return None
        meta = file[META]
        is_aligned = "frame" in meta
        kinds = (
            (
                FileKind.ALIGNED if is_aligned else FileKind.EVENTS,
                f"{EVENT_GROUP}/{EVENT_MOMENTUM}" in file,
            ),
            (FileKind.TRUTH, TRUTH_MOLECULES in file and TRUTH_HITS in file),
            (FileKind.DATASET, RECIPE_DIGEST in meta.attrs),
            (FileKind.CHANNELS, COMBINATIONS in file),
            (FileKind.STRUCTURES, STRUCTURES in file),
        )
        return next((kind for kind, holds in kinds if holds), None)


def _of_root(path: Path) -> FileKind | None:
    from molexa_core.io.root.file import open_root, reading  # noqa: PLC0415
    from molexa_core.io.root.layouts import EDGES, JAGGED, METADATA_KEY  # noqa: PLC0415

    with open_root(path) as file, reading(path):
        names = file.keys(cycle=False, recursive=False)
    if METADATA_KEY not in names:
        return None
    if EDGES.tree in names:
        return FileKind.RUN_ROOT_EDGES
    return FileKind.RUN_ROOT_JAGGED if JAGGED.tree in names else FileKind.RUN_ROOT


def _of_parquet(path: Path) -> FileKind | None:
    from molexa_core.io.tables.parquet_table import METADATA_KEY, arrow  # noqa: PLC0415

    pa, parquet = arrow()
    try:
        metadata = parquet.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return FileKind.RUN_PARQUET if METADATA_KEY in metadata else None


def _begins_lmf(head: bytes) -> bool:
    from molexa_core.io.lmf.header import (  # noqa: PLC0415
        ARCHIVE_2002,
        ARCHIVE_2008,
        ARCHIVE_MASK,
    )

    return int.from_bytes(head[:4], "little") & ARCHIVE_MASK in {ARCHIVE_2002, ARCHIVE_2008}


def _of_lmf(path: Path) -> FileKind | None:
    from molexa_core.io.lmf.run import LmfRun  # noqa: PLC0415

    run = LmfRun([path])
    return run_kind(run.layout) if run.metadata() else None


def _begins_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**40


def _of_safetensors(path: Path) -> FileKind | None:
    """Checkpoints name molexa in their header; a card beside them names the files of weights."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LONGEST_HEADER:
            return None
        header = json.loads(stream.read(length))
    if "molexa" in header.get("__metadata__", {}):
        return FileKind.CHECKPOINT
    for card in path.parent.glob("*.json"):
        try:
            values = _json(card)
        except ValueError:
            continue  # a damaged file beside it says nothing of this one
        if _of_json(values) is FileKind.CARD and path.name in values["files"]:
            return FileKind.WEIGHTS
    return None


_BINARY_KINDS: Final[
    tuple[tuple[Callable[[bytes], bool], Callable[[Path], FileKind | None]], ...]
] = (
    (lambda head: head[:8] == _HDF5_MAGIC, _of_hdf5),
    (lambda head: head[:4] == b"root", _of_root),
    (lambda head: head[:4] == b"PAR1", _of_parquet),
    (_begins_lmf, _of_lmf),
    (_begins_safetensors, _of_safetensors),
)


def _of_text(path: Path, text: str) -> FileKind | None:
    text = text.removeprefix("\ufeff")
    begin = text.lstrip()
    for fits, kind in _TEXT_KINDS:
        if fits(begin):
            return kind
    if begin.startswith("{"):
        first = begin.split("\n", 1)[0]
        if _keys(first) >= _LOG_KEYS:
            return FileKind.TRAINING_LOG
        return _of_json(_json(path))
    if begin.startswith("#") and "\nanode:" in text and path.stat().st_size < _LONGEST_HEADER:
        return FileKind.DETECTOR if f"\n{PROVENANCE}:" in path.read_text(encoding="utf-8") else None
    return None


def _is_run(text: str) -> bool:
    from molexa_core.io.tables.text_table import METADATA_LINE  # noqa: PLC0415

    return text.startswith(METADATA_LINE + "{")


def _is_setup(text: str) -> bool:
    return text.startswith(SETUP_MARK + "{")


def _is_momenta(text: str) -> bool:
    comments = [line for line in text.split("\n")[:20] if line.startswith("#")]
    return any(line.startswith(f"# {PROVENANCE}: {{") for line in comments)


def _is_geometry(text: str) -> bool:
    lines = text.split("\n", 2)
    return len(lines) > 2 and lines[0].strip().isdigit() and f' {PROVENANCE}="{{' in lines[1]


def _is_figure(text: str) -> bool:
    return "<svg" in text and FIGURE_MARK in text


def _is_report(text: str) -> bool:
    return text[:9].lower() == "<!doctype" and GENERATOR in text


_TEXT_KINDS: Final[tuple[tuple[Callable[[str], bool], FileKind], ...]] = (
    (_is_run, FileKind.RUN_CSV),
    (_is_setup, FileKind.SETUP),
    (_is_momenta, FileKind.MOMENTA),
    (_is_geometry, FileKind.GEOMETRY),
    (_is_figure, FileKind.FIGURE),
    (_is_report, FileKind.REPORT),
)


def _json(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _keys(text: str) -> frozenset[str]:
    try:
        values = json.loads(text)
    except ValueError:
        return frozenset()
    return frozenset(values) if isinstance(values, dict) else frozenset()


def _of_json(values: Any) -> FileKind | None:
    if not isinstance(values, Mapping):
        return None
    for kind, keys in _JSON_KINDS:
        if keys <= set(values):
            return kind
    return None
