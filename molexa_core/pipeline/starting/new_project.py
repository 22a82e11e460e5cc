"""A working folder: setup, channel, and `molexa.yaml` that names both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molexa_core.base.errors import MolexaError
from molexa_core.base.options.apparatus import Apparatus
from molexa_core.base.settings import load_channel, load_setup
from molexa_core.base.settings.commented import commented
from molexa_core.base.settings.project import Project
from molexa_core.base.storage.files import PROJECT_FILE
from molexa_core.pipeline.starting.new_channel import FOLDER, new_channel
from molexa_core.pipeline.starting.new_file import require_new, write_new
from molexa_core.pipeline.starting.new_setup import SETUP_FILE, new_setup


def new_project(
    what: str,
    run: Sequence[Path | str] = (),
    told: Apparatus | None = None,
    *,
    ions: str | None = None,
) -> tuple[list[Path], list[str]]:
    """Write setup, channel and `molexa.yaml` into the working folder; files that exist are kept.

    Args:
        what: as `new_channel`.
        run: files of a run, as `new_setup`.
        told: what the user tells of the apparatus.
        ions: as `new_channel`.

    Returns:
        The paths written, and remarks on what is still to be done.

    Raises:
        InputFileError, SettingsError, ColumnError: as `new_setup` and `new_channel`.
        OutputError: there is a `molexa.yaml` already, or a file cannot be written.
    """
    project = require_new(PROJECT_FILE)
    written: list[Path] = []
    remarks: list[str] = []
    if Path(SETUP_FILE).exists():
        load_setup(SETUP_FILE)
        remarks.append(f"{SETUP_FILE} exists already, and is used as it is")
    else:
        path, said = new_setup(run, told)
        written.append(path)
        remarks += said
    channel = _existing(what) if ions is None else None
    if channel is None:
        finished = not written or bool(told and told.regions)
        path = new_channel(what, ions=ions, setup=load_setup(SETUP_FILE) if finished else None)
        written.append(path)
        channel = path.stem
    else:
        remarks.append(f"channel {channel} exists already, and is used as it is")
    values: dict[str, Any] = {"setup": SETUP_FILE, "channel": channel}
    head = "What the commands of molexa take in this folder if they are not told."
    written.append(write_new(project, commented(Project, values, head=head)))
    return written, remarks


def _existing(name: str) -> str | None:
    """The name of a channel file of this folder; None where there is none."""
    try:
        load_channel(name)
    except MolexaError:
        return None
    return name if (FOLDER / f"{name}.yaml").exists() else None
