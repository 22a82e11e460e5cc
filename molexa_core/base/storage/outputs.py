"""Checks of output paths, made before the work begins and again when a file is opened.

`output_place` checks the path alone, before every write (`base.storage.files`). `require_apart`
refuses outputs that are inputs of the same command. `pipeline.output_guard` adds a check of the
content of a file that would be replaced.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

from molexa_core.base.errors import OutputError, StreamError, UsageError

NULL: Final = Path(os.devnull)
"""The place to discard a result."""
_MOST_LINKS: Final = 40
_STREAMS: Final = ("/dev/stdin", "/dev/stdout", "/dev/stderr")
_OPEN_FILES: Final = ("/dev/fd", "/proc")
_WRITERS: Final = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_ANOTHER: Final = "Name another output."
_REPLACE_FOREIGN: ContextVar[bool] = ContextVar("replace_foreign", default=False)


class FileKind(StrEnum):
    """The kinds of file that molexa writes, in words."""

    EVENTS = "file of coincidences"
    ALIGNED = "file of aligned coincidences"
    TRUTH = "truth of a virtual run"
    CHANNELS = "file of combinations of charges"
    STRUCTURES = "file of structures of single events"
    COVARIANCE = "file of covariances"
    DATASET = "file of a data set"
    RECIPE = "resolved recipe"
    MOMENTA = "table of mean momenta"
    GEOMETRY = "XYZ file"
    RECONSTRUCTION = "reconstruction (JSON)"
    EVALUATION = "evaluation (JSON)"
    FIGURE_VALUES = "file of the values of figures (JSON)"
    TRAINING = "file of the settings of a training"
    TRAINING_LOG = "log of a training"
    TRAINING_EVENTS = "log of a training for TensorBoard"
    CHECKPOINT = "checkpoint of a training"
    CARD = "card of network weights"
    WEIGHTS = "file of network weights"
    FIGURE = "figure"
    FIGURE_NUMBERS = "table of the numbers of a figure (CSV)"
    REPORT = "report page"
    DETECTOR = "calibration of a detector (YAML)"
    SETUP = "setup (YAML)"
    SPECTROMETER = "calibration of a spectrometer (JSON)"
    EXPLOSION = "calibration of an explosion (YAML)"
    SPECTRUM = "table of a spectrum"
    SERIES = "series (JSON)"
    REGIONS = "file of regions (YAML)"
    CHANNEL = "channel with regions (YAML)"
    GATE_PAGE = "page of a map"
    SERIES_TABLE = "table of a series"
    WATCH = "state of a watch"


class RunKind(str):
    """The kind of a run in one of the formats that molexa writes, in words."""

    __slots__ = ()


Kind = FileKind | RunKind
"""What a file that molexa writes is."""


@cache
def run_kind(layout: str) -> RunKind:
    """The kind of a run in one of the formats that molexa writes.

    Args:
        layout: the format as `mock` and `convert` call it, such as `root-jagged`.
    """
    return RunKind(f"run ({layout})")


def output_place(path: Path | str) -> Path:
    """The path at which a result of this name is written: links are followed, `NULL` discards it.

    A link stays a link; the file that it leads to is the one that is replaced.

    Raises:
        OutputError: there is no such folder or no permission in it; there is something that is
            no file (a folder, a pipe, a device), a read-only file, a link that leads nowhere, or
            the name is longer than the disk takes.
    """
    shown = Path(path)
    if "\0" in str(shown):
        raise OutputError("the name has a NUL in it", where=repr(str(shown)), do=_ANOTHER)
    try:
        return _place(shown)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write: {_reason(error)}", where=shown, do=_ANOTHER) from error


def _place(shown: Path) -> Path:
    target = _followed(shown)
    folder = target.parent
    try:
        status = target.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        status = None
    if status is None:
        if shown.is_symlink():
            raise OutputError(
                f"this is a link to {target}, which does not exist", where=shown, do=_ANOTHER
            )
    elif stat.S_ISCHR(status.st_mode) and status.st_rdev == NULL.stat().st_rdev:
        return NULL
    else:
        _require_file(status, target, shown)
    if not folder.is_dir():
        raise OutputError(
            "cannot write: the folder does not exist",
            where=shown,
            do=f"Create {shown.parent} or name another output.",
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError("cannot write: no permission in the folder", where=shown, do=_ANOTHER)
    longest = _longest_name(folder)
    length = len(os.fsencode(target.name))
    if length > longest:
        raise OutputError(
            f"the name is {length} bytes long, and this disk takes {longest}",
            where=_shortened(shown),
            do="Name a shorter output.",
        )
    return target


def _followed(shown: Path) -> Path:
    """The path that a name leads to, with every link on the way checked."""
    target = shown
    for _ in range(_MOST_LINKS):
        # `..` at the end of a name is no name of a file: what it leads to is.
        whole = target.name in ("", "..")
        real = os.path.realpath(target if whole else target.parent)
        target = Path(real) if whole else Path(real, target.name)
        _require_no_stream(target, shown)
        if not target.is_symlink():
            return target
        target = target.parent / target.readlink()
    raise OutputError("cannot write: the link leads back to itself", where=shown, do=_ANOTHER)


def _require_no_stream(place: Path, shown: Path) -> None:
    text = str(place)
    if text in _STREAMS or any(Path(folder) in place.parents for folder in _OPEN_FILES):
        raise StreamError(
            "results are written to files, not to a stream or an open file",
            where=shown,
            do="Name a file.",
        )


def _require_file(status: os.stat_result, place: Path, shown: Path) -> None:
    for test, what in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe (FIFO)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(status.st_mode):
            raise OutputError(f"cannot write: this is {what}", where=shown, do="Name a file.")
    # Root may write whatever the mode says, but whoever took the right away meant it.
    if not status.st_mode & _WRITERS or not os.access(place, os.W_OK):
        mode = f"{stat.S_IMODE(status.st_mode):03o}"
        raise OutputError(
            f"cannot write: the file is read-only (mode {mode})",
            where=shown,
            do="Name another output, or change its permissions.",
        )


def _reason(error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "the name is longer than this disk takes"
    return error.strerror or str(error)


def _longest_name(folder: Path) -> int:
    """Most bytes of a name in this folder."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):
        return 255


