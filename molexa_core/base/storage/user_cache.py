"""The user's cache folder, for results that molexa can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """The user's cache folder for molexa: `$XDG_CACHE_HOME/molexa`, else `~/.cache/molexa`.

    A relative `XDG_CACHE_HOME` is ignored, as the XDG Base Directory Specification asks.
    """
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = named if named.is_absolute() else Path.home() / ".cache"
    return base / "molexa"


def cache_folder(kind: str) -> Path | None:
    """The folder for cached files of this kind, made if needed; None where none can be written."""
    try:
        folder = cache_root() / kind
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no home folder can be found
        return None
    return folder if os.access(folder, os.W_OK) else None
