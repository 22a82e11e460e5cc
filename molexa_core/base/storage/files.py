"""Atomic writing of files, and checks of input files.

Output is written beside its target under a temporary name and renamed at the end, so that a file
that exists is complete even if the run was interrupted.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from molexa_core.base import interruption
from molexa_core.base.errors import InputFileError, OutputError
from molexa_core.base.storage.checksums import settled_state
from molexa_core.base.storage.outputs import NULL, output_place
from molexa_core.base.storage.temporary import temporary_beside

PROJECT_FILE: Final = "molexa.yaml"
"""Defaults of a working folder (`base.settings.Project`)."""
UNWRITABLE: Final = "backslashreplace"
"""How texts are written that have no form in UTF-8, such as a file name that is not: `\\udcff`."""
FULL_DIGEST_LIMIT: Final = 256 * 2**20
"""Files up to this size in bytes are hashed whole, larger ones by samples."""
_SAMPLE: Final = 4 * 2**20
_digests: Final[dict[tuple[str, int, int, int], str]] = {}
"""Digests of files that had not changed for a while when they were read."""
_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP}
"""What file systems say that have no way to wait for the disk."""
_REMEDIES: Final = {
    errno.ENOSPC: "Free some space, or name another output.",
    errno.EDQUOT: "Your quota is used up: free some space, or name another output.",
    errno.EFBIG: "Raise the limit of the file size (ulimit -f), or name an output elsewhere.",
    errno.EROFS: "Name an output on a disk that can be written.",
    errno.EIO: "The disk or its connection has a fault: name an output elsewhere.",
}


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """A temporary path that becomes `target` when the block ends without an error.

    The temporary file keeps the suffix of the target (some writers choose the format by it).
    On any error, Ctrl-C included, it is removed and `target` stays as it was. A link stays a link:
    the file that it leads to is replaced. What is written to `/dev/null` is discarded.

    Raises:
        OutputError: nothing can be written there, see `base.storage.outputs.output_place`.
    """
    place = output_place(target)
    if place == NULL:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch, f"discarded{Path(target).suffix}")
        return
    shown, target, folder = target, place, place.parent
    with temporary_beside(target) as temporary:
        try:
            yield temporary
            interruption.check()
            _to_disk(temporary)
            temporary.replace(target)
            _folder_to_disk(folder)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            if error.filename is not None and Path(str(error.filename)) not in (temporary, target):
                raise
            raise cannot_write(shown, error) from error


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it, where it does not exist.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder: {error.strerror or error}",
            where=folder,
            do=_REMEDIES.get(error.errno or 0, "Name another place."),
        ) from error


def cannot_write(target: Path | str, error: OSError) -> OutputError:
    """The error for a failed write: which file, why, and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "Name another output.")
    return OutputError(f"cannot write: {error.strerror or error}", where=target, do=remedy)


def _to_disk(path: Path) -> None:
    """Wait until the content of a file is on the disk; delayed write errors are raised here."""
    with path.open("r+b") as stream:
        try:
            os.fdatasync(stream.fileno())
        except OSError as error:
            if error.errno not in _NO_SYNC:
                raise


def _folder_to_disk(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return  # the file is in place; some network drives cannot do more
    finally:
        os.close(handle)


def require_file(path: Path | str) -> Path:
    """The path, if it is a readable file.

    Raises:
        InputFileError: it does not exist, is a folder, or cannot be read.
    """
    path = Path(path)
    is_there, is_folder = _looked_at(path)
    if not is_there:
        raise InputFileError("no such file", where=path, do="Check the name and the folder.")
    if is_folder:
        raise InputFileError("this is a folder, not a file", where=path, do="Name a file in it.")
    if not os.access(path, os.R_OK):
        raise InputFileError("no permission to read", where=path, do="Change its permissions.")
    return path


def require_folder(path: Path | str, *, do: str = "Check the name.") -> Path:
    """The path, if it is a folder.

    Args:
        path: what should be a folder.
        do: advice if it is not a folder.

    Raises:
        InputFileError: it does not exist, or is a file.
    """
    path = Path(path)
    is_there, is_folder = _looked_at(path)
    if is_folder:
        return path
    what = "this is a file, not a folder" if is_there else "no such folder"
    raise InputFileError(what, where=path, do=do)


def _looked_at(path: Path) -> tuple[bool, bool]:
    """Whether there is something of this name, and whether it is a folder.

    Raises:
        InputFileError: the name is too long, or the folder does not let anybody look.
    """
    try:
        return path.exists(), path.is_dir()
    except OSError as error:
        raise InputFileError(
            f"cannot be read: {error.strerror or error}",
            where=path,
            do="Check the name and the folder.",
        ) from error


def digest(path: Path | str) -> str:
    """A digest of a file's content, as `sha256:...` or, for large files, `sha256-sampled:...`.

    Files above `FULL_DIGEST_LIMIT` are hashed by size and three samples of 4 MiB (start, middle,
    end): enough to distinguish runs in the provenance without reading a run twice. A file that has
    not changed since is not read again.
    """
    path = Path(path)
    state = settled_state(path)
    if state is not None and state in _digests:
        return _digests[state]
    found = _digest(path)
    if state is not None and state == settled_state(path):
        _digests[state] = found
    return found


def _digest(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= FULL_DIGEST_LIMIT:
            return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        state = hashlib.sha256(str(size).encode())
        for start in (0, size // 2, size - _SAMPLE):
            stream.seek(start)
            state.update(stream.read(_SAMPLE))
    return f"sha256-sampled:{state.hexdigest()}"
