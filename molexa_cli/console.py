"""The console: results to stdout, progress and remarks to stderr, quiet and debug switches."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from molexa_cli.wording import as_typed
from molexa_core.base import interruption
from molexa_core.base.errors import OutputError, UsageError
from molexa_core.base.progress import Progress, SilentProgress, Task
from molexa_core.base.storage.files import UNWRITABLE, cannot_write


@dataclass
class _Switches:
    """The switches of the running command.

    Attributes:
        quiet: no progress, no remarks.
        silent: no warnings either.
        debug: tracebacks of errors.
        separator: between the columns of tables, for `--csv` and `--tsv`; None for tables in text.
        warned: warnings so far.
        shown: how many of them were written.
        tables: the tables so far, if there is a separator.
    """

    quiet: bool = False
    silent: bool = False
    debug: bool = False
    separator: str | None = None
    warned: list[str] = field(default_factory=list)
    shown: int = 0
    tables: list[str] = field(default_factory=list)


SWITCHES = _Switches()
"""The switches of the running command, and its warnings so far."""
WIDTH: Final = 80
"""Width of tables on a terminal that does not say its own, and in files."""
_NARROWEST: Final = 16


class ConsoleProgress:
    """A progress bar with rate and time left on stderr; remarks as plain lines on stderr."""

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Iterator[Task]:
        """See `molexa_core.base.progress.Progress.task`."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        with Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[done]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=False,
            disable=not console.is_terminal,
        ) as bar:
            yield _BarTask(bar, label, total, unit)

    def say(self, text: str) -> None:
        """See `molexa_core.base.progress.Progress.say`."""
        _tell(as_typed(text))

    def warn(self, text: str) -> None:
        """See `molexa_core.base.progress.Progress.warn`."""
        warn(text)


class QuietProgress(SilentProgress):
    """The progress with `--quiet`: only warnings."""

    def warn(self, text: str) -> None:
        """See `molexa_core.base.progress.Progress.warn`."""
        warn(text)


class _BarTask:
    def __init__(self, bar: Any, label: str, total: float | None, unit: str) -> None:
        self._bar, self._unit = bar, unit
        self._task = bar.add_task(label, total=total, done="", rate="", note="")
        self._done = 0.0

    def advance(self, amount: float = 1.0) -> None:
        interruption.check()
        self._done += amount
        self._bar.update(self._task, advance=amount)
        task = self._bar.tasks[self._task]
        rate = self._done / task.elapsed if task.elapsed else 0.0
        total = "" if task.total is None else f"/{_short(task.total)}"
        self._bar.update(
            self._task,
            done=f"{_short(self._done)}{total} {self._unit}",
            rate=f"{_short(rate)} {self._unit}/s",
        )

    def note(self, text: str) -> None:
        self._bar.update(self._task, note=text)


def progress() -> Progress:
    """The progress for the running command: bars on stderr, or warnings alone with `--quiet`."""
    return QuietProgress() if SWITCHES.quiet else ConsoleProgress()


def write(text: str) -> None:
    """Write a result to stdout.

    Raises:
        OutputError: stdout cannot be written, such as a file on a full disk.
    """
    if SWITCHES.separator is not None:
        return  # only the tables are wanted
    _write_line(text)


def write_tables() -> None:
    """Write the tables of a command with `--csv` or `--tsv`, with an empty line between them.

    Raises:
        UsageError: the command made none.
        OutputError: as `write`.
    """
    if not SWITCHES.tables:
        raise UsageError("there is no table to print here", do="Leave out --csv and --tsv.")
    _write_line("\n\n".join(SWITCHES.tables))


def _write_line(text: str) -> None:
    with _stdout():
        _write_all(text if text.endswith("\n") else f"{text}\n")


def flush_stdout() -> None:
    """Flush stdout.

    Raises:
        OutputError: as `write`.
    """
    with _stdout():
        sys.stdout.flush()


