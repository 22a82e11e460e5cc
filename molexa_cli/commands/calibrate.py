"""`molexa calibrate`: determine settings of the detector from data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet, new_app
from molexa_cli.console import command_line, progress, remark, table, write, write_json


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = new_app("Calibrate a detector from data.\n\nExample: molexa calibrate detector run.lmf")

    @group.callback()
    def calibrate() -> None:
        pass

    group.command("detector")(detector)
    app.add_typer(group, name="calibrate")


def detector(
    runs: Annotated[list[Path], typer.Argument(help="Files of one run of edges, in order.")],
    out: Annotated[Path, typer.Option("--out", help="Settings to write.")] = Path("detector.yaml"),
    setup: Annotated[
        str | None,
        typer.Option("--setup", help="Setup with the anode as known so far. Default: the run's."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="SVG, before and after. Default: beside --out.")
    ] = None,
    hits: Annotated[
        int, typer.Option("--hits", help="Largest number of clean hits to use.", min=1000)
    ] = 1_000_000,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate a delay-line anode: time sums, scales, offset, corrections over the position.

    Example: molexa calibrate detector run.lmf --setup setup.yaml --out detector.yaml
    """
    from molexa_core.pipeline.runs.calibrate_detector import calibrate_detector_files

    written, found = calibrate_detector_files(
        runs,
        setup=setup,
        out=out,
        picture=picture,
        most_hits=hits,
        command=command_line(),
        progress=progress(),
    )
    for path in written:
        remark(f"wrote {path}")
    if json:
        write_json({"files": [str(path) for path in written], **found.as_dict()})
        return
    write(table(["quantity", "before", "after", "unit"], found.rows()))
