"""Damaged inputs, each read in a forked process of its own, and what came of it.

A process is forked after everything heavy was imported, so a fault costs a fraction of a second.
It has limits of memory and time; what it printed and how it ended is judged here:

- `refused`: one sentence and exit code 1 or 2;
- `unchanged`, `accepted`: read; for formats of molexa the values are those of the healthy file;
- `changed` (a fault): a file of molexa was accepted with other values;
- `traceback`, `memory`, `hang`, `signal`, `unclear` (faults): no sentence, or several lines of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from molexa_cli.main import main
from molexa_core.base.errors import MolexaError
from molexa_core.base.storage.files import UNWRITABLE
from tests.fakes.damage import damaged
from tests.fakes.inputs import Command, Kind, fingerprint

GOOD: Final = ("refused", "unchanged", "accepted")
"""What may come of a damaged input."""
MEMORY: Final = 2**30
"""Bytes that reading a small damaged file may take beyond what a healthy one takes."""
SECONDS: Final = 10.0
"""Seconds of a processor that it may take."""
WAIT: Final = 90.0
"""Seconds on the clock after which a process is ended that does nothing (others may be busy)."""
LISTING: Final = {"--verify", "check"}
"""Commands with these words list what is wrong with a file, and leave with exit code 1."""
_CHANGED: Final = 77
_TRACEBACK: Final = 78


@dataclass(frozen=True)
class Fault:
    """One damaged input and what came of it."""

    kind: str
    seed: int
    damage: str
    command: str
    verdict: str
    said: str
    seconds: float
    mebibytes: float


@dataclass
class Tally:
    """The faults of one kind of input.

    Attributes:
        verdicts: how many of each.
        bad: those that should not be.
        seconds, mebibytes: most that a fault took.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    bad: list[Fault] = field(default_factory=list)
    seconds: float = 0.0
    mebibytes: float = 0.0

    def add(self, fault: Fault) -> None:
        """Count a fault."""
        self.verdicts[fault.verdict] += 1
        self.seconds = max(self.seconds, fault.seconds)
        self.mebibytes = max(self.mebibytes, fault.mebibytes)
        if fault.verdict not in GOOD:
            self.bad.append(fault)


