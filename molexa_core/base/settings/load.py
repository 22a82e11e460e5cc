"""Reading of settings files; errors name the file, the key, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from molexa_core.base.errors import SettingsError, listing
from molexa_core.base.settings.anode import DetectorFile
from molexa_core.base.settings.channel import Channel
from molexa_core.base.settings.faults import fields_of, sentences
from molexa_core.base.settings.project import Project
from molexa_core.base.settings.setup import Setup
from molexa_core.base.settings.yaml_file import read_yaml
from molexa_core.base.storage.files import PROJECT_FILE
from molexa_core.base.storage.resources import find

ANODE: Final = "anode"
"""Key of the setup that may be the name of a file."""
S = TypeVar("S")


def parse_settings(schema: type[S], values: Any, *, where: object) -> S:
    """Plain values as settings.

    Raises:
        SettingsError: every fault of the values in one message.
    """
    if not isinstance(values, dict):
        found = "nothing" if values is None else "a list" if isinstance(values, list) else "a value"
        raise SettingsError(
            f"expected keys and values, found {found}",
            where=where,
            do=f"It needs {listing(_needed(schema))}." if _needed(schema) else None,
        )
    try:
        return TypeAdapter(schema).validate_python(values)
    except ValidationError as error:
        raise SettingsError(sentences(schema, values, error.errors()), where=where) from error


def load_setup(path: Path | str) -> Setup:
    """The setup in a YAML file; its `anode` may name a detector file, relative to the setup.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is not a valid setup.
    """
    path = Path(path)
    values = read_yaml(path)
    if isinstance(values, dict) and isinstance(values.get(ANODE), str):
        detector = load_detector(path.parent / values[ANODE])
        values[ANODE] = detector.anode.model_dump(mode="json")
    return parse_settings(Setup, values, where=path)


def setup_files(path: Path | str) -> list[Path]:
    """The files that a setup is read from: the file itself, and the one that `anode` names.

    Raises:
        InputFileError: no such file.
        SettingsError: not readable as YAML.
    """
    path = Path(path)
    values = read_yaml(path)
    named = values.get(ANODE) if isinstance(values, dict) else None
    return [path, path.parent / named] if isinstance(named, str) else [path]


def load_detector(path: Path | str) -> DetectorFile:
    """The anode in a `detector.yaml`.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is not valid.
    """
    return parse_settings(DetectorFile, read_yaml(Path(path)), where=path)


def load_channel(name: Path | str) -> Channel:
    """The channel of this name (working folder first, then shipped) or in this YAML file.

    Raises:
        InputFileError: no such channel; lists those there are.
        SettingsError: the file is not a valid channel.
    """
    path = find("channels", str(name), ".yaml")
    return parse_settings(Channel, read_yaml(path), where=path)


def load_project(folder: Path | str = ".") -> Project:
    """The defaults of a working folder; empty where it has no `molexa.yaml`.

    Raises:
        SettingsError: the file is not valid.
    """
    path = Path(folder) / PROJECT_FILE
    if not path.exists():
        return Project()
    return parse_settings(Project, read_yaml(path), where=path)


def _needed(schema: type) -> list[str]:
    return [name for name, info in fields_of(schema).items() if info.is_required()]
