"""Tables as CSV, whole numbers as 1e5, warnings last, completion by the shell."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from molexa_cli.console import SWITCHES, WIDTH, show_warnings, table, warn
from molexa_cli.declared import plain_numbers
from molexa_cli.main import build_app
from molexa_core.base.storage.provenance import Provenance
from molexa_core.io.column_list import columns_of
from molexa_core.io.results.events import write_events
from tests.cli.conftest import Run
from tests.fakes.chain import momenta


@pytest.mark.parametrize(("option", "separator"), [("--csv", ","), ("--tsv", "\t")])
def test_tables_are_printed_as_csv_or_tsv(molexa: Run, option: str, separator: str) -> None:
    done = molexa("channels", option)
    rows = list(csv.reader(io.StringIO(done.stdout), delimiter=separator))
    assert rows[0] == ["name", "ions", "description"]
    assert ["nitrogen", "N+ N+"] in [row[:2] for row in rows]


def test_csv_has_every_table_and_nothing_else(molexa: Run) -> None:
    assert molexa("mock", "nitrogen", "--events", "50", "--out", "run.root").returncode == 0
    done = molexa("inspect", "run.root", "--csv")
    assert done.returncode == 0
    first, *others = done.stdout.split("\n\n")
    assert first.startswith("# run.root\nquantity,value,unit\n")
    assert all("," in line or line.startswith("#") for line in done.stdout.split("\n") if line)
    assert others


def test_the_forms_of_output_exclude_each_other(molexa: Run) -> None:
    done = molexa("channels", "--csv", "--json")
    assert done.returncode == 2
    assert "exclude each other" in done.stderr


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        (["mock", "a", "--events", "1e5"], ["mock", "a", "--events", "100000"]),
        (["mock", "a", "--events=2.5e3"], ["mock", "a", "--events=2500"]),
        (["mock", "a", "--events", "2.5e0"], ["mock", "a", "--events", "2.5e0"]),
        (["mock", "a", "--events", "1e99"], ["mock", "a", "--events", "1e99"]),
        (["mock", "1e5", "--out", "1e5"], ["mock", "1e5", "--out", "1e5"]),
        (["mock", "a", "--photon-ev", "1e3"], ["mock", "a", "--photon-ev", "1e3"]),
    ],
)
def test_whole_numbers_may_have_an_exponent(typed: list[str], plain: list[str]) -> None:
    assert plain_numbers(build_app(typed), typed) == plain


def test_a_wide_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    words = "a long explanation of what was found in this file and what it means " * 4
    text = table(["what", "words", "n"], [["first", words, 3], ["second", "short", 12]])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert " ".join(text.split()).count("explanation") == 4
    assert text.splitlines()[-1].endswith(" 12")


def test_warnings_are_written_once_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    SWITCHES.warned.clear()
    SWITCHES.shown = 0
    for _ in range(2):
        warn("the sum is off")
    assert capsys.readouterr().err == ""
    for _ in range(2):
        show_warnings()
    assert capsys.readouterr().err == "warning: the sum is off\n"


def test_quiet_twice_hides_warnings_and_once_does_not(molexa: Run, tmp_path: Path) -> None:
    text = "name: far\nspectrometer: {regions: [{length_mm: 9000, field_v_per_cm: 100}]}\n"
    (tmp_path / "far.yaml").write_text(text, encoding="utf-8")
    assert molexa("mock", "nitrogen", "--events", "400", "--out", "run.root").returncode == 0
    words = ("reduce", "run.root", "--channel", "nitrogen", "--setup", "far.yaml")
    assert "warning: " in molexa(*words, "-q").stderr
    assert "warning: " not in molexa(*words, "-qq").stderr


def _completions(line: str, folder: Path) -> list[str]:
    words = line.split()
    done = subprocess.run(
        [sys.executable, "-m", "molexa_cli.main"],
        cwd=folder,
        env=os.environ
        | {
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "_MOLEXA_COMPLETE": "complete_bash",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_values(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "run.root") as file:
        file["Events"] = {f"hit{slot}_posX": np.zeros(3) for slot in (1, 2)}
    assert _completions("molexa redu", tmp_path) == ["reduce"]
    assert _completions("molexa reduce --gate-s", tmp_path) == ["--gate-sum"]
    assert _completions("molexa reduce --channel nit", tmp_path) == ["nitrogen"]
    assert "water" in _completions("molexa new channel wat", tmp_path)
    assert "hit{i}_posX" in _completions("molexa new setup run.root --x hit", tmp_path)


def test_observables_of_coincidences_are_completed(tmp_path: Path) -> None:
    write_events(tmp_path / "run.events.h5", momenta("water", 5, 1), Provenance.of("test"))
    line = "molexa plot histogram run.events.h5 --x"
    assert _completions(f"{line} px", tmp_path) == ["px(O+)", "px(H+)", "px(H+#2)"]
    assert _completions(f"{line} ke", tmp_path) == ["ker"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_names_the_program(molexa: Run, shell: str) -> None:
    done = molexa("completion", shell)
    assert done.returncode == 0
    assert "_MOLEXA_COMPLETE" in done.stdout
    assert "molexa" in done.stdout


def test_bash_accepts_its_script(molexa: Run) -> None:
    script = molexa("completion", "bash").stdout
    done = subprocess.run(["bash", "-n"], input=script, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_columns_of_numbered_slots_have_a_name_with_the_slot(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("shot,x1,x2,y1\n1,2,3,4\n", encoding="utf-8")
    assert columns_of(tmp_path / "a.csv") == ["shot", "x{i}", "x1", "x2", "y{i}", "y1"]


@pytest.fixture
def shell_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program `molexa` on the path."""
    program = tmp_path / "bin" / "molexa"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m molexa_cli.main "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    root = str(Path(__file__).parent.parent.parent)
    monkeypatch.setenv("PYTHONPATH", root)
    return tmp_path


