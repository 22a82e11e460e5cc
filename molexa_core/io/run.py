"""Opening of runs in any known format, recognised by content; reading in chunks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.settings.columns import Columns, EdgeColumns, Facility
from molexa_core.io import recognise as formats
from molexa_core.io.facilities.flash import FlashRun
from molexa_core.io.facilities.xfel import XfelRun
from molexa_core.io.facilities.xfel_keys import KeyedRun
from molexa_core.io.lmf.run import LmfRun
from molexa_core.io.root.edge_trees import RootEdgesRun
from molexa_core.io.root.run import open_root_run
from molexa_core.io.tables.guess import NoHitsError
from molexa_core.io.tables.hdf5_table import open_hdf5_table
from molexa_core.io.tables.openers import layout_of, open_layouts, open_table
from molexa_core.io.tables.run import TableRun

_GLOB: Final = re.compile(r"[*?\[]")
_FOLDER_SUFFIXES: Final = (".h5", ".hdf5", ".lmf", ".root", ".parquet")


class StoredRun(Protocol):
    """A run as stored in its files, which can be read repeatedly in chunks.

    Attributes:
        paths: the files in order.
        layout: name of the layout.
        choice: why this layout, as a sentence.
        n_shots: shots in all files; None where only reading would tell.
        edges: whether iterating gives `Edges`; otherwise it gives `Hits`.
        remarks: what the user should know; complete after reading.
        warnings: why what is made of the run may be wrong; complete after reading.
    """

    paths: tuple[Path, ...]
    layout: str
    choice: str
    n_shots: int | None
    edges: bool

    @property
    def remarks(self) -> list[str]:
        """What the user should know."""
        ...

    @property
    def warnings(self) -> list[str]:
        """Why what is made of the run may be wrong."""
        ...

    def metadata(self) -> dict[str, Any]:
        """What molexa stored with the run (virtual runs); may be empty."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


def find_files(paths: Sequence[Path | str] | Path | str) -> list[Path]:
    """The files that are meant by names, patterns and folders, in order.

    A folder stands for its data files of one kind; a pattern that no file has as its name for the
    files that it fits. Numbers in names count as numbers.

    Raises:
        InputFileError: a pattern or a folder without files, or a folder with several kinds.
        UsageError: a file is named twice, or none is.
    """
    names = [paths] if isinstance(paths, str | Path) else list(paths)
    if not names:
        raise UsageError("no run given", do="Name at least one file.")
    found: list[Path] = []
    for path in map(Path, names):
        if path.is_dir():
            found += _of_folder(path)
        elif not path.exists() and _GLOB.search(str(path)):
            anchor = Path(path.anchor or ".")
            fitting = anchor.glob(str(path.relative_to(anchor) if path.anchor else path))
            files = sorted((file for file in fitting if file.is_file()), key=_natural)
            if not files:
                raise InputFileError("no file fits the pattern", where=path, do="Check the folder.")
            found += files
        else:
            found.append(path)
    seen = {path.resolve() for path in found}
    if len(seen) < len(found):
        resolved = [path.resolve() for path in found]
        twice = next(p for p, r in zip(found, resolved, strict=True) if resolved.count(r) > 1)
        raise UsageError("the file is named twice", where=twice, do="Name each file once.")
    return found


