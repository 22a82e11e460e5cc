"""Files that are either complete or not there.

Output is written beside its target under a temporary name and renamed at the end, so that a file
that exists is complete, whatever interrupted the run.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from molexa_core.base.errors import InputFileError, OutputError
from molexa_core.base.outputs import NULL, output_place

PROJECT_FILE: Final = "molexa.yaml"
"""Defaults of a working folder (`base.settings.Project`)."""
FULL_DIGEST_LIMIT: Final = 256 * 2**20
"""Files up to this size in bytes are hashed whole, larger ones by samples."""
_SAMPLE: Final = 4 * 2**20


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path that becomes `target` when the block ends without an error.

    The temporary file keeps the suffix of the target (some writers choose the format by it).
    On any error, Ctrl-C included, it is removed and `target` stays as it was. A link stays a link:
    the file that it leads to is replaced. What is written to `/dev/null` is discarded.

    Raises:
        OutputError: nothing can be written there, see `base.outputs.output_place`.
    """
    place = output_place(target)
    if place == NULL:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch, f"discarded{Path(target).suffix}")
        return
    shown, target, folder = target, place, place.parent
    temporary = folder / f".{target.stem}.part-{os.getpid()}{target.suffix}"
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        if error.filename is not None and Path(str(error.filename)) not in (temporary, target):
            raise
        raise OutputError(
            f"cannot write: {error.strerror or error}", where=shown, do="Name another output."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_file(path: Path | str) -> Path:
    """The path, if it is a readable file.

    Raises:
        InputFileError: it does not exist, is a folder, or cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputFileError("no such file", where=path, do="Check the name and the folder.")
    if path.is_dir():
        raise InputFileError("this is a folder, not a file", where=path, do="Name a file in it.")
    if not os.access(path, os.R_OK):
        raise InputFileError("no permission to read", where=path, do="Change its permissions.")
    return path


def require_folder(path: Path | str, *, do: str = "Check the name.") -> Path:
    """The path, if it is a folder.

    Args:
        path: what should be a folder.
        do: what to do where it is none.

    Raises:
        InputFileError: it does not exist, or is a file.
    """
    path = Path(path)
    if path.is_dir():
        return path
    what = "this is a file, not a folder" if path.exists() else "no such folder"
    raise InputFileError(what, where=path, do=do)


def digest(path: Path | str) -> str:
    """A digest of a file's content, as `sha256:...` or, for large files, `sha256-sampled:...`.

    Files above `FULL_DIGEST_LIMIT` are hashed by size and three samples of 4 MiB (start, middle,
    end): enough to tell runs apart in a record of what was read, without reading a run twice.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= FULL_DIGEST_LIMIT:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        state = hashlib.sha256(str(size).encode())
        for start in (0, size // 2, size - _SAMPLE):
            stream.seek(start)
            state.update(stream.read(_SAMPLE))
    return f"sha256-sampled:{state.hexdigest()}"
