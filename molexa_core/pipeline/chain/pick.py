"""Default input of a stage: the only file with the right suffix, and its channel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from molexa_core.base.errors import InputFileError, listing
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.settings import Channel, load_channel, load_project, parse_settings

EVENTS_SUFFIX: Final = ".events.h5"
ALIGNED_SUFFIX: Final = ".aligned.h5"
COVARIANCE_SUFFIX: Final = ".covariance.h5"


def only_file(
    suffix: str, *, folder: Path | str = ".", made_by: str, progress: Progress = SILENT
) -> Path:
    """The only file with this suffix in the folder; its name is reported.

    Raises:
        InputFileError: there is no such file, or there are several (the message lists them).
    """
    folder = Path(folder)
    found = sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    if not found:
        raise InputFileError(
            f"no *{suffix} in this folder", where=folder.resolve(), do=f"Run {made_by} or name one."
        )
    if len(found) > 1:
        raise InputFileError(
            f"there are {len(found)} files *{suffix}: {listing(path.name for path in found)}",
            where=folder.resolve(),
            do="Name one of them.",
        )
    progress.say(f"reading {found[0]}")
    return found[0]


def beside(path: Path, suffix: str, new_suffix: str) -> Path:
    """The same path with another suffix: `run.events.h5` becomes `run.aligned.h5`."""
    stem = path.name.removesuffix(suffix)
    if stem == path.name:
        stem = path.stem
    return path.with_name(f"{stem}{new_suffix}")


def channel_of(meta: Mapping[str, Any], *, name: str | None = None) -> Channel | None:
    """The channel of an events table: as named, or from its metadata, or from `molexa.yaml`.

    Raises:
        InputFileError, SettingsError: the channel does not exist or is not valid.
    """
    if name is not None:
        return load_channel(name)
    stored = meta.get("channel")
    if isinstance(stored, Mapping):
        return parse_settings(Channel, dict(stored), where="channel of the events file")
    if isinstance(stored, str):
        return load_channel(stored)
    project = load_project()
    return None if project.channel is None else load_channel(project.channel)
