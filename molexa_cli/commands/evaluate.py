"""`molexa evaluate`: errors of network weights on known geometries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from molexa_cli.app import Debug, DeviceName, Force, Json, Quiet, Seed
from molexa_cli.console import command_line, progress, remark, table, write, write_json

if TYPE_CHECKING:
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
        typer.Option("--data", help="molecules, stage1, or the folder of a data set."),
    ] = "molecules",
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
        int, typer.Option("--samples", min=1, max=256, help="Structures drawn for each entry.")
    ] = 8,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=512, help="Steps of the sampler.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Largest number of entries; 0 for all.")
    ] = 4096,
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
    from molexa_core.pipeline.evaluation.evaluate_weights import evaluate_weights

    run = evaluate_weights(
        weights,
        data,
        split=split,
        by=by,
        samples=samples,
        steps=steps,
        limit=limit or None,
        smallest=smallest,
        largest=largest,
        names=[name.strip() for name in (names or "").split(";") if name.strip()],
        device=device,
        seed=seed,
        out=out,
        figures=figures,
        command=command_line(),
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
