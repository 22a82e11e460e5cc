"""`molexa simulate`: the Coulomb explosion of a known geometry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from molexa_cli.app import Debug, Force, Json, Quiet, Seed
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_cli.parameters import Given, explanation, refuse, typed, with_parameters
from molexa_core.base.device import DEVICE
from molexa_core.base.forward_model import (
    MASSES,
    TAU,
    TAU_FS,
    ChargeBuildUp,
    ExplosionModel,
    ModelOptions,
    Pulse,
)
from molexa_core.base.matter.isotopes import Masses

SHOWN = 20
"""Number of combinations that are printed; the file has all."""
Source = Annotated[
    str, typer.Argument(help="XYZ file (angstrom) or shipped molecule, such as water.")
]
Charges = Annotated[
    str | None, typer.Option("--charges", help="Ion of each atom in order, such as O+,H+,H+.")
]
Model = Annotated[
    ExplosionModel,
    typer.Option(
        "--model", help="instant; classical: charges rise within --tau-fs; mcmd: X-ray pulse."
    ),
]
Tau = Annotated[float | None, typer.Option("--tau-fs", help=explanation(TAU, TAU_FS, "classical"))]
MassKind = Annotated[
    Masses, typer.Option("--masses", help=f"{MASSES.meaning.capitalize()}: {MASSES.note}.")
]
Device = Annotated[
    str | None, typer.Option("--device", help=f"mcmd: {DEVICE.meaning}: {DEVICE.note}.")
]
Accuracy = Annotated[
    Literal["draft", "fast", "fine"] | None,
    typer.Option("--accuracy", help="Relative error 4e-6, 5e-7, 1e-9 (default). Not mcmd."),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="CSV file for the momenta; mcmd: .h5 for all combinations."),
]
Movie = Annotated[
    Path | None,
    typer.Option("--trajectory", help="XYZ file for a movie of the explosion. Not mcmd."),
]
Frames = Annotated[
    int | None, typer.Option("--frames", help="Number of frames of the movie. Default 101.", min=2)
]
Until = Annotated[
    float | None, typer.Option("--until-fs", help="Length of the movie in fs. Default 100.")
]
Number = Annotated[
    int | None, typer.Option("--trajectories", min=1, help="mcmd: explosions. Default 10000.")
]
Figure = Annotated[
    Path | None, typer.Option("--figure", help="mcmd: SVG file for charges and energies.")
]
Each = Annotated[
    bool | None,
    typer.Option("--each", help="mcmd: every structure of the file; results are numbered."),
]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(
        behind="until_fs", prefix="mcmd", but=["--masses"], pulse=Pulse, switches=ModelOptions
    )
    rises = with_parameters(
        behind="tau_fs", prefix="classical", but=["--tau-fs"], rises=ChargeBuildUp
    )
    app.command("simulate")(rises(options(simulate)))


def simulate(
    geometry: Source,
    charges: Charges = None,
    model: Model = "classical",
    tau_fs: Tau = None,
    masses: MassKind = "isotope",
    accuracy: Accuracy = None,
    out: Out = None,
    trajectory: Movie = None,
    frames: Frames = None,
    until_fs: Until = None,
    *,
    rises: Given,
    pulse: Given,
    switches: Given,
    trajectories: Number = None,
    figure: Figure = None,
    each: Each = None,
    device: Device = None,
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Simulate the Coulomb explosion of a geometry and print the momenta of its ions.

    Example: molexa simulate water --charges O+,H+,H+ --out momenta.csv
    """
    if model == "mcmd":
        refuse(
            model,
            typed(rises, ChargeBuildUp)
            + _given(
                {
                    "--tau-fs": tau_fs,
                    "--accuracy": accuracy,
                    "--trajectory": trajectory,
                    "--frames": frames,
                    "--until-fs": until_fs,
                }
            ),
        )
        work = movie if each else many
        work(
            geometry,
            charges,
            pulse=Pulse(**pulse),
            options=ModelOptions(**switches, masses=masses),
            trajectories=trajectories,
            seed=seed,
            device=device,
            out=out,
            figure=figure,
            json=json,
        )
        return
    of_many = {
        "--trajectories": trajectories,
        "--figure": figure,
        "--device": device,
        "--each": each,
    }
    refuse(model, (*typed(pulse, Pulse), *typed(switches, ModelOptions), *_given(of_many)))
    if model == "instant":
        refuse(model, typed(rises, ChargeBuildUp))
    tau = TAU_FS if tau_fs is None else tau_fs
    one(
        geometry,
        charges,
        model=model,
        tau_fs=tau,
        rises=ChargeBuildUp(tau_fs=tau, **rises) if rises else None,
        masses=masses,
        accuracy=accuracy,
        out=out,
        trajectory=trajectory,
        frames=frames,
        until_fs=until_fs,
        json=json,
    )


def _given(options: Mapping[str, object]) -> list[str]:
    """The options that were given; others are None."""
    return [option for option, value in options.items() if value is not None]


