"""`molexa spectrum`: the spectrum of an observable, or the map of two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.gate_options import Selection


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="out", selection=Selection)
    app.command("spectrum")(options(spectrum))


def spectrum(
    events: Annotated[Path, typer.Argument(help="Events or aligned events (HDF5).")],
    x: Annotated[str, typer.Option("--x", help="Observable, such as ker or 'tof(O+) + tof(C+)'.")],
    y: Annotated[
        str | None, typer.Option("--y", help="Second observable, for a map of both.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV file to write: edges, counts, errors.")
    ] = None,
    *,
    selection: Given,
    bins: Annotated[
        int, typer.Option("--bins", min=2, max=2000, help="Bins along each axis.")
    ] = 100,
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
    """Compute the spectrum of any observable, or the map of two, false coincidences subtracted.

    Prints where the values lie: mean, median and robust width with errors. PIPICO maps, sums of
    times, Dalitz and Newton plots and native frames are pairs of observables (docs/gates.md).

    Example: molexa spectrum run.events.h5 --x ker --out ker.csv
    """
    from molexa_core.pipeline.chain.measured_spectrum import measured_spectrum

    found = measured_spectrum(
        events,
        [x] if y is None else [x, y],
        out=out,
        bins=bins,
        ranges=(x_range, y_range),
        selection=Selection(**selection),
        progress=progress(),
    )
    if json:
        write_json({"file": None if out is None else str(out), **found.to_dict()})
        return
    rows = []
    for name, unit, position in zip(found.names, found.units, found.positions, strict=True):
        if position is None:
            rows.append([name, "too few events", "", "", unit])
            continue
        pairs = (position.mean, position.median, position.width)
        rows.append([name, *(f"{value:.5g} ± {error:.2g}" for value, error in pairs), unit])
    write(table(["observable", "mean", "median", "width (68 % / 2)", "unit"], rows))
    first = found.positions[0]
    if first is not None:
        write(f"{first.events[0]:.1f} ± {first.events[1]:.1f} events")
    if found.false is not None:
        remark(f"{found.false:.1f} false coincidences are subtracted")
    if found.unknown:
        remark(f"{found.unknown} coincidences are left out: a value is not a number")
    if out is not None:
        remark(f"written to {out}")
