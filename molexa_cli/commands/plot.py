"""`molexa plot`: one figure for a paper, with its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.compare_options import SecondGate
from molexa_core.base.options.gate_options import Selection


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="style", selection=Selection, second_gate=SecondGate)
    app.command("plot")(options(plot))


def plot(
    what: Annotated[
        str | None, typer.Argument(help="Name of the figure. Default: list all figures.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Argument(help="Events file, aligned file, geom.json, or folder of a training."),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Argument(
            help="A second file, drawn over the first with ratio and pull; a second or a known "
            "structure, which may be a shipped molecule."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="PDF, SVG or PNG to write. Default: WHAT.pdf.")
    ] = None,
    x: Annotated[
        str | None, typer.Option("--x", help="Observable across, for histogram and map.")
    ] = None,
    y: Annotated[str | None, typer.Option("--y", help="Observable up, for map.")] = None,
    ions: Annotated[
        str | None, typer.Option("--ions", help="Ions to show, such as 'O+ C+'. Default: all.")
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option(
            "--plane", help="Plane of a Newton plot: xy, xz, yz. Default: that of the second ion."
        ),
    ] = None,
    bins: Annotated[
        int | None, typer.Option("--bins", help="Number of bins of each axis.", min=1)
    ] = None,
    log: Annotated[bool | None, typer.Option("--log/--linear", help="Scale of the counts.")] = None,
    width: Annotated[
        str | None, typer.Option("--width", help="Width, such as 8.6cm or 3.4in. Default: 8.6cm.")
    ] = None,
    style: Annotated[
        Path | None, typer.Option("--style", help="Style file of matplotlib (*.mplstyle).")
    ] = None,
    *,
    selection: Given,
    second_gate: Given,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a figure for a paper, and write its numbers as CSV beside it.

    Text stays text and fonts are embedded. Without a name the command lists the figures.

    Example: molexa plot ker run.events.h5 --out ker.pdf --width 8.6cm
    """
    from molexa_core.pipeline.chain.plot import PLOTS, Options, plot_file

    if what is None:
        rows = [[one.name, one.shows, one.source] for one in PLOTS.values()]
        if json:
            write_json([dict(zip(("name", "shows", "from"), row, strict=True)) for row in rows])
        else:
            write(table(["figure", "shows", "from"], rows))
        return
    options = Options(
        x=x,
        y=y,
        ions=tuple((ions or "").replace(",", " ").split()),
        plane=plane,
        bins=bins,
        log=log,
        width=width,
        style=style,
        beside=beside,
        second_gate=SecondGate(**second_gate),
    )
    source = file if file is not None else _only(what)
    written = plot_file(
        what,
        source,
        out or Path(f"{what}.pdf"),
        options,
        selection=Selection(**selection),
        progress=progress(),
    )
    if json:
        write_json({"written": [str(path) for path in written]})
    for path in written:
        remark(f"wrote {path}")


def _only(what: str) -> Path:
    """The only file in this folder from which the figure can be drawn."""
    from molexa_core.base.errors import UsageError
    from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, EVENTS_SUFFIX, only_file

    if what in {"structure", "score"}:
        return Path("geom.json")
    if what == "training":
        raise UsageError("which training?", do="Name its folder.")
    suffix, made_by = (
        (ALIGNED_SUFFIX, "molexa align") if what == "newton" else (EVENTS_SUFFIX, "molexa reduce")
    )
    return only_file(suffix, made_by=made_by, progress=progress())
