"""`molexa runs`: the catalogue of the runs of a beamtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from molexa_cli.app import Debug, Json, Quiet, new_app
from molexa_cli.console import progress, remark, table, write, write_json
from molexa_core.base.errors import UsageError

if TYPE_CHECKING:
    from molexa_core.io.run_catalogue import RunEntry

CatalogueFile = Annotated[
    Path, typer.Option("--catalogue", help="File of the catalogue, in SQLite.")
]
HERE = Path("runs.sqlite")


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    group = new_app("Keep the catalogue of the runs of a beamtime: files, conditions, good or bad.")
    group.command("add")(add)
    group.command("list")(list_runs)
    group.command("show")(show)
    group.command("mark")(mark)
    group.command("export")(export)
    app.add_typer(group, name="runs")


def add(
    files: Annotated[
        list[Path], typer.Argument(help="Files of runs, patterns or folders, in any number.")
    ],
    number: Annotated[
        int | None,
        typer.Option("--number", min=0, help="Number of the run; from the names if not given."),
    ] = None,
    target: Annotated[str, typer.Option("--target", help="What was in the jet.")] = "",
    channel: Annotated[
        str, typer.Option("--channel", help="Channel that the runs are reduced for.")
    ] = "",
    setup: Annotated[
        str | None, typer.Option("--setup", help="Setup file, where the files need it to be read.")
    ] = None,
    whole: Annotated[
        bool,
        typer.Option("--whole", help="Read all shots for the conditions, not the first 200000."),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace files of known runs by others.")
    ] = False,
    catalogue: CatalogueFile = HERE,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Add runs with the conditions that their files tell; known runs are brought up to date.

    Files of one number are one run: run52.lmf, r0052/*.h5. What was said of a known run (good, bad,
    comment, target) stays.

    Example: molexa runs add raw/*.lmf --target water --channel water
    """
    from molexa_core.io.run_catalogue import RunCatalogue
    from molexa_core.pipeline.runs.run_numbers import add_runs

    done = add_runs(
        RunCatalogue(catalogue, new=True),
        files,
        number=number,
        target=target,
        channel=channel,
        setup=setup,
        whole=whole,
        replace=replace,
        progress=progress(),
    )
    if json:
        write_json([{**_plain(entry), "new": new} for entry, new in done])
        return
    write(_table([entry for entry, _ in done]))
    known = sum(not new for _, new in done)
    remark(f"{len(done) - known} new, {known} brought up to date in {catalogue}")


