"""Cache of atomic tables on disk, one npz file per element and photon energy.

The files lie in the cache folder of the user. Each holds plain arrays, a record that describes
them, and a SHA-256 of both; a file that disagrees with its checksum is computed again.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from molexa_core.base.errors import OutputError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.storage.lock import locked
from molexa_core.base.storage.user_cache import cache_folder
from molexa_core.physics.atomic.element_tables import (
    ARRAYS,
    AtomicTables,
    build_tables,
    require_photon,
)
from molexa_core.physics.atomic.shells import covered_element

VERSION: Final = 2
"""Version; increased when the physics, the numerics or the format of the tables changes."""
DAMAGE: Final = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""Exceptions from reading a file whose contents have changed since it was written."""
_LARGEST: Final = 256 * 2**20
"""Largest size of a table, bytes."""


def atomic_tables(
    symbol: str, photon_ev: float, *, use_cache: bool = True, progress: Progress = SILENT
) -> AtomicTables:
    """The tables of one element at one photon energy, from the cache or computed.

    Args:
        symbol: element, H to Ar.
        photon_ev: photon energy in eV; rounded to 1 meV.
        use_cache: read and write the cache folder of the user.
        progress: display of the progress, and notices on damaged files.

    Raises:
        UnknownIonError: the element is not covered.
        UsageError: the photon energy is not usable.
        ComputationError: a configuration did not converge.
    """
    covered_element(symbol)
    require_photon(symbol, photon_ev)
    photon_ev = round(photon_ev, 3)
    if not use_cache:
        return build_tables(symbol, photon_ev, progress=progress)
    path = cache_file(symbol, photon_ev)
    if path is None:
        progress.say("no cache folder can be written; the tables are not kept")
        return build_tables(symbol, photon_ev, progress=progress)
    kept = _read_cached(path, symbol, photon_ev, SILENT)
    if kept is not None:
        return kept

    def waiting() -> None:
        progress.say(f"another process computes the tables of {symbol}; waiting for it")

    with locked(path, waiting=waiting):
        kept = _read_cached(path, symbol, photon_ev, progress)
        if kept is not None:
            return kept
        tables = build_tables(symbol, photon_ev, progress=progress)
        try:
            write_tables(path, tables)
        except (OSError, OutputError) as error:
            progress.say(f"the tables are not kept: {error}")
    return tables


def _read_cached(
    path: Path, symbol: str, photon_ev: float, progress: Progress
) -> AtomicTables | None:
    """The tables in a file; None if they are not there, with a notice if the file is damaged."""
    try:
        return read_tables(path, symbol, photon_ev)
    except FileNotFoundError:
        return None
    except OSError as error:
        progress.say(f"{path}: cannot be read ({error}); the tables are computed")
    except DAMAGE as error:
        progress.say(f"{path}: the cached tables are damaged ({error}); they are built again")
    return None


def cache_file(symbol: str, photon_ev: float) -> Path | None:
    """Path of the tables of an element; None if no cache folder can be written."""
    folder = cache_folder(f"atomic-v{VERSION}")
    return None if folder is None else folder / f"{symbol}-{photon_ev:.3f}eV.npz"


def write_tables(path: Path, tables: AtomicTables) -> None:
    """Write tables with their checksum, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    write_arrays(path, about(tables.symbol, tables.photon_ev), tables.arrays())


def read_tables(path: Path, symbol: str, photon_ev: float) -> AtomicTables:
    """Read tables and check them against their checksum.

    Raises:
        OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error: as `read_arrays`.
    """
    arrays = read_arrays(path, about(symbol, photon_ev), ARRAYS)
    return AtomicTables(symbol=symbol, photon_ev=photon_ev, **arrays)


def about(symbol: str, photon_ev: float) -> dict[str, str | int | float]:
    """The record that describes the contents of a file."""
    return {"version": VERSION, "symbol": symbol, "photon_ev": photon_ev}


def write_arrays(path: Path, said: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays and the record that describes them, with a checksum of both, atomically.

    Raises:
        OutputError: the file cannot be written.
    """
    record = json.dumps({**said, "sha256": checksum(said, arrays)})
    content: dict[str, Any] = {**arrays, "record": np.array(record)}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **content)


def read_arrays(
    path: Path, said: Mapping[str, Any], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Read arrays and check them against their record.

    Raises:
        OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error: the file is not
            readable, not of this element, energy and version, or has changed since it was written.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > _LARGEST:
        raise ValueError(f"it says that it holds {size} bytes")
    with np.load(path, allow_pickle=False) as content:
        record = json.loads(str(content["record"]))
        arrays = {name: content[name] for name in names}
    if not isinstance(record, dict) or {key: record.get(key) for key in said} != dict(said):
        raise ValueError("it holds other tables than its name says")
    if record.get("sha256") != checksum(said, arrays):
        raise ValueError("the checksum does not fit")
    return arrays


def checksum(said: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of the record of a file and the contents of its arrays."""
    state = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name} {array.dtype.str} {array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()