def _write_all(text: str) -> None:
    """Write all of a text; with `PYTHONUNBUFFERED` Python drops the rest of a partial write."""
    raw = getattr(sys.stdout, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        sys.stdout.write(text)
        return
    left = memoryview(text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
    while left:
        left = left[raw.write(left) or 0 :]


@contextmanager
def _stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        if error.errno == errno.EBADF:
            raise OutputError(
                "it is closed", where="standard output", do="Send it to a file or to /dev/null."
            ) from error
        raise cannot_write("standard output", error) from error


def write_json(values: Any) -> None:
    """Write a result to stdout as JSON; the warnings of the command are added to an object."""
    if isinstance(values, dict):
        known = [as_typed(str(text)) for text in values.get("warnings") or ()]
        values = {**values, "warnings": list(dict.fromkeys([*known, *SWITCHES.warned]))}
    write(json.dumps(values, indent=2, default=str))


def remark(text: str) -> None:
    """Write a remark to stderr, unless `--quiet`."""
    if not SWITCHES.quiet:
        _tell(as_typed(text))


def warn(text: str) -> None:
    """Keep a warning, why a result may be wrong, for the end of the command; also with `--quiet`.

    Warnings are the last that a command writes, so that nothing pushes them off the screen.
    """
    text = as_typed(text)
    if text not in SWITCHES.warned:
        SWITCHES.warned.append(text)


def show_warnings() -> None:
    """Write the warnings of the command that were not written yet, in colour on a terminal."""
    waiting, SWITCHES.shown = SWITCHES.warned[SWITCHES.shown :], len(SWITCHES.warned)
    if SWITCHES.silent or not waiting:
        return
    with suppress(OutputError, OSError):
        flush_stdout()
    mark = "warning:"
    if sys.stderr.isatty() and "NO_COLOR" not in os.environ:
        mark = f"\x1b[1;33m{mark}\x1b[0m"
    for text in waiting:
        _tell(f"{mark} {text}")


def _tell(text: str) -> None:
    """Write a line to stderr; if that fails, such as on a full disk, the command continues."""
    with suppress(OSError):
        sys.stderr.write(f"{text}\n")


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> str:
    """A plain-text table: text is left-aligned, numbers are right-aligned.

    A table that is wider than the terminal gets lines broken in its widest column of text. With
    `--csv` or `--tsv` the table is kept for `write_tables`, with all digits.
    """
    if SWITCHES.separator is not None:
        SWITCHES.tables.append(_separated(header, rows, title))
    cells = [list(header), *[[_cell(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    numeric = [
        bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        for column in range(len(header))
    ]
    _narrow(widths, numeric, [_narrowest(column) for column in zip(*cells, strict=True)])
    lines = [line for row in cells for line in _lines_of(row, widths, numeric)]
    heads = len(_lines_of(cells[0], widths, numeric))
    lines.insert(heads, "  ".join("-" * width for width in widths))
    if title:
        lines.insert(0, title)
    return "\n".join(lines)


def _narrowest(cells: Sequence[str]) -> int:
    """The least width of a column of text: that of its longest word, if that is not too long."""
    return min(_NARROWEST, max((len(word) for cell in cells for word in cell.split()), default=1))


def _narrow(widths: list[int], numeric: list[bool], least: Sequence[int]) -> None:
    """Make the widest columns of text narrower until the table fits the terminal."""
    most = max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    while (excess := sum(widths) + 2 * (len(widths) - 1) - most) > 0:
        text = [at for at, number in enumerate(numeric) if not number and widths[at] > least[at]]
        if not text:
            return
        widest = sorted(text, key=lambda at: widths[at])
        at = widest[-1]
        next_width = widths[widest[-2]] if len(widest) > 1 else least[at]
        widths[at] = max(least[at], widths[at] - excess, min(next_width, widths[at] - 1))


def _lines_of(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> list[str]:
    """A row of a table as one line, or as several where a cell is longer than its column."""
    parts = [
        [cell] if len(cell) <= width else textwrap.wrap(cell, width, break_on_hyphens=False)
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = []
    for number in range(max((len(part) for part in parts), default=1)):
        cells = [part[number] if number < len(part) else "" for part in parts]
        lines.append(
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(cells, widths, numeric, strict=True)
            ).rstrip()
        )
    return lines


def separated() -> bool:
    """Whether tables are printed as CSV or TSV, with all digits."""
    return SWITCHES.separator is not None


def _separated(header: Sequence[str], rows: Sequence[Sequence[object]], title: str) -> str:
    """A table as CSV or TSV; its title is a line of comment before it."""
    import csv

    text = io.StringIO()
    if title:
        text.write(f"# {title}\n")
    writer = csv.writer(text, delimiter=SWITCHES.separator or ",", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(
        [cell.strip() if isinstance(cell, str) else cell for cell in row] for row in rows
    )
    return text.getvalue().rstrip("\n")


def command_line() -> str:
    """The command line of this process as a user would type it, for provenance."""
    import shlex

    return shlex.join(["molexa", *sys.argv[1:]])


def open_streams() -> None:
    """Replace closed standard streams, whose descriptors later files would get otherwise.

    Output to a closed stdout is an error, as on a full disk; messages to a closed stderr are
    dropped. Characters that stdout cannot write, such as bytes of a file name that are not text,
    are written as numbers.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        place = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(place, number)
            os.close(place)
            place = number
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, os.fdopen(place, mode, encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=UNWRITABLE)


def abandon_stdout() -> None:
    """After a broken pipe: redirect stdout to nothing, so that the exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def abandon_full_stderr() -> None:
    """Redirect a stderr that takes nothing more to nothing; its messages are lost anyway.

    Python would try to write them once more at the exit, and change the exit code to 120.
    """
    try:
        sys.stderr.flush()
    except OSError:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _short(value: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / limit * (10 if suffix == 'k' else 1):.3g}{suffix}"
    return f"{value:.0f}"
