"""A virtual run: its hits and its true molecules, in memory or in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from molexa_core.base.errors import UsageError
from molexa_core.base.settings import Channel, Setup
from molexa_core.base.shown import Shown
from molexa_core.base.tables import Hits
from molexa_core.base.truth import VirtualTruth
from molexa_core.io.results.truth_file import read_truth
from molexa_core.pipeline.runs.open_run import open_run


@dataclass(frozen=True, repr=False)
class MockRun(Shown):
    """A virtual run.

    Attributes:
        counts: numbers of shots, molecules, ions by kind, stored hits, and lost hits by reason.
        channel: the ions that the molecule broke into.
        setup: the apparatus; it also says how the molecule exploded.
        path: the file of the run; None if none was written.
        truth_path: the file of the true molecules; None if none was written.
        held: hits and true molecules of a run in memory.
    """

    counts: dict[str, int]
    channel: Channel
    setup: Setup
    path: Path | None = None
    truth_path: Path | None = None
    held: tuple[Hits, VirtualTruth] | None = None

    @cached_property
    def hits(self) -> Hits:
        """All shots, as stored in the run; read from its file when they are first asked for."""
        if self.held is not None:
            return self.held[0]
        return Hits.concatenate(list(self.chunks()))

    @cached_property
    def truth(self) -> VirtualTruth:
        """The true molecules and the origin of each hit.

        Raises:
            UsageError: they were not written with the run.
        """
        if self.held is not None:
            return self.held[1]
        if self.truth_path is None:
            raise UsageError(
                f"the true molecules of {self.path} were not kept", do="Name a file by `truth=`."
            )
        return read_truth(self.truth_path)[0]

    def chunks(self) -> Iterator[Hits]:
        """The shots in consecutive chunks, as often as wanted."""
        if self.path is None:
            yield self.hits
        else:
            yield from open_run(self.path, self.setup)
