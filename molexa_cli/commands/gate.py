"""`molexa gate`: draw a region in a map of two observables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.errors import UsageError
from molexa_core.base.options.gate_options import Selection

if TYPE_CHECKING:
    from molexa_core.pipeline.chain.draw_gate import Drawn, GateMap


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="channel", selection=Selection)
    app.command("gate")(options(gate))


def gate(
    events: Annotated[Path, typer.Argument(help="Events or aligned events (HDF5).")],
    x: Annotated[str, typer.Option("--x", help="Observable along x, such as tof(O+).")],
    y: Annotated[str, typer.Option("--y", help="Observable along y, such as tof(C+).")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the region. Default: region1, region2 ...")
    ] = None,
    polygon: Annotated[
        str | None,
        typer.Option("--polygon", metavar="'X,Y X,Y X,Y ...'", help="Corners, without a screen."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="'X,Y X,Y'", help="Two corners of a box, without a screen."),
    ] = None,
    ellipse: Annotated[
        str | None,
        typer.Option(
            "--ellipse",
            metavar="'X,Y A,B [ANGLE]'",
            help="Centre, half axes and angle in degrees, without a screen.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write the page, which shows the YAML block to copy, and end."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="File of the regions, or copy of the channel. Default: regions.yaml."
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            "--channel", help="Channel by name or file; a copy of it with the region is written."
        ),
    ] = None,
    *,
    selection: Given,
    bins: Annotated[
        int, typer.Option("--bins", min=2, max=400, help="Bins of the map along each axis.")
    ] = 160,
    x_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--x-range", metavar="LOW HIGH", help="Ends of the x axis."),
    ] = None,
    y_range: Annotated[
        tuple[float, float] | None,
        typer.Option("--y-range", metavar="LOW HIGH", help="Ends of the y axis."),
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw a region (polygon, box, ellipse) in a map of two observables, and write it to a file.

    The map opens in the browser; a server on this machine alone writes what is drawn. Without a
    screen, give the numbers. All stages take the region with --gate NAME.

    Example: molexa gate run.events.h5 --x "tof(O+)" --y "tof(C+)"
    """
    from molexa_core.pipeline.chain.draw_gate import GateMap, form_of

    form = form_of(polygon=polygon, box=box, ellipse=ellipse)
    if form is not None and html is not None:
        raise UsageError("a page is for drawing, and the region is given", setting="html")
    found = GateMap(
        events,
        x,
        y,
        out=out,
        channel=channel,
        selection=Selection(**selection),
        bins=bins,
        x_range=x_range,
        y_range=y_range,
        progress=progress(),
    )
    if html is not None:
        found.write_page(html)
        write(str(html))
    elif form is not None:
        _show(found.write(name or found.free_name, form), json=json)
    else:
        _serve(found, json=json)


def _serve(found: GateMap, *, json: bool) -> None:
    """Show the map in the browser and write what is drawn, until Ctrl-C."""
    import webbrowser

    from molexa_core.pipeline.chain.gate_server import GateServer

    with GateServer(found, lambda drawn: _show(drawn, json=json)) as server:
        opened = webbrowser.open(server.url)
        remark(f"the map is at {server.url}{'' if opened else ' (open it in a browser)'}")
        remark("draw a region and write it; end with Ctrl-C")
        server.serve(lambda: False)


def _show(drawn: Drawn, *, json: bool) -> None:
    if json:
        write_json(
            {
                "file": str(drawn.file),
                "name": drawn.name,
                "region": drawn.region.model_dump(mode="json", exclude_defaults=True),
                "inside": drawn.inside,
                "rows": drawn.rows,
            }
        )
        return
    write(drawn.block.rstrip())
    write(f"{drawn.inside} of {drawn.rows} coincidences lie inside; written to {drawn.file}")
