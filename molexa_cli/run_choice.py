"""The option `--runs 52-60`: runs of the catalogue in place of files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from molexa_cli.console import command_line, progress

OPTION: Final = "--runs"
Numbers = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="NUMBERS",
        help="Runs of the catalogue runs.sqlite in place of files, such as 52-60,63; bad ones are "
        "left out.",
    ),
]


def chosen_runs(files: Sequence[Path] | None, numbers: str | None) -> list[list[Path]]:
    """The files given as one run, or those of each run by number."""
    from molexa_core.pipeline.runs.run_numbers import runs_or_files

    return runs_or_files(files, numbers, progress=progress())


def command_with(files: Sequence[Path]) -> str:
    """The running command with files in place of `--runs`, as it is recorded with a result."""
    words = shlex.split(command_line())
    for place, word in enumerate(words):
        if word == OPTION:
            words[place : place + 2] = map(str, files)
            break
        if word.startswith(f"{OPTION}="):
            words[place : place + 1] = map(str, files)
            break
    return shlex.join(words)
