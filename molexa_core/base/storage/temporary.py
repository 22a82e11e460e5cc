"""Names of temporary files beside their targets, and removal of those left by killed jobs.

    .NAME.part-MACHINE-PROCESS-RANDOM.SUFFIX

`MACHINE` (eight digits) stands for the host since it was started and, in a container, for its own
numbering of processes; `PROCESS` is the number of the process. So two jobs never use the same name
on a shared disk, and files of a killed job are recognised by name and removed by the next job that
writes to the folder: if the process is gone, or, from another machine, if the file was not touched
for a week.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

from molexa_core.base.interruption import on_sudden_end

OLD_S: Final = 7 * 86_400.0
"""After this many seconds untouched, a temporary file of another machine is a leftover."""
_LONGEST: Final = 255
"""Bytes that a file name may have."""
_NAME: Final = re.compile(r"\..*\.part-([0-9a-f]{8})-([0-9]{1,10})-[0-9a-f]{8}(\.[^.]*)?")
_LIVE: Final[dict[Path, int]] = {}
"""Temporary files in use, with the process that uses them (a fork knows those of its parent)."""
_SWEPT: Final[set[Path]] = set()
"""Folders in which this process has looked for leftovers."""


@contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A name for a temporary file in the folder of `target`; the file is gone after the block.

    The name keeps the suffix of the target, by which some writers choose the format.
    """
    remove_leftovers(target.parent)
    temporary = (target.parent / _name(target)).absolute()
    _LIVE[temporary] = os.getpid()
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        _LIVE.pop(temporary, None)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what killed jobs left in a folder; a process looks once into each.

    Returns:
        What was removed.
    """
    place = folder.absolute()
    if place in _SWEPT:
        return []
    _SWEPT.add(place)
    removed = []
    try:
        with os.scandir(folder) as entries:
            left = [Path(one.path) for one in entries if _is_leftover(one)]
        for path in left:
            path.unlink(missing_ok=True)
            removed.append(path)
    except OSError:
        return removed  # the next job tries again
    return removed


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    match = _NAME.fullmatch(entry.name)
    if match is None or not entry.is_file(follow_symlinks=False):
        return False
    if match[1] == _machine():
        number = int(match[2])
        if number == os.getpid():
            return Path(entry.path).absolute() not in _LIVE
        return not _runs(number)
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > OLD_S


def _runs(number: int) -> bool:
    """Whether a process with this number runs here; true if that cannot be determined."""
    if os.name != "posix":
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _name(target: Path) -> str:
    suffix = target.suffix
    tail = f".part-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    stem = target.name.removesuffix(suffix).encode("utf-8", "surrogateescape")
    room = _LONGEST - len(os.fsencode(tail)) - 1
    return f".{stem[:room].decode('utf-8', 'ignore')}{tail}"


@cache
def _machine() -> str:
    """Eight digits for the running system and its numbering of processes."""
    known = [socket.gethostname()]
    with suppress(OSError):  # hosts that were copied have the same name
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with suppress(OSError):  # containers count their processes anew
        known.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(" ".join(known).encode("utf-8", "replace")).hexdigest()[:8]


def _remove_live() -> None:
    for path, process in list(_LIVE.items()):
        if process == os.getpid():
            path.unlink(missing_ok=True)


on_sudden_end(_remove_live)
