"""Open a run of any format as hits; edges are sorted into hits while reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Setup, parse_settings
from molexa_core.base.settings.anode import Anode
from molexa_core.base.shown import Shown
from molexa_core.base.tables import Edges, Hits
from molexa_core.detector.sorter import SortCounts, Sorter
from molexa_core.io.candidate import HowToRead
from molexa_core.io.electrons import electron_remark
from molexa_core.io.run import open_stored_run
from molexa_core.io.stored_run import StoredRun

__all__ = ["OpenRun", "open_run", "open_stored"]

SETUP = "setup"
KEPT_BYTES: Final = 96 * 2**20
"""Memory, in bytes, for hits sorted from the beginning of a run, kept for the next reading."""


class OpenRun(Shown, StoredRun):
    """A run that gives `Hits`, whatever its files hold; read as often as wanted.

    Attributes:
        stored: the run as stored.
        setup: setup of the apparatus.
        paths, layout, choice, n_shots: of the stored run.
        counts: counts of the sorter in the last reading; None if the files hold hits.
        opened_with: the setup with which `open_run` opened it, so that others can do the same; None
            where it was opened in another way.
    """

    def __init__(self, stored: StoredRun, setup: Setup) -> None:
        self.stored, self.setup = stored, setup
        self.paths, self.layout = stored.paths, stored.layout
        self.choice, self.n_shots = stored.choice, stored.n_shots
        stored.with_method |= setup.detector.max_method is not None
        self.counts: SortCounts | None = None
        self.opened_with: tuple[Setup | None] | None = None
        self._kept: list[tuple[Hits, SortCounts]] = []
        self._room = KEPT_BYTES
        if stored.edges and setup.anode is None:
            raise InputFileError(
                f"the run holds edges of detector signals ({stored.choice}), and the setup says "
                "nothing about the anode",
                where=stored.paths[0],
                do="Add `anode` to the setup; molexa calibrate detector makes one from the data.",
            )

    @property
    def remarks(self) -> list[str]:
        """Notes for the user; complete after reading."""
        electrons = electron_remark(self.stored.unread())
        return [*self.stored.remarks, *([] if electrons is None else [electrons])]

    @property
    def warnings(self) -> list[str]:
        """Reasons why results from this run may be wrong; complete after reading."""
        return list(self.stored.warnings)

    def metadata(self) -> dict[str, Any]:
        """Metadata that molexa stored in a virtual run; may be empty."""
        return self.stored.metadata()

    def __iter__(self) -> Iterator[Hits]:
        if not self.stored.edges or self.setup.anode is None:
            yield from self.stored.hits()
            return
        sorter = Sorter(self.setup.anode)
        total = self.counts = SortCounts(kind=self.setup.anode.kind)
        for number, edges in enumerate(self.stored.signals()):
            hits, counts = self._sorted(sorter, number, edges)
            total.add(counts)
            yield hits

    @property
    def anywhere(self) -> bool:  # type: ignore[override]
        """Whether shots can be read from any place on without those before."""
        return self.stored.anywhere and self.n_shots is not None

    @property
    def indexable(self) -> bool:  # type: ignore[override]
        """See `StoredRun.indexable`."""
        return self.stored.indexable

    def make_index(self, advance: Callable[[int], None]) -> None:
        """See `StoredRun.make_index`."""
        self.stored.make_index(advance)
        self.n_shots = self.stored.n_shots

    def index(self) -> dict[str, Any]:
        """See `StoredRun.index`."""
        return self.stored.index()

    def take_index(self, values: Mapping[str, Any]) -> None:
        """See `StoredRun.take_index`."""
        self.stored.take_index(values)
        self.n_shots = self.stored.n_shots

    def between(self, first: int, last: int) -> Iterator[Hits]:
        """See `StoredRun.between`."""
        if not self.stored.edges or self.setup.anode is None:
            yield from self.stored.hits(self.stored.between(first, last))
            return
        sorter = Sorter(self.setup.anode)
        self.counts = sorter.counts
        for chunk in self.stored.signals(self.stored.between(first, last)):
            yield sorter.sort(chunk)

    def reading(self) -> dict[str, Any]:
        """See `StoredRun.reading`."""
        counts = None if self.counts is None else self.counts.as_values()
        return {"stored": self.stored.reading(), "sorter": counts}

    def forget_reading(self) -> None:
        """See `StoredRun.forget_reading`."""
        self.stored.forget_reading()
        self.counts = None

    def add_reading(self, counts: Mapping[str, Any]) -> None:
        """See `StoredRun.add_reading`."""
        self.stored.add_reading(counts["stored"])
        if counts["sorter"] is not None:
            other = SortCounts.of_values(counts["sorter"])
            if self.counts is None:
                self.counts = SortCounts(kind=other.kind)
            self.counts.add(other)

    def _sorted(self, sorter: Sorter, number: int, edges: Edges) -> tuple[Hits, SortCounts]:
        """The hits of a chunk; those at the beginning of a run are sorted only once."""
        if number < len(self._kept):
            hits, counts = self._kept[number]
            if (hits.first_shot, hits.n_shots) == (edges.first_shot, edges.n_shots):
                return hits, counts
            del self._kept[number:]  # the file has grown since
        sorter.counts = counts = SortCounts(kind=sorter.counts.kind)
        hits = sorter.sort(edges)
        if number == len(self._kept):
            self._room -= size_of(hits)
            if self._room >= 0:
                self._kept.append((hits, counts))
        return hits, counts


def size_of(hits: Hits) -> int:
    """Size of a chunk of hits, bytes."""
    columns = (hits.offsets, hits.x_mm, hits.y_mm, hits.t_ns, hits.method)
    return sum(column.nbytes for column in columns) + sum(tag.nbytes for tag in hits.tags.values())


def sorted_hits(run: StoredRun, anode: Anode) -> Iterator[Hits]:
    """The hits in a run of edges."""
    sorter = Sorter(anode)
    for edges in run.signals():
        yield sorter.sort(edges)


def open_stored(paths: Sequence[Path | str] | Path | str, setup: Setup | None = None) -> StoredRun:
    """The run as its files store it; see `io.run.open_stored_run`."""
    if setup is None:
        return open_stored_run(paths)
    return open_stored_run(
        paths,
        columns=setup.columns,
        edge_columns=setup.edge_columns,
        facility=setup.facility,
        with_method=setup.detector.max_method is not None,
    )


def how_to_read(setup: Setup | None) -> HowToRead:
    """What a setup says about reading a run."""
    if setup is None:
        return HowToRead()
    return HowToRead(setup.columns, setup.edge_columns, setup.facility)


def open_run(
    paths: Sequence[Path | str] | Path | str,
    setup: Setup | None = None,
    *,
    progress: Progress = SILENT,
) -> OpenRun:
    """Open a run of any known format; several files count as one.

    Args:
        paths: files, patterns, or a folder.
        setup: the apparatus; that in the metadata of a virtual run if not given.
        progress: receives a notice on format and layout.

    Raises:
        InputFileError: the run cannot be read, there is no setup, or the run holds edges and the
            setup has no anode.
        ColumnError: a column is missing or of the wrong type.
        SettingsError: the stored setup is not valid.
    """
    stored = open_stored(paths, setup)
    progress.say(stored.choice)
    run = OpenRun(stored, stored_setup(stored) if setup is None else setup)
    run.opened_with = (setup,)
    return run


def stored_setup(run: StoredRun) -> Setup:
    """The setup in the metadata of a virtual run.

    Raises:
        InputFileError: the run has no setup.
        SettingsError: the setup is not valid.
    """
    stored = run.metadata().get(SETUP)
    if stored is None:
        raise InputFileError(
            "no setup: the run does not carry one",
            where=run.paths[0],
            do="Give `setup='setup.yaml'`, or name it in molexa.yaml.",
        )
    return parse_settings(Setup, stored, where=f"setup in the metadata of {run.paths[0]}")
