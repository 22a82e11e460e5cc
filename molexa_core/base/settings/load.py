"""Reading settings files with errors that name file, key, finding and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from molexa_core.base.errors import SettingsError, listing, near_matches
from molexa_core.base.files import PROJECT_FILE, require_file
from molexa_core.base.resources import find
from molexa_core.base.settings.anode import DetectorFile
from molexa_core.base.settings.channel import Channel
from molexa_core.base.settings.project import Project
from molexa_core.base.settings.setup import Setup

ANODE: Final = "anode"
"""Key of the setup that may be the name of a file."""
S = TypeVar("S", bound=BaseModel)


def parse_settings(schema: type[S], values: Any, *, where: object) -> S:
    """Plain values as settings.

    Raises:
        SettingsError: every fault of the values in one message.
    """
    if not isinstance(values, dict):
        raise SettingsError(f"expected keys and values, found {type(values).__name__}", where=where)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        faults = [_fault(schema, dict(item)) for item in error.errors()]
        raise SettingsError("; ".join(faults), where=where) from error


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
        values = values | {ANODE: detector.anode.model_dump(mode="json")}
    return parse_settings(Setup, values, where=path)


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


def read_yaml(path: Path) -> Any:
    """The plain values in a YAML file.

    Raises:
        InputFileError: no such file.
        SettingsError: not readable as YAML.
    """
    require_file(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise SettingsError(f"not readable as YAML: {detail}", where=path) from error


def _fault(schema: type[BaseModel], item: dict[str, Any]) -> str:
    parts = [str(part) for part in item["loc"]]
    key = " -> ".join(parts) or "file"
    if item["type"] == "extra_forbidden":
        known = _keys_at(schema, item["loc"][:-1])
        near = near_matches(parts[-1], known)
        hint = f"did you mean {listing(near)}?" if near else f"allowed: {listing(known)}"
        return f"{key}: unknown key ({hint})"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = item["msg"].removeprefix("Value error, ")
    found = item.get("input")
    shown = "" if isinstance(found, dict | list) else f" (found {found!r})"
    return f"{key}: {message[:1].lower()}{message[1:]}{shown}"


def _keys_at(schema: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """The keys allowed at a place of a schema, as far as it can be followed by field types."""
    current: Any = schema
    for part in location:
        if isinstance(part, int):
            continue
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            return []
        current = _model_in(fields[part].annotation)
    return sorted(getattr(current, "model_fields", {}))


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        if (model := _model_in(argument)) is not None:
            return model
    return None
