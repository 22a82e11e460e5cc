"""`molexa evaluate`: errors of network weights on known geometries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, Seed
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_core.base.errors import UsageError

if TYPE_CHECKING:
    from molexa_core.pipeline.evaluation.calibration_run import CalibrationRun
    from molexa_core.pipeline.evaluation.evaluate_weights import EvaluationRun


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate")(evaluate)


def evaluate(
    weights: Annotated[
        str | None, typer.Option("--weights", help="Name or JSON file of the network weights.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="molecules, stage1, pulses, or the folder of a data set; with --calibration "
            "folders, stage1, prior, family, held-out-molecules, held-out-pulses, "
            "held-out-physics, learned, separated by commas.",
        ),
    ] = "molecules",
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration",
            help="Test whether samples are from the posterior: coverage, ranks (SBC), TARP and a "
            "local test, one entry per geometry.",
        ),
    ] = False,
    inversion: Annotated[
        bool,
        typer.Option(
            "--inversion", help="With --calibration: test the inversion in place of weights."
        ),
    ] = False,
    setup: Annotated[
        Path | None,
        typer.Option("--setup", help="With --inversion: file with the block explosion it is told."),
    ] = None,
    told: Annotated[
        Literal["everything", "pulse", "nothing"],
        typer.Option(
            "--told",
            help="With --calibration: what weights that are told the experiment are told of X-ray "
            "pulses.",
        ),
    ] = "everything",
    split: Annotated[
        str, typer.Option("--split", help="Of a data set: train, validation, test, set_aside.")
    ] = "test",
    by: Annotated[
        Literal["entry", "geometry", "molecule"],
        typer.Option(
            "--by", help="Unit of the split of a data set: entry, or whole geometries or molecules."
        ),
    ] = "entry",
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            min=1,
            max=1024,
            help="Structures drawn for each entry: 8, and 63 with --calibration.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=512, help="Steps of the sampler.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            help="Largest number of entries: 4096, and 1000 of each set with --calibration; 0 for "
            "all.",
        ),
    ] = None,
    smallest: Annotated[
        int | None,
        typer.Option("--smallest", help="Smallest number of atoms in molecules and stage1."),
    ] = None,
    largest: Annotated[
        int | None,
        typer.Option(
            "--largest", help="Largest number of atoms in them; may exceed that of the training."
        ),
    ] = None,
    names: Annotated[
        str | None, typer.Option("--names", help="Shipped molecules, separated by semicolons.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="JSON file to write.")] = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="Folder for figures.")] = None,
    device: DeviceName = "auto",
    seed: Seed = 40_260_000,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Measure errors of network weights on known geometries, compared with baselines.

    Example: molexa evaluate --data stage1 --limit 2048 --out accuracy.json
    """
    if calibration:
        _calibrate(
            weights,
            data,
            split=split,
            by=by,
            samples=samples,
            steps=steps,
            limit=limit,
            span=(smallest, largest),
            names=names,
            told=told,
            inversion=inversion,
            setup=setup,
            device=device,
            seed=seed,
            out=out,
            figures=figures,
            json=json,
        )
        return
    if inversion or setup is not None:
        raise UsageError("--inversion and --setup need --calibration", do="Add --calibration.")
    if data == PULSES:
        _pulses(weights, steps, device, out, span=(smallest, largest), seed=seed, json=json)
        return
    from molexa_core.pipeline.evaluation.evaluate_weights import evaluate_weights

    run = evaluate_weights(
        weights,
        data,
        split=split,
        by=by,
        samples=8 if samples is None else samples,
        steps=steps,
        limit=4096 if limit is None else limit or None,
        smallest=smallest,
        largest=largest,
        names=[name.strip() for name in (names or "").split(";") if name.strip()],
        device=device,
        seed=seed,
        out=out,
        figures=figures,
        progress=progress(),
    )
    if json:
        write_json(run.to_dict())
    else:
        _show(run)
    if out is not None:
        remark(f"wrote {out}")
    if figures is not None:
        remark(f"figures are in {figures}")


