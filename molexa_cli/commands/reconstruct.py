"""`molexa reconstruct`: a structure with error bars from mean momenta."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, Seed
from molexa_cli.console import command_line, progress, remark, table, warn, write, write_json
from molexa_core.base.errors import UsageError, listing
from molexa_core.base.storage.files import PROJECT_FILE

if TYPE_CHECKING:
    from molexa_core.io.results.geometry_json import ReconstructionRecord


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("reconstruct")(reconstruct)


def reconstruct(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="[CHANNEL_CSV]",
            help="One row per ion: ion,px,py,pz in a.u.; with --events an events or aligned file.",
        ),
    ] = Path("channel.csv"),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="XYZ file to write, a JSON file goes beside it [geom.xyz]; "
            "with --events an HDF5 file [structures.h5].",
        ),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Reconstruct every event of an HDF5 file.")
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=1, max=4096, help="Number of structures to draw. Default 16."
        ),
    ] = None,
    search: Annotated[
        int | None,
        typer.Option(
            "--search", min=0, max=4096, help="Number of further starts of the search. Default 24."
        ),
    ] = None,
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine",
            help="Refine structures by their classical explosion  [default: as the weights need].",
        ),
    ] = None,
    chemistry: Annotated[
        bool | None,
        typer.Option(
            "--chemistry/--no-chemistry",
            help="Of structures that fit, prefer one like a molecule at rest. On by default.",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="Name or JSON file of the network weights.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="XYZ file of the known structure to compare.")
    ] = None,
    device: DeviceName = "auto",
    seed: Seed = 0,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Reconstruct the molecular structure from mean momenta.

    Example: molexa reconstruct channel.csv --out geom.xyz
    """
    if events:
        given = {
            "--samples": samples,
            "--search": search,
            "--refine/--no-refine": refine,
            "--chemistry/--no-chemistry": chemistry,
            "--truth": truth,
        }
        _refuse(name for name, value in given.items() if value is not None)
        _events(source, out or Path("structures.h5"), weights, seed, device, json=json)
        return
    from molexa_core.pipeline.reconstruction.reconstruct import SAMPLES, SEARCH, reconstruct_file

    out = out or Path("geom.xyz")
    record = reconstruct_file(
        source,
        out,
        weights=weights or _project_weights(),
        samples=SAMPLES if samples is None else samples,
        search=SEARCH if search is None else search,
        refined=refine,
        chemistry=chemistry is not False,
        seed=seed,
        device=device,
        truth=truth,
        command=command_line(),
        progress=progress(),
    )
    _show(record, out, json=json)


def _refuse(options: Iterable[str]) -> None:
    """Refuse options that do not apply to single events.

    Raises:
        UsageError: such an option is given.
    """
    if names := list(options):
        given = listing(names)
        raise UsageError(
            f"{given} cannot be used with --events: every event gets one structure, as the network "
            "draws it",
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
        remark(f"{_intervals(record.model.get('calibration'))}; spread: scatter of the samples")
    else:
        write(record.uncertainty_reason)
        remark("spread: scatter of the samples")
    residual = record.closure["residual"]
    write(f"closure: exploding this structure misses the momenta by {100 * residual:.2f} % (rms)")
    if "remark" in record.closure:
        remark(record.closure["remark"])
    if record.alternatives:
        write(_alternatives(record))
    if record.errors is not None:
        write(_errors_line(record))
    remark(f"written to {out} and {out.with_suffix('.json')}")


def _events(
    source: Path, out: Path, weights: str | None, seed: int, device: str, *, json: bool
) -> None:
    from molexa_core.pipeline.reconstruction.single_events import reconstruct_events_file

    found = reconstruct_events_file(
        source,
        out,
        weights=weights or _project_weights(),
        seed=seed,
        device=device,
        command=command_line(),
        progress=progress(),
    )
    for warning in found.warnings:
        warn(warning)
    if found.left_out:
        remark(f"{found.left_out} events without usable momenta were left out")
    if json:
        write_json({"file": str(out), **found.to_dict()})
        return
    write(f"{len(found.structures)} structures of single events")
    if found.has_error_bars:
        remark(_intervals(found.calibration))
    if found.uncertainty_reason is not None:
        write(found.uncertainty_reason)
    for rows, unit in ((found.distances, "bohr"), (found.angles, "degree")):
        cells = [
            [
                row["of"],
                f"{row['mean']:.3f}",
                f"{row['standard_deviation']:.3f}",
                f"{row['quantile_16']:.3f}",
                f"{row['median']:.3f}",
                f"{row['quantile_84']:.3f}",
            ]
            for row in rows
        ]
        header = [unit, "mean", "standard deviation", "16 %", "median", "84 %"]
        write(table(header, cells))
    remark(f"written to {out}")


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


def _intervals(calibration: str | None) -> str:
    """The meaning of ±, as printed."""
    from molexa_core.base.intervals import calibrated

    return f"± is a 68 % interval, {calibrated(calibration)}"


def _alternatives(record: ReconstructionRecord, most: int = 8) -> str:
    rows = [
        [
            str(number),
            f"{one['distance_from_answer_bohr']:8.3f}",
            f"{100 * one['residual']:.2g}",
            f"{100 * one['share_of_samples']:.0f}",
            _first_of(one["objections"]),
        ]
        for number, one in enumerate(record.alternatives[:most], start=1)
    ]
    rest = len(record.alternatives) - most
    more = f" (the first {most} of {len(record.alternatives)})" if rest > 0 else ""
    header = ["other", "mean distance / bohr", "closure / %", "samples / %", "objections"]
    return table(header, rows, title=f"other structures with the same momenta{more}")


def _first_of(objections: list[str]) -> str:
    if not objections:
        return "none"
    more = len(objections) - 1
    return f"{objections[0]} (+{more})" if more else objections[0]


def _errors_line(record: ReconstructionRecord) -> str:
    errors = record.errors or {}
    rows = []
    for label, key, unit in (
        ("mean absolute error", "mae", "bohr"),
        ("mean distance error", "mean_distance_error", "bohr"),
        ("maximum distance error", "max_distance_error", "bohr"),
        ("mean angle error", "mean_angle_error", "degree"),
        ("maximum angle error", "max_angle_error", "degree"),
    ):
        if errors.get(key) is not None:
            rows.append([label, f"{errors[key]:8.3f}", unit])
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
        "alternatives": [dict(one) for one in record.alternatives],
        "warnings": list(record.warnings),
        "errors": record.errors,
    }
