"""`molexa compare`: two results side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import AtomicUnits, Debug, Json, Quiet
from molexa_cli.console import SWITCHES, progress, remark, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.compare_options import SecondGate
from molexa_core.base.options.gate_options import Selection


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="second", selection=Selection, second_gate=SecondGate)
    app.command("compare")(options(compare))


def compare(
    first: Annotated[
        Path,
        typer.Argument(help="Events, aligned events, geom.json, XYZ file, or a shipped molecule."),
    ],
    second: Annotated[
        Path | None,
        typer.Argument(help="Another of the same kind. Default: the same events in another gate."),
    ] = None,
    allow_mirror: Annotated[
        bool,
        typer.Option("--allow-mirror", help="Let a mirror image count as the same structure."),
    ] = False,
    atomic_units: AtomicUnits = False,
    *,
    selection: Given,
    second_gate: Given,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare two structures, two runs, or two gates on one run.

    Structures: lengths, angles and dihedrals with difference and pull, the difference over its
    error. Events: coincidences, energies and, of aligned events, mean momenta, with difference,
    ratio and pull. molexa plot draws two files over each other.

    Example: molexa compare geom.json ocs
    """
    from molexa_core.base.units import BOHR_ANGSTROM
    from molexa_core.pipeline.chain.compare_files import compare_files

    found = compare_files(
        first,
        second,
        selection=Selection(**selection),
        second_gate=SecondGate(**second_gate),
        allow_mirror=allow_mirror,
        progress=progress(),
    )
    if json:
        write_json(found.to_dict())
        return
    write(f"first: {found.first}\nsecond: {found.second}")
    if SWITCHES.separator is not None:
        header = list(found.rows[0].to_dict())
        table(header, [[_plain(value) for value in row.to_dict().values()] for row in found.rows])
        return
    with_ratio = found.what == "events"
    rows = []
    for row in found.rows:
        bohr = atomic_units and row.unit == "Å"
        factor = 1.0 / BOHR_ANGSTROM if bohr else 1.0
        places = {"Å": 3, "degree": 1, "eV": 3, "a.u.": 3}.get(row.unit, 2)
        values = (row.first, row.first_error), (row.second, row.second_error)
        cells = [_text(value, error, factor, places) for value, error in values]
        cells.append(_text(row.difference, row.difference_error, factor, places, sign="+"))
        if with_ratio:
            cells.append("" if row.ratio is None else _text(row.ratio, row.ratio_error, 1.0, 3))
        cells.append("" if row.pull is None else f"{row.pull:+.1f}")
        rows.append([row.of, *cells, "bohr" if bohr else row.unit])
    ratio = ["ratio"] if with_ratio else []
    header = ["quantity", "first", "second", "difference", *ratio, "pull", "unit"]
    write(table(header, rows))
    remark("in brackets: the error of the last digits; pull: the difference over its error")
    for note in found.notes:
        remark(note)


def _plain(value: object) -> object:
    return "" if value is None else value


def _text(value: float, error: float | None, factor: float, places: int, sign: str = "") -> str:
    """A number with the error of its last digits in brackets: 24.018(12)."""
    from math import floor, log10

    size = None if error is None else abs(factor * error)
    if not size:
        return f"{factor * value:{sign}.{places}f}"
    places = min(max(1 - floor(log10(size)), 0), 6)
    return f"{factor * value:{sign}.{places}f}({size * 10.0**places:.0f})"
