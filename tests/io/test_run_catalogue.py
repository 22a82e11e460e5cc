"""The catalogue of runs: what is said stays, whoever writes at the same time."""

from __future__ import annotations

import sqlite3
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError, OutputError, UsageError
from molexa_core.io import run_catalogue
from molexa_core.io.run_catalogue import RunCatalogue, RunEntry, is_catalogue


@pytest.fixture
def catalogue(tmp_path: Path) -> RunCatalogue:
    return RunCatalogue(tmp_path / "runs.sqlite", new=True)


def test_what_people_say_survives_new_conditions(catalogue: RunCatalogue) -> None:
    assert catalogue.add(RunEntry(52, target="water", files=("/a",), conditions={"shots": 10}))
    catalogue.mark([52], quality="bad", comment="jet was off")
    assert not catalogue.add(RunEntry(52, files=("/a", "/b"), conditions={"shots": 20}))
    (entry,) = catalogue.runs([52])
    assert (entry.quality, entry.comment, entry.target) == ("bad", "jet was off", "water")
    assert entry.files == ("/a", "/b")
    assert entry.conditions == {"shots": 20}
    said = [one.what for one in catalogue.changes(52)]
    assert said == ["added", "quality: bad; comment: jet was off", "files read again"]
    assert "@" in entry.changed_by
    assert entry.changed


def test_another_run_of_the_same_number_is_refused(catalogue: RunCatalogue) -> None:
    catalogue.add(RunEntry(7, files=("/a",)))
    with pytest.raises(UsageError, match="other files"):
        catalogue.add(RunEntry(7, files=("/b",)))
    catalogue.replace(RunEntry(7, files=("/b",)))
    assert catalogue.runs([7])[0].files == ("/b",)


def test_a_mark_of_an_unknown_run_changes_nothing(catalogue: RunCatalogue) -> None:
    catalogue.add(RunEntry(1))
    with pytest.raises(InputFileError, match="no run 2"):
        catalogue.mark([1, 2], quality="good")
    assert catalogue.runs([1])[0].quality == ""
    assert [one.what for one in catalogue.changes(1)] == ["added"]


def test_other_files_are_told_from_a_catalogue(tmp_path: Path, catalogue: RunCatalogue) -> None:
    assert is_catalogue(catalogue.path)
    with pytest.raises(InputFileError, match="there is no catalogue"):
        RunCatalogue(tmp_path / "none.sqlite")
    with sqlite3.connect(tmp_path / "other.sqlite") as link:
        link.execute("CREATE TABLE runs (a)")
    link.close()
    for name in ("other.sqlite", "text.sqlite"):
        if name.startswith("text"):
            (tmp_path / name).write_text("number,files\n")
        with pytest.raises(InputFileError, match="no catalogue"):
            RunCatalogue(tmp_path / name, new=True)


def test_readers_do_not_wait_for_a_writer(catalogue: RunCatalogue) -> None:
    catalogue.add(RunEntry(1, comment="before"))
    writer = sqlite3.connect(catalogue.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE runs SET comment = 'half'")
    begun = time.monotonic()
    assert catalogue.runs()[0].comment == "before"
    assert time.monotonic() - begun < 8.0  # a reader that waits, waits for ten seconds
    writer.execute("ROLLBACK")
    writer.close()


def test_a_lock_that_is_never_given_back_is_told(
    catalogue: RunCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_catalogue, "WAIT_S", 0.2)
    monkeypatch.setattr(run_catalogue, "_BUSY_MS", 50)
    writer = sqlite3.connect(catalogue.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutputError, match="locked"):
        catalogue.add(RunEntry(2))
    writer.execute("ROLLBACK")
    writer.close()
    assert catalogue.add(RunEntry(2))


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_on_network_disks_the_journal_is_one_that_works_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    read = Path.read_text

    def mounts(path: Path, *args: object, **options: object) -> str:
        if str(path) == "/proc/mounts":
            return f"none / tmpfs rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n"
        return read(path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "read_text", mounts)
    made = RunCatalogue(tmp_path / "runs.sqlite", new=True)
    made.add(RunEntry(3))
    link = sqlite3.connect(made.path)
    mode = link.execute("PRAGMA journal_mode").fetchone()[0]
    link.close()
    assert mode == ("delete" if kind == "nfs4" else "wal")
    assert made.runs()[0].number == 3


def add_many(path: Path, place: int, rows: int) -> None:
    catalogue = RunCatalogue(path, new=True)
    for row in range(rows):
        catalogue.add(RunEntry(1000 * place + row))
        catalogue.mark([0], comment=f"{place} {row}")


@pytest.mark.slow
@pytest.mark.parametrize("network", [False, True])
def test_processes_that_write_at_once_lose_nothing(
    tmp_path: Path, network: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_catalogue, "_on_network", lambda _: network)
    path = tmp_path / "runs.sqlite"
    RunCatalogue(path, new=True).add(RunEntry(0))
    context = get_context("fork")
    processes = [context.Process(target=add_many, args=(path, k, 15)) for k in range(1, 13)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 12
    catalogue = RunCatalogue(path)
    assert len(catalogue.runs()) == 1 + 12 * 15
    assert len(catalogue.changes(0)) == 1 + 12 * 15
