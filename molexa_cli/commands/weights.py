"""`molexa weights`: list, show, verify and calibrate network weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, new_app
from molexa_cli.console import progress, remark, table, write, write_json

if TYPE_CHECKING:
    from molexa_core.base.mathematics.statistics import Interval

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
    group.command("recognise")(recognise)
    group.command("shrink")(shrink)
    app.add_typer(group, name="weights")


def list_(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the weights in the working folder and the shipped ones.

    Example: molexa weights list
    """
    from dataclasses import asdict

    from molexa_core.pipeline.evaluation.installed_weights import list_weights

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
    """Show the card of weights as JSON.

    Example: molexa weights show molexa-stage1
    """
    from molexa_core.pipeline.evaluation.installed_weights import show_weights

    write_json(show_weights(name))


def verify(name: Name, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check the files of weights against their checksums.

    Example: molexa weights verify molexa-stage1
    """
    from molexa_core.pipeline.evaluation.installed_weights import verify_weights

    intact, unknown = verify_weights(name)
    if json:
        told = {"intact": intact, "without_checksum": unknown}
        write_json({"name": name, **{key: [str(file) for file in told[key]] for key in told}})
        return
    write("\n".join(f"intact  {file}" for file in intact))
    if unknown:
        write("\n".join(f"without checksum  {file}" for file in unknown))


def calibrate(
    name: Name,
    data: Annotated[
        Path | None, typer.Option("--data", help="Data set; random molecules if not given.")
    ] = None,
    molecules: Annotated[
        int, typer.Option("--molecules", min=100, help="Molecules of each number of atoms.")
    ] = 4096,
    device: DeviceName = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate the error bars of weights and store the result in their card.

    With the data set of the training, known and new molecules are calibrated separately.

    Example: molexa weights calibrate training/molexa-stage2.json --data stage2
    """
    from molexa_core.pipeline.evaluation.calibrate_weights import calibrate_weights

    result, card = calibrate_weights(
        name, data=data, molecules=molecules, device=device, progress=progress()
    )
    if json:
        write_json({"card": str(card), "coverage": result.to_dict()})
        return
    for kind, sizes in result.coverage.items():
        rows = [
            [size, *(f"{100 * one.mean:.1f} ({_range(one)})" for one in row)]
            for size, row in sizes.items()
        ]
        title = f"coverage on molecules left out of the fit, {kind} molecules"
        write(table(["atoms", "in 68 % (%)", "in 95 % (%)"], rows, title=title))
    remark(f"wrote {card}")


def recognise(
    name: Name,
    geometries: Annotated[
        int, typer.Option("--geometries", min=200, help="Explosions of the training.")
    ] = 6000,
    device: DeviceName = "auto",
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Give weights the test that recognises inputs unlike their training, in their card.

    For weights that learned a family of X-ray pulses. Prints how often sets that the test was not
    made from are called unlike the training, at a rate of false alarms of 1.5 %.

    Example: molexa weights recognise weights/molexa.json --device cuda
    """
    from molexa_core.pipeline.evaluation.recognise_inputs import recognise_inputs

    found = recognise_inputs(name, geometries=geometries, device=device, progress=progress())
    if json:
        write_json(found.to_dict())
        return
    rows = [
        [kind, *(f"{100 * row[told]:.1f}" for told in ("111", "110", "001", "000"))]
        for kind, row in found.rates.items()
    ]
    header = ["set", "all told", "without duration", "duration alone", "nothing told"]
    write(table(header, rows, title="called unlike the training (%)"))
    remark(f"wrote {found.card}")


def _range(one: Interval) -> str:
    return f"{100 * one.low:.1f} to {100 * one.high:.1f}"


def shrink(
    name: Name,
    out: Annotated[Path, typer.Option("--out", help="Folder to write to.")],
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write weights in eight bits: half the size, the same accuracy.

    Example: molexa weights shrink training/molexa-stage2.json --out weights
    """
    from molexa_core.pipeline.evaluation.installed_weights import shrink_weights

    remark(f"wrote {shrink_weights(name, out)}")
