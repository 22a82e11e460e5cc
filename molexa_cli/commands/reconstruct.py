"""`molexa reconstruct`: a structure with error bars from mean momenta."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molexa_cli.alternatives_shown import alternatives_table
from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, Seed
from molexa_cli.console import progress, remark, table, warn, write, write_json
from molexa_cli.events_shown import holds_events, show_events
from molexa_cli.parameters import Given, with_parameters
from molexa_cli.series_shown import show_series
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.known_explosion import (
    BuildUpExplosion,
    LaserExplosion,
    Model,
    XrayExplosion,
)
from molexa_core.base.options.gate_options import Selection, SeriesOptions
from molexa_core.base.options.reconstruct_options import ReconstructOptions
from molexa_core.base.options.work_options import WorkOptions
from molexa_core.base.storage.files import PROJECT_FILE

if TYPE_CHECKING:
    from molexa_core.io.results.geometry_json import ReconstructionRecord


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    of_xray = with_parameters(behind="model", prefix="xray", xray=XrayExplosion)
    of_laser = with_parameters(behind="model", prefix="laser", laser=LaserExplosion)
    of_rise = with_parameters(behind="model", prefix="build_up", build_up=BuildUpExplosion)
    of_events = with_parameters(
        behind="events",
        prefix="events",
        selection=Selection,
        series=SeriesOptions,
        work=WorkOptions,
    )
    of_all = with_parameters(
        behind="refine", but=["--seed", "--device"], options=ReconstructOptions
    )
    app.command("reconstruct")(of_xray(of_laser(of_rise(of_events(of_all(reconstruct))))))


def reconstruct(
    source: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CHANNEL_CSV]...",
            help="Events or aligned events (HDF5); or mean momenta, one row per ion: "
            "ion,px,py,pz in a.u. [channel.csv], also several channels of one molecule.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="XYZ file to write, a JSON file goes beside it, of events also structures.h5 "
            "[geom.xyz]; of events also an HDF5 file alone.",
        ),
    ] = None,
    events: Annotated[
        bool,
        typer.Option(
            "--events", help="The file holds events, each of which is reconstructed; found out."
        ),
    ] = False,
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine",
            help="Refine structures; without, a sample of the network  [default: as the explosion "
            "needs].",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="XYZ file of the known structure to compare, or a molecule."),
    ] = None,
    setup: Annotated[
        Path | None,
        typer.Option(
            "--setup",
            help="Setup file that says what the explosion was. Default: as recorded by reduce.",
        ),
    ] = None,
    model: Annotated[
        Model | None,
        typer.Option(
            "--model",
            help="Kind of explosion. Default: as recorded, or that of the numbers given.",
        ),
    ] = None,
    *,
    xray: Given,
    laser: Given,
    build_up: Given,
    selection: Given,
    series: Given,
    work: Given,
    options: Given,
    device: DeviceName = "auto",
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Reconstruct the molecular structure from single events, or from mean momenta.

    Example: molexa reconstruct run.events.h5 --out geom.xyz
    """
    sources = source or [Path("channel.csv")]
    from molexa_core.pipeline.explosions.assumed import Changes

    asked = ReconstructOptions(
        **{"weights": _project_weights(), **options}, seed=seed, device=device
    )
    changes = Changes(model, {"xray": xray, "laser": laser, "build_up": build_up})
    if events or (len(sources) == 1 and holds_events(sources[0])):
        _refuse(["--refine/--no-refine"] if refine is not None else [])
        if series and "by" not in series:
            raise UsageError(
                "bins and background belong to a series", setting=next(iter(series)),
                do="Say what it runs over with `by=`.",
            )  # fmt: skip
        if len(sources) > 1:
            raise UsageError(f"{len(sources)} files with --events", do="Name one events file.")
        if series:
            from molexa_core.pipeline.reconstruction.structure_series import (
                SERIES_FILE,
                structure_series,
            )

            _refuse_units(work, "a series")
            if truth is not None:
                raise UsageError("a series has no single known structure", setting="truth")
            values = structure_series(
                sources[0],
                SeriesOptions(**series),
                structure=asked,
                explosion=setup,
                changes=changes,
                selection=Selection(**selection),
                out=out or Path(SERIES_FILE),
                progress=progress(),
            )
            show_series(values, json=json)
            return
        from molexa_core.pipeline.reconstruction.events_answer import answer_of_events

        answer = answer_of_events(
            sources[0],
            options=asked,
            explosion=setup,
            changes=changes,
            known=truth,
            selection=Selection(**selection),
            work=WorkOptions(**work),
            out=out or Path("geom.xyz"),
            progress=progress(),
        )
        show_events(answer, json=json)
        return
    if series:
        raise UsageError(
            "mean momenta are no series",
            setting=next(iter(series)),
            do="Name the events file (molexa reconstruct run.events.h5 --by ...).",
        )
    _refuse_units(work, "a structure from mean momenta")
    if selection:
        raise UsageError(
            "mean momenta cannot be gated any more",
            setting=next(iter(selection)),
            do="Gate the events: give it to molexa align or molexa centroid, or name the events.",
        )
    from molexa_core.pipeline.reconstruction.reconstruct import reconstruct as reconstructed

    out = out or Path("geom.xyz")
    record = reconstructed(
        sources,
        options=asked,
        refined=refine,
        explosion=setup,
        changes=changes,
        known=truth,
        out=out,
        progress=progress(),
    )
    _show(record, out, json=json)


