"""`molexa atom`: binding energies, cross sections and decays of an atom or ion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import progress, remark, table, write, write_json

if TYPE_CHECKING:
    from molexa_core.pipeline.explosions.atom import AtomicData


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("atom")(atom)


def atom(
    element: Annotated[str, typer.Argument(help="Symbol of the element: H to Ar, Br, Kr, I, Xe.")],
    photon_ev: Annotated[float, typer.Option("--photon-ev", help="Photon energy in eV.")],
    occupation: Annotated[
        str | None,
        typer.Option(
            "--occupation",
            help="Configuration, such as 1s1.2s2.2p4; the neutral ground state if not given.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print binding energies, cross sections, widths, lifetimes and yields of an atom or ion.

    Example: molexa atom Cl --photon-ev 2000
    """
    from molexa_core.pipeline.explosions.atom import atom as atom_stage
    from molexa_core.pipeline.explosions.atom import cached_file

    found = atom_stage(element, photon_ev, occupation, progress=progress())
    if json:
        write_json(found.to_dict())
        return
    _print(found)
    size = f"{found.configurations} configurations, {found.transitions} transitions"
    kept = cached_file(found.element, found.photon_ev)
    remark(f"tables: {size}" + (f", kept in {kept}" if kept else ""))


def _print(found: AtomicData) -> None:
    digits = str(found.charge) if found.charge > 1 else ""
    ion = f"{found.element}{digits}+" if found.charge else found.element
    write(f"{ion} {found.occupation}, photons of {found.photon_ev:g} eV")
    header = [
        *("subshell", "electrons", "binding (eV)", "cross section (barn)"),
        *("hole width (eV)", "hole lifetime (fs)", "fluorescence yield"),
    ]
    rows = [
        [
            item.subshell,
            str(item.electrons),
            f"{item.binding_energy_ev:.2f}",
            f"{item.cross_section_barn:.5g}",
            f"{item.hole_width_ev:.4g}",
            _or_dash(item.hole_lifetime_fs),
            _or_dash(item.fluorescence_yield),
        ]
        for item in found.subshells
    ]
    write(table(header, rows))
    write(f"cross section {found.configuration_cross_section_barn:.5g} barn")
    if found.charge or not found.in_tables:
        write(f"neutral atom  {found.total_cross_section_barn:.5g} barn")
    if found.decays:
        write(f"\nlifetime of this configuration {_or_dash(found.lifetime_fs)} fs")
        header = ["decay", "fills", "from", "width (eV)", "rate (1/fs)", "energy (eV)"]
        lines = [
            [
                item.kind,
                item.hole,
                " ".join(item.electrons_from),
                f"{item.width_ev:.4g}",
                f"{item.rate_per_fs:.4g}",
                f"{item.energy_ev:.1f}",
            ]
            for item in found.decays
        ]
        write(table(header, lines))
    if not found.in_tables:
        write("This configuration is not reached from the neutral atom at this photon energy.")


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
