"""`molexa channels`: list the coincidence channels."""

from __future__ import annotations

import typer

from molexa_cli.app import Debug, Json, Quiet
from molexa_cli.console import table, write, write_json


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("channels")(channels)


def channels(json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the coincidence channels: those in the working folder and the shipped ones.

    Example: molexa channels
    """
    from molexa_core.base.settings import load_channel
    from molexa_core.base.storage.resources import available

    rows = []
    for name, path in sorted(available("channels", ".yaml").items()):
        channel = load_channel(path)
        ions = " ".join(str(ion) for ion in channel.all_ions)
        rows.append(
            {"name": name, "ions": ions, "description": channel.description, "file": str(path)}
        )
    if json:
        write_json(rows)
    else:
        write(
            table(
                ["name", "ions", "description"],
                [[r["name"], r["ions"], r["description"]] for r in rows],
            )
        )
