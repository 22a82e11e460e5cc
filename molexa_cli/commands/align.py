"""`molexa align`: rotate coincidences into the molecular frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, table, warn, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_core.base.options.gate_options import Selection

if TYPE_CHECKING:
    from molexa_core.pipeline.chain.align import AlignedEvents


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    options = with_parameters(behind="channel", selection=Selection)
    app.command("align")(options(align))


def align(
    events: Annotated[
        Path | None,
        typer.Argument(help="Events file. Default: the only *.events.h5 in this folder."),
    ] = None,
    reference: Annotated[
        str | None, typer.Option("--ref", help="Ion whose momentum is the x axis, such as O+.")
    ] = None,
    second: Annotated[
        str | None,
        typer.Option(
            "--second",
            help="Ion whose momentum fixes the plane; `any`: that with the largest mean momentum "
            "across x.",
        ),
    ] = None,
    plane: Annotated[
        Literal["xy", "xz"] | None, typer.Option("--plane", help="Plane that the second lies in.")
    ] = None,
    like: Annotated[
        Literal["measured", "equivalent", "distinct"] | None,
        typer.Option(
            "--like",
            help="Roles of like ions: measured (from all events together, the same atoms in every "
            "event); event by event as in the paper: equivalent (every assignment of the second at "
            "equal weight) or distinct (the most orthogonal one is the second).",
        ),
    ] = None,
    recoil: Annotated[
        Literal["auto", "remove", "keep"],
        typer.Option(
            "--recoil",
            help="Go to the centre-of-mass frame first; auto: unless ions are missing.",
        ),
    ] = "auto",
    channel: Annotated[
        str | None,
        typer.Option("--channel", help="Channel by name or file. Default: that of the events."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: *.aligned.h5 beside it.")
    ] = None,
    *,
    selection: Given,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Rotate every coincidence into the molecular frame.

    Ions, plane and rule are those of the channel unless given. Events without a frame (zero or
    collinear momenta) are counted and left out.

    Example: molexa align run.events.h5 --ref O+ --second H+ --plane xz
    """
    from molexa_core.pipeline.chain.align import align as align_events
    from molexa_core.pipeline.chain.pick import ALIGNED_SUFFIX, EVENTS_SUFFIX, beside, only_file

    reporter = progress()
    source = events or only_file(EVENTS_SUFFIX, made_by="molexa reduce", progress=reporter)
    target = out or beside(source, EVENTS_SUFFIX, ALIGNED_SUFFIX)
    aligned = align_events(
        source,
        out=target,
        reference=reference,
        second=second,
        plane=plane,
        like=like,
        recoil=recoil,
        channel=channel,
        selection=Selection(**selection),
        progress=reporter,
    )
    summary = aligned.summary
    for warning in aligned.warnings:
        warn(warning)
    if json:
        write_json({"file": str(target), **summary, "warnings": list(aligned.warnings)})
        return
    write(_listing(aligned, target))


def _decided(found: dict[str, float] | None, frame: dict[str, Any]) -> list[list[object]]:
    """How clearly like ions are told apart."""
    if found is None or frame["like"] != "measured":
        return []
    text = f"{100 * found['undecided']:.3g} % of the events (mean probability of another role "
    text += f"{100 * found['second_best']:.2g} %)"
    return [["like ions undecided", text]]


def _listing(aligned: AlignedEvents, target: Path) -> str:
    """The summary that is printed."""
    summary = aligned.summary
    frame = aligned.frame
    second_text = summary.get("second") or frame["second"] or "the most orthogonal ion"
    angle = summary["median_angle_deg"]
    rows: list[list[object]] = [
        ["events", summary["events"]],
        ["aligned", summary["aligned"]],
        *[[name.replace("_", " "), number] for name, number in summary["flagged"].items()],
        ["assignments per event", f"{summary['assignments_per_event']:.3g}"],
        ["x axis", frame["reference"]],
    ]
    if angle is not None:
        rows += [
            [f"{frame['plane'][0]}-{frame['plane'][1]} plane", second_text],
            ["median angle between them", f"{angle:.1f} degrees"],
        ]
    else:
        left_out = f"{summary['discarded_perpendicular_rms']:.3g} a.u."
        rows.append(["perpendicular momentum left out, rms", left_out])
    if (quality := summary.get("frame_quality")) is not None:
        spread = f"{quality['reference_spread_au']:.2g} a.u. across "
        spread += f"{quality['reference_momentum_au']:.3g} a.u."
        rows += [
            ["spread of the reference", spread],
            ["kinetic energy that the means keep", f"{100 * quality['energy_kept']:.1f} %"],
        ]
    rows += [
        ["recoil", "removed" if summary["recoil"] == "remove" else "kept"],
        ["like ions", summary["rule"]],
        *_decided(summary.get("assignment"), frame),
        ["written to", target],
    ]
    return table(["", ""], [[name, str(value)] for name, value in rows]).split("\n", 2)[2]
