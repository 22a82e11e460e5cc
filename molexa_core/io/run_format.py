"""Description of a run format: its name, and functions to recognise, open and write a file.

Nothing here loads a reader: the list of formats is also that of the command line, which must start
fast. Readers and writers are imported by the functions that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from molexa_core.base.tables import Edges, Hits
    from molexa_core.io.candidate import Candidate, HowToRead
    from molexa_core.io.stored_run import StoredRun

M = TypeVar("M")
"""What recognising a file leaves for opening it."""
C = TypeVar("C", bound="Hits | Edges")
"""Chunks of a run."""


class Turn(IntEnum):
    """The order in which formats are tested for a file.

    `MARK`: it has a mark of its own. `COLUMNS`: names of columns in a container tell it.
    `CONTAINER`: a container in which no run was found. `REST`: no other format fits.
    """

    MARK = 0
    COLUMNS = 1
    CONTAINER = 2
    REST = 3


@dataclass(frozen=True, eq=False, repr=False)
class Places:
    """Sizes needed by formats with a fixed number of hits or edges per shot.

    Attributes:
        slots: most hits of a shot, or most edges of a channel in a shot.
        channels: inputs of the converter, for edges.
        bin_ns: width of a bin of the converter in ns, for edges.
    """

    slots: int = 16
    channels: int = 8
    bin_ns: float = 0.025


def _keeps_all(tags: Collection[str]) -> list[str]:
    del tags
    return []


def _by_others(file: Candidate) -> None:
    del file


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Writer(Generic[C]):
    """One way to write a run.

    Attributes:
        name: of the way, as `--format` takes it.
        write: writes the chunks to a file: path, chunks, places, plain values that travel along.
        words: what the name does not say, for the help.
        suffixes: of files that are written this way where nothing else is said.
        counted: whether `Places` must fit the run; otherwise they are not looked at.
        unheld: which of the values per shot of these names have no place, as sentences.
        rounded: what is lost in any case, as sentences.
    """

    name: str
    write: Callable[[Path, Iterable[C], Places, Mapping[str, Any]], None]
    words: str = ""
    suffixes: tuple[str, ...] = ()
    counted: bool = False
    unheld: Callable[[Collection[str]], list[str]] = _keeps_all
    rounded: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FileFormat(Generic[M]):
    """A kind of file that is recognised by its content.

    Attributes:
        name: of the format, as `molexa inspect --json` gives it.
        words: the format in words, as in "this is a ...".
        probe: what of a file is needed to open it if it is of this format, None otherwise.
            Asked with a file whose first bytes are known; what it opens stays open for `open`.
        turn: the order in which it is tested.
        sought: what to look for, for people: the container and what is in it, or the file alone.
        do: what to do with such a file where a run is expected.
    """

    name: str
    words: str
    probe: Callable[[Candidate], M | None]
    turn: Turn = Turn.MARK
    sought: tuple[str, ...] = ()
    do: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RunFormat(FileFormat[M]):
    """A format that holds the hits or edges of a run.

    Attributes:
        open: the run in one or several files, from what `probe` found in each.
        written: name of the `Writer` with which molexa wrote a file; None where it did not.
        suffixes: usual suffixes, taken away where results are named after the run.
        in_folders: whether a folder with files of these suffixes stands for a run.
        at_facility: whether `facility` of the setup says how to read it.
        hits: ways to write hits.
        edges: ways to write edges.
    """

    open: Callable[[Sequence[M], HowToRead], StoredRun]
    written: Callable[[Candidate], str | None] = _by_others
    suffixes: tuple[str, ...] = ()
    in_folders: bool = False
    at_facility: bool = False
    hits: tuple[Writer[Hits], ...] = ()
    edges: tuple[Writer[Edges], ...] = ()