def _shortened(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 120 else f"{text[:60]}...{text[-40:]}"


def output_folder(path: Path | str) -> Path:
    """The folder of this name, if it is one or can be made.

    Raises:
        OutputError: it is a file, the name is too long, or nothing can be made there.
    """
    folder = Path(path)
    if "\0" in str(folder):
        raise OutputError("the name has a NUL in it", where=repr(str(folder)), do=_ANOTHER)
    try:
        above = folder
        while not os.path.lexists(above):
            if len(os.fsencode(above.name)) > _longest_name(Path()):
                raise OSError(errno.ENAMETOOLONG, "")
            above = above.parent
        is_folder = above.is_dir()
    except OSError as error:
        raise OutputError(
            f"cannot make the folder: {_reason(error)}", where=_shortened(folder), do=_ANOTHER
        ) from error
    if not is_folder:
        what = "this is a file, not a folder" if above == folder else f"{above} is no folder"
        raise OutputError(what, where=folder, do="Name another folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write: no permission in {above}", where=folder, do="Name another folder."
        )
    return folder


def require_apart(outputs: Sequence[Path | str], inputs: Iterable[Path | str]) -> None:
    """Refuse results that would replace inputs of the same command, or each other.

    Files are compared by identity on the disk, through symbolic and hard links.

    Args:
        outputs: files that will be written; those that are discarded do not count.
        inputs: files that are read.

    Raises:
        UsageError: an output is an input, or two outputs are one file.
    """
    read = {_identity(Path(path)): path for path in inputs}
    written: dict[object, Path | str] = {}
    for path in outputs:
        identity = _identity(Path(path))
        if identity == _identity(NULL):
            continue
        if identity in read:
            same = "" if str(read[identity]) == str(path) else f" ({read[identity]})"
            raise UsageError(
                f"this command reads that file{same}: writing the result there would destroy it",
                where=path,
                do=_ANOTHER,
            )
        if identity in written:
            same = (
                "" if str(written[identity]) == str(path) else f" (also named {written[identity]})"
            )
            raise UsageError(
                f"two results of this command would be the same file{same}",
                where=path,
                do="Name different outputs.",
            )
        written[identity] = path


def _identity(path: Path) -> object:
    """Equal for two names of one file, whether it is there or will be."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        place = os.path.realpath(path) if "\0" not in str(path) else str(path)
        return place.casefold() if _ignores_case(Path(place).parent) else place
    return found.st_dev, found.st_ino


def _ignores_case(folder: Path) -> bool:
    """Whether the disk of a folder takes `A` and `a` for one name."""
    other = folder.with_name(folder.name.swapcase()) if folder.name else folder
    try:
        return other.name != folder.name and other.samefile(folder)
    except (OSError, ValueError):
        return False


def replaces_foreign() -> bool:
    """Whether results may replace files that molexa did not write."""
    return _REPLACE_FOREIGN.get()


def set_replacing(foreign: bool) -> None:
    """Say whether results may replace files that molexa did not write."""
    _REPLACE_FOREIGN.set(foreign)


@contextmanager
def replacing_foreign() -> Iterator[None]:
    """In this block, results may replace files that molexa did not write."""
    token = _REPLACE_FOREIGN.set(True)
    try:
        yield
    finally:
        _REPLACE_FOREIGN.reset(token)
