"""Growing tables on disk: every process adds its own files and never changes others.

The rows of an element at one photon energy lie in one folder, in files that appear only when they
are complete and contain a checksum. If two processes compute the same configuration, it is read
only once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from molexa_core.base.errors import OutputError
from molexa_core.base.progress import SILENT, Progress
from molexa_core.base.storage.user_cache import cache_folder
from molexa_core.physics.atomic.cache import (
    DAMAGE,
    VERSION,
    about,
    checksum,
    read_arrays,
    write_arrays,
)
from molexa_core.physics.atomic.rows import ROW_ARRAYS, Numbering, Rows, join_rows
from molexa_core.physics.atomic.shells import covered_element, ground_occupation

MOST_FILES: Final = 16
"""Number of files above which they are joined to one when they are read."""
_LOOKS: Final = 5
"""Number of attempts to read a folder that other processes are changing."""


def rows_folder(symbol: str, photon_ev: float) -> Path | None:
    """Folder of the rows of an element; None if no cache folder can be written."""
    return cache_folder(f"atomic-v{VERSION}/{symbol}-{photon_ev:.3f}eV")


def write_rows(folder: Path, symbol: str, photon_ev: float, rows: Rows) -> Path:
    """Write rows to a new file, named after its contents.

    Raises:
        OutputError: the file cannot be written.
    """
    said = about(symbol, photon_ev)
    path = folder / f"rows-{checksum(said, rows.arrays())[:20]}.npz"
    write_arrays(path, said, rows.arrays())
    return path


def read_rows(
    folder: Path, symbol: str, photon_ev: float, *, progress: Progress = SILENT
) -> Rows | None:
    """All rows in a folder, each configuration once; None if there are none.

    Damaged files are removed with a notice; their contents are computed again when needed.
    """
    parts: list[Rows] = []
    paths: list[Path] = []
    for _ in range(_LOOKS):
        try:
            parts, paths = _read_files(folder, symbol, photon_ev, progress)
            break
        except FileNotFoundError:
            continue  # another process has just joined the files under another name
    if not parts:
        return None
    rows = join_rows(parts)
    numbering = Numbering(ground_occupation(covered_element(symbol).number))
    _, once = np.unique(numbering.numbers(rows.occupation), return_index=True)
    rows = rows.select(np.sort(once))
    if len(paths) > MOST_FILES:
        _join_files(folder, symbol, photon_ev, rows, paths)
    return rows


def _read_files(
    folder: Path, symbol: str, photon_ev: float, progress: Progress
) -> tuple[list[Rows], list[Path]]:
    """Rows and path of each file that is not damaged.

    Raises:
        FileNotFoundError: a file was removed during reading.
    """
    parts: list[Rows] = []
    paths: list[Path] = []
    for path in sorted(folder.glob("rows-*.npz")):
        try:
            parts.append(Rows(**read_arrays(path, about(symbol, photon_ev), ROW_ARRAYS)))
            paths.append(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            progress.say(f"{path}: cannot be read ({error}); its rows are computed when needed")
        except DAMAGE as error:
            progress.say(f"{path}: damaged ({error}); its rows are computed again when needed")
            path.unlink(missing_ok=True)
    return parts, paths


def _join_files(folder: Path, symbol: str, photon_ev: float, rows: Rows, paths: list[Path]) -> None:
    try:
        joined = write_rows(folder, symbol, photon_ev, rows)
        for path in paths:
            if path != joined:
                path.unlink(missing_ok=True)
    except (OSError, OutputError):
        return  # the separate files can still be used
