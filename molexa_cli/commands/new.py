"""`molexa new`: write setup, channel, recipe or a whole working folder to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Quiet, new_app
from molexa_cli.console import remark, write
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.apparatus import Apparatus

Ions = Annotated[
    str | None,
    typer.Option("--ions", help="The ions, such as 'O2+ C2+ S2+'. Default: all atoms, one charge."),
]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = new_app(
        "Write a commented file to begin with: setup, channel, recipe, or a working folder.\n\n"
        "Example: molexa new project ocs run.root --region 40.5,150 --region 81,420"
    )

    @group.callback()
    def new() -> None:
        pass

    of_setup = with_parameters(behind="run", told=Apparatus)
    of_project = with_parameters(behind="ions", told=Apparatus)
    commands = (of_setup(setup), channel, recipe, of_project(project))
    for command in commands:
        group.command(command.__name__)(command)
    app.add_typer(group, name="new")


def setup(
    run: Annotated[list[Path] | None, typer.Argument(help="Files of a run to look at.")] = None,
    out: Annotated[Path, typer.Option("--out", help="File to write.")] = Path("setup.yaml"),
    *,
    told: Given,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a setup: spectrometer, detector, calibration, jet, and the columns of a run.

    Example: molexa new setup run.root --region 110,250 --jet-m-per-s 1000
    """
    from molexa_core.pipeline.starting.new_setup import new_setup

    path, remarks = new_setup(run or (), Apparatus(**told), out=out)
    _said([path], remarks)


def channel(
    what: Annotated[
        str,
        typer.Argument(help="Molecule, formula, XYZ file, or the ions: ocs, CH3OH, 'O+ C+ 2 H+'."),
    ],
    ions: Ions = None,
    charge: Annotated[int, typer.Option("--charge", help="Charge of every atom.", min=1)] = 1,
    setup: Annotated[
        str | None,
        typer.Option("--setup", help="Setup for times of flight in the comments."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: channels/NAME.yaml.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a channel: the ions of a break-up, with masses and limits of their momenta.

    Example: molexa new channel ocs --ions 'O2+ C2+ S2+'
    """
    from molexa_core.base.settings import load_project, load_setup
    from molexa_core.pipeline.starting.new_channel import new_channel

    named = setup or load_project().setup
    known = None if named is None else load_setup(named)
    path = new_channel(what, ions=ions, charge=charge, setup=known, out=out)
    _said([path], [])


def recipe(
    molecules: Annotated[
        list[str] | None,
        typer.Argument(help="Names or formulas of molecules. Default: all that ship."),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the data set.")] = "recipe",
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: NAME.yaml.")
    ] = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a recipe of a data set of simulated explosions.

    Example: molexa new recipe ocs water --name triatomics
    """
    from molexa_core.pipeline.starting.new_recipe import new_recipe

    _said([new_recipe(molecules or (), name=name, out=out)], [])


def project(
    what: Annotated[str, typer.Argument(help="Molecule, formula, XYZ file, or the ions.")],
    run: Annotated[list[Path] | None, typer.Argument(help="Files of a run to look at.")] = None,
    ions: Ions = None,
    *,
    told: Given,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write setup, channel and molexa.yaml into this folder, so that commands need no options.

    Example: molexa new project ocs run.root --ions 'O2+ C2+ S2+' --region 110,250
    """
    from molexa_core.pipeline.starting.new_project import new_project

    _said(*new_project(what, run or (), Apparatus(**told), ions=ions))


def _said(paths: list[Path], remarks: list[str]) -> None:
    for text in remarks:
        remark(text)
    for path in paths:
        write(f"wrote {path}")
