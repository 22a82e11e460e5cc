"""Coincidences that a stage is given: in memory or as a file, gated, with how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.errors import UsageError, about_file
from molexa_core.base.fields import GATES
from molexa_core.base.options.gate_options import EVERYTHING, Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel
from molexa_core.base.storage.provenance import Provenance
from molexa_core.base.tables import Coincidences
from molexa_core.io.results.events import read_events, read_shots
from molexa_core.observables.gating import Gating
from molexa_core.pipeline.chain.pick import channel_of
from molexa_core.pipeline.chain.selected import gating_of, select, settings_read
from molexa_core.pipeline.chain.stale import require_fresh, say_unguarded

Events = Coincidences | Path | str
"""Coincidences, or the file of `reduce` or `align` that holds them."""


@dataclass(frozen=True)
class GivenEvents:
    """The coincidences that a stage takes.

    Attributes:
        table: those that pass the gates.
        path: the file; None for those in memory.
        channel: of the events.
        gates: that were applied here.
        stale: warnings: what the file was made from has changed since.
        before: how the file was made.
        settings_files: further files that were read.
    """

    table: Coincidences
    path: Path | None
    channel: Channel | None
    gates: Gating
    stale: tuple[str, ...]
    before: Provenance | None
    settings_files: tuple[Path, ...]

    def shots(self) -> dict[str, Any]:
        """Tags of all shots; empty where they are not known, as in memory."""
        return {} if self.path is None else read_shots(self.path)

    def about(self) -> AbstractContextManager[None]:
        """Errors name the file, if there is one."""
        return nullcontext() if self.path is None else about_file(self.path)

    def provenance(
        self,
        settings: Mapping[str, Any],
        *,
        also: Iterable[Path | str | None] = (),
        seed: int | None = None,
    ) -> Provenance:
        """What a result that was made from them records.

        Args:
            settings: of the stage; the gates are added.
            also: further files that were read; None for those that were not.
            seed: of random draws.
        """
        own = [] if self.path is None else [self.path]
        inputs = [*own, *(one for one in also if one is not None), *self.settings_files]
        said = {**settings, GATES: self.gates.record()} if self.gates else dict(settings)
        return Provenance.of(inputs=inputs, settings=said, seed=seed, after=self.before)


def given_events(
    events: Events,
    stage: str,
    *,
    selection: Selection = EVERYTHING,
    setup: Path | str | None = None,
    progress: Progress = SILENT,
) -> GivenEvents:
    """Read coincidences, if they are a file, and apply the gates of a call.

    Args:
        events: coincidences or their file.
        stage: name of the command.
        selection: those to take.
        setup: a setup file that the stage reads, for the provenance.
        progress: receives remarks and warnings.

    Raises:
        InputFileError: a file of another kind, or one that was made from another than lies beside
            it.
        UsageError: no coincidences, or a condition that does not fit them.
        NoEventsError: the gates leave none.
    """
    path, before = file_of(events), None
    if path is not None:
        table, before = read_events(path)
        channel = channel_of(table.meta)
    elif isinstance(events, Coincidences):
        table = events
        channel = channel_of(table.meta) if "channel" in table.meta else None
    table = select(table, gating := gating_of(selection, stage, channel=channel), progress)
    stale: list[str] = []
    if path is not None:
        stale = require_fresh(path, before)
        say_unguarded(path, before, progress)
    read = settings_read(selection, setup=setup)
    return GivenEvents(table, path, channel, gating, tuple(stale), before, tuple(read))


def file_of(events: Events) -> Path | None:
    """The file of coincidences; None for those in memory.

    Raises:
        UsageError: neither of both.
    """
    if isinstance(events, Path | str):
        return Path(events)
    if not isinstance(events, Coincidences):
        raise UsageError(
            f"no table of coincidences: {type(events).__name__}",
            do="Give those of reduce or align, or their file.",
        )
    return None
