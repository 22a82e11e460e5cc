"""`molexa centroid`: mean momenta of the ions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import command_line, progress, remark, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.fields import ENERGY
from molexa_core.base.gate_options import Selection


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="out", selection=Selection)
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
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Average the momentum of every ion, with the standard error of the mean.

    Example: molexa centroid run.aligned.h5 --out channel.csv
    """
    from molexa_core.pipeline.chain.centroid import centroid_file

    target, rows = centroid_file(
        aligned,
        out=out,
        selection=Selection(**selection),
        command=command_line(),
        progress=progress(),
    )
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
    header = [
        str(name).rjust(9) if isinstance(value, float) else str(name)
        for name, value in records[0].items()
    ]
    write(table(header, [[_cell(value) for value in record.values()] for record in records]))
    if energy := rows.attrs.get(ENERGY):
        write(energy["meaning"])
    remark(f"written to {target}")


def _cell(value: object) -> object:
    if not isinstance(value, float):
        return value
    # + 0.0 removes the minus sign of a rounded zero.
    text = f"{value:.0f}" if value.is_integer() and value != 0 else f"{round(value, 3) + 0.0:.3f}"
    return text.rjust(9)
