"""`molexa inspect`: format and contents of a file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import progress, table, write, write_json
from molexa_cli.run_choice import Numbers, chosen_runs
from molexa_cli.wording import as_typed

if TYPE_CHECKING:
    from molexa_core.pipeline.runs.inspection import Inspection

TEXT_LINES = 6


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("inspect")(inspect)


def inspect(
    files: Annotated[list[Path] | None, typer.Argument(help="Files of any known format.")] = None,
    numbers: Numbers = None,
    setup: Annotated[
        str | None,
        typer.Option("--setup", help="Setup file with columns, facility or anode, where needed."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read the whole file and list every fault with its place; exit code 1 if any.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show the format and the contents of a file: rates, spectra, configuration, faults.

    Reads Cobold list-mode files, ROOT runs, LMF2Root results, European XFEL and FLASH HDF5, tables
    in HDF5, Parquet, text and numpy, and the files of molexa.

    Example: molexa inspect run.lmf --verify
    """
    from molexa_core.pipeline.runs.inspect import inspect_files

    reporter = progress()
    chosen = [path for run in chosen_runs(files, numbers) for path in run]
    found = inspect_files(chosen, setup=setup, verify=verify, progress=reporter)
    for item in found:
        item.remarks[:] = map(as_typed, item.remarks)
        for warning in item.warnings:
            reporter.warn(f"{item.path}: {warning}" if len(found) > 1 else warning)
    if json:
        write_json([item.as_dict() for item in found])
    else:
        write(_printable("\n\n".join(_text(item) for item in found)))
    if verify and any(item.faults for item in found):
        raise typer.Exit(1)


def _printable(text: str) -> str:
    """Text without control characters, in characters that stdout can write."""
    plain = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return plain.encode(encoding, errors="replace").decode(encoding)


def _text(found: Inspection) -> str:
    from molexa_cli.plots import drawn

    rows = [[name, value if value != "" else "-", unit] for name, value, unit in found.rows]
    parts = [table(["quantity", "value", "unit"], rows, title=str(found.path))]
    parts += [table(head, rows, title=title) for title, (head, rows) in found.tables.items()]
    for name, text in found.texts.items():
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        more = [f"... ({len(lines) - TEXT_LINES} more lines)"] if len(lines) > TEXT_LINES else []
        parts.append("\n".join([f"{name}, {len(text)} characters", *lines[:TEXT_LINES], *more]))
    parts += [drawn(spectrum, name) for name, spectrum in found.spectra.items()]
    if found.remarks:
        parts.append("\n".join(["remarks", *found.remarks]))
    if found.faults:
        parts.append("\n".join(["faults", *found.faults]))
    elif found.verified:
        parts.append("no fault found")
    return "\n\n".join(parts)
