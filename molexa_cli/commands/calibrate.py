"""`molexa calibrate`: determine settings of detector, spectrometer or explosion from data."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet, Seed, new_app
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_cli.run_choice import Numbers, chosen_runs, command_with
from molexa_core.base.storage.provenance import made_by


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = new_app(
        "Calibrate a detector, a spectrometer, or the model of the explosion, from data.\n\n"
        "Example: molexa calibrate explosion --reference n2.csv=N2 water.csv=water"
    )

    @group.callback()
    def calibrate() -> None:
        pass

    group.command("detector")(detector)
    group.command("spectrometer")(spectrometer)
    group.command("explosion")(explosion)
    app.add_typer(group, name="calibrate")


def detector(
    runs: Annotated[list[Path], typer.Argument(help="Files of one run of edges, in order.")],
    out: Annotated[Path, typer.Option("--out", help="Settings to write.")] = Path("detector.yaml"),
    setup: Annotated[
        str | None,
        typer.Option("--setup", help="Setup with the anode as known so far. Default: the run's."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="SVG, before and after. Default: beside --out.")
    ] = None,
    hits: Annotated[
        int, typer.Option("--hits", help="Largest number of clean hits to use.", min=1000)
    ] = 1_000_000,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate a delay-line anode: time sums, scales, offset, corrections over the position.

    Example: molexa calibrate detector run.lmf --setup setup.yaml --out detector.yaml
    """
    from molexa_core.pipeline.runs.calibrate_detector import calibrate_detector_files

    written, found = calibrate_detector_files(
        runs,
        setup=setup,
        out=out,
        picture=picture,
        most_hits=hits,
        progress=progress(),
    )
    for path in written:
        remark(f"wrote {path}")
    if json:
        write_json({"files": [str(path) for path in written], **found.as_dict()})
        return
    write(table(["quantity", "before", "after", "unit"], found.rows()))


def spectrometer(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of one run, in order, of any known format; or its folder."),
    ] = None,
    numbers: Numbers = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            help="Name or file of a complete break-up in the run; may be repeated.",
        ),
    ] = None,
    setup: Annotated[
        str | None,
        typer.Option("--setup", help="Setup as known so far. Default: molexa.yaml, or the run's."),
    ] = None,
    peak: Annotated[
        list[str] | None,
        typer.Option(
            "--peak",
            metavar="ION=NS",
            help="Recorded time of flight of a known ion at rest, for the first guess; may be "
            "repeated.",
        ),
    ] = None,
    free: Annotated[
        list[str] | None,
        typer.Option(
            "--free",
            help="A quantity to determine beside the usual ones: lengths, magnetic_field, scale_x, "
            "scale_y; may be repeated.",
        ),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(
            "--fix",
            help="A quantity to take as given: time_zero, field, centre_x, centre_y, rotation, "
            "jet; may be repeated.",
        ),
    ] = None,
    isotropic: Annotated[
        bool,
        typer.Option("--isotropic", help="Molecules are oriented at random: use it."),
    ] = False,
    most: Annotated[
        int,
        typer.Option("--most", help="Largest number of coincidences per channel.", min=1000),
    ] = 100_000,
    out: Annotated[Path, typer.Option("--out", help="Setup to write.")] = Path(
        "setup.calibrated.yaml"
    ),
    picture: Annotated[
        Path | None, typer.Option("--picture", help="SVG, before and after. Default: beside --out.")
    ] = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate a spectrometer: time zero, fields, centre, rotation, jet, from break-ups.

    Writes a new setup with errors, the numbers beside it as JSON, and a figure.

    Example: molexa calibrate spectrometer run.root --channel water --setup setup.yaml
    """
    from molexa_core.pipeline.runs.calibrate_spectrometer import calibrate_spectrometer_files

    files = [path for run in chosen_runs(runs, numbers) for path in run]
    with nullcontext() if runs else made_by(command_with(files)):
        written, found = calibrate_spectrometer_files(
            files,
            channels=channel or (),
            setup=setup,
            peaks=[_peak(text) for text in peak or ()],
            free=free or (),
            fixed=fix or (),
            isotropic=isotropic,
            most=most,
            out=out,
            picture=picture,
            progress=progress(),
        )
    if json:
        write_json({"files": [str(path) for path in written], **found.as_dict()})
        return
    write(table(["quantity", "before", "after", "+-", "unit"], found.rows()))
    write("")
    for text in (*found.not_determined, *found.remarks):
        write(text)
    for path in written:
        remark(f"wrote {path}")


def _peak(text: str) -> tuple[str, float]:
    """The ion and the time of `--peak`."""
    from molexa_core.base.errors import UsageError

    ion, _, time = text.replace(",", "=").replace(" ", "=").partition("=")
    try:
        return ion.strip(), float(time)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no peak", setting="peak", do="Write it like H+=1523.4 (ns)."
        ) from error


def explosion(
    more: Annotated[
        list[str] | None,
        typer.Argument(help="Further references, as in --reference.", metavar="[FILE=MOLECULE]..."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="FILE=MOLECULE",
            help="channel.csv, *.events.h5 or *.aligned.h5 of a molecule of known geometry, and "
            "its name, formula or XYZ file. FILE=MOLECULE@duration_fs=30 where a number of the "
            "explosion block was another one.",
        ),
    ] = None,
    yields: Annotated[
        list[str] | None,
        typer.Option(
            "--yields",
            metavar="FILE=MOLECULE",
            help="CSV with columns ions,count (and efficiency,efficiency_err): how often the "
            "molecule ended in each of several combinations of charges.",
        ),
    ] = None,
    setup: Annotated[
        str | None,
        typer.Option(
            "--setup", help="Setup whose explosion block tells what is known. Default: molexa.yaml."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Settings to write.")] = Path("explosion.yaml"),
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Calibrate the explosion on molecules of known geometry.

    Example: molexa calibrate explosion --reference n2.csv=N2 co.csv=CO water.csv=water
    """
    from molexa_core.pipeline.calibration.calibrate_explosion import calibrate_explosion_files
    from molexa_core.pipeline.calibration.calibration_rows import (
        as_plain,
        parameter_rows,
        pull_rows,
        sentences,
    )

    written, found = calibrate_explosion_files(
        [*(reference or ()), *(more or ())],
        yields=yields or (),
        setup=setup,
        out=out,
        seed=seed,
        progress=progress(),
    )
    if json:
        write_json({"file": str(written), **as_plain(found)})
        return
    write(table(*parameter_rows(found.best)))
    write("")
    write(table(*pull_rows(found.best)))
    write("")
    for text in sentences(found):
        write(text)
    remark(f"written to {written}; write `explosion: {written.name}` into the setup to use it")
