"""A signal leaves a wish that blocks of work look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from molexa_core.base import interruption
from molexa_core.base.interruption import Interruption
from molexa_core.base.progress import SILENT
from molexa_core.base.storage.files import atomic_path

HANG_UPS = """
import signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup make test` leaves them ignored
"""
WORK = """
import sys, time
from pathlib import Path
from molexa_core.base import interruption
from molexa_core.base.storage.files import atomic_path

interruption.GRACE_S = {grace}
interruption.listen()
with atomic_path("result.txt") as path:
    path.write_text("half")
    Path("ready").touch()
    {work}
print("not stopped")
"""


def started(folder: Path, work: str, grace: float, before: str = "") -> subprocess.Popen[str]:
    """A process that writes a file and works on; returns when it is there."""
    program = HANG_UPS + before + WORK.format(work=work, grace=grace)
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    deadline = time.monotonic() + 60
    while not (folder / "ready").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (folder / "ready").unlink()
    return process


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption._REQUEST, "count", 1)


@pytest.mark.usefixtures("asked")
def test_a_task_stops_at_the_next_block() -> None:
    with pytest.raises(Interruption), SILENT.task("work", None, "blocks") as task:
        task.advance()


@pytest.mark.usefixtures("asked")
def test_a_file_is_not_replaced_after_the_signal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(Interruption), atomic_path(tmp_path / "a.txt") as path:
        path.write_text("new")
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.usefixtures("asked")
def test_a_block_that_is_held_is_finished(tmp_path: Path) -> None:
    with interruption.held(), atomic_path(tmp_path / "a.txt") as path:
        path.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"
    with pytest.raises(Interruption):
        interruption.check()


def test_without_a_signal_nothing_stops() -> None:
    assert not interruption.requested()
    interruption.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_work_that_never_looks_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    """It waits for something that does not come: a pipe, a lock, another process."""
    process = started(tmp_path, "sys.stdin.read() or time.sleep(60)", grace=0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err == f"molexa: {interruption.MESSAGE}\n"
    assert list(tmp_path.iterdir()) == []


def test_the_second_signal_ends_at_once(tmp_path: Path) -> None:
    """What several programs send at the same time is one signal."""
    process = started(tmp_path, "time.sleep(60)", grace=60.0)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    assert process.poll() is None
    for _ in range(30):  # on a busy machine the first ones may just have arrived
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)
            break
    process.communicate(timeout=1)
    assert process.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_patient_work_is_waited_for(tmp_path: Path) -> None:
    work = """
    with interruption.patient():
        deadline = time.monotonic() + 60
        while not interruption.requested() and time.monotonic() < deadline: time.sleep(0.01)
        time.sleep(0.6)
        with interruption.held():
            Path("saved").touch()
    interruption.check()"""
    process = started(tmp_path, work, grace=0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert "Interruption" in err
    assert [one.name for one in tmp_path.iterdir()] == ["saved"]


def test_nohup_is_respected(tmp_path: Path) -> None:
    before = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = started(tmp_path, "time.sleep(0.5)", grace=0.1, before=before)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "not stopped\n")
    assert (tmp_path / "result.txt").exists()
