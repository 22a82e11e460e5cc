"""Exit codes, one-sentence errors, and what Ctrl-C leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molexa_cli.main import main
from tests.cli.conftest import Run


def test_done_is_0(molexa: Run) -> None:
    done = molexa("channels")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "water" in done.stdout
    assert "O+ H+ H+" in done.stdout


def test_json_is_json(molexa: Run) -> None:
    rows = json.loads(molexa("channels", "--json").stdout)
    assert {row["name"] for row in rows} >= {"water", "cf4", "ethanol"}


def test_unknown_command_suggests_and_is_2(molexa: Run) -> None:
    done = molexa("chanels")
    assert done.returncode == 2
    assert "Did you mean 'channels'" in done.stderr
    assert done.stdout == ""


def test_unknown_option_is_2(molexa: Run) -> None:
    done = molexa("channels", "--jsn")
    assert done.returncode == 2
    assert "--jsn" in done.stderr


def test_no_command_shows_the_help(molexa: Run) -> None:
    done = molexa()
    assert done.returncode == 0
    assert "Commands:" in done.stdout


def test_bad_input_is_1_with_one_line_and_no_traceback(molexa: Run, tmp_path: Path) -> None:
    (tmp_path / "channels").mkdir()
    (tmp_path / "channels" / "mine.yaml").write_text("name: mine\nion: [H+]\n", encoding="utf-8")
    done = molexa("channels")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("molexa: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "channels/mine.yaml" in done.stderr
    assert "did you mean ions" in done.stderr


def test_debug_shows_the_traceback(molexa: Run, tmp_path: Path) -> None:
    (tmp_path / "channels").mkdir()
    (tmp_path / "channels" / "mine.yaml").write_text("[]", encoding="utf-8")
    done = molexa("channels", "--debug")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("molexa: ")


def test_a_reader_that_stops_early_is_no_error() -> None:
    program = f"{sys.executable} -m molexa_cli.main channels --json"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {program} | true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def interrupt(
    arguments: list[str], folder: Path, ready: str, number: signal.Signals = signal.SIGINT
) -> subprocess.CompletedProcess[str]:
    """Start the program, send a signal once a file matching `ready` is there, wait for its end."""
    with subprocess.Popen(
        [sys.executable, "-m", "molexa_cli.main", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        deadline = time.monotonic() + 120
        while not list(folder.glob(ready)):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"no {ready} appeared: {process.communicate()}")
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_a_run_is_written(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, and what a batch system sends when a job's time is up."""
    done = interrupt(
        ["mock", "water", "--events", "20000000", "--seed", "1", "--out", "run.root"],
        tmp_path,
        ".run.part-*",
        number,
    )
    assert done.returncode == 1
    assert "molexa: interrupted" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_run_is_reduced(molexa: Run, tmp_path: Path) -> None:
    made = molexa("mock", "water", "--events", "150000", "--seed", "1", "--out", "run.root")
    assert made.returncode == 0, made.stderr
    (tmp_path / "run.events.h5").write_text("an earlier result")
    done = interrupt(["reduce", "run.root", "--force"], tmp_path, ".run.events.part-*")
    assert done.returncode == 1
    assert "molexa: interrupted" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.events.h5", "run.root"]
    assert (tmp_path / "run.events.h5").read_text() == "an earlier result"


def test_ctrl_c_stops_a_build_of_many_blocks(tmp_path: Path) -> None:
    """A block that fails is passed over; an interruption is no such failure."""
    arguments = ["dataset", "build", "--recipe", "small", "--out", "set", "--quiet"]
    done = interrupt(arguments, tmp_path, "set/[a-z]*.h5")
    assert done.returncode == 1
    assert "molexa: interrupted" in done.stderr
    assert "failed" not in done.stdout + done.stderr
    files = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert "recipe.json" in files
    assert 1 < len(files) < 8
    assert not [name for name in files if name.startswith(".")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--events", "abc"], "'--events': it must be a whole number, not 'abc'"),
        (["--events", "0"], "'--events': it must be at least 1, not 0"),
        (["--events", "1.5"], "'--events': it must be a whole number, not 1.5"),
        (["--events", "1", "--seed", "9" * 20], "it must be at most 9223372036854775807, not 99"),
        (["--events", "1", "--format", "tiff"], "'--format': 'tiff' is not one of 'root', "),
    ],
)
def test_values_that_do_not_fit_are_told_in_plain_words(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["mock", "nitrogen", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert not any(jargon in said for jargon in ("Input should", "Value error", "valid integer"))


def test_a_signal_while_the_program_is_loaded_is_one_sentence(tmp_path: Path) -> None:
    """As soon as the program listens, which is before its imports."""
    beginning = (
        "import os, signal, sys; sys.argv = ['molexa', 'channels']; import molexa_cli; "
        "os.kill(os.getpid(), signal.SIGINT); from molexa_cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", beginning], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("molexa: interrupted")
    assert len(done.stderr.splitlines()) == 1