def one(
    geometry: str,
    charges: str | None,
    *,
    model: Literal["instant", "classical"],
    tau_fs: float,
    rises: ChargeBuildUp | None,
    masses: Masses,
    accuracy: str | None,
    out: Path | None,
    trajectory: Path | None,
    frames: int | None,
    until_fs: float | None,
    json: bool,
) -> None:
    """Simulate one classical explosion."""
    from molexa_core.base.fields import LABEL
    from molexa_core.pipeline.explosions.simulate import (
        ACCURACY,
        FRAMES,
        UNTIL_FS,
        movie_times,
    )
    from molexa_core.pipeline.explosions.simulate import simulate as exploded

    times = movie_times(
        FRAMES if frames is None else frames, UNTIL_FS if until_fs is None else until_fs
    )
    result = exploded(
        geometry,
        charges,
        model=model,
        tau_fs=tau_fs,
        rises=rises,
        masses=masses,
        accuracy=accuracy or ACCURACY,
        times_fs=() if trajectory is None else times,
        out=out,
        trajectory=trajectory,
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


def many(
    geometry: str,
    charges: str | None,
    *,
    pulse: Pulse,
    options: ModelOptions,
    trajectories: int | None,
    seed: int,
    device: str | None,
    out: Path | None,
    figure: Path | None,
    json: bool,
) -> None:
    """Simulate many explosions in an X-ray pulse."""
    from molexa_core.base.fields import COUNT, LABEL, MOMENTUM, MOMENTUM_ERROR
    from molexa_core.base.matter.ions import parse_ions
    from molexa_core.pipeline.explosions.simulate_mcmd import (
        TRAJECTORIES,
        channel_table,
        simulate_mcmd,
        summary,
    )

    outcomes = simulate_mcmd(
        geometry,
        pulse,
        options=options,
        trajectories=TRAJECTORIES if trajectories is None else trajectories,
        seed=seed,
        device=device or "auto",
        ions=charges,
        out=out,
        figure=figure,
        progress=progress(),
    )
    channel = None if charges is None else channel_table(outcomes, parse_ions(charges))
    for path in (out, figure):
        if path is not None:
            remark(f"wrote {path}")
    values = summary(outcomes)
    if json:
        write_json(values if channel is None else channel.to_dict(orient="records"))
        return
    if channel is not None:
        columns = [LABEL, *MOMENTUM, *MOMENTUM_ERROR, COUNT]
        header = ["ion", *(f"{name} (a.u.)" for name in (*MOMENTUM, *MOMENTUM_ERROR)), COUNT]
        rows = [
            [cell if isinstance(cell, str | int) else f"{cell:.4f}" for cell in row]
            for row in channel[columns].itertuples(index=False)
        ]
        write(table(header, rows))
        return
    atoms = [
        [row["atom"], f"{row['mean_charge']:.3f}", " ".join(f"{x:.3f}" for x in row["shares"])]
        for row in values["atoms"]
    ]
    write(table(["atom", "mean charge", "share of each charge from 0"], atoms))
    shown = [
        [
            ",".join(row["ions"]),
            row["count"],
            f"{100 * row['share']:.2f}",
            f"{row['ker_ev']:.2f}",
            f"{row['ker_spread_ev']:.2f}",
        ]
        for row in values["combinations"][:SHOWN]
    ]
    write("")
    write(table(["ions", "count", "%", "KER (eV)", "spread (eV)"], shown))
    write(
        f"{len(outcomes)} combinations in {outcomes.trajectories} explosions; "
        f"{outcomes.photons:.2f} photons and {values['mean_total_charge']:.2f} charges on average"
    )
    if outcomes.lost:
        write(f"{outcomes.lost} more explosions left out: ions were charged inside each other")


def movie(
    geometry: str,
    charges: str | None,
    *,
    pulse: Pulse,
    options: ModelOptions,
    trajectories: int | None,
    seed: int,
    device: str | None,
    out: Path | None,
    figure: Path | None,
    json: bool,
) -> None:
    """Simulate many explosions of every structure in a file."""
    from molexa_core.pipeline.explosions.simulate_mcmd import TRAJECTORIES, summary
    from molexa_core.pipeline.explosions.simulate_movie import simulate_movie

    scenes = simulate_movie(
        geometry,
        charges,
        pulse=pulse,
        options=options,
        trajectories=TRAJECTORIES if trajectories is None else trajectories,
        seed=seed,
        device=device or "auto",
        out=out,
        figure=figure,
        progress=progress(),
    )
    written = [path for scene in scenes for path in scene.files]
    if written:
        remark(f"wrote {len(written)} files, {written[0]} to {written[-1]}")
    if json:
        write_json([summary(scene.outcomes) for scene in scenes])
        return
    rows = [
        [
            str(scene.number),
            f"{scene.mean_charge:.2f}",
            f"{scene.release_ev:.2f}",
            ",".join(scene.outcomes.names(0)) if charges is None else charges,
            str(scene.outcomes.counts[0] if charges is None else scene.count or 0),
        ]
        for scene in scenes
    ]
    ions = "most frequent" if charges is None else "ions"
    write(table(["structure", "mean charge", "mean KER (eV)", ions, "count"], rows))
