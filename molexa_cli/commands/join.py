"""`molexa join`: events of several runs as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from molexa_cli.app import Debug, Force, Json, Quiet
from molexa_cli.console import progress, table, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("join")(join)


def join(
    events: Annotated[list[Path], typer.Argument(help="Events files, in order.")],
    out: Annotated[Path, typer.Option("--out", help="Events file to write.")],
    common_tags: Annotated[
        bool,
        typer.Option("--common-tags", help="Leave out tags that some of the runs lack."),
    ] = False,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Join the events of several runs of one channel and one setup.

    Tags of all shots and false coincidences are joined too. Files of other channels, setups or
    gates are refused, with what differs.

    Example: molexa join a.events.h5 b.events.h5 --out both.events.h5
    """
    from molexa_core.pipeline.chain.join import join_files

    reporter = progress()
    joined = join_files(events, out, common_tags=common_tags, progress=reporter)
    if json:
        write_json(
            {
                "file": str(joined.file),
                "rows": list(joined.rows),
                "left_out_tags": list(joined.left_out),
            }
        )
        return
    rows = [[str(path), str(count)] for path, count in zip(events, joined.rows, strict=True)]
    write(table(["run", "coincidences"], [*rows, ["together", str(sum(joined.rows))]]))
    reporter.say(f"wrote {joined.file}")
