"""Standard streams that are full or closed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


def _shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -m molexa_cli.main"
    return subprocess.run(
        ["/bin/sh", "-c", f"{program} {line}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["channels", "channels --json", "--help", "--version"])
def test_a_full_stdout_is_one_sentence(words: str, tmp_path: Path) -> None:
    done = _shell(f"{words} > /dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


def test_a_closed_stdout_is_one_sentence(tmp_path: Path) -> None:
    done = _shell("channels >&-", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "molexa: standard output: it is closed. Send it to a file or to /dev/null.\n"
    )


def test_results_are_written_though_no_stream_is_open(tmp_path: Path) -> None:
    """No file takes the place of a closed stream, into which something else would write."""
    done = _shell("molecules water --xyz water.xyz <&- >&- 2>&-", tmp_path)
    assert done.returncode == 1  # what it prints is lost
    text = (tmp_path / "water.xyz").read_text(encoding="utf-8")
    assert text.startswith("3\nProperties=")
    assert len(text.splitlines()) == 5


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("buffering", ["", "1"])
def test_messages_that_cannot_be_written_do_not_end_the_work(
    buffering: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", buffering)
    for stream in ("2> /dev/full", "2>&-"):
        done = _shell(f"molecules water --xyz water.xyz {stream}", tmp_path)
        assert done.returncode == 0
        assert "vibrations" in done.stdout
    assert _shell("reduce no-such-file 2> /dev/full", tmp_path).returncode == 1


@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_stdout_that_takes_a_part_is_an_error(
    buffering: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a buffer Python itself would drop the rest and go on."""
    monkeypatch.setenv("PYTHONUNBUFFERED", buffering)
    program = f"{sys.executable} -m molexa_cli.main molecules --json"
    done = subprocess.run(
        ["/bin/bash", "-c", f"ulimit -f 16; {program} > list.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("molexa: standard output: cannot write: File too large. ")


@pytest.mark.slow
def test_a_file_name_that_is_no_text_goes_through_the_whole_chain(tmp_path: Path) -> None:
    """Names of files are bytes; one that is not UTF-8 stands in every result with its numbers."""
    run = [sys.executable, "-m", "molexa_cli.main"]
    name = os.fsdecode(b"r\xffn")
    steps: list[list[str]] = [
        ["mock", "nitrogen", "--events", "3000", "--seed", "1", "--out", f"{name}.root"],
        ["inspect", f"{name}.root"],
        ["reduce", f"{name}.root", "--gate-sum", "60", "60", "60"],
        ["align", f"{name}.events.h5"],
        ["centroid", f"{name}.aligned.h5", "--out", "channel.csv"],
        ["report", "--out", "report.html"],
    ]
    for step in steps:
        done = subprocess.run(
            [*run, *step],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert "\\udcff" in (tmp_path / "report.html").read_text(encoding="utf-8")
