"""Declaration of commands: `-h` and the switches that every command has.

Only the public interface of typer is used; its internals change between versions.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from molexa_cli import wording
from molexa_cli.console import SWITCHES
from molexa_core.base.device import DEVICE
from molexa_core.base.parameter import SEED
from molexa_core.base.storage.outputs import set_replacing

ASKED = "_MOLEXA_COMPLETE"
"""Variable with which a shell asks for completions (`molexa_cli.completion`)."""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def new_app(help_text: str) -> typer.Typer:
    """An empty app or group of commands."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        context_settings=CONTEXT,
        add_completion=ASKED in os.environ,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def _set_quiet(context: typer.Context, value: int) -> int:
    wording.running(context.command)
    SWITCHES.quiet, SWITCHES.silent = value > 0, value > 1
    SWITCHES.warned.clear()
    SWITCHES.shown = 0
    return value


def _set_debug(value: bool) -> bool:
    SWITCHES.debug = value
    return value


def _set_force(value: bool) -> bool:
    set_replacing(value)
    return value


Quiet = Annotated[
    int,
    typer.Option(
        "--quiet",
        "-q",
        count=True,
        show_default=False,
        callback=_set_quiet,
        is_eager=True,
        help="No progress, no remarks on stderr; twice (-qq) no warnings either.",
    ),
]
"""Every command ends its parameters with `quiet: Quiet = False, debug: Debug = False`."""
Debug = Annotated[
    bool, typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error.")
]
Force = Annotated[
    bool,
    typer.Option(
        "--force",
        callback=_set_force,
        help="Let results replace files that molexa did not write; never what the command reads.",
    ),
]
"""For every command that writes to named files."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
"""For every command that prints a table."""
AtomicUnits = Annotated[
    bool, typer.Option("--au", help="Print lengths in bohr; JSON has them in bohr in any case.")
]
"""For every command that prints lengths."""
Seed = Annotated[
    int,
    typer.Option(
        "--seed",
        help=f"{SEED.meaning.capitalize()}.",
        min=int(SEED.low or 0),
        max=int(SEED.high or 0),
    ),
]
"""For every command that draws."""
DEVICE_HELP = f"{DEVICE.meaning.capitalize()}: {DEVICE.note}."
DeviceName = Annotated[str, typer.Option("--device", help=DEVICE_HELP)]
"""For every command with a long computation."""
