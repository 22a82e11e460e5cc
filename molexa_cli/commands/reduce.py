"""`molexa reduce`: momenta of coincidences from raw hits."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet
from molexa_cli.console import progress, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_cli.run_choice import Numbers, chosen_runs, command_with
from molexa_core.base.errors import UsageError
from molexa_core.base.forward_model import MASSES
from molexa_core.base.matter.isotopes import Masses
from molexa_core.base.options.gate_options import Selection, Solutions
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.storage.provenance import made_by

if TYPE_CHECKING:
    from molexa_core.pipeline.chain.reduce import Reduction


_SEARCH = "molexa_core.pipeline.chain.reduce_units:search"
"""What computes the units of a large run."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="gate_sum", selection=Selection, work=WorkOptions)
    app.command("reduce")(options(reduce))


def reduce(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of one run, in order, of any known format; or its folder."),
    ] = None,
    numbers: Numbers = None,
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
    device: DeviceName = "cpu",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Find the coincidences of a channel in a raw run and write their ion momenta.

    Reads ROOT trees, Cobold list-mode files, European XFEL and FLASH HDF5, tables in HDF5, Parquet,
    text and numpy. Signals of a delay-line anode are sorted into hits first. With --runs each run
    of the catalogue gets its own file of coincidences.

    Example: molexa reduce run.root --channel water
    """
    from molexa_core.pipeline.work.early_start import begin_for

    begin_for(runs or (), WorkOptions(**work), _SEARCH)  # while this process loads the libraries

    from molexa_core.pipeline.chain.pick import EVENTS_SUFFIX
    from molexa_core.pipeline.chain.reduce import reduce as reduced
    from molexa_core.pipeline.chain.reduce import reduce_channels
    from molexa_core.pipeline.given.given_run import result_of_run

    reporter = progress()
    works = chosen_runs(runs, numbers)
    several = channel is not None and len(channel) > 1
    if out is not None and (several or len(works) > 1):
        what = f"{len(channel or ())} channels" if several else f"{len(works)} runs"
        raise UsageError(
            f"{what} are not written to one file",
            setting="out",
            do="Leave it out: each gets its own file, RUN.events.h5 or RUN.CHANNEL.events.h5.",
        )
    done = []
    for files in works:
        given: dict[str, Any] = {
            "setup": setup,
            "gate_sum": gate_sum,
            "mixing": mixing,
            "masses": masses,
            "selection": Selection(**selection),
            "work": WorkOptions(**work),
            "device": device,
            "progress": reporter,
        }
        with nullcontext() if runs else made_by(command_with(files)):
            if channel is not None and several:
                done += reduce_channels(files, channel, **given)
                continue
            one = channel[0] if channel else None
            target = out or result_of_run(files, EVENTS_SUFFIX)
            more: dict[str, Any] = {"rivals": rivals or (), "solutions": solutions, "out": target}
            done.append(reduced(files, one, **more, **given))
    if several or len(works) > 1:
        _show_all(done, json=json)
        return
    found = done[0]
    if json:
        write_json({"file": str(found.path), **found.summary.as_dict()})
        return
    write(table(["quantity", "value", "unit"], found.summary.rows()))
    reporter.say(f"wrote {found.path}")


def _show_all(done: Sequence[Reduction], *, json: bool) -> None:
    """The summaries of several channels or runs."""
    if json:
        write_json([{"file": str(one.path), **one.summary.as_dict()} for one in done])
        return
    for one in done:
        write(table(["quantity", "value", "unit"], one.summary.rows(), title=str(one.path)))
