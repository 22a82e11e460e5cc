"""Every command has help with an example, and the page of commands is what the program says."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest

from molexa_cli.main import COMMANDS, build_app

ROOT = Path(__file__).resolve().parents[2]


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs", ROOT / "tools" / "write_command_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
ALL = list(TOOL.commands())
GROUPS = {words[:-1] for words in ALL}


@pytest.fixture(autouse=True)
def _own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", list(sys.argv))


def test_every_command_file_is_registered() -> None:
    assert {words[0] for words in ALL} == set(COMMANDS)
    files = {path.stem for path in (ROOT / "molexa_cli" / "commands").glob("[a-z]*.py")}
    assert files == set(COMMANDS)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_begins_with_one_imperative_line_and_has_an_example(words: tuple[str, ...]) -> None:
    text = TOOL.help_of(words)
    summary = text.split("\n\n")[1].strip()
    assert re.match(r"[A-Z][a-z]+[ ,:]", summary), summary
    assert not re.match(r"\w+s ", summary), f"not imperative: {summary}"
    assert summary.endswith(".")
    if words not in GROUPS:
        assert re.search(rf"Example: (.*\| )?molexa {' '.join(words)}\b", text), text


@pytest.mark.parametrize("words", [w for w in ALL if w not in GROUPS], ids=" ".join)
def test_every_command_has_quiet_debug_and_short_help(words: tuple[str, ...]) -> None:
    text = TOOL.help_of(words)
    for option in ("--quiet", "--debug", "-h, --help"):
        assert option in text


@pytest.mark.parametrize("words", [w for w in ALL if w not in GROUPS], ids=" ".join)
def test_options_of_the_example_exist(words: tuple[str, ...]) -> None:
    text = TOOL.help_of(words)
    example = text.split("Example:")[1].split("\n\n")[0]
    options = {word for word in shlex.split(example) if word.startswith("--")}
    missing = {option for option in options if option not in text.replace(example, "")}
    assert not missing


def unexplained(help_text: str) -> list[str]:
    """Options and arguments without a sentence; a range, a default or choices alone are none."""
    listed = help_text[re.search(r"^(Arguments|Options):$", help_text, re.MULTILINE).start() :]  # type: ignore[union-attr]
    missing = []
    for entry in re.findall(r"^  (\S.*(?:\n {4,}.*)*)", listed, re.MULTILINE):
        name, _, text = re.sub(r"\n +", "  ", entry).partition("  ")
        sentence = re.sub(r"\[[^\]]*\]|Default:? [^.]*(\.|$)", "", text)
        if len(re.findall(r"[A-Za-z]{2,}", sentence)) < 2:
            missing.append(name)
    return missing


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_and_argument_is_explained(words: tuple[str, ...]) -> None:
    assert unexplained(TOOL.help_of(words)) == []


def test_a_range_or_a_default_is_no_explanation() -> None:
    text = """Usage: molexa example

  Example.

Arguments:
  run <path>            [required]
  out <path>            Folder of the results.  [required]

Options:
  --ratio <float range>  [x>=0.0]
  --steps <int range>   [default: 8192;
                        1<=x<=9223372036854775807]
  --share-of-everything-else <float range>
                        [default: 1.0]
  --mode <a|b>          a or b.
  --charge <int>        Default 2.
  --device <str>        Device that computes.
                        [default: auto]
  -q, --quiet           No progress, no remarks.
  --force
"""
    assert unexplained(text) == [
        "run <path>",
        "--ratio <float range>",
        "--steps <int range>",
        "--share-of-everything-else <float range>",
        "--mode <a|b>",
        "--charge <int>",
        "--force",
    ]


def test_the_page_of_commands_is_up_to_date() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    assert page == TOOL.render(), "run: python tools/write_command_docs.py"


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"`molexa {name}" in readme


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_app_builds_without_loading_the_library() -> None:
    assert build_app().registered_commands
