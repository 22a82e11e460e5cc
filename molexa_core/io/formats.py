"""The table of run formats, with recognition of the format of a file and its writer.

A new format is a file with one `RunFormat` and its line in `RUNS`. Nothing here loads a reader.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molexa_core.base.errors import InputFileError, UsageError, listing, near_matches
from molexa_core.io import marks
from molexa_core.io.facility_formats import FLASH, XFEL
from molexa_core.io.lmf_format import LMF
from molexa_core.io.results.inspected import EVENTS, HDF5, OF_EVENTS, RECONSTRUCTION, TRUTH
from molexa_core.io.root_format import ROOT_EDGES, ROOT_RESULT, ROOT_RUN
from molexa_core.io.run_format import FileFormat, RunFormat, Writer
from molexa_core.io.table_formats import ARROW, HDF5_RUN, NPY, PARQUET, RAW_RECORDS, RECORDS, TEXT

if TYPE_CHECKING:
    from molexa_core.base.tables import Edges, Hits
    from molexa_core.io.candidate import Candidate, HowToRead

RUNS: tuple[RunFormat[Any], ...] = (
    LMF,
    ROOT_RUN,
    HDF5_RUN,
    PARQUET,
    TEXT,
    XFEL,
    FLASH,
    ROOT_EDGES,
    NPY,
    ARROW,
    RECORDS,
)
"""Formats that hold the hits or edges of a run."""
OTHERS: tuple[FileFormat[Any], ...] = (
    TRUTH,
    EVENTS,
    OF_EVENTS,
    RECONSTRUCTION,
    ROOT_RESULT,
    HDF5,
)
"""Files that are recognised to say what they are and what to do with them."""


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """A file whose format is known.

    Attributes:
        file: the file.
        format: its format.
        held: what recognising it left for opening it.
    """

    file: Candidate
    format: FileFormat[Any]
    held: Any


def recognise(path: Path | str, how: HowToRead | None = None) -> Found:
    """The format of a file, by its content and never by its name.

    What was opened on the way stays open in `Found.file`, for `open_found` or to be closed.

    Args:
        path: the file.
        how: what the setup says; tables that have its columns are runs.

    Raises:
        InputFileError: it is missing, empty, or of no known format; says what was looked for.
    """
    from molexa_core.io.candidate import Candidate  # noqa: PLC0415

    file = Candidate.of(path, how)
    try:
        for one in sorted((*OTHERS, *RUNS), key=lambda of: of.turn):
            held = one.probe(file)
            if held is not None:
                return Found(file, one, held)
        raise _unknown(file)
    except BaseException:
        file.close()
        raise


def _unknown(file: Candidate) -> InputFileError:
    where, near = file.path, file.nearly
    if near is not None:
        return InputFileError(
            f"the format is not known: it looks like text, and as a table: {near.what}",
            where=where,
            do=f"{near.do} {looked_for()}",
        )
    packed = next((name for mark, name in marks.PACKED.items() if file.head.startswith(mark)), None)
    if packed is not None:
        return InputFileError(
            f"the file is packed with {packed}",
            where=where,
            do="Unpack it; save what is in .npz as .npy, and tables of .xlsx as CSV.",
        )
    return InputFileError(
        f"the format is not known: it begins with {file.head[:8].hex(' ')}",
        where=where,
        do=f"{looked_for()} {RAW_RECORDS}",
    )


def looked_for() -> str:
    """The formats that are tested for a file, as a sentence."""
    held: dict[str, list[str]] = {}
    for one in (*RUNS, *OTHERS):
        if one.sought:
            held.setdefault(one.sought[0], []).extend(one.sought[1:])
    what = [f"{name} ({', '.join(of)})" if of else name for name, of in held.items()]
    return f"Looked for: {', '.join(what)}."


def words_of(name: str) -> str:
    """A format in words, by its name."""
    return next(one.words for one in (*RUNS, *OTHERS) if one.name == name)


def hit_writers() -> dict[str, Writer[Hits]]:
    """Ways to write hits, by the name of the format as options give it."""
    return {writer.name: writer for run in RUNS for writer in run.hits}


def edge_writers() -> dict[str, Writer[Edges]]:
    """Ways to write edges, by the name of the format as options give it."""
    return {writer.name: writer for run in RUNS for writer in run.edges}


def writer_names() -> tuple[str, ...]:
    """Names of all formats that are written, those of hits first."""
    return (*hit_writers(), *edge_writers())


def writers_in_words() -> str:
    """All formats that are written, for the help."""
    return (
        f"Hits: {_described(hit_writers().values())}. "
        f"Signals of a delay-line anode: {_described(edge_writers().values())}."
    )


def _described(writers: Iterable[Writer[Any]]) -> str:
    return ", ".join(f"{of.name} ({of.words})" if of.words else of.name for of in writers)


def name_by_suffix(out: Path) -> str:
    """The format in which a file of this suffix is written.

    Raises:
        UsageError: the suffix tells none.
    """
    every: tuple[Writer[Any], ...] = (*hit_writers().values(), *edge_writers().values())
    suffixes = {suffix: writer.name for writer in every for suffix in writer.suffixes}
    suffix = out.suffix.lower()
    if suffix in suffixes:
        return suffixes[suffix]
    near = near_matches(suffix, suffixes)
    known = f"Give `layout=`: {listing(writer_names())}."
    raise UsageError(
        f"the suffix {suffix!r} tells no format",
        where=out,
        do=f"Did you mean {listing(near)}?" if near else known,
    )


def require_writer(name: str) -> None:
    """Check that a format of this name is written.

    Raises:
        UsageError: there is none.
    """
    if name not in writer_names():
        raise UsageError(f"unknown format {name!r}", do=f"Use {', '.join(writer_names())}.")


def without_suffix(name: str) -> str:
    """The name of a file of a run without the suffix of its format."""
    for suffix in (suffix for run in RUNS for suffix in run.suffixes):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def suffixes_in_folders() -> frozenset[str]:
    """Suffixes of the files for which their folder may stand."""
    return frozenset(suffix for run in RUNS if run.in_folders for suffix in run.suffixes)