def _in_shell(shell: str, script: str, folder: Path) -> str:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    quiet = {"fish": ["--no-config"], "zsh": ["-f"], "bash": ["--norc"]}[shell]
    done = subprocess.run(
        [shell, *quiet, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_for_real(shell_folder: Path) -> None:
    script = """eval "$(molexa completion bash)"
    COMP_WORDS=(molexa reduce run.root --channel wat); COMP_CWORD=4
    _molexa_completion molexa; echo "${COMPREPLY[@]}"
    COMP_WORDS=(molexa plot pip); COMP_CWORD=2
    _molexa_completion molexa; echo "${COMPREPLY[@]}"
    complete -p molexa"""
    first, second, registered = _in_shell("bash", script, shell_folder).splitlines()
    assert (first, second) == ("water", "pipico")
    assert "_molexa_completion molexa" in registered


def test_fish_completes_for_real(shell_folder: Path) -> None:
    script = """molexa completion fish | source
    complete -C "molexa reduce run.root --channel wat"
    complete -C "molexa weights show molexa-stage1" """
    assert _in_shell("fish", script, shell_folder).split() == ["water", "molexa-stage1"]


def test_zsh_accepts_its_script(shell_folder: Path) -> None:
    script = 'autoload -Uz compinit; compinit -u; eval "$(molexa completion zsh)"; which _molexa'
    assert _in_shell("zsh", f"{script}_completion", shell_folder).startswith("_molexa_completion")


@pytest.mark.slow
def test_tables_of_commands_fit_eighty_columns(molexa: Run, tmp_path: Path) -> None:
    """Lines of tables; sentences are broken by the terminal."""
    assert molexa("mock", "water", "--events", "3000", "--out", "run.root").returncode == 0
    lines = (
        "channels",
        "molecules",
        "molecules ethanol",
        "weights list",
        "plot",
        "inspect run.root",
        "reduce run.root",
        "align --ref O+",
        "centroid",
        "spectrum run.events.h5 --x ker",
        "compare run.aligned.h5 --second-where ker>20",
        "simulate water --charges O+,H+,H+",
        "compare water water",
        "score water water",
        "atom O --photon-ev 600",
        "check run.root",
    )
    for line in lines:
        done = molexa(*line.split())
        assert done.returncode == 0, (line, done.stderr)
        wide = [text for text in done.stdout.splitlines() if len(text) > WIDTH]
        # A table has a line of hyphens below its header.
        assert not [text for text in wide if text.count("  ") >= 2 or set(text) <= set("- ")], line
