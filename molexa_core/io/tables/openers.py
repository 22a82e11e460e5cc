"""Tables opened by their format, and what is in them: hits or edges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from molexa_core.base.settings.columns import Columns, EdgeColumns
from molexa_core.io.tables.arrow_table import ArrowTable
from molexa_core.io.tables.edge_rows import EdgesRun, edge_layout
from molexa_core.io.tables.guess import Choice, NoHitsError, choose
from molexa_core.io.tables.interface import Table, require_columns
from molexa_core.io.tables.npy_table import NpyTable
from molexa_core.io.tables.parquet_table import ParquetTable
from molexa_core.io.tables.record_table import RecordTable
from molexa_core.io.tables.run import TableRun, open_tables
from molexa_core.io.tables.text_table import TextTable

TEXT: Final = "text"
PARQUET: Final = "parquet"
NPY: Final = "npy"
ARROW: Final = "arrow"
RECORDS: Final = "records"


def open_table(
    path: Path, kind: str, columns: Columns | None, edge_columns: EdgeColumns | None
) -> Table:
    """A file of one of the formats above as a table.

    Raises:
        InputFileError: missing or damaged.
    """
    if kind == RECORDS and columns is not None and columns.record is not None:
        return RecordTable(path, columns.record)
    if kind == PARQUET:
        return ParquetTable(path)
    if kind == ARROW:
        return ArrowTable(path)
    if kind == NPY:
        return NpyTable(path)
    return TextTable(path, _given(columns, edge_columns))


def _given(columns: Columns | None, edges: EdgeColumns | None) -> set[str]:
    """The names that the setup gives."""
    found: set[str] = set()
    if columns is not None:
        found |= {columns.x, columns.y, columns.time, *columns.shots}
    if edges is not None:
        found |= {edges.channel, edges.time, *edges.shots}
    return found


def layout_of(table: Table, columns: Columns | None, edge_columns: EdgeColumns | None) -> Choice:
    """The layout of the hits or edges in a table: as the setup says, or told by the names.

    Raises:
        NoHitsError: the names tell neither.
        InputFileError: they tell several, or units contradict each other.
    """
    if edge_columns is not None:
        wanted = [edge_columns.channel, edge_columns.time, *edge_columns.shots]
        if columns is None and edge_columns.channel in table.kinds:
            require_columns(table, wanted, setting="edge_columns")
        if set(wanted) <= set(table.kinds):
            found = edge_layout(table, edge_columns, "edge-columns")
            if found is not None:
                return found
    try:
        return choose(table, columns)
    except NoHitsError:
        found = edge_layout(table, None, "edges")
        if found is not None:
            return found
        if edge_columns is not None:
            require_columns(table, wanted, setting="edge_columns")
        raise


def open_layouts(
    tables: Sequence[Table], columns: Columns | None, choices: Sequence[Choice]
) -> TableRun | EdgesRun:
    """One run of tables whose layouts are known.

    Raises:
        InputFileError: their layouts differ, or there are no shots in all.
        ColumnError: a column is missing or of the wrong type.
    """
    if choices[0].edges:
        return EdgesRun(list(zip(tables, choices, strict=True)))
    return open_tables(tables, columns, choices)