def _calibrate(
    weights: str | None,
    data: str,
    *,
    split: str,
    by: str,
    samples: int | None,
    steps: int | None,
    limit: int | None,
    span: tuple[int | None, int | None],
    names: str | None,
    told: Literal["everything", "pulse", "nothing"],
    inversion: bool,
    setup: Path | None,
    device: str,
    seed: int,
    out: Path | None,
    figures: Path | None,
    json: bool,
) -> None:
    from molexa_core.pipeline.evaluation.calibration_run import (
        CASES,
        INVERSION,
        PRIOR,
        RANDOM,
        SAMPLES,
        calibrate_posterior,
    )

    if names is not None:
        raise UsageError("--calibration takes no --names", do="Name sets with --data.")
    if inversion and weights is not None:
        raise UsageError(
            "--inversion tests the inversion, --weights a network", do="Leave one of them out."
        )
    usual = PRIOR if inversion else RANDOM
    sets = [usual] if data == "molecules" else [one.strip() for one in data.split(",")]
    low, high = span
    run = calibrate_posterior(
        INVERSION if inversion else weights,
        sets,
        split=split,
        by=by,
        samples=samples or SAMPLES,
        steps=steps,
        telling=told,
        cases=CASES if limit is None else limit or 10**9,
        atoms=None if low is None and high is None else (low or 2, high or 9),
        setup=setup,
        device=device,
        seed=seed,
        out=out,
        figures=figures,
        progress=progress(),
    )
    if json:
        write_json(run.to_dict())
    else:
        _show_calibration(run)
    if out is not None:
        remark(f"wrote {out}")
    if figures is not None:
        remark(f"the page is {figures / 'calibration.html'}")


def _show_calibration(run: CalibrationRun) -> None:
    told = run.to_dict()
    write(", ".join(f"{key} {value}" for key, value in run.conditions.items()))
    for name, one in told["calibration"].items():
        rows = [
            [
                size,
                str(row["cases"]),
                str(row["molecules"]),
                _interval(row["inside_68"], 100.0, 1),
                _interval(row["inside_95"], 100.0, 1),
                _interval(row["ratio"], 1.0, 2),
                _interval(row["error"], 1.0, 3),
                f"{row['half_width']:.3f}",
            ]
            for size, row in one["groups"].items()
        ]
        header = ["atoms", "cases", "molecules", "in 68 % (%)", "in 95 % (%)", "error over claim"]
        header += ["mean distance error", "half-width"]
        write(table(header, rows, title=f"{name} (bohr; 95 % intervals over molecules)"))
        tests = [
            [
                row["test"],
                f"{row['statistic']:.3g}",
                f"{row['p_value']:.2g}",
                f"{row['p_value_after_holm']:.2g}",
            ]
            for row in one["tests"]
        ]
        write(table(["test", "statistic", "p-value", "after Holm"], tests, title=name))
        curves = [[row["of"], f"{row['largest_deviation']:.3f}"] for row in one["curves"]]
        write(table(["coverage of", "largest deviation"], curves, title=name))
        failed = told["failed"][name]
        if one["refused"]:
            write(f"{one['refused']} explosions got no error bars and are not counted")
        write(f"{name}: " + (f"fails {', '.join(failed)}" if failed else "no test rejects"))


def _interval(one: dict[str, float], factor: float, digits: int) -> str:
    value, low, high = (factor * one[name] for name in ("value", "low", "high"))
    return f"{value:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


PULSES = "pulses"