def _refuse_units(work: Mapping[str, Any], what: str) -> None:
    """Refuse options of units of work for what one process computes.

    Raises:
        UsageError: there are some.
    """
    if work:
        raise UsageError(
            f"{what} is computed by one process", setting=next(iter(work)),
            do="Leave it out; it is for single events.",
        )  # fmt: skip


def _refuse(options: Iterable[str]) -> None:
    """Refuse options that do not apply to single events.

    Raises:
        UsageError: such an option is given.
    """
    if names := list(options):
        given = listing(names)
        raise UsageError(
            f"{given} cannot be used for events: every event is inverted exactly",
            do="Leave it out, or reconstruct the mean momenta.",
        )


def _project_weights() -> str | None:
    """The weights named in `molexa.yaml` of the working folder, if any."""
    if not Path(PROJECT_FILE).exists():
        return None
    # Settings take a tenth of a second to import.
    from molexa_core.base.settings import load_project

    return load_project().weights


def _show(record: ReconstructionRecord, out: Path, *, json: bool) -> None:
    for warning in record.warnings:
        warn(warning)
    if json:
        write_json(_json_record(record, out))
        return
    write(_coordinates(record))
    if record.uncertainty_reason is None:
        remark(f"{_intervals(record)}; spread: scatter of the samples")
    else:
        write(record.uncertainty_reason)
        remark("spread: scatter of the samples")
    if record.distances:
        write(_lengths(record))
    write(_explosion(record))
    residual = record.closure["residual"]
    write(
        f"closure: exploding this structure misses the momenta by {100 * residual:.2f} % (rms); "
        "this says that the search converged, and nothing about the accuracy"
    )
    if "remark" in record.closure:
        remark(record.closure["remark"])
    if record.alternatives:
        write(alternatives_table(record))
    if record.errors is not None:
        write(_errors_line(record))
    remark(f"written to {out} and {out.with_suffix('.json')}")


def _coordinates(record: ReconstructionRecord) -> str:
    from molexa_core.base.units import BOHR_ANGSTROM

    rows = []
    uncertainty = record.uncertainty_bohr
    for index, symbol in enumerate(record.geometry().names):
        x, y, z = (f"{value * BOHR_ANGSTROM:8.4f}" for value in record.positions_bohr[index])
        error = (
            []
            if uncertainty is None
            else [f"{value * BOHR_ANGSTROM:.4f}" for value in uncertainty[index]]
        )
        charge = "" if record.charges is None else f"{record.charges[index]}+"
        spread = ""
        if record.spread_bohr is not None:
            axes = record.spread_bohr[index]
            spread = f"{float((axes**2).mean()) ** 0.5 * BOHR_ANGSTROM:.4f}"
        rows.append([symbol, charge, x, y, z, *error, spread])
    axes_text = [] if uncertainty is None else ["± x", "± y", "± z"]
    header = ["atom", "charge", "x / Å", "y / Å", "z / Å", *axes_text, "spread"]
    return table(header, rows, title="structure in the frame of the momenta")


def _of_network(calibration: str | None) -> str:
    """The meaning of ± of a network, as printed."""
    from molexa_core.base.intervals import calibrated

    return f"± is a 68 % interval, {calibrated(calibration)}"


def _intervals(record: ReconstructionRecord) -> str:
    """The meaning of ±, as printed."""
    if not record.distances or "calibration" in record.model:
        of_network = _of_network(record.model.get("calibration"))
        if not record.distances:
            return of_network
        return f"{of_network}; ± of distances and angles follows from ± of coordinates"
    if "chosen_sample" in record.closure:
        said = (
            "± is half of the central 68 % of samples of the network, in the explosion that is "
            "told; what averaging over vibrating molecules does is in it"
        )
        more = record.closure.get("widened")
        return said if more is None else f"{said}; {more['reason']}"
    return (
        "± is half of a 68 % interval, from the errors of the momenta and all that is not known "
        "about the explosion"
    )


