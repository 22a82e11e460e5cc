"""The library names settings, the command line its options."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from molexa_cli.main import build_app
from molexa_cli.wording import Option, as_typed, line_of, options_of, running, sentence
from molexa_core.base.errors import OutputError, StreamError, UsageError
from molexa_core.base.forward_model import Pulse
from molexa_core.pipeline.chain.reduce import reduce
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[2]
OPTION = re.compile(r"(?<![\w-])--[a-z]")
SETTING = re.compile(r"`(?:molexa [a-z ]+ )?([a-z]\w*)(?:=[^`]*|\(\))`")
OPTIONS_OF_OTHERS = {
    "base/cuda/compiler.py": "of NVIDIA's compiler",
    "pipeline/work/slurm.py": "of sbatch and squeue",
}
"""Files of the library with options of other programs, and of which."""


def _commands(command: Any) -> Iterator[Any]:
    if not hasattr(command, "commands"):
        yield command
    for inner in getattr(command, "commands", {}).values():
        yield from _commands(inner)


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """The string literals of a file but docstrings and the options of stated parameters."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(id(node.value))
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Parameter":
            skipped |= {id(word.value) for word in node.keywords}
            skipped |= {id(value) for value in node.args}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in skipped:
                yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "x" for part in node.values]
            yield node.lineno, "".join(str(part) for part in parts)


def _library() -> Iterator[tuple[str, int, str]]:
    home = ROOT / "molexa_core"
    for path in sorted(home.rglob("*.py")):
        name = path.relative_to(home).as_posix()
        if name not in OPTIONS_OF_OTHERS:
            yield from ((name, line, text) for line, text in _texts(path))


def test_the_library_names_no_option() -> None:
    found = [(name, line, text) for name, line, text in _library() if OPTION.search(text)]
    assert not found


def test_every_setting_in_a_message_is_one_of_a_command() -> None:
    """Else it would be shown as it is in Python."""
    options: set[str] = set()
    for command in _commands(typer.main.get_command(build_app())):
        options |= set(options_of(command))
    named = [
        (name, line, setting)
        for name, line, text in _library()
        for setting in SETTING.findall(text)
    ]
    assert len(named) > 30
    assert not [place for place in named if place[2] not in options]


@pytest.fixture
def train() -> Iterator[None]:
    commands = typer.main.get_command(build_app()).commands  # type: ignore[attr-defined]  # click's
    running(commands["train"])
    yield
    running(commands["channels"])


@pytest.mark.usefixtures("train")
@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("Give `learning_rate=`.", "Give --learning-rate."),
        ("Use `device='cpu'`.", "Use --device cpu."),
        ("Go on with `resume=True`.", "Go on with --resume."),
        ("Leave out `memory=False`.", "Leave out --no-memory."),
        ("`replacing_foreign()` replaces it.", "--force replaces it."),
        ("Say `shot` in `columns`, or `gate_sum=`.", "Say `shot` in `columns`, or `gate_sum=`."),
        ("`molexa inspect verify=True` says more", "`molexa inspect --verify` says more"),
    ],
)
def test_settings_become_options_of_the_running_command(text: str, typed: str) -> None:
    assert as_typed(text) == typed


@pytest.mark.usefixtures("train")
def test_an_error_about_a_setting_names_its_option() -> None:
    assert sentence(UsageError("no", setting="learning_rate")) == "--learning-rate: no"
    assert sentence(UsageError("no", setting="learning_rate", where="f.csv")) == "f.csv: no"
    inner = UsageError("no", setting="learning_rate")
    inner.where = f"step 1: {inner.where}"
    assert sentence(inner) == "step 1: --learning-rate: no"
    assert sentence(OutputError("no", where="x")) == "x: no"
    stream = sentence(StreamError("no", where="x", do="Name a file."))
    assert stream == "x: no. Name a file; --json prints the numbers."


def test_options_of_arguments_and_switches() -> None:
    assert Option("--on", "--off").typed("False") == "--off"
    assert Option("RUNS").typed("") == "RUNS"
    assert line_of("align", ["a.h5"], {"reference": "O+"}) == ["align", "a.h5", "--ref", "O+"]


def test_the_same_error_in_python_and_on_the_command_line(molexa: Run) -> None:
    with pytest.raises(UsageError, match=r"^gate_sum: half widths must be above 0, not 1\.0, 0\.0"):
        reduce(["run.root"], gate_sum=(1.0, 0.0, 1.0), out="run.events.h5")
    done = molexa("reduce", "run.root", "--gate-sum", "1", "0", "1")
    assert "molexa: --gate-sum: half widths must be above 0, not 1.0, 0.0, 1.0" in done.stderr
    with pytest.raises(UsageError, match=r"^energy_mj: the energy of the pulse is -1 mJ"):
        Pulse(energy_mj=-1.0)
    done = molexa("simulate", "water", "--model", "mcmd", "--pulse-mj", "-1")
    assert done.stderr.startswith("molexa: --pulse-mj: the energy of the pulse is -1 mJ")
