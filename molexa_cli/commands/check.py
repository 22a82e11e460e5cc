"""`molexa check`: do setup, channel and run fit together?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import WIDTH, progress, write, write_json
from molexa_cli.wording import as_typed


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("check")(check)


def check(
    run: Annotated[list[Path] | None, typer.Argument(help="Files of the run.")] = None,
    setup: Annotated[
        str | None, typer.Option("--setup", help="Setup file. Default: molexa.yaml's.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Channel. Default: molexa.yaml's.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Read setup, channel and run together: what fits, what is missing, what looks wrong.

    Exit code 1 where the next command would fail.

    Example: molexa check run.root --setup setup.yaml --channel ocs
    """
    from dataclasses import asdict
    from textwrap import fill

    from molexa_core.pipeline.starting.check_together import check_together

    checked = check_together(run or (), setup=setup, channel=channel, progress=progress())
    if json:
        write_json({"found": [asdict(item) for item in checked.found], "wrong": checked.wrong})
    else:
        for item in checked.found:
            words = f"{item.state:9s} {item.of}: {as_typed(item.words)}"
            write(fill(words, WIDTH, subsequent_indent=" " * 10, break_on_hyphens=False))
    if checked.wrong:
        raise typer.Exit(1)
