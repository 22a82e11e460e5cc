"""`molexa score`: compare two structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import progress, table, warn, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("score")(score)


def score(
    structure: Annotated[
        Path,
        typer.Argument(help="XYZ file to compare, or geom.json or structures.h5 of molexa."),
    ],
    known: Annotated[Path, typer.Argument(help="XYZ file of the known structure.")],
    allow_mirror: Annotated[
        bool,
        typer.Option("--allow-mirror", help="Let a mirror image count as the same structure."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare a structure with a known one after the best superposition.

    Like atoms are assigned first. Prints the mean absolute error, and the errors of distances and
    angles as defined in the paper.

    Example: molexa score geom.xyz truth.xyz
    """
    from molexa_core.pipeline.chain.score import score_files

    result = score_files(structure, known, allow_mirror=allow_mirror, progress=progress())
    if json:
        write_json(result.to_dict())
        return
    errors = result.errors
    rows: list[tuple[str, float | None, str]] = [
        ("mean absolute error (MAE), superposed", errors.mae, "a.u."),
        ("root mean square distance (RMSD)", errors.rmsd, "a.u."),
        ("mean distance error", errors.mean_distance_error, "a.u."),
        ("max distance error", errors.max_distance_error, "a.u."),
        ("mean angle error", errors.mean_angle_error, "degrees"),
        ("max angle error", errors.max_angle_error, "degrees"),
    ]
    write(
        table(
            ["error", "value", "unit"],
            [[name, "-" if value is None else f"{value:.4f}", unit] for name, value, unit in rows],
        )
    )
    if result.claims:
        claims = [
            [
                one.of,
                *(f"{x:.4f}" for x in (one.value, one.half_width, one.known)),
                f"{one.pull:.2f}",
            ]
            for one in result.claims
        ]
        write(table(["distance", "a.u.", "±", "known", "error / ±"], claims))
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
