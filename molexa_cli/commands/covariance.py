"""`molexa covariance`: covariances and cumulants of ions, for high rates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.work_options import WorkOptions


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="slices", but=("--skip-failed",), work=WorkOptions)
    app.command("covariance")(options(covariance))


def covariance(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Files of one run, in order, of any known format; or its folder."),
    ],
    channel: Annotated[
        str | None, typer.Option("--channel", help="Name or file of the channel.")
    ] = None,
    setup: Annotated[str | None, typer.Option("--setup", help="Setup file.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output; RUN.covariance.h5 in the working folder if not given."),
    ] = None,
    axes: Annotated[
        tuple[str, str],
        typer.Option(
            "--axes",
            metavar="X Y",
            help="Axes of the maps: tof, or px, py, pz, p of an ion, such as 'pz(O+)'.",
        ),
    ] = ("tof", "tof"),
    bins: Annotated[int, typer.Option("--bins", help="Bins of each axis.")] = 120,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside",
            help="Ion of the channel whose hits make the map one of order three; twice: of four.",
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            help="Tag whose effect is taken off (partial and contingent covariance); the pulse "
            "energy if the run has it.",
        ),
    ] = None,
    slices: Annotated[
        int,
        typer.Option("--slices", help="Slices of the control, or of time without one; 0: none."),
    ] = 8,
    *,
    work: Given,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find which ions come from the same explosion where rates are too high for coincidences.

    Covariances and cumulants, up to four ions, of the numbers of hits in the windows of a channel,
    with errors, beside the true coincidences by event mixing; maps of them go into the file.

    Example: molexa covariance run.h5 --channel water
    """
    from molexa_core.base.intervals import plus_minus
    from molexa_core.pipeline.chain.covariance_maps import covariance as of_run
    from molexa_core.pipeline.chain.pick import COVARIANCE_SUFFIX
    from molexa_core.pipeline.given.given_run import result_of_run

    reporter = progress()
    path = out or result_of_run(runs, COVARIANCE_SUFFIX)
    found = of_run(
        runs,
        channel,
        setup,
        axes=axes,
        bins=bins,
        beside=beside or (),
        control=control,
        slices=slices,
        work=WorkOptions(**work),
        out=path,
        progress=reporter,
    )
    for warning in found.warnings:
        reporter.warn(warning)
    if json:
        write_json({"file": str(path), **found.as_dict()})
        return
    known = found.coincidences
    lines = []
    for row in found.rows:
        whole = len(row.ions) == len(found.ions)
        lines.append(
            [
                row.label,
                plus_minus(row.value, row.error),
                "" if row.sliced is None else plus_minus(row.sliced, row.sliced_error),
                "" if row.exponent is None else plus_minus(row.exponent, row.exponent_error),
                plus_minus(known.per_shot, known.per_shot_error) if known and whole else "",
            ]
        )
    name = "partial" if found.control else "per shot"
    header = ["ions", name, "in slices", "rise with rate", "coincidences per shot"]
    write(table(header, lines))
    reporter.say(f"wrote {path}")
