"""Writing of a file that the user goes on to edit: never over one that exists."""

from __future__ import annotations

from pathlib import Path

from molexa_core.base.errors import OutputError
from molexa_core.base.storage.files import atomic_path, make_folder


def require_new(path: Path | str) -> Path:
    """The path, if nothing is there yet.

    Raises:
        OutputError: there is a file, which may hold somebody's work.
    """
    path = Path(path)
    if path.exists() or path.is_symlink():
        raise OutputError(
            "the file exists already, and is not replaced",
            where=path,
            do="Edit it, or name another with `out=`.",
        )
    return path


def write_new(path: Path, text: str) -> Path:
    """Write a new file, with the folder it lies in.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    require_new(path)
    if path.parent != Path():
        make_folder(path.parent)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
