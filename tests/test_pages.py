"""The pages hold together: links and anchors, commands, code, places and lengths."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from molexa_cli.main import build_app
from molexa_core.base.errors import MolexaError
from molexa_core.base.settings import Channel, Setup, parse_settings
from molexa_core.base.settings.project import Project

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
WITH_THE_FRONT = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
LONGEST = 1500
"""Words of a page beside its tables and printed sessions."""
OF_ANY_LENGTH = {"lab", "reference"}
"""Folders of the lab notebook and of pages written from schemas."""
OF_NO_PROGRAM = {"CHANGELOG.md"}
"""Pages that tell of commands of earlier versions."""
NEEDED: dict[type, dict[str, Any]] = {
    Setup: {"spectrometer": {"regions": [{"length_mm": 110, "field_v_per_cm": 250}]}},
    Channel: {"name": "example", "ions": "O+ C+"},
    Project: {},
}
"""The kinds of settings on the pages, and the keys without which none can be read."""
NO_COMMANDS = {"checksum"}
"""Words that follow `molexa` elsewhere: at the end of HDF5 files."""
_FENCE = re.compile(r"^ *(```+)([a-z]*)[^\n]*\n(.*?)^ *\1\s*$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> Iterator[tuple[int, str]]:
    """Line and text of the code blocks in these languages."""
    text = page.read_text(encoding="utf-8")
    for block in _FENCE.finditer(text):
        if block[2] in languages:
            yield text[: block.start(3)].count("\n"), textwrap.dedent(block[3])


def words(page: Path) -> int:
    """Number of words, those in tables, code and comments left out."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^\|.*$", "", text, flags=re.MULTILINE)
    return len(re.findall(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*", text))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as forges and the site make them."""
    found: dict[str, int] = {}
    for heading in re.findall(
        r"^#{1,6} +(.*?)\s*$", _FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE
    ):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", plain).lower()).replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return {
        slug if number == 0 else f"{slug}-{number}"
        for slug, count in found.items()
        for number in range(count)
    }


@pytest.mark.parametrize("page", WITH_THE_FRONT, ids=name_of)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (
            anchor and there.suffix == ".md" and anchor not in anchors(there)
        ):
            wrong.append(target)
    assert not wrong


def test_every_page_has_a_place_in_the_site_and_no_other() -> None:
    def places(entries: list[Any]) -> Iterator[str]:
        for entry in entries:
            value = next(iter(entry.values())) if isinstance(entry, dict) else entry
            yield from places(value) if isinstance(value, list) else [value]

    named = list(places(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert len(named) == len(set(named))
    outside = {"CHANGELOG.md", "CONTRIBUTING.md"}
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES}
    assert {name for name in named if name.endswith(".md")} - outside == pages, (
        "see nav in mkdocs.yml"
    )


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name not in OF_ANY_LENGTH], ids=name_of
)
def test_no_page_is_long(page: Path) -> None:
    assert words(page) <= LONGEST


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.fixture(scope="module")
def program() -> Any:
    words, sys.argv = sys.argv, list(sys.argv)
    command = typer.main.get_command(build_app())
    sys.argv = words
    return command


def command_lines(page: Path) -> Iterator[tuple[int, str]]:
    """Lines that call molexa, in code blocks (continued lines as one) and between back ticks."""
    text = page.read_text(encoding="utf-8")
    for start, block in blocks(page, "", "sh", "bash", "text", "console"):
        joined = re.sub(r"\\\n", lambda _: " \x00", block)
        line = start
        for one in joined.split("\n"):
            line += 1
            if found := re.match(r"\s*(?:\$ )?(?:[\w.]+/)*molexa( .*)$", one):
                yield line, found[1].replace("\x00", " ")
            line += one.count("\x00")
    for found in re.finditer(r"`molexa ([a-z][^`\n]*)`", _FENCE.sub("", text)):
        if found[1].split()[0] not in NO_COMMANDS:
            yield 0, found[1]
    for block in re.finditer(r"(?:^    \S.*\n(?:^ {4,}.*\n)*)", _FENCE.sub("", text), re.MULTILINE):
        for one in re.sub(r"\\\n", " ", block[0]).split("\n"):
            if found := re.match(r" {4}molexa( .*)$", one):
                yield 0, found[1]


def unknown(program: Any, line: str) -> list[str]:
    """Words of a command line that the program does not know."""
    line = line.split(" | ", maxsplit=1)[0]
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    command = program
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        inner = command.commands.get(words[0])
        if inner is None:
            return [words[0]] if re.fullmatch(r"[a-z-]+", words[0]) else []
        command, words = inner, words[1:]
    if not any(parameter.param_type_name == "argument" for parameter in command.params):
        surplus = [words[0]] if words and re.match(r"[\w./]+$", words[0]) else []
    else:
        surplus = []
    known = {"-h", "--help", "--version"}
    for parameter in command.params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    return surplus + [
        word
        for word in words
        if re.match(r"--?[a-z]", word) and word.split("=")[0].rstrip(",;") not in known
    ]


@pytest.mark.parametrize(
    "page", [page for page in WITH_THE_FRONT if page.name not in OF_NO_PROGRAM], ids=name_of
)
def test_commands_on_the_pages_exist(page: Path, program: Any) -> None:
    wrong = {
        f"line {line}: molexa {text}": words
        for line, text in command_lines(page)
        if (words := unknown(program, text))
    }
    assert not wrong


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("reduce run.root --channel water", []),
        ("calibrate detector run.lmf --out x.yaml", []),
        ("reduce run.root --chanel water", ["--chanel"]),
        ("reduse run.root", ["reduse"]),
        ("calibrate everything run.root", ["everything"]),
        ("dataset build recipe.yaml --out here", ["recipe.yaml"]),
    ],
)
def test_a_wrong_command_is_noticed(program: Any, line: str, words: list[str]) -> None:
    assert unknown(program, line) == words


@pytest.mark.parametrize("page", WITH_THE_FRONT, ids=name_of)
def test_code_on_the_pages_is_code(page: Path) -> None:
    for line, block in blocks(page, "python"):
        compile("\n" * line + block, name_of(page), "exec")


@pytest.mark.parametrize("page", WITH_THE_FRONT, ids=name_of)
def test_settings_on_the_pages_are_settings(page: Path) -> None:
    """Every block is part of a setup, of a channel (with the regions before it), or a project."""
    earlier: dict[str, Any] = {}
    for line, block in blocks(page, "yaml"):
        values = yaml.safe_load(block)
        refused = []
        for schema, needed in NEEDED.items():
            try:
                parse_settings(schema, needed | earlier | values, where=f"{name_of(page)}:{line}")
            except MolexaError as error:
                refused.append(str(error))
        assert len(refused) < len(NEEDED), refused
        earlier = {"regions": values["regions"]} if "regions" in values else {}
