"""A raw run that a stage is given: files or hits in memory, with its channel and apparatus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.errors import InputFileError, UsageError, listing
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.options.gate_options import Selection
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import (
    Channel,
    Explosion,
    Setup,
    load_project,
    load_setup,
    parse_settings,
)
from molexa_core.base.storage.resources import available
from molexa_core.base.tables import Hits
from molexa_core.io.formats import without_suffix
from molexa_core.io.run import find_files
from molexa_core.io.stored_run import StoredRun
from molexa_core.pipeline.chain.selected import settings_read
from molexa_core.pipeline.given.given_channel import channel as named_channel
from molexa_core.pipeline.output_guard import settings_inputs
from molexa_core.pipeline.runs.mock_run import MockRun
from molexa_core.pipeline.runs.open_run import OpenRun, open_run

Run = str | Path | Sequence[str | Path] | OpenRun | MockRun | Hits | Iterable[Hits]
"""Files, a pattern or a folder; an open run; a virtual run; or hits in consecutive chunks."""


@dataclass(frozen=True)
class GivenRun:
    """A run with all that is needed to search it.

    Attributes:
        hits: chunks of shots, read as often as wanted.
        channel: the ions.
        setup: the apparatus.
        files: that were read; empty for a run in memory.
        channel_file, setup_file: names or files of the user that channel and setup come from; None
            where they are objects, or come from the run.
    """

    hits: OpenRun | Sequence[Hits]
    channel: Channel
    setup: Setup
    files: tuple[Path, ...]
    channel_file: str | None = None
    setup_file: str | None = None

    def inputs(self, selection: Selection) -> list[Path]:
        """The files that say what the run is and how it is searched, for the provenance."""
        runs = self.hits.paths if isinstance(self.hits, OpenRun) else ()
        return [
            *runs,
            *settings_read(selection, channel=self.channel_file, setup=self.setup_file),
        ]


def given_run(
    run: Run,
    channel: Channel | str | Path | None = None,
    setup: Setup | str | Path | None = None,
    progress: Progress = SILENT,
) -> GivenRun:
    """A run with its channel and apparatus.

    Channel and setup are taken from the arguments, from `molexa.yaml` in the working folder, or
    from the run (a virtual one knows both, its file too), in this order; those of a virtual run in
    memory come before `molexa.yaml`.

    Args:
        run: files, pattern or folder; an open run; a virtual run; or hits.
        channel: as for `given_channel.channel`.
        setup: the apparatus, or its file.
        progress: receives the choices made.

    Raises:
        UsageError: it is no run, one that can be read only once, or there is no setup.
        InputFileError, SettingsError: a file is missing or not valid.
    """
    if isinstance(run, MockRun):
        channel = run.channel if channel is None else channel
        setup = run.setup if setup is None else setup
        run = [run.hits] if run.path is None else run.path
    opened = run if isinstance(run, OpenRun) else None
    project = load_project()
    channel = project.channel if channel is None else channel
    setup = project.setup if setup is None and opened is None else setup
    named = _name(channel), _name(setup)
    apparatus = setup if setup is None or isinstance(setup, Setup) else load_setup(setup)
    wanted = None if channel is None else named_channel(channel)
    if opened is not None and apparatus not in (None, opened.setup):
        opened = open_run(list(opened.paths), apparatus, progress=progress)
    elif opened is None and (paths := _files(run)) is not None:
        opened = open_run(paths, apparatus, progress=progress)
    if opened is not None:
        told = opened.metadata().get("channel") if wanted is None else channel
        read = settings_inputs(channel=_name(told), setup=named[1])
        known = _telling(opened.setup, opened)
        return GivenRun(
            opened, wanted or _channel_in(opened), known, (*opened.paths, *read), *named
        )
    hits = _held(run)
    if apparatus is None:
        raise UsageError("no setup is given", do="Give `setup=`, or make molexa.yaml.")
    files = tuple(settings_inputs(channel=named[0], setup=named[1]))
    return GivenRun(hits, wanted or named_channel(None), apparatus, files, *named)


def _held(run: Any) -> Sequence[Hits]:
    """Hits in memory, in consecutive chunks."""
    if isinstance(run, Hits):
        return [run]
    if isinstance(run, Iterable) and iter(run) is run:
        raise UsageError(
            "the run can be read only once", do="Give a list of chunks or an open run."
        )
    chunks = list(run) if isinstance(run, Iterable) else [run]
    if not all(isinstance(one, Hits) for one in chunks):
        raise UsageError(
            f"no run: {type(run).__name__}",
            do="Give files, an open run, a virtual run, or hits.",
        )
    return chunks


def _files(run: Any) -> list[Path | str] | None:
    """The files of a run; None if it is in memory."""
    if isinstance(run, str | Path):
        return [run]
    named = isinstance(run, Sequence) and bool(run) and all(isinstance(x, str | Path) for x in run)
    return list(run) if named else None


def _name(of: object) -> str | None:
    """The name or file by which something is given; None for what is given itself."""
    return str(of) if isinstance(of, str | Path) else None


def _telling(setup: Setup, run: StoredRun) -> Setup:
    """The setup; where it does not say what the explosion is, a virtual run says it."""
    stored = run.metadata().get("setup")
    block = stored.get(EXPLOSION) if isinstance(stored, Mapping) else None
    if setup.explosion is not None or not isinstance(block, Mapping):
        return setup
    where = f"explosion in the metadata of {run.paths[0]}"
    told = parse_settings(Explosion, dict(block), where=where)
    return setup.model_copy(update={EXPLOSION: told})


def _channel_in(run: OpenRun) -> Channel:
    """The channel that the metadata of a virtual run name."""
    stored = run.metadata().get("channel")
    if isinstance(stored, str):
        return named_channel(stored)
    if stored is None:
        raise InputFileError(
            "no channel: the run does not name one",
            where=run.paths[0],
            do=f"Give `channel=`, or name it in molexa.yaml; there are "
            f"{listing(sorted(available('channels', '.yaml')))}.",
        )
    return parse_settings(Channel, stored, where=f"channel in the metadata of {run.paths[0]}")


def result_of_run(files: Sequence[Path | str], suffix: str) -> Path:
    """The usual result of a run, in the working folder: `run.h5` gives `run` with a suffix.

    Raises:
        InputFileError: there is no such run.
    """
    return Path(f"{without_suffix(find_files(files)[0].name)}{suffix}")
