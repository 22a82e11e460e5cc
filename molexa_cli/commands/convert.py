"""`molexa convert`: write a run in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli import run_formats
from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, table, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("convert")(convert)


def convert(
    runs: Annotated[
        list[Path], typer.Argument(help="Files of one run, in order; or a pattern or its folder.")
    ],
    out: Annotated[Path, typer.Argument(help="File to write; its suffix determines the format.")],
    layout: Annotated[
        run_formats.RunFormat | None,
        typer.Option("--format", help="Format to write. Default: by the suffix."),
    ] = None,
    setup: Annotated[
        str | None,
        typer.Option("--setup", help="Setup file with columns, facility or anode, where needed."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a run in another format, and report what that format cannot hold.

    Hits are written as ROOT (as by LMF2Root), HDF5, Parquet or text; edges as list-mode files, in
    the layout of European XFEL, or as ROOT. Edges are sorted into hits if the setup has an anode.
    A file of coincidences becomes a table in Parquet for other programs.

    Example: molexa convert run.lmf run.root --setup setup.yaml
    """
    from molexa_core.pipeline.runs.convert import convert_file

    done = convert_file(runs, out, layout=layout, setup=setup, progress=progress())
    remark(f"wrote {out}")
    if json:
        write_json({"file": str(out), **done})
        return
    rows = [
        [name.replace("_", " "), str(done[name])]
        for name in done
        if name not in {"lost", "warnings"}
    ]
    rows += [["lost", sentence] for sentence in done["lost"]] or [["lost", "nothing"]]
    write(table(["what", "value"], rows))
