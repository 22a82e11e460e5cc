"""Run formats of tables in HDF5, Parquet, Arrow, numpy and text, and of raw records."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from molexa_core.base.errors import InputFileError
from molexa_core.io import marks
from molexa_core.io.run_format import Places, RunFormat, Turn, Writer

if TYPE_CHECKING:
    import h5py

    from molexa_core.base.tables import Hits
    from molexa_core.io.candidate import Candidate, HowToRead
    from molexa_core.io.stored_run import StoredRun
    from molexa_core.io.tables.guess import Choice
    from molexa_core.io.tables.interface import Table

RAW_RECORDS: Final = (
    "Raw records without a header are described by `columns: {record: {fields: {x: float32, "
    "...}}}` in the setup (docs/formats.md)."
)


def _opened(tables: Sequence[Table], how: HowToRead) -> StoredRun:
    """The run in tables whose layouts are not known yet."""
    from molexa_core.io.tables.edge_rows import layout_of, open_layouts  # noqa: PLC0415

    layouts = [layout_of(table, how.columns, how.edge_columns) for table in tables]
    return open_layouts(tables, how.columns, layouts)


def _open_known(found: Sequence[tuple[Table, Choice]], how: HowToRead) -> StoredRun:
    from molexa_core.io.tables.edge_rows import open_layouts  # noqa: PLC0415

    tables, layouts = [table for table, _ in found], [layout for _, layout in found]
    return open_layouts(tables, how.columns, layouts)


def _marked(mark: bytes) -> Callable[[Candidate], Path | None]:
    return lambda file: file.path if file.head.startswith(mark) else None


def hdf5_of_molexa(file: Candidate) -> h5py.File | None:
    """An HDF5 file open for a look at its names, if it is a run that molexa wrote."""
    if not file.head.startswith(marks.HDF5):
        return None
    from molexa_core.io.hdf5.file import open_unsealed, reading_hdf5  # noqa: PLC0415
    from molexa_core.io.tables.hdf5_table import METADATA_KEY  # noqa: PLC0415

    handle = file.opened(open_unsealed)
    with reading_hdf5(file.path):
        return handle if METADATA_KEY in handle.attrs else None


def _written_hdf5(file: Candidate) -> str | None:
    handle = hdf5_of_molexa(file)
    return None if handle is None or "INDEX" in handle else "hdf5"


def _written_parquet(file: Candidate) -> str | None:
    if not file.head.startswith(marks.PARQUET):
        return None
    from molexa_core.io.tables.parquet_table import METADATA_KEY, arrow  # noqa: PLC0415

    pa, parquet = arrow()
    try:
        metadata = parquet.read_schema(file.path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return "parquet" if METADATA_KEY in metadata else None


def _written_text(file: Candidate) -> str | None:
    begin = file.head.removeprefix(codecs.BOM_UTF8).lstrip()
    return "csv" if begin.startswith(f"{marks.METADATA_LINE}{{".encode()) else None


def _probe_hdf5(file: Candidate) -> tuple[Table, Choice] | None:
    if not file.head.startswith(marks.HDF5):
        return None
    from molexa_core.io.hdf5.file import open_handle  # noqa: PLC0415
    from molexa_core.io.tables.guess import NoHitsError  # noqa: PLC0415
    from molexa_core.io.tables.hdf5_table import open_hdf5_table  # noqa: PLC0415

    handle = file.opened(open_handle)
    try:
        return open_hdf5_table(file.path, file.how.columns, file.how.edge_columns, handle)
    except NoHitsError:
        return None


def _open_parquet(paths: Sequence[Path], how: HowToRead) -> StoredRun:
    from molexa_core.io.tables.parquet_table import ParquetTable  # noqa: PLC0415

    return _opened([ParquetTable(path) for path in paths], how)


def _probe_arrow(file: Candidate) -> Path | None:
    if file.head.startswith(marks.FEATHER_1):
        from molexa_core.io.tables.arrow_table import refuse_feather_1  # noqa: PLC0415

        refuse_feather_1(file.path)
    return file.path if file.head.startswith((marks.ARROW_FILE, marks.ARROW_STREAM)) else None


def _open_arrow(paths: Sequence[Path], how: HowToRead) -> StoredRun:
    from molexa_core.io.tables.arrow_table import ArrowTable  # noqa: PLC0415

    return _opened([ArrowTable(path) for path in paths], how)


def _open_npy(paths: Sequence[Path], how: HowToRead) -> StoredRun:
    from molexa_core.io.tables.npy_table import NpyTable  # noqa: PLC0415

    return _opened([NpyTable(path) for path in paths], how)


def _probe_records(file: Candidate) -> Path | None:
    columns = file.how.columns
    return None if columns is None or columns.record is None else file.path


def _open_records(paths: Sequence[Path], how: HowToRead) -> StoredRun:
    from molexa_core.io.tables.record_table import RecordTable  # noqa: PLC0415

    if how.columns is None or how.columns.record is None:
        raise InputFileError("raw records are not described", where=paths[0], do=RAW_RECORDS)
    return _opened([RecordTable(path, how.columns.record) for path in paths], how)


def _probe_text(file: Candidate) -> tuple[Table, Choice] | None:
    from molexa_core.io.tables.edge_rows import layout_of  # noqa: PLC0415
    from molexa_core.io.tables.guess import NoHitsError  # noqa: PLC0415
    from molexa_core.io.tables.text_head import NoNumbersError  # noqa: PLC0415
    from molexa_core.io.tables.text_table import TextTable  # noqa: PLC0415
    from molexa_core.io.text_lines import is_text  # noqa: PLC0415

    if _probe_records(file) is not None or not is_text(_unpacked(file)):
        return None
    columns, edges = file.how.columns, file.how.edge_columns
    named: set[str] = set()
    if columns is not None:
        named |= {columns.x, columns.y, columns.time, *columns.shots}
    if edges is not None:
        named |= {edges.channel, edges.time, *edges.shots}
    try:
        table = TextTable(file.path, named)
        return table, layout_of(table, columns, edges)
    except (NoHitsError, NoNumbersError) as error:
        file.nearly = error
        return None


def _unpacked(file: Candidate) -> bytes:
    """The first bytes of a file, or of what is packed in it with gzip."""
    if not file.head.startswith(marks.GZIP):
        return file.head
    from molexa_core.io.text_lines import open_text  # noqa: PLC0415

    try:
        with open_text(file.path) as stream:
            return stream.read(len(file.head))
    except (OSError, EOFError, zlib.error) as error:
        raise InputFileError(
            f"the packed file is damaged or truncated ({error})",
            where=file.path,
            do="Copy it again.",
        ) from error


def _hdf5(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.run_write import write_hdf5_run  # noqa: PLC0415

    del places
    write_hdf5_run(path, chunks, meta=meta)


def _parquet(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.run_write import write_parquet_run  # noqa: PLC0415

    del places
    write_parquet_run(path, chunks, meta=meta)


def _csv(path: Path, chunks: Iterable[Hits], places: Places, meta: Mapping[str, Any]) -> None:
    from molexa_core.io.run_write import write_csv_run  # noqa: PLC0415

    del places
    write_csv_run(path, chunks, meta=meta)


def _without_empty_shots(tags: Collection[str]) -> list[str]:
    del tags
    return ["shots without hits, but for their numbers, and their values"]


HDF5_RUN: Final = RunFormat(
    name="hdf5-run",
    words="HDF5 run",
    sought=("HDF5", "tables"),
    probe=_probe_hdf5,
    turn=Turn.COLUMNS,
    open=_open_known,
    written=_written_hdf5,
    suffixes=(".h5", ".hdf5"),
    in_folders=True,
    hits=(Writer(name="hdf5", write=_hdf5, suffixes=(".h5", ".hdf5")),),
)
PARQUET: Final = RunFormat(
    name="parquet",
    words="Parquet run",
    sought=("Parquet",),
    probe=_marked(marks.PARQUET),
    open=_open_parquet,
    written=_written_parquet,
    suffixes=(".parquet",),
    in_folders=True,
    hits=(Writer(name="parquet", write=_parquet, suffixes=(".parquet",)),),
)
TEXT: Final = RunFormat(
    name="text",
    words="run as a table of text",
    sought=("tables of text with columns for shot, x, y and t",),
    probe=_probe_text,
    turn=Turn.REST,
    open=_open_known,
    written=_written_text,
    suffixes=(".csv", ".txt", ".dat"),
    hits=(Writer(name="csv", write=_csv, suffixes=(".csv", ".txt"), unheld=_without_empty_shots),),
)
NPY: Final = RunFormat(
    name="npy",
    words="run as an array of numpy",
    sought=("numpy",),
    probe=_marked(marks.NPY),
    open=_open_npy,
    suffixes=(".npy",),
)
ARROW: Final = RunFormat(
    name="arrow",
    words="Arrow run (Feather)",
    sought=("Arrow",),
    probe=_probe_arrow,
    open=_open_arrow,
)
RECORDS: Final = RunFormat(
    name="records",
    words="run of raw records",
    probe=_probe_records,
    turn=Turn.REST,
    open=_open_records,
)
