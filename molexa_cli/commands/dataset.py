"""`molexa dataset`: build, describe, verify and pack data sets of simulated explosions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, Seed, new_app
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.work_options import WorkOptions

Folder = Annotated[Path, typer.Argument(help="Folder of the data set.")]
RecipeFile = Annotated[
    Path, typer.Option("--recipe", help="YAML recipe, or a resolved one (.json).")
]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = new_app(
        "Build, describe, verify and pack data sets of simulated explosions.\n\n"
        "Example: molexa dataset info stage2"
    )
    group.command("build")(with_parameters(behind="device", work=WorkOptions)(build))
    for command in (resolve, info, check, pack):
        group.command(command.__name__)(command)
    group.command("fit-tau")(fit_tau)
    app.add_typer(group, name="dataset")


def build(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option("--out", help="Folder of the data set.")],
    device: DeviceName = "auto",
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Start no further block after this time.")
    ] = None,
    *,
    work: Given,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Build a data set; after an interruption the same command continues.

    One process computes, with all cores or a graphics card, unless others are asked for.

    Example: molexa dataset build --recipe stage2.yaml --out stage2
    """
    from dataclasses import asdict

    from molexa_core.pipeline.datasets.blocks import resolve
    from molexa_core.pipeline.datasets.build import Workers, build

    report = build(
        resolve(recipe),
        out,
        workers=Workers.of_environment(device, WorkOptions(**work)),
        minutes=minutes,
        progress=progress(),
    )
    if json:
        write_json(asdict(report))
        if report.failed:
            raise typer.Exit(1)
        return
    rate = report.trajectories / report.seconds if report.seconds else 0.0
    rows = [
        ["blocks", report.blocks],
        ["there before", report.found],
        ["made", report.made],
        ["failed", len(report.failed)],
        ["left", report.left],
        ["trajectories", report.trajectories],
        ["trajectories/s", round(rate)],
        ["entries", report.entries],
    ]
    alone = report.world == 1
    share = "" if alone else f"process {report.rank} of {report.world} (counted from 0), its share"
    prefix = "" if alone else f"process {report.rank}: "
    write(table(["what", "number"], rows, title=share))
    if report.left:
        remark(f"{prefix}not finished; the same command goes on")
    if report.failed:
        for sentence in report.failed:
            write(f"{prefix}{sentence}")
        remark(f"{prefix}nothing that was made is lost; the same command tries these blocks again")
        raise typer.Exit(1)


def resolve(
    recipe: RecipeFile,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON file; printed if not given.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check a recipe, summarise it, and write it with all defaults and molecules.

    Example: molexa dataset resolve --recipe stage2.yaml --out stage2.json
    """
    from molexa_core.base.storage.files import atomic_path
    from molexa_core.base.storage.outputs import FileKind
    from molexa_core.pipeline.datasets.blocks import plan, recipe_inputs, resolve
    from molexa_core.pipeline.datasets.recipe import write_recipe
    from molexa_core.pipeline.output_guard import require_outputs

    if out is not None:
        require_outputs((out, FileKind.RECIPE), inputs=recipe_inputs(recipe))
    resolved = resolve(recipe)
    blocks = plan(resolved)
    geometries = sum(block.last - block.first for block in blocks)
    molecules = len({block.molecule for block in blocks})
    remark(
        f"{molecules} molecules, {geometries} geometries in {len(blocks)} blocks, "
        f"{sum(block.trajectories for block in blocks):.3g} trajectories"
    )
    if out is None:
        write_json(resolved.to_dict())
        return
    with atomic_path(out) as temporary:
        write_recipe(temporary, resolved)
    remark(f"wrote {out}")


def info(folder: Folder, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Print statistics of a data set: entries, combinations, charges, elements, splits.

    Example: molexa dataset info stage2
    """
    from molexa_core.pipeline.datasets.info import describe_folder, tables_of

    report = describe_folder(folder)
    if json:
        write_json(report.to_dict())
        return
    for title, header, rows in tables_of(report):
        write(table(header, rows, title=title))
        write("")


def check(folder: Folder, json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Check that a data set is complete, agrees with its recipe and is physically possible.

    Example: molexa dataset check stage2
    """
    from dataclasses import asdict

    from molexa_core.pipeline.datasets.info import check

    report = check(folder, progress=progress())
    if json:
        write_json({**asdict(report), "sound": report.sound})
    else:
        for fault in report.faults:
            write(f"fault  {fault}")
        for name in report.missing:
            write(f"missing  {name}")
        state = "sound" if report.sound else "not sound"
        there = report.blocks - len(report.missing)
        bare = report.without_checksum
        more = f", {bare} file(s) without checksum" if bare else ""
        write(f"{state}: {there} of {report.blocks} blocks, {report.entries} entries{more}")
    if not report.sound:
        raise typer.Exit(1)


def pack(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", help="Folder for the packs.")],
    largest_mib: Annotated[
        float, typer.Option("--largest-mib", min=0.1, help="Largest size of a file in MiB.")
    ] = 15.0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a data set into few, larger files, which are read much faster.

    Example: molexa dataset pack stage2 --out stage2-packed
    """
    from molexa_core.pipeline.datasets.info import pack

    written = pack(folder, out, largest_mib=largest_mib, progress=progress())
    sizes = [[str(path), round(path.stat().st_size / 2**20, 3)] for path in written]
    if json:
        write_json([{"file": name, "mib": size} for name, size in sizes])
    else:
        write(table(["file", "MiB"], sizes))


def fit_tau(
    folder: Folder,
    entries: Annotated[
        int, typer.Option("--entries", min=10, help="Largest number of entries that are exploded.")
    ] = 2000,
    split: Annotated[
        str, typer.Option("--split", help="Split that they are taken from.")
    ] = "train",
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit the charge build-up of the classical model to a data set.

    Example: molexa dataset fit-tau stage2
    """
    from dataclasses import asdict

    from molexa_core.base.intervals import plus_minus
    from molexa_core.pipeline.datasets.fit_tau import fit_tau_folder

    fit = fit_tau_folder(folder, entries=entries, split=split, seed=seed, progress=progress())
    if json:
        write_json(asdict(fit))
        return
    rows = [
        [row.label, f"{row.residual:.4f}", f"{row.median:.4f}", f"{row.energy_ratio:.4f}"]
        for row in fit.rows
    ]
    header = ["charge build-up", "momentum residual", "median", "KER / data set"]
    write(table(header, rows, title=f"{fit.entries} entries"))
    write(f"tau {plus_minus(fit.tau_fs, fit.tau_error_fs, 2)} fs")
