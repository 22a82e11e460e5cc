"""`molexa completion`: the script that teaches a shell to complete command lines."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from molexa_cli.app import Debug, Quiet
from molexa_cli.completion import SCRIPTS
from molexa_cli.console import write


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("completion")(completion)


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Kind of the shell.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the script that completes options, channels, molecules, weights and columns.

    For bash: eval "$(molexa completion bash)" in ~/.bashrc, and likewise for zsh in ~/.zshrc; for
    fish: molexa completion fish > ~/.config/fish/completions/molexa.fish

    Example: molexa completion bash
    """
    write(SCRIPTS[shell])
