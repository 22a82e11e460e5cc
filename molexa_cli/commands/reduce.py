"""`molexa reduce`: momenta of coincidences from raw hits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import command_line, progress, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import MASSES
from molexa_core.base.matter.isotopes import Masses
from molexa_core.base.options.gate_options import Selection, Solutions
from molexa_core.base.options.work_options import WorkOptions

if TYPE_CHECKING:
    from molexa_core.reduction.summary import ReduceSummary


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="gate_sum", selection=Selection, work=WorkOptions)
    app.command("reduce")(options(reduce))


def reduce(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Files of one run, in order, of any known format; or its folder."),
    ],
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            help="Name or file of the channel; given several times, each channel gets its own "
            "file RUN.CHANNEL.events.h5.",
        ),
    ] = None,
    setup: Annotated[str | None, typer.Option("--setup", help="Setup file.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output; RUN.events.h5 in the working folder if not given."),
    ] = None,
    gate_sum: Annotated[
        tuple[float, float, float] | None,
        typer.Option(
            "--gate-sum",
            metavar="X Y Z",
            help="Half widths of the momentum-sum gate, a.u.; found from the data if not given.",
        ),
    ] = None,
    mixing: Annotated[
        bool | None,
        typer.Option(
            "--mixing/--no-mixing",
            help="Build false coincidences from hits of different shots, which later stages "
            "subtract; done for complete channels if not given.",
        ),
    ] = None,
    rivals: Annotated[
        list[str] | None,
        typer.Option(
            "--rival",
            help="Another channel that competes for the hits, so that each hit is in one "
            "explosion; may be repeated. Nothing is mixed then.",
        ),
    ] = None,
    solutions: Annotated[
        Solutions,
        typer.Option(
            "--solutions",
            help="Of combinations that share hits: the best set, or all with their probabilities "
            "as weights. Nothing is mixed then.",
        ),
    ] = "best",
    *,
    selection: Given,
    work: Given,
    force: Force = False,
    masses: Annotated[
        Masses,
        typer.Option("--masses", help=f"{MASSES.meaning.capitalize()}: {MASSES.note}."),
    ] = "isotope",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the coincidences of a channel in a raw run and write their ion momenta.

    Reads ROOT trees, Cobold list-mode files, European XFEL and FLASH HDF5, tables in HDF5, Parquet,
    text and numpy. Signals of a delay-line anode are sorted into hits first.

    Example: molexa reduce run.root --channel water
    """
    from molexa_core.pipeline.chain.reduce import reduce_channels, reduce_files

    reporter = progress()
    if channel is not None and len(channel) > 1:
        if out is not None:
            raise UsageError(
                f"{len(channel)} channels are not written to one file",
                setting="out",
                do="Leave it out: each channel gets its own RUN.CHANNEL.events.h5.",
            )
        done = reduce_channels(
            runs,
            channel,
            setup=setup,
            gate_sum=gate_sum,
            mixing=mixing,
            masses=masses,
            selection=Selection(**selection),
            work=WorkOptions(**work),
            command=command_line(),
            progress=reporter,
        )
        _show_all(done, json=json)
        return
    path, summary = reduce_files(
        runs,
        channel=channel[0] if channel else None,
        setup=setup,
        out=out,
        gate_sum=gate_sum,
        mixing=mixing,
        rivals=rivals or (),
        solutions=solutions,
        masses=masses,
        selection=Selection(**selection),
        work=WorkOptions(**work),
        command=command_line(),
        progress=reporter,
    )
    if json:
        write_json({"file": str(path), **summary.as_dict()})
        return
    write(table(["quantity", "value", "unit"], summary.rows()))
    reporter.say(f"wrote {path}")


def _show_all(done: Sequence[tuple[Path, ReduceSummary]], *, json: bool) -> None:
    """The summaries of several channels."""
    if json:
        write_json([{"file": str(path), **summary.as_dict()} for path, summary in done])
        return
    for path, summary in done:
        write(table(["quantity", "value", "unit"], summary.rows(), title=str(path)))
