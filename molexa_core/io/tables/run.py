"""Reader for runs in tables of any format, in chunks of shots."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, MolexaError, UsageError, listing
from molexa_core.base.settings.columns import Columns
from molexa_core.base.tables import Hits
from molexa_core.io.stored_run import StoredRun
from molexa_core.io.tables.guess import Choice, choose, tags_of
from molexa_core.io.tables.hit_rows import RowIndex, RowPlace, read_hits
from molexa_core.io.tables.interface import LimitedTable, MarkedTable, Table, require_kind
from molexa_core.io.tables.part import Part, Tally
from molexa_core.io.tables.shot_numbers import questions
from molexa_core.io.tables.slots import checked_slots, needed


class TableRun(StoredRun):
    """A run in tables of one or several files, which can be read repeatedly.

    Iterating over it gives `Hits`, chunk by chunk, in a size that keeps memory low.

    Attributes:
        paths: the files in order.
        layout: name of the preset, `columns` for a layout from the setup, or `jagged`, `flat`,
            `rows` if found from the names of the columns.
        choice: why this layout, as a sentence.
        n_shots: shots in all files; None where only reading would tell.
        with_method: whether to read the resort method of each hit (0 otherwise).
        edges: whether it gives `Edges`: no.
        remarks: what the user should know.
        warnings: why what is made of the run may be wrong.
    """

    def __init__(self, parts: Sequence[Part], choice: Choice, metadata: dict[str, Any]) -> None:
        self._parts = tuple(parts)
        self._metadata = metadata
        self.layout = choice.name
        self.choice = choice.why
        self.paths = tuple(part.path for part in self._parts)
        known = [part.n_shots for part in self._parts]
        self.n_shots = None if None in known else sum(n for n in known if n is not None)
        self._doubts: list[str] = []
        self._tally = Tally()
        self._index: list[RowIndex] = []
        self._indexed = Tally()

    @property
    def remarks(self) -> list[str]:
        """What was met in the last reading."""
        return self._tally.remarks()

    @property
    def warnings(self) -> list[str]:
        """What the columns and the last reading leave in doubt."""
        return [*self._doubts, *self._tally.warnings()]

    def doubt(self, warnings: Sequence[str]) -> None:
        """Add warnings that hold whatever is read."""
        self._doubts += warnings

    @property
    def columns(self) -> Columns:
        """The layout of the first file."""
        return self._parts[0].columns

    def unread(self) -> list[str]:
        """Columns of the first file that are neither hits nor tags."""
        part = self._parts[0]
        read = set(needed(part, with_method=True))
        if self.layout == "lmf2root":  # the time of the plate is the time of flight in another way
            read |= {name for name in part.table.kinds if re.fullmatch(r"r\d+mcp", name)}
        return [name for name in part.table.kinds if name not in read]

    def metadata(self) -> dict[str, Any]:
        """What the first file knows about itself (virtual runs: setup, channel); may be empty."""
        return dict(self._metadata)

    def __iter__(self) -> Iterator[Hits]:
        return self.iterate(with_method=self.with_method)

    @property
    def anywhere(self) -> bool:  # type: ignore[override]
        """Whether shots can be read from any place on."""
        return self.n_shots is not None and self._limited

    @property
    def _limited(self) -> bool:
        return all(isinstance(part.table, LimitedTable) for part in self._parts)

    @property
    def indexable(self) -> bool:  # type: ignore[override]
        """Whether the rows, one for each hit, can be read from any of them on."""
        sought = all(not isinstance(x.table, MarkedTable) or x.table.seekable for x in self._parts)
        rows = all(part.columns.layout == "rows" for part in self._parts)
        return self._limited and rows and sought

    def make_index(self, advance: Callable[[int], None]) -> None:
        """See `StoredRun.make_index`."""
        first_shot, index = 0, []
        self._tally = Tally()
        for part in self._parts:
            placed = replace(part, first_shot=first_shot, tally=self._tally)
            n_rows = part.table.n_rows
            row_bytes = 0.0 if n_rows is None else part.path.stat().st_size / max(n_rows, 1)
            try:
                of_part = RowIndex.of(placed, _in_bytes(advance, row_bytes))
            except (MolexaError, KeyboardInterrupt):
                raise
            except Exception as error:
                raise damaged(part.path, error) from error
            of_part = of_part or RowIndex(first_shot, first_shot, (RowPlace(),))
            first_shot = of_part.end
            index.append(of_part)
        self._indexed = self._tally
        self._use(index)

    def index(self) -> dict[str, Any]:
        """See `StoredRun.index`."""
        return {"parts": [list(astuple(one)) for one in self._index]} if self._index else {}

    def take_index(self, values: Mapping[str, Any]) -> None:
        """See `StoredRun.take_index`."""
        if values:
            self._use(
                [
                    RowIndex(
                        first,
                        end,
                        tuple(RowPlace(*place) for place in places),
                        None if pulses is None else tuple(pulses),
                        tuple((byte, line, row) for byte, line, row in marks),
                    )
                    for first, end, places, pulses, marks in values["parts"]
                ]
            )

    def _use(self, index: list[RowIndex]) -> None:
        self._index = index
        self.n_shots = sum(one.end - one.first for one in index)

    def _from_places(self, first: int, last: int) -> Iterator[Hits]:
        """As `between`, by the index; what is counted of the hits is known already."""
        shots = first_shot = 0
        for part, index in zip(self._parts, self._index, strict=True):
            begin, shots = shots, shots + index.end - index.first
            low, high = max(first, begin), min(last, shots)
            placed = replace(part, first_shot=first_shot, tally=Tally())
            first_shot = index.end
            if low < high:
                shift = index.first - begin
                yield from _of_sound_file(
                    part.path,
                    index.between(
                        placed, low + shift, high + shift, None, with_method=self.with_method
                    ),
                )

    def between(self, first: int, last: int) -> Iterator[Hits]:
        """See `StoredRun.between`."""
        if not self.anywhere:
            yield from super().between(first, last)  # type: ignore[misc]
            return
        if self._index:
            yield from self._from_places(first, last)
            return
        first_shot = 0
        self._tally = Tally()
        for part in self._parts:
            begin, first_shot = first_shot, first_shot + (part.n_shots or 0)
            rows = max(first - begin, 0), min(last, first_shot) - begin
            if rows[0] >= rows[1] or not isinstance(part.table, LimitedTable):
                continue
            limited = part.table.limited(*rows)
            placed = replace(part, table=limited, first_shot=begin, tally=self._tally)
            yield from _guarded(placed, None, with_method=self.with_method)

    def reading(self) -> dict[str, Any]:
        """See `StoredRun.reading`."""
        return Tally().as_values() if self._index else self._tally.as_values()

    def forget_reading(self) -> None:
        """See `StoredRun.forget_reading`; with an index, what is counted of all is known."""
        self._tally = Tally()
        self._tally.add(self._indexed.as_values())

    def add_reading(self, counts: Mapping[str, Any]) -> None:
        """See `StoredRun.add_reading`."""
        self._tally.add(counts)

    def iterate(
        self, chunk_shots: int | None = None, *, with_method: bool = False
    ) -> Iterator[Hits]:
        """The hits of all shots in order.

        Args:
            chunk_shots: shots (rows, where a row is a hit) per chunk; chosen by the size of a row
                where not given.
            with_method: also read the resort method of each hit (0 otherwise).

        Raises:
            InputFileError: a file is damaged or says something impossible.
        """
        if chunk_shots is not None and chunk_shots < 1:
            raise UsageError(f"chunk_shots is {chunk_shots}", do="Use 1 or more.")
        first_shot = 0
        self._tally = Tally()
        for part in self._parts:
            placed = replace(part, first_shot=first_shot, tally=self._tally)
            for hits in _guarded(placed, chunk_shots, with_method=with_method):
                first_shot = hits.first_shot + hits.n_shots
                yield hits


def _in_bytes(advance: Callable[[int], None], row_bytes: float) -> Callable[[int], None]:
    """What is told of rows, and tells their bytes."""
    return lambda rows: advance(round(rows * row_bytes))


def _guarded(part: Part, rows: int | None, *, with_method: bool) -> Iterator[Hits]:
    """The hits of a file, see `_of_sound_file`."""
    return _of_sound_file(part.path, read_hits(part, rows, with_method=with_method))


def _of_sound_file(path: Path, chunks: Iterator[Hits]) -> Iterator[Hits]:
    """Convert all exceptions of a reader for a damaged file into one clear error."""
    while True:
        try:
            hits = next(chunks, None)
        except (MolexaError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise damaged(path, error) from error
        if hits is None:
            return
        yield hits


def damaged(path: Path, error: Exception) -> InputFileError:
    """The error that stands for whatever a library says about a damaged file."""
    detail = " ".join(str(error).split())[:160] or type(error).__name__
    return InputFileError(
        f"the file is damaged or truncated ({detail})", where=path, do="Copy it again."
    )


def open_tables(
    tables: Sequence[Table],
    columns: Columns | None,
    choices: Sequence[Choice] | None = None,
) -> TableRun:
    """One run of tables, in the order given.

    Args:
        tables: one per file.
        columns: layout from the setup; found from the names of the columns if not given.
        choices: the layouts, where they are known already.

    Raises:
        InputFileError: another layout than the first, or no shots in all.
        ColumnError: a column is missing or of the wrong type.
    """
    parts: list[Part] = []
    chosen: list[Choice] = []
    for number, table in enumerate(tables):
        choice = choices[number] if choices is not None else choose(table, columns)
        slots = checked_slots(table, choice.columns)
        tags = tags_of(table, choice.columns)
        require_kind(table, tags, "number")
        parts.append(Part(table, choice.columns, slots, tags, edges=choice.edges))
        chosen.append(choice)
        if choice.name != chosen[0].name:
            raise InputFileError(
                f"the layout is {choice.name}, but that of {parts[0].path} is {chosen[0].name}",
                where=table.path,
                do="Reduce files of different layouts one by one.",
            )
    if all(table.n_rows == 0 for table in tables):
        raise InputFileError(
            "there are no shots in the run",
            where=listing([table.path for table in tables], limit=3),
            do=f"{tables[0].label} is empty; check how the run was written.",
        )
    common = set(parts[0].tags).intersection(*(part.tags for part in parts))
    every, parts = (
        parts,
        [replace(part, tags=tuple(name for name in part.tags if name in common)) for part in parts],
    )
    run = TableRun(parts, chosen[0], tables[0].metadata())
    run.doubt(_of_other_setups(tables))
    run.doubt(_left_out([(part.path, part.tags) for part in every], common))
    if columns is None:
        run.doubt(getattr(tables[0], "doubts", []))
    run.doubt(questions(tables[0], chosen[0]))
    return run


def _left_out(files: Sequence[tuple[Path, Sequence[str]]], common: Collection[str]) -> list[str]:
    """A sentence if some of the files have values per shot that others lack."""
    names = dict.fromkeys(name for _, tags in files for name in tags if name not in common)
    if not names:
        return []
    lacking = [path for path, tags in files if any(name not in tags for name in names)]
    left_out = listing(name.rpartition("/")[2] for name in names)
    one, alone = len(names) == 1, len(lacking) == 1
    text = (
        f"{left_out} {'is' if one else 'are'} left out for all files, since "
        f"{listing(lacking, limit=3)} {'lacks' if alone else 'lack'} "
        f"{'it' if one else 'some of them'}: nothing can be chosen by {'it' if one else 'them'}, "
        "and shots are mixed as if alike; reduce such files apart from the others"
    )
    return [text]


_OF_THE_SAMPLE: Final = ("name", "virtual", "explosion", "detection_efficiency")
"""Blocks of a setup that say nothing on how hits are read."""


def _of_other_setups(tables: Sequence[Table]) -> list[str]:
    """A sentence if files say that they were taken with different setups."""
    told = []
    for table in tables:
        setup = table.metadata().get("setup")
        if isinstance(setup, Mapping):
            told.append((table.path, {k: v for k, v in setup.items() if k not in _OF_THE_SAMPLE}))
    other = [path for path, setup in told if setup != told[0][1]]
    if not other:
        return []
    text = (
        f"{listing(other, limit=3)} {'was' if len(other) == 1 else 'were'} taken with another "
        f"setup than {told[0][0]}: all are read with one; reduce them apart, each with its own"
    )
    return [text]
