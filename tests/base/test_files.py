"""Output files: complete or not there, and never at the cost of what was there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from molexa_core.base.errors import InputFileError, OutputError
from molexa_core.base.storage import files
from molexa_core.base.storage.files import atomic_path, digest, require_file, require_folder


def test_a_finished_file_is_in_place_and_alone(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "run.root") as part:
        assert part.suffix == ".root"
        part.write_text("new")
        assert not (tmp_path / "run.root").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run.root"]
    assert (tmp_path / "run.root").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_file_is_not_there(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_path(tmp_path / "a.h5") as part:  # noqa: PT012
        part.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_file_leaves_the_old_one_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as part:  # noqa: PT012
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_finished_file_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")
    with atomic_path(target) as part:
        part.write_text("new")
    assert target.read_text() == "new"


def test_missing_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="the folder does not exist. Create"),
        atomic_path(tmp_path / "no" / "a.csv"),
    ):
        pytest.fail("the block must not run")


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="this is a folder"), atomic_path(tmp_path):
        pytest.fail("the block must not run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="no permission"), atomic_path(locked / "a.csv"):
        pytest.fail("the block must not run")


def test_no_permission_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="no permission"), atomic_path(tmp_path / "a.csv"):
        pytest.fail("the block must not run")


def test_a_full_disk_is_an_output_error_of_the_target(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left") as caught:  # noqa: SIM117
        with atomic_path(tmp_path / "a.csv") as part:
            raise OSError(28, "No space left on device", str(part))
    assert "a.csv" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "a.csv"):
        (tmp_path / "other").read_text()


def test_writing_nothing_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.csv"), atomic_path(tmp_path / "a.csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_require_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputFileError, match="no such file"):
        require_file(tmp_path / "missing.root")
    with pytest.raises(InputFileError, match="this is a folder"):
        require_file(tmp_path)
    path = tmp_path / "a"
    path.write_text("x")
    assert require_file(str(path)) == path
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(InputFileError, match="no permission to read"):
        require_file(path)


def test_digest_of_a_small_file_is_the_usual_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert digest(path) == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_digest_of_a_large_file_sees_size_start_middle_and_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "FULL_DIGEST_LIMIT", 1000)
    monkeypatch.setattr(files, "_SAMPLE", 10)
    path = tmp_path / "a"
    base = bytearray(2000)
    seen = set()
    for place in (None, 0, 1000, 1999):
        content = bytearray(base)
        if place is not None:
            content[place] = 1
        path.write_bytes(content)
        seen.add(digest(path))
    path.write_bytes(base + b"\0")
    seen.add(digest(path))
    assert len(seen) == 5
    assert all(text.startswith("sha256-sampled:") for text in seen)


def test_names_that_are_too_long_are_told_as_such(tmp_path: Path) -> None:
    long = tmp_path / ("n" * 300)
    with pytest.raises(InputFileError, match="too long"):
        require_file(long)
    with pytest.raises(InputFileError, match="too long"):
        require_folder(long)
    with pytest.raises(InputFileError, match="no such file"):
        require_file("a\0b")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 250}.csv"
    with atomic_path(path) as temporary:
        temporary.write_text("done")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
