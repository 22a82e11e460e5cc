"""Opening of runs in any known format, recognised by content; reading in chunks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.settings.columns import Columns, EdgeColumns, Facility
from molexa_core.base.tables import Hits
from molexa_core.io import formats
from molexa_core.io.candidate import HowToRead
from molexa_core.io.formats import Found, hit_writers, recognise, suffixes_in_folders
from molexa_core.io.results.inspected import HDF5, describe_hdf5
from molexa_core.io.run_format import Places, RunFormat
from molexa_core.io.stored_run import StoredRun

_GLOB: Final = re.compile(r"[*?\[]")


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
        if path.is_file() and path.suffix.lower() in suffixes_in_folders():
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
    how = HowToRead(columns, edge_columns, facility)
    files = find_files(paths)
    with ExitStack() as opened:
        found = []
        for path in files:
            found.append(recognise(path, how))
            opened.enter_context(found[-1].file)
        run = open_found(found)
    run.with_method = with_method
    return run


def open_found(found: Sequence[Found]) -> StoredRun:
    """The run in files whose format is known already; it keeps open what was opened.

    Args:
        found: one for each file, in order; all were asked for with one setup.

    Raises:
        InputFileError, ColumnError: see `open_stored_run`.
    """
    first = found[0]
    for one in found:
        require_run(one)
        if one.format != first.format:
            raise InputFileError(
                f"this is a {one.format.words}, but {first.file.path} is a {first.format.words}",
                where=one.file.path,
                do="Give files of one format.",
            )
    how = first.file.how
    run_format = require_run(first)
    run = run_format.open([one.held for one in found], how)
    unused = _unused(run, run_format, how)
    if unused:
        run.choice = f"{run.choice}; {unused}"
    for one in found:
        one.file.keep()
    return run


def write_hits(
    path: Path | str,
    chunks: Iterable[Hits],
    layout: str,
    *,
    slots: int = 16,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a run in one of the formats that hold hits; the file appears when it is complete.

    Args:
        path: the file.
        chunks: consecutive shots with the same tags.
        layout: the format, one of `formats.hit_writers()`.
        slots: most hits per shot of formats with a fixed number (`root`, `xfel`).
        meta: plain values that travel with the run.

    Raises:
        OutputError: the file cannot be written there.
        UsageError: an unknown format, or a shot with more hits than slots.
    """
    writers = hit_writers()
    if layout not in writers:
        raise UsageError(f"unknown format {layout!r}", do=f"Use {', '.join(writers)}.")
    writers[layout].write(Path(path), chunks, Places(slots=slots), meta or {})


def _unused(run: StoredRun, run_format: RunFormat[Any], how: HowToRead) -> str:
    """What of the setup says how to read a run and is not used by this one."""
    idle = []
    if how.columns is not None and run.layout != "columns":
        idle.append("`columns`")
    if how.edge_columns is not None and run.layout != "edge-columns":
        idle.append("`edge_columns`")
    if how.facility is not None and how.facility != Facility() and not run_format.at_facility:
        idle.append("`facility`")
    if not idle:
        return ""
    held = "edges" if run.edges else "hits"
    verb = "is" if len(idle) == 1 else "are"
    return (
        f"{' and '.join(idle)} of the setup {verb} not used for these {held} ({run_format.words})"
    )


def require_run(found: Found) -> RunFormat[Any]:
    """The format of a file of a run.

    Raises:
        InputFileError: it is another kind of file; says what to do with that.
    """
    run_format = next((run for run in formats.RUNS if run == found.format), None)
    if run_format is not None:
        return run_format
    file, do, more = found.file, found.format.do, ""
    if found.format == HDF5:
        held = describe_hdf5(file, HDF5.name)
        more = (
            "; looked for INDEX and INSTRUMENT (European XFEL), DLD*/value (FLASH), and datasets "
            f"x, y, t; it holds: {listing([*held['groups'], *held['datasets']])}"
        )
        from molexa_core.io.hdf5.file import open_handle  # noqa: PLC0415
        from molexa_core.io.tables.guess import NoHitsError  # noqa: PLC0415
        from molexa_core.io.tables.hdf5_table import open_hdf5_table  # noqa: PLC0415

        try:
            open_hdf5_table(file.path, file=file.opened(open_handle))
        except NoHitsError as error:
            more, do = f"{more}; {error.what}", error.do or do
    raise InputFileError(f"{found.format.words}, not a run{more}", where=file.path, do=do)
