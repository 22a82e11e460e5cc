"""Paths of the files shipped with molexa: channels, templates, weights, molecules.

Looked up in this order: the working folder, the installed package (a wheel carries the folders
under `molexa_core/shipped`), the source tree (an editable install).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import molexa_core
from molexa_core.base.errors import InputFileError, listing, near_matches

_PACKAGE: Final = Path(molexa_core.__file__).resolve().parent
FOLDERS: Final = ("channels", "templates", "weights")
"""The folders that ship with molexa."""


def shipped_folder(kind: str) -> Path:
    """The folder of this kind that came with the installation.

    Raises:
        InputFileError: the installation is incomplete.
    """
    for folder in (_PACKAGE / "shipped" / kind, _PACKAGE.parent / kind):
        if folder.is_dir():
            return folder
    raise InputFileError(
        f"the {kind} folder is missing from the installation",
        where=_PACKAGE,
        do="Install molexa again.",
    )


def search_folders(kind: str) -> list[Path]:
    """Folders to look in for this kind, the working folder first."""
    local = Path.cwd() / kind
    shipped = shipped_folder(kind)
    return [local, shipped] if local.is_dir() and local.resolve() != shipped else [shipped]


def available(kind: str, suffix: str) -> dict[str, Path]:
    """Files of this kind by name without suffix; the working folder wins over what ships."""
    found: dict[str, Path] = {}
    for folder in search_folders(kind):
        for path in sorted(folder.glob(f"*{suffix}")):
            found.setdefault(path.name.removesuffix(suffix), path)
    return found


def find(
    kind: str, name: str, suffix: str, *, what: str | None = None, but: Collection[str] = ()
) -> Path:
    """The file of this kind that `name` means: a path to a file, or a name without suffix.

    Args:
        kind: one of `FOLDERS`.
        name: path, or name without suffix.
        suffix: of the files.
        what: a word for such a file in messages; the kind's if None.
        but: names of files in the same folders that are something else.

    Raises:
        InputFileError: no such file; lists the existing ones.
    """
    what = kind.rstrip("s") if what is None else what
    path = Path(name)
    if path.suffix == suffix or path.is_absolute() or len(path.parts) > 1:
        if path.is_file():
            return path
        raise InputFileError(f"no such {what} file", where=path)
    known = {key: file for key, file in available(kind, suffix).items() if key not in but}
    if name in known:
        return known[name]
    near = near_matches(name, known)
    hint = f"Did you mean {listing(near)}? " if near else ""
    raise InputFileError(
        f"no {what} named {name!r}", do=f"{hint}There are: {listing(sorted(known))}."
    )
