"""`molexa movie`: a series of structures as a movie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_core.base.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("movie")(movie)


def movie(
    files: Annotated[
        list[Path],
        typer.Argument(help="Structures in the order of time: geom.json, or XYZ files."),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="XYZ file with all frames; figure and page beside it.")
    ] = Path("movie.xyz"),
    at: Annotated[
        str | None, typer.Option("--at", help="Delays, separated by commas; one for each frame.")
    ] = None,
    unit: Annotated[str, typer.Option("--unit", help="Unit of the delays.")] = "fs",
    known: Annotated[
        Path | None, typer.Option("--known", help="XYZ file of known structures, one a frame.")
    ] = None,
    allow_mirror: Annotated[
        bool,
        typer.Option("--allow-mirror", help="Let a frame be mirrored onto the one before."),
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Turn a series of structures into a movie: frames as XYZ, a figure, a page with a slider.

    Frames are superposed, like atoms followed; error bars are those of the reconstructions.

    Example: molexa movie 0fs.json 20fs.json 40fs.json --at 0,20,40
    """
    from molexa_core.base.units import BOHR_ANGSTROM
    from molexa_core.pipeline.chain.movie import movie_files

    found = movie_files(
        files,
        out,
        at=None if at is None else _numbers(at),
        unit=unit,
        known=known,
        allow_mirror=allow_mirror,
        progress=progress(),
    )
    if json:
        write_json(found.to_dict())
    else:
        distances, _ = found.shown()
        rows = []
        for frame in found.frames:
            where = f"{frame.at:g} {found.unit}" if found.unit else f"{frame.at:g}"
            cells = []
            for n in distances:
                one = frame.distances[n]
                half = "" if one.half_width is None else f" ± {BOHR_ANGSTROM * one.half_width:.3f}"
                cells.append(f"{BOHR_ANGSTROM * one.value:.3f}{half}")
            rows.append([where, *cells, f"{BOHR_ANGSTROM * frame.rmsd:.3f}"])
        names = ["-".join(found.names[a] for a in found.pairs[n]) for n in distances]
        write(table(["frame", *names, "RMSD to the one before"], rows, title="distances (Å)"))
    remark(f"wrote {out}, {out.with_suffix('.svg')} and {out.with_suffix('.html')}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no list of delays", setting="at", do="Write them as in 0,20,40."
        ) from error
