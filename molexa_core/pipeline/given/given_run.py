"""A raw run that a stage is given: files or hits in memory, with its channel and apparatus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molexa_core.base.errors import UsageError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, Setup, load_project, load_setup
from molexa_core.base.tables import Hits
from molexa_core.io.formats import without_suffix
from molexa_core.io.run import find_files
from molexa_core.pipeline.chain.reduce import channel_and_setup
from molexa_core.pipeline.given.given_channel import channel as named_channel
from molexa_core.pipeline.runs.mock import MockRun
from molexa_core.pipeline.runs.open_run import OpenRun

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
    """

    hits: OpenRun | Iterable[Hits]
    channel: Channel
    setup: Setup
    files: tuple[Path, ...]


def given_run(
    run: Run,
    channel: Channel | str | Path | None = None,
    setup: Setup | str | Path | None = None,
    progress: Progress = SILENT,
) -> GivenRun:
    """A run with its channel and apparatus.

    Args:
        run: files, pattern or folder; an open run; a virtual run; or hits.
        channel: as for `given_channel.channel`; that of the run, or of `molexa.yaml`, if not
            given.
        setup: the apparatus, or its file; that of the run, or of `molexa.yaml`, if not given.
        progress: receives the choices made.

    Raises:
        UsageError: it is no run, or there is no setup.
        InputFileError, SettingsError: a file is missing or not valid.
    """
    wanted = None if channel is None else named_channel(channel)
    if isinstance(run, OpenRun):
        setup = run.setup if setup is None else setup
    if (paths := _files(run)) is not None:
        named = setup if setup is None or isinstance(setup, Setup) else str(setup)
        opened, chosen, known, read = channel_and_setup(paths, wanted, named, progress)
        return GivenRun(opened, chosen, known, (*opened.paths, *read))
    if isinstance(run, MockRun):
        wanted = run.channel if wanted is None else wanted
        setup = run.setup if setup is None else setup
        run = [run.hits]
    hits: Any = [run] if isinstance(run, Hits) else run
    held = isinstance(hits, list | tuple) and not all(isinstance(one, Hits) for one in hits)
    if held or not isinstance(hits, Iterable):
        raise UsageError(
            f"no run: {type(run).__name__}",
            do="Give files, an open run, a virtual run, or hits.",
        )
    setup = load_project().setup if setup is None else setup
    if setup is None:
        raise UsageError("no setup is given", do="Give `setup=`, or make molexa.yaml.")
    apparatus = setup if isinstance(setup, Setup) else load_setup(setup)
    return GivenRun(hits, named_channel(wanted), apparatus, ())


def _files(run: Any) -> list[Path | str] | None:
    """The files of a run; None if it is in memory."""
    if isinstance(run, OpenRun):
        return list(run.paths)
    if isinstance(run, str | Path):
        return [run]
    named = isinstance(run, Sequence) and bool(run) and all(isinstance(x, str | Path) for x in run)
    return list(run) if named else None


def result_of_run(files: Sequence[Path | str], suffix: str) -> Path:
    """The usual result of a run, in the working folder: `run.h5` gives `run` with a suffix.

    Raises:
        InputFileError: there is no such run.
    """
    return Path(f"{without_suffix(find_files(files)[0].name)}{suffix}")
