"""`molexa molecules`: list the shipped molecules, or show one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import remark, table, write, write_json

if TYPE_CHECKING:
    from molexa_core.pipeline.explosions.molecules import MoleculeData


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("molecules")(molecules)


def molecules(
    name: Annotated[
        str | None, typer.Argument(help="Name or formula of one molecule, such as ethanol or CF4.")
    ] = None,
    elements: Annotated[
        str | None, typer.Option("--elements", help="List those of these elements: C,H,O.")
    ] = None,
    atoms: Annotated[
        str | None, typer.Option("--atoms", help="List those with this number of atoms: 5 or 2-9.")
    ] = None,
    split: Annotated[
        Literal["train", "held-out", "large", "other"] | None,
        typer.Option("--split", help="List those of this part of the training data."),
    ] = None,
    xyz: Annotated[
        Path | None, typer.Option("--xyz", help="XYZ file for the geometry of the one molecule.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the shipped molecules, or show one: geometry, bonds, vibrations.

    Example: molexa molecules ethanol --xyz ethanol.xyz
    """
    from molexa_core.base.errors import UsageError
    from molexa_core.pipeline.explosions.molecules import molecule, molecule_file
    from molexa_core.pipeline.explosions.molecules import molecules as list_molecules

    if name is None:
        if xyz is not None:
            raise UsageError("--xyz needs the name of a molecule", do="Name one, such as water.")
        found = list_molecules(elements=elements, atoms=atoms, splits=split and [split])
        if json:
            write_json(found.to_dict(orient="records"))
        else:
            write(table(list(found.columns), found.to_numpy(dtype=object).tolist()))
            remark(f"{len(found)} molecules")
        return
    if elements or atoms or split:
        raise UsageError(
            "--elements, --atoms and --split choose from the list, but one molecule is named",
            do="Leave out the name or the options.",
        )
    one = molecule(name) if xyz is None else molecule_file(name, xyz)
    if json:
        write_json(one.to_dict())
    else:
        _print(one)
    if xyz is not None:
        remark(f"wrote {xyz}")


def _print(one: MoleculeData) -> None:
    from molexa_core.base.units import BOHR_ANGSTROM

    write(f"{one.name} {one.formula}, {one.smiles}" + (", in the G2/97 set" if one.g2 else ""))
    if one.aliases:
        write(f"also {', '.join(one.aliases)}")
    write(f"split: {one.split}\n")
    symbols = one.geometry.names
    rows = [
        [str(number), symbol, *(f"{value * BOHR_ANGSTROM:10.5f}" for value in position)]
        for number, (symbol, position) in enumerate(
            zip(symbols, one.geometry.positions, strict=True), start=1
        )
    ]
    write(table(["atom", "element", "x / Å", "y / Å", "z / Å"], rows))
    write("")
    lengths = [
        [f"{symbols[b.first]}{b.first + 1}-{symbols[b.second]}{b.second + 1}", b.length_angstrom]
        for b in one.bonds
    ]
    write(table(["bond", "length / Å"], [[pair, f"{length:.4f}"] for pair, length in lengths]))
    write("\nvibrations (1/cm): " + " ".join(f"{value:.0f}" for value in one.wavenumber_cm))
    write(f"zero-point energy {one.zero_point_ev:.4f} eV")
