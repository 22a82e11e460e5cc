"""`molexa update`: make what is missing or outdated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import remark, warn, write, write_json
from molexa_cli.parameters import Given, with_parameters
from molexa_cli.run_choice import chosen_runs
from molexa_core.base.options.work_options import WorkOptions

if TYPE_CHECKING:
    from molexa_core.pipeline.chain.update import Plan


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    own = ("--keep-units", "--skip-failed")
    options = with_parameters(behind="numbers", but=own, work=WorkOptions)
    app.command("update")(options(update))


def update(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made and why, and make nothing.")
    ] = False,
    numbers: Annotated[
        str | None,
        typer.Option(
            "--runs",
            metavar="NUMBERS",
            help="Only what was made from these runs of the catalogue runs.sqlite, such as 52-60.",
        ),
    ] = None,
    *,
    work: Given,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Make the results of the working folder that are missing or outdated, and nothing else.

    Every result tells the command that made it and what it was made from. Those whose run, setup,
    channel, regions or earlier result have changed are made again by their own commands, in order.
    Who computes is handed on to those that work in units (reduce, reconstruct of single events).

    Example: molexa update --dry-run
    """
    import sys

    from molexa_core.pipeline.chain.update import plan_update, run_step

    WorkOptions(**work)  # refuses what does not go together
    files = None
    if numbers is not None:
        files = [path for run in chosen_runs(None, numbers) for path in run]
    plan = plan_update(runs=files).computed_by(work)
    for text in plan.remarks:
        warn(text)
    if json:
        write_json(_values(plan, dry_run=dry_run))
    elif not plan.steps:
        write(f"up to date: {', '.join(plan.current) or 'nothing was made from these runs'}")
    for step in plan.steps:
        if not json:
            write(f"{step.line}    # {', '.join(step.makes)}: {step.why}")
        if dry_run:
            continue
        # A quiet update holds its commands back: one with --quiet would be recorded as such.
        for text in run_step(step, stdout=None if quiet else sys.stderr.fileno()):
            warn(text)
    if dry_run and plan.steps:
        remark("nothing was made (--dry-run)")


def _values(plan: Plan, *, dry_run: bool) -> dict[str, object]:
    return {
        "steps": [
            {"command": step.line, "makes": list(step.makes), "why": step.why}
            for step in plan.steps
        ],
        "current": list(plan.current),
        "remarks": list(plan.remarks),
        "made": not dry_run,
    }