class Trial:
    """A kind of input in a folder, ready to be damaged again and again."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.healthy = folder / "healthy"
        self.healthy.mkdir(parents=True)
        kind.make(self.healthy)
        self.good = (self.healthy / kind.file).read_bytes()
        self.expected = ""
        if kind.values is not None:
            with contextlib.chdir(self.healthy):
                self.expected = fingerprint(kind.values())
        for command in kind.commands:
            self._warm(command)
        self.base = max(self._run(None, command).mebibytes for command in kind.commands)

    def _warm(self, command: Command) -> None:
        """Run a command in this process, so that those that are forked have everything loaded."""
        work = self.folder / "warm"
        shutil.copytree(self.healthy, work)
        kept, nothing = [os.dup(1), os.dup(2)], os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
            with contextlib.chdir(work):
                _called(command)
        finally:
            sys.stdout.flush()
            for place, number in enumerate(kept, start=1):
                os.dup2(number, place)
                os.close(number)
            os.close(nothing)
        shutil.rmtree(work)

    def run(self, seed: int) -> Fault:
        """The fault of this number."""
        return self._run(seed, self.kind.commands[seed % len(self.kind.commands)])

    def _run(self, seed: int | None, command: Command) -> Fault:
        work = self.folder / f"{seed}"
        work.mkdir()
        for source in sorted(self.healthy.rglob("*")):
            target = work / source.relative_to(self.healthy)
            if source.is_dir():
                target.mkdir()
            else:
                target.symlink_to(source)
        damage = "none"
        if seed is not None:
            data, damage = damaged(self.good, self.kind.name, seed, text=self.kind.text)
            (work / self.kind.file).unlink()
            (work / self.kind.file).write_bytes(data)
        began = time.monotonic()
        process = os.fork()
        if process == 0:
            _child(work, command, self.kind, self.expected)
        status, usage, hung = _wait(process, began)
        said = (work / ".said").read_text(encoding="utf-8", errors="replace")
        used = usage.ru_utime + usage.ru_stime
        grown = usage.ru_maxrss * 1024
        if seed is None:
            if os.waitstatus_to_exitcode(status) != 0:
                msg = f"{self.kind.name}: the healthy input is not read: {said[-800:]}"
                raise AssertionError(msg)
            verdict = "accepted"
        else:
            over = grown / 2**20 - self.base
            verdict = _verdict(status, said, used, over * 2**20, hung, own=bool(self.expected))
            if verdict == "unclear" and not callable(command) and set(command) & LISTING:
                verdict = "unclear" if "molexa: " in said else "refused"
        told = "function" if callable(command) else " ".join(command)
        fault = Fault(
            self.kind.name, seed or 0, damage, told, verdict, said[-600:], used, grown / 2**20
        )
        if verdict in GOOD:
            shutil.rmtree(work)
        return fault


def _wait(process: int, began: float) -> tuple[int, resource.struct_rusage, bool]:
    """How a process ended; one that waits for ever is ended."""
    while True:
        found, status, usage = os.wait4(process, os.WNOHANG)
        if found:
            return status, usage, False
        if time.monotonic() - began > WAIT:
            os.kill(process, signal.SIGKILL)
            _, status, usage = os.wait4(process, 0)
            return status, usage, True
        time.sleep(0.005)


def _verdict(status: int, said: str, seconds: float, grown: float, hung: bool, *, own: bool) -> str:
    code = os.waitstatus_to_exitcode(status)
    broken = {
        "hang": hung or seconds > SECONDS or code in {-signal.SIGXCPU, -signal.SIGKILL},
        "memory": grown > MEMORY or "MemoryError" in said or "Unable to allocate" in said,
        "signal": code < 0,
        "changed": code == _CHANGED,
        "traceback": code == _TRACEBACK or "Traceback" in said,
    }
    for verdict, found in broken.items():
        if found:
            return verdict
    if code == 0:
        return "unchanged" if own else "accepted"
    sentence = [line for line in said.splitlines() if line.startswith("molexa: ")]
    last = said.rstrip().splitlines()[-1:] or [""]
    clear = code in {1, 2} and len(sentence) == 1 and last == sentence
    clear = clear and not re.search(r"<class|0x[0-9a-f]{8}|\bNoneType\b", sentence[0])
    return "refused" if clear and len(sentence[0]) < 1500 else "unclear"


def _child(work: Path, command: Command, kind: Kind, expected: str) -> None:
    """Run one command in this process, and leave it."""
    code = _TRACEBACK
    try:
        os.chdir(work)
        said = os.open(".said", os.O_CREAT | os.O_WRONLY)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = (
            open(number, "w", encoding="utf-8", errors=UNWRITABLE, closefd=False)  # noqa: SIM115
            for number in (1, 2)
        )
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = _virtual() + MEMORY + 2**29
        if most in (resource.RLIM_INFINITY, -1) or limit < most:
            resource.setrlimit(resource.RLIMIT_AS, (limit, most))
        resource.setrlimit(resource.RLIMIT_CPU, (int(2 * SECONDS), int(3 * SECONDS)))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        warnings.simplefilter("ignore")  # of numpy, about numbers that make no sense
        code = _called(command)
        if code == 0 and kind.values is not None and expected:
            code = 0 if _same(kind, expected) else _CHANGED
    except BaseException:  # noqa: BLE001 - whatever it is, it is what the user would see
        traceback.print_exc()
        code = _TRACEBACK
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _called(command: Command) -> int:
    if not callable(command):
        return main(list(command))
    try:
        command()
    except MolexaError as error:
        sys.stderr.write(f"molexa: {error}\n")
        return error.exit_code
    return 0


def _same(kind: Kind, expected: str) -> bool:
    """Whether a file gives what the healthy one gave; one that is refused now gives nothing."""
    assert kind.values is not None
    try:
        return fingerprint(kind.values()) == expected
    except MolexaError:
        return True


def _virtual() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def faults(trial: Trial, seeds: Sequence[int]) -> Iterator[Fault]:
    """The faults of these numbers, one after the other."""
    for seed in seeds:
        yield trial.run(seed)