def _pulses(
    weights: str | None,
    steps: int | None,
    device: str,
    out: Path | None,
    *,
    span: tuple[int | None, int | None],
    seed: int,
    json: bool,
) -> None:
    """Errors on held-out molecules in the X-ray pulses A to F."""
    from molexa_core.network.weights import default_weights
    from molexa_core.pipeline.evaluation.evaluate_told import ToldMeasurement, evaluate_told

    plan = ToldMeasurement(atoms=(span[0] or 2, span[1] or 10), seed=seed)
    found = evaluate_told(
        weights or default_weights(),
        plan,
        steps=steps,
        device=device,
        out=out,
        progress=progress(),
    )
    if json:
        write_json(found)
    else:
        header = ["told", "atoms", "entries", "one sample", "mean of 8", "rms", "in 68 %", "ratio"]
        for pulse, tellings in found["pulses"].items():
            rows = [
                [
                    *(told, group),
                    *(str(row[key]) for key in ("entries", "one", "mean", "rms")),
                    *(f"{100 * row['inside']:.1f} %", f"{row['ratio']:.2f}"),
                ]
                for told, groups in tellings.items()
                for group, row in groups.items()
            ]
            write(table(header, rows, title=f"pulse {pulse}: errors of distances (bohr)"))
    if out is not None:
        remark(f"wrote {out}")


def _show(run: EvaluationRun) -> None:
    result = run.evaluation
    untold = ("files", "warnings")
    told = ", ".join(f"{key} {value}" for key, value in run.conditions.items() if key not in untold)
    write(told)
    for method, groups in result.rows.items():
        rows = [[group, *_cells(row)] for group, row in groups.items()]
        header = ["atoms", "entries", "MAE", "95 %", "median", "mean DE", "max DE", "mean AE"]
        write(table([*header, "max AE"], rows, title=f"{method} (bohr, degree)"))
    _show_uncertainty(run)
    if result.diatomics:
        pairs = [[name, f"{value:.4g}"] for name, value in result.diatomics.items()]
        write(table(["bond lengths of diatomics", "mean error (bohr)"], pairs))
    if result.spread:
        rows = [
            [name, f"{row['deviation']:.4f}", f"{row['difference']:.4f}"]
            for name, row in result.spread.items()
        ]
        header = ["atoms", "standard deviation", "mean difference"]
        write(table(header, rows, title="repeated predictions, per coordinate (bohr)"))
    if result.named:
        methods = [key for key in result.named[0] if key not in ("name", "atoms")]
        rows = [
            [str(one["name"]), str(one["atoms"]), *(f"{one[key]:.3f}" for key in methods)]
            for one in result.named
        ]
        write(table(["molecule", "atoms", *methods], rows, title="MAE by molecule (bohr)"))


def _show_uncertainty(run: EvaluationRun) -> None:
    result = run.evaluation
    header = ["entries", "predicted error", "MAE", "median", "mean DE", "max DE", "mean AE"]
    for title, parts in (
        ("fifths by predicted error", result.by_uncertainty),
        ("the most certain entries alone", result.most_certain),
    ):
        rows = [
            [
                f"{row['share']:.0%}" if "share" in row else f"{row['entries']:.0f}",
                f"{row['predicted_mean']:.3f}",
                f"{row['mae_mean']:.3f}",
                f"{row['mae_median']:.3f}",
                f"{row['mean_distance_error_mean']:.3f}",
                f"{row['max_distance_error_mean']:.3f}",
                f"{row.get('mean_angle_error_mean', float('nan')):.2f}",
            ]
            for row in parts
        ]
        if rows:
            write(table(header, rows, title=title))
    if result.ranking:
        rows = [[name.replace("_", " "), f"{one:.2f}"] for name, one in result.ranking.items()]
        write(table(["predicted and true error", "correlation"], rows))
    if result.coverage:
        rows = [
            [name, *(f"{100 * one:.1f}" for one in row)] for name, row in result.coverage.items()
        ]
        write(table(["atoms", "in 68 % (%)", "in 95 % (%)"], rows, title="coverage of intervals"))


def _cells(row: dict[str, Any]) -> list[str]:
    mae = row["mae"]
    cells = [str(row["entries"]), f"{mae['mean']:.4f}", f"{mae['low']:.4f}-{mae['high']:.4f}"]
    cells.append(f"{mae['median']:.4f}")
    others = ("mean_distance_error", "max_distance_error", "mean_angle_error", "max_angle_error")
    cells += [f"{row[name]['mean']:.3f}" if name in row else "" for name in others]
    return cells
