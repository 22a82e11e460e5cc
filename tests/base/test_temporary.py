"""Temporary files: names that no other job has, and what killed jobs left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molexa_core.base.storage import temporary
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.storage.temporary import OLD_S, remove_leftovers, temporary_beside


@pytest.fixture(autouse=True)
def _first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_SWEPT", set())


def dead_process() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def part(machine: str, process: int, name: str = "run", suffix: str = ".h5") -> str:
    return f".{name}.part-{machine}-{process}-0123abcd{suffix}"


def test_two_files_of_the_same_name_at_once(tmp_path: Path) -> None:
    with (
        temporary_beside(tmp_path / "a.h5") as one,
        temporary_beside(tmp_path / "a.h5") as other,
    ):
        assert one != other
        assert one.suffix == other.suffix == ".h5"


def test_names_of_the_longest_kind(tmp_path: Path) -> None:
    for name in ("é" * 126 + ".h5", "a" * 252 + ".h5", "b" * 255):
        with atomic_path(tmp_path / name) as path:
            path.write_text("x")
        assert (tmp_path / name).read_text() == "x"


def test_what_a_killed_job_left_is_removed(tmp_path: Path) -> None:
    mine = temporary._machine()
    gone = dead_process()
    leftovers = [part(mine, gone), part(mine, gone, "other.events", ""), part(mine, os.getpid())]
    for name in leftovers:
        (tmp_path / name).write_text("half")
    with atomic_path(tmp_path / "a.csv") as path:
        path.write_text("x")
        assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert [one.name for one in tmp_path.iterdir()] == ["a.csv"]


def test_what_others_still_write_stays(tmp_path: Path) -> None:
    mine = temporary._machine()
    kept = [
        part(mine, os.getppid()),
        part("0" * 8, dead_process()),  # of another machine, and new
        ".run.part-1.h5",
        f".run.part-{mine}-12.h5",
        f"run.part-{mine}-{dead_process()}-0123abcd.h5",
        f".run.part-{mine}-{dead_process()}-0123abcd.h5.bak.h5",
        "notes.part",
    ]
    for name in kept:
        (tmp_path / name).write_text("someone's")
    (tmp_path / part(mine, dead_process(), "folder")).mkdir()
    assert remove_leftovers(tmp_path) == []


def test_old_files_of_another_machine_are_leftovers(tmp_path: Path) -> None:
    path = tmp_path / part("0" * 8, 1)
    path.write_text("half")
    before = time.time() - OLD_S - 60.0
    os.utime(path, (before, before))
    assert remove_leftovers(tmp_path) == [path]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    link = tmp_path / part(temporary._machine(), dead_process())
    link.symlink_to(tmp_path / "data")
    remove_leftovers(tmp_path)
    assert link.is_symlink()
    assert (tmp_path / "data").read_text() == "mine"


def test_a_folder_is_searched_once(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path) == []
    (tmp_path / part(temporary._machine(), dead_process())).write_text("half")
    assert remove_leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    assert remove_leftovers(tmp_path / "missing") == []