def _explosion(record: ReconstructionRecord) -> str:
    """The explosion that was assumed, and whether it can give these momenta."""
    found = record.explosion
    said = f"assumed explosion ({found['origin']}, {found['source']}): {found['statement']}"
    if prior := found.get("geometry_prior"):
        said += f"\nexpected of the geometry: {prior}"
    if "p_value" not in found:
        return said
    worst = found["worst"]
    x, y, z = worst["direction"]
    if found.get("effective_samples"):
        said += "\n" + _weights(found)
    return (
        f"{said}\n"
        f"can it give these momenta? chi-square {found['chi_square']:.2f} for {found['degrees']} "
        f"degrees of freedom, p-value {found['p_value']:.2g}; least explained: {worst['ion']} "
        f"in {worst['channel']} along ({x:.2f}, {y:.2f}, {z:.2f}), {worst['sigma']:.1f} sigma"
    )


def _weights(found: Mapping[str, Any]) -> str:
    """How many draws count, and how well what is assumed predicted the momenta."""
    text = (
        f"draws weighted by likelihood and prior: {found['effective_samples']:.0f} count; "
        f"ln evidence {found['log_evidence']:.1f}"
    )
    families = found.get("hypotheses", ())
    if len(families) < 2:
        return text
    shares = ", ".join(f"{one['family']} {100 * one['probability']:.0f} %" for one in families)
    return f"{text}; {shares}"


def _lengths(record: ReconstructionRecord, most: int = 15) -> str:
    """Distances in angstrom, angles and dihedrals in degrees; of large molecules those at bonds."""
    from molexa_core.base.units import BOHR_ANGSTROM
    from molexa_core.geometry.bonds import bonds

    joined = bonds(record.geometry())
    count = len(record.symbols)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    triplets = [
        (i, vertex, j)
        for vertex in range(count)
        for i in range(count)
        for j in range(i + 1, count)
        if vertex not in (i, j)
    ]
    lengths = list(zip(record.distances, pairs, strict=True))
    angles = list(zip(record.angles, triplets, strict=True))
    if len(lengths) + len(angles) > most and joined:
        near = {frozenset(pair) for pair in joined}
        lengths = [one for one in lengths if frozenset(one[1]) in near]
        angles = [one for one in angles if {frozenset(one[1][:2]), frozenset(one[1][1:])} <= near]
    rows = [_length(one, BOHR_ANGSTROM, "Å", 3) for one, _ in lengths]
    rows += [_length(one, 1.0, "degree", 1) for one, _ in angles]
    rows += [_length(one, 1.0, "degree", 1) for one in record.dihedrals]
    header = ["between", "value", "±", "68 % region", "unit"]
    # Columns in which nothing stands are left out.
    kept = [column for column in range(len(header)) if any(row[column] for row in rows)]
    return table([header[column] for column in kept], [[row[c] for c in kept] for row in rows])


def _length(one: Mapping[str, Any], factor: float, unit: str, digits: int) -> list[str]:
    half, parts = one["half_width"], one.get("region") or ()
    error = "" if half is None else f"{factor * half:.{digits}f}"
    region = ""
    if len(parts) > 1:  # with twins: half of a central interval means nothing
        error = ""
        region = " or ".join(
            f"{factor * low:.{digits}f}-{factor * high:.{digits}f}" for low, high in parts
        )
    return [one["of"], f"{factor * one['median']:.{digits}f}", error, region, unit]


def _errors_line(record: ReconstructionRecord) -> str:
    from molexa_core.base.units import BOHR_ANGSTROM

    errors = record.errors or {}
    rows = []
    for label, key, unit in (
        ("mean absolute error", "mae", "Å"),
        ("mean distance error", "mean_distance_error", "Å"),
        ("maximum distance error", "max_distance_error", "Å"),
        ("mean angle error", "mean_angle_error", "degree"),
        ("maximum angle error", "max_angle_error", "degree"),
    ):
        if errors.get(key) is not None:
            factor = BOHR_ANGSTROM if unit == "Å" else 1.0
            rows.append([label, f"{factor * errors[key]:8.3f}", unit])
    return table(["against the known structure", "value", "unit"], rows)


def _json_record(record: ReconstructionRecord, out: Path) -> dict[str, object]:
    uncertainty = record.uncertainty_bohr
    return {
        "file": str(out),
        "symbols": list(record.symbols),
        "isotopes": None if record.isotopes is None else list(record.isotopes),
        "charges": None if record.charges is None else list(record.charges),
        "positions_bohr": record.positions_bohr.tolist(),
        "uncertainty_bohr": None if uncertainty is None else uncertainty.tolist(),
        "uncertainty_reason": record.uncertainty_reason,
        "spread_bohr": None if record.spread_bohr is None else record.spread_bohr.tolist(),
        "closure_residual": record.closure["residual"],
        "model": record.model["name"],
        "calibration": record.model.get("calibration"),
        "explosion": dict(record.explosion),
        "distances": [dict(one) for one in record.distances],
        "angles": [dict(one) for one in record.angles],
        "dihedrals": [dict(one) for one in record.dihedrals],
        "alternatives": [dict(one) for one in record.alternatives],
        "warnings": list(record.warnings),
        "errors": record.errors,
    }