def _of_folder(folder: Path) -> list[Path]:
    kinds: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        if path.is_file() and path.suffix.lower() in _FOLDER_SUFFIXES:
            kinds.setdefault(path.suffix.lower(), []).append(path)
    if len(kinds) != 1:
        held = listing(f"{len(files)} {suffix}" for suffix, files in sorted(kinds.items()))
        raise InputFileError(
            f"the folder holds {held if kinds else 'no data files'}",
            where=folder,
            do="Name the files of the run.",
        )
    return sorted(next(iter(kinds.values())), key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def open_stored_run(
    paths: Sequence[Path | str] | Path | str,
    *,
    columns: Columns | None = None,
    edge_columns: EdgeColumns | None = None,
    facility: Facility | None = None,
    with_method: bool = False,
) -> StoredRun:
    """Open a run of any known format; several files count as one, in the order given.

    Args:
        paths: files, patterns, or a folder.
        columns: column map of the setup, for tables that no preset reads.
        edge_columns: likewise, for tables of edges.
        facility: what to take from files of European XFEL and FLASH.
        with_method: whether hits of tables come with their resort method.

    Raises:
        InputFileError: a file is missing, damaged, of no known format or not a run, or the files
            are of different formats.
        ColumnError: a column is missing or of the wrong type.
    """
    files = find_files(paths)
    kinds = [formats.recognise(path, columns, edge_columns) for path in files]
    for path, kind in zip(files, kinds, strict=True):
        _require_run(path, kind)
        if kind != kinds[0]:
            raise InputFileError(
                f"this is a {formats.NAMES[kind]}, but {files[0]} is a {formats.NAMES[kinds[0]]}",
                where=path,
                do="Give files of one format.",
            )
    run = _opened(files, kinds[0], columns, edge_columns, facility)
    if isinstance(run, TableRun):
        run.with_method = with_method
    unused = _unused(run, kinds[0], columns, edge_columns, facility)
    if unused:
        run.choice = f"{run.choice}; {unused}"
    return run


def _opened(
    files: Sequence[Path],
    kind: str,
    columns: Columns | None,
    edge_columns: EdgeColumns | None,
    facility: Facility | None,
) -> StoredRun:
    """The run in files of one format."""
    openers: dict[str, Callable[[], StoredRun]] = {
        formats.LMF: lambda: LmfRun(files),
        formats.XFEL: lambda: (
            KeyedRun(files, facility)
            if facility is not None and facility.keys is not None
            else XfelRun(files, facility)
        ),
        formats.FLASH: lambda: FlashRun(files, facility),
        formats.ROOT_EDGES: lambda: RootEdgesRun(files, edge_columns),
        formats.ROOT_RUN: lambda: open_root_run(files, columns),
    }
    if kind in openers:
        return openers[kind]()
    if kind == formats.HDF5_RUN:
        opened = [open_hdf5_table(path, columns, edge_columns) for path in files]
        return open_layouts([table for table, _ in opened], columns, [of for _, of in opened])
    tables = [open_table(path, kind, columns, edge_columns) for path in files]
    layouts = [layout_of(table, columns, edge_columns) for table in tables]
    return open_layouts(tables, columns, layouts)


def _unused(
    run: StoredRun,
    kind: str,
    columns: Columns | None,
    edge_columns: EdgeColumns | None,
    facility: Facility | None,
) -> str:
    """What of the setup says how to read a run and is not used by this one."""
    at_facility = kind in {formats.XFEL, formats.FLASH}
    idle = []
    if columns is not None and run.layout != "columns":
        idle.append("`columns`")
    if edge_columns is not None and run.layout != "edge-columns":
        idle.append("`edge_columns`")
    if facility is not None and facility != Facility() and not at_facility:
        idle.append("`facility`")
    if not idle:
        return ""
    held = "edges" if run.edges else "hits"
    verb = "is" if len(idle) == 1 else "are"
    return (
        f"{' and '.join(idle)} of the setup {verb} not used for these {held} "
        f"({formats.NAMES[kind]})"
    )


def _require_run(path: Path, kind: str) -> None:
    if kind in formats.RUNS:
        return
    do = {
        formats.EVENTS: "It is reduced already: go on with molexa align.",
        formats.TRUTH: "Give the run that it belongs to.",
        formats.ROOT_RESULT: "Give the ROOT file with the hits that LMF2Root wrote beside it.",
    }.get(kind, "Name its columns in `columns` of the setup.")
    more = ""
    if kind == formats.HDF5:
        held = formats.describe_hdf5(path)
        more = (
            "; looked for INDEX and INSTRUMENT (European XFEL), DLD*/value (FLASH), and datasets "
            f"x, y, t; it holds: {listing([*held['groups'], *held['datasets']])}"
        )
        try:
            open_hdf5_table(path)
        except NoHitsError as error:
            more, do = f"{more}; {error.what}", error.do or do
    raise InputFileError(f"a {formats.NAMES[kind]} is not a run{more}", where=path, do=do)
