"""`molexa report`: all results on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Quiet
from molexa_cli.console import command_line, progress, write
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.compare_options import Comparing
from molexa_core.base.options.gate_options import Selection


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="title", selection=Selection, comparing=Comparing)
    app.command("report")(options(report))


def report(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with the results of the stages; or, where it holds several, the events "
            "file that the page is of."
        ),
    ] = Path(),
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File to write. Default: report.html in the folder."),
    ] = None,
    title: Annotated[str | None, typer.Option("--title", help="Title of the page.")] = None,
    *,
    selection: Given,
    comparing: Given,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one HTML page with all figures and numbers of the analysis.

    Uses the results in the folder: *.events.h5, *.aligned.h5, channel.csv, geom.json or geom.xyz,
    known.xyz or truth.xyz; the page names the missing ones. Of several events files those are
    shown from which the later results were made. It needs no network. With --compare another run,
    another gate or another structure stands beside it.

    Example: molexa report . --out report.html
    """
    from molexa_core.pipeline.chain.report import report_folder

    target, _ = report_folder(
        folder,
        out=out,
        title=title,
        selection=Selection(**selection),
        comparing=Comparing(**comparing),
        command=command_line(),
        progress=progress(),
    )
    write(str(target))
