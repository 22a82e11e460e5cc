"""`molexa score`: compare two structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import AtomicUnits, Debug, Json, Quiet
from molexa_cli.console import progress, table, warn, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("score")(score)


def score(
    structure: Annotated[
        Path,
        typer.Argument(help="XYZ file to compare, or geom.json or structures.h5 of molexa."),
    ],
    known: Annotated[
        Path, typer.Argument(help="XYZ file of the known structure, or a shipped molecule.")
    ],
    allow_mirror: Annotated[
        bool,
        typer.Option("--allow-mirror", help="Let a mirror image count as the same structure."),
    ] = False,
    atomic_units: AtomicUnits = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare a structure with a known one after the best superposition.

    Like atoms are assigned first. Prints the mean absolute error, and the errors of distances and
    angles as defined in the paper.

    Example: molexa score geom.xyz truth.xyz
    """
    from molexa_core.base.units import BOHR_ANGSTROM
    from molexa_core.pipeline.chain.score import score as scored

    result = scored(structure, known, allow_mirror=allow_mirror, progress=progress())
    if json:
        write_json(result.to_dict())
        return
    errors = result.errors
    length, factor = ("a.u.", 1.0) if atomic_units else ("Å", BOHR_ANGSTROM)
    rows: list[tuple[str, float | None, str]] = [
        ("mean absolute error (MAE), superposed", errors.mae, length),
        ("root mean square distance (RMSD)", errors.rmsd, length),
        ("mean distance error", errors.mean_distance_error, length),
        ("max distance error", errors.max_distance_error, length),
        ("mean angle error", errors.mean_angle_error, "degrees"),
        ("max angle error", errors.max_angle_error, "degrees"),
    ]
    write(
        table(
            ["error", "value", "unit"],
            [
                [name, "-" if value is None else f"{value * scale:.4f}", unit]
                for name, value, unit in rows
                for scale in (factor if unit == length else 1.0,)
            ],
        )
    )
    if result.claims:
        claims = [
            [
                one.of,
                *(f"{factor * x:.4f}" for x in (one.value, one.half_width, one.known)),
                f"{one.pull:.2f}",
            ]
            for one in result.claims
        ]
        write(table(["distance", length, "±", "known", "error / ±"], claims))
        write(f"rms error over rms ±: {result.ratio:.2f} (1 on average over many molecules)")
    pairs = [
        f"{symbol}{index + 1}-{symbol}{int(other) + 1}"
        for index, (symbol, other) in enumerate(
            zip(result.symbols, result.superposition.assignment, strict=True)
        )
    ]
    write(f"atoms (this-known): {' '.join(pairs)}")
    if result.superposition.mirrored:
        write("the known structure was mirrored")
    if not result.superposition.exact:
        warn("too many like atoms to try all assignments; this is the best one found")
