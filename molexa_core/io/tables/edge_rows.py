"""Reader for edges in tables of any format: TDC channel and time, in lists or in rows.

Edges are read like hits with the TDC channel in place of a position, so that faults are reported
as for tables of hits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.settings.columns import Columns, EdgeColumns
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.stored_run import StoredRun
from molexa_core.io.tables.column_names import apart
from molexa_core.io.tables.guess import Choice, NoHitsError, choose, shot_column
from molexa_core.io.tables.interface import Table, require_columns
from molexa_core.io.tables.run import TableRun, open_tables
from molexa_core.io.tables.units_of_columns import in_units

MOST_CHANNELS: Final = 256
_CHANNEL: Final = re.compile(
    r"(?P<prefix>(?:.*[._/ ])?)(?:channel|chan|ch|input)(?:[_ ]?(?:id|nr|no|num|number|index))?",
    re.IGNORECASE,
)


class EdgesRun(StoredRun):
    """A run in tables of edges, which can be read repeatedly; iterating gives `Edges`.

    Args:
        found: the tables and their layouts, in the order of the files.

    Attributes:
        paths, layout, choice, n_shots, remarks, warnings: as in `StoredRun`.

    Raises:
        InputFileError: the files have different layouts, or no shots in all.
        ColumnError: a column is missing or of the wrong type.
    """

    edges = True

    def __init__(self, found: Sequence[tuple[Table, Choice]]) -> None:
        self._run = open_tables(
            [table for table, _ in found], None, [choice for _, choice in found]
        )
        self.layout, self.choice = self._run.layout, self._run.choice
        self.paths: tuple[Path, ...] = self._run.paths
        self.n_shots = self._run.n_shots
        self._not_numbers = 0

    @property
    def remarks(self) -> list[str]:
        """What was wrong in the last reading."""
        found = list(self._run.remarks)
        if self._not_numbers:
            found.append(f"left out {self._not_numbers} edges whose time is not a number")
        return found

    @property
    def warnings(self) -> list[str]:
        """Why what is made of the run may be wrong."""
        return list(self._run.warnings)

    def metadata(self) -> dict[str, Any]:
        """What molexa stored in the first file (virtual runs); may be empty."""
        return self._run.metadata()

    def __iter__(self) -> Iterator[Edges]:
        self._not_numbers = 0
        for chunk in self._run:
            yield self._edges(chunk)

    @property
    def anywhere(self) -> bool:  # type: ignore[override]
        """Whether shots can be read from any place on."""
        return self._run.anywhere

    def between(self, first: int, last: int) -> Iterator[Edges]:
        """See `StoredRun.between`."""
        self._not_numbers = 0
        for chunk in self._run.between(first, last):
            yield self._edges(chunk)

    def reading(self) -> dict[str, Any]:
        """See `StoredRun.reading`."""
        return {**self._run.reading(), "not_numbers": self._not_numbers}

    def forget_reading(self) -> None:
        """See `StoredRun.forget_reading`."""
        self._run.forget_reading()
        self._not_numbers = 0

    def add_reading(self, counts: Mapping[str, Any]) -> None:
        """See `StoredRun.add_reading`."""
        self._run.add_reading(counts)
        self._not_numbers += counts["not_numbers"]

    def _edges(self, chunk: Hits) -> Edges:
        """In each shot by channel, in each channel by time."""
        channel, times = chunk.x_mm, chunk.t_ns
        bad = ~((channel >= 0) & (channel < MOST_CHANNELS) & (channel == np.floor(channel)))
        if bad.any():
            edge = int(np.argmax(bad))
            raise InputFileError(
                f"column {self._run.columns.x!r} says channel {channel[edge]:g} in shot "
                f"{chunk.shot[edge]}, and channels are 0 to {MOST_CHANNELS - 1}",
                where=listing(self.paths, limit=3),
                do="The run is damaged, or `edge_columns` of the setup names the wrong column.",
            )
        edges = Edges(chunk.first_shot, chunk.offsets, channel.astype(np.int16), times, chunk.tags)
        good = np.isfinite(times)
        if not good.all():
            self._not_numbers += int((~good).sum())
            edges = edges.select(good)
        key = edges.shot * MOST_CHANNELS + edges.channel
        step = np.diff(key)
        if ((step < 0) | ((step == 0) & (np.diff(edges.t_ns) < 0))).any():
            order = np.lexsort((edges.t_ns, key))
            edges = replace(edges, channel=edges.channel[order], t_ns=edges.t_ns[order])
        return edges


def edge_layout(table: Table, given: EdgeColumns | None, name: str) -> Choice | None:
    """The layout of a table of edges; None if no columns have names of edges.

    Args:
        table: the table.
        given: `edge_columns` of the setup, if they are meant for it.
        name: name of the layout where the names tell it.

    Raises:
        InputFileError: several columns can be the same.
    """
    if given is not None:
        return known_edges(
            table, given, "edge-columns", f"{table.label}: `edge_columns` of the setup"
        )
    columns = _told(table)
    if columns is None:
        return None
    rows = "lists"
    if columns.shot is not None:
        rows = f"rows, shots in {' and '.join(repr(shot) for shot in columns.shots)}"
    why = (
        f"{table.label}: edges with channel from {columns.channel!r}, time from "
        f"{columns.time!r} by their names ({rows})"
    )
    return known_edges(table, columns, name, why)


def known_edges(table: Table, columns: EdgeColumns, name: str, why: str) -> Choice:
    """The layout of edges in these columns, with the unit of their time."""
    fixed = "molexa" in why
    return in_units(table, Choice(name, _as_hits(columns), why, edges=True), fixed=fixed)


def _told(table: Table) -> EdgeColumns | None:
    """The columns with channel and time, found by their names, which begin alike."""
    kinds = table.kinds
    found: list[EdgeColumns] = []
    for channel, kind in kinds.items():
        match = _CHANNEL.fullmatch(channel)
        if match is None or kind.held == "other":
            continue
        folder, _, before = match["prefix"].rpartition("/")
        prefix = f"{folder}/{before.lower()}"
        shot: tuple[str, ...] | None = None
        if kind.held == "number":
            shot, doubts, _ = shot_column(kinds, channel)
            if shot is None:
                continue
            if doubts:
                raise _question(table, doubts[0])
        parts = [apart(name) for name, of in kinds.items() if of.held == kind.held]
        times = [p for p in parts if p and p.quantity == "time" and p.prefix == prefix]
        if not times:
            continue
        best = [part for part in times if part.rank == min(p.rank for p in times)]
        if len(best) > 1:
            raise _question(table, [part.written for part in best])
        one = None if shot is None else shot[0] if len(shot) == 1 else (shot[0], shot[1])
        found.append(EdgeColumns(channel=channel, time=best[0].written, shot=one))
    if len(found) > 1:
        raise _question(table, [f"{item.channel}, {item.time}" for item in found])
    return found[0] if found else None


def _question(table: Table, names: Sequence[str]) -> InputFileError:
    return InputFileError(
        f"{table.label} has several columns that can be the same of the edges: "
        f"{' or '.join(repr(name) for name in names)}",
        where=table.path,
        do="Say which in `edge_columns` of the setup.",
    )


def _as_hits(columns: EdgeColumns) -> Columns:
    """The same columns as those of hits with the channel for a position."""
    return Columns(
        layout="jagged" if columns.shot is None else "rows",
        tree=columns.tree,
        x=columns.channel,
        y=columns.channel,
        time=columns.time,
        shot=columns.shot,
        tags=columns.tags,
        time_unit_ns=columns.time_unit_ns,
    )


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
