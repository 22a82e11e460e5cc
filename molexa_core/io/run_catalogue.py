"""The catalogue of a beamtime: an SQLite file with a row for each run, and who changed what when.

It is read and written by many processes at once. Every change is one transaction that waits for
its turn and tries again. On local disks readers do not wait for writers (write-ahead log); that log
needs memory shared by all processes, which network file systems do not give between machines, so
there the older rollback journal is used, which locks the file for the time of a change.
"""

from __future__ import annotations

import getpass
import json
import os
import random
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from molexa_core.base.errors import InputFileError, OutputError, UsageError, listing
from molexa_core.base.storage.outputs import output_place

Quality = Literal["good", "bad", ""]
T = TypeVar("T")
CATALOGUE: Final = "runs.sqlite"
"""Usual name of the file, in the working folder."""
_APPLICATION: Final = 0x6D784C31
"""Mark of the file (`application_id`)."""
_FORMAT: Final = 1
WAIT_S: Final = 120.0
"""A change waits for its turn so long."""
_BUSY_MS: Final = 10_000
_NETWORK: Final = (
    *("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs", "pvfs"),
    *("fuse.sshfs", "9p", "fhgfs", "wekafs", "panfs"),
)
"""Beginnings of the names of network file systems."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS runs (
    number INTEGER PRIMARY KEY,
    target TEXT NOT NULL DEFAULT '',
    channel TEXT NOT NULL DEFAULT '',
    quality TEXT NOT NULL DEFAULT '' CHECK (quality IN ('', 'good', 'bad')),
    comment TEXT NOT NULL DEFAULT '',
    files TEXT NOT NULL DEFAULT '[]',
    conditions TEXT NOT NULL DEFAULT '{}',
    changed TEXT NOT NULL DEFAULT '',
    changed_by TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class RunEntry:
    """A run of the catalogue.

    Attributes:
        number: of the run.
        target: what was in the jet.
        channel: name of the channel that it is reduced for.
        quality: `good`, `bad`, or empty: nobody has said.
        comment: free text.
        files: absolute paths, in order.
        conditions: what the files say: numbers of shots, seconds, delays, energies ...
        changed: time of the last change (UTC).
        changed_by: user and machine that made it.
    """

    number: int
    target: str = ""
    channel: str = ""
    quality: str = ""
    comment: str = ""
    files: tuple[str, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    changed: str = ""
    changed_by: str = ""


@dataclass(frozen=True)
class Change:
    """A change of the catalogue: when (UTC), who, and what."""

    number: int
    at: str
    who: str
    what: str


class RunCatalogue:
    """The catalogue in a file; every method opens it for itself, so that it can be shared.

    Args:
        path: the file.
        new: whether it may be made; otherwise it must be there.

    Raises:
        InputFileError: there is none, or the file is no catalogue.
        OutputError: it cannot be made there.
    """

    def __init__(self, path: Path | str = CATALOGUE, *, new: bool = False) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            if not new:
                raise InputFileError(
                    "there is no catalogue of runs",
                    where=self.path,
                    do="`molexa runs add` makes it.",
                )
            self.path = output_place(self.path)
        elif self.path.stat().st_size and not is_catalogue(self.path):
            raise InputFileError(
                "this is no catalogue of runs", where=self.path, do="Name another file."
            )
        if new:
            self._retried(self._make)

    def _make(self, link: sqlite3.Connection) -> None:
        if not _on_network(self.path):
            link.execute("PRAGMA journal_mode = WAL")
        link.execute("BEGIN IMMEDIATE")
        for statement in _TABLES.split(";"):
            link.execute(statement)
        link.execute(f"PRAGMA application_id = {_APPLICATION}")
        link.execute(f"PRAGMA user_version = {_FORMAT}")
        link.execute("COMMIT")

    def add(self, entry: RunEntry) -> bool:
        """Add a run, or bring files and conditions of a known one up to date.

        Target, channel, quality and comment of a known run are kept where the entry has none.

        Returns:
            Whether the run is new.

        Raises:
            UsageError: another run of this number has other files.
        """

        def change(link: sqlite3.Connection) -> bool:
            before = _row(link, entry.number)
            if before is not None and before.files and not set(before.files) <= set(entry.files):
                raise UsageError(
                    f"run {entry.number} has other files: {listing(before.files[:3])}",
                    do="Give another number, or `replace` what is there.",
                )
            _put(link, before, entry)
            return before is None

        return self._changed(change)

    def replace(self, entry: RunEntry) -> None:
        """Add a run, or replace files and conditions of a known one."""
        self._changed(lambda link: _put(link, _row(link, entry.number), entry))

    def mark(
        self,
        numbers: Sequence[int],
        *,
        quality: Quality | None = None,
        comment: str | None = None,
        target: str | None = None,
    ) -> None:
        """Say something about runs; what is None stays as it is.

        Raises:
            InputFileError: there is no run of such a number; nothing is changed.
        """
        given = {"quality": quality, "comment": comment, "target": target}
        said = {name: value for name, value in given.items() if value is not None}

        def change(link: sqlite3.Connection) -> None:
            for number in numbers:
                if _row(link, number) is None:
                    raise self._no_run(number)
                for name, value in said.items():
                    link.execute(f"UPDATE runs SET {name} = ? WHERE number = ?", (value, number))  # noqa: S608  # names of columns
                _sign(link, number, "; ".join(f"{name}: {value}" for name, value in said.items()))

        self._changed(change)

    def runs(self, numbers: Sequence[int] | None = None) -> list[RunEntry]:
        """The runs of these numbers, or all, in the order of the numbers.

        Raises:
            InputFileError: there is no run of such a number.
        """
        with self._open() as link:
            rows = link.execute("SELECT * FROM runs ORDER BY number").fetchall()
        entries = {row["number"]: _entry(row) for row in rows}
        if numbers is None:
            return list(entries.values())
        for number in numbers:
            if number not in entries:
                raise self._no_run(number)
        return [entries[number] for number in sorted(set(numbers))]

    def changes(self, number: int) -> list[Change]:
        """What was changed of a run, oldest first."""
        with self._open() as link:
            rows = link.execute(
                "SELECT number, at, who, what FROM changes WHERE number = ? ORDER BY id", (number,)
            ).fetchall()
        return [Change(*row) for row in rows]

    def _no_run(self, number: int) -> InputFileError:
        return InputFileError(
            f"there is no run {number} in the catalogue",
            where=self.path,
            do="`molexa runs list` shows what there is.",
        )

    def _changed(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in one transaction."""

        def transaction(link: sqlite3.Connection) -> T:
            link.execute("BEGIN IMMEDIATE")
            try:
                done = change(link)
            except BaseException:
                link.execute("ROLLBACK")
                raise
            link.execute("COMMIT")
            return done

        return self._retried(transaction)

    def _retried(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Work on the file; again, while others have it."""
        until, pause = time.monotonic() + WAIT_S, 0.01
        while True:
            try:
                with self._open() as link:
                    return work(link)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > until:
                    raise self._cannot(error) from error
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # not to meet again
                pause = min(2.0 * pause, 0.5)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            link = sqlite3.connect(self.path, timeout=_BUSY_MS / 1000.0, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise self._cannot(error) from error
        with closing(link):
            link.row_factory = sqlite3.Row
            link.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
            link.execute("PRAGMA synchronous = FULL")
            try:
                yield link
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                raise InputFileError(
                    f"the catalogue cannot be read: {error}",
                    where=self.path,
                    do="Take it from a copy, or name another file.",
                ) from error

    def _cannot(self, error: sqlite3.OperationalError) -> OutputError:
        return OutputError(
            f"the catalogue cannot be used: {error}",
            where=self.path,
            do="Check permissions and disk; others may hold it too long.",
        )


def is_catalogue(path: Path) -> bool:
    """Whether a file is a catalogue of runs."""
    with suppress(OSError), path.open("rb") as stream:
        head = stream.read(72)
        return head.startswith(b"SQLite format 3\0") and head[68:72] == _APPLICATION.to_bytes(
            4, "big"
        )
    return False


def _is_busy(error: sqlite3.OperationalError) -> bool:
    text = str(error)
    return "locked" in text or "busy" in text


def _on_network(path: Path) -> bool:
    """Whether a file lies on a network file system, as far as the system tells."""
    place = os.path.realpath(path.parent)
    kind, longest = "", -1
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").split("\n"):
            words = line.split(" ")
            if len(words) > 2:
                mount = words[1].encode().decode("unicode_escape").rstrip("/")
                inside = place == mount or place.startswith(f"{mount}/")
                if inside and len(mount) > longest:
                    kind, longest = words[2], len(mount)
    return kind.startswith(_NETWORK)


def _row(link: sqlite3.Connection, number: int) -> RunEntry | None:
    row = link.execute("SELECT * FROM runs WHERE number = ?", (number,)).fetchone()
    return None if row is None else _entry(row)


def _entry(row: sqlite3.Row) -> RunEntry:
    values = {one.name: row[one.name] for one in fields(RunEntry)}
    values["files"] = tuple(json.loads(values["files"]))
    values["conditions"] = json.loads(values["conditions"])
    return RunEntry(**values)


def _put(link: sqlite3.Connection, before: RunEntry | None, entry: RunEntry) -> None:
    values = asdict(entry)
    if before is not None:
        for name in ("target", "channel", "quality", "comment"):
            values[name] = values[name] or getattr(before, name)
    values["files"] = json.dumps(list(entry.files))
    values["conditions"] = json.dumps(dict(entry.conditions), allow_nan=False)
    names = list(values)
    marks = ", ".join("?" * len(names))
    link.execute(
        f"INSERT OR REPLACE INTO runs ({', '.join(names)}) VALUES ({marks})",  # noqa: S608  # names of columns
        [values[name] for name in names],
    )
    _sign(link, entry.number, "added" if before is None else "files read again")


def _sign(link: sqlite3.Connection, number: int, what: str) -> None:
    """Say who changed a run, and when."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    link.execute(
        "UPDATE runs SET changed = ?, changed_by = ? WHERE number = ?", (at, _who(), number)
    )
    link.execute(
        "INSERT INTO changes (number, at, who, what) VALUES (?, ?, ?, ?)",
        (number, at, _who(), what),
    )


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
