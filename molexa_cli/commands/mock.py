"""`molexa mock`: simulate a raw run with the virtual experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli import run_formats
from molexa_cli.app import Debug, Force, Json, Quiet, Seed
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_cli.parameters import Given, refuse, typed, with_parameters
from molexa_core.base.forward_model import ExplosionModel, ModelOptions, Pulse


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(
        behind="model", prefix="mcmd", but=["--masses"], pulse=Pulse, switches=ModelOptions
    )
    app.command("mock")(options(mock))


def mock(
    channel: Annotated[str, typer.Argument(help="Channel by name or file.")],
    events: Annotated[int, typer.Option("--events", help="Number of shots (light pulses).", min=1)],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    seed: Seed = 0,
    geometry: Annotated[
        str | None,
        typer.Option("--geometry", help="XYZ file or shipped molecule. Default: the channel's."),
    ] = None,
    setup: Annotated[
        Path | None, typer.Option("--setup", help="Setup file. Default: molexa.yaml's, or shipped.")
    ] = None,
    layout: Annotated[
        run_formats.RunFormat,
        typer.Option("--format", help=run_formats.formats_in_words()),
    ] = "root",
    model: Annotated[
        ExplosionModel | None,
        typer.Option("--model", help="How molecules explode. Default: the setup's."),
    ] = None,
    *,
    pulse: Given,
    switches: Given,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="HDF5 file for the true molecules and hits.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Simulate a raw run of a molecule of known structure in a virtual experiment.

    Example: molexa mock water --events 200000 --seed 1 --out run.root --truth truth.h5
    """
    from molexa_core.pipeline.runs.mock import mock as mocked

    if model in ("instant", "classical"):
        refuse(model, (*typed(pulse, Pulse), *typed(switches, ModelOptions)))
    virtual: dict[str, object] = {"explosion": model, "pulse": pulse, "model": switches}
    run = mocked(
        channel,
        events,
        out=out,
        setup=setup,
        structure=geometry,
        seed=seed,
        layout=layout,
        truth=truth,
        virtual={name: value for name, value in virtual.items() if value},
        progress=progress(),
    )
    for path in (out, truth):
        if path is not None:
            remark(f"wrote {path}")
    if json:
        write_json(run.counts)
    else:
        rows = [[name.replace("_", " "), number] for name, number in run.counts.items()]
        write(table(["what", "number"], rows))
