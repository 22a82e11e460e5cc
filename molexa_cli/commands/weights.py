"""`molexa weights`: list, show, verify and calibrate network weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Json, Quiet, new_app
from molexa_cli.console import progress, remark, table, write, write_json

Name = Annotated[str, typer.Argument(help="Name or JSON file of the weights.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = new_app(
        "List, show, verify and calibrate network weights.\n\nExample: molexa weights list"
    )
    group.command("list")(list_)
    group.command("show")(show)
    group.command("verify")(verify)
    group.command("calibrate")(calibrate)
    group.command("shrink")(shrink)
    app.add_typer(group, name="weights")


def list_(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the weights of the working folder and those that ship.

    Example: molexa weights list
    """
    from dataclasses import asdict

    from molexa_core.pipeline.weights import list_weights

    found = list_weights()
    if json:
        write_json([asdict(item) for item in found])
        return
    rows = [
        [
            item.name,
            item.tokens,
            f"{item.parameters / 1e6:.1f} M",
            f"{item.size / 2**20:.1f} MiB",
            item.max_atoms,
            " ".join(item.elements),
        ]
        for item in found
    ]
    write(table(["name", "tokens", "parameters", "size", "atoms", "elements"], rows))


def show(name: Name, quiet: Quiet = False, debug: Debug = False) -> None:
    """Show everything that is known about weights, as JSON.

    Example: molexa weights show molexa-stage1
    """
    from molexa_core.pipeline.weights import show_weights

    write_json(show_weights(name))


def verify(name: Name, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check the files of weights against their checksums.

    Example: molexa weights verify molexa-stage1
    """
    from molexa_core.pipeline.weights import verify_weights

    files = verify_weights(name)
    if json:
        write_json({"name": name, "intact": [str(file) for file in files]})
    else:
        write("\n".join(f"intact  {file}" for file in files))


def calibrate(
    name: Name,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data set; random molecules where not given.")
    ] = None,
    molecules: Annotated[
        int, typer.Option("--molecules", min=800, help="Molecules to calibrate on.")
    ] = 8192,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate the error bars of weights and store the result in their card.

    Example: molexa weights calibrate molexa-stage1
    """
    from molexa_core.pipeline.calibrate_weights import calibrate_weights

    result, card = calibrate_weights(
        name, data=data, molecules=molecules, device=device, progress=progress()
    )
    if json:
        write_json({"card": str(card), "coverage": dict(result.coverage)})
        return
    rows = [[size, *(f"{100 * one:.1f}" for one in row)] for size, row in result.coverage.items()]
    write(table(["atoms", "in 68 % (%)", "in 95 % (%)"], rows, title="coverage on other molecules"))
    remark(f"wrote {card}")


def shrink(
    name: Name,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write weights in eight bits: half the size, the same accuracy.

    Example: molexa weights shrink training/molexa-stage2.json --out weights
    """
    from molexa_core.pipeline.weights import shrink_weights

    out.mkdir(parents=True, exist_ok=True)
    remark(f"wrote {shrink_weights(name, out)}")
