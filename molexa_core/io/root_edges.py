"""Runs of edges as ROOT trees: the channel and the time of every edge, in lists or in rows.

A tree of edges is read as a table whose hits have a channel for a position; what is wrong in it is
then told as for trees of hits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.settings.columns import Columns, EdgeColumns
from molexa_core.base.tables import Edges, Hits
from molexa_core.io.root_file import open_root, reading, tree_names
from molexa_core.io.root_layouts import EDGES
from molexa_core.io.root_table import RootTable
from molexa_core.io.table import Kind
from molexa_core.io.table_guess import Choice, shot_column, time_unit
from molexa_core.io.table_run import open_tables

MOST_CHANNELS: Final = 256
_CHANNEL: Final = re.compile(r"(?P<prefix>(?:.*[._/])?)(?:channel|chan|ch)", re.IGNORECASE)


class RootEdgesRun:
    """A run in trees of edges, read as often as wanted; iterating gives `Edges`.

    Attributes:
        paths, layout, choice, n_shots, remarks, warnings: as in `table_run.TableRun`.

    Raises:
        InputFileError: a file is missing, not ROOT, truncated, or has no tree of edges.
        ColumnError: a column is missing or of the wrong type.
    """

    edges = True

    def __init__(self, paths: Sequence[Path | str], columns: EdgeColumns | None = None) -> None:
        if not paths:
            raise UsageError("no run given", do="Name at least one ROOT file.")
        found = []
        for path in map(Path, paths):
            file = open_root(path)
            with reading(path):
                chosen = edges_in(file, path, columns)
            if chosen is None:
                raise InputFileError(
                    f"no tree with edges; the file has the trees: {listing(tree_names(file))}",
                    where=path,
                    do="Name the columns in `edge_columns` of the setup.",
                )
            found.append(chosen)
        self._run = open_tables(
            [table for table, _ in found], None, [choice for _, choice in found]
        )
        self.layout, self.choice = self._run.layout, self._run.choice
        self.paths, self.n_shots = self._run.paths, self._run.n_shots
        self._not_numbers = 0

    @property
    def remarks(self) -> list[str]:
        """What was wrong in the last reading."""
        if not self._not_numbers:
            return []
        return [f"left out {self._not_numbers} edges whose time is not a number"]

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
        shot = np.repeat(np.arange(chunk.n_shots), np.diff(chunk.offsets))
        good = np.isfinite(times)
        offsets = chunk.offsets
        if not good.all():
            self._not_numbers += int((~good).sum())
            shot, channel, times = shot[good], channel[good], times[good]
            counts = np.bincount(shot, minlength=chunk.n_shots)
            offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        key = shot * MOST_CHANNELS + channel.astype(np.int64)
        step = np.diff(key)
        if ((step < 0) | ((step == 0) & (np.diff(times) < 0))).any():
            order = np.lexsort((times, key))
            channel, times = channel[order], times[order]
        return Edges(chunk.first_shot, offsets, channel.astype(np.int16), times, chunk.tags)


def edges_in(file: Any, path: Path, given: EdgeColumns | None) -> tuple[RootTable, Choice] | None:
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
        table = RootTable(file, given.tree or trees[0], path)
        why = f"{table.label}: `edge_columns` of the setup"
        return table, Choice("edge-columns", _as_hits(given), why)
    if EDGES.tree in trees:
        table = RootTable(file, EDGES.tree, path)
        if {EDGES.channel, EDGES.time} <= set(table.kinds):
            why = f"{table.label} is that of molexa (lists of edges)"
            return table, Choice("root-edges", _as_hits(EDGES), why)
    found = []
    for tree in trees:
        table = RootTable(file, tree, path)
        columns = _told(table)
        if columns is not None:
            rows = "lists" if columns.shot is None else f"rows, shots in {columns.shot!r}"
            why = (
                f"{table.label}: edges with channel from {columns.channel!r}, time from "
                f"{columns.time!r} by their names ({rows})"
            )
            found.append((table, Choice("root-edges", _as_hits(columns), why)))
    if len(found) > 1:
        raise InputFileError(
            f"several trees can hold the edges: {listing(table.label for table, _ in found)}",
            where=path,
            do="Say which in `edge_columns` of the setup.",
        )
    return found[0] if found else None


def _told(table: RootTable) -> EdgeColumns | None:
    """The columns with channel and time, told by their names, which begin alike."""
    kinds = table.kinds
    shot = shot_column(kinds)
    for channel in kinds:
        match = _CHANNEL.fullmatch(channel)
        held = kinds[channel].held
        if match is None or held == "other" or (held == "number" and shot is None):
            continue
        for time in kinds:
            unit = _unit(time, match["prefix"], kinds, channel)
            if unit is not None:
                return EdgeColumns(
                    channel=channel,
                    time=time,
                    shot=shot if held == "number" else None,
                    time_unit_ns=unit,
                )
    return None


def _unit(time: str, prefix: str, kinds: Mapping[str, Kind], channel: str) -> float | None:
    """The unit in ns of a column of times that belongs to a column of channels, else None."""
    if not time.startswith(prefix) or kinds[time].held != kinds[channel].held:
        return None
    return time_unit(time.removeprefix(prefix))


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
