"""What may be written where, by the place alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from molexa_core.base.errors import OutputError, UsageError
from molexa_core.base.storage.files import atomic_path
from molexa_core.base.storage.outputs import (
    NULL,
    output_place,
    replaces_foreign,
    replacing_foreign,
    require_apart,
)


def _written(path: Path | str, text: str = "new") -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def test_pipe_is_refused_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="a pipe"):
        _written(pipe)
    assert pipe.is_fifo()


def test_socket_folder_and_device_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("door")
        with pytest.raises(OutputError, match="a socket"):
            output_place("door")
    with pytest.raises(OutputError, match="a folder"):
        output_place(tmp_path)
    with pytest.raises(OutputError, match="a folder"):
        output_place(tmp_path / "x" / "..")
    with pytest.raises(OutputError, match="a device"):
        output_place("/dev/zero")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/proc/self/fd/1"])
def test_streams_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="stream"):
        output_place(name)
    link = tmp_path / "link"
    link.symlink_to(name)
    with pytest.raises(OutputError, match="stream"):
        output_place(link)


def test_null_discards_and_stays(tmp_path: Path) -> None:
    _written("/dev/null")
    assert NULL.is_char_device()
    link = tmp_path / "gone.h5"
    link.symlink_to("/dev/null")
    _written(link)
    assert link.is_symlink()
    assert NULL.is_char_device()


def test_read_only_file_is_kept_also_from_root(tmp_path: Path) -> None:
    path = tmp_path / "kept.csv"
    path.write_text("old")
    path.chmod(0o444)
    with pytest.raises(OutputError, match="read-only"):
        _written(path)
    assert path.read_text() == "old"


def test_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "real.csv").write_text("old")
    (tmp_path / "first.csv").symlink_to("second.csv")
    (tmp_path / "second.csv").symlink_to(folder / "real.csv")
    _written(tmp_path / "first.csv")
    assert (tmp_path / "first.csv").is_symlink()
    assert (tmp_path / "second.csv").is_symlink()
    assert not (folder / "real.csv").is_symlink()
    assert (folder / "real.csv").read_text() == "new"
    assert sorted(path.name for path in folder.iterdir()) == ["real.csv"]


def test_link_to_a_read_only_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept.csv"
    path.write_text("old")
    path.chmod(0o400)
    (tmp_path / "link").symlink_to(path)
    path.chmod(0o444)
    with pytest.raises(OutputError, match="read-only"):
        output_place(tmp_path / "link")


def test_links_that_lead_nowhere_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(OutputError, match="does not exist"):
        output_place(tmp_path / "dangling")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError, match="leads back to itself"):
        output_place(tmp_path / "a")
    with pytest.raises(OutputError):
        output_place(tmp_path / "a" / "file")


def test_names_too_long_or_with_nul_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="bytes long|longer than"):
        output_place(tmp_path / ("n" * 300))
    with pytest.raises(OutputError, match="bytes long|longer than"):
        output_place(tmp_path / ("ü" * 130))
    with pytest.raises(OutputError, match="NUL"):
        output_place("a\0b")


def test_an_output_is_no_input_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run.root"
    run.write_text("data")
    (tmp_path / "folder").mkdir()
    os.link(run, tmp_path / "hard.root")
    (tmp_path / "soft.root").symlink_to(run)
    for name in ("run.root", "./folder/../run.root", "hard.root", "soft.root", str(run)):
        with pytest.raises(UsageError, match="reads that file"):
            require_apart([name], ["run.root"])
    require_apart(["other.root"], ["run.root", "no-such-file"])


def test_two_outputs_are_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").symlink_to("folder")
    with pytest.raises(UsageError, match="the same file"):
        require_apart(["x.csv", tmp_path / "x.csv"], [])
    with pytest.raises(UsageError, match="the same file"):
        require_apart(["folder/x.csv", "other/x.csv"], [])
    require_apart(["/dev/null", "/dev/null", "x.csv"], [])


def test_foreign_files_may_be_replaced_in_a_block() -> None:
    with replacing_foreign():
        assert replaces_foreign()
    assert not replaces_foreign()
