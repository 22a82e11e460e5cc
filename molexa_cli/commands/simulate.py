"""`molexa simulate`: the Coulomb explosion of a known geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import command_line, progress, remark, table, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("simulate")(simulate)


def simulate(
    geometry: Annotated[
        str, typer.Argument(help="XYZ file (angstrom) or shipped molecule, such as water.")
    ],
    charges: Annotated[
        str | None,
        typer.Option("--charges", help="Ion of each atom in order, such as O+,H+,H+."),
    ] = None,
    model: Annotated[
        Literal["instant", "classical"],
        typer.Option("--model", help="instant, or classical: charges rise within --tau-fs."),
    ] = "classical",
    tau_fs: Annotated[
        float, typer.Option("--tau-fs", help="Window of the charge build-up (classical).")
    ] = 45.0,
    masses: Annotated[
        Literal["isotope", "average"],
        typer.Option("--masses", help="Most abundant isotopes, or average atomic weights."),
    ] = "isotope",
    accuracy: Annotated[
        Literal["draft", "fast", "fine"],
        typer.Option("--accuracy", help="Relative error about 4e-6, 5e-7, 1e-9."),
    ] = "fine",
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV file for the momenta (channel.csv).")
    ] = None,
    trajectory: Annotated[
        Path | None, typer.Option("--trajectory", help="XYZ file for a movie of the explosion.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Pictures of the movie.", min=2)] = 101,
    until_fs: Annotated[float, typer.Option("--until-fs", help="Length of the movie.")] = 100.0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Explode a geometry and print the momenta of its ions.

    Example: molexa simulate water --charges O+,H+,H+ --out momenta.csv
    """
    from molexa_core.base.fields import LABEL
    from molexa_core.pipeline.simulate import simulate_file

    result = simulate_file(
        geometry,
        charges,
        out=out,
        trajectory=trajectory,
        frames=frames,
        until_fs=until_fs,
        model=model,
        tau_fs=tau_fs,
        masses=masses,
        accuracy=accuracy,
        command=command_line(),
        progress=progress(),
    )
    for path in (out, trajectory):
        if path is not None:
            remark(f"wrote {path}")
    if json:
        write_json(result.to_dict())
        return
    rows = [
        [label, *(f"{value:.4f}" for value in momentum), f"{energy:.4f}"]
        for label, momentum, energy in zip(
            result.table[LABEL], result.momentum, result.energy_ev, strict=True
        )
    ]
    header = ["ion", "px (a.u.)", "py (a.u.)", "pz (a.u.)", "energy (eV)"]
    write(table(header, rows))
    write(f"KER {result.ker_ev:.4f} eV ({result.coulomb_ev:.4f} eV if instant)")
