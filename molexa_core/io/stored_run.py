"""Interface of a run as stored in its files, the same for every format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.tables import Edges, Hits

Fact = tuple[str, str | int | float, str]
"""Quantity, value, unit."""


@dataclass(frozen=True)
class Rewritten:
    """Result of a conversion of a whole run to another format of the same family.

    Attributes:
        shots, hits: numbers written.
        lost: what the other format has no place for, as sentences.
    """

    shots: int
    hits: int
    lost: list[str]


class StoredRun(ABC):
    """A run in files of one format, which can be read repeatedly in chunks.

    A reader defines `__iter__` and sets the first four attributes; the rest has defaults.

    Attributes:
        paths: the files in order.
        layout: name of the layout.
        choice: why this layout, as a sentence.
        n_shots: shots in all files; None where only reading would tell.
        edges: whether it holds `Edges`; otherwise it holds `Hits`.
        with_method: whether to read the resort method of each hit where that costs time (0
            otherwise).
        rewrites: names of formats that `rewrite` writes.
        anywhere: whether shots can be read from any place on without those before (`between`).
        indexable: whether `make_index` makes that possible.
    """

    paths: tuple[Path, ...]
    layout: str
    choice: str
    n_shots: int | None = None
    edges: bool = False
    with_method: bool = False
    rewrites: frozenset[str] = frozenset()
    anywhere: bool = False
    indexable: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[Hits | Edges]:
        """The chunks of all shots in order."""

    @property
    def remarks(self) -> list[str]:
        """Remarks for the user; complete after reading."""
        return []

    @property
    def warnings(self) -> list[str]:
        """Reasons why results from the run may be wrong; complete after reading."""
        return []

    def metadata(self) -> dict[str, Any]:
        """Metadata stored by molexa with the run (virtual runs); may be empty."""
        return {}

    def unread(self) -> list[str]:
        """Columns that are neither hits nor values per shot."""
        return []

    def facts(self) -> list[Fact]:
        """Further information from the files, for display."""
        return []

    def between(self, first: int, last: int) -> Iterator[Hits | Edges]:
        """The chunks of the shots from `first` to before `last`, counted over all files."""
        for chunk in self:
            start, stop = max(first - chunk.first_shot, 0), last - chunk.first_shot
            if start < chunk.n_shots and stop > 0:
                yield chunk.shots(start, min(stop, chunk.n_shots))
            if stop <= chunk.n_shots:
                return

    def make_index(self, advance: Callable[[int], None]) -> None:
        """Look through the files once for places from which shots can be read.

        `anywhere` holds and `n_shots` is known afterwards, and warnings and remarks are those of
        the whole run.

        Args:
            advance: told how many more bytes were looked through.

        Raises:
            InputFileError: a file cannot be read.
        """
        raise NotImplementedError(f"{self.layout} has no index: {advance}")

    def index(self) -> dict[str, Any]:
        """What `make_index` found, as plain values for other processes; empty without."""
        return {}

    def take_index(self, values: Mapping[str, Any]) -> None:
        """Use what `index` gave for the same files, in place of `make_index`."""
        if values:
            raise NotImplementedError(f"{self.layout} has no index")

    def reading(self) -> dict[str, Any]:
        """Counts of the last reading, of which remarks and warnings are made, as plain values."""
        return {}

    def forget_reading(self) -> None:
        """Begin with counts of nothing, for `add_reading`."""
        return

    def add_reading(self, counts: Mapping[str, Any]) -> None:
        """Add the counts of another reading, of the shots that follow."""
        del counts

    def hits(self, chunks: Iterable[Hits | Edges] | None = None) -> Iterator[Hits]:
        """The chunks of a run of hits, or those given (`between`)."""
        for chunk in self if chunks is None else chunks:
            if isinstance(chunk, Edges):
                raise TypeError(f"{self.layout} holds edges")
            yield chunk

    def signals(self, chunks: Iterable[Hits | Edges] | None = None) -> Iterator[Edges]:
        """The chunks of a run of edges, or those given (`between`)."""
        for chunk in self if chunks is None else chunks:
            if isinstance(chunk, Hits):
                raise TypeError(f"{self.layout} holds hits")
            yield chunk

    def rewrite(self, out: Path, name: str, advance: Callable[[int], None]) -> Rewritten:
        """Write the run with all that only its own family of formats holds.

        Args:
            out: the file to write.
            name: one of `rewrites`.
            advance: told how many more shots are done.

        Raises:
            OutputError: the file cannot be written there.
        """
        raise NotImplementedError(f"{self.layout} has no way to {name}: {out}, {advance}")
