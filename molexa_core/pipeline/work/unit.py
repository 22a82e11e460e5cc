"""Phases of a command and their units: what is computed, and the name it has in all places.

A unit is named by a digest of what decides its result: the function that computes it, the settings
of its phase, the identity of the input files, its own range, the version and source of molexa. So
a unit that is there need not be computed again, wherever its inputs lie now and whoever asks.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import molexa_core
from molexa_core.base.errors import UsageError
from molexa_core.base.storage.files import FULL_DIGEST_LIMIT, digest

_FORMAT: Final = 1
_KEY: Final = 40
_MOST_READERS: Final = 8


@dataclass(frozen=True)
class Content:
    """The result of a unit.

    Attributes:
        arrays: arrays by name.
        values: plain values that JSON can hold.
    """

    arrays: Mapping[str, NDArray[Any]]
    values: Mapping[str, Any] = field(default_factory=dict)


Compute = Callable[[Mapping[str, Any]], Content]
"""Computes the unit of these values."""


@dataclass(frozen=True)
class Unit:
    """A part of a phase.

    Attributes:
        label: for messages, such as `shots 0 to 131071`.
        values: plain values that say which part.
    """

    label: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Phase:
    """Units that do not depend on each other.

    Attributes:
        compute: `module:function`; the function takes settings and places and returns what
            computes a unit.
        settings: plain values that are the same for all units and decide their results.
        inputs: identity of each input file, see `identity`.
        places: plain values that do not decide the results, such as where the inputs lie now.
        units: in the order in which their results are put together.
    """

    compute: str
    settings: Mapping[str, Any]
    inputs: Sequence[str]
    places: Mapping[str, Any]
    units: Sequence[Unit]

    def keys(self) -> list[str]:
        """The name of each unit."""
        common = {
            "format": _FORMAT,
            "version": molexa_core.__version__,
            "source": source_digest(),
            "compute": self.compute,
            "settings": self.settings,
            "inputs": list(self.inputs),
        }
        state = hashlib.sha256(_text(common).encode())
        found = []
        for unit in self.units:
            own = state.copy()
            own.update(_text(unit.values).encode())
            found.append(own.hexdigest()[:_KEY])
        return found

    def as_values(self) -> dict[str, Any]:
        """Plain values, for a file."""
        return {
            "compute": self.compute,
            "settings": dict(self.settings),
            "inputs": list(self.inputs),
            "places": dict(self.places),
            "units": [[unit.label, dict(unit.values)] for unit in self.units],
            "keys": self.keys(),
        }


def opened(compute: str, settings: Mapping[str, Any], places: Mapping[str, Any]) -> Compute:
    """What computes the units of a phase.

    Raises:
        UsageError: there is no such function.
    """
    module, _, name = compute.partition(":")
    if not module.startswith("molexa_core."):
        raise UsageError(f"{compute!r} is no function of molexa")
    make: Callable[[Mapping[str, Any], Mapping[str, Any]], Compute] = getattr(
        importlib.import_module(module), name
    )
    return make(settings, places)


def identity(path: Path | str) -> str:
    """What tells an input file from others, whatever its name and folder.

    The digest of its content. Of a large file only samples are hashed, so that the time of its
    last change counts too.
    """
    path = Path(path)
    found = digest(path)
    stat = path.stat()
    return found if stat.st_size <= FULL_DIGEST_LIMIT else f"{found}:{stat.st_mtime_ns}"


def identities(paths: Iterable[Path | str]) -> list[str]:
    """The identity of each file; those of several files are found at the same time."""
    with ThreadPoolExecutor(_MOST_READERS, "molexa-digests") as pool:
        return list(pool.map(identity, paths))


@cache
def source_digest() -> str:
    """A digest of the source of molexa: whoever changes it computes anew."""
    root = Path(molexa_core.__file__).parent
    state = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.cu")]):
        content = path.read_bytes()
        state.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        state.update(content)
    return state.hexdigest()


def _text(values: Any) -> str:
    """Plain values as text, the same for the same values."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    msg = f"{type(value).__name__} is no plain value"
    raise TypeError(msg)
