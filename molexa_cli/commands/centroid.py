"""`molexa centroid`: mean momenta of the ions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, separated, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_cli.series_shown import show_series
from molexa_core.base.fields import ENERGY
from molexa_core.base.options.gate_options import Selection, SeriesOptions


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="out", selection=Selection, series=SeriesOptions)
    app.command("centroid")(options(centroid))


def centroid(
    aligned: Annotated[
        Path | None,
        typer.Argument(help="Aligned file. Default: the only *.aligned.h5 in this folder."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="CSV file to write. Default: channel.csv beside the input."),
    ] = None,
    *,
    selection: Given,
    series: Given,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Average the momentum of every ion, with the standard error of the mean.

    With --by the means are those of every bin, written as a series (momenta.series.json); for
    structures against a delay take molexa reconstruct --by.

    Example: molexa centroid run.aligned.h5 --out channel.csv
    """
    from molexa_core.pipeline.chain.centroid import CHANNEL_FILE
    from molexa_core.pipeline.chain.centroid import centroid as averaged
    from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, only_file

    reporter = progress()
    source = aligned or only_file(ALIGNED_SUFFIX, made_by="molexa align", progress=reporter)
    gates = Selection(**selection)
    if series:
        _series(source, out, SeriesOptions(**series), gates, json=json)
        return
    target = out or source.with_name(CHANNEL_FILE)
    rows = averaged(source, selection=gates, out=target, progress=reporter)
    records = rows.to_dict(orient="records")
    if json:
        plain = [
            {
                str(name): None if isinstance(value, float) and math.isnan(value) else value
                for name, value in record.items()
            }
            for record in records
        ]
        write_json({"file": str(target), "ions": plain, "energy": rows.attrs.get(ENERGY)})
        return
    if separated():
        write(table([str(name) for name in records[0]], [list(row.values()) for row in records]))
        return
    columns = []
    for name, first in records[0].items():
        cells = [str(name), *(str(_cell(record[name])).strip() for record in records)]
        width = max(map(len, cells)) if isinstance(first, float) else 0
        columns.append([cell.rjust(width) for cell in cells])
    header, *cells_of_rows = (list(row) for row in zip(*columns, strict=True))
    write(table(header, cells_of_rows))
    if energy := rows.attrs.get(ENERGY):
        write(energy["meaning"])
    remark(f"written to {target}")


def _series(
    aligned: Path,
    out: Path | None,
    options: SeriesOptions,
    selection: Selection,
    *,
    json: bool,
) -> None:
    """Write and print mean momenta in bins."""
    from molexa_core.pipeline.chain.momentum_series import MOMENTA_SERIES, momentum_series

    values = momentum_series(
        aligned,
        options,
        selection=selection,
        out=out or Path(MOMENTA_SERIES),
        progress=progress(),
    )
    show_series(values, json=json)


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    # + 0.0 removes the minus sign of a rounded zero.
    text = f"{value:.0f}" if value.is_integer() and value != 0 else f"{round(value, 3) + 0.0:.3f}"
    return text.rjust(9)
