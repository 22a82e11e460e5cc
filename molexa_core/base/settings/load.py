"""Reading of settings files; errors name the file, the key, the value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from molexa_core.base.errors import SettingsError, listing
from molexa_core.base.fields import EXPLOSION
from molexa_core.base.settings.anode import DetectorFile
from molexa_core.base.settings.channel import Channel
from molexa_core.base.settings.explosion_block import Explosion
from molexa_core.base.settings.faults import fields_of, sentences
from molexa_core.base.settings.project import Project
from molexa_core.base.settings.region import Region, RegionsFile
from molexa_core.base.settings.schema import Schema
from molexa_core.base.settings.setup import Setup
from molexa_core.base.settings.yaml_file import read_yaml
from molexa_core.base.storage.files import PROJECT_FILE
from molexa_core.base.storage.resources import find
from molexa_core.base.uncertain import UNKNOWN_WORD

ANODE: Final = "anode"
"""Key of the setup that may be the name of a file."""
S = TypeVar("S")


class _ExplosionFile(Schema):
    """A file that holds nothing but what is known about the explosion."""

    explosion: Explosion


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
    """The setup in a YAML file.

    Its `anode` may name a detector file and its `explosion` a file with such a block, both relative
    to the setup.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is not a valid setup.
    """
    path = Path(path)
    values = read_yaml(path)
    if isinstance(values, dict) and isinstance(values.get(ANODE), str):
        detector = load_detector(path.parent / values[ANODE])
        values[ANODE] = detector.anode.model_dump(mode="json")
    _read_named_explosion(values, path)
    return parse_settings(Setup, values, where=path)


def load_explosion(path: Path | str) -> Explosion | None:
    """What a file says about the explosion: a setup, or a file with nothing but that block.

    Returns:
        None where a setup says nothing.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is neither.
    """
    path = Path(path)
    values = read_yaml(path)
    if not isinstance(values, dict) or set(values) != {EXPLOSION}:
        return load_setup(path).explosion
    _read_named_explosion(values, path)
    return parse_settings(_ExplosionFile, values, where=path).explosion


def _read_named_explosion(values: Any, path: Path) -> None:
    """Replace the name of a file, or `unknown`, by the block that it stands for."""
    named = values.get(EXPLOSION) if isinstance(values, dict) else None
    if not isinstance(named, str):
        return
    if named == UNKNOWN_WORD:
        values[EXPLOSION] = {}
        return
    other = path.parent / named
    inner = read_yaml(other)
    block = inner.get(EXPLOSION) if isinstance(inner, dict) else None
    if not isinstance(block, dict):
        raise SettingsError(
            f"no block {EXPLOSION!r}",
            where=other,
            do="Name a file that molexa calibrate explosion wrote, or write the block itself.",
        )
    found = parse_settings(_ExplosionFile, {EXPLOSION: block}, where=other)
    values[EXPLOSION] = found.explosion.plain()


def setup_files(path: Path | str) -> list[Path]:
    """The files that a setup is read from: the file itself, and those that it names.

    Raises:
        InputFileError: no such file.
        SettingsError: not readable as YAML.
    """
    path = Path(path)
    values = read_yaml(path)
    named = [values.get(key) for key in (ANODE, EXPLOSION)] if isinstance(values, dict) else []
    others = [name for name in named if isinstance(name, str) and name != UNKNOWN_WORD]
    return [path, *(path.parent / name for name in others)]


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


def load_regions(path: Path | str) -> dict[str, Region]:
    """The regions in a file of regions, or in a channel.

    Raises:
        InputFileError: no such file.
        SettingsError: the file is neither.
    """
    path = Path(path)
    values = read_yaml(path)
    if isinstance(values, dict) and "ions" in values:
        return parse_settings(Channel, values, where=path).regions
    return parse_settings(RegionsFile, values, where=path).regions


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
