"""The state of a watch in one file: how far each run was read, and all counts up to there.

Both stand in the same file, which is replaced as a whole: whenever the program ends, a later one
goes on from the last file, and no shot is lost or counted twice.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import InputFileError
from molexa_core.base.storage.files import atomic_path, require_file

FORMAT: Final = 1
_DO: Final = "Begin anew with `fresh=True`, or name another file with `state=`."


def write_state(path: Path, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the state; the file before is replaced when the new one is complete.

    Raises:
        OutputError: it cannot be written.
    """
    text = json.dumps({"molexa_watch": FORMAT, **_finite(values)}, allow_nan=False)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, values=np.array(text), **arrays)


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The values and arrays of a state.

    Raises:
        InputFileError: the file cannot be read, or is none of `molexa watch`.
    """
    require_file(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        values = json.loads(str(arrays.pop("values")[()]))
        known = values["molexa_watch"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputFileError("this is no state of molexa watch", where=path, do=_DO) from error
    if known != FORMAT:
        raise InputFileError(f"the state has format {known}", where=path, do=_DO)
    return values, arrays


def is_watch_state(path: Path) -> bool:
    """Whether a file is the state of a watch."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return "molexa_watch" in json.loads(str(stored["values"][()]))
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return False


def _finite(value: Any) -> Any:
    """Plain values without NaN and infinity, which JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value
