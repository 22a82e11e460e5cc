"""Write docs/commands.md from the help of the running program.

Usage: python tools/write_command_docs.py
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from molexa_cli.main import build_app, main

PAGE = Path(__file__).resolve().parent.parent / "docs" / "commands.md"
HEAD = """# Commands

Written by `python tools/write_command_docs.py` from the help of the program.

Results go to standard output or to the named file; progress, remarks and warnings go to standard
error. Exit codes: 0 done; 1 the input or the computation failed (one sentence says what, where and
what to do; `--debug` adds the traceback); 2 wrong usage.

"""


def commands() -> Iterator[tuple[str, ...]]:
    """The words of every command, those of groups included, in the order of the help."""
    yield from _below(typer.main.get_command(build_app()), ())


def _below(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*words, name)
        if hasattr(command, "commands"):
            yield from _below(command, (*words, name))


def help_of(words: tuple[str, ...]) -> str:
    """What `molexa WORDS --help` prints on a terminal of 100 columns."""
    caught = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(caught):
            main([*words, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in caught.getvalue().strip().splitlines())


def render() -> str:
    """The page."""
    parts = [HEAD, "```text\n", help_of(()), "\n```\n"]
    for words in commands():
        title = " ".join(("molexa", *words))
        parts += [f"\n{'#' * (len(words) + 1)} {title}\n\n```text\n", help_of(words), "\n```\n"]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")
