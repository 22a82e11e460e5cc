"""`molexa watch`: reduce a measurement while it is written, and show it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_core.base.errors import UsageError

if TYPE_CHECKING:
    from molexa_core.pipeline.watching.live_source import LiveSource
    from molexa_core.pipeline.watching.watch import WatchOptions


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("watch")(watch)


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that the measurement is written to.")],
    channel: Annotated[
        str | None,
        typer.Option("--channel", help="Name or file of the channel."),
    ] = None,
    setup: Annotated[str | None, typer.Option("--setup", help="Setup file.")] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="File from which a later watch goes on; FOLDER.watch.npz in the working folder "
            "if not given.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew; the state is replaced.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", min=0.5, help="Seconds between two refreshes.")
    ] = 3.0,
    settled: Annotated[
        float,
        typer.Option(
            "--settled",
            min=0.0,
            help="A file that has not changed for so many seconds is closed; list-mode files are "
            "read before.",
        ),
    ] = 5.0,
    silent: Annotated[
        float, typer.Option("--silent", min=1.0, help="Seconds without new data until the alarm.")
    ] = 60.0,
    live: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--live",
            metavar="ADDRESS DETECTOR",
            help="A Karabo bridge in place of files, such as tcp://exflonc12:45000, and the name "
            "of the delay-line detector; the folder then only names the state.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0: any free one.")
    ] = 8642,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            help="Address at which other machines see the page, such as 0.0.0.0; this machine "
            "alone if not given.",
        ),
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Show the numbers here, without a page.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Read what there is, print the numbers, and end.")
    ] = False,
    structure: Annotated[
        bool,
        typer.Option("--structure/--no-structure", help="Make structures while data come."),
    ] = True,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Reduce a measurement while it is written, and show rates, sums, energies and the structure.

    List-mode files are read while they grow, all others when they are closed. The page is at
    http://127.0.0.1:8642; alarms say when rates are lost or sums and peaks drift. A watch that was
    ended, in whatever way, goes on where it was.

    Example: molexa watch /data/beamtime --channel water --setup setup.yaml
    """
    from molexa_core.pipeline.watching.watch import WatchOptions

    if json and not once:
        raise UsageError("numbers as JSON are of a watch that ends", do="Add `once=True`.")
    options = WatchOptions(
        folder,
        channel=channel,
        setup=setup,
        state=state,
        fresh=fresh,
        every_s=every,
        settled_s=settled,
        quiet_s=silent,
        structure=structure,
    )
    if live is not None and once:
        raise UsageError("a live source has no end", do="Leave out `live=` or `once=True`.")
    if once:
        _once(options, json=json)
    elif terminal:
        _in_terminal(options, live)
    else:
        _with_page(options, listen, port, live)


def _source(live: tuple[str, str] | None) -> LiveSource | None:
    """The live source that is asked for."""
    if live is None:
        return None
    from molexa_core.pipeline.watching.live_source import karabo_bridge

    return karabo_bridge(*live)


def _once(options: WatchOptions, *, json: bool) -> None:
    from molexa_core.pipeline.watching.watch import Watch

    summary = Watch(options, lambda _: None, progress()).run(once=True)
    if json:
        left_out = ("spectra", "history")
        write_json({name: one for name, one in summary.items() if name not in left_out})
    else:
        write(table(["quantity", "value", "unit"], _rows(summary)))
        for alarm in summary["alarms"]:
            progress().warn(alarm["text"])


def _with_page(
    options: WatchOptions, listen: str | None, port: int, live: tuple[str, str] | None
) -> None:
    from molexa_core.pipeline.watching.page_server import LOOPBACK, PageServer
    from molexa_core.pipeline.watching.watch import Watch

    title = f"molexa watch {options.folder.resolve().name}"
    with PageServer(title, address=listen or LOOPBACK, port=port) as server:
        watched = Watch(options, server.publish, progress(), _source(live))
        remark(f"the page is at {server.url}; end with Ctrl-C, and go on with the same command")
        watched.run()
    remark(f"the state is in {watched.state}")


def _in_terminal(options: WatchOptions, live: tuple[str, str] | None) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from molexa_core.pipeline.watching.watch import Watch

    console = Console()
    if not console.is_terminal:
        watched = Watch(options, _one_line, progress(), _source(live))
        watched.run()
        return
    with Live(console=console, auto_refresh=False) as screen:

        def show(summary: dict[str, Any]) -> None:
            text = Text()
            for alarm in summary["alarms"]:
                text.append(f"{alarm['text']}\n", style="bold red" if alarm["serious"] else "dim")
            text.append(table(["quantity", "value", "unit"], _rows(summary)))
            screen.update(text, refresh=True)

        watched = Watch(options, show, progress(), _source(live))
        watched.run()
    remark(f"the state is in {watched.state}")


def _one_line(summary: dict[str, Any]) -> None:
    """A summary as a line, where the output is no terminal."""
    if not summary["begun"]:
        return
    rate = summary["coincidences"] / max(summary["shots"], 1)
    texts = "; ".join(alarm["text"] for alarm in summary["alarms"])
    write(
        f"{summary['shots']} shots, {summary['coincidences']} coincidences ({rate:.4g} per shot)"
        + (f"; {texts}" if texts else "")
    )


def _rows(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The numbers of a summary for a table."""
    if not summary["begun"]:
        return [("runs", "none yet", "")]
    shots = max(summary["shots"], 1)
    rows = [
        ("channel", f"{summary['channel']} ({' '.join(summary['ions'])})", ""),
        ("shots", f"{summary['shots']}", ""),
        ("hits", f"{summary['hits']} ({summary['hits'] / shots:.4g} per shot)", ""),
        (
            "coincidences",
            f"{summary['coincidences']} ({summary['coincidences'] / shots:.4g} per shot)",
            "",
        ),
    ]
    if (speed := summary["speed"]) is not None:
        rows.append(("shots by the clock", f"{speed['shots']:.4g}", "per second"))
    rows.append(("not read yet", f"{summary['behind_bytes'] / 1e6:.1f}", "MB"))
    if (purity := summary["purity"]) is not None:
        rows.append(("estimated purity, from side bands", purity["text"], "%"))
    if (ker := summary["ker"]) is not None:
        rows.append(("KER peak", f"{ker['peak']:.3f}", "eV"))
    for axis in summary["gate"]["sums"]:
        if axis["centre"] is not None:
            text = f"{axis['centre']:.2f}, standard deviation {axis['sigma']:.2f}"
            rows.append((f"momentum sum {axis['axis']}: centre", text, "a.u."))
    rows.append(("momentum-sum gate", summary["gate"]["said"], ""))
    rows += _structure_rows(summary["structure"])
    return rows


def _structure_rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    newest = found["newest"]
    if newest is None:
        return [("structure", f"none: {found['trouble']}", "")] if found["trouble"] else []
    rows = [("structure from", f"{newest['of']}", "coincidences")]
    for kind, unit, places in (("distances", "Å", 3), ("angles", "degree", 1)):
        for one in newest[kind]:
            half = one["half_width"]
            error = "" if half is None else f" +- {half:.{places}f}"
            rows.append((one["name"], f"{one['value']:.{places}f}{error}", unit))
    return rows