def list_runs(
    runs: Annotated[
        str | None, typer.Option("--runs", help="Numbers, such as 52-60,63; all if not given.")
    ] = None,
    good: Annotated[bool, typer.Option("--good", help="Only runs marked as good.")] = False,
    bad: Annotated[bool, typer.Option("--bad", help="Only runs marked as bad.")] = False,
    target: Annotated[
        str | None, typer.Option("--target", help="Only runs of this target.")
    ] = None,
    products: Annotated[
        bool,
        typer.Option(
            "--products", help="Say which results in the working folder were made from each run."
        ),
    ] = False,
    catalogue: CatalogueFile = HERE,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the runs of the catalogue.

    Example: molexa runs list --good --target water --csv
    """
    entries = _entries(catalogue, runs)
    if good and bad:
        raise UsageError("runs are good or bad, not both", do="Leave one of them out.")
    if good or bad:
        entries = [one for one in entries if one.quality == ("good" if good else "bad")]
    if target is not None:
        entries = [one for one in entries if one.target == target]
    made = _products(entries) if products else {}
    if json:
        write_json([_plain(one) | _made_of(made, one.number) for one in entries])
    else:
        write(_table(entries, made if products else None))


def show(
    run: Annotated[int, typer.Argument(help="Number of the run.")],
    catalogue: CatalogueFile = HERE,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show all that is known of a run: files, conditions, results, and who said what.

    Example: molexa runs show 52
    """
    from dataclasses import asdict

    from molexa_core.io.run_catalogue import RunCatalogue

    found = RunCatalogue(catalogue)
    (entry,) = found.runs([run])
    made = _products([entry])
    changes = found.changes(run)
    if json:
        more = {"changes": [asdict(one) for one in changes]}
        write_json(_plain(entry) | _made_of(made, run) | more)
        return
    rows = [(name, _text(value)) for name, value in _plain(entry).items() if name != "conditions"]
    rows += [(name, _text(value)) for name, value in entry.conditions.items()]
    rows += [("result", f"{name}: {why or 'current'}") for name, why in made[run]]
    rows += [("change", f"{one.at} {one.who}: {one.what}") for one in changes]
    write(table(["quantity", "value"], rows))


def mark(
    runs: Annotated[str, typer.Argument(help="Numbers, such as 52-60,63.")],
    quality: Annotated[
        str | None, typer.Argument(help="good, bad, or none to take back what was said.")
    ] = None,
    comment: Annotated[str | None, typer.Option("--comment", help="Free text.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="What was in the jet.")] = None,
    catalogue: CatalogueFile = HERE,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say that runs are good or bad, and why; bad ones are left out by --runs of other commands.

    Example: molexa runs mark 52-60 bad --comment "jet was off"
    """
    from molexa_core.io.run_catalogue import RunCatalogue
    from molexa_core.pipeline.runs.run_numbers import numbers_in

    known = {"good": "good", "bad": "bad", "none": ""}
    if quality is not None and quality not in known:
        raise UsageError(
            f"{quality!r} is neither good nor bad nor none",
            setting="quality",
            do="Write one of them.",
        )
    if quality is None and comment is None and target is None:
        raise UsageError("nothing is said of the runs", do="Give good or bad, or `comment=`.")
    numbers = numbers_in(runs)
    RunCatalogue(catalogue).mark(
        numbers,
        quality=None if quality is None else known[quality],  # type: ignore[arg-type]  # one of three
        comment=comment,
        target=target,
    )
    remark(f"{len(numbers)} run(s) marked")


def export(
    catalogue: CatalogueFile = HERE,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Print the catalogue as CSV with a column for each condition, for spreadsheets and programs.

    Example: molexa runs export > runs.csv
    """
    import csv
    import io

    entries = _entries(catalogue, None)
    if json:
        write_json([_plain(one) for one in entries])
        return
    rows = [_flat(one) for one in entries]
    names = list(dict.fromkeys(name for row in rows for name in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write(stream.getvalue().rstrip("\n"))


def _entries(catalogue: Path, runs: str | None) -> list[RunEntry]:
    from molexa_core.io.run_catalogue import RunCatalogue
    from molexa_core.pipeline.runs.run_numbers import numbers_in

    entries = RunCatalogue(catalogue).runs()
    if runs is None:
        return entries
    wanted = set(numbers_in(runs))
    return [one for one in entries if one.number in wanted]


Products = dict[int, list[tuple[str, str | None]]]


def _products(entries: Sequence[RunEntry]) -> Products:
    """The results in the working folder that were made from each run, and why they are outdated."""
    from molexa_core.pipeline.chain.update import judged_results, made_from

    judged = judged_results()
    return {one.number: made_from([Path(name) for name in one.files], judged) for one in entries}


def _made_of(made: Products, number: int) -> dict[str, Any]:
    """The results of a run as plain values."""
    if number not in made:
        return {}
    return {
        "products": [
            {"file": name, "current": why is None, "why": why} for name, why in made[number]
        ]
    }


def _plain(entry: RunEntry) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(entry), "files": list(entry.files)}


def _flat(entry: RunEntry) -> dict[str, Any]:
    """An entry as one row: ranges of conditions become three columns."""
    row = _plain(entry)
    row["files"] = " ".join(entry.files)
    for name, value in row.pop("conditions").items():
        if isinstance(value, list):
            for part, one in zip(("lowest", "mean", "highest"), value, strict=True):
                row[f"{name}_{part}"] = one
        else:
            row[name] = "" if value is None else value
    return row


def _table(entries: Sequence[RunEntry], made: Products | None = None) -> str:
    header = ["run", "target", "channel", "shots", "seconds", "quality", "comment"]
    header += [] if made is None else ["results"]
    rows = []
    for one in entries:
        told = one.conditions
        row = [str(one.number), one.target, one.channel, _text(told.get("shots"))]
        row += [_text(told.get("seconds")), one.quality, one.comment]
        if made is not None:
            names = [
                name if why is None else f"{name} (outdated)" for name, why in made[one.number]
            ]
            row.append(" ".join(names))
        rows.append(row)
    return table(header, rows)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        numbers = all(isinstance(one, int | float) for one in value)
        return " ".join(f"{one:.6g}" if numbers else str(one) for one in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
