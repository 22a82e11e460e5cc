"""Locks: one process works, the others wait, and nobody waits for the dead."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from molexa_core.base import interruption
from molexa_core.base.interruption import Interruption
from molexa_core.base.storage.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from molexa_core.base.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_lock_is_gone_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "a") as held:
            assert held
    assert list(tmp_path.iterdir()) == []


def test_another_process_is_waited_for(tmp_path: Path) -> None:
    told: list[str] = []
    with (
        holder(tmp_path / "a", 0.5) as process,
        locked(tmp_path / "a", waiting=lambda: told.append("waiting")) as held,
    ):
        assert held
        assert process.wait(10) == 0
    assert told == ["waiting"]
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with holder(tmp_path / "a", 60.0) as process:
        process.kill()
    with locked(tmp_path / "a", longest_s=0.0) as held:
        assert held


def test_a_process_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with holder(tmp_path / "a", 60.0) as process:
        with locked(tmp_path / "a", longest_s=0.2) as held:
            assert not held
        process.kill()


def test_a_signal_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holder(tmp_path / "a", 60.0) as process:
        monkeypatch.setattr(interruption._REQUEST, "count", 1)
        with pytest.raises(Interruption), locked(tmp_path / "a"):
            pytest.fail("the block must not run")
        process.kill()


def test_a_drive_that_cannot_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with locked(tmp_path / "a") as held:
        assert not held
    with locked(tmp_path / "missing" / "a") as held:
        assert not held
